//! [`Latch`]: a one-shot completion cell, a value and one replaceable waiter.
//!
//! **States.** empty ⇄ waited for → done → taken. **Invariants.** 1. The first completion wins; a later one gets its
//! value back. 2. The value is taken once, or dropped once with the latch. 3. A waiter that registered before the
//! completion is woken by it. **Locking.** One lock; wakers are cloned before it is taken, woken and dropped after
//! it is let go.

use crate::sync::{Mutex, Waiter, broken};
use std::task::Poll;

#[derive(Debug)]
pub(crate) struct Latch<T>(Mutex<State<T>>);

#[derive(Debug)]
enum State<T> {
    Empty,
    Waited(Waiter),
    Done(T),
    Taken,
}

impl<T> Latch<T> {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(State::Empty))
    }

    /// Completes it and wakes who waits.
    pub(crate) fn complete(&self, value: T) -> Result<(), T> {
        let mut state = self.0.lock();
        if broken("latch: who waits is looked up before the value is there") {
            let waited = matches!(*state, State::Waited(_));
            drop(state);
            state = self.0.lock();
            let before = std::mem::replace(&mut *state, State::Done(value));
            drop(state);
            if let (true, State::Waited(waiter)) = (waited, before) {
                waiter.wake();
            }
            return Ok(());
        }
        let done = matches!(*state, State::Done(_) | State::Taken);
        if done && !broken("latch: a second completion replaces the first") {
            return Err(value);
        }
        let before = std::mem::replace(&mut *state, State::Done(value));
        drop(state);
        if let State::Waited(waiter) = before {
            waiter.wake();
        }
        Ok(())
    }

    /// Takes the value, or leaves `w` to be woken, in place of whoever was to be woken before.
    pub(crate) fn poll_wait(&self, w: &Waiter) -> Poll<T> {
        let mine = w.clone(); // cloning and dropping a waker is the executor's code: not under our lock
        let mut state = self.0.lock();
        let before = match &mut *state {
            State::Done(_) => std::mem::replace(&mut *state, State::Taken),
            State::Taken => {
                drop(state);
                panic!("the result was taken already");
            }
            State::Waited(_) if broken("latch: the first waiter stays") => return Poll::Pending,
            State::Waited(waiter) if waiter.will_wake(w) => State::Waited(mine),
            State::Empty | State::Waited(_) => std::mem::replace(&mut *state, State::Waited(mine)),
        };
        drop(state);
        match before {
            State::Done(value) => Poll::Ready(value),
            _ => Poll::Pending,
        }
    }

    /// Takes the value if it is there.
    pub(crate) fn take(&self) -> Option<T> {
        let mut state = self.0.lock();
        if !matches!(*state, State::Done(_)) {
            return None;
        }
        match std::mem::replace(&mut *state, State::Taken) {
            State::Done(value) => Some(value),
            _ => None,
        }
    }

    /// Nobody is to be woken any more.
    pub(crate) fn leave(&self) {
        let mut state = self.0.lock();
        if matches!(*state, State::Waited(_)) {
            let before = std::mem::replace(&mut *state, State::Empty);
            drop(state);
            drop(before);
        }
    }

    /// Whether it has been completed.
    pub(crate) fn is_done(&self) -> bool {
        matches!(*self.0.lock(), State::Done(_) | State::Taken)
    }
}
