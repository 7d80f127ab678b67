//! The modelled side: the same names on loom 0.7.
//!
//! The difference that matters: time does not exist. `wait_until` and `park_until` wait for a wake-up only; a model moves
//! a `ManualClock` instead.

use super::Mutex;
pub(crate) use loom::sync::Arc;
pub(crate) use loom::sync::MutexGuard;
pub(super) use loom::sync::{Condvar as RawCondvar, Mutex as RawMutex};
pub(crate) use loom::thread_local;

pub(crate) mod atomic {
    pub(crate) use loom::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};
}

pub(crate) use loom::cell::UnsafeCell;

/// A counted pointer that may have lost its type: loom's own cannot lose it.
pub(crate) fn counted<T: ?Sized>(there: ::std::sync::Arc<T>) -> Arc<T> {
    Arc::from_std(there)
}

/// As often as the running model says; never, if it says nothing.
pub(crate) fn look_again(looks: &mut u32) -> bool {
    *looks += 1;
    *looks <= LOOKS.with(::std::cell::Cell::get)
}

/// Sets how often the running model looks again before it sleeps.
#[cfg(test)]
pub(crate) fn look_so_often(looks: u32) {
    LOOKS.with(|l| l.set(looks));
}

/// What lies on a stack and is used by another thread; here on the heap and for good, so that a twin that leaves too early
/// is caught by loom and not by chance.
pub(crate) struct OnStack<T>(::std::mem::ManuallyDrop<Box<T>>);

impl<T> OnStack<T> {
    pub(crate) fn new(value: T) -> Self {
        Self(::std::mem::ManuallyDrop::new(Box::new(value)))
    }
}

impl<T> ::std::ops::Deref for OnStack<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

/// Lets other threads go on. From the second turn in a row the schedule is followed to its end and not branched from:
/// who waits here has only looked, so whatever could happen from now on could as well happen while it had not looked
/// again, and those schedules are explored. Without this, two threads that wait in turns for a third make no end.
pub(crate) fn moment(turn: &mut u32) {
    *turn += 1;
    if *turn > 1 {
        loom::skip_branch();
    }
    loom::thread::yield_now();
}

pub(crate) mod thread {
    pub(crate) use loom::thread::Builder;

    /// True while this thread unwinds from a panic.
    pub(crate) fn panicking() -> bool {
        ::std::thread::panicking()
    }
}

::std::thread_local! {
    // All threads of a loom model are coroutines on one system thread, so this is the running model's own switch.
    static BROKEN: ::std::cell::Cell<&'static str> = const { ::std::cell::Cell::new("") };
    static LOOKS: ::std::cell::Cell<u32> = const { ::std::cell::Cell::new(0) };
}

/// Whether the running model has asked for the twin called `name`: the way a protocol is broken on purpose.
pub(crate) fn broken(name: &str) -> bool {
    BROKEN.with(|b| b.get() == name)
}

/// Sets which twin runs on this system thread; the empty name is none.
#[cfg(test)]
pub(crate) fn break_on_purpose(name: &'static str) {
    BROKEN.with(|b| b.set(name));
}

/// The same number every time: a model must replay exactly.
pub(crate) fn seed() -> u64 {
    1
}

/// std's cell with a word and a lock that loom sees: who gets the value has seen all that was done before it was set.
#[derive(Debug)]
pub(crate) struct OnceLock<T> {
    setting: Mutex<()>,
    is_set: atomic::AtomicU8,
    cell: ::std::sync::OnceLock<T>,
}

impl<T> OnceLock<T> {
    pub(crate) fn new() -> Self {
        Self { setting: Mutex::new(()), is_set: atomic::AtomicU8::new(0), cell: ::std::sync::OnceLock::new() }
    }

    pub(crate) fn get(&self) -> Option<&T> {
        if self.is_set.load(atomic::Ordering::Acquire) == 0 { None } else { self.cell.get() }
    }

    pub(crate) fn take(&mut self) -> Option<T> {
        self.cell.take()
    }

    pub(crate) fn set(&self, value: T) -> Result<(), T> {
        let _setting = self.setting.lock();
        self.cell.set(value)?;
        self.is_set.store(1, atomic::Ordering::Release);
        Ok(())
    }
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
