//! Drives a breaker and its model beside each other: whatever can be seen of one must be so of the other.

use super::breaker::{Model, Op, Rules, Told};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use watertight::event::{self, Event};
use watertight::{Admitted, Breaker, ManualClock, RejectReason};

/// Not more than this are under way at once.
const FLYING: usize = 12;

pub(crate) struct Pair {
    breaker: Breaker,
    model: Model,
    time: ManualClock,
    told: Arc<Mutex<Vec<Told>>>,
    flying: Vec<(usize, Admitted<'static>)>,
    calls: usize,
}

fn nanos(d: Duration) -> u64 {
    u64::try_from(d.as_nanos()).unwrap()
}

impl Pair {
    pub(crate) fn new(rules: Rules) -> Self {
        let (time, told) = (ManualClock::new(), Arc::<Mutex<Vec<Told>>>::default());
        let tell = told.clone();
        let breaker = Breaker::builder("driven")
            .trip(rules.trip())
            .recovery(rules.recovery())
            .clock(&time.clock())
            .observer(event::from_fn(move |e| {
                if let Event::BreakerChanged { from, to, cause, counts, retry_after, .. } = *e {
                    let counts = [counts.calls, counts.failures, counts.slow, counts.consecutive_failures];
                    tell.lock().unwrap().push(Told { from, to, cause, counts, retry_after: retry_after.map(nanos) });
                }
            }))
            .build()
            .unwrap();
        Self { breaker, model: Model::new(rules), time, told, flying: vec![], calls: 0 }
    }

    /// What has been admitted goes by the model's word.
    fn admitted<'a>(model: &mut Model, call: usize, got: Result<Admitted<'a>, RejectReason>) -> Option<Admitted<'a>> {
        match (got, model.admit(call)) {
            (Ok(admitted), Ok(())) => {
                assert_eq!(admitted.is_probe(), model.is_probe());
                let timeout = model.rules.probe_timeout.filter(|_| model.is_probe());
                assert_eq!(admitted.timeout().map(nanos), timeout);
                Some(admitted)
            }
            (Err(RejectReason::CircuitOpen { retry_after }), Err(wait)) => {
                assert_eq!(nanos(retry_after), wait);
                assert_ne!(wait, 0);
                None
            }
            (got, want) => panic!("{got:?}, model {want:?}"),
        }
    }

    /// What the breaker has said about how long it opens.
    fn hear(&mut self) {
        self.model.hint = self.told.lock().unwrap().last().and_then(|told| told.retry_after);
    }

    pub(crate) fn step(&mut self, op: Op) {
        match op {
            Op::Call(class) => {
                self.calls += 1;
                let Some(admitted) = Self::admitted(&mut self.model, self.calls, self.breaker.admit_here()) else {
                    return self.check();
                };
                admitted.record_as(class);
                self.hear();
                self.model.record(self.calls, class);
            }
            Op::Admit if self.flying.len() < FLYING => {
                self.calls += 1;
                let admitted = Self::admitted(&mut self.model, self.calls, self.breaker.admit());
                self.flying.extend(admitted.map(|admitted| (self.calls, admitted)));
            }
            Op::End(which, _) | Op::Drop(which) if !self.flying.is_empty() => {
                let (call, admitted) = self.flying.swap_remove(which % self.flying.len());
                let class = if let Op::End(_, class) = op { class } else { watertight::Class::Ignore };
                match op {
                    Op::End(..) => admitted.record_as(class),
                    _ => drop(admitted),
                }
                self.hear();
                self.model.record(call, class);
            }
            Op::Pass(ns) => {
                self.time.advance(Duration::from_nanos(ns));
                self.model.now += ns;
            }
            Op::Look => assert_eq!(self.breaker.state(), self.model.look()),
            Op::Snapshot => self.snapshot(),
            Op::Force(to) => {
                match to {
                    watertight::breaker::BreakerState::ForcedOpen => self.breaker.force_open(),
                    watertight::breaker::BreakerState::ForcedClosed => self.breaker.force_closed(),
                    _ => self.breaker.metrics_only(),
                }
                self.model.force(to);
            }
            Op::Reset => {
                self.breaker.reset();
                self.model.reset();
            }
            Op::Reconfigure(a, b) => {
                let rules = Rules::from_bits(a, b);
                if self.model.reconfigure(rules) {
                    self.breaker.reconfigure(rules.trip(), rules.recovery()).unwrap();
                }
            }
            Op::Admit | Op::End(..) | Op::Drop(_) => {}
        }
        self.check();
    }

    fn snapshot(&mut self) {
        let seen = self.breaker.snapshot();
        let (counts, wait) = self.model.figures();
        let c = seen.counts;
        assert_eq!([c.calls, c.failures, c.slow, c.consecutive_failures], counts);
        assert_eq!((seen.state, seen.retry_after.map(nanos)), (self.model.state, wait));
        assert_eq!((seen.late, seen.openings), (self.model.late, self.model.openings));
    }

    /// What was told is what the model says was to be told, once and in order.
    fn check(&mut self) {
        let mut told = self.told.lock().unwrap();
        assert_eq!(*told, self.model.told);
        told.clear();
        self.model.told.clear();
    }

    pub(crate) fn finish(mut self) -> usize {
        self.snapshot();
        self.calls
    }
}
