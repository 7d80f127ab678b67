//! [`JobHandle`]: the submitter's end of a job.
//!
//! **Invariants.** 1. Waiting on a queued job ends at the job's own deadline or cancellation, whoever is stuck: the
//! waiter sheds it. 2. A wait on one of the pool's own workers for a job that is still queued claims it and runs it here
//! (P5), so every wait is a wait for running work.

use super::job::Job;
use crate::context::{Context, ContextWait};
use crate::error::{CancelCause, Interrupted, JobError, JobId};
use crate::sync::{Arc, Waiter};
use crate::wait::{Wait, Waiting, block_on};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{self, Poll};

/// A submitted job, to be joined, awaited, cancelled or left alone.
///
/// It is a [`Future`] on any executor. Dropping it detaches: the job runs on, its result is dropped. Polled on one of the
/// pool's own workers while its job is still queued, it runs the job right there: it would wait for itself otherwise.
///
/// # Panics
///
/// Asking for the result again after it was handed out panics: polling after `Ready`, or joining after a
/// [`try_join`](Self::try_join) that gave it.
///
/// # Examples
///
/// ```
/// use watertight::Pool;
///
/// let pool = Pool::builder("sums").threads(2).build()?;
/// let handle = pool.submit(|| (1..=100).sum::<u32>())?;
/// assert_eq!(handle.join()?, 5050);
/// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
/// ```
#[must_use = "dropping a handle detaches the job; use execute for work without a result"]
pub struct JobHandle<T> {
    pub(super) job: Arc<dyn Job<T>>,
    polled: Option<Waiting<ResultWait<T>, ContextWait>>,
    cancel_on_drop: bool,
    /// The result was handed out: nothing is left to let go of.
    taken: bool,
    /// Nothing ends the wait but the job, and what the caller says.
    alone: bool,
}

/// What nothing ends.
static NEVER: Context = Context::background();

impl<T> JobHandle<T> {
    pub(super) fn new(job: Arc<dyn Job<T>>) -> Self {
        Self { job, polled: None, cancel_on_drop: false, taken: false, alone: false }
    }

    /// For a job without a context in a pool that nobody stops: it is not waited for that the pool abandons it, for which all
    /// who wait would meet at one token.
    pub(crate) fn alone(mut self) -> Self {
        self.alone = true;
        self
    }

    /// Waits for the end of the job. When it returns a value or a panic, the job's place in the pool is free again
    /// (unless the join itself ran the job, see below: then the queue entry frees it).
    ///
    /// # Blocking
    ///
    /// Blocks this thread until the job has ended. A job still queued when its own deadline passes or its token is
    /// cancelled is shed and ends the wait; a running one is waited for. On one of the pool's own workers, a job still
    /// queued is run right here.
    ///
    /// # Errors
    ///
    /// [`Shed`](JobError::Shed) if it never ran, [`Panicked`](JobError::Panicked) if it panicked,
    /// [`Abandoned`](JobError::Abandoned) if it was still running when the time of a [shutdown](crate::Pool::shutdown) was
    /// over, or in a forked process, which has none of the pool's threads.
    pub fn join(mut self) -> Result<T, JobError> {
        self.polled = None; // a later wait replaces the earlier
        if let Some(result) = self.take() {
            return result;
        }
        self.claim_if_own();
        // A job that is nearly done has ended in less time than it takes to sleep and be woken.
        let patience = &self.job.meta().shared.patience;
        let mut looks = patience.looks();
        while looks.again(patience, true) {
            if let Some(result) = self.job.latch().take() {
                patience.found(&looks);
                self.taken = true;
                return result;
            }
        }
        if self.job.meta().shared.is_forked() {
            return Err(JobError::Abandoned); // its workers are not here, and would be waited for for ever
        }
        match block_on(self.wait(), self.ends()) {
            Ok(result) => {
                self.job.meta().shared.patience.woken(&looks);
                self.taken = true;
                result
            }
            Err(_) if self.job.meta().cx.is_background() => self.abandon(),
            Err(why) => {
                self.job.shed(why);
                // Shed, the result is there. Running, the job is waited for, whatever its context says.
                block_on(self.wait(), self.abandoned()).unwrap_or_else(|_| self.abandon())
            }
        }
    }

    /// Waits for the end of the job or of `cx`, whichever is first; `None` if `cx` was first, and the handle is still
    /// yours.
    ///
    /// # Blocking
    ///
    /// As [`join`](Self::join), ended by `cx`. On one of the pool's own workers a job still queued is run right here,
    /// even beyond the end of `cx`.
    ///
    /// # Errors
    ///
    /// As [`join`](Self::join).
    pub fn join_within(&mut self, cx: &Context) -> Option<Result<T, JobError>> {
        self.polled = None;
        self.claim_if_own();
        if self.job.meta().shared.is_forked() && !self.job.latch().is_done() {
            return Some(Err(JobError::Abandoned));
        }
        if self.alone {
            let result = block_on(self.wait(), cx).ok();
            self.taken |= result.is_some();
            return result;
        }
        let own = self.ends().clone();
        let ended = if own.clock().is(cx.clock()) {
            block_on(self.wait(), &(cx, &own))
        } else {
            // Each end by its own clock: the job's as a wait of its own within the caller's.
            block_on(Waiting::new(self.wait(), &own), cx).and_then(|inner| inner)
        };
        if let Ok(result) = ended {
            self.taken = true;
            return Some(result);
        }
        // The job's own end sheds it if it was queued; a running one is waited for as long as `cx` says.
        if let (Err(why), false) = (own.check(), self.job.meta().cx.is_background()) {
            self.job.shed(why);
        }
        match block_on(self.wait(), &(cx, self.abandoned())) {
            Ok(result) => Some(result),
            Err(_) => self.take_abandoned(),
        }
    }

    /// The result if it is there; `None`: not yet. Never waits; sheds a queued job whose context has ended.
    ///
    /// # Errors
    ///
    /// As [`join`](Self::join).
    pub fn try_join(&mut self) -> Option<Result<T, JobError>> {
        if let Some(result) = self.take() {
            return Some(result);
        }
        let Err(why) = self.ends().check() else { return None };
        if !self.job.meta().cx.is_background() {
            self.job.shed(why);
        }
        self.take().or_else(|| self.take_abandoned())
    }

    /// What ends the wait first: the job's own context, or, if it has none, that it is abandoned.
    fn ends(&self) -> &Context {
        let meta = self.job.meta();
        match meta.cx.is_background() {
            true if self.alone => &NEVER,
            true => &meta.shared.abandoned,
            false => &meta.cx,
        }
    }

    /// What the wait for a running job ends at: its pool abandons it. Not before the job's own context has ended, so nobody
    /// waits for this who need not.
    fn abandoned(&self) -> &Context {
        &self.job.meta().shared.abandoned
    }

    /// The pool has abandoned the job, unless it has just ended.
    fn abandon(&mut self) -> Result<T, JobError> {
        self.job.abandon();
        let result = self.take().unwrap_or(Err(JobError::Abandoned));
        self.taken = false; // it may run yet: what it leaves behind nobody takes
        result
    }

    fn take_abandoned(&mut self) -> Option<Result<T, JobError>> {
        if self.abandoned().check().is_err() { Some(self.abandon()) } else { None }
    }

    /// The result if it is there.
    pub(super) fn take(&mut self) -> Option<Result<T, JobError>> {
        let result = self.job.latch().take();
        self.taken |= result.is_some();
        result
    }

    /// Cancels the job: still queued, it never runs and its closure is dropped here and now; running, it sees its token
    /// at its next check.
    pub fn cancel(&self) {
        self.cancel_because(CancelCause::Requested);
    }

    pub(crate) fn cancel_because(&self, cause: CancelCause) {
        if self.job.meta().cx.is_background() {
            return self.job.cancel(cause);
        }
        let token = self.job.meta().cx.token();
        token.cancel_because(cause);
        let cause = token.cause().unwrap_or(Interrupted::Cancelled(cause));
        self.job.shed(cause);
    }

    /// Which job it is: a number of its own, which events, hooks, panics and the report of a shutdown say too.
    ///
    /// # Examples
    ///
    /// ```
    /// use watertight::{JobError, Pool};
    ///
    /// let pool = Pool::builder("letters").threads(1).build()?;
    /// let letter = pool.job().name("letter 2").submit(|| panic!("no stamp"))?;
    /// let (id, name) = (letter.id(), letter.name().map(String::from));
    /// let Err(JobError::Panicked(payload)) = letter.join() else { unreachable!("it panics") };
    /// assert_eq!((payload.job_id(), payload.job()), (Some(id), name.as_deref()));
    /// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
    /// ```
    pub fn id(&self) -> JobId {
        self.job.meta().id
    }

    /// The job's [name](crate::pool::JobBuilder::name), if it has one.
    pub fn name(&self) -> Option<&str> {
        self.job.meta().name.as_deref()
    }

    /// Drops the job unrun if it is still queued.
    pub(crate) fn shed(&self, why: Interrupted) {
        self.job.shed(why);
    }

    /// Whether the job has ended, or was abandoned: its result is there or was taken.
    pub fn is_finished(&self) -> bool {
        if self.abandoned().check().is_err() {
            self.job.abandon();
        }
        self.job.latch().is_done()
    }

    /// The handle, cancelling the job when it is dropped.
    pub fn cancel_on_drop(mut self) -> Self {
        self.cancel_on_drop = true;
        self
    }

    fn wait(&self) -> ResultWait<T> {
        ResultWait(self.job.clone())
    }

    /// Looks once; if the job has not ended, `w` is woken when it has, or when its own context ends.
    pub(super) fn poll_result(&mut self, w: &Waiter) -> Poll<Result<T, JobError>> {
        if self.polled.is_none() {
            if self.job.meta().shared.is_forked() && !self.job.latch().is_done() {
                return Poll::Ready(Err(JobError::Abandoned)); // its workers are not here
            }
            self.polled = Some(Waiting::new(self.wait(), self.ends()));
        }
        let Some(waiting) = &mut self.polled else { unreachable!("just made") };
        match waiting.poll_wait(w) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(result)) => {
                (self.polled, self.taken) = (None, true);
                Poll::Ready(result)
            }
            Poll::Ready(Err(_)) if self.abandoned().check().is_err() => Poll::Ready(self.ended(Err(()))),
            Poll::Ready(Err(why)) => {
                self.job.shed(why);
                // Running jobs are waited for, whatever their context says.
                let rest = Waiting::new(ResultWait(self.job.clone()), self.abandoned());
                let ended = self.polled.insert(rest).poll_wait(w);
                ended.map(|ended| self.ended(ended))
            }
        }
    }

    fn ended<E>(&mut self, ended: Result<Result<T, JobError>, E>) -> Result<T, JobError> {
        self.polled = None;
        ended.unwrap_or_else(|_| self.abandon())
    }

    /// Drops the job unrun if it is still queued, because nobody is left to want it.
    pub(super) fn shed_if_queued(&self) {
        self.job.shed(Interrupted::Cancelled(CancelCause::Dropped));
    }

    /// Stops waiting; the job goes on.
    pub(super) fn leave(&mut self) {
        self.polled = None;
    }

    /// On one of the pool's own workers: runs the job here if it is still queued.
    pub(super) fn claim_if_own(&self) {
        if self.job.meta().shared.is_own_worker() {
            self.job.claim();
        }
    }
}

impl<T> Future for JobHandle<T> {
    type Output = Result<T, JobError>;

    fn poll(mut self: Pin<&mut Self>, task: &mut task::Context<'_>) -> Poll<Self::Output> {
        self.claim_if_own();
        self.poll_result(&Waiter::task(task.waker()))
    }
}

impl<T> Drop for JobHandle<T> {
    fn drop(&mut self) {
        if self.taken {
            return;
        }
        self.job.detach();
        if self.cancel_on_drop && !self.is_finished() {
            self.cancel_because(CancelCause::Dropped);
        }
        // A result that is there and that nobody took: what its drop does harms nobody, here as on a worker.
        if let Some(result) = self.take() {
            self.job.dispose(result);
        }
    }
}

impl<T> fmt::Debug for JobHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JobHandle")
            .field("pool", &self.job.meta().shared.name)
            .field("id", &self.id())
            .field("name", &self.name())
            .field("finished", &self.is_finished())
            .finish()
    }
}

/// The wait for a job's result.
struct ResultWait<T>(Arc<dyn Job<T>>);

impl<T> Wait for ResultWait<T> {
    type Output = Result<T, JobError>;

    fn poll_wait(&mut self, w: &Waiter) -> Poll<Self::Output> {
        self.0.latch().poll_wait(w)
    }

    fn give_up(&mut self) {
        self.0.latch().leave();
    }
}
