//! How an open breaker comes back: [`Recovery`]. Pure.

use super::tally::nanos;
use crate::error::BuildError;
use std::time::Duration;

/// The most probes of one round.
const MAX_PROBES: u32 = 10_000;
/// The most rounds that a ramp adds.
const MAX_RAMP: u32 = 10;
/// The longest open interval.
const MAX_AFTER: Duration = Duration::from_secs(24 * 60 * 60);
/// What an interval grows to, unless the first is longer.
const DEFAULT_AT_MOST: Duration = Duration::from_secs(60);

/// How an open breaker comes back: how long it refuses everything, and which probes must then succeed.
///
/// | | Default | Allowed |
/// |---|---|---|
/// | [`after`](Self::after) | 5 s | above 0, at most one day |
/// | [`growth`](Self::growth) | 2: doubled each time in a row | 1 to 100 |
/// | [`at_most`](Self::at_most) | one minute, or `after` if that is longer | `after` to one day |
/// | [`jitter`](Self::jitter) | 0.5 of what has grown | 0 to 1 |
/// | [`probes`](Self::probes) | 1 | 1 to 10,000 |
/// | [`successes`](Self::successes) | all of the probes | 1 to `probes` |
/// | [`probe_timeout`](Self::probe_timeout) | none: as any call | above 0, at most one day |
/// | [`ramp`](Self::ramp) | 0: closes after the first probes | 0 to 10 rounds |
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use watertight::Recovery;
///
/// // 5 s, then up to 10 s, 20 s and so on; then three probes, six, twelve, and only then everybody.
/// let careful = Recovery::after(Duration::from_secs(5)).probes(3).ramp(2);
/// // Always exactly one second.
/// let steady = Recovery::after(Duration::from_secs(1)).growth(1.0);
/// # let _ = (careful, steady);
/// ```
#[derive(Clone, Debug, PartialEq)]
#[must_use = "a rule does nothing until a breaker has it"]
pub struct Recovery {
    after: Duration,
    growth: f64,
    at_most: Option<Duration>,
    jitter: f64,
    probes: u32,
    successes: Option<u32>,
    probe_timeout: Option<Duration>,
    ramp: u32,
}

impl Recovery {
    /// Refuses everything for this long, then goes half-open. The first time it is exactly this long, and never shorter.
    ///
    /// It is also the lease of a probe, unless twice the [`probe_timeout`](Self::probe_timeout) is longer: one that does not
    /// come back for this long loses its place to the next caller who needs it, and then its result counts for nothing.
    /// So make it longer than the protected call's own timeout, or a probe that is merely slow is given up too early.
    pub fn after(interval: Duration) -> Self {
        Self {
            after: interval,
            growth: 2.0,
            at_most: None,
            jitter: 0.5,
            probes: 1,
            successes: None,
            probe_timeout: None,
            ramp: 0,
        }
    }

    /// By how much the interval grows each time the breaker opens again. 1 is always the same. Default 2.
    ///
    /// Health undoes it: for each time that the breaker stays closed for as long as its last interval was, one step is
    /// forgotten. So a dependency that flaps is left alone for longer and longer, and one that fails once a day is not.
    pub fn growth(mut self, factor: f64) -> Self {
        self.growth = factor;
        self
    }

    /// No interval is longer than this. Default one minute, or the first interval if that is longer.
    pub fn at_most(mut self, interval: Duration) -> Self {
        self.at_most = Some(interval);
        self
    }

    /// How much of an interval that has grown is left to chance: up to this share is taken off, but never so much that it
    /// is shorter than the first. Many clients of one dependency that lost it together should not come back together.
    /// Default 0.5.
    pub fn jitter(mut self, share: f64) -> Self {
        self.jitter = share;
        self
    }

    /// How many calls pass while half-open. Default 1.
    pub fn probes(mut self, n: u32) -> Self {
        self.probes = n;
        self
    }

    /// How many of the [`probes`](Self::probes) have to succeed. As soon as that is certain the breaker closes, and as soon
    /// as it is out of reach it opens again. Default: all of them, so that the first failure opens it.
    pub fn successes(mut self, n: u32) -> Self {
        self.successes = Some(n);
        self
    }

    /// Less time for a probe than for other calls: whoever probes a dependency that is probably still down need not wait
    /// for it as long as for a healthy one. The breaker runs nothing, so it only says so
    /// ([`Admitted::timeout`](crate::Admitted::timeout)); a [`Bulkhead`](crate::Bulkhead) keeps to it.
    pub fn probe_timeout(mut self, d: Duration) -> Self {
        self.probe_timeout = Some(d);
        self
    }

    /// So many further rounds of probes before it closes, each of twice as many as the one before. A dependency that has
    /// just come up is not given all of its traffic at once. Default 0.
    pub fn ramp(mut self, rounds: u32) -> Self {
        self.ramp = rounds;
        self
    }

    pub(crate) fn validate(&self) -> Result<(), BuildError> {
        let out = |field, given: &dyn std::fmt::Debug, allowed| {
            Err(BuildError::out_of_range(field, format!("{given:?}"), allowed))
        };
        if self.after.is_zero() || self.after > MAX_AFTER {
            return out("after", &self.after, "above 0 and at most one day");
        }
        if !(1.0..=100.0).contains(&self.growth) {
            return out("growth", &self.growth, "1 to 100");
        }
        if let Some(most) = self.at_most.filter(|most| *most < self.after || *most > MAX_AFTER) {
            return out("at_most", &most, "the first interval to one day");
        }
        if !(0.0..=1.0).contains(&self.jitter) {
            return out("jitter", &self.jitter, "0 to 1");
        }
        if self.probes == 0 || self.probes > MAX_PROBES {
            return out("probes", &self.probes, "1 to 10000");
        }
        if let Some(n) = self.successes.filter(|n| *n == 0 || *n > self.probes) {
            return out("successes", &n, "1 to the number of probes");
        }
        if let Some(d) = self.probe_timeout.filter(|d| d.is_zero() || *d > MAX_AFTER) {
            return out("probe_timeout", &d, "above 0 and at most one day");
        }
        if self.ramp > MAX_RAMP {
            return out("ramp", &self.ramp, "0 to 10");
        }
        Ok(())
    }

    /// The first interval.
    pub(crate) fn first(&self) -> u64 {
        nanos(self.after)
    }

    /// The interval of this opening in a row, counted from 1, without chance.
    pub(crate) fn interval(&self, opening: u32) -> u64 {
        let most = nanos(self.at_most.unwrap_or(DEFAULT_AT_MOST)).max(self.first());
        let grown = self.first() as f64 * self.growth.powf(f64::from(opening.saturating_sub(1)));
        // An overgrown power is infinite, and infinity is more than the most.
        if grown < most as f64 { (grown as u64).max(self.first()) } else { most }
    }

    /// The same, with what chance (0 to 1) takes off it.
    pub(crate) fn interval_by_chance(&self, opening: u32, chance: f64) -> u64 {
        let whole = self.interval(opening);
        whole.saturating_sub((whole as f64 * self.jitter * chance) as u64).max(self.first())
    }

    /// How long a probe keeps its place.
    pub(crate) fn lease(&self) -> u64 {
        self.first().max(self.probe_timeout.map_or(0, |d| nanos(d).saturating_mul(2)))
    }

    pub(crate) fn timeout(&self) -> Option<Duration> {
        self.probe_timeout
    }

    /// The rounds of probes before it closes.
    pub(crate) fn rounds(&self) -> u32 {
        self.ramp + 1
    }

    /// How many probes a round has, counted from 0, and how many of them must succeed.
    pub(crate) fn round(&self, n: u32) -> (u32, u32) {
        (self.probes << n, self.successes.unwrap_or(self.probes) << n)
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

    fn field(recovery: Recovery) -> &'static str {
        match recovery.validate() {
            Err(BuildError::OutOfRange { field, .. }) => field,
            Err(_) => "other",
            Ok(()) => "fine",
        }
    }

    #[test]
    fn absurd_recoveries_are_refused_by_name() {
        let (day, nano) = (Duration::from_secs(86_400), Duration::from_nanos(1));
        let fine = || Recovery::after(day / 2);
        let cases = [
            (Recovery::after(Duration::ZERO), "after"),
            (Recovery::after(day + nano), "after"),
            (Recovery::after(day), "fine"),
            (Recovery::after(nano), "fine"),
            (fine().growth(f64::NAN), "growth"),
            (fine().growth(0.99), "growth"),
            (fine().growth(100.1), "growth"),
            (fine().growth(100.0), "fine"),
            (fine().at_most(day / 2 - nano), "at_most"),
            (fine().at_most(day + nano), "at_most"),
            (fine().at_most(day / 2), "fine"),
            (fine().jitter(-0.1), "jitter"),
            (fine().jitter(f64::NAN), "jitter"),
            (fine().jitter(1.0), "fine"),
            (fine().probes(0), "probes"),
            (fine().probes(10_001), "probes"),
            (fine().probes(10_000).ramp(10), "fine"),
            (fine().probes(3).successes(4), "successes"),
            (fine().probes(3).successes(0), "successes"),
            (fine().probes(3).successes(3), "fine"),
            (fine().probe_timeout(Duration::ZERO), "probe_timeout"),
            (fine().probe_timeout(day + nano), "probe_timeout"),
            (fine().ramp(11), "ramp"),
        ];
        for (recovery, wanted) in cases {
            assert_eq!(field(recovery.clone()), wanted, "{recovery:?}");
        }
    }

    #[test]
    fn intervals_grow_to_their_cap_and_no_further() {
        let seconds = |r: &Recovery| [0, 1, 2, 3, 4, 5, 1_000, u32::MAX].map(|n| r.interval(n) / 1_000_000_000);
        let five = Recovery::after(Duration::from_secs(5));
        assert_eq!(seconds(&five), [5, 5, 10, 20, 40, 60, 60, 60]);
        assert_eq!(seconds(&five.clone().growth(1.0)), [5; 8]);
        assert_eq!(
            seconds(&five.clone().growth(100.0).at_most(Duration::from_secs(86_400)))[2..5],
            [500, 50_000, 86_400]
        );
        assert_eq!(seconds(&Recovery::after(Duration::from_secs(90))), [90; 8]);
    }

    #[test]
    fn chance_takes_off_its_share_and_never_more_than_has_grown() {
        let r = Recovery::after(Duration::from_secs(5));
        assert_eq!(r.interval_by_chance(1, 1.0), r.first());
        assert_eq!(r.interval_by_chance(3, 0.0), 20_000_000_000);
        assert_eq!(r.interval_by_chance(3, 1.0), 10_000_000_000);
        assert_eq!(r.clone().jitter(1.0).interval_by_chance(3, 1.0), r.first());
        assert_eq!(r.jitter(0.0).interval_by_chance(3, 1.0), 20_000_000_000);
    }
}
