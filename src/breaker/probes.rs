//! One round of probes: who may try a half-open breaker's dependency, and what their results come to. Pure.
//!
//! **Invariants.** 1. `out.len() + done <= places`, and while nothing is decided `done < places`: exactly `places` probes
//! pass in a round, besides those that were ignored or lost their lease, which come to nothing. 2. A probe is in `out`
//! from its admission until its result, or until its lease is over and somebody needs its place: after that its result
//! changes nothing. 3. `out` is in order of admission, so the first of it is the first to lose its lease.

use super::recovery::Recovery;
use crate::event::{BreakerCause, Counts};
use crate::window::Seen;
use std::collections::VecDeque;

#[derive(Clone, Debug)]
pub(crate) struct Probes {
    round: u32,
    places: u32,
    /// So many failures, or slow ones, and the round is lost.
    failures_lose: u32,
    slow_lose: u32,
    lease: u64,
    /// Number and end of lease.
    out: VecDeque<(u64, u64)>,
    /// The number of the last probe; the first is 1.
    last: u64,
    done: u32,
    failed: u32,
    slow: u32,
    run: u32,
}

/// What a result has decided.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Verdict {
    Undecided,
    Won,
    Lost(BreakerCause),
}

impl Probes {
    /// The round of this number, counted from 0.
    pub(crate) fn new(recovery: &Recovery, round: u32, slow_rate: Option<f64>) -> Self {
        let (places, successes) = recovery.round(round);
        // The least number whose share is the rate: `f64` is exact enough to begin with, and the loop makes it exact.
        let slow_lose = slow_rate.map_or(u32::MAX, |rate| {
            let mut n = (f64::from(places) * rate) as u32;
            n = n.saturating_sub(1).max(1);
            while f64::from(n) / f64::from(places) < rate {
                n += 1;
            }
            n
        });
        Self {
            round,
            places,
            failures_lose: places - successes + 1,
            slow_lose,
            lease: recovery.lease(),
            out: VecDeque::with_capacity(places.min(64) as usize),
            last: 0,
            done: 0,
            failed: 0,
            slow: 0,
            run: 0,
        }
    }

    pub(crate) fn round(&self) -> u32 {
        self.round
    }

    /// A probe's number, or how long until the first lease is over.
    pub(crate) fn admit(&mut self, now: u64) -> Result<u64, u64> {
        if self.out.len() as u64 + u64::from(self.done) >= u64::from(self.places) {
            match self.out.front() {
                Some((_, until)) if now < *until => return Err(until - now),
                _ => self.out.pop_front(), // invariant 2
            };
        }
        self.last += 1;
        self.out.push_back((self.last, now.saturating_add(self.lease)));
        Ok(self.last)
    }

    /// A probe has come back, or was ignored. `None`: it had lost its place.
    pub(crate) fn record(&mut self, number: u64, seen: Option<Seen>) -> Option<Verdict> {
        let at = self.out.binary_search_by_key(&number, |(number, _)| *number).ok()?;
        self.out.remove(at);
        let Some(Seen { failed, slow }) = seen else { return Some(Verdict::Undecided) };
        self.done += 1;
        self.failed += u32::from(failed);
        self.slow += u32::from(slow);
        self.run = if failed { self.run + 1 } else { 0 };
        let left = self.places - self.done;
        Some(if self.failed >= self.failures_lose {
            Verdict::Lost(BreakerCause::ProbesFailed)
        } else if self.slow >= self.slow_lose {
            Verdict::Lost(BreakerCause::ProbesSlow)
        } else if self.failed + left < self.failures_lose && self.slow + left < self.slow_lose {
            Verdict::Won
        } else {
            Verdict::Undecided
        })
    }

    /// How long until somebody may probe; `None`: at once.
    pub(crate) fn wait(&self, now: u64) -> Option<u64> {
        let full = self.out.len() as u64 + u64::from(self.done) >= u64::from(self.places);
        let (_, until) = self.out.front().filter(|_| full)?;
        until.checked_sub(now).filter(|wait| *wait > 0)
    }

    pub(crate) fn counts(&self) -> Counts {
        Counts {
            calls: self.done.into(),
            failures: self.failed.into(),
            slow: self.slow.into(),
            consecutive_failures: self.run.into(),
        }
    }

    /// The number of some probe that is out. For broken twins only.
    pub(crate) fn any(&self) -> u64 {
        self.out.front().map_or(0, |(number, _)| *number)
    }
}

#[cfg(all(test, not(watertight_loom)))]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn the_number_of_slow_probes_that_lose_is_the_least_whose_share_is_the_rate() {
        for places in 1..=200_u32 {
            for percent in 1..=100_u32 {
                let rate = f64::from(percent) / 100.0;
                let recovery = Recovery::after(Duration::from_secs(1)).probes(places);
                let n = Probes::new(&recovery, 0, Some(rate)).slow_lose;
                assert_eq!(n, (places * percent).div_ceil(100).max(1), "{percent} % of {places}");
            }
        }
    }
}
