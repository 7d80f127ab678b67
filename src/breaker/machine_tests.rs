//! The machine against a naive model of it: a list of outcomes, a list of tickets that still count, and no epochs.

use super::*;
use proptest::prelude::*;

/// Everything the rules say, as plainly as possible. Time is in milliseconds.
struct Naive {
    trip: (Option<usize>, f64, usize, usize), // consecutive, or rate, last, min_calls
    after: u64,
    probes: usize,
    state: Plain,
    outcomes: Vec<bool>, // since the breaker closed; true: failed
    valid: Vec<usize>,   // tickets whose result still counts
}

#[derive(Clone, Copy, PartialEq)]
enum Plain {
    Closed,
    Open { since: u64 },
    Held,
    Half { good: usize, latest: u64 },
}

impl Naive {
    fn seen(&self) -> BreakerState {
        match self.state {
            Plain::Closed => BreakerState::Closed,
            Plain::Open { .. } | Plain::Held => BreakerState::Open,
            Plain::Half { .. } => BreakerState::HalfOpen,
        }
    }

    fn go(&mut self, state: Plain) {
        self.state = state;
        self.outcomes.clear();
        self.valid.clear();
    }

    fn look(&mut self, now: u64) {
        if let Plain::Open { since } = self.state {
            if now >= since + self.after {
                self.go(Plain::Half { good: 0, latest: now });
            }
        }
    }

    fn admit(&mut self, ticket: usize, now: u64) -> Result<(), u64> {
        self.look(now);
        match &mut self.state {
            Plain::Closed => {}
            Plain::Held => return Err(self.after),
            Plain::Open { since } => return Err(*since + self.after - now),
            Plain::Half { good, latest } => {
                if self.valid.len() + *good == self.probes {
                    if now < *latest + self.after {
                        return Err(*latest + self.after - now);
                    }
                    self.valid.clear();
                }
                *latest = now;
            }
        }
        self.valid.push(ticket);
        Ok(())
    }

    fn trips(&self) -> bool {
        let (consecutive, rate, last, min) = self.trip;
        if let Some(n) = consecutive {
            return self.outcomes.iter().rev().take_while(|failed| **failed).count() >= n;
        }
        let window = &self.outcomes[self.outcomes.len().saturating_sub(last)..];
        let failures = window.iter().filter(|failed| **failed).count();
        window.len() >= min && failures as f64 / window.len() as f64 >= rate
    }

    fn record(&mut self, ticket: usize, outcome: Outcome, now: u64) {
        let Some(i) = self.valid.iter().position(|t| *t == ticket) else { return };
        self.valid.remove(i);
        match (&mut self.state, outcome) {
            (_, Outcome::Ignore) => {}
            (Plain::Closed, _) => {
                self.outcomes.push(outcome == Outcome::Failure);
                if self.trips() {
                    self.go(Plain::Open { since: now });
                }
            }
            (Plain::Half { .. }, Outcome::Failure) => self.go(Plain::Open { since: now }),
            (Plain::Half { good, .. }, _) => {
                *good += 1;
                if *good == self.probes {
                    self.go(Plain::Closed);
                }
            }
            _ => unreachable!("no ticket counts in the open state"),
        }
    }
}

#[derive(Clone, Debug)]
enum Op {
    Admit,
    Record { which: usize, outcome: Outcome },
    Pass(u64),
    Look,
    HoldOpen,
    Reset,
}

fn op() -> impl Strategy<Value = Op> {
    let outcome = prop_oneof![3 => Just(Outcome::Success), 4 => Just(Outcome::Failure), 1 => Just(Outcome::Ignore)];
    prop_oneof![
        12 => Just(Op::Admit),
        12 => (any::<usize>(), outcome).prop_map(|(which, outcome)| Op::Record { which, outcome }),
        3 => (0_u64..40).prop_map(Op::Pass),
        1 => (0_u64..100_000).prop_map(Op::Pass),
        2 => Just(Op::Look),
        1 => prop_oneof![Just(Op::HoldOpen), Just(Op::Reset)],
    ]
}

prop_compose! {
    fn rules()(kind in any::<bool>(), n in 1_u32..6, percent in 1_u32..=100, last in 1_u32..12)
            (min in 1..=last, kind in Just(kind), n in Just(n), percent in Just(percent), last in Just(last))
            -> (Trip, (Option<usize>, f64, usize, usize)) {
        let rate = f64::from(percent) / 100.0;
        match kind {
            true => (Trip::consecutive(n), (Some(n as usize), 0.0, 0, 0)),
            false => (Trip::rate(rate).last(last).min_calls(min), (None, rate, last as usize, min as usize)),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]
    #[test]
    fn the_machine_does_what_a_naive_model_does(
        (trip, plain) in rules(),
        after in 1_u64..50,
        probes in 1_u32..4,
        ops in prop::collection::vec(op(), 0..200),
    ) {
        let recovery = Recovery::after(Duration::from_millis(after)).probes(probes);
        let mut machine = Machine::new(&trip, &recovery);
        let mut naive = Naive {
            trip: plain, after, probes: probes as usize, state: Plain::Closed, outcomes: vec![], valid: vec![],
        };
        let start = Instant::now();
        let (mut now, mut told, mut issued) = (0, BreakerState::Closed, 0);
        let mut tickets: Vec<(usize, Ticket)> = vec![]; // kept over any number of changes: the stale ones are among them
        for op in ops {
            let at = || start + Duration::from_millis(now);
            let before = naive.seen();
            let change = match op {
                Op::Admit => {
                    issued += 1;
                    let (got, change) = machine.admit(at);
                    let want = naive.admit(issued, now);
                    prop_assert_eq!(got.as_ref().err().copied(), want.err().map(Duration::from_millis));
                    tickets.extend(got.ok().map(|t| (issued, t)));
                    change
                }
                Op::Record { which, outcome } if !tickets.is_empty() => {
                    let (id, ticket) = tickets.swap_remove(which % tickets.len());
                    naive.record(id, outcome, now);
                    machine.record(ticket, outcome, at)
                }
                Op::Record { .. } => None,
                Op::Pass(ms) => {
                    now += ms;
                    None
                }
                Op::Look => {
                    naive.look(now);
                    let (state, change) = machine.state(at);
                    prop_assert_eq!(state, naive.seen());
                    change
                }
                Op::HoldOpen => {
                    naive.go(Plain::Held);
                    machine.hold_open()
                }
                Op::Reset => {
                    naive.go(Plain::Closed);
                    machine.reset()
                }
            };
            prop_assert_eq!(machine.phase.state(), naive.seen());
            // A change is told if and only if there was one, and they form a chain.
            prop_assert_eq!(change.is_some(), before != naive.seen());
            if let Some(Transition { from, to }) = change {
                prop_assert_eq!((from, to), (told, naive.seen()));
                told = to;
            }
            if let Phase::HalfOpen { out, good, .. } = machine.phase {
                prop_assert!(out + good <= probes && good < probes, "invariant 2");
                prop_assert_eq!(out as usize, naive.valid.len());
            }
        }
    }
}

#[test]
fn a_closed_machine_never_asks_the_time_of_a_call_that_changes_nothing() {
    let never = || -> Instant { unreachable!("no need to know") };
    let mut machine = Machine::new(&Trip::consecutive(2), &Recovery::default());
    for outcome in [Outcome::Failure, Outcome::Success, Outcome::Ignore, Outcome::Failure] {
        let ticket = machine.admit(never).0.unwrap();
        assert_eq!(machine.record(ticket, outcome, never), None);
        assert_eq!(machine.state(never), (BreakerState::Closed, None));
    }
    machine.hold_open();
    assert_eq!(machine.admit(never), (Err(Duration::from_secs(5)), None));
}

#[test]
fn time_that_runs_backwards_only_lengthens_the_wait() {
    let mut machine = Machine::new(&Trip::consecutive(1), &Recovery::after(Duration::from_secs(1)));
    let start = Instant::now() + Duration::from_secs(100);
    let ticket = machine.admit(|| start).0.unwrap();
    machine.record(ticket, Outcome::Failure, || start);
    let earlier = start - Duration::from_secs(50);
    assert_eq!(machine.admit(|| earlier), (Err(Duration::from_secs(1)), None));
}
