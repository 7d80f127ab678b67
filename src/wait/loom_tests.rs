//! Models of the latch, of what wakes a future, and of what ends a wait.

use super::latch::Latch;
use super::{At, Until, Wait, Waiting, block_on};
use crate::cancel::TokenWait;
use crate::clock::Clock;
use crate::deadline::Deadline;
use crate::error::Interrupted;
use crate::sync::model::{block_on_future, model, spawn, twin, wide_model};
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

/// A wait for a latch that minds the contract of [`Wait`]: it is told once that it had it, or once that it did not.
struct ToldOnce {
    latch: Arc<Latch<Track<u32>>>,
    told: bool,
}

impl Wait for ToldOnce {
    type Output = Track<u32>;

    fn poll_wait(&mut self, w: &Waiter) -> Poll<Track<u32>> {
        assert!(!self.told, "looked at after its end");
        let polled = self.latch.poll_wait(w);
        self.told = polled.is_ready();
        polled
    }

    fn give_up(&mut self) {
        assert!(!std::mem::replace(&mut self.told, true), "told twice");
        self.latch.leave();
    }
}

/// What ends a wait in the model: a deadline on a clock that a model thread moves, and a token.
struct Ends(ManualClock, Clock, CancelToken);

impl Until for Ends {
    type Cancel = TokenWait;

    fn deadline(&self) -> Deadline {
        Deadline::after(crate::clock::system_now(), Duration::from_secs(1))
    }

    fn clock(&self) -> &Clock {
        &self.1
    }

    fn cancel(&self) -> TokenWait {
        self.2.waiting()
    }
}

/// The deadline passes, the token is cancelled and the latch is completed, each on a thread of its own.
fn three_ends(wait: impl Fn(ToldOnce, &Ends) -> Result<Track<u32>, Interrupted>) {
    let (time, token, latch) = (ManualClock::new(), CancelToken::new(), Arc::new(Latch::new()));
    let ends = Ends(time.clone(), time.clock(), token.clone());
    let moves = spawn(move || time.advance(Duration::from_secs(1)));
    let cancels = spawn(move || token.cancel());
    let other = latch.clone();
    let completes = spawn(move || assert!(other.complete(Track::new(7)).is_ok()));
    let told = wait(ToldOnce { latch: latch.clone(), told: false }, &ends);
    assert_eq!(ends.2.registrations(), 0, "nobody is to be woken any more");
    match &told {
        Ok(value) => assert_eq!(*value.get_ref(), 7),
        Err(Interrupted::DeadlinePassed) => assert!(ends.deadline().is_past(ends.0.now())),
        Err(why) => assert_eq!(ends.2.cause(), Some(*why)),
    }
    [moves, cancels, completes].into_iter().for_each(|one| one.join().unwrap());
    assert_eq!(told.is_err(), latch.take().is_some(), "the value is had once: by who waited, or by who comes later");
}

fn three_ends_of_a_blocked_thread() {
    three_ends(|wait, ends| block_on(wait, ends));
}

fn three_ends_of_a_task() {
    three_ends(|wait, ends| block_on_future(Waiting::new(wait, ends)));
}

#[test]
fn loom_of_a_deadline_a_cancel_and_a_completion_one_is_told_once() {
    // At bound 3 it holds too, after 638,085 and 385,234 executions, which is a minute.
    wide_model("of a deadline, a cancel and a completion one is told, once: a thread", three_ends_of_a_blocked_thread);
    wide_model("of a deadline, a cancel and a completion one is told, once: a task", three_ends_of_a_task);
    for body in [three_ends_of_a_blocked_thread, three_ends_of_a_task] {
        twin("wait: what is had leaves its registration with the token", body);
        twin("wait: an end is told again when the wait is dropped", body);
    }
}
