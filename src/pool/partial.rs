//! [`Partial`]: several jobs joined by one context's end, some of which must arrive and some of which may.
//!
//! **States** of a branch: pending → ended. **Invariants.** 1. A branch that has not ended when the join does is cancelled:
//! first all that are queued, then, by the drop of their handles, those that run. 2. A mandatory branch that ends without
//! a value ends the join. 3. What has ended is taken before the context is looked at, and once more when that has ended: so what
//! had arrived by then is never lost.
//! **Locking.** None of its own.

use super::handle::JobHandle;
use crate::context::Context;
use crate::error::{Interrupted, JobError};
use crate::sync::{Waiter, broken};
use crate::wait::{Wait, Waiting, block_on};
use std::fmt;
use std::future::Future;
use std::mem::take;
use std::task::Poll;

/// Branches of one request, joined together: what has arrived when the context ends is the answer, and the rest is
/// cancelled.
///
/// The answer needs every [`mandatory`](Self::mandatory) branch and takes what it gets of the
/// [`optional`](Self::optional) ones. All have the same result type; where they differ, give them an enum, or join the
/// mandatory ones by [`JobHandle::join_within`] and the rest here. It is made for a page's handful of branches: each that
/// ends costs a look at those still pending.
///
/// Dropping it, or the future of [`join_async`](Self::join_async), cancels all branches.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use watertight::{Context, Pool};
/// use watertight::pool::Partial;
///
/// let pool = Pool::builder("page").threads(3).build()?;
/// let cx = Context::current().with_timeout(Duration::from_millis(200));
/// let page = Partial::new()
///     .mandatory(pool.submit(|| "the article")?)
///     .optional(pool.submit(|| "what others read")?)
///     .optional(pool.submit(|| -> &str { panic!("no weather today") })?)
///     .join(&cx)?;
/// assert_eq!(page.mandatory, ["the article"]);
/// assert_eq!(page.optional[0].as_ref().ok(), Some(&"what others read"));
/// assert!(page.optional[1].is_err());
/// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
/// ```
#[must_use = "branches are cancelled when it is dropped; join it"]
pub struct Partial<T> {
    mandatory: Vec<Branch<T>>,
    optional: Vec<Branch<T>>,
}

enum Branch<T> {
    Pending(JobHandle<T>),
    Ended(Result<T, JobError>),
}

impl<T> Partial<T> {
    /// No branches yet.
    pub fn new() -> Self {
        Self { mandatory: Vec::new(), optional: Vec::new() }
    }

    /// Adds a branch without which there is no answer. From now on dropping it cancels the job.
    pub fn mandatory(mut self, handle: JobHandle<T>) -> Self {
        self.mandatory.push(Branch::new(handle));
        self
    }

    /// Adds a branch that the answer can do without. From now on dropping it cancels the job.
    pub fn optional(mut self, handle: JobHandle<T>) -> Self {
        self.optional.push(Branch::new(handle));
        self
    }

    /// Waits until all branches have ended, or the context has, and gives what has arrived: everything that had ended when
    /// the context did. What has not is cancelled: still queued, it never runs; running, it sees its token at its next
    /// check and keeps its place until it ends.
    ///
    /// # Blocking
    ///
    /// Blocks this thread; the end of `cx` ends it, and so does a mandatory branch that fails. On one of the pool's own
    /// workers, jobs still queued are run right here, the mandatory ones first, one that has begun even beyond the end of
    /// `cx`.
    ///
    /// # Errors
    ///
    /// [`Incomplete`] as soon as a mandatory branch has failed, or at the end of `cx` if one has not ended.
    pub fn join(mut self, cx: &Context) -> Result<Arrived<T>, Incomplete> {
        let ended = block_on(All { partial: &mut self, cx }, cx);
        self.finish(ended.err())
    }

    /// [`join`](Self::join) as a future.
    ///
    /// # Cancellation
    ///
    /// Dropping it cancels all branches that have not ended.
    ///
    /// # Errors
    ///
    /// As [`join`](Self::join).
    pub fn join_async(mut self, cx: &Context) -> impl Future<Output = Result<Arrived<T>, Incomplete>> + use<T> {
        let cx = cx.clone();
        async move {
            let ended = Waiting::new(All { partial: &mut self, cx: &cx }, &cx).await;
            self.finish(ended.err())
        }
    }

    /// Takes what has ended since it was looked at: the context may have ended after it.
    fn take_last(&mut self) {
        for branch in self.mandatory.iter_mut().chain(&mut self.optional) {
            let Branch::Pending(handle) = branch else { continue };
            if let Some(ended) = handle.take() {
                *branch = Branch::Ended(ended);
            }
        }
    }

    /// Sheds what is still queued. Before anything that runs is cancelled: a worker that is freed by that would begin the
    /// next branch, only to be told to stop.
    fn call_off(&self) {
        for branch in self.mandatory.iter().chain(&self.optional) {
            if let Branch::Pending(handle) = branch {
                handle.shed_if_queued();
            }
        }
    }

    /// `why` the wait ended early, if it did.
    fn finish(mut self, why: Option<Interrupted>) -> Result<Arrived<T>, Incomplete> {
        // Only where a mandatory branch has failed is anything pending without an interruption, and then it goes unseen.
        let late = || BranchError::Late(why.unwrap_or(Interrupted::DeadlinePassed));
        if !broken("partial: what arrives last is not looked for") {
            self.take_last();
        }
        self.call_off();
        let mut mandatory = Vec::with_capacity(self.mandatory.len());
        let mut missing = None;
        for (branch, state) in take(&mut self.mandatory).into_iter().enumerate() {
            match state {
                Branch::Ended(Ok(value)) => mandatory.push(value),
                // A failure says more than that others were late because of it.
                Branch::Ended(Err(why)) => {
                    return Err(Incomplete { branch, why: BranchError::Failed(why) });
                }
                Branch::Pending(_) => missing = missing.or(Some(branch)),
            }
        }
        if let Some(branch) = missing {
            return Err(Incomplete { branch, why: late() });
        }
        let optional = take(&mut self.optional).into_iter().map(|state| match state {
            Branch::Ended(ended) => ended.map_err(BranchError::Failed),
            Branch::Pending(_) => Err(late()),
        });
        Ok(Arrived { mandatory, optional: optional.collect() })
    }
}

/// The wait for all of them, or for the failure of a mandatory one.
struct All<'a, T> {
    partial: &'a mut Partial<T>,
    cx: &'a Context,
}

impl<T> Wait for All<'_, T> {
    type Output = ();

    fn poll_wait(&mut self, w: &Waiter) -> Poll<()> {
        let Partial { mandatory, optional } = &mut *self.partial;
        let mut pending = false;
        for branch in mandatory.iter_mut() {
            pending |= branch.look(self.cx, w);
            if matches!(branch, Branch::Ended(Err(_))) {
                return Poll::Ready(());
            }
        }
        for branch in optional.iter_mut() {
            pending |= branch.look(self.cx, w);
        }
        if pending { Poll::Pending } else { Poll::Ready(()) }
    }

    fn give_up(&mut self) {
        for branch in self.partial.mandatory.iter_mut().chain(&mut self.partial.optional) {
            if let Branch::Pending(handle) = branch {
                handle.leave();
            }
        }
    }
}

impl<T> Branch<T> {
    fn new(handle: JobHandle<T>) -> Self {
        Self::Pending(if broken("partial: what is late is not cancelled") { handle } else { handle.cancel_on_drop() })
    }

    /// Whether it is still pending; if so, `w` is woken when it has ended.
    fn look(&mut self, cx: &Context, w: &Waiter) -> bool {
        let Self::Pending(handle) = self else { return false };
        // Running a queued job here takes time: those after it are not begun once the time is over.
        if cx.check().is_ok() {
            handle.claim_if_own();
        }
        let Poll::Ready(ended) = handle.poll_result(w) else { return true };
        *self = Self::Ended(ended);
        false
    }
}

impl<T> Drop for Partial<T> {
    fn drop(&mut self) {
        self.call_off();
    }
}

impl<T> Default for Partial<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> fmt::Debug for Partial<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Partial")
            .field("mandatory", &self.mandatory.len())
            .field("optional", &self.optional.len())
            .finish_non_exhaustive()
    }
}

/// What the branches of a [`Partial`] gave.
#[derive(Debug)]
#[non_exhaustive]
pub struct Arrived<T> {
    /// The values of the mandatory branches, all of them, in the order in which they were added.
    pub mandatory: Vec<T>,
    /// The values of the optional branches, or why there is none, in the order in which they were added.
    pub optional: Vec<Result<T, BranchError>>,
}

/// Why a branch of a [`Partial`] gave no value.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BranchError {
    /// It had not ended when the join did. It was cancelled; whether it had begun is unknown.
    #[error("not there in time")]
    Late(#[source] Interrupted),
    /// It ended without a value.
    #[error("failed")]
    Failed(#[source] JobError),
}

/// A mandatory branch of a [`Partial`] gave no value. All other branches that had not ended are cancelled.
#[derive(Debug, thiserror::Error)]
#[error("mandatory branch {branch} is missing")]
#[non_exhaustive]
pub struct Incomplete {
    /// Which one, counting the mandatory ones from 0 in the order in which they were added.
    pub branch: usize,
    /// Why.
    #[source]
    pub why: BranchError,
}
