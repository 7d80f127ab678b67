//! Models of the latch, and of what wakes a future.

use super::latch::Latch;
use super::{At, Wait, block_on};
use crate::clock::Clock;
use crate::deadline::Deadline;
use crate::error::Interrupted;
use crate::sync::model::{block_on_future, model, spawn, twin};
use crate::sync::{Arc, Waiter};
use crate::{CancelToken, Context, ManualClock};
use loom::alloc::Track;
use std::future::Future;
use std::task::Poll;
use std::time::Duration;

struct LatchWait(Arc<Latch<Track<u32>>>);

impl Wait for LatchWait {
    type Output = Track<u32>;

    fn poll_wait(&mut self, w: &Waiter) -> Poll<Track<u32>> {
        self.0.poll_wait(w)
    }

    fn give_up(&mut self) {
        self.0.leave();
    }
}

fn waits_for_ever() -> At {
    At(Deadline::NEVER, Clock::system())
}

/// The waiter is woken and sees the value, whichever comes first.
fn complete_against_wait() {
    let latch = Arc::new(Latch::new());
    let other = latch.clone();
    let completer = spawn(move || assert!(other.complete(Track::new(7)).is_ok()));
    let value = block_on(LatchWait(latch), &waits_for_ever()).unwrap();
    assert_eq!(*value.get_ref(), 7);
    completer.join().unwrap();
}

#[test]
fn loom_a_latch_loses_no_wake_up() {
    model("a latch loses no wake-up", complete_against_wait);
    twin("latch: who waits is looked up before the value is there", complete_against_wait);
}

fn a_latch_value_is_taken_once_or_dropped_once() {
    let latch = Arc::new(Latch::new());
    let complete = |latch: Arc<Latch<Track<u32>>>| spawn(move || latch.complete(Track::new(1)).is_ok());
    let (a, b) = (complete(latch.clone()), complete(latch.clone()));
    let taken = latch.take();
    let won = [a.join().unwrap(), b.join().unwrap()];
    assert_eq!(won.iter().filter(|w| **w).count(), 1);
    assert_eq!(taken.is_some() as u32 + latch.take().is_some() as u32, 1);
}

#[test]
fn loom_a_latch_value_is_taken_once_or_dropped_once() {
    // `Track` makes loom fail on a leak; two completers and a taker that may give up.
    model("a latch's value is taken once or dropped once", a_latch_value_is_taken_once_or_dropped_once);
    twin("latch: a second completion replaces the first", a_latch_value_is_taken_once_or_dropped_once);
}

fn a_later_wait_replaces_the_earlier() {
    let latch = Arc::new(Latch::new());
    let stale = crate::sync::Parker::new();
    assert!(latch.poll_wait(&Waiter::thread(&stale)).is_pending());
    let other = latch.clone();
    let completer = spawn(move || assert!(other.complete(Track::new(7)).is_ok()));
    assert_eq!(*block_on(LatchWait(latch), &waits_for_ever()).unwrap().get_ref(), 7);
    completer.join().unwrap();
}

#[test]
fn loom_a_later_wait_replaces_the_earlier() {
    // A task registered first, then the thread: the completion wakes the thread.
    model("a later wait replaces the earlier one", a_later_wait_replaces_the_earlier);
    twin("latch: the first waiter stays", a_later_wait_replaces_the_earlier);
}

fn a_sleeping_task_against_the_clock() {
    let time = ManualClock::new();
    let cx = Context::background().with_clock(&time.clock());
    let sleep = cx.sleep_async(Duration::from_secs(1)); // armed at its first poll
    let clock = spawn(move || time.advance(Duration::from_secs(1)));
    assert_eq!(block_on_future(sleep), Ok(()));
    clock.join().unwrap();
}

#[test]
fn loom_an_alarm_armed_while_time_moves_is_not_lost() {
    model("an alarm armed while time moves is not lost", a_sleeping_task_against_the_clock);
    twin("clock: an advance wakes nobody", a_sleeping_task_against_the_clock);
}

#[test]
fn loom_an_alarm_called_off_while_time_moves_leaves_nothing() {
    model("an alarm called off while time moves leaves nothing", || {
        let time = ManualClock::new();
        let cx = Context::background().with_clock(&time.clock());
        let mut sleep = cx.sleep_async(Duration::from_secs(1));
        let mut task = std::task::Context::from_waker(std::task::Waker::noop());
        let _ = std::pin::Pin::new(&mut sleep).poll(&mut task);
        let other = time.clone();
        let clock = spawn(move || other.advance(Duration::from_secs(1)));
        drop(sleep);
        clock.join().unwrap();
        assert_eq!(time.waiting(), 0);
    });
}

fn a_task_that_waits_for_a_token_or_a_deadline() {
    let (time, token) = (ManualClock::new(), CancelToken::new());
    let cx = Context::background().with_clock(&time.clock()).with_timeout(Duration::from_secs(1)).with_token(&token);
    let clock = spawn(move || time.advance(Duration::from_millis(999))); // not yet
    let canceller = spawn(move || token.cancel());
    assert!(matches!(block_on_future(cx.ended()), Interrupted::Cancelled(_)));
    clock.join().unwrap();
    canceller.join().unwrap();
}

#[test]
fn loom_a_task_that_waits_for_a_token_is_woken() {
    model("a task that waits for a token or a deadline is woken", a_task_that_waits_for_a_token_or_a_deadline);
    let switch = "token: a waiter joins without a look under the lock";
    twin(switch, a_task_that_waits_for_a_token_or_a_deadline);
}
