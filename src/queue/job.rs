//! A queued job, its closure inside it: moved through the queue without a box of its own.
//!
//! **Invariants.** 1. From `new` until `run` or `drop`, `bytes` hold one closure of the type that `call` was made for. It
//! was written where it fits: no larger than the bytes, no more aligned. 2. `call` is used once, by `run`, which consumes
//! the job, or by its drop. So the closure is run or dropped, once. 3. The closure is `Send` and `'static`, so the job
//! may go to another thread and stay there.

use std::fmt;
use std::mem::{ManuallyDrop, MaybeUninit};

/// What is stored in place: 48 bytes, so that a cell of the ring with its stamp is one cache line.
type Bytes = MaybeUninit<[u64; 6]>;

/// A closure that a worker calls with what it knows of itself. Up to 48 bytes of captures lie in place; what is larger
/// or more aligned than a word is boxed.
pub(crate) struct InlineJob<C> {
    call: unsafe fn(*mut Bytes, Option<&C>),
    bytes: Bytes,
}

const fn fits<F>() -> bool {
    size_of::<F>() <= size_of::<Bytes>() && align_of::<F>() <= align_of::<Bytes>()
}

impl<C> InlineJob<C> {
    pub(crate) fn new<F: FnOnce(&C) + Send + 'static>(work: F) -> Self {
        if fits::<F>() {
            return Self::in_place(work);
        }
        let boxed = Box::new(work);
        Self::in_place(move |worker: &C| boxed(worker))
    }

    fn in_place<F: FnOnce(&C) + Send + 'static>(work: F) -> Self {
        assert!(fits::<F>(), "a box fits"); // known when it is compiled
        let mut bytes = Bytes::uninit();
        // SAFETY: the bytes are ours, large enough and aligned for an `F` (invariant 1).
        unsafe { bytes.as_mut_ptr().cast::<F>().write(work) };
        Self { call: call::<C, F>, bytes }
    }

    /// Runs it. A panic of the closure goes through.
    pub(crate) fn run(self, worker: &C) {
        let mut job = ManuallyDrop::new(self);
        let call = job.call;
        // SAFETY: the closure is there (invariant 1), and the job is not dropped after this (invariant 2).
        unsafe { call(&raw mut job.bytes, Some(worker)) }
    }
}

/// Takes the closure out; runs it for a worker, drops it for nobody.
///
/// # Safety
///
/// `bytes` hold an `F`, which is not used again.
unsafe fn call<C, F: FnOnce(&C)>(bytes: *mut Bytes, worker: Option<&C>) {
    // SAFETY: the caller's promise.
    let work = unsafe { bytes.cast::<F>().read() };
    match worker {
        Some(worker) => work(worker),
        None => drop(work),
    }
}

impl<C> Drop for InlineJob<C> {
    fn drop(&mut self) {
        // SAFETY: the closure is there (invariant 1), and nobody looks after a drop (invariant 2).
        unsafe { (self.call)(&raw mut self.bytes, None) }
    }
}

impl<C> fmt::Debug for InlineJob<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InlineJob")
    }
}
