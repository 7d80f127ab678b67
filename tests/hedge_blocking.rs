//! Hedged calls on the compartment's threads, awaited: who wins, what is left of the loser, and that nothing is left wherever
//! the future is dropped. Attempts are ended by hand, time is moved by hand.

use std::future::Future;
use std::pin::Pin;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Waker};
use std::time::Duration;
use watertight::bulkhead::{BulkheadState, Hedge};
use watertight::{
    Budget, Bulkhead, CallError, CancelCause, Context, Interrupted, Isolation, ManualClock, Recovery, RejectReason,
    Retry, Trip,
};

const SEC: Duration = Duration::from_secs(1);

type Outcome = Result<u8, &'static str>;
type Call = Pin<Box<dyn Future<Output = Result<u8, CallError<&'static str>>> + Send>>;

struct Lab {
    it: Bulkhead,
    time: ManualClock,
    cx: Context,
    budget: Budget,
    /// Attempts as they are entered: their contexts, and how they are told to end.
    entered: Receiver<(Context, Sender<Outcome>)>,
    enter: Sender<(Context, Sender<Outcome>)>,
}

fn lab(isolation: Isolation) -> Lab {
    let (time, budget) = (ManualClock::new(), Budget::percent(100));
    let it = Bulkhead::builder("hedged", isolation)
        .queue(4)
        .breaker(Trip::rate(0.9), Recovery::after(SEC))
        .retry(Retry::constant(Duration::ZERO).budget(budget.clone()))
        .timeout(SEC * 10)
        .clock(&time.clock())
        .build()
        .unwrap();
    let cx = Context::background().with_clock(&time.clock());
    let (enter, entered) = channel();
    Lab { it, time, cx, budget, entered, enter }
}

impl Lab {
    fn call(&self) -> Call {
        let enter = Mutex::new(self.enter.clone());
        Box::pin(self.it.idempotent().call_hedged_blocking(&self.cx, &Hedge::after(SEC), move |cx| {
            let (end, ended) = channel();
            enter.lock().unwrap().send((cx.clone(), end)).unwrap();
            ended.recv().unwrap_or(Err("forgotten"))
        }))
    }

    /// Begun, and its first attempt entered.
    fn begun(&self) -> (Call, Context, Sender<Outcome>) {
        let mut call = self.call();
        assert!(poll(&mut call).is_pending());
        let (cx, end) = self.entered.recv().unwrap();
        (call, cx, end)
    }

    fn later(&self, call: &mut Call) {
        self.time.advance(SEC);
        assert!(poll(call).is_pending());
    }

    /// After everything has ended: nothing is held, every call is counted once, and what was paid is what was made.
    fn is_as_new(&self) -> BulkheadState {
        while self.it.state().running + self.it.state().queued > 0 {
            std::thread::yield_now();
        }
        let s = self.it.state();
        let refused = s.refused_full + s.refused_open + s.refused_ended + s.refused_other;
        assert_eq!(s.requests, s.succeeded + s.failed + s.interrupted + refused, "{s:?}");
        let spent = self.budget.stats();
        assert_eq!((spent.firsts, spent.retries), (s.attempts - s.hedges, s.hedges), "{s:?}");
        assert_eq!(self.time.waiting(), 0);
        s
    }
}

fn poll(call: &mut Call) -> Poll<Result<u8, CallError<&'static str>>> {
    call.as_mut().poll(&mut std::task::Context::from_waker(Waker::noop()))
}

#[test]
fn whoever_answers_first_wins_and_the_other_is_cancelled_and_says_nothing() {
    for winner in [0, 1] {
        let lab = lab(Isolation::Threads(2));
        let (mut call, first, end_first) = lab.begun();
        lab.later(&mut call);
        let (second, end_second) = lab.entered.recv().unwrap();
        assert_eq!((lab.it.state().running, lab.it.state().hedges), (2, 1));
        let (attempts, ends) = ([first, second], [end_first, end_second]);
        ends[winner].send(Ok(7)).unwrap();
        assert_eq!(futures::executor::block_on(call).unwrap(), 7);
        assert_eq!(attempts[1 - winner].token().cause(), Some(Interrupted::Cancelled(CancelCause::Dropped)));
        assert_eq!(lab.it.breaker().unwrap().snapshot().counts.calls, 1);
        ends[1 - winner].send(Err("too late for anybody")).unwrap();
        let state = lab.is_as_new();
        assert_eq!((state.attempts, state.hedges, state.succeeded, state.failed), (2, 1, 1, 0));
        let counts = lab.it.breaker().unwrap().snapshot().counts;
        assert_eq!((counts.calls, counts.failures), (1, 0));
    }
}

#[test]
fn a_failure_waits_for_the_other_and_of_two_one_is_the_calls() {
    let lab = lab(Isolation::Threads(2));
    let (mut call, _, first) = lab.begun();
    lab.later(&mut call);
    let (_, second) = lab.entered.recv().unwrap();
    second.send(Err("one")).unwrap();
    while lab.it.state().running > 1 {
        std::thread::yield_now();
    }
    assert!(poll(&mut call).is_pending());
    first.send(Err("other")).unwrap();
    // The later of them; but the one that gave its permit back first may say so last.
    assert!(matches!(futures::executor::block_on(call), Err(CallError::Failed("one" | "other"))));
    assert_eq!((lab.is_as_new().failed, lab.it.breaker().unwrap().snapshot().counts.failures), (1, 2));
}

#[test]
fn no_second_beside_what_is_in_time_nor_while_the_compartment_is_full() {
    let lab = lab(Isolation::Threads(2));
    let (call, _, end) = lab.begun();
    end.send(Ok(1)).unwrap();
    assert_eq!(futures::executor::block_on(call).unwrap(), 1);
    let other = lab.it.admit(&lab.cx).unwrap();
    let (mut call, _, end) = lab.begun();
    lab.later(&mut call);
    end.send(Ok(2)).unwrap();
    assert_eq!(futures::executor::block_on(call).unwrap(), 2);
    other.success();
    assert_eq!((lab.is_as_new().hedges, lab.entered.try_iter().count()), (0, 0));
}

#[test]
fn dropped_at_any_await_it_cancels_what_runs_and_gives_everything_back() {
    let lab = lab(Isolation::Threads(2));
    drop(lab.call());
    assert_eq!(lab.it.state().requests, 0, "before the first poll it is not even counted");
    // Queued behind others: it never runs.
    let held = [lab.it.admit(&lab.cx).unwrap(), lab.it.admit(&lab.cx).unwrap()];
    let mut call = lab.call();
    assert!(poll(&mut call).is_pending());
    drop(call);
    held.into_iter().for_each(|admission| admission.success());
    assert_eq!((lab.is_as_new().refused_ended, lab.entered.try_iter().count()), (1, 0));
    // Its first attempt runs alone.
    let (call, cx, end) = lab.begun();
    drop(call);
    assert_eq!(cx.token().cause(), Some(Interrupted::Cancelled(CancelCause::Dropped)));
    assert_eq!(lab.it.state().running, 1, "the place is the work's until it ends");
    drop(end);
    assert_eq!(lab.is_as_new().interrupted, 1);
    // Both run.
    let (mut call, first, end_first) = lab.begun();
    lab.later(&mut call);
    let (second, end_second) = lab.entered.recv().unwrap();
    drop(call);
    assert!([first, second].iter().all(|cx| cx.token().is_cancelled()));
    drop((end_first, end_second));
    let state = lab.is_as_new();
    assert_eq!((state.interrupted, state.hedges, state.failed), (2, 1, 0));
    assert_eq!(lab.it.breaker().unwrap().snapshot().counts.failures, 0);
}

#[test]
fn at_its_deadline_the_caller_is_told_and_both_are_cancelled() {
    let lab = lab(Isolation::Threads(2));
    let (mut call, first, end_first) = lab.begun();
    lab.later(&mut call);
    let (second, end_second) = lab.entered.recv().unwrap();
    lab.time.advance(SEC * 9);
    assert!(matches!(poll(&mut call), Poll::Ready(Err(CallError::Interrupted(Interrupted::DeadlinePassed)))));
    assert!([first, second].iter().all(|cx| cx.token().is_cancelled()));
    drop((end_first, end_second));
    assert_eq!((lab.is_as_new().interrupted, lab.it.breaker().unwrap().snapshot().counts.failures), (1, 2));
}

#[test]
fn refused_or_nested_it_is_a_call_like_any_other() {
    let permits = lab(Isolation::Permits(2));
    let refused = futures::executor::block_on(permits.call()).unwrap_err();
    assert!(matches!(refused, CallError::Rejected(RejectReason::NoThreads)));
    let lab = lab(Isolation::Threads(1));
    lab.it.breaker().unwrap().force_open();
    assert!(!futures::executor::block_on(lab.call()).unwrap_err().started());
    lab.it.breaker().unwrap().reset();
    let inner = Arc::new(lab.it.clone());
    let nested = lab.it.call(&lab.cx, move |cx| {
        let call = inner.idempotent().call_hedged_blocking(cx, &Hedge::after(SEC), |_| Ok::<_, ()>(5));
        futures::executor::block_on(call).map_err(drop)
    });
    assert_eq!(nested.unwrap(), 5);
    assert_eq!(lab.is_as_new().hedges, 0);
}
