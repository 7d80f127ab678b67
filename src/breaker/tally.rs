//! What a [`Trip`] counts while the breaker is closed, and whether that is enough to open it. Pure.
//!
//! **Invariants.** 1. `run` is the number of failures counted since the last success or [`clear`](Tally::clear), whatever
//! the rules are. 2. [`Indifference`] is true until the next change: a success that is not slow changes nothing at all, or
//! nothing but what [`fold`](Tally::fold) makes up for, and in neither case opens anything.

use super::own::Own;
use super::trip::{Span, Trip};
use crate::event::{BreakerCause, Counts};
use crate::window::{CountWindow, Seen, Sums, TimeWindow};
use std::time::Duration;

#[derive(Clone, Debug)]
pub(crate) struct Tally {
    rules: Rules,
    window: Window,
    run: u64,
    /// When the last failure was counted, if failures are lumped.
    lumped: Option<u64>,
}

#[derive(Clone, Debug)]
struct Rules {
    consecutive: Option<u64>,
    failures: Option<f64>,
    slow: Option<f64>,
    own: Option<Own>,
    min: u64,
    lump: Option<u64>,
}

#[derive(Clone, Debug)]
enum Window {
    None,
    Count(CountWindow),
    Time(Box<TimeWindow>),
}

/// What a success in time is to the tally as it is now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Indifference {
    /// It has to be counted by the tally.
    None,
    /// It changes nothing.
    Full,
    /// Until then it is one more call to be [folded in](Tally::fold), and nothing else.
    CountsUntil(u64),
    /// The same for so many of them; any more change nothing.
    CountsTo(u32),
}

/// What an outcome has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Counted {
    /// Nothing: it was the same failure as one before it.
    Lumped,
    /// It is counted, and no rule is met.
    Quiet,
    /// A rule is met.
    Trips(BreakerCause),
}

pub(crate) fn nanos(d: Duration) -> u64 {
    u64::try_from(d.as_nanos()).unwrap_or(u64::MAX)
}

impl Tally {
    pub(crate) fn new(trip: &Trip, now: u64) -> Self {
        let window = match trip.span {
            None => Window::None,
            Some(Span::Calls(size)) => Window::Count(CountWindow::new(size)),
            Some(Span::Time(span)) => Window::Time(Box::new(TimeWindow::new(nanos(span), now))),
        };
        let rules = Rules {
            consecutive: trip.consecutive.map(u64::from),
            failures: trip.rate,
            slow: trip.slow.map(|(rate, _)| rate),
            own: trip.own.clone(),
            min: u64::from(trip.min()),
            lump: trip.lump.map(nanos),
        };
        Self { rules, window, run: 0, lumped: None }
    }

    /// Counts a call and says whether, and why, the breaker is to open. Asks the time only if it needs it.
    pub(crate) fn count(&mut self, seen: Seen, now: impl FnOnce() -> u64) -> Counted {
        let lumps = self.rules.lump.filter(|_| seen.failed);
        let now = if lumps.is_some() || matches!(self.window, Window::Time(_)) { now() } else { 0 };
        if let Some(lump) = lumps {
            if self.lumped.is_some_and(|last| now < last.saturating_add(lump)) {
                return Counted::Lumped;
            }
            self.lumped = Some(now);
        }
        self.run = if seen.failed { self.run.saturating_add(1) } else { 0 };
        match &mut self.window {
            Window::None => {}
            Window::Count(window) => window.push(seen),
            Window::Time(window) => {
                window.advance(now);
                window.add(seen.into());
            }
        }
        self.judge().map_or(Counted::Quiet, Counted::Trips)
    }

    fn judge(&self) -> Option<BreakerCause> {
        if self.rules.consecutive.is_some_and(|limit| self.run >= limit) {
            return Some(BreakerCause::ConsecutiveFailures);
        }
        self.judge_rates()
    }

    fn judge_rates(&self) -> Option<BreakerCause> {
        let counts = self.counts();
        if counts.calls < self.rules.min {
            return None;
        }
        if self.rules.failures.is_some_and(|rate| counts.failure_rate() >= rate) {
            return Some(BreakerCause::FailureRate);
        }
        self.rules.slow.filter(|rate| counts.slow_rate() >= *rate).map(|_| BreakerCause::SlowRate)
    }

    /// Successes that were counted elsewhere while there was [`CountsUntil`](Indifference::CountsUntil) or
    /// [`CountsTo`](Indifference::CountsTo).
    pub(crate) fn fold(&mut self, calls: u64) {
        if calls == 0 {
            return;
        }
        self.run = 0;
        match &mut self.window {
            Window::None => {}
            Window::Count(window) => window.push_good(calls),
            Window::Time(window) => window.add(Sums { calls, ..Sums::default() }),
        }
    }

    /// Invariant 2. A success ends a run of failures, and pushes a rate down unless it completes the minimum; and with
    /// nothing bad in the window there is no rate to be met. But a rate may be met already: other rules, or good calls that
    /// became too old, do not open anything before the next outcome, which then may be a success.
    pub(crate) fn indifference(&self) -> Indifference {
        if self.rules.own.is_some() {
            return Indifference::None;
        }
        let clean = |sums: Sums| sums.failures == 0 && sums.slow == 0;
        let calm = |sums: Sums| clean(sums) || (sums.calls >= self.rules.min && self.judge_rates().is_none());
        match &self.window {
            Window::None if self.run == 0 => Indifference::Full,
            Window::None => Indifference::CountsTo(1),
            Window::Count(window) if self.run == 0 && window.is_full() && clean(window.sums()) => Indifference::Full,
            Window::Count(window) if calm(window.sums()) => Indifference::CountsTo(window.size()),
            Window::Time(window) if calm(window.sums()) => Indifference::CountsUntil(window.ends()),
            _ => Indifference::None,
        }
    }

    /// The user's own rule, if there is one to be asked.
    pub(crate) fn own(&self) -> Option<&Own> {
        self.rules.own.as_ref()
    }

    /// The share of slow probes at which a recovery has failed.
    pub(crate) fn slow_rate(&self) -> Option<f64> {
        self.rules.slow
    }

    pub(crate) fn counts(&self) -> Counts {
        let alone = Sums { calls: self.run, failures: self.run, slow: 0 };
        let sums = match &self.window {
            Window::None => alone,
            Window::Count(window) => window.sums(),
            Window::Time(window) => window.sums(),
        };
        Counts { calls: sums.calls, failures: sums.failures, slow: sums.slow, consecutive_failures: self.run }
    }

    /// Lets go of what is too old by now.
    pub(crate) fn advance(&mut self, now: impl FnOnce() -> u64) {
        if let Window::Time(window) = &mut self.window {
            window.advance(now());
        }
    }

    pub(crate) fn clear(&mut self) {
        (self.run, self.lumped) = (0, None);
        match &mut self.window {
            Window::None => {}
            Window::Count(window) => window.clear(),
            Window::Time(window) => window.clear(),
        }
    }

    /// Other rules, and what has been counted kept as far as the new window has a place for it. Opens nothing: the next
    /// outcome is judged by the new rules.
    pub(crate) fn rule_by(&mut self, trip: &Trip, now: u64) {
        self.advance(|| now);
        let mut other = Self::new(trip, now);
        (other.run, other.lumped) = (self.run, self.lumped);
        match (&self.window, &mut other.window, trip.span) {
            (Window::Count(old), new @ Window::Count(_), Some(Span::Calls(size))) => {
                *new = Window::Count(old.resized(size));
            }
            (Window::Time(old), new @ Window::Time(_), Some(Span::Time(span))) => {
                *new = Window::Time(Box::new(old.respanned(nanos(span), now)));
            }
            (Window::Count(old), Window::Time(new), _) => new.add(old.sums()),
            (Window::Time(old), Window::Count(new), _) => {
                // A window of a million calls has more than fit: the latest do.
                let fit = if let Some(Span::Calls(size)) = trip.span { u64::from(size) } else { 0 };
                let skip = usize::try_from(old.sums().calls.saturating_sub(fit)).unwrap_or(usize::MAX);
                old.calls().skip(skip).for_each(|seen| new.push(seen));
            }
            _ => {}
        }
        *self = other;
    }
}

#[cfg(all(test, not(watertight_loom)))]
mod tests {
    use super::*;

    const OK: Seen = Seen { failed: false, slow: false };
    const FAILED: Seen = Seen { failed: true, slow: false };

    fn never() -> u64 {
        unreachable!("no need to know the time")
    }

    #[test]
    fn seven_of_a_hundred_is_seven_per_cent() {
        // For every whole percentage, exactly that many failures in a window of 100 trip it and one fewer does not.
        for percent in 1..=100_u32 {
            let trip = Trip::rate(f64::from(percent) / 100.0).min_calls(100);
            for (failures, trips) in [(percent, true), (percent - 1, false)] {
                let mut tally = Tally::new(&trip, 0);
                let count = |i| tally.count(Seen { failed: i < failures, slow: false }, never) != Counted::Quiet;
                let tripped = (0..100).map(count).fold(false, |a, b| a | b);
                assert_eq!(tripped, trips, "{failures} failures at {percent} %");
            }
        }
    }

    #[test]
    fn a_window_below_the_default_minimum_lowers_it() {
        let mut tally = Tally::new(&Trip::rate(1.0).last(3), 0);
        let tripped = [FAILED; 3].map(|f| tally.count(f, never) != Counted::Quiet);
        assert_eq!(tripped, [false, false, true]);
    }

    #[test]
    fn lumped_failures_count_once() {
        let mut tally = Tally::new(&Trip::consecutive(2).lump(Duration::from_nanos(10)), 0);
        for (at, counted) in [(5, Counted::Quiet), (14, Counted::Lumped), (14, Counted::Lumped)] {
            assert_eq!(tally.count(FAILED, || at), counted);
            assert_eq!(tally.counts().consecutive_failures, 1, "at {at}");
        }
        assert_eq!(tally.count(FAILED, || 15), Counted::Trips(BreakerCause::ConsecutiveFailures));
    }

    #[test]
    fn a_change_of_rules_keeps_what_was_counted() {
        let counted = |tally: &Tally| {
            let counts = tally.counts();
            (counts.calls, counts.failures, counts.consecutive_failures)
        };
        let second = Duration::from_secs(1);
        let mut tally = Tally::new(&Trip::rate(1.0).last(50), 0);
        for i in 0..40 {
            tally.count(if i % 4 == 0 || i > 37 { FAILED } else { OK }, never);
        }
        assert_eq!(counted(&tally), (40, 12, 2));
        for (trip, left) in [
            (Trip::rate(1.0).last(100), (40, 12, 2)),
            (Trip::rate(1.0).within(second), (40, 12, 2)),
            (Trip::rate(1.0).within(second * 2), (40, 12, 2)),
            (Trip::rate(1.0).last(40), (40, 12, 2)),
            (Trip::rate(1.0).last(10), (10, 10, 2)), // of a slot's calls the failures are taken to be the latest
            (Trip::consecutive(9), (2, 2, 2)),
            (Trip::rate(1.0), (0, 0, 2)),
        ] {
            tally.rule_by(&trip, 1_000);
            assert_eq!(counted(&tally), left, "{trip:?}");
        }
    }
}
