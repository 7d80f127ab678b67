//! The public breaker, one thread and manual time, against a model of its own: outcomes in a list, the calls whose
//! result still counts in another, no epochs.

#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use watertight::breaker::BreakerState::{self, Closed, HalfOpen, Open};
use watertight::event::{self, Event};
use watertight::{Admitted, Breaker, ManualClock, Recovery, RejectReason, Trip};

#[derive(Arbitrary, Debug)]
struct Script {
    consecutive: bool,
    failures: u32,
    rate: f64,
    last: u32,
    min_calls: u32,
    after_ms: u32,
    probes: u32,
    ops: Vec<Op>,
}

#[derive(Arbitrary, Debug)]
enum Op {
    Admit,
    Success(u8),
    Failure(u8),
    Ignore(u8),
    Drop(u8),
    Pass(u16),
    PassLong(u32),
    Look,
    HoldOpen,
    Reset,
}

struct Model<'a> {
    script: &'a Script,
    state: BreakerState,
    held: bool,
    since: u64,  // open: when it opened; half-open: when the latest probe was admitted
    good: usize, // successful probes
    outcomes: Vec<bool>,
    counting: Vec<usize>,
    told: Vec<(BreakerState, BreakerState)>,
}

impl Model<'_> {
    fn go(&mut self, to: BreakerState, held: bool, now: u64) {
        if self.state != to {
            self.told.push((self.state, to));
        }
        (self.state, self.held, self.since, self.good) = (to, held, now, 0);
        self.outcomes.clear();
        self.counting.clear();
    }

    fn after(&self) -> u64 {
        u64::from(self.script.after_ms)
    }

    fn look(&mut self, now: u64) -> BreakerState {
        if self.state == Open && !self.held && now - self.since >= self.after() {
            self.go(HalfOpen, false, now);
        }
        self.state
    }

    fn admit(&mut self, call: usize, now: u64) -> Result<(), u64> {
        match self.look(now) {
            Closed => {}
            Open if self.held => return Err(self.after()),
            Open => return Err(self.after() - (now - self.since)),
            _ => {
                if self.counting.len() + self.good == self.script.probes as usize {
                    if now - self.since < self.after() {
                        return Err(self.after() - (now - self.since));
                    }
                    self.counting.clear();
                }
                self.since = now;
            }
        }
        self.counting.push(call);
        Ok(())
    }

    fn record(&mut self, call: usize, failed: Option<bool>, now: u64) {
        let before = self.counting.len();
        self.counting.retain(|c| *c != call);
        let (true, Some(failed)) = (self.counting.len() < before, failed) else { return };
        if self.state == Closed {
            self.outcomes.push(failed);
            if self.trips() {
                self.go(Open, false, now);
            }
        } else if failed {
            self.go(Open, false, now);
        } else {
            self.good += 1;
            if self.good == self.script.probes as usize {
                self.go(Closed, false, now);
            }
        }
    }

    fn trips(&self) -> bool {
        let last = |n: u32| &self.outcomes[self.outcomes.len().saturating_sub(n as usize)..];
        if self.script.consecutive {
            let run = last(self.script.failures);
            return run.len() == self.script.failures as usize && run.iter().all(|failed| *failed);
        }
        let window = last(self.script.last);
        let failures = window.iter().filter(|failed| **failed).count();
        window.len() >= self.script.min_calls as usize && failures as f64 / window.len() as f64 >= self.script.rate
    }
}

fn build(script: &Script, time: &ManualClock, told: &Arc<Mutex<Vec<(BreakerState, BreakerState)>>>) -> Option<Breaker> {
    let trip = match script.consecutive {
        true => Trip::consecutive(script.failures),
        false => Trip::rate(script.rate).last(script.last).min_calls(script.min_calls),
    };
    let recovery = Recovery::after(Duration::from_millis(script.after_ms.into())).probes(script.probes);
    let tell = told.clone();
    let built = Breaker::builder("fuzzed")
        .trip(trip)
        .recovery(recovery)
        .clock(&time.clock())
        .observer(event::from_fn(move |e| {
            if let Event::BreakerChanged { from, to, .. } = *e {
                tell.lock().unwrap().push((from, to));
            }
        }))
        .build();
    let sound = (1..=86_400_000).contains(&script.after_ms)
        && (1..=10_000).contains(&script.probes)
        && match script.consecutive {
            true => script.failures > 0,
            false => {
                script.rate > 0.0
                    && script.rate <= 1.0
                    && (1..=65_536).contains(&script.last)
                    && (1..=script.last).contains(&script.min_calls)
            }
        };
    assert_eq!(built.is_ok(), sound, "{built:?}");
    built.ok()
}

/// Half of the inputs as they come, to try the builder's refusals; half made small, so that things happen.
fn tame(mut script: Script) -> Script {
    if script.after_ms % 2 == 0 {
        script.failures = script.failures % 6 + 1;
        script.rate = f64::from(script.last % 100 + 1) / 100.0;
        script.last = script.last / 100 % 90 + 1;
        script.min_calls = script.min_calls % script.last + 1;
        script.after_ms = script.after_ms % 2_000 + 1;
        script.probes = script.probes % 4 + 1;
    }
    script
}

fuzz_target!(|script: Script| {
    let script = tame(script);
    let (time, told) = (ManualClock::new(), Arc::default());
    let Some(breaker) = build(&script, &time, &told) else { return };
    let mut model = Model {
        script: &script,
        state: Closed,
        held: false,
        since: 0,
        good: 0,
        outcomes: vec![],
        counting: vec![],
        told: vec![],
    };
    let (mut now, mut calls) = (0_u64, 0);
    let mut flying: Vec<(usize, Admitted)> = vec![];
    for op in &script.ops {
        match *op {
            Op::Admit => {
                calls += 1;
                match (breaker.admit(), model.admit(calls, now)) {
                    (Ok(admitted), Ok(())) => flying.push((calls, admitted)),
                    (Err(RejectReason::CircuitOpen { retry_after }), Err(ms)) => {
                        assert_eq!(retry_after, Duration::from_millis(ms));
                        assert!(!retry_after.is_zero());
                    }
                    (got, want) => panic!("{got:?}, model {want:?}"),
                }
            }
            Op::Success(i) | Op::Failure(i) | Op::Ignore(i) | Op::Drop(i) => {
                if flying.is_empty() {
                    continue;
                }
                let (call, admitted) = flying.swap_remove(usize::from(i) % flying.len());
                match op {
                    Op::Success(_) => admitted.success(),
                    Op::Failure(_) => admitted.failure(),
                    Op::Ignore(_) => admitted.ignore(),
                    _ => drop(admitted),
                }
                let failed = match op {
                    Op::Success(_) => Some(false),
                    Op::Failure(_) => Some(true),
                    _ => None,
                };
                model.record(call, failed, now);
            }
            Op::Pass(ms) => {
                time.advance(Duration::from_millis(ms.into()));
                now += u64::from(ms);
            }
            Op::PassLong(ms) => {
                time.advance(Duration::from_millis(ms.into()));
                now += u64::from(ms);
            }
            Op::Look => assert_eq!(breaker.state(), model.look(now)),
            Op::HoldOpen => {
                breaker.hold_open();
                model.go(Open, true, now);
            }
            Op::Reset => {
                breaker.reset();
                model.go(Closed, false, now);
            }
        }
        assert_eq!(*told.lock().unwrap(), model.told);
        model.told.clear();
        told.lock().unwrap().clear();
    }
    assert_eq!(breaker.state(), model.look(now));
});
