//! Latencies in microseconds: an HDR histogram that travels between processes as pairs of value and count.

use hdrhistogram::Histogram;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Up to two minutes, three significant digits.
const HIGHEST_US: u64 = 120_000_000;

#[derive(Clone, Debug)]
pub(crate) struct Latencies(Histogram<u64>);

impl Default for Latencies {
    fn default() -> Self {
        Self(Histogram::new_with_bounds(1, HIGHEST_US, 3).expect("the bounds are constants"))
    }
}

impl Latencies {
    pub(crate) fn record(&mut self, us: u64) {
        self.0.saturating_record(us.max(1));
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.0.add(&other.0).expect("both have the same bounds");
    }

    pub(crate) fn count(&self) -> u64 {
        self.0.len()
    }

    /// The value at a quantile in microseconds; `None` when nothing was recorded.
    pub(crate) fn quantile(&self, q: f64) -> Option<u64> {
        (!self.0.is_empty()).then(|| self.0.value_at_quantile(q))
    }

    pub(crate) fn max(&self) -> Option<u64> {
        (!self.0.is_empty()).then(|| self.0.max())
    }

    /// The part of the values that are at most `us`.
    pub(crate) fn share_within(&self, us: u64) -> f64 {
        if self.0.is_empty() {
            return 1.0;
        }
        self.0.count_between(0, us) as f64 / self.0.len() as f64
    }
}

impl Serialize for Latencies {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter_recorded().map(|v| (v.value_iterated_to(), v.count_at_value())))
    }
}

impl<'de> Deserialize<'de> for Latencies {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let pairs = Vec::<(u64, u64)>::deserialize(deserializer)?;
        let mut latencies = Self::default();
        for (value, count) in pairs {
            latencies.0.saturating_record_n(value, count);
        }
        Ok(latencies)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn travels_without_loss() {
        let mut sent = Latencies::default();
        for us in [1, 900, 52_000, 52_001, 5_000_000] {
            sent.record(us);
        }
        let text = serde_json::to_string(&sent).unwrap();
        let received: Latencies = serde_json::from_str(&text).unwrap();
        assert_eq!(received.count(), 5);
        for q in [0.0, 0.5, 0.95, 1.0] {
            assert_eq!(received.quantile(q), sent.quantile(q));
        }
    }

    #[test]
    fn an_empty_one_has_no_quantiles() {
        assert_eq!(Latencies::default().quantile(0.5), None);
        assert_eq!(Latencies::default().max(), None);
    }

    #[test]
    fn share_within_counts_what_is_fast_enough() {
        let mut latencies = Latencies::default();
        (0..99).for_each(|_| latencies.record(100_000));
        latencies.record(400_000);
        assert!((latencies.share_within(275_000) - 0.99).abs() < 1e-9);
        assert!((latencies.share_within(500_000) - 1.0).abs() < 1e-9);
    }
}
