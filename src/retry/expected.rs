//! [`Expected`]: how long an attempt takes, as it was said or as it was learnt.
//!
//! **Invariants.** 1. The word is changed by read-modify-write only. 2. The mean stays between the shortest and the longest
//! that was recorded. **Locking.** None.

use crate::sync::Arc;
use crate::sync::atomic::{AtomicU64, Ordering};
use std::fmt;
use std::time::Duration;

/// The share of a new sample in the mean, as a power of two: an eighth, TCP's for its round trips.
const SHARE: u32 = 3;

/// How long an attempt takes: so long an attempt must have, or a retry is not worth making. For [`Retry::expect`](super::Retry::expect).
///
/// Either a duration that you know, or a mean that is learnt: of the attempts that *succeeded*, each weighing an eighth of
/// what came before. Before the first one it expects nothing. A cheap handle; clones of what is learnt learn together.
///
/// [`Attempts::succeeded`](super::Attempts::succeeded) records for a loop of your own; whoever drives attempts otherwise calls
/// [`record`](Self::record). A compartment does not record by itself.
#[derive(Clone)]
pub struct Expected(Kind);

#[derive(Clone)]
enum Kind {
    Said(Duration),
    /// The mean in nanoseconds, or 0 before the first sample.
    Learnt(Arc<AtomicU64>),
}

impl Expected {
    pub(super) const fn nothing() -> Self {
        Self(Kind::Said(Duration::ZERO))
    }

    /// A mean that is still to be learnt.
    pub fn learnt() -> Self {
        Self(Kind::Learnt(Arc::new(AtomicU64::new(0))))
    }

    /// An attempt has succeeded and took so long. Changes nothing about a duration that was said.
    pub fn record(&self, took: Duration) {
        let Kind::Learnt(mean) = &self.0 else { return };
        let took = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX).max(1);
        let after = |mean: u64| {
            Some(match mean {
                0 => took,
                mean if took > mean => mean + ((took - mean) >> SHARE),
                mean => mean - ((mean - took) >> SHARE),
            })
        };
        let _ = mean.fetch_update(Ordering::AcqRel, Ordering::Acquire, after);
    }

    /// How long an attempt is expected to take; zero if nothing is known.
    pub fn get(&self) -> Duration {
        match &self.0 {
            Kind::Said(d) => *d,
            Kind::Learnt(mean) => Duration::from_nanos(mean.load(Ordering::Acquire)),
        }
    }

    pub(super) fn learns(&self) -> bool {
        matches!(self.0, Kind::Learnt(_))
    }
}

impl From<Duration> for Expected {
    fn from(d: Duration) -> Self {
        Self(Kind::Said(d))
    }
}

impl fmt::Debug for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = if self.learns() { "Learnt" } else { "Said" };
        f.debug_tuple(name).field(&self.get()).finish()
    }
}

#[cfg(all(test, not(watertight_loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_mean_stays_between_the_shortest_and_the_longest(all in prop::collection::vec(1_u64.., 1..50)) {
            let expected = Expected::learnt();
            all.iter().for_each(|nanos| expected.record(Duration::from_nanos(*nanos)));
            let mean = expected.get().as_nanos() as u64;
            prop_assert!(all.iter().min() <= Some(&mean) && Some(&mean) <= all.iter().max());
        }
    }

    #[test]
    fn it_forgets_and_what_was_said_stays() {
        let (learnt, said) = (Expected::learnt(), Expected::from(Duration::from_secs(1)));
        assert_eq!(learnt.get(), Duration::ZERO);
        for expected in [&learnt, &said] {
            expected.record(Duration::from_secs(8));
            (0..100).for_each(|_| expected.record(Duration::from_millis(10)));
        }
        assert!(learnt.clone().get().abs_diff(Duration::from_millis(10)) < Duration::from_micros(100));
        assert_eq!(said.get(), Duration::from_secs(1));
        assert_eq!(format!("{said:?}"), "Said(1s)");
    }
}
