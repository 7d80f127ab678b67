//! [`Scope`]: jobs that borrow from the stack that submits them.
//!
//! **States.** open → over: the closure has returned or panicked, and every job that entered is over. **Invariants.** Those
//! of `erase.rs`; and: on one of the pool's own workers nothing here waits for a place or for queued work, which is run right
//! there (P5), so scopes of one pool may be nested as deep as the stack allows. **Locking.** The roll's lock and the
//! group's are each held alone, and no user code runs under them.

mod borrows;
mod erase;
#[cfg(all(test, watertight_loom, not(watertight_shuttle)))]
mod loom_tests;
#[cfg(all(test, not(watertight_loom)))]
mod tests;

use super::Pool;
use super::group::{Group, Member, Want};
use super::handle::JobHandle;
use super::job::{self, Job, Popped};
use super::map::{Intake, Ordered, Place, refused};
use super::{here, worker::Worker};
use crate::context::Context;
use crate::error::{CancelCause, Interrupted, JobError, RejectReason};
use crate::queue::InlineJob;
use crate::sync::{Arc, Mutex, Shared, Waiter, broken, drop_quietly};
use crate::wait::{Wait, block_on};
use erase::Entered;
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::task::Poll;

/// Why the jobs of a scope whose closure panicked are cancelled.
const PANICKED: CancelCause = CancelCause::Because("the scope that submitted it panicked");

/// Where jobs that borrow are submitted. Given to the closure of [`Pool::scope`], and to its jobs if they capture it.
///
/// `'scope` is the time from the scope's beginning until all its jobs are over; `'env` is everything that lasts longer and
/// may be borrowed.
pub struct Scope<'scope, 'env: 'scope> {
    pool: Pool,
    /// The parent of its jobs' contexts.
    cx: Context,
    group: Shared<Group>,
    /// This process has none of the pool's threads.
    forked: bool,
    roll: Mutex<Roll>,
    // Invariant in both, as `std::thread::Scope` is: else a job could be taken for one of a longer or a shorter scope.
    scope: PhantomData<&'scope mut &'scope ()>,
    env: PhantomData<&'env mut &'env ()>,
}

/// Who has entered.
#[derive(Default)]
struct Roll {
    /// So many jobs were numbered, and so many of them have entered.
    numbered: u64,
    entered: u64,
    /// By number; those that are over are taken out by whoever enters next.
    jobs: BTreeMap<u64, Shared<dyn Entered>>,
    /// The closure has ended: whoever enters says so to who waits for them all.
    ending: bool,
}

impl Pool {
    /// Runs `f`, which may submit jobs that borrow from this stack, and returns when all of them are over.
    ///
    /// A job of a scope cannot be refused: with no place for it, submitting waits, and on one of the pool's own workers, or
    /// if the pool is shutting down, it is run right there. While queued it may be displaced, as any job, where others submit with
    /// [`OnFull::DropOldest`](super::OnFull::DropOldest). So scopes of one pool may be nested, on one worker too.
    ///
    /// # Blocking
    ///
    /// Blocks this thread until `f` has returned and every job of the scope is over. When the ambient context ends, what is
    /// queued is shed; what runs is waited for, because it borrows: let it look at [`Context::check`]. On one of the pool's
    /// own workers, what is queued is run right here.
    ///
    /// # Panics
    ///
    /// With the panic of `f`, after what is queued was cancelled and what runs has ended; else with that of the first job that
    /// panicked and whose handle was dropped instead of joined. A handle that is kept beyond the scope, or forgotten, keeps
    /// its job's panic.
    ///
    /// # Examples
    ///
    /// ```
    /// use watertight::Pool;
    ///
    /// let pool = Pool::builder("sums").threads(2).build()?;
    /// let parts = vec![vec![1, 2, 3], vec![4, 5], vec![6]];
    /// let total: u32 = pool.scope(|s| {
    ///     let sums: Vec<_> = parts.iter().map(|part| s.submit(move || part.iter().sum::<u32>())).collect();
    ///     sums.into_iter().map(|sum| sum.join().unwrap()).sum()
    /// });
    /// assert_eq!(total, 21);
    /// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
    /// ```
    pub fn scope<'env, F, R>(&self, f: F) -> R
    where
        F: for<'scope> FnOnce(&'scope Scope<'scope, 'env>) -> R,
    {
        let scope = Scope {
            pool: self.clone(),
            cx: Context::current().captured().child(),
            group: Group::new(),
            forked: self.owner.shared.is_forked(),
            roll: Mutex::new(Roll::default()),
            scope: PhantomData,
            env: PhantomData,
        };
        let unwound = AbortIfUnwound;
        let returned = catch_unwind(AssertUnwindSafe(|| f(&scope)));
        if returned.is_err() {
            scope.cancel_because(PANICKED);
        }
        scope.wait_for_all();
        std::mem::forget(unwound);
        let unjoined = scope.group.take_panic();
        match (returned, unjoined) {
            (Err(payload), unjoined) => {
                drop_quietly(unjoined);
                resume_unwind(payload)
            }
            (Ok(value), Some(unjoined)) => {
                drop_quietly(value);
                unjoined.resume()
            }
            (Ok(value), None) => value,
        }
    }
}

/// Invariant 1 of `erase.rs` is kept at any price: were there a panic of ours before all jobs are over, going on would let
/// them use what is gone.
struct AbortIfUnwound;

impl Drop for AbortIfUnwound {
    fn drop(&mut self) {
        std::process::abort();
    }
}

impl<'scope, 'env> Scope<'scope, 'env> {
    /// Submits `f`, which may borrow what lasts longer than the scope, and the scope itself. Its handle is like any other's,
    /// and need not be joined.
    ///
    /// # Blocking
    ///
    /// Blocks this thread until there is a place or the scope's context ends. On one of the pool's own workers, or if the
    /// pool is shutting down, it never waits: with no place, `f` is run right here.
    ///
    /// # Cancellation
    ///
    /// If the context has ended, `f` is dropped and the handle says that it was [`Shed`](crate::JobError::Shed).
    pub fn submit<F, T>(&'scope self, f: F) -> JobHandle<T>
    where
        F: FnOnce() -> T + Send + 'scope,
        T: Send + 'scope,
    {
        let place = Place::ask(&self.pool, &self.cx, true);
        self.submit_into(place, self.cx.child(), f)
    }

    /// Applies `f` to the items on the pool's threads: an iterator of the results, in the order of the items. As
    /// [`Pool::map`], for what borrows.
    ///
    /// # Examples
    ///
    /// ```
    /// use watertight::Pool;
    ///
    /// let pool = Pool::builder("lengths").threads(2).build()?;
    /// let (text, stop) = (String::from("so much text"), String::from("much"));
    /// let lengths: Vec<usize> = pool.scope(|s| {
    ///     s.map(text.split(' '), |word| if word == stop { 0 } else { word.len() }).map(Result::unwrap).collect()
    /// });
    /// assert_eq!(lengths, [2, 0, 4]);
    /// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
    /// ```
    pub fn map<I, F, U>(
        &'scope self,
        items: I,
        f: F,
    ) -> impl Iterator<Item = Result<U, JobError>> + use<'scope, 'env, I, F, U>
    where
        I: IntoIterator + 'scope,
        I::Item: Send + 'scope,
        F: Fn(I::Item) -> U + Send + Sync + 'scope,
        U: Send + 'scope,
    {
        let threads = self.pool.owner.shared.size.threads();
        let mut ordered = Ordered::new(ToScope(self), self.cx.child(), items.into_iter(), f, threads);
        std::iter::from_fn(move || ordered.give())
    }

    /// Cancels all jobs of the scope: what is queued never runs and is dropped here and now; what runs sees its token at its
    /// next check. What is submitted from now on is shed.
    pub fn cancel(&self) {
        self.cancel_because(CancelCause::Requested);
    }

    fn cancel_because(&self, cause: CancelCause) {
        let token = self.cx.token();
        token.cancel_because(cause);
        self.shed_queued(token.cause().unwrap_or(Interrupted::Cancelled(cause)));
    }

    fn shed_queued(&self, why: Interrupted) {
        let jobs: Vec<_> = self.roll.lock().jobs.values().cloned().collect();
        jobs.into_iter().for_each(|job| job.shed(why));
    }

    fn submit_into<F, T>(&'scope self, place: Place, cx: Context, f: F) -> JobHandle<T>
    where
        F: FnOnce() -> T + Send + 'scope,
        T: Send + 'scope,
    {
        let shared = &self.pool.owner.shared;
        let member = Member { group: self.group.clone(), number: self.number() };
        let job = match place {
            Place::There(slot) if !self.forked => return self.enter(job::of_group(slot, f, cx, None, Some(member))),
            Place::There(_) | Place::Here | Place::Full | Place::Refused(RejectReason::ShuttingDown) => {
                here::run(shared, cx, Some(member), f)
            }
            Place::Refused(reason) => {
                let why = refused(&self.pool, &cx, reason, f);
                here::ended(shared, cx, Some(member), Err(why))
            }
        };
        // SAFETY: it is over: it ran here, or never will.
        JobHandle::new(unsafe { erase::for_handle(job) })
    }

    /// A number for a job; those that are over leave the roll.
    fn number(&self) -> u64 {
        let mut ended = VecDeque::new();
        self.group.look(&mut ended);
        let mut roll = self.roll.lock();
        let left: Vec<_> = ended.iter().filter_map(|ended| roll.jobs.remove(&ended.number)).collect();
        let number = roll.numbered;
        roll.numbered += 1;
        drop(roll);
        drop_quietly(left);
        number
    }

    /// Counts a job in, queues it and hands it over.
    fn enter<T: Send + 'scope>(&self, job: Arc<dyn Job<T> + 'scope>) -> JobHandle<T> {
        // SAFETY: it enters below.
        let queued = unsafe { erase::for_queue(job.clone()) };
        // SAFETY: the same.
        let handle = JobHandle::new(unsafe { erase::for_handle(job) });
        let mut roll = self.roll.lock();
        roll.entered += 1;
        let Some(Member { number, .. }) = &handle.job.meta().member else { unreachable!("it was given one") };
        roll.jobs.insert(*number, queued.clone());
        let ending = roll.ending;
        drop(roll);
        if ending {
            self.group.nudge();
        }
        let entry = Entry(Some(queued));
        self.pool.owner.shared.queue.push(InlineJob::new(move |worker: &Worker| entry.work(worker)));
        handle
    }

    /// Waits until every job that has entered is over, whatever the context says.
    fn wait_for_all(&self) {
        if let Err(why) = block_on(AllOver(self), &self.cx) {
            self.shed_queued(why);
            let Ok(()) = block_on(AllOver(self), &Context::background()) else {
                unreachable!("the background context never ends")
            };
        }
    }
}

/// The wait for all of a scope's jobs. On one of the pool's own workers it runs those that are queued.
struct AllOver<'a, 'scope, 'env>(&'a Scope<'scope, 'env>);

impl AllOver<'_, '_, '_> {
    /// The oldest job that nobody on this thread has claimed.
    fn claims(&self) -> Option<Shared<dyn Entered>> {
        if !self.0.pool.owner.shared.is_own_worker() {
            return None;
        }
        self.0.roll.lock().jobs.pop_first().map(|(_, job)| job)
    }
}

impl Wait for AllOver<'_, '_, '_> {
    type Output = ();

    fn poll_wait(&mut self, w: &Waiter) -> Poll<()> {
        let Scope { roll, group, .. } = self.0;
        loop {
            while let Some(job) = self.claims() {
                job.claim();
                drop_quietly(job);
            }
            let entered = {
                let mut roll = roll.lock();
                roll.ending = true;
                roll.entered
            };
            let polled = group.poll(Want { over: entered, or_failed: false }, w);
            // A job that was not over then may have submitted another.
            if roll.lock().entered == entered || broken("scope: who enters late is not waited for") {
                return polled;
            }
        }
    }

    fn give_up(&mut self) {
        self.0.group.leave();
    }
}

/// What the queue holds of a job.
struct Entry(Option<Shared<dyn Entered>>);

impl Entry {
    fn work(mut self, worker: &Worker) {
        if let Some(job) = self.0.take() {
            job.popped(Popped::for_worker(worker));
            drop_quietly(job);
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if let Some(job) = self.0.take() {
            job.popped(Popped::Dropped);
        }
    }
}

struct ToScope<'scope, 'env>(&'scope Scope<'scope, 'env>);

impl<'scope, U: Send + 'scope> Intake<'scope, U> for ToScope<'scope, '_> {
    fn pool(&self) -> &Pool {
        &self.0.pool
    }

    fn submit<F: FnOnce() -> U + Send + 'scope>(&self, place: Place, cx: &Context, work: F) -> JobHandle<U> {
        self.0.submit_into(place, cx.clone(), work)
    }
}

impl fmt::Debug for Scope<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scope").field("pool", &self.pool.name()).finish_non_exhaustive()
    }
}
