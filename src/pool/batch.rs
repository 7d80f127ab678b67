//! [`Batch`]: jobs whose results are taken together, as they complete or in the order of submission.
//!
//! **Invariants.** 1. A member stays in the list until its result has been handed out. 2. All share one context, a child of
//! the ambient one, so cancelling the batch is cancelling one token. 3. On one of the pool's own workers nothing here waits
//! for queued work: it runs it (P5). **Locking.** None of its own; `group.rs` has the lock that its jobs share.

mod members;
mod results;

use super::Pool;
use super::group::{Ended, Group, GroupWait, Member, Want};
use super::job::{self, Job};
use super::slot::Slot;
use super::submit::refuse;
use crate::context::{Context, ContextWait};
use crate::error::{CancelCause, Interrupted, JobError, RejectReason, Rejected};
use crate::sync::{Arc, Shared, look_again};
use crate::wait::{Waiting, block_on};
use members::Members;
use std::collections::VecDeque;
use std::fmt;

/// Why the others are cancelled when one has failed.
const FAILED: CancelCause = CancelCause::Because("another job of its batch failed");

/// Jobs of one result type whose results are taken together. Made by [`Pool::batch`].
///
/// - As they complete: it is an [`Iterator`], and [`next_async`](Self::next_async) is the same for tasks.
/// - In the order of submission: [`join_all`](Self::join_all), where the first failure cancels the rest, and
///   [`join_each`](Self::join_each), which waits for all whatever becomes of them.
///
/// A result costs the same however many jobs there are. **Dropping a batch cancels what has not ended**, so leaving a loop
/// over it early does; [`detach`](Self::detach) lets everything run on. To keep a running job from outliving what it borrows, or to wait for it
/// whatever happens, use [`Pool::scope`].
///
/// All its jobs run in one context, below the one that was ambient when it was made: when that ends, what is queued is shed,
/// and what runs sees it at its next check.
///
/// It keeps results until they are taken; the jobs it has in the pool are bounded by the pool's places, or more tightly by
/// [`in_flight`](Self::in_flight). It is a handle of the pool: while it lives, dropping the last [`Pool`] does not drain.
///
/// # Examples
///
/// ```
/// use watertight::Pool;
///
/// let pool = Pool::builder("pages").threads(2).build()?;
/// let mut pages = pool.batch();
/// for page in 1..=4_u32 {
///     pages.submit(move || page * 100)?;
/// }
/// let mut sum = 0;
/// for result in pages {
///     sum += result?; // in the order in which they end
/// }
/// assert_eq!(sum, 1000);
/// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
/// ```
#[must_use = "what has not ended is cancelled when it is dropped; join it or detach it"]
pub struct Batch<T> {
    pool: Pool,
    cx: Context,
    group: Shared<Group>,
    members: Members<T>,
    /// Over, and not yet handed out.
    ready: VecDeque<Ended>,
    bound: usize,
    submitted: u64,
    /// How many were over when last looked.
    over: u64,
    /// Its context has ended, and what was queued has been shed.
    shed: bool,
    /// The pool has abandoned what was left of it: nothing more is heard of that.
    abandoned: bool,
    polled: Option<Waiting<GroupWait, ContextWait>>,
}

impl Pool {
    /// A batch in the ambient context: jobs whose results are taken together.
    pub fn batch<T>(&self) -> Batch<T> {
        Batch {
            pool: self.clone(),
            cx: Context::current().captured().child(),
            group: Group::new(),
            members: Members::new(),
            ready: VecDeque::new(),
            bound: usize::MAX,
            submitted: 0,
            over: 0,
            shed: false,
            abandoned: false,
            polled: None,
        }
    }
}

impl<T> Batch<T> {
    /// Has no more than `jobs` of them in the pool at once, queued and running together: [`submit`](Self::submit) waits
    /// beyond that. Without it the pool's own places are the bound. 0 counts as 1.
    pub fn in_flight(mut self, jobs: usize) -> Self {
        self.bound = jobs.max(1);
        self
    }

    /// How many results have not been taken, those of jobs that have not ended included.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether all results have been taken.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Cancels all its jobs: what is queued never runs and is dropped here and now; what runs sees its token at its next
    /// check. Their results are still to be had, and no more are taken.
    pub fn cancel(&self) {
        self.cancel_because(CancelCause::Requested);
    }

    pub(super) fn cancel_because(&self, cause: CancelCause) {
        let token = self.cx.token();
        token.cancel_because(cause);
        self.shed_queued(token.cause().unwrap_or(Interrupted::Cancelled(cause)));
    }

    fn shed_queued(&self, why: Interrupted) {
        self.members.jobs().for_each(|job| _ = job.shed(why));
    }

    /// Lets all its jobs run on; their results are dropped.
    pub fn detach(mut self) {
        self.let_go();
    }

    /// Nobody will ask for the results.
    fn let_go(&mut self) {
        self.members.drain().for_each(|job| {
            job.detach();
            if let Some(result) = job.latch().take() {
                job.dispose(result);
            }
        });
    }

    /// Where its jobs go, and in which context.
    pub(super) fn origin(&self) -> (&Pool, &Context) {
        (&self.pool, &self.cx)
    }

    fn is_own_worker(&self) -> bool {
        self.pool.owner.shared.is_own_worker()
    }

    /// Takes note of those that are over.
    fn look(&mut self) {
        if !self.abandoned {
            self.over = self.group.look(&mut self.ready);
        }
    }

    /// Of those that are over and have not been taken, one has failed.
    fn has_failed(&self) -> bool {
        self.ready.iter().any(|ended| !ended.well)
    }

    fn under_way(&self) -> u64 {
        self.submitted - self.over
    }

    /// The result of one that is over.
    fn take_ready(&mut self) -> Option<Result<T, JobError>> {
        if self.ready.is_empty() {
            self.look();
        }
        let ended = self.ready.pop_front()?;
        let job = self.members.remove(ended.number)?;
        job.latch().take()
    }

    /// On one of the pool's own workers: runs the oldest that is still queued. False: there was none.
    fn claim(&mut self) -> bool {
        if !self.is_own_worker() {
            return false;
        }
        let before = self.over;
        while let Some(job) = self.members.next_to_claim() {
            job.claim();
            self.look();
            if self.over > before {
                return true;
            }
        }
        false
    }

    #[cfg(all(test, watertight_loom, not(watertight_shuttle)))]
    pub(super) fn members_for_tests(&self) -> impl Iterator<Item = &Arc<dyn Job<T>>> {
        self.members.jobs()
    }

    /// What its waits end with: its context, and when that has ended, that the pool abandons what runs.
    fn until(&self) -> Context {
        if self.shed { self.pool.owner.shared.abandoned.clone() } else { self.cx.clone() }
    }

    fn waits_for(&self, want: Want) -> GroupWait {
        GroupWait { group: self.group.clone(), want }
    }

    /// The context has ended: what is queued never runs. Or the pool has abandoned what is left, which is all over then.
    fn ended(&mut self, why: Interrupted) {
        if self.shed {
            self.members.jobs().for_each(|job| job.abandon());
            self.ready = self.members.numbers().map(|number| Ended { number, well: false }).collect();
            (self.over, self.abandoned) = (self.submitted, true);
            return;
        }
        self.shed = true;
        self.shed_queued(why);
    }

    /// Waits on this thread; when the context ends, for what it leaves.
    fn wait(&mut self, want: Want) {
        self.polled = None;
        // What is nearly done has ended in less time than it takes to sleep and be woken.
        let mut looks = 0;
        while look_again(&mut looks) {
            self.look();
            // A failure that has been looked at ends no further wait: it has to be seen here.
            if self.over >= want.over || want.or_failed && self.has_failed() {
                return;
            }
        }
        if self.pool.owner.shared.is_forked() {
            self.shed = true; // who would do them is not here
            return self.ended(Interrupted::Cancelled(CancelCause::Shutdown));
        }
        if let Err(why) = block_on(self.waits_for(want), &self.until()) {
            self.ended(why);
        }
    }

    fn want_one(&self) -> Want {
        Want { over: self.over + 1, or_failed: false }
    }
}

impl<T: Send + 'static> Batch<T> {
    /// Submits `f` to the pool, as one of the batch, waiting for a place if need be.
    ///
    /// # Blocking
    ///
    /// As [`Pool::submit`], and also while as many are in flight as [`in_flight`](Self::in_flight) allows. On one of the
    /// pool's own workers it never blocks: if the bound is reached, it first runs the oldest that is still queued.
    ///
    /// # Errors
    ///
    /// As [`Pool::submit`]: `f` comes back, with the reason; the batch goes on.
    pub fn submit<F>(&mut self, f: F) -> Result<(), Rejected<F>>
    where
        F: FnOnce() -> T + Send + 'static,
    {
        let room = self.make_room();
        let shared = &self.pool.owner.shared;
        let place = room.and_then(|()| self.pool.job().context(&self.cx).place());
        let slot = match place.map(|taken| Slot::new(taken, shared.clone())) {
            Ok(slot) => slot,
            Err(reason) => return Err(refuse(shared, reason, f)),
        };
        self.submit_into(slot, f);
        Ok(())
    }

    /// [`submit`](Self::submit) if there is a place for it now and the bound allows it. Never waits.
    ///
    /// # Errors
    ///
    /// As [`Pool::try_submit`].
    pub fn try_submit<F>(&mut self, f: F) -> Result<(), Rejected<F>>
    where
        F: FnOnce() -> T + Send + 'static,
    {
        let room = if self.has_room() { Ok(()) } else { Err(self.full()) };
        let shared = &self.pool.owner.shared;
        let place = room.and_then(|()| self.pool.job().context(&self.cx).try_place());
        let slot = match place.map(|taken| Slot::new(taken, shared.clone())) {
            Ok(slot) => slot,
            Err(reason) => return Err(refuse(shared, reason, f)),
        };
        self.submit_into(slot, f);
        Ok(())
    }

    pub(super) fn submit_into<F>(&mut self, slot: Slot, f: F)
    where
        F: FnOnce() -> T + Send + 'static,
    {
        let member = Member { group: self.group.clone(), number: self.submitted };
        self.submitted += 1;
        let job: Arc<dyn Job<T>> = job::of_group(slot, f, self.cx.clone(), None, Some(member));
        self.members.push(job.clone());
        self.pool.owner.shared.queue.push(job::entry(job));
    }

    fn has_room(&mut self) -> bool {
        if self.under_way() >= self.bound as u64 {
            self.look();
        }
        self.under_way() < self.bound as u64
    }

    fn full(&self) -> RejectReason {
        RejectReason::Full { limit: self.bound, waiting: 0 }
    }

    fn make_room(&mut self) -> Result<(), RejectReason> {
        while !self.has_room() {
            if self.is_own_worker() {
                if !self.claim() {
                    return Err(self.full());
                }
                continue;
            }
            self.cx.check()?;
            self.wait(self.want_one());
        }
        Ok(())
    }
}

impl<T> Drop for Batch<T> {
    fn drop(&mut self) {
        if !self.members.is_empty() {
            self.cancel_because(CancelCause::Dropped);
            self.let_go();
        }
    }
}

impl<T> fmt::Debug for Batch<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch").field("pool", &self.pool.name()).field("len", &self.len()).finish_non_exhaustive()
    }
}
