//! A compartment's figures. Threads count each for itself (`sync/stripes.rs`), so that calls meet in no word for them.

use crate::error::{CallError, RejectReason};
use crate::event::BreakerState;
use crate::sync::Striped;

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

/// One of the counters. Nobody decides on them.
#[derive(Clone, Copy)]
pub(super) enum Figure {
    Requests,
    Attempts,
    Retries,
    Succeeded,
    Failed,
    Interrupted,
    RefusedFull,
    RefusedOpen,
    RefusedEnded,
    RefusedOther,
    Hedges,
    Deduplicated,
    Fallbacks,
    FallbackFailed,
    FallbackRefused,
}

const FIGURES: usize = Figure::FallbackRefused as usize + 1;

#[derive(Debug)]
pub(super) struct Figures(Striped<FIGURES>);

impl Figures {
    pub(super) fn new() -> Self {
        Self(Striped::new())
    }

    /// One more.
    #[inline]
    pub(super) fn add(&self, one: Figure) {
        self.0.add(one as usize);
    }

    /// Counts how a call ended.
    #[inline(always)]
    pub(super) fn ended<T, E>(&self, result: &Result<T, CallError<E>>) {
        self.add(match result {
            Ok(_) => Figure::Succeeded,
            Err(CallError::Failed(_) | CallError::Panicked(_)) => Figure::Failed,
            Err(CallError::Interrupted(_)) => Figure::Interrupted,
            Err(CallError::Rejected(RejectReason::CircuitOpen { .. })) => Figure::RefusedOpen,
            Err(CallError::Rejected(RejectReason::DeadlinePassed | RejectReason::Cancelled(_))) => Figure::RefusedEnded,
            Err(CallError::Rejected(RejectReason::Full { .. })) => Figure::RefusedFull,
            Err(CallError::Rejected(_)) => Figure::RefusedOther,
        });
    }

    /// Counts a call whose future was dropped.
    pub(super) fn left(&self, entered: bool) {
        self.add(if entered { Figure::Interrupted } else { Figure::RefusedEnded });
    }

    /// The figures, beside what is read elsewhere.
    pub(super) fn snapshot(&self, now: BulkheadState) -> BulkheadState {
        let read = |one: Figure| self.0.sum(one as usize);
        BulkheadState {
            requests: read(Figure::Requests),
            attempts: read(Figure::Attempts),
            retries: read(Figure::Retries),
            succeeded: read(Figure::Succeeded),
            failed: read(Figure::Failed),
            interrupted: read(Figure::Interrupted),
            refused_full: read(Figure::RefusedFull),
            refused_open: read(Figure::RefusedOpen),
            refused_ended: read(Figure::RefusedEnded),
            refused_other: read(Figure::RefusedOther),
            hedges: read(Figure::Hedges),
            deduplicated: read(Figure::Deduplicated),
            fallbacks: read(Figure::Fallbacks),
            fallback_failed: read(Figure::FallbackFailed),
            fallback_refused: read(Figure::FallbackRefused),
            ..now
        }
    }
}
