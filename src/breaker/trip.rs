//! When a breaker opens: [`Trip`]. The counting is in `tally.rs`. Pure.

use super::own::Own;
use crate::error::BuildError;
use crate::event::Counts;
use std::time::Duration;

/// The largest count window: 65,536 calls, 16 KiB.
const MAX_WINDOW: u32 = 65_536;
/// The least and the longest time window.
const MIN_SPAN: Duration = Duration::from_millis(10);
const MAX_DAY: Duration = Duration::from_secs(24 * 60 * 60);
const MAX_MIN_CALLS: u32 = 1_000_000_000;
const DEFAULT_WINDOW: u32 = 100;
const DEFAULT_MIN_CALLS: u32 = 20;

/// When a closed breaker opens.
///
/// It begins with a rule: [`consecutive`](Self::consecutive), [`rate`](Self::rate), [`slow_rate`](Self::slow_rate) or
/// [`own`](Self::own). Another can be added to it, and then whichever is met first opens the breaker. Rates are taken over
/// one window, of the [last](Self::last) so many calls or of those [within](Self::within) so much time. Every recorded
/// outcome is counted and looked at; what was ignored is no call at all.
///
/// | | Default | Allowed |
/// |---|---|---|
/// | [`last`](Self::last) | the window: 100 calls | 1 to 65,536 |
/// | [`within`](Self::within) | instead of it | 10 ms to a day |
/// | [`min_calls`](Self::min_calls) | 20, or the whole count window if that is smaller | 1 to `last`, or to 1,000,000,000 |
/// | [`or_slow_rate`](Self::or_slow_rate) | none | a rate above 0 and at most 1; above 0 and at most a day |
/// | [`or_consecutive`](Self::or_consecutive) | none | at least 1 |
/// | [`lump`](Self::lump) | none: each failure counts | above 0 and at most a day |
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use watertight::{Breaker, Recovery, Trip};
///
/// let five_in_a_row = Trip::consecutive(5);
/// let half_of_the_last_50 = Trip::rate(0.5).last(50).min_calls(10);
/// let over_a_minute = Trip::rate(0.1).within(Duration::from_secs(60)).min_calls(100);
/// let failing_or_slow = Trip::rate(0.5).or_slow_rate(0.8, Duration::from_secs(2));
/// let both = Trip::rate(0.5).or_consecutive(10);
/// let own = Trip::own(|counts| counts.failures >= 3 && counts.calls < 30);
/// for trip in [five_in_a_row, half_of_the_last_50, over_a_minute, failing_or_slow, both, own] {
///     Breaker::builder("payments").trip(trip).recovery(Recovery::after(Duration::from_secs(5))).build()?;
/// }
/// # Ok::<(), watertight::BuildError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
#[must_use = "a rule does nothing until a breaker has it"]
pub struct Trip {
    pub(super) consecutive: Option<u32>,
    pub(super) rate: Option<f64>,
    pub(super) slow: Option<(f64, Duration)>,
    pub(super) own: Option<Own>,
    /// Not for consecutive failures alone: a setter that said otherwise is refused when the breaker is built.
    pub(super) span: Option<Span>,
    min_calls: Option<u32>,
    pub(super) lump: Option<Duration>,
}

/// What a window is measured in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Span {
    Calls(u32),
    Time(Duration),
}

impl Trip {
    const NOTHING: Self =
        Self { consecutive: None, rate: None, slow: None, own: None, span: None, min_calls: None, lump: None };
    const WINDOWED: Self = Self { span: Some(Span::Calls(DEFAULT_WINDOW)), ..Self::NOTHING };

    /// Opens after `failures` failures in a row; one success starts the count again. At least 1.
    ///
    /// Reacts fast and needs no traffic to speak of, but a dependency that fails nine calls in ten at random may go on
    /// for long: use [`rate`](Self::rate) for that.
    pub fn consecutive(failures: u32) -> Self {
        Self { consecutive: Some(failures), ..Self::NOTHING }
    }

    /// Opens when at least this share of the calls in the window failed: above 0, at most 1. `0.5` is every second one.
    ///
    /// Looked at after every recorded outcome once [`min_calls`](Self::min_calls) are in the window, so the call that
    /// completes the minimum may trip it even if it succeeded itself.
    pub fn rate(rate: f64) -> Self {
        Self { rate: Some(rate), ..Self::WINDOWED }
    }

    /// Opens when at least this share of the calls in the window took longer than `over`, or was said to be
    /// [slow](crate::Class::Slow). Looked at as [`rate`](Self::rate) is. A breaker with such a rule reads the clock twice a
    /// call, and slow probes do not count as a recovery: at this share of slow ones it opens again.
    pub fn slow_rate(rate: f64, over: Duration) -> Self {
        Self { slow: Some((rate, over)), ..Self::WINDOWED }
    }

    /// Opens when `rule` says so of what has been counted. It is asked after every recorded outcome, from the first on:
    /// [`min_calls`](Self::min_calls) is for rates.
    ///
    /// It is asked outside every lock, on the thread that records, so it may take its time at that thread's expense; what
    /// it was asked about may be overtaken by other calls meanwhile. It opens the breaker once, however many calls it is
    /// asked about at the same time. One that panics has not said yes.
    pub fn own(rule: impl Fn(&Counts) -> bool + Send + Sync + 'static) -> Self {
        Self { own: Some(Own::new(rule)), ..Self::WINDOWED }
    }

    /// [`slow_rate`](Self::slow_rate) besides: whichever is met first opens it.
    pub fn or_slow_rate(mut self, rate: f64, over: Duration) -> Self {
        self.slow = Some((rate, over));
        self.span = self.span.or(Self::WINDOWED.span);
        self
    }

    /// [`consecutive`](Self::consecutive) besides: whichever is met first opens it.
    pub fn or_consecutive(mut self, failures: u32) -> Self {
        self.consecutive = Some(failures);
        self
    }

    /// The window: the last `calls` recorded calls. Default 100.
    pub fn last(mut self, calls: u32) -> Self {
        self.span = Some(Span::Calls(calls));
        self
    }

    /// The window: the calls recorded within this long, in place of a number of them. It moves on in ten steps, so it holds
    /// between nine tenths of it and all of it, in a fixed amount of memory.
    pub fn within(mut self, span: Duration) -> Self {
        self.span = Some(Span::Time(span));
        self
    }

    /// How many calls have to be in the window before a rate says anything: without such a minimum one error in a quiet hour
    /// would open the breaker. Default 20, or the whole window if that is smaller.
    pub fn min_calls(mut self, calls: u32) -> Self {
        self.min_calls = Some(calls);
        self
    }

    /// Failures within this long of one that was counted are the same failure and are not counted at all. For a dependency
    /// that fails many calls at once by one mishap, like a connection that breaks under all of them.
    pub fn lump(mut self, interval: Duration) -> Self {
        self.lump = Some(interval);
        self
    }

    pub(crate) fn validate(&self) -> Result<(), BuildError> {
        if self.consecutive == Some(0) {
            return Err(BuildError::out_of_range("consecutive", 0, "at least 1"));
        }
        for (field, rate) in [("rate", self.rate), ("slow_rate", self.slow.map(|slow| slow.0))] {
            // Written so that NaN is refused too.
            if let Some(rate) = rate.filter(|rate| !(*rate > 0.0 && *rate <= 1.0)) {
                return Err(BuildError::out_of_range(field, rate, "above 0 and at most 1"));
            }
        }
        for (field, limit) in [("slow_rate's time", self.slow.map(|slow| slow.1)), ("lump", self.lump)] {
            if let Some(limit) = limit.filter(|limit| limit.is_zero() || *limit > MAX_DAY) {
                return Err(BuildError::out_of_range(field, format!("{limit:?}"), "above 0 and at most one day"));
            }
        }
        self.validate_window()
    }

    fn validate_window(&self) -> Result<(), BuildError> {
        if self.rate.is_none() && self.slow.is_none() && self.own.is_none() {
            return match (self.span, self.min_calls) {
                (None, None) => Ok(()),
                _ => Err(BuildError::Conflict("last, within and min_calls belong to rates, not to Trip::consecutive")),
            };
        }
        let most = match self.span {
            Some(Span::Calls(last)) if last == 0 || last > MAX_WINDOW => {
                return Err(BuildError::out_of_range("last", last, "1 to 65536"));
            }
            Some(Span::Time(span)) if span < MIN_SPAN || span > MAX_DAY => {
                return Err(BuildError::out_of_range("within", format!("{span:?}"), "10 ms to one day"));
            }
            Some(Span::Calls(last)) => last,
            _ => MAX_MIN_CALLS,
        };
        match self.min_calls {
            Some(min) if min == 0 || min > most => {
                let allowed = "1 to the window's size (last), or to 1000000000 within a time";
                Err(BuildError::out_of_range("min_calls", min, allowed))
            }
            _ => Ok(()),
        }
    }

    /// The minimum that holds.
    pub(super) fn min(&self) -> u32 {
        let most = if let Some(Span::Calls(last)) = self.span { last } else { MAX_MIN_CALLS };
        self.min_calls.unwrap_or(DEFAULT_MIN_CALLS).min(most)
    }
}

/// Every second call of the last 100 failed, with at least 20 calls: `Trip::rate(0.5)`.
impl Default for Trip {
    fn default() -> Self {
        Self::rate(0.5)
    }
}

#[cfg(all(test, not(watertight_loom)))]
mod tests {
    use super::*;

    fn field(trip: Trip) -> &'static str {
        match trip.validate() {
            Err(BuildError::OutOfRange { field, .. }) => field,
            Err(BuildError::Conflict(_)) => "conflict",
            Err(_) => "other",
            Ok(()) => "fine",
        }
    }

    #[test]
    fn absurd_rules_are_refused_by_name() {
        const SEC: Duration = Duration::from_secs(1);
        for bad in [f64::NAN, 0.0, -0.0, -0.1, 1.000_000_1, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(field(Trip::rate(bad)), "rate", "{bad}");
            assert_eq!(field(Trip::slow_rate(bad, SEC)), "slow_rate", "{bad}");
        }
        for fine in [f64::MIN_POSITIVE, 0.07, 1.0] {
            assert_eq!(field(Trip::rate(fine).or_slow_rate(fine, SEC)), "fine", "{fine}");
        }
        let cases = [
            (Trip::rate(0.5).last(0), "last"),
            (Trip::rate(0.5).last(65_537), "last"),
            (Trip::rate(0.5).last(65_536), "fine"),
            (Trip::rate(0.5).min_calls(0), "min_calls"),
            (Trip::rate(0.5).min_calls(101), "min_calls"),
            (Trip::rate(0.5).min_calls(100), "fine"),
            (Trip::rate(0.5).last(5), "fine"),
            (Trip::rate(0.5).within(SEC).min_calls(MAX_MIN_CALLS), "fine"),
            (Trip::rate(0.5).within(SEC).min_calls(MAX_MIN_CALLS + 1), "min_calls"),
            (Trip::rate(0.5).within(Duration::from_millis(9)), "within"),
            (Trip::rate(0.5).within(MAX_DAY + SEC), "within"),
            (Trip::rate(0.5).within(MAX_DAY).lump(MAX_DAY), "fine"),
            (Trip::rate(0.5).lump(Duration::ZERO), "lump"),
            (Trip::rate(0.5).lump(MAX_DAY + SEC), "lump"),
            (Trip::slow_rate(0.5, Duration::ZERO), "slow_rate's time"),
            (Trip::slow_rate(0.5, MAX_DAY + SEC), "slow_rate's time"),
            (Trip::consecutive(0), "consecutive"),
            (Trip::rate(0.5).or_consecutive(0), "consecutive"),
            (Trip::consecutive(u32::MAX).lump(SEC), "fine"),
            (Trip::consecutive(5).last(10), "conflict"),
            (Trip::consecutive(5).within(SEC), "conflict"),
            (Trip::consecutive(5).min_calls(10), "conflict"),
            (Trip::consecutive(5).or_slow_rate(0.5, SEC).min_calls(10), "fine"),
            (Trip::own(|_| true).last(10), "fine"),
        ];
        for (trip, wanted) in cases {
            assert_eq!(field(trip.clone()), wanted, "{trip:?}");
        }
    }

    #[test]
    fn a_rule_of_ones_own_is_the_same_as_itself() {
        let own = Trip::own(|_| true);
        assert_eq!(own, own.clone());
        assert_ne!(own, Trip::own(|_| true));
        assert!(format!("{own:?}").contains("Own(..)"));
    }
}
