//! A compartment's figures.

use crate::error::{CallError, RejectReason};
use crate::event::BreakerState;
use crate::sync::atomic::{AtomicU64, Ordering};

/// What a compartment has done and is doing. Reading it never blocks a call.
///
/// # Consistency
///
/// Each number is exact; two numbers of one snapshot may be read a moment apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct BulkheadState {
    /// How many calls may run at once.
    pub limit: usize,
    /// How many may wait.
    pub queue: usize,
    /// Running now, on the compartment's threads or elsewhere under its permits.
    pub running: usize,
    /// Holding a place, and not yet running.
    pub queued: usize,
    /// The breaker's state; `None` without one.
    pub breaker: Option<BreakerState>,
    /// Calls asked for since the start, refused ones included.
    pub requests: u64,
    /// Attempts that really entered the work.
    pub attempts: u64,
    /// Those of them that were not the first of their call: retries, and second attempts beside a slow first one.
    pub retries: u64,
    /// Calls that returned a value, whatever it was [judged](super::Bulkhead::classify) to be.
    pub succeeded: u64,
    /// Calls that ended with the work's own error or a panic.
    pub failed: u64,
    /// Calls whose caller stopped waiting after the work had been entered.
    pub interrupted: u64,
    /// Refused: no free place.
    pub refused_full: u64,
    /// Refused: the circuit was open.
    pub refused_open: u64,
    /// Refused: the context ended first, or the future was dropped before the work was entered.
    pub refused_ended: u64,
    /// Refused for another reason: no threads here, shutting down.
    pub refused_other: u64,
    /// Second attempts that entered the work beside a slow first one: see [`call_hedged`](super::Idempotent::call_hedged).
    pub hedges: u64,
    /// Calls whose value was [known already](super::Idempotent::unless_known), before the first attempt or before a retry; among those
    /// that succeeded.
    pub deduplicated: u64,
    /// [Fallbacks](super::Bulkhead::fallback) running now, outside the compartment.
    pub falling_back: usize,
    /// Fallbacks that were begun.
    pub fallbacks: u64,
    /// Fallbacks that gave no value: they failed or panicked.
    pub fallback_failed: u64,
    /// Fallbacks for which there was no place.
    pub fallback_refused: u64,
}

impl BulkheadState {
    /// Attempts for each call that made any: 1 is no retry at all, and so is no call at all. Refused calls made none. Calls
    /// under way count with the attempts that they have made so far.
    pub fn amplification(&self) -> f64 {
        let firsts = self.attempts.saturating_sub(self.retries);
        if firsts == 0 { 1.0 } else { self.attempts as f64 / firsts as f64 }
    }
}

impl BulkheadState {
    /// With the calls of a part of it.
    pub(super) fn plus(self, part: Self) -> Self {
        Self {
            requests: self.requests + part.requests,
            attempts: self.attempts + part.attempts,
            retries: self.retries + part.retries,
            succeeded: self.succeeded + part.succeeded,
            failed: self.failed + part.failed,
            interrupted: self.interrupted + part.interrupted,
            refused_full: self.refused_full + part.refused_full,
            refused_open: self.refused_open + part.refused_open,
            refused_ended: self.refused_ended + part.refused_ended,
            refused_other: self.refused_other + part.refused_other,
            hedges: self.hedges + part.hedges,
            deduplicated: self.deduplicated + part.deduplicated,
            fallbacks: self.fallbacks + part.fallbacks,
            fallback_failed: self.fallback_failed + part.fallback_failed,
            fallback_refused: self.fallback_refused + part.fallback_refused,
            ..self
        }
    }
}

/// Counters nobody decides on: relaxed.
#[derive(Debug, Default)]
pub(super) struct Figures {
    pub(super) requests: AtomicU64,
    pub(super) attempts: AtomicU64,
    pub(super) retries: AtomicU64,
    pub(super) succeeded: AtomicU64,
    pub(super) failed: AtomicU64,
    interrupted: AtomicU64,
    refused_full: AtomicU64,
    refused_open: AtomicU64,
    refused_ended: AtomicU64,
    refused_other: AtomicU64,
    pub(super) hedges: AtomicU64,
    pub(super) deduplicated: AtomicU64,
    pub(super) fallbacks: AtomicU64,
    pub(super) fallback_failed: AtomicU64,
    pub(super) fallback_refused: AtomicU64,
}

pub(super) fn add(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

impl Figures {
    /// Counts how a call ended.
    pub(super) fn ended<T, E>(&self, result: &Result<T, CallError<E>>) {
        add(match result {
            Ok(_) => &self.succeeded,
            Err(CallError::Failed(_) | CallError::Panicked(_)) => &self.failed,
            Err(CallError::Interrupted(_)) => &self.interrupted,
            Err(CallError::Rejected(RejectReason::CircuitOpen { .. })) => &self.refused_open,
            Err(CallError::Rejected(RejectReason::DeadlinePassed | RejectReason::Cancelled(_))) => &self.refused_ended,
            Err(CallError::Rejected(RejectReason::Full { .. })) => &self.refused_full,
            Err(CallError::Rejected(_)) => &self.refused_other,
        });
    }

    /// Counts a call whose future was dropped.
    pub(super) fn left(&self, entered: bool) {
        add(if entered { &self.interrupted } else { &self.refused_ended });
    }

    /// The figures, beside what is read elsewhere.
    pub(super) fn snapshot(&self, now: BulkheadState) -> BulkheadState {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        BulkheadState {
            requests: read(&self.requests),
            attempts: read(&self.attempts),
            retries: read(&self.retries),
            succeeded: read(&self.succeeded),
            failed: read(&self.failed),
            interrupted: read(&self.interrupted),
            refused_full: read(&self.refused_full),
            refused_open: read(&self.refused_open),
            refused_ended: read(&self.refused_ended),
            refused_other: read(&self.refused_other),
            hedges: read(&self.hedges),
            deduplicated: read(&self.deduplicated),
            fallbacks: read(&self.fallbacks),
            fallback_failed: read(&self.fallback_failed),
            fallback_refused: read(&self.fallback_refused),
            ..now
        }
    }
}
