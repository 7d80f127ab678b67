//! Models of what a caller and its worker share.

use super::attempt::{Attempt, Leave};
use super::flow::Ended;
use super::race::{Race, Runner};
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

fn value(n: u32) -> Ended<u32, u32> {
    Ended::Returned(Ok(n), Class::Success)
}

fn error(n: u32) -> Ended<u32, u32> {
    Ended::Returned(Err(n), Class::Failure)
}

/// Two attempts that end so, and what the call gets.
fn race_of(ends: [fn() -> Ended<u32, u32>; 2]) -> Result<u32, u32> {
    let race = Race::new();
    assert!(race.join());
    let threads = ends.map(|end| {
        let runner = Runner::of(&race);
        spawn(move || runner.finished(end()))
    });
    let ended = race.wait(&Context::background()).expect("nothing ends this context");
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    ended.into_result().map_err(|e| e.into_failed().unwrap())
}

fn a_failure_never_beats_a_success() {
    assert_eq!(race_of([|| error(1), || value(2)]), Ok(2));
}

fn the_last_failure_ends_the_call() {
    assert!(race_of([|| error(1), || error(2)]).is_err());
}

#[test]
fn loom_of_two_attempts_one_wins_and_a_failure_never_beats_a_success() {
    model("hedge: two successes, one result", || {
        assert!(race_of([|| value(1), || value(2)]).is_ok());
    });
    model("hedge: a failure never beats a success that still runs", a_failure_never_beats_a_success);
    model("hedge: the last failure ends the call", the_last_failure_ends_the_call);
    twin("race: who fails looks who is left and leaves later", the_last_failure_ends_the_call);
}

fn who_joins_is_waited_for() {
    let race = Race::new();
    let first = Runner::of(&race);
    let first = spawn(move || first.finished(error(1)));
    let joined = race.join();
    if joined {
        Runner::of(&race).finished(value(2));
    }
    let ended = race.wait(&Context::background()).expect("nothing ends this context");
    first.join().unwrap();
    assert_eq!(ended.into_result().is_ok(), joined);
}

#[test]
fn loom_nobody_joins_a_race_that_is_decided() {
    model("hedge: a second attempt begins before the first has ended, or not at all", who_joins_is_waited_for);
    twin("race: another joins what is decided", who_joins_is_waited_for);
}
