//! Whom to wake: a parked thread or an async task. Nothing else.

use super::quietly::{drop_quietly, quietly};
use super::{Parker, Unparker};
use std::task::Waker;

/// Somebody who waits, thread or task alike.
///
/// Waking, cloning and dropping a task's waker is the executor's code: never do it under a lock. A panic in waking or
/// dropping goes nowhere, because whoever does it has others to wake and results to hand over.
#[derive(Debug)]
pub(crate) struct Waiter(Option<Whom>);

#[derive(Clone, Debug)]
enum Whom {
    Thread(Unparker),
    Task(Waker),
}

impl Waiter {
    pub(crate) fn thread(parker: &Parker) -> Self {
        Self(Some(Whom::Thread(parker.unparker())))
    }

    pub(crate) fn task(waker: &Waker) -> Self {
        Self(Some(Whom::Task(waker.clone())))
    }

    /// Wakes it.
    pub(crate) fn wake(self) {
        Self::wake_all([self]);
    }

    /// Wakes all, one after the other. One guard serves until a waker panics, and then another for those that are left.
    pub(crate) fn wake_all(waiters: impl IntoIterator<Item = Waiter>) {
        let (mut waiters, mut more) = (waiters.into_iter(), true);
        while more {
            quietly(|| {
                waiters.by_ref().for_each(|waiter| match waiter.whom() {
                    Some(Whom::Thread(unparker)) => unparker.unpark(),
                    Some(Whom::Task(waker)) => waker.wake(),
                    None => {}
                });
                more = false;
            });
        }
    }

    #[inline]
    fn whom(mut self) -> Option<Whom> {
        let whom = self.0.take();
        std::mem::forget(self); // nothing is left to drop, and one of ten thousand feels that
        whom
    }

    /// Whether waking `self` wakes `other` too, so that a registration need not be replaced.
    pub(crate) fn will_wake(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Some(Whom::Thread(a)), Some(Whom::Thread(b))) => a.same(b),
            (Some(Whom::Task(a)), Some(Whom::Task(b))) => a.will_wake(b),
            _ => false,
        }
    }
}

impl Clone for Waiter {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl Drop for Waiter {
    #[inline]
    fn drop(&mut self) {
        if let Some(Whom::Task(waker)) = self.0.take() {
            drop_quietly(waker);
        }
    }
}
