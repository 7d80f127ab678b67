//! [`Map`]: a closure applied to an iterator's items by a pool, and the results in the order of the input.
//!
//! **States** of an item: in the input → spare (pulled, and no place was free) → in the window (in the pool, or ended) →
//! handed out. **Invariants.** 1. Every item gives one result. 2. No more than `bound` are in the window, and at most one is
//! spare: so a consumer that stops pulling stops the input. 3. With nothing in the window it waits for a place, or runs the
//! item right here on one of the pool's own workers: so it always goes on. 4. No place is held while the input is asked for
//! an item: the input may be a map on the same pool. **Locking.** None of its own.

mod unordered;

pub use unordered::Unordered;

use super::Pool;
use super::handle::JobHandle;
use super::slot::Slot;
use super::{here, job};
use crate::context::Context;
use crate::error::{CancelCause, Interrupted, JobError, RejectReason};
use crate::sync::{Shared, drop_quietly};
use std::collections::VecDeque;
use std::fmt;

/// How many items for each thread are under way unless it is told otherwise: enough to keep the threads busy while the
/// consumer is at a result.
const PER_THREAD: usize = 4;

fn bound(threads: usize) -> usize {
    threads.saturating_mul(PER_THREAD)
}

/// Where a map's jobs go: into a pool, or into a scope of one.
pub(super) trait Intake<'j, U: Send + 'j> {
    fn pool(&self) -> &Pool;

    /// A job in an admitted place, or without one.
    fn submit<F: FnOnce() -> U + Send + 'j>(&self, place: Place, cx: &Context, work: F) -> JobHandle<U>;
}

/// What became of the wish for a place.
pub(super) enum Place {
    Here,
    There(Slot),
    /// None now.
    Full,
    Refused(RejectReason),
}

impl Place {
    /// Waits for one if `wait` says so and this is none of the pool's own workers, where the work is done right here
    /// instead.
    pub(super) fn ask(pool: &Pool, cx: &Context, wait: bool) -> Self {
        let shared = &pool.owner.shared;
        let wish = pool.job().context(cx);
        let place = if wait { wish.place() } else { wish.try_place() };
        match place.map(|taken| Slot::new(taken, shared.clone())) {
            Ok(slot) => Self::There(slot),
            Err(RejectReason::Full { .. }) if wait => Self::Here,
            Err(RejectReason::Full { .. }) => Self::Full,
            Err(reason) => Self::Refused(reason),
        }
    }
}

/// Counts and tells of a refusal, and drops the work, which nobody gets back, in its context.
pub(super) fn refused<W>(pool: &Pool, cx: &Context, reason: RejectReason, work: W) -> JobError {
    pool.owner.shared.refused(reason);
    cx.in_scope(|| drop_quietly(work));
    JobError::Shed(match reason {
        RejectReason::DeadlinePassed => Interrupted::DeadlinePassed,
        RejectReason::Cancelled(cause) => Interrupted::Cancelled(cause),
        _ => Interrupted::Cancelled(CancelCause::Shutdown),
    })
}

/// The driver of both maps.
pub(super) struct Ordered<S, I: Iterator, F, U> {
    intake: S,
    /// Of all its jobs.
    cx: Context,
    items: Option<I>,
    spare: Option<I::Item>,
    f: Shared<F>,
    window: VecDeque<JobHandle<U>>,
    bound: usize,
}

impl<S, I: Iterator, F, U> Ordered<S, I, F, U> {
    pub(super) fn new(intake: S, cx: Context, items: I, f: F, threads: usize) -> Self {
        let bound = bound(threads);
        Self { intake, cx, items: Some(items), spare: None, f: Shared::new(f), window: VecDeque::new(), bound }
    }

    fn pull(&mut self) -> Option<I::Item> {
        if let Some(item) = self.spare.take() {
            return Some(item);
        }
        let item = self.items.as_mut()?.next();
        if item.is_none() {
            self.items = None;
        }
        item
    }

    pub(super) fn fill<'j>(&mut self)
    where
        S: Intake<'j, U>,
        I::Item: Send + 'j,
        F: Fn(I::Item) -> U + Send + Sync + 'j,
        U: Send + 'j,
    {
        while self.window.len() < self.bound {
            let Some(item) = self.pull() else { return };
            let place = Place::ask(self.intake.pool(), &self.cx, self.window.is_empty());
            if let Place::Full = place {
                self.spare = Some(item);
                return;
            }
            let f = self.f.clone();
            let work = move || f(item);
            self.window.push_back(self.intake.submit(place, &self.cx, work));
        }
    }

    pub(super) fn give<'j>(&mut self) -> Option<Result<U, JobError>>
    where
        S: Intake<'j, U>,
        I::Item: Send + 'j,
        F: Fn(I::Item) -> U + Send + Sync + 'j,
        U: Send + 'j,
    {
        self.fill();
        self.window.pop_front().map(JobHandle::join)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let here = self.window.len() + usize::from(self.spare.is_some());
        let (least, most) = self.items.as_ref().map_or((0, Some(0)), I::size_hint);
        (least.saturating_add(here), most.and_then(|most| most.checked_add(here)))
    }
}

impl<S, I: Iterator, F, U> Drop for Ordered<S, I, F, U> {
    fn drop(&mut self) {
        if self.window.is_empty() {
            return;
        }
        // All at once, before any worker that this frees begins the next.
        self.cx.token().cancel_because(CancelCause::Dropped);
        self.window.iter().for_each(JobHandle::shed_if_queued);
    }
}

/// A pool, for jobs that borrow nothing.
struct ToPool(Pool);

impl<U: Send + 'static> Intake<'static, U> for ToPool {
    fn pool(&self) -> &Pool {
        &self.0
    }

    fn submit<F: FnOnce() -> U + Send + 'static>(&self, place: Place, cx: &Context, work: F) -> JobHandle<U> {
        let (shared, cx) = (&self.0.owner.shared, cx.clone());
        JobHandle::new(match place {
            Place::There(slot) => {
                let job = job::of_group(slot, work, cx, None, None);
                shared.queue.push(job::entry(job.clone()));
                job
            }
            Place::Refused(reason) => {
                let why = refused(&self.0, &cx, reason, work);
                here::ended(shared, cx, None, Err(why))
            }
            Place::Here | Place::Full => here::run(shared, cx, None, work),
        })
    }
}

/// Results of a closure applied to an iterator's items by a pool, in the order of the items. Made by [`Pool::map`].
///
/// Every item gives one result; a panic, or an item that was never looked at because the context ended or the pool shut
/// down, is an `Err` in its place. Dropping it cancels what is queued and what runs.
#[must_use = "iterators do nothing unless consumed"]
pub struct Map<I: IntoIterator, F, U> {
    ordered: Ordered<ToPool, I::IntoIter, F, U>,
}

impl Pool {
    /// Applies `f` to the items on the pool's threads: an iterator of the results, in the order of the items.
    ///
    /// Nothing happens before the first result is asked for. The input is pulled on the consumer's thread, and only as far
    /// as there are places: at most four items for each thread are under way ([`Map::in_flight`] says otherwise), and one
    /// more may have been pulled. So an input of any length takes no more memory than that, and a consumer that stops
    /// pulling stops the input. Jobs run in one context below the one that is ambient now.
    ///
    /// # Blocking
    ///
    /// Its `next` blocks the thread until the next result in order is there. On one of the pool's own workers it never waits
    /// for a place or for what is queued: it does that work right there.
    ///
    /// # Cancellation
    ///
    /// When the context ends, what is queued is shed, and every item from then on gives
    /// [`Shed`](crate::JobError::Shed). Dropping the iterator cancels what is queued and what runs.
    ///
    /// # Examples
    ///
    /// ```
    /// use watertight::Pool;
    ///
    /// let pool = Pool::builder("sizes").threads(2).build()?;
    /// let words = ["a", "few", "words"];
    /// let sizes: Vec<usize> = pool.map(words, |word| word.len()).collect::<Result<_, _>>()?;
    /// assert_eq!(sizes, [1, 3, 5]);
    /// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
    /// ```
    pub fn map<I, F, U>(&self, items: I, f: F) -> Map<I, F, U>
    where
        I: IntoIterator,
        I::Item: Send + 'static,
        F: Fn(I::Item) -> U + Send + Sync + 'static,
        U: Send + 'static,
    {
        let cx = Context::current().captured().child();
        let threads = self.owner.shared.size.threads();
        Map { ordered: Ordered::new(ToPool(self.clone()), cx, items.into_iter(), f, threads) }
    }
}

impl<I: IntoIterator, F, U> Map<I, F, U> {
    /// Has no more than `items` of them under way at once, those that have ended and wait for their turn included. 0 counts
    /// as 1.
    pub fn in_flight(mut self, items: usize) -> Self {
        self.ordered.bound = items.max(1);
        self
    }
}

impl<I, F, U> Iterator for Map<I, F, U>
where
    I: IntoIterator,
    I::Item: Send + 'static,
    F: Fn(I::Item) -> U + Send + Sync + 'static,
    U: Send + 'static,
{
    type Item = Result<U, JobError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.ordered.give()
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.ordered.size_hint()
    }
}

impl<I, F, U> std::iter::FusedIterator for Map<I, F, U>
where
    I: IntoIterator,
    I::Item: Send + 'static,
    F: Fn(I::Item) -> U + Send + Sync + 'static,
    U: Send + 'static,
{
}

impl<I: IntoIterator, F, U> fmt::Debug for Map<I, F, U> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Map").field("under_way", &self.ordered.window.len()).finish_non_exhaustive()
    }
}
