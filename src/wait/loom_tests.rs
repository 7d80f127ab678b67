//! Models of the latch.

use super::latch::Latch;
use super::{At, Wait, block_on};
use crate::clock::Clock;
use crate::deadline::Deadline;
use crate::sync::model::{model, spawn, twin};
use crate::sync::{Arc, Waiter};
use loom::alloc::Track;
use std::task::Poll;

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

#[test]
fn loom_a_latch_value_is_taken_once_or_dropped_once() {
    // `Track` makes loom fail on a leak; two completers and a taker that may give up.
    model("a latch's value is taken once or dropped once", || {
        let latch = Arc::new(Latch::new());
        let complete = |latch: Arc<Latch<Track<u32>>>| spawn(move || latch.complete(Track::new(1)).is_ok());
        let (a, b) = (complete(latch.clone()), complete(latch.clone()));
        let taken = latch.take();
        let won = [a.join().unwrap(), b.join().unwrap()];
        assert_eq!(won.iter().filter(|w| **w).count(), 1);
        assert_eq!(taken.is_some() as u32 + latch.take().is_some() as u32, 1);
    });
}

#[test]
fn loom_a_later_wait_replaces_the_earlier() {
    // A task registered first, then the thread: the completion wakes the thread.
    model("a later wait replaces the earlier one", || {
        let latch = Arc::new(Latch::new());
        let stale = crate::sync::Parker::new();
        assert!(latch.poll_wait(&Waiter::thread(&stale)).is_pending());
        let other = latch.clone();
        let completer = spawn(move || assert!(other.complete(Track::new(7)).is_ok()));
        assert_eq!(*block_on(LatchWait(latch), &waits_for_ever()).unwrap().get_ref(), 7);
        completer.join().unwrap();
    });
}
