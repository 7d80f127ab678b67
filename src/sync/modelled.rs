//! What the modelled sides share: locks without poison, and how threads park. Under loom as under shuttle nobody who parks wakes
//! early, or a lost wake would heal itself.

use super::atomic::{AtomicU64, Ordering, fence};
use super::{Arc, MutexGuard, RawCondvar, RawMutex};
use ::std::time::Instant;

/// A `SeqCst` write of a word that nobody else writes, said as loom knows it.
pub(crate) fn say(word: &AtomicU64, value: u64) {
    word.store(value, Ordering::Release);
    fence(Ordering::SeqCst);
}

/// The same for a word that many count in.
pub(crate) fn say_more(word: &AtomicU64, more: u64) {
    word.fetch_add(more, Ordering::Release);
    fence(Ordering::SeqCst);
}

/// A look after such a write: its fence is the order.
pub(crate) fn look_after(word: &AtomicU64) -> u64 {
    word.load(Ordering::Relaxed)
}

/// Looking at leisure is looking.
pub(crate) fn look_again_at_leisure(looks: &mut u32) -> bool {
    super::look_again(looks)
}

/// In a model there is nothing to sleep for.
pub(crate) fn nap(_: ::std::time::Duration) {}

/// Nanoseconds that pass whenever somebody looks: in a model nobody looks on for long.
pub(crate) fn nanos() -> u64 {
    use ::std::sync::atomic::{AtomicU64, Ordering};
    static LOOKS: AtomicU64 = AtomicU64::new(0);
    LOOKS.fetch_add(1_000_000_000, Ordering::Relaxed)
}

/// The model's mutex without the poison.
#[derive(Debug)]
pub(crate) struct Mutex<T>(RawMutex<T>);

impl<T> Mutex<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(RawMutex::new(value))
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
        self.0.lock().expect("no user code runs under a lock, so none is poisoned")
    }

    pub(crate) fn into_inner(self) -> T {
        self.0.into_inner().expect("no user code runs under a lock, so none is poisoned")
    }
}

impl<T: Default> Default for Mutex<T> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

/// The model's condition variable; timed waits wait.
#[derive(Debug)]
pub(crate) struct Condvar(RawCondvar);

impl Condvar {
    pub(crate) fn new() -> Self {
        Self(RawCondvar::new())
    }

    pub(crate) fn notify_one(&self) {
        self.0.notify_one();
    }

    pub(crate) fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
        self.0.wait(guard).expect("no user code runs under a lock, so none is poisoned")
    }

    pub(crate) fn wait_until<'a, T>(&self, guard: MutexGuard<'a, T>, _at: Instant) -> MutexGuard<'a, T> {
        self.wait(guard)
    }
}

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
