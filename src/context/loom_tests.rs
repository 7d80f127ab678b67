//! Models of a context's end.

use super::Context;
use crate::ManualClock;
use crate::cancel::CancelToken;
use crate::error::{CancelCause, Interrupted};
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::sync::model::{model, spawn, twin};
use crate::sync::{Arc, Mutex};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

fn timed() -> (ManualClock, Context, CancelToken) {
    let (time, token) = (ManualClock::new(), CancelToken::new());
    let cx = Context::background().with_clock(&time.clock()).with_token(&token).with_timeout(SECOND);
    (time, cx, token)
}

fn a_deadline_against_a_tighter_one() {
    let time = ManualClock::new();
    let long = Context::background().with_clock(&time.clock()).with_timeout(2 * SECOND);
    let short = long.with_timeout(SECOND);
    time.advance(SECOND);
    let below = short.clone();
    let notices = spawn(move || below.check());
    let asked = short.token().clone();
    assert_eq!(notices.join().unwrap(), Err(Interrupted::DeadlinePassed));
    assert_eq!(asked.cause(), Some(Interrupted::DeadlinePassed), "whoever asked for the token hears of it");
    assert_eq!(short.token().cause(), Some(Interrupted::DeadlinePassed));
    assert_eq!((long.check(), long.token().cause()), (Ok(()), None), "and nobody above");
}

#[test]
fn loom_a_deadline_is_told_to_all_below_it_and_to_nobody_above() {
    model("a deadline is told to all below it and to nobody above", a_deadline_against_a_tighter_one);
    twin("context: a token asked for while its deadline fires is left out", a_deadline_against_a_tighter_one);
    twin("context: a tighter deadline shares the token", a_deadline_against_a_tighter_one);
}

fn an_end_against_cancel_and_completion() {
    let (time, cx, token) = timed();
    let told = Arc::new(Mutex::new(Vec::new()));
    let tell = told.clone();
    let guard = cx.on_end(move |why| tell.lock().push(why)).unwrap();
    let canceller = spawn(move || token.cancel());
    let passing = spawn(move || time.advance(SECOND));
    let looks = cx.clone();
    let seen = spawn(move || looks.check().err());
    let seen = seen.join().unwrap();
    canceller.join().unwrap();
    passing.join().unwrap();
    let end = cx.token().cause().expect("it has ended");
    assert_eq!(*told.lock(), [end], "told once, the first cause");
    assert_eq!(cx.check(), Err(end));
    assert!(seen.is_none_or(|why| why == end), "one cause, for everybody");
    drop(guard);
}

#[test]
fn loom_a_deadline_and_a_cancel_race_and_one_of_them_is_the_end() {
    model("a deadline and a cancel race and one of them is the end", an_end_against_cancel_and_completion);
    twin("token: a later cause replaces the first", an_end_against_cancel_and_completion);
}

fn completion_against_the_deadline_and_cancel() {
    let (time, cx, token) = timed();
    let (runs, completed) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (counted, done) = (runs.clone(), completed.clone());
    let guard = cx.on_end(move |_| _ = counted.fetch_add(1, Ordering::AcqRel)).unwrap();
    let work = spawn(move || {
        drop(guard);
        done.store(1, Ordering::Release);
    });
    let passing = spawn(move || time.advance(SECOND));
    let was_done = completed.load(Ordering::Acquire) == 1;
    let before = runs.load(Ordering::Acquire);
    token.cancel();
    // Had the deadline been first, its callback might have begun before the work was done.
    let cancelled = cx.token().cause() == Some(Interrupted::Cancelled(CancelCause::Requested));
    work.join().unwrap();
    passing.join().unwrap();
    if was_done && cancelled {
        assert_eq!((before, runs.load(Ordering::Acquire)), (0, 0), "the work was done before anything ended it");
    }
    assert!(runs.load(Ordering::Acquire) <= 1);
}

#[test]
fn loom_a_deadline_a_cancel_and_a_completion_race_and_what_is_complete_is_not_told() {
    model(
        "a deadline, a cancel and a completion race, and what is complete is not told",
        completion_against_the_deadline_and_cancel,
    );
    twin("context: a callback is not taken back", completion_against_the_deadline_and_cancel);
}
