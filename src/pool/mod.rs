//! [`Pool`]: a fixed number of threads behind a bounded queue.
//!
//! A bounded pool is a count of places, a queue that can then never be full, and threads. So all callers wait
//! in one place, and the queue's own blocking send is never used.
//!
//! **States.** running → draining → stopping → stopped (`lifecycle.rs`); of a job: `job.rs`. **Invariants.** P1 places
//! held ≤ threads + queue. P2 a place lives from admission until the job has really ended, and is given back before its
//! handle is completed. P3 the stage only grows; whoever gives back the last place of a draining pool stops the workers,
//! once. P4 a queued job is shed by whoever notices first; it runs or is shed, once. P5 a join on one of the pool's own
//! workers claims what is still queued. **Locking.** The places', the lifecycle's, a job's and a latch's lock are each
//! held alone.

mod backtrace;
mod batch;
#[cfg(all(test, watertight_loom, not(watertight_shuttle)))]
mod batch_loom_tests;
mod batch_submit;
mod builder;
mod call;
mod familiar;
mod fire;
#[cfg(all(test, watertight_loom, not(watertight_shuttle)))]
mod full_loom_tests;
mod group;
mod handle;
mod here;
mod hooks;
#[cfg(all(test, watertight_loom, not(watertight_shuttle)))]
mod idle_loom_tests;
mod job;
#[cfg(all(test, watertight_loom, not(watertight_shuttle)))]
mod life_loom_tests;
mod lifecycle;
#[cfg(all(test, watertight_loom, not(watertight_shuttle)))]
mod loom_tests;
mod map;
mod on_full;
mod partial;
#[cfg(all(test, watertight_loom, not(watertight_shuttle)))]
mod partial_loom_tests;
mod places;
#[cfg(all(test, watertight_loom, not(watertight_shuttle)))]
mod places_loom_tests;
mod post;
mod report;
mod reserve;
mod resize;
#[allow(unsafe_code)] // borrowed jobs: see src/pool/scope/erase.rs
mod scope;
mod shared;
#[cfg(all(test, watertight_shuttle))]
mod shuttle_tests;
mod size;
mod slot;
mod stats;
mod stop;
mod submit;
mod submit_async;
#[cfg(all(test, not(watertight_loom)))]
mod tests;
mod told;
mod unqueued;
mod worker;

pub use crate::queue::Wake;
pub use crate::sync::Spin;
pub use backtrace::record_backtraces;
pub use batch::Batch;
pub use builder::PoolBuilder;
pub use familiar::{NotIdle, Run};
pub use handle::JobHandle;
pub use hooks::{AtHook, Hooks, NotReady, Ready};
pub use map::{Map, Unordered};
pub use on_full::{Decide, OnFull, WhenFull};
pub use partial::{Arrived, BranchError, Incomplete, Partial};
pub use post::RunningJob;
pub use report::{ShutdownReport, StillRunning, Unrun};
pub use scope::Scope;
pub use size::SizeReason;
pub use slot::{Slot, Slots};
pub use stats::PoolStats;
pub use stop::{Drain, Stop, Stopping};
pub use submit::JobBuilder;
pub use submit_async::{Reserve, Submit};
pub use worker::retire_worker;

use crate::context::Context;
use crate::error::{CallError, Rejected};
use crate::sync::{Arc, broken};
use shared::Shared;
use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::panic::{RefUnwindSafe, UnwindSafe};

/// Worker threads behind a bounded queue.
///
/// A cheap handle; clones are the same pool. Submitted closures begin in the order in which they were queued, each in the
/// [context](Context) of whoever submitted it. **A place belongs to the running job, not to the caller**: when a caller
/// times out or drops its handle, the place stays taken until the job really ends.
///
/// - [`try_submit`](Self::try_submit) never waits, [`submit`](Self::submit) blocks until there is a place or the context
///   ends, [`submit_async`](Self::submit_async) is a future. A refused closure comes back.
/// - [`execute`](Self::execute) is for work without a result.
/// - A panic ends its job, not its worker.
///
/// Dropping the last handle starts draining and does not wait; [`shutdown`](Self::shutdown) waits.
///
/// # Examples
///
/// ```
/// use watertight::{CallError, Pool};
///
/// fn thumbnail(pool: &Pool, image: Vec<u8>) -> Result<usize, CallError> {
///     Ok(pool.submit(move || image.len() / 16)?.join()?)
/// }
/// let pool = Pool::builder("thumbnails").threads(4).queue(64).build()?;
/// assert_eq!(thumbnail(&pool, vec![0; 1600])?, 100);
/// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
/// ```
#[derive(Clone)]
pub struct Pool {
    owner: Arc<Owner>,
}

/// What the handles share. Jobs and workers hold `Shared` itself, so the last handle can tell that it is the last.
struct Owner {
    shared: Arc<Shared>,
}

impl Drop for Owner {
    fn drop(&mut self) {
        if broken("pool: the last handle drains nothing") {
            return;
        }
        if self.shared.is_forked() {
            return; // the locks may be those of threads that are not here
        }
        self.shared.drain();
    }
}

impl Pool {
    /// A pool to be configured. The name is the threads' and the events': at most 64 bytes, no NUL.
    pub fn builder(name: impl Into<Cow<'static, str>>) -> PoolBuilder {
        PoolBuilder::new(name.into())
    }

    fn owning(shared: Arc<Shared>) -> Self {
        Self { owner: Arc::new(Owner { shared }) }
    }

    /// Submits `f` if there is a place for it now. Never waits.
    ///
    /// # Errors
    ///
    /// `f`, unrun, with the reason: [`Full`](crate::RejectReason::Full),
    /// [`ShuttingDown`](crate::RejectReason::ShuttingDown), or that the ambient context has ended.
    pub fn try_submit<F, T>(&self, f: F) -> Result<JobHandle<T>, Rejected<F>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.job().try_submit(f)
    }

    /// Submits `f`, waiting for a place if need be.
    ///
    /// # Blocking
    ///
    /// Blocks this thread until there is a place or the ambient context ends. On one of the pool's own workers it never
    /// blocks, because it might wait for itself: full means that `f` comes back at once.
    ///
    /// First come, first served, once it stands in line. Without a deadline it may look for a place and sleep beside fast
    /// workers before that, for 2 ms at most: by so much it may be late to hear that it was cancelled or the pool stopped.
    ///
    /// # Errors
    ///
    /// As [`try_submit`](Self::try_submit); `Full` only on one of the pool's own workers.
    pub fn submit<F, T>(&self, f: F) -> Result<JobHandle<T>, Rejected<F>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.job().submit(f)
    }

    /// Submits `f`, or runs it here and now if there is no place for it, on this thread and in the job's context; the handle
    /// then has its result. Never waits for a place: whoever submits is as slow as the job, and so cannot submit faster than
    /// jobs are done. For work that is submitted from the pool's own jobs it cannot be refused for want of a place.
    ///
    /// # Blocking
    ///
    /// For as long as `f` runs, if it runs here.
    ///
    /// # Errors
    ///
    /// `f`, unrun, with [`ShuttingDown`](crate::RejectReason::ShuttingDown), or that the ambient context has ended.
    ///
    /// # Examples
    ///
    /// ```
    /// use watertight::Pool;
    ///
    /// let pool = Pool::builder("tree").threads(1).queue(0).build()?;
    /// let inner = pool.clone();
    /// let sum = pool.submit(move || {
    ///     let left = inner.submit_or_run(|| 20).unwrap(); // no place: runs here
    ///     left.join().unwrap() + 22
    /// })?;
    /// assert_eq!(sum.join()?, 42);
    /// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
    /// ```
    pub fn submit_or_run<F, T>(&self, f: F) -> Result<JobHandle<T>, Rejected<F>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.job().submit_or_run(f)
    }

    /// [`submit`](Self::submit) as a future. The ambient context is read now, not at the first poll. Polled on one of the
    /// pool's own workers it never waits: full means that `f` comes back.
    pub fn submit_async<F, T>(&self, f: F) -> Submit<F, T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.job().submit_async(f)
    }

    /// Submits `f` and waits for its result: what `spawn_blocking` was, with a bound.
    ///
    /// # Cancellation
    ///
    /// Dropping the future cancels the job: still queued it never runs, running it sees its token at its next check, and
    /// keeps its place until it has really ended.
    ///
    /// # Errors
    ///
    /// Refused, shed or panicked, as [`CallError`] says.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(pool: watertight::Pool) -> Result<(), watertight::CallError> {
    /// let sum = pool.call_async(|| (1..=100).sum::<u32>()).await?;
    /// assert_eq!(sum, 5050);
    /// # Ok(())
    /// # }
    /// # let pool = watertight::Pool::builder("doc").threads(1).build().unwrap();
    /// # futures::executor::block_on(example(pool)).unwrap();
    /// ```
    pub fn call_async<F, T>(&self, f: F) -> impl Future<Output = Result<T, CallError>> + Send + use<F, T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let submit = self.submit_async(f);
        async move {
            let handle = submit.await?.cancel_on_drop();
            Ok(handle.await?)
        }
    }

    /// [`execute`](Self::execute) if there is a place for it now. Never waits.
    ///
    /// # Errors
    ///
    /// As [`try_submit`](Self::try_submit).
    pub fn try_execute<F>(&self, f: F) -> Result<(), Rejected<F>>
    where
        F: FnOnce() + Send + 'static,
    {
        self.job().try_execute(f)
    }

    /// Submits work without a result: fire and forget. A panic in it is counted and told to the observer.
    ///
    /// # Blocking
    ///
    /// As [`submit`](Self::submit).
    ///
    /// # Errors
    ///
    /// As [`submit`](Self::submit).
    pub fn execute<F>(&self, f: F) -> Result<(), Rejected<F>>
    where
        F: FnOnce() + Send + 'static,
    {
        self.job().execute(f)
    }

    /// A job to be submitted by hand, with a context of its own.
    pub fn job(&self) -> JobBuilder<'_> {
        JobBuilder::new(self)
    }

    /// Shuts down in stages under one deadline, that of `cx`: takes no more work; lets the jobs that were admitted end by
    /// themselves for three quarters of the time; then cancels what is left; and abandons what runs all the same when `cx`
    /// ends. [`stop`](Self::stop) is the same with other choices.
    ///
    /// Without a deadline it waits for all jobs, unless the token of `cx` is cancelled. An idle pool is gone at once. It may
    /// be called by several threads and again later.
    ///
    /// # Blocking
    ///
    /// Blocks this thread until the pool has stopped or `cx` ends. On one of the pool's own workers it never blocks and only
    /// stops the intake: that worker's job is itself what is still running.
    ///
    /// # Cancellation
    ///
    /// As [`Stop::wait`] says.
    ///
    /// # Errors
    ///
    /// [`StillRunning`] with what was left when `cx` ended.
    pub fn shutdown(&self, cx: &Context) -> Result<ShutdownReport, StillRunning> {
        self.stop().wait(cx)
    }

    /// [`shutdown`](Self::shutdown) as a future. The intake is stopped now, not at the first poll.
    ///
    /// # Cancellation
    ///
    /// Dropping it stops the waiting; draining goes on by itself.
    ///
    /// # Errors
    ///
    /// As [`shutdown`](Self::shutdown).
    pub fn shutdown_async(&self, cx: &Context) -> Stopping {
        self.stop().wait_async(cx)
    }

    /// A shutdown with choices: how long to drain, and whether to hand back what never ran.
    pub fn stop(&self) -> Stop<'_> {
        Stop::new(self)
    }

    /// What it has done and is doing.
    pub fn stats(&self) -> PoolStats {
        self.owner.shared.stats()
    }

    /// How many jobs each worker has begun, by its number: how evenly they are spread, which is what [`Wake`] decides. A worker
    /// that replaces another counts on under its number. One number for each worker there [can be](PoolBuilder::resizable).
    pub fn jobs_per_worker(&self) -> Vec<u64> {
        self.owner.shared.counters.shares()
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.owner.shared.name
    }
}

// No user code runs under a lock of ours, so a panic leaves nothing half done.
impl UnwindSafe for Pool {}
impl RefUnwindSafe for Pool {}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("name", &self.name()).field("stats", &self.stats()).finish()
    }
}
