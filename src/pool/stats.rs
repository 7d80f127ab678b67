//! The pool's counters and what a reader may make of them.

use crate::sync::Count;
use crate::sync::atomic::Ordering;

/// What a pool has done and is doing. Reading it never blocks a worker.
///
/// # Consistency
///
/// Each number is exact; two numbers of one snapshot may be read a moment apart. `in_flight` is the one number that
/// admission decides on. `running` counts jobs that have begun and not ended; `queued` is the difference. When nothing
/// is in flight and nobody submits, `accepted` is the sum of `finished`, `panicked` and `shed`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct PoolStats {
    /// Worker threads.
    pub threads: usize,
    /// Places for jobs that wait for a worker.
    pub queue: usize,
    /// Workers that have not left.
    pub alive: usize,
    /// Of those alive, workers that stay on a CPU of their own, as [`pin`](crate::pool::PoolBuilder::pin) asked: each once it
    /// has begun.
    pub pinned: usize,
    /// Admitted and not yet ended: queued and running together.
    pub in_flight: usize,
    /// Running now. A job that runs another on its own thread, by joining it, counts beside it: so it may exceed `threads`.
    pub running: usize,
    /// Waiting for a worker.
    pub queued: usize,
    /// Accepted since the start.
    pub accepted: u64,
    /// Ended with a value.
    pub finished: u64,
    /// Ended by a panic.
    pub panicked: u64,
    /// Accepted but dropped unrun.
    pub shed: u64,
    /// Run by the thread that submitted them, because there was no place ([`OnFull::CallerRuns`](super::OnFull)), or because
    /// it is one of the pool's own workers and [calls](super::Pool::call). Accepted too.
    pub ran_by_caller: u64,
    /// Dropped unrun for newer jobs ([`OnFull::DropOldest`](super::OnFull)). Shed too.
    pub displaced: u64,
    /// Dropped unrun because there was no place ([`OnFull::DropNewest`](super::OnFull)). Accepted and shed too.
    pub dropped_newest: u64,
    /// Refused: no free place, or not so many.
    pub refused_full: u64,
    /// Refused: the context had ended, or ended while waiting for a place.
    pub refused_ended: u64,
    /// Refused: shutting down.
    pub refused_shutdown: u64,
}

/// Counters nobody decides on.
#[derive(Debug)]
pub(super) struct Counters {
    /// One for each worker, and one for everybody else.
    tallies: Box<[Tally]>,
    pub(super) pinned: Count,
    pub(super) shed: Count,
    pub(super) ran_by_caller: Count,
    pub(super) displaced: Count,
    pub(super) dropped_newest: Count,
    pub(super) refused_full: Count,
    pub(super) refused_ended: Count,
    pub(super) refused_shutdown: Count,
}

/// What one worker counts, on cache lines of its own: nobody else writes there, so counting costs next to nothing. The
/// last is everybody's who is no worker.
#[derive(Debug)]
#[repr(align(128))]
struct Tally {
    of_one: bool,
    begun: Count,
    finished: Count,
    panicked: Count,
}

/// Jobs, all workers together.
#[derive(Default)]
pub(super) struct Jobs {
    pub(super) begun: u64,
    pub(super) finished: u64,
    pub(super) panicked: u64,
}

impl Jobs {
    /// The ends were read before the beginnings, so there are no more of them.
    pub(super) fn running(&self) -> usize {
        (self.begun - self.finished - self.panicked) as usize
    }
}

impl Tally {
    fn add(&self, counter: &Count) {
        if self.of_one {
            counter.store(counter.load(Ordering::Relaxed) + 1, Ordering::Release);
        } else {
            counter.fetch_add(1, Ordering::Release);
        }
    }
}

impl Counters {
    pub(super) fn new(workers: usize) -> Self {
        let tally = |worker| Tally {
            of_one: worker < workers,
            begun: Count::new(0),
            finished: Count::new(0),
            panicked: Count::new(0),
        };
        Self {
            tallies: (0..=workers).map(tally).collect(),
            pinned: Count::new(0),
            shed: Count::new(0),
            ran_by_caller: Count::new(0),
            displaced: Count::new(0),
            dropped_newest: Count::new(0),
            refused_full: Count::new(0),
            refused_ended: Count::new(0),
            refused_shutdown: Count::new(0),
        }
    }

    /// A job begins on the thread that counts here.
    pub(super) fn begun(&self, seat: usize) {
        let tally = &self.tallies[seat];
        tally.add(&tally.begun);
    }

    /// It has ended, with a value or a panic.
    pub(super) fn ended(&self, seat: usize, well: bool) {
        let tally = &self.tallies[seat];
        tally.add(if well { &tally.finished } else { &tally.panicked });
    }

    /// How many have begun on the thread that counts here, and how many of them run.
    pub(super) fn at(&self, seat: usize) -> (u64, usize) {
        let tally = &self.tallies[seat];
        let ended = tally.finished.load(Ordering::Acquire) + tally.panicked.load(Ordering::Acquire);
        let begun = tally.begun.load(Ordering::Acquire);
        (begun, (begun - ended) as usize)
    }

    /// How many each worker has begun.
    pub(super) fn shares(&self) -> Vec<u64> {
        let (_, workers) = self.tallies.split_last().expect("there is one for everybody else");
        workers.iter().map(|tally| tally.begun.load(Ordering::Acquire)).collect()
    }

    pub(super) fn jobs(&self) -> Jobs {
        let mut jobs = Jobs::default();
        for tally in &self.tallies {
            // In this order: whoever sees an end sees its beginning.
            jobs.finished += tally.finished.load(Ordering::Acquire);
            jobs.panicked += tally.panicked.load(Ordering::Acquire);
            jobs.begun += tally.begun.load(Ordering::Acquire);
        }
        jobs
    }
}

pub(super) fn add(counter: &Count) {
    counter.fetch_add(1, Ordering::Relaxed);
}

pub(super) fn read(counter: &Count) -> u64 {
    counter.load(Ordering::Relaxed)
}
