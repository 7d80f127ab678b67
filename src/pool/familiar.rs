//! What other pools call it: the names of `threadpool`, and the shape of `spawn_blocking`. See
//! [the page on migration](crate::docs::migration).

use super::shared::Shared;
use super::{JobHandle, Pool, Slot, Submit};
use crate::context::Context;
use crate::error::{CallError, Interrupted, JobError};
use crate::sync::{Arc, Waiter};
use crate::wait::line::Place;
use crate::wait::{Wait, block_on};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{self, Poll};

impl Pool {
    /// Waits until nothing is queued or running, as `threadpool`'s `join` does: until there was one such moment since the
    /// call. Submitting stays open, so while others go on submitting that moment may never come; to end a pool there is
    /// [`shutdown`](Self::shutdown). An idle pool is not waited for.
    ///
    /// # Blocking
    ///
    /// Blocks this thread until that moment or the end of the ambient context. On one of the pool's own workers it never
    /// blocks: that worker's job is itself what is still running.
    ///
    /// # Errors
    ///
    /// [`NotIdle`] with what was in flight when the context ended, or at once on one of the pool's own workers and in a
    /// forked process.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::Arc;
    /// use std::sync::atomic::{AtomicUsize, Ordering};
    /// use watertight::Pool;
    ///
    /// let pool = Pool::builder("sums").threads(4).build()?;
    /// let sum = Arc::new(AtomicUsize::new(0));
    /// for n in 1..=100 {
    ///     let sum = sum.clone();
    ///     pool.execute(move || { sum.fetch_add(n, Ordering::Relaxed); })?;
    /// }
    /// pool.join()?;
    /// assert_eq!(sum.load(Ordering::Relaxed), 5050);
    /// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
    /// ```
    pub fn join(&self) -> Result<(), NotIdle> {
        let shared = &self.owner.shared;
        let why = if shared.is_own_worker() || shared.is_forked() {
            None
        } else {
            match block_on(IdleWait { shared: shared.clone(), number: None }, &Context::current()) {
                Ok(()) => return Ok(()),
                Err(why) => Some(why),
            }
        };
        Err(NotIdle { why, in_flight: shared.places.in_use() })
    }

    /// How many jobs are running: [`PoolStats::running`](super::PoolStats::running).
    pub fn active_count(&self) -> usize {
        self.stats().running
    }

    /// How many jobs wait for a worker: [`PoolStats::queued`](super::PoolStats::queued).
    pub fn queued_count(&self) -> usize {
        self.stats().queued
    }

    /// How many jobs have panicked: [`PoolStats::panicked`](super::PoolStats::panicked).
    pub fn panic_count(&self) -> u64 {
        self.stats().panicked
    }

    /// How many jobs may run at once: [`PoolStats::threads`](super::PoolStats::threads).
    pub fn max_count(&self) -> usize {
        self.stats().threads
    }

    /// Runs `f` on the pool, for async code: the shape of tokio's `spawn_blocking`, with a bound. Never blocks.
    ///
    /// *If there is a place, `f` is submitted at once*, whether or not the future is ever polled. *If the pool is full*, `f`
    /// stays in the future, and from the first poll on the pool's [`OnFull`](super::OnFull) decides, as for
    /// [`submit_async`](Self::submit_async): by default it waits in line for a place, so it is the caller that waits and nothing
    /// is queued without a bound, until the ambient context of this call ends; on one of the pool's own workers it is refused.
    /// To be refused everywhere there is [`try_submit`](Self::try_submit), whose handle can be awaited too.
    ///
    /// Needs no runtime.
    ///
    /// # Cancellation
    ///
    /// Dropping the future detaches, as with tokio: what was submitted runs on. What was still in line is dropped unrun.
    /// [`call_async`](Self::call_async) cancels instead.
    ///
    /// # Errors
    ///
    /// Refused, shed or panicked, as [`CallError`] says.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(pool: watertight::Pool) -> Result<(), watertight::CallError> {
    /// let lines = pool.run(|| include_str!("../../Cargo.toml").lines().count()).await?;
    /// assert!(lines > 10);
    /// # Ok(())
    /// # }
    /// # let pool = watertight::Pool::builder("doc").threads(1).build().unwrap();
    /// # futures::executor::block_on(example(pool)).unwrap();
    /// ```
    pub fn run<F, T>(&self, f: F) -> Run<F, T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let job = self.job();
        // Not a refusal to be counted: it is only not now.
        match job.try_place() {
            Ok(taken) => Run(State::Submitted(Slot::new(taken, self.owner.shared.clone()).submit(f))),
            Err(_) => Run(State::InLine(job.submit_async(f))),
        }
    }
}

/// What a [`join`](Pool::join) left when its context ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not idle: {in_flight} in flight")]
#[non_exhaustive]
pub struct NotIdle {
    /// Why the wait ended; `None` on one of the pool's own workers, where it did not wait.
    #[source]
    pub why: Option<Interrupted>,
    /// Jobs that were queued or running.
    pub in_flight: usize,
}

/// The wait until nothing is in flight.
pub(super) struct IdleWait {
    pub(super) shared: Arc<Shared>,
    pub(super) number: Option<Place>,
}

impl Wait for IdleWait {
    type Output = ();

    fn poll_wait(&mut self, w: &Waiter) -> Poll<()> {
        let places = &self.shared.places;
        match self.number {
            Some(number) => places.look_idle(number, w),
            None => {
                self.number = places.join_idlers(w.clone());
                if self.number.is_some() { Poll::Pending } else { Poll::Ready(()) }
            }
        }
    }

    fn give_up(&mut self) {
        if let Some(number) = self.number.take() {
            self.shared.places.leave_idlers(number);
        }
    }
}

/// The future of [`Pool::run`]. Where tokio's handle has `abort` and `is_finished`, that of its [`handle`](Self::handle) are
/// `cancel` and `is_finished`.
///
/// # Panics
///
/// When polled after it was ready.
#[must_use = "what does not find a place at once waits for one only while this is polled"]
pub struct Run<F, T>(State<F, T>);

enum State<F, T> {
    /// No place yet.
    InLine(Submit<F, T>),
    Submitted(JobHandle<T>),
}

impl<F, T> Run<F, T> {
    /// The job's handle once it has a place: `None` while it waits for one.
    pub fn handle(&self) -> Option<&JobHandle<T>> {
        match &self.0 {
            State::Submitted(handle) => Some(handle),
            State::InLine(_) => None,
        }
    }
}

// Nothing in it is pinned: the closure is moved out, never polled.
impl<F, T> Unpin for Run<F, T> {}

impl<F, T> Future for Run<F, T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    type Output = Result<T, CallError>;

    fn poll(mut self: Pin<&mut Self>, task: &mut task::Context<'_>) -> Poll<Self::Output> {
        loop {
            match &mut self.0 {
                State::Submitted(handle) => {
                    return Pin::new(handle).poll(task).map(|ended: Result<T, JobError>| Ok(ended?));
                }
                State::InLine(submit) => match Pin::new(submit).poll(task) {
                    Poll::Pending => return Poll::Pending,
                    Poll::Ready(Err(refused)) => return Poll::Ready(Err(refused.into())),
                    Poll::Ready(Ok(handle)) => self.0 = State::Submitted(handle),
                },
            }
        }
    }
}

impl<F, T> fmt::Debug for Run<F, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            State::InLine(submit) => f.debug_tuple("Run").field(submit).finish(),
            State::Submitted(handle) => f.debug_tuple("Run").field(handle).finish(),
        }
    }
}
