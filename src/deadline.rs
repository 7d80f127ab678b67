//! [`Deadline`]: an instant by which something must have ended, or never. A plain value; it holds no clock.
//!
//! **Invariants.** 1. [`Deadline::child`] only tightens. 2. No arithmetic here panics: what would overflow is never,
//! what is past stays past.

use std::cmp::Ordering;
use std::fmt;
use std::time::{Duration, Instant};

/// The instant by which work must have ended, or [`NEVER`](Deadline::NEVER).
///
/// It is a value: `now` is always an argument, so the same code runs under the system clock and a
/// [`ManualClock`](crate::ManualClock). Deadlines order by time, never being the greatest, so `a.min(b)` is the sooner.
///
/// # Examples
///
/// ```
/// use std::time::{Duration, Instant};
/// use watertight::Deadline;
///
/// let now = Instant::now();
/// let request = Deadline::after(now, Duration::from_millis(200));
/// // A callee may ask for more than its caller has; it gets what is left.
/// let call = request.child(now, Duration::from_secs(5));
/// assert_eq!(call, request);
/// assert_eq!(call.remaining(now), Some(Duration::from_millis(200)));
/// assert!(Deadline::NEVER > call);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Deadline(Option<Instant>);

impl Deadline {
    /// No deadline. Also the default.
    pub const NEVER: Self = Self(None);

    /// The deadline at `t`.
    pub const fn at(t: Instant) -> Self {
        Self(Some(t))
    }

    /// The deadline `d` after `now`. What a clock cannot express is [`NEVER`](Self::NEVER), not a panic.
    pub fn after(now: Instant, d: Duration) -> Self {
        Self(now.checked_add(d))
    }

    /// The sooner of this deadline and `d` after `now`: it only ever tightens.
    #[must_use]
    pub fn child(self, now: Instant, d: Duration) -> Self {
        self.min(Self::after(now, d))
    }

    /// The instant, or `None` for never.
    pub const fn instant(self) -> Option<Instant> {
        self.0
    }

    /// The time left at `now`: `None` for never, zero once it has passed.
    pub fn remaining(self, now: Instant) -> Option<Duration> {
        self.0.map(|at| at.saturating_duration_since(now))
    }

    /// Whether it has passed at `now`. The instant itself counts as passed.
    pub fn is_past(self, now: Instant) -> bool {
        self.0.is_some_and(|at| at <= now)
    }

    /// Whether there is no deadline.
    pub const fn is_never(self) -> bool {
        self.0.is_none()
    }
}

impl Ord for Deadline {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self.0, other.0) {
            (Some(a), Some(b)) => a.cmp(&b),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => Ordering::Equal,
        }
    }
}

impl PartialOrd for Deadline {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl From<Instant> for Deadline {
    fn from(t: Instant) -> Self {
        Self::at(t)
    }
}

impl fmt::Debug for Deadline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(at) => write!(f, "Deadline({at:?})"),
            None => f.write_str("Deadline(never)"),
        }
    }
}

#[cfg(all(test, not(watertight_loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_child_never_outlives_its_parent(ms in 0u64..20_000, now_ms in 0u64..20_000, extra in any::<u64>()) {
            let base = Instant::now();
            let now = base + Duration::from_millis(now_ms);
            let parent = Deadline::after(base, Duration::from_millis(ms));
            for d in [Duration::from_millis(extra % 30_000), Duration::from_secs(extra), Duration::MAX] {
                let child = parent.child(now, d);
                prop_assert!(child <= parent);
                prop_assert!(child.remaining(now) <= parent.remaining(now));
                prop_assert!(!parent.is_past(now) || child.is_past(now));
            }
        }

        #[test]
        fn the_order_is_total_and_never_is_last(a in prop::option::of(0u64..100), b in prop::option::of(0u64..100)) {
            let base = Instant::now();
            let make = |ms: Option<u64>| ms.map_or(Deadline::NEVER, |ms| Deadline::after(base, Duration::from_millis(ms)));
            let (x, y) = (make(a), make(b));
            prop_assert_eq!(x.min(y), y.min(x));
            prop_assert_eq!(x.cmp(&y), y.cmp(&x).reverse());
            prop_assert_eq!(x == y, a == b);
            prop_assert!(x <= Deadline::NEVER);
        }
    }

    #[test]
    fn overflow_is_never_and_past_stays_past() {
        let now = Instant::now();
        assert_eq!(Deadline::after(now, Duration::MAX), Deadline::NEVER);
        let past = Deadline::at(now);
        assert!(past.is_past(now));
        assert_eq!(past.remaining(now + Duration::from_secs(1)), Some(Duration::ZERO));
        assert_eq!(past.child(now, Duration::MAX), past);
        assert_eq!(Deadline::NEVER.remaining(now), None);
        assert!(!Deadline::NEVER.is_past(now));
    }
}
