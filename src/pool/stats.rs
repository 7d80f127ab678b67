//! The pool's counters and what a reader may make of them.

use crate::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

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
    /// Admitted and not yet ended: queued and running together.
    pub in_flight: usize,
    /// Running now.
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
    /// Refused: no free place.
    pub refused_full: u64,
    /// Refused: the context had ended, or ended while waiting for a place.
    pub refused_ended: u64,
    /// Refused: shutting down.
    pub refused_shutdown: u64,
}

/// Counters nobody decides on: relaxed.
#[derive(Debug)]
pub(super) struct Counters {
    pub(super) running: AtomicUsize,
    pub(super) accepted: AtomicU64,
    pub(super) finished: AtomicU64,
    pub(super) panicked: AtomicU64,
    pub(super) shed: AtomicU64,
    pub(super) refused_full: AtomicU64,
    pub(super) refused_ended: AtomicU64,
    pub(super) refused_shutdown: AtomicU64,
}

impl Counters {
    pub(super) fn new() -> Self {
        Self {
            running: AtomicUsize::new(0),
            accepted: AtomicU64::new(0),
            finished: AtomicU64::new(0),
            panicked: AtomicU64::new(0),
            shed: AtomicU64::new(0),
            refused_full: AtomicU64::new(0),
            refused_ended: AtomicU64::new(0),
            refused_shutdown: AtomicU64::new(0),
        }
    }
}

pub(super) fn add(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

pub(super) fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}
