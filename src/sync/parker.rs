//! How threads park in models, under loom as under shuttle: neither may wake early, or a lost wake would heal itself.

use super::{Arc, Condvar, Mutex};
use ::std::time::Instant;

/// A token under a mutex with a condition variable: raw park trips loom (its issue 249), and the two must not be mixed.
#[derive(Debug)]
pub(crate) struct Parker(Arc<(Mutex<bool>, Condvar)>);

impl Parker {
    pub(crate) fn new() -> Self {
        Self(Arc::new((Mutex::new(false), Condvar::new())))
    }

    pub(crate) fn park(&self) {
        let mut token = self.0.0.lock();
        while !*token {
            token = self.0.1.wait(token);
        }
        *token = false;
    }

    pub(crate) fn park_until(&self, _at: Instant) {
        self.park();
    }

    pub(crate) fn unparker(&self) -> Unparker {
        Unparker(self.0.clone())
    }
}

/// Wakes the thread of one [`Parker`].
#[derive(Clone, Debug)]
pub(crate) struct Unparker(Arc<(Mutex<bool>, Condvar)>);

impl Unparker {
    pub(crate) fn unpark(&self) {
        *self.0.0.lock() = true;
        self.0.1.notify_one();
    }

    pub(crate) fn same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}
