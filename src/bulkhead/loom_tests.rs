//! Models of what a caller and its worker share.

use super::attempt::{Attempt, Leave};
use super::flow::Ended;
use super::{Bulkhead, Isolation};
use crate::breaker::BreakerState;
use crate::context::Context;
use crate::error::{CallError, Interrupted};
use crate::event::Class;
use crate::sync::model::{model, spawn, twin, wide_model};
use crate::{Breaker, ManualClock, Recovery, Trip};
use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

fn enter_against_abandon() {
    let breaker = Breaker::builder("b").trip(Trip::consecutive(1)).clock(&ManualClock::new().clock()).build().unwrap();
    let attempt = Attempt::new(Leave::new(Some(breaker.admit().unwrap())));
    let entered = Arc::new(AtomicUsize::new(0));
    let worker = {
        let (attempt, entered) = (attempt.clone(), entered.clone());
        spawn(move || {
            if attempt.enter() {
                entered.fetch_add(1, Ordering::Relaxed);
                attempt.tell(&Ended::Returned(Ok::<(), ()>(()), Class::Success), &Context::background());
            }
        })
    };
    let left: Ended<(), ()> = attempt.abandon(Interrupted::DeadlinePassed, &Context::background());
    worker.join().unwrap();
    match left {
        Ended::Refused(_) => {
            assert_eq!(entered.load(Ordering::Relaxed), 0, "the caller was told that it never runs");
            assert_eq!(breaker.state(), BreakerState::Closed);
        }
        _ => assert_eq!(entered.load(Ordering::Relaxed), 1),
    }
}

#[test]
fn loom_what_the_caller_was_told_never_ran_never_runs() {
    model("enter against abandon: what was told never to run never runs", enter_against_abandon);
    twin("attempt: the worker enters what was abandoned", enter_against_abandon);
}

fn a_call_that_times_out_says_whether_it_started_and_gives_everything_back() {
    let time = ManualClock::new();
    let runs = Arc::new(AtomicUsize::new(0));
    let bulkhead = Bulkhead::builder("b", Isolation::Threads(1))
        .breaker(Trip::consecutive(9), Recovery::after(Duration::from_secs(1)))
        .clock(&time.clock())
        .timeout(Duration::from_secs(1))
        .build()
        .unwrap();
    let cx = Context::background().with_clock(&time.clock());
    let clock = spawn(move || time.advance(Duration::from_secs(1)));
    let seen = runs.clone();
    let called = bulkhead.call(&cx, move |_| {
        seen.fetch_add(1, Ordering::Relaxed);
        Ok::<_, ()>(())
    });
    clock.join().unwrap();
    let pool = bulkhead.0.pool.clone().unwrap();
    pool.shutdown(&Context::background()).unwrap();
    let started = called.as_ref().map_or_else(CallError::started, |()| true);
    assert_eq!(runs.load(Ordering::Relaxed), usize::from(started));
    assert_eq!((bulkhead.state().running, pool.stats().in_flight), (0, 0));
}

#[test]
fn loom_a_call_that_times_out_says_whether_it_started_and_gives_everything_back() {
    wide_model(
        "a call against its deadline: started() is exact, place and permit come back",
        a_call_that_times_out_says_whether_it_started_and_gives_everything_back,
    );
    twin(
        "attempt: the worker enters what was abandoned",
        a_call_that_times_out_says_whether_it_started_and_gives_everything_back,
    );
}
