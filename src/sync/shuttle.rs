//! The shuttled side: the same names on shuttle, for histories of the whole pool that are too large to search. Schedules are
//! drawn at random; atomics are sequentially consistent, so what hangs on a weaker order is loom's to find.
//!
//! Time is as under loom: a model moves a `ManualClock`.

pub(crate) use ::std::sync::{Arc, OnceLock};
pub(crate) use shuttle::sync::MutexGuard;
pub(super) use shuttle::sync::{Condvar as RawCondvar, Mutex as RawMutex};
pub(crate) use shuttle::thread_local;

pub(crate) mod atomic {
    pub(crate) use shuttle::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};
}

/// A counted pointer that may have lost its type.
pub(crate) fn counted<T: ?Sized>(there: Arc<T>) -> Arc<T> {
    there
}

/// Once: both are seen, to have looked again and to have slept.
pub(crate) fn look_again(looks: &mut u32) -> bool {
    *looks += 1;
    shuttle::thread::yield_now();
    *looks <= 1
}

/// A cell without a check.
#[derive(Debug)]
pub(crate) struct UnsafeCell<T>(::std::cell::UnsafeCell<T>);

impl<T> UnsafeCell<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(::std::cell::UnsafeCell::new(value))
    }

    pub(crate) fn with_mut<R>(&self, f: impl FnOnce(*mut T) -> R) -> R {
        f(self.0.get())
    }
}

/// What lies on a stack and is used by another thread.
pub(crate) struct OnStack<T>(T);

impl<T> OnStack<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(value)
    }
}

impl<T> ::std::ops::Deref for OnStack<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

/// Lets other threads go on.
pub(crate) fn moment(_: &mut u32) {
    shuttle::thread::yield_now();
}

pub(crate) mod thread {
    pub(crate) use shuttle::thread::Builder;

    /// True while this thread unwinds from a panic.
    pub(crate) fn panicking() -> bool {
        ::std::thread::panicking()
    }
}

::std::thread_local! {
    // All threads of an execution are coroutines on one system thread.
    static BROKEN: ::std::cell::Cell<&'static str> = const { ::std::cell::Cell::new("") };
}

/// Whether the running test has asked for the twin called `name`.
pub(crate) fn broken(name: &str) -> bool {
    BROKEN.with(::std::cell::Cell::get) == name
}

/// Sets which twin runs on this system thread; the empty name is none.
#[cfg(test)]
pub(crate) fn break_on_purpose(name: &'static str) {
    BROKEN.with(|b| b.set(name));
}

/// The same number every time: a schedule must replay exactly.
pub(crate) fn seed() -> u64 {
    1
}

thread_local! {
    static LANE: ::std::cell::Cell<usize> = ::std::cell::Cell::new(0);
}

/// Which of several places with one meaning this thread is to use: 0 until it has met somebody there.
pub(crate) fn lane() -> usize {
    LANE.with(::std::cell::Cell::get)
}

/// It has: from now on the next.
pub(crate) fn next_lane() -> usize {
    LANE.with(|lane| {
        lane.set(lane.get().wrapping_add(1));
        lane.get()
    })
}
