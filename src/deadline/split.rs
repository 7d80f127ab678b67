//! [`Split`]: what is left of a deadline, divided among stages that follow one another.
//!
//! **Invariants.** 1. The deadlines never decrease, and none is later than the whole. 2. The last one is the whole.
//! Shares are rounded down to whole nanoseconds of the sum so far, so nothing is lost on the way.

use super::Deadline;
use std::iter::FusedIterator;
use std::time::{Duration, Instant};

/// The deadlines of stages, the first one first. Made by [`Deadline::split`].
#[derive(Clone, Debug)]
#[must_use = "iterators do nothing unless asked"]
pub struct Split<'a> {
    whole: Deadline,
    now: Instant,
    weights: &'a [u32],
    /// All weights are 0: each counts as 1.
    equal: bool,
    total: u64,
    so_far: u64,
}

impl<'a> Split<'a> {
    pub(super) fn new(whole: Deadline, now: Instant, weights: &'a [u32]) -> Self {
        // Saturating for form's sake: it would take four thousand million weights.
        let sum = weights.iter().fold(0u64, |sum, weight| sum.saturating_add((*weight).into()));
        let equal = sum == 0;
        let total = if equal { weights.len() as u64 } else { sum };
        Self { whole, now, weights, equal, total, so_far: 0 }
    }
}

/// `left × part ÷ whole` in whole nanoseconds, rounded down. `part` is at most `whole`, which is not 0.
fn share(left: Duration, part: u64, whole: u64) -> Duration {
    const SECOND: u128 = 1_000_000_000;
    let (left, part, whole) = (left.as_nanos(), u128::from(part), u128::from(whole));
    // In two steps, because left × part need not fit: the remainder is below `whole`, so its product does.
    let nanos = left / whole * part + left % whole * part / whole;
    // Not more than `left`, so its seconds fit.
    Duration::new((nanos / SECOND) as u64, (nanos % SECOND) as u32)
}

impl Iterator for Split<'_> {
    type Item = Deadline;

    fn next(&mut self) -> Option<Deadline> {
        let (weight, rest) = self.weights.split_first()?;
        self.weights = rest;
        self.so_far = self.so_far.saturating_add(if self.equal { 1 } else { (*weight).into() });
        let Some(left) = self.whole.remaining(self.now) else { return Some(self.whole) };
        if rest.is_empty() {
            return Some(self.whole); // exactly, whatever the clock's own grain
        }
        Some(self.whole.child(self.now, share(left, self.so_far, self.total)))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.weights.len(), Some(self.weights.len()))
    }
}

impl ExactSizeIterator for Split<'_> {}
impl FusedIterator for Split<'_> {}
