//! Forgetting how long a job's borrows last: the only `unsafe` of the pool.
//!
//! The queue and a handle name no lifetimes, so a job of a scope is stored there as if it borrowed nothing.
//!
//! **Invariants.** 1. *Nobody leaves a scope before every job that entered it is over:* `Pool::scope` waits for all of them
//! on every way out, by return and by panic, and if that wait itself came to an end by a panic the process is aborted. 2.
//! *A job that is over holds nothing borrowed but, perhaps, its result:* its closure was run or dropped, and nothing touches
//! where it lay but to see that it is gone (`pool/job.rs`, `over`). 3. *A result that is there belongs to a handle:* a job
//! without one has dropped its result before it is over, and a handle takes it before it is dropped itself. The handle's
//! type names the result's, so no handle outlives what its result borrows; one that is forgotten keeps its result, which is
//! then never touched. 4. A job enters its scope before its entry enters the queue, and only while the scope is not over: it
//! is submitted by the scope's closure or by a job of the scope.

use crate::error::Interrupted;
use crate::pool::job::{Job, Popped};
use crate::sync::{Arc, Shared};
use std::mem::transmute;

/// A job without the type of its result: what the queue and the scope hold.
pub(super) trait Entered: Send + Sync {
    /// Its entry has left the queue: does what is left to do.
    fn popped(&self, popped: Popped<'_>);
    /// Runs it here if it is still queued.
    fn claim(&self);
    /// Drops it unrun if it is still queued.
    fn shed(&self, cause: Interrupted);
}

struct Typed<'s, T>(Arc<dyn Job<T> + 's>);

impl<T: Send> Entered for Typed<'_, T> {
    fn popped(&self, popped: Popped<'_>) {
        self.0.popped(popped);
    }

    fn claim(&self) {
        self.0.claim();
    }

    fn shed(&self, cause: Interrupted) {
        self.0.shed(cause);
    }
}

/// A job for the queue and for its scope.
///
/// # Safety
///
/// The job is one of a scope that has not let it enter yet and will; or it is over.
pub(super) unsafe fn for_queue<'s, T: Send + 's>(job: Arc<dyn Job<T> + 's>) -> Shared<dyn Entered> {
    let entered: Shared<dyn Entered + 's> = Shared::new(Typed(job));
    // SAFETY: only a lifetime changes. It is not over yet, and then its scope has not ended (1); or it is, and then what is
    // left of it in the queue or the scope is but looked at and dropped, and nothing borrowed is in it (2, 3).
    unsafe { transmute::<Shared<dyn Entered + 's>, Shared<dyn Entered>>(entered) }
}

/// A job for its handle.
///
/// # Safety
///
/// As [`for_queue`].
pub(super) unsafe fn for_handle<'s, T: Send + 's>(job: Arc<dyn Job<T> + 's>) -> Arc<dyn Job<T>> {
    // SAFETY: only a lifetime changes. Until the job is over its scope has not ended (1). From then on a handle finds its
    // closure gone (2), and what its result borrows is there for as long as the handle's own type says (3).
    unsafe { transmute::<Arc<dyn Job<T> + 's>, Arc<dyn Job<T>>>(job) }
}
