//! When a breaker opens ([`Trip`]) and how it comes back ([`Recovery`]), and the counting behind the first. Pure.

use crate::error::BuildError;
use crate::window::CountWindow;
use std::time::Duration;

/// The largest count window: 65,536 outcomes, 8 KiB.
const MAX_WINDOW: u32 = 65_536;
/// The most probes of one half-open phase.
const MAX_PROBES: u32 = 10_000;
/// The longest open interval.
const MAX_AFTER: Duration = Duration::from_secs(24 * 60 * 60);
const DEFAULT_WINDOW: u32 = 100;
const DEFAULT_MIN_CALLS: u32 = 20;

/// When a closed breaker opens: after so many failures in a row, or at a failure rate.
///
/// The two exclude each other, so they are one argument. Every recorded outcome is counted and looked at; what was
/// ignored is neither a call nor a failure.
///
/// | | Default | Allowed |
/// |---|---|---|
/// | [`last`](Self::last) | 100 outcomes | 1 to 65,536 |
/// | [`min_calls`](Self::min_calls) | 20, or the whole window if that is smaller | 1 to `last` |
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use watertight::{Breaker, Recovery, Trip};
///
/// let five_in_a_row = Trip::consecutive(5);
/// let half_of_the_last_50 = Trip::rate(0.5).last(50).min_calls(10);
/// for trip in [five_in_a_row, half_of_the_last_50] {
///     Breaker::builder("payments").trip(trip).recovery(Recovery::after(Duration::from_secs(5))).build()?;
/// }
/// # Ok::<(), watertight::BuildError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[must_use = "a rule does nothing until a breaker has it"]
pub struct Trip(Rule);

#[derive(Clone, Debug, PartialEq)]
enum Rule {
    /// `windowed` remembers that a setter of the other kind was called: refused when the breaker is built.
    Consecutive {
        failures: u32,
        windowed: bool,
    },
    Rate {
        rate: f64,
        last: u32,
        min_calls: Option<u32>,
    },
}

impl Trip {
    /// Opens after `failures` failures in a row; one success starts the count again. At least 1.
    ///
    /// Reacts fast and needs no traffic to speak of, but a dependency that fails nine calls in ten at random may go on
    /// for long: use [`rate`](Self::rate) for that.
    pub fn consecutive(failures: u32) -> Self {
        Self(Rule::Consecutive { failures, windowed: false })
    }

    /// Opens when at least this share of the calls in the window failed: above 0, at most 1. `0.5` is every second one.
    ///
    /// Looked at after every recorded outcome once [`min_calls`](Self::min_calls) are in the window, so the call that
    /// completes the minimum may trip it even if it succeeded itself.
    pub fn rate(rate: f64) -> Self {
        Self(Rule::Rate { rate, last: DEFAULT_WINDOW, min_calls: None })
    }

    /// The window of a [`rate`](Self::rate): the last `calls` outcomes. Default 100.
    pub fn last(mut self, calls: u32) -> Self {
        match &mut self.0 {
            Rule::Consecutive { windowed, .. } => *windowed = true,
            Rule::Rate { last, .. } => *last = calls,
        }
        self
    }

    /// How many outcomes a [`rate`](Self::rate) needs before it says anything: without such a minimum one error in a
    /// quiet hour would open the breaker. Default 20, or the whole window if that is smaller.
    pub fn min_calls(mut self, calls: u32) -> Self {
        match &mut self.0 {
            Rule::Consecutive { windowed, .. } => *windowed = true,
            Rule::Rate { min_calls, .. } => *min_calls = Some(calls),
        }
        self
    }

    pub(crate) fn validate(&self) -> Result<(), BuildError> {
        match self.0 {
            Rule::Consecutive { failures: 0, .. } => Err(BuildError::out_of_range("consecutive", 0, "at least 1")),
            Rule::Consecutive { windowed: true, .. } => {
                Err(BuildError::Conflict("last and min_calls belong to Trip::rate, not to Trip::consecutive"))
            }
            Rule::Consecutive { .. } => Ok(()),
            // Written so that NaN falls through to the refusal.
            Rule::Rate { rate, last, min_calls } if rate > 0.0 && rate <= 1.0 => {
                if last == 0 || last > MAX_WINDOW {
                    return Err(BuildError::out_of_range("last", last, "1 to 65536"));
                }
                match min_calls {
                    Some(min) if min == 0 || min > last => {
                        Err(BuildError::out_of_range("min_calls", min, "1 to the window's size (last)"))
                    }
                    _ => Ok(()),
                }
            }
            Rule::Rate { rate, .. } => Err(BuildError::out_of_range("rate", rate, "above 0 and at most 1")),
        }
    }

    pub(crate) fn tally(&self) -> Tally {
        match self.0 {
            Rule::Consecutive { failures, .. } => Tally::Consecutive { limit: failures, run: 0 },
            Rule::Rate { rate, last, min_calls } => {
                let min = min_calls.unwrap_or(DEFAULT_MIN_CALLS).min(last);
                Tally::Rate { rate, min, window: CountWindow::new(last) }
            }
        }
    }
}

/// Every second call of the last 100 failed, with at least 20 calls: `Trip::rate(0.5)`.
impl Default for Trip {
    fn default() -> Self {
        Self::rate(0.5)
    }
}

/// What a [`Trip`] counts while the breaker is closed.
#[derive(Clone, Debug)]
pub(crate) enum Tally {
    Consecutive { limit: u32, run: u32 },
    Rate { rate: f64, min: u32, window: CountWindow },
}

impl Tally {
    /// Counts an outcome and says whether the breaker is to open.
    pub(crate) fn count(&mut self, failed: bool) -> bool {
        match self {
            Self::Consecutive { limit, run } => {
                *run = if failed { run.saturating_add(1) } else { 0 };
                *run >= *limit
            }
            Self::Rate { rate, min, window } => {
                window.push(failed);
                // A quotient, not a product: 7.0 / 100.0 is the very number that the literal 0.07 is, 0.07 * 100.0 is
                // a little more than 7.
                window.calls() >= *min && f64::from(window.failures()) / f64::from(window.calls()) >= *rate
            }
        }
    }

    pub(crate) fn clear(&mut self) {
        match self {
            Self::Consecutive { run, .. } => *run = 0,
            Self::Rate { window, .. } => window.clear(),
        }
    }
}

/// How an open breaker comes back: how long it refuses everything, and how many probes must then succeed.
///
/// | | Default | Allowed |
/// |---|---|---|
/// | [`after`](Self::after) | 5 s | above 0, at most one day |
/// | [`probes`](Self::probes) | 1 | 1 to 10,000 |
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use watertight::Recovery;
///
/// let careful = Recovery::after(Duration::from_secs(5)).probes(3);
/// # let _ = careful;
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a rule does nothing until a breaker has it"]
pub struct Recovery {
    after: Duration,
    probes: u32,
}

impl Recovery {
    /// Refuses everything for this long, then goes half-open.
    ///
    /// It is also the lease of a probe: with all probes out and none back for this long, the next caller may probe and
    /// the late results count for nothing. So make it longer than the protected call's own timeout, or a probe that is
    /// merely slow is given up too early.
    pub fn after(interval: Duration) -> Self {
        Self { after: interval, probes: 1 }
    }

    /// How many calls pass while half-open. All of them must succeed to close the breaker; one failure opens it again.
    /// Default 1.
    pub fn probes(mut self, n: u32) -> Self {
        self.probes = n;
        self
    }

    pub(crate) fn validate(&self) -> Result<(), BuildError> {
        if self.after.is_zero() || self.after > MAX_AFTER {
            return Err(BuildError::out_of_range("after", format!("{:?}", self.after), "above 0 and at most one day"));
        }
        if self.probes == 0 || self.probes > MAX_PROBES {
            return Err(BuildError::out_of_range("probes", self.probes, "1 to 10000"));
        }
        Ok(())
    }

    pub(crate) fn interval(&self) -> Duration {
        self.after
    }

    pub(crate) fn places(&self) -> u32 {
        self.probes
    }
}

/// Five seconds, one probe.
impl Default for Recovery {
    fn default() -> Self {
        Self::after(Duration::from_secs(5))
    }
}

#[cfg(all(test, not(watertight_loom)))]
mod tests {
    use super::*;

    fn field(e: Result<(), BuildError>) -> &'static str {
        match e {
            Err(BuildError::OutOfRange { field, .. }) => field,
            Err(BuildError::Conflict(_)) => "conflict",
            Err(_) => "other",
            Ok(()) => "fine",
        }
    }

    #[test]
    fn absurd_rules_are_refused_by_name() {
        for bad in [f64::NAN, 0.0, -0.0, -0.1, 1.000_000_1, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(field(Trip::rate(bad).validate()), "rate", "{bad}");
        }
        for fine in [f64::MIN_POSITIVE, 0.07, 1.0] {
            assert_eq!(field(Trip::rate(fine).validate()), "fine", "{fine}");
        }
        assert_eq!(field(Trip::rate(0.5).last(0).validate()), "last");
        assert_eq!(field(Trip::rate(0.5).last(65_537).validate()), "last");
        assert_eq!(field(Trip::rate(0.5).last(65_536).validate()), "fine");
        assert_eq!(field(Trip::rate(0.5).min_calls(0).validate()), "min_calls");
        assert_eq!(field(Trip::rate(0.5).min_calls(101).validate()), "min_calls");
        assert_eq!(field(Trip::rate(0.5).min_calls(100).validate()), "fine");
        assert_eq!(field(Trip::rate(0.5).last(5).validate()), "fine");
        assert_eq!(field(Trip::consecutive(0).validate()), "consecutive");
        assert_eq!(field(Trip::consecutive(u32::MAX).validate()), "fine");
        assert_eq!(field(Trip::consecutive(5).last(10).validate()), "conflict");
        assert_eq!(field(Trip::consecutive(5).min_calls(10).validate()), "conflict");
    }

    #[test]
    fn absurd_recoveries_are_refused_by_name() {
        let day = Duration::from_secs(86_400);
        assert_eq!(field(Recovery::after(Duration::ZERO).validate()), "after");
        assert_eq!(field(Recovery::after(day + Duration::from_nanos(1)).validate()), "after");
        assert_eq!(field(Recovery::after(day).validate()), "fine");
        assert_eq!(field(Recovery::after(Duration::from_nanos(1)).validate()), "fine");
        assert_eq!(field(Recovery::after(day).probes(0).validate()), "probes");
        assert_eq!(field(Recovery::after(day).probes(10_001).validate()), "probes");
        assert_eq!(field(Recovery::after(day).probes(10_000).validate()), "fine");
    }

    #[test]
    fn seven_of_a_hundred_is_seven_per_cent() {
        // For every whole percentage, exactly that many failures in a window of 100 trip it and one fewer does not.
        for percent in 1..=100_u32 {
            let trip = Trip::rate(f64::from(percent) / 100.0).min_calls(100);
            for (failures, trips) in [(percent, true), (percent - 1, false)] {
                let mut tally = trip.tally();
                let tripped = (0..100).map(|i| tally.count(i < failures)).fold(false, |a, b| a | b);
                assert_eq!(tripped, trips, "{failures} failures at {percent} %");
            }
        }
    }

    #[test]
    fn a_window_below_the_default_minimum_lowers_it() {
        let mut tally = Trip::rate(1.0).last(3).tally();
        assert_eq!([true; 3].map(|f| tally.count(f)), [false, false, true]);
    }
}
