//! Hedged calls of futures: who wins, when there is no second attempt, and that nothing is left wherever it is dropped. One
//! thread, polled by hand, and time that is moved by hand.

use futures::channel::oneshot::{Receiver, Sender, channel};
use proptest::prelude::*;
use std::cell::RefCell;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;
use watertight::breaker::BreakerState;
use watertight::bulkhead::{BulkheadState, Hedge};
use watertight::event::{Event, from_fn};
use watertight::retry::RetryCap;
use watertight::{
    Budget, Bulkhead, CallError, CancelCause, CancelToken, Context, Interrupted, Isolation, ManualClock, Recovery,
    Retry, Trip,
};

const SEC: Duration = Duration::from_secs(1);

type Outcome = Result<u8, &'static str>;
type Call = Pin<Box<dyn Future<Output = Result<u8, CallError<&'static str>>>>>;

/// An attempt's context, and how it is told to end; taken when it has been told.
type Begun = (Context, Option<Sender<Outcome>>);

/// A compartment, and the attempts that have begun in it, to be ended by hand.
struct Lab {
    it: Bulkhead,
    time: ManualClock,
    cx: Context,
    budget: Budget,
    hedge: Hedge,
    attempts: Rc<RefCell<Vec<Begun>>>,
}

fn lab(permits: usize) -> Lab {
    let (time, budget) = (ManualClock::new(), Budget::percent(100));
    let it = Bulkhead::builder("hedged", Isolation::Permits(permits))
        .queue(4)
        .breaker(Trip::rate(0.9), Recovery::after(SEC))
        .retry(Retry::constant(Duration::ZERO).budget(budget.clone()))
        .timeout(SEC * 10)
        .clock(&time.clock())
        .build()
        .unwrap();
    let cx = Context::background().with_clock(&time.clock());
    Lab { it, time, cx, budget, hedge: Hedge::after(SEC), attempts: Rc::default() }
}

impl Lab {
    fn call_within(&self, cx: &Context) -> Call {
        let attempts = self.attempts.clone();
        Box::pin(self.it.idempotent().call_hedged_async(cx, &self.hedge, move |cx| {
            let (end, ended): (Sender<Outcome>, Receiver<Outcome>) = channel();
            attempts.borrow_mut().push((cx, Some(end)));
            async move { ended.await.expect("told to panic") }
        }))
    }

    fn call(&self) -> Call {
        self.call_within(&self.cx)
    }

    fn begun(&self) -> usize {
        self.attempts.borrow().len()
    }

    /// How many of them are still wanted.
    fn wanted(&self) -> usize {
        let is_wanted = |end: &Option<Sender<Outcome>>| end.as_ref().is_some_and(|end| !end.is_canceled());
        self.attempts.borrow().iter().filter(|(_, end)| is_wanted(end)).count()
    }

    fn end(&self, attempt: usize, outcome: Outcome) {
        let end = self.attempts.borrow_mut()[attempt].1.take().unwrap();
        let _ = end.send(outcome);
    }

    fn panic(&self, attempt: usize) {
        drop(self.attempts.borrow_mut()[attempt].1.take().unwrap());
    }

    fn cause(&self, attempt: usize) -> Option<Interrupted> {
        self.attempts.borrow()[attempt].0.token().cause()
    }

    /// After everything has ended or was dropped: nothing is held, every call is counted once, and no alarm is left.
    fn is_as_new(&self) -> BulkheadState {
        let s = self.it.state();
        assert_eq!((s.running, s.queued, self.time.waiting()), (0, 0, 0), "{s:?}");
        let refused = s.refused_full + s.refused_open + s.refused_ended + s.refused_other;
        assert_eq!(s.requests, s.succeeded + s.failed + s.interrupted + refused, "{s:?}");
        let spent = self.budget.stats();
        assert_eq!((spent.firsts, spent.retries), (s.attempts - s.hedges, s.hedges), "{s:?}");
        s
    }
}

fn poll(call: &mut Call) -> Poll<Result<u8, CallError<&'static str>>> {
    call.as_mut().poll(&mut std::task::Context::from_waker(Waker::noop()))
}

fn ready(call: &mut Call) -> Result<u8, CallError<&'static str>> {
    match poll(call) {
        Poll::Ready(result) => result,
        Poll::Pending => panic!("still pending"),
    }
}

/// Its first attempt is late, and the second has begun.
fn with_two(lab: &Lab) -> Call {
    let mut call = lab.call();
    assert!(poll(&mut call).is_pending());
    lab.time.advance(SEC / 2);
    assert!(poll(&mut call).is_pending());
    assert_eq!(lab.begun(), 1, "not before the delay is over");
    lab.time.advance(SEC / 2);
    assert!(poll(&mut call).is_pending());
    assert_eq!((lab.begun(), lab.wanted(), lab.it.state().running), (2, 2, 2));
    call
}

#[test]
fn the_second_wins_and_the_first_is_dropped_and_cancelled_and_says_nothing() {
    let lab = lab(2);
    let mut call = with_two(&lab);
    lab.end(1, Ok(7));
    assert_eq!(ready(&mut call).unwrap(), 7);
    assert_eq!((lab.wanted(), lab.it.state().running), (0, 0), "the loser is gone when the call returns");
    assert_eq!(lab.cause(0), Some(Interrupted::Cancelled(CancelCause::Dropped)));
    assert_eq!(lab.cause(1), None, "what the winner has started may go on");
    let counts = lab.it.breaker().unwrap().snapshot().counts;
    assert_eq!((counts.calls, counts.failures), (1, 0));
    let state = lab.is_as_new();
    assert_eq!((state.requests, state.attempts, state.hedges, state.succeeded), (1, 2, 1, 1));
    assert_eq!(lab.budget.stats().available, 0, "it was paid for");
}

#[test]
fn the_first_wins_though_a_second_has_begun() {
    let lab = lab(2);
    let mut call = with_two(&lab);
    lab.end(0, Ok(1));
    assert_eq!(ready(&mut call).unwrap(), 1);
    assert_eq!(lab.cause(0), None);
    assert_eq!(lab.cause(1), Some(Interrupted::Cancelled(CancelCause::Dropped)));
    assert_eq!((lab.is_as_new().hedges, lab.wanted()), (1, 0));
}

#[test]
fn a_failure_waits_for_the_other_and_the_later_of_two_is_the_calls() {
    for (first, then) in [(0, 1), (1, 0)] {
        let lab = lab(2);
        let mut call = with_two(&lab);
        lab.end(first, Err("first"));
        assert!(poll(&mut call).is_pending());
        assert_eq!(lab.it.state().running, 1, "its permit is free already");
        lab.end(then, Ok(7));
        assert_eq!(ready(&mut call).unwrap(), 7);
        lab.is_as_new();
        let mut call = with_two_more(&lab);
        lab.end(2 + first, Err("first"));
        assert!(poll(&mut call).is_pending());
        lab.end(2 + then, Err("later"));
        assert!(matches!(ready(&mut call), Err(CallError::Failed("later"))));
        assert_eq!(lab.is_as_new().failed, 1);
    }
}

/// The same as a second call.
fn with_two_more(lab: &Lab) -> Call {
    let before = lab.begun();
    let mut call = lab.call();
    assert!(poll(&mut call).is_pending());
    lab.time.advance(SEC);
    assert!(poll(&mut call).is_pending());
    assert_eq!(lab.begun(), before + 2);
    call
}

#[test]
fn both_at_once_is_the_first() {
    let lab = lab(2);
    let mut call = with_two(&lab);
    lab.end(1, Ok(2));
    lab.end(0, Ok(1));
    assert_eq!(ready(&mut call).unwrap(), 1);
    lab.is_as_new();
}

#[test]
fn what_ends_in_time_has_no_second() {
    let lab = lab(2);
    for (n, outcome) in [Ok(1), Err("no")].into_iter().enumerate() {
        let mut call = lab.call();
        assert!(poll(&mut call).is_pending());
        lab.end(n, outcome);
        let result = ready(&mut call);
        assert_eq!(result.map_err(|e| e.into_failed().unwrap()), outcome, "and it is not tried again");
    }
    let now = lab.it.idempotent().call_hedged_async(&lab.cx, &lab.hedge, async |_cx| Ok::<_, ()>(5));
    assert_eq!(futures::executor::block_on(now).unwrap(), 5);
    let state = lab.is_as_new();
    assert_eq!((state.attempts, state.hedges), (3, 0));
}

/// The call's first attempt is late, and no second one begins.
fn alone(lab: &Lab, mut call: Call) {
    let before = lab.begun();
    assert!(poll(&mut call).is_pending());
    lab.time.advance(SEC);
    assert!(poll(&mut call).is_pending());
    assert_eq!((lab.begun(), lab.it.state().hedges), (before + 1, 0));
    lab.end(before, Ok(3));
    assert_eq!(ready(&mut call).unwrap(), 3);
}

#[test]
fn no_second_without_a_permit_money_or_leave() {
    // No permit is free.
    let full = lab(2);
    let other = full.it.admit(&full.cx).unwrap();
    alone(&full, full.call());
    drop(other);
    full.is_as_new();

    // The budget has nothing.
    let broke = lab(2);
    let mut first = broke.call();
    assert!(poll(&mut first).is_pending());
    assert!(broke.budget.try_withdraw());
    broke.end(0, Ok(0));
    assert!(ready(&mut first).is_ok());
    assert!(!broke.budget.try_withdraw());
    let spent = broke.budget.stats().refused;
    let mut call = broke.call();
    assert!(poll(&mut call).is_pending());
    assert!(broke.budget.try_withdraw()); // what it has just earned
    broke.time.advance(SEC);
    assert!(poll(&mut call).is_pending());
    assert_eq!((broke.begun(), broke.it.state().hedges, broke.budget.stats().refused), (2, 0, spent + 1));
    assert_eq!(broke.it.state().running, 1, "what was taken for it is back");
    drop(call);

    // The request as a whole has had its retries.
    let capped = lab(2);
    alone(&capped, capped.call_within(&capped.cx.with_value(RetryCap::new(0))));
    capped.is_as_new();

    // The breaker opens meanwhile, or the first attempt is a probe.
    let open = lab(2);
    let mut call = open.call();
    assert!(poll(&mut call).is_pending());
    open.it.breaker().unwrap().force_open();
    open.time.advance(SEC);
    assert!(poll(&mut call).is_pending());
    assert_eq!((open.begun(), open.it.state().running), (1, 1));
    open.end(0, Ok(1));
    assert!(ready(&mut call).is_ok());
    let probed = lab(2);
    let breaker = probed.it.breaker().unwrap();
    breaker.reconfigure(Trip::consecutive(1), Recovery::after(SEC).growth(1.0).probes(2)).unwrap();
    breaker.admit().unwrap().failure();
    probed.time.advance(SEC);
    alone(&probed, probed.call());
    probed.is_as_new();
}

/// Between the leave for a second attempt and its first poll somebody may cancel the call: who hears of the breaker's change
/// that this leave has made, for one.
#[test]
fn a_second_that_is_not_entered_is_neither_counted_nor_paid_for() {
    let (token, budget, time) = (CancelToken::new(), Budget::percent(100), ManualClock::new());
    let canceller = token.clone();
    let it = Bulkhead::builder("hedged", Isolation::Permits(2))
        .breaker(Trip::consecutive(1), Recovery::after(SEC / 2))
        .retry(Retry::constant(Duration::ZERO).budget(budget.clone()))
        .timeout(SEC * 10)
        .clock(&time.clock())
        .observer(from_fn(move |e| {
            if matches!(e, Event::BreakerChanged { to: BreakerState::HalfOpen, .. }) {
                canceller.cancel();
            }
        }))
        .build()
        .unwrap();
    let cx = Context::background().with_clock(&time.clock()).with_token(&token);
    let lab = Lab { it, time, cx, budget, hedge: Hedge::after(SEC), attempts: Rc::default() };
    let mut call = lab.call();
    assert!(poll(&mut call).is_pending());
    lab.it.breaker().unwrap().admit().unwrap().failure(); // somebody else's
    lab.time.advance(SEC);
    let left = ready(&mut call);
    assert!(matches!(left, Err(CallError::Interrupted(Interrupted::Cancelled(_)))), "{left:?}");
    let state = lab.is_as_new();
    assert_eq!((lab.begun(), state.attempts, state.hedges, lab.budget.stats().available), (1, 1, 0, 1));
}

#[test]
fn no_second_while_somebody_waits() {
    let lab = lab(2);
    let mut call = lab.call();
    assert!(poll(&mut call).is_pending());
    let held = lab.it.admit(&lab.cx).unwrap();
    let mut waits = lab.call();
    assert!(poll(&mut waits).is_pending());
    assert_eq!((lab.begun(), lab.it.state().queued), (1, 1));
    drop(held); // its permit goes to who waits
    lab.time.advance(SEC);
    assert!(poll(&mut call).is_pending());
    assert_eq!((lab.begun(), lab.it.state().hedges), (1, 0));
    assert!(poll(&mut waits).is_pending());
    assert_eq!(lab.begun(), 2);
    lab.end(0, Ok(1));
    lab.end(1, Ok(2));
    assert_eq!((ready(&mut call).unwrap(), ready(&mut waits).unwrap()), (1, 2));
    lab.is_as_new();
}

#[test]
fn from_inside_its_own_work_there_is_no_second() {
    let lab = Rc::new(lab(3));
    let inner = lab.clone();
    let mut call: Call = Box::pin(lab.it.call_async(&lab.cx, move |cx| async move {
        let nested = inner.call_within(&cx);
        nested.await.map_err(|_| "inner")
    }));
    assert!(poll(&mut call).is_pending());
    lab.time.advance(SEC);
    assert!(poll(&mut call).is_pending());
    assert_eq!((lab.begun(), lab.it.state().hedges), (1, 0));
    lab.end(0, Ok(4));
    assert_eq!(ready(&mut call).unwrap(), 4);
    lab.is_as_new();
}

#[test]
fn a_refused_one_has_not_started() {
    let lab = lab(1);
    lab.it.breaker().unwrap().force_open();
    assert!(!ready(&mut lab.call()).unwrap_err().started());
    lab.it.breaker().unwrap().reset();
    let over = lab.cx.with_timeout(Duration::ZERO);
    assert!(!ready(&mut lab.call_within(&over)).unwrap_err().started());
    let _held: Vec<_> = lab.it.admit(&lab.cx).into_iter().collect();
    let mut waits: Vec<_> = (0..4).map(|_| lab.call()).collect();
    waits.iter_mut().for_each(|call| assert!(poll(call).is_pending()));
    assert!(!ready(&mut lab.call()).unwrap_err().started());
    lab.time.advance(SEC * 10);
    waits.iter_mut().for_each(|call| assert!(!ready(call).unwrap_err().started()));
    drop(_held);
    assert_eq!((lab.begun(), lab.is_as_new().requests), (0, 8)); // and an admission
}

#[test]
fn when_time_is_up_both_end() {
    let lab = lab(2);
    let mut call = with_two(&lab);
    lab.time.advance(SEC * 9);
    let late = ready(&mut call);
    assert!(matches!(late, Err(CallError::Interrupted(Interrupted::DeadlinePassed))), "{late:?}");
    assert_eq!((lab.wanted(), lab.is_as_new().interrupted), (0, 1));
    assert_eq!(lab.it.breaker().unwrap().snapshot().counts.failures, 2, "a deadline is the dependency's failure");
}

#[test]
fn a_panic_is_a_failure_while_the_other_runs_and_passes_through_at_last() {
    let lab = lab(2);
    let mut call = with_two(&lab);
    lab.panic(0);
    assert!(poll(&mut call).is_pending());
    lab.end(1, Ok(7));
    assert_eq!(ready(&mut call).unwrap(), 7);
    let mut call = with_two_more(&lab);
    lab.panic(2);
    lab.panic(3);
    assert!(catch_unwind(AssertUnwindSafe(|| poll(&mut call))).is_err());
    drop(call);
    assert_eq!(lab.is_as_new().failed, 1);
}

#[test]
fn a_quantile_is_learnt_from_who_was_late() {
    let lab = Lab { hedge: Hedge::quantile(0.5, SEC), ..lab(2) };
    let mut call = lab.call();
    assert!(poll(&mut call).is_pending());
    lab.end(0, Ok(1));
    assert!(ready(&mut call).is_ok());
    let shorter = lab.hedge.delay();
    assert!(shorter < SEC);
    let mut call = lab.call();
    assert!(poll(&mut call).is_pending());
    lab.time.advance(shorter);
    assert!(poll(&mut call).is_pending());
    assert!(lab.hedge.delay() > shorter);
    lab.end(1, Ok(1));
    assert!(ready(&mut call).is_ok());
}

#[test]
fn dropped_at_any_await_it_gives_everything_back() {
    // Before the first poll it is not even counted.
    let lab = lab(2);
    drop(lab.call());
    assert_eq!(lab.is_as_new().requests, 0);
    // While it waits for a permit.
    let held = [lab.it.admit(&lab.cx).unwrap(), lab.it.admit(&lab.cx).unwrap()];
    let mut call = lab.call();
    assert!(poll(&mut call).is_pending());
    drop(call);
    held.into_iter().for_each(|admission| admission.success());
    assert_eq!((lab.begun(), lab.is_as_new().refused_ended), (0, 1));
    // While the first attempt runs alone.
    let mut call = lab.call();
    assert!(poll(&mut call).is_pending());
    drop(call);
    assert_eq!((lab.wanted(), lab.is_as_new().interrupted), (0, 1));
    assert_eq!(lab.cause(0), Some(Interrupted::Cancelled(CancelCause::Dropped)));
    // While both run, while either does after the other has failed, and when there is no second.
    drop(with_two_more(&lab));
    for fails in [0, 1] {
        let before = lab.begun();
        let mut call = with_two_more(&lab);
        lab.end(before + fails, Err("no"));
        assert!(poll(&mut call).is_pending());
        drop(call);
        lab.is_as_new();
    }
    let other = lab.it.admit(&lab.cx).unwrap();
    let mut call = lab.call();
    assert!(poll(&mut call).is_pending());
    lab.time.advance(SEC);
    assert!(poll(&mut call).is_pending());
    drop(call);
    other.success();
    let state = lab.is_as_new();
    assert_eq!((lab.wanted(), state.interrupted, state.hedges), (0, 5, 3));
    let counts = lab.it.breaker().unwrap().snapshot().counts;
    assert_eq!((counts.calls, counts.failures), (5, 2), "only those that failed before they were dropped");
}

#[derive(Clone, Debug)]
enum Op {
    Begin,
    Later,
    Poll(usize),
    End(usize, u8),
    Drop(usize),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        2 => Just(Op::Begin),
        2 => Just(Op::Later),
        4 => any::<usize>().prop_map(Op::Poll),
        3 => (any::<usize>(), 0_u8..3).prop_map(|(n, how)| Op::End(n, how)),
        1 => any::<usize>().prop_map(Op::Drop),
    ]
}

proptest! {
    #[test]
    fn whatever_happens_nothing_is_left(ops in prop::collection::vec(op(), 1..60), permits in 1_usize..4) {
        let lab = lab(permits);
        let mut calls: Vec<Call> = Vec::new();
        for op in ops {
            match op {
                Op::Begin => calls.push(lab.call()),
                Op::Later => lab.time.advance(SEC / 2),
                Op::Poll(n) if !calls.is_empty() => {
                    let n = n % calls.len();
                    let polled = catch_unwind(AssertUnwindSafe(|| poll(&mut calls[n])));
                    if !matches!(polled, Ok(Poll::Pending)) {
                        drop(calls.swap_remove(n));
                    }
                }
                Op::End(n, how) if lab.begun() > 0 => {
                    let n = n % lab.begun();
                    let waits = lab.attempts.borrow()[n].1.is_some();
                    match how {
                        _ if !waits => {}
                        0 => lab.end(n, Ok(1)),
                        1 => lab.end(n, Err("no")),
                        _ => lab.panic(n),
                    }
                }
                Op::Drop(n) if !calls.is_empty() => drop(calls.swap_remove(n % calls.len())),
                _ => {}
            }
            prop_assert!(lab.it.state().running <= permits);
        }
        drop(calls);
        lab.is_as_new();
        prop_assert_eq!(lab.wanted(), 0);
    }
}

/// Fifteen milliseconds at most for 98 calls in a hundred, half a second for the others, in simulated time: what the slowest one in a
/// hundred takes, and how many second attempts that has cost.
#[test]
fn a_second_attempt_after_a_learnt_quantile_takes_the_tail_off_within_its_budget() {
    const CALLS: usize = 3_000;
    let millis = Duration::from_millis;
    let simulate = |hedge: Hedge| {
        let time = ManualClock::new();
        let it = Bulkhead::builder("simulated", Isolation::Permits(4))
            .retry(Retry::constant(Duration::ZERO).budget(Budget::percent(10)))
            .timeout(SEC * 10)
            .build()
            .unwrap();
        let cx = Context::background().with_clock(&time.clock());
        let seed = std::cell::Cell::new(7_u64);
        let next = |n: u64| {
            seed.set(seed.get().wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407));
            (seed.get() >> 33) % n
        };
        let mut took: Vec<Duration> = (0..CALLS)
            .map(|_| {
                let begun = time.clock().now();
                let mut call = pin!(it.idempotent().call_hedged_async(&cx, &hedge, |cx: Context| {
                    let takes = if next(100) < 2 { millis(500) } else { millis(5 + next(11)) };
                    async move { cx.sleep_async(takes).await }
                }));
                while call.as_mut().poll(&mut std::task::Context::from_waker(Waker::noop())).is_pending() {
                    time.advance(millis(1));
                }
                time.clock().now() - begun
            })
            .collect();
        took.sort_unstable();
        (took[CALLS * 99 / 100], it.state())
    };
    let (plain, alone) = simulate(Hedge::after(SEC));
    let (hedged, state) = simulate(Hedge::quantile(0.95, millis(100)));
    println!("99 of 100 within {plain:?}, hedged {hedged:?}; {:.3} attempts a call", state.amplification());
    assert_eq!((plain, alone.hedges), (millis(500), 0));
    assert!(hedged <= millis(40), "{hedged:?}");
    let share = state.hedges as f64 / CALLS as f64;
    assert!(share > 0.03 && share < 0.1, "{share}");
    assert_eq!(state.succeeded, CALLS as u64);
}
