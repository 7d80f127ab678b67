//! The gateway's own books: who is inside, which threads are held, what was attempted, and what ran on for nobody.
//!
//! A *job* is what an architecture hands to a thread. Whoever waits for it holds a [`Waiting`]; dropping that notes when
//! the caller was gone. The job may run on: that is the waste the story measures.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::answer::{Answer, Refusal, RefusedBy};
use super::stats::{Attempt, Breaker, Log, RouteStats, Stats, Transition};
use crate::clock::now_us;
use crate::plan::{Phase, Route};

/// A request, as it came in.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Inbound {
    pub(crate) route: Route,
    pub(crate) phase: Phase,
    pub(crate) arrived_us: u64,
}

#[derive(Default)]
struct RouteBook {
    open: AtomicU64,
    busy: AtomicU64,
    busy_peak: AtomicU64,
    requests: [AtomicU64; Phase::COUNT],
    submitted: [AtomicU64; Phase::COUNT],
    started: [AtomicU64; Phase::COUNT],
    refused_open: AtomicU64,
    refused_full: AtomicU64,
    refused_late: AtomicU64,
    failed: AtomicU64,
}

#[derive(Default)]
struct OrphanBook {
    jobs: AtomicU64,
    thread_us: AtomicU64,
    overrun_us: AtomicU64,
}

/// Counters are relaxed: nobody decides anything by them while the gateway runs.
pub(crate) struct Ledger {
    routes: [RouteBook; Route::ALL.len()],
    orphans: OrphanBook,
    /// Grows with every attempt, so it is kept only where somebody will read it.
    log: Option<Mutex<Log>>,
}

/// A request inside the gateway; dropped when it is answered or its client has disconnected.
pub(crate) struct Open {
    ledger: Arc<Ledger>,
    route: Route,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.ledger.book(self.route).open.fetch_sub(1, Relaxed);
    }
}

/// What was handed to a thread.
#[derive(Debug)]
pub(crate) struct Job {
    inbound: Inbound,
    /// When the caller left; zero while it waits.
    gone_us: AtomicU64,
}

/// Held by whoever waits for a job.
pub(crate) struct Waiting(Arc<Job>);

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.gone_us.store(now_us(), Relaxed);
    }
}

/// A thread that is inside a downstream call.
pub(crate) struct Busy<'a> {
    ledger: &'a Ledger,
    job: &'a Job,
    started_us: u64,
    timeout: Duration,
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        let now = now_us();
        let Inbound { route, arrived_us, .. } = self.job.inbound;
        self.ledger.book(route).busy.fetch_sub(1, Relaxed);
        if route == Route::SICK {
            let attempt = Attempt { arrived_us, started_us: self.started_us, ended_us: now };
            self.ledger.note(|log| log.attempts.push(attempt));
        }
        let gone = self.job.gone_us.load(Relaxed);
        if gone > 0 {
            let orphans = &self.ledger.orphans;
            orphans.jobs.fetch_add(1, Relaxed);
            orphans.thread_us.fetch_add(now.saturating_sub(gone.max(self.started_us)), Relaxed);
            let due = self.started_us + self.timeout.as_micros() as u64;
            orphans.overrun_us.fetch_max(now.saturating_sub(due), Relaxed);
        }
    }
}

impl Ledger {
    pub(crate) fn new(keeps_log: bool) -> Self {
        let log = keeps_log.then(Mutex::default);
        Self { routes: Default::default(), orphans: OrphanBook::default(), log }
    }

    fn book(&self, route: Route) -> &RouteBook {
        &self.routes[route.index()]
    }

    fn log(&self) -> Option<MutexGuard<'_, Log>> {
        self.log.as_ref().map(|log| log.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn note(&self, what: impl FnOnce(&mut Log)) {
        if let Some(mut log) = self.log() {
            what(&mut log);
        }
    }

    pub(crate) fn opened(self: &Arc<Self>, inbound: &Inbound) -> Open {
        let book = self.book(inbound.route);
        book.open.fetch_add(1, Relaxed);
        book.requests[inbound.phase.index()].fetch_add(1, Relaxed);
        Open { ledger: Arc::clone(self), route: inbound.route }
    }

    pub(crate) fn answered(&self, route: Route, answer: &Answer) {
        let book = self.book(route);
        match answer {
            Answer::Ok(_) => return,
            Answer::Refused(Refusal { by: RefusedBy::Breaker, .. }) => &book.refused_open,
            Answer::Refused(Refusal { by: RefusedBy::Deadline, .. }) => &book.refused_late,
            Answer::Refused(_) => &book.refused_full,
            Answer::Failed(_) | Answer::TimedOut(_) => &book.failed,
        }
        .fetch_add(1, Relaxed);
    }

    /// A job is about to be handed over, and its caller waits for it.
    pub(crate) fn submitted(&self, inbound: &Inbound) -> (Arc<Job>, Waiting) {
        self.book(inbound.route).submitted[inbound.phase.index()].fetch_add(1, Relaxed);
        let job = Arc::new(Job { inbound: *inbound, gone_us: AtomicU64::new(0) });
        (Arc::clone(&job), Waiting(job))
    }

    /// A thread goes downstream for `job`, for `timeout` at most.
    pub(crate) fn started<'a>(&'a self, job: &'a Job, timeout: Duration) -> Busy<'a> {
        let Inbound { route, phase, .. } = job.inbound;
        let book = self.book(route);
        let started_us = now_us();
        book.started[phase.index()].fetch_add(1, Relaxed);
        let busy = book.busy.fetch_add(1, Relaxed) + 1;
        book.busy_peak.fetch_max(busy, Relaxed);
        Busy { ledger: self, job, started_us, timeout }
    }

    pub(crate) fn breaker_changed(&self, route: Route, to: Breaker) {
        self.note(|log| log.transitions.push(Transition { at_us: now_us(), route, to }));
    }

    pub(crate) fn refused_in(&self, took: Duration) {
        self.note(|log| log.refusal_ns.record(took.as_nanos() as u64));
    }

    pub(crate) fn full_log(&self) -> Log {
        self.log().map(|log| log.clone()).unwrap_or_default()
    }

    pub(crate) fn stats(&self) -> Stats {
        let counts = |of: &[AtomicU64; Phase::COUNT]| std::array::from_fn(|i| of[i].load(Relaxed));
        let routes = Route::ALL.map(|route| {
            let book = self.book(route);
            RouteStats {
                open: book.open.load(Relaxed),
                busy: book.busy.load(Relaxed),
                busy_peak: book.busy_peak.load(Relaxed),
                queued: 0,
                breaker: None,
                requests: counts(&book.requests),
                submitted: counts(&book.submitted),
                started: counts(&book.started),
                refused_open: book.refused_open.load(Relaxed),
                refused_full: book.refused_full.load(Relaxed),
                refused_late: book.refused_late.load(Relaxed),
                failed: book.failed.load(Relaxed),
            }
        });
        let orphans = super::stats::Orphans {
            jobs: self.orphans.jobs.load(Relaxed),
            thread_us: self.orphans.thread_us.load(Relaxed),
            overrun_us: self.orphans.overrun_us.load(Relaxed),
        };
        Stats { at_us: now_us(), routes, queued_shared: 0, orphans }
    }
}
