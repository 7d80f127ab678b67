//! What the pool's handles, jobs and workers share, and the two verbs that end it.
//!
//! **Invariants.** 1. (P1) places held ≤ threads + queue, and the queue has room for them all. 2. (P3) Draining closes
//! the places; whoever is told that the last one is back closes the queue, once. 3. The `stopped` token is cancelled by
//! the last worker that leaves. **Locking.** The lifecycle's lock is held for one step of it, never together with that of
//! the places.

use super::hooks::{AtIdle, Hooks};
use super::lifecycle::{Ended, Lifecycle, Stage};
use super::on_full::OnFull;
use super::places::Places;
use super::post::Post;
use super::resize::Size;
use super::size::SizeReason;
use super::slot::{Slots, Taken};
use super::stats::{Counters, PoolStats, add, read};
use super::told::Who;
use super::worker::{Start, Worker};
use crate::cancel::CancelToken;
use crate::context::{Context, is_held};
use crate::cpus::Pinning;
use crate::error::{CancelCause, Interrupted, RejectReason};
use crate::event::{Event, Observed};
use crate::queue::Queue;
use crate::sync::{Arc, Mutex, Patience, broken, thread_local};
use std::borrow::Cow;
use std::cell::Cell;

pub(super) struct Shared {
    /// Unlike any other pool's, ever.
    pub(super) id: u64,
    pub(super) name: Cow<'static, str>,
    /// How many workers there can be. Everybody else counts by this number.
    pub(super) seats: usize,
    pub(super) size: Size,
    pub(super) size_reason: SizeReason,
    pub(super) pinning: Pinning,
    pub(super) on_full: OnFull,
    /// Of those who wait for the end of a job.
    pub(super) patience: Patience,
    pub(super) places: Places,
    pub(super) queue: Queue<Worker>,
    pub(super) life: Mutex<Lifecycle>,
    pub(super) stopped: CancelToken,
    /// Cancelled when the time to drain is over: above what runs in the background.
    pub(super) cancelled: CancelToken,
    /// Ends when what still runs is abandoned: what the wait for a running job ends at.
    pub(super) abandoned: Context,
    /// One for each worker, and one for everybody else.
    pub(super) posts: Box<[Post]>,
    pub(super) counters: Counters,
    pub(super) observed: Observed,
    pub(super) hooks: Hooks,
    pub(super) at_idle: AtIdle,
    /// After so many jobs a worker is replaced.
    pub(super) retire_after: Option<u64>,
    /// Cancelled when the first workers are warm, or it is certain that they will not be.
    pub(super) ready: CancelToken,
    pub(super) start: Start,
    /// The process that has the threads.
    pub(super) process: u32,
}

thread_local! {
    /// The pool whose worker this thread is, 0 for none, and which of its workers. By a number that is given once: another
    /// pool may come to lie at the same address while this thread, which has left, runs its thread-locals' destructors.
    #[allow(clippy::missing_const_for_thread_local, reason = "loom's macro takes no const")]
    static WORKER_OF: Cell<(u64, usize)> = Cell::new((0, 0));
}

/// What is said to those who would wait for threads that are not there.
pub(super) const FORKED: CancelCause = CancelCause::Because("the process was forked: the pool's threads are not in it");

/// Whether this thread is a worker of any pool.
pub(super) fn is_any_worker() -> bool {
    WORKER_OF.try_with(Cell::get).is_ok_and(|(pool, _)| pool != 0)
}

impl Shared {
    /// Says that this thread is the pool's own worker of this number. Beyond the last number: one that counts with those
    /// who are none.
    pub(super) fn mark_this_thread(&self, worker: usize) {
        WORKER_OF.with(|pool| pool.set((self.id, worker)));
    }

    /// This thread is a worker no longer.
    pub(super) fn unmark_this_thread(&self) {
        let _ = WORKER_OF.try_with(|pool| pool.set((0, 0)));
    }

    /// Whether this process has the pool's threads: a fork copies everything else. A look at the system, for those who are
    /// about to wait.
    pub(super) fn is_forked(&self) -> bool {
        std::process::id() != self.process
    }

    /// Whether this thread is one of the pool's own workers.
    pub(super) fn is_own_worker(&self) -> bool {
        WORKER_OF.try_with(Cell::get).is_ok_and(|(pool, _)| pool == self.id)
    }

    /// Where this thread counts: the number of the worker it is, or the one after the last.
    pub(super) fn own_seat(&self) -> usize {
        match WORKER_OF.try_with(Cell::get) {
            Ok((pool, worker)) if pool == self.id => worker,
            _ => self.seats,
        }
    }

    /// A place now, or not at all.
    pub(super) fn try_place(&self) -> Result<Taken<'_>, RejectReason> {
        match self.places.try_take(1) {
            Ok(()) => Ok(Taken::new(self)),
            Err(reason) => Err(self.reason(reason)),
        }
    }

    /// So many places now, or none at all.
    pub(super) fn try_places(this: &Arc<Self>, so_many: usize) -> Result<Slots, RejectReason> {
        match this.places.try_take(so_many) {
            Ok(()) => Ok(Slots::new(this.clone(), so_many)),
            Err(reason) => Err(this.reason_for(so_many, reason)),
        }
    }

    /// Gives a place back, by the thread that counts there.
    pub(super) fn give_back(&self, seat: usize) {
        if self.places.give_back(seat) {
            self.last_place_is_back();
        }
    }

    /// The pool's own figures in place of its limit's: the limit counts queued and running jobs together.
    pub(super) fn reason(&self, reason: RejectReason) -> RejectReason {
        match reason {
            RejectReason::Full { waiting, .. } => {
                RejectReason::Full { limit: self.size.threads(), waiting: self.size.queue() + waiting }
            }
            other => other,
        }
    }

    /// The same for so many at once: more than there are is no matter of waiting.
    pub(super) fn reason_for(&self, so_many: usize, reason: RejectReason) -> RejectReason {
        match reason {
            RejectReason::Full { .. } if !self.places.can_ever_take(so_many) => {
                RejectReason::TooLarge { asked: so_many, limit: self.size.threads() + self.size.queue() }
            }
            other => self.reason(other),
        }
    }

    /// Tells the observer of a job that nobody above it can end.
    pub(super) fn accepted<'a>(&self, cx: &Context, who: impl Into<Who<'a>>) {
        if cx.is_detached() {
            let Who { id, name: job } = who.into();
            self.observed.tell(Event::Detached { name: &self.name, job, id });
        }
    }

    /// Counts a refusal and tells the observer.
    pub(super) fn refused(&self, reason: RejectReason) {
        add(match reason {
            RejectReason::Full { .. } | RejectReason::TooLarge { .. } => &self.counters.refused_full,
            RejectReason::ShuttingDown => &self.counters.refused_shutdown,
            _ => &self.counters.refused_ended,
        });
        self.observed.tell(Event::Rejected { name: &self.name, reason });
    }

    pub(super) fn shed(&self, who: Who<'_>, cause: Interrupted) {
        add(&self.counters.shed);
        self.tell_shed(who, cause);
    }

    /// The same for one that has been counted.
    pub(super) fn tell_shed(&self, who: Who<'_>, cause: Interrupted) {
        let Who { id, name: job } = who;
        self.observed.tell(Event::Shed { name: &self.name, job, id, cause });
    }

    /// Takes no more work.
    pub(super) fn drain(&self) {
        let ended = self.ended();
        self.life.lock().drain(ended);
        if !broken("pool: a drain leaves a pool paused") {
            self.queue.resume(); // what was admitted is done
        }
        if self.places.close() {
            self.last_place_is_back();
        }
        if broken("pool: whoever drains stops the workers") && self.places.in_use() > 0 {
            self.queue.close();
        }
    }

    /// Nothing is in flight and nothing will be: workers may leave. Called once, see invariant 2.
    pub(super) fn last_place_is_back(&self) {
        self.life.lock().stop();
        self.queue.close();
    }

    /// The ambient context, for a job that is submitted now. At home on one of this pool's own workers it is the background,
    /// for the job will have a home of its own, unless the job that submits can be cancelled: then what it submits is below it.
    pub(super) fn submitters_context(&self) -> Context {
        let cx = Context::current();
        if cx.is_home() && self.is_own_worker() && !is_held() { Context::background() } else { cx }
    }

    /// A worker has left.
    pub(super) fn worker_left(&self) {
        let last = self.life.lock().left();
        self.has_stopped(last);
    }

    fn has_stopped(&self, stopped: bool) {
        if stopped {
            self.ready.cancel_because(CancelCause::Shutdown);
            self.stopped.cancel_because(CancelCause::Shutdown);
        }
    }

    /// How many jobs have ended so far.
    pub(super) fn ended(&self) -> Ended {
        self.progress().1
    }

    /// How many jobs have begun, and how many have ended.
    pub(super) fn progress(&self) -> (u64, Ended) {
        let (jobs, shed) = (self.counters.jobs(), read(&self.counters.shed));
        (jobs.begun, Ended { ran: jobs.finished + jobs.panicked, shed })
    }

    pub(super) fn accepted_so_far(&self) -> u64 {
        let c = &self.counters;
        self.queue.pushed() + read(&c.ran_by_caller) + read(&c.dropped_newest)
    }

    pub(super) fn stage(&self) -> Stage {
        self.life.lock().stage()
    }

    pub(super) fn stats(&self) -> PoolStats {
        let c = &self.counters;
        let in_flight = self.places.in_use();
        let jobs = c.jobs();
        let running = jobs.running();
        PoolStats {
            threads: self.size.threads(),
            queue: self.size.queue(),
            alive: self.life.lock().alive(),
            pinned: read(&c.pinned) as usize,
            in_flight,
            running,
            queued: in_flight.saturating_sub(running),
            accepted: self.accepted_so_far(),
            finished: jobs.finished,
            panicked: jobs.panicked,
            shed: read(&c.shed),
            ran_by_caller: read(&c.ran_by_caller),
            displaced: read(&c.displaced),
            dropped_newest: read(&c.dropped_newest),
            refused_full: read(&c.refused_full),
            refused_ended: read(&c.refused_ended),
            refused_shutdown: read(&c.refused_shutdown),
        }
    }
}
