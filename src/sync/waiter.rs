//! Whom to wake: a parked thread or an async task. Nothing else.

use super::{Parker, Unparker};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Waker;

/// Somebody who waits, thread or task alike.
#[derive(Clone, Debug)]
pub(crate) enum Waiter {
    Thread(Unparker),
    Task(Waker),
}

impl Waiter {
    pub(crate) fn thread(parker: &Parker) -> Self {
        Self::Thread(parker.unparker())
    }

    /// Wakes it. Runs the executor's code for a task, so never call it under a lock; a panic in that code goes nowhere,
    /// because whoever wakes has others to wake.
    pub(crate) fn wake(self) {
        match self {
            Self::Thread(unparker) => unparker.unpark(),
            Self::Task(waker) => {
                let _ = catch_unwind(AssertUnwindSafe(|| waker.wake()));
            }
        }
    }

    /// Whether waking `self` wakes `other` too, so that a registration need not be replaced.
    pub(crate) fn will_wake(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Thread(a), Self::Thread(b)) => a.same(b),
            (Self::Task(a), Self::Task(b)) => a.will_wake(b),
            _ => false,
        }
    }
}
