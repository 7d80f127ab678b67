//! [`ManualClock`]: time that stands still until somebody moves it. For users' tests and for every loom model.
//!
//! **Invariants.** Those of `alarms.rs`; the time is what its lock guards besides. **Locking.** As there.

use super::alarms::{Alarms, Key};
use super::{Clock, Kind, system_now};
use crate::sync::{Arc, Waiter, broken};
use std::time::{Duration, Instant};

/// The alarms and what time it is.
#[derive(Debug)]
pub(super) struct Manual(Alarms<Instant>);

impl Manual {
    /// Out of the way of the system's clock.
    #[cold]
    pub(super) fn now(&self) -> Instant {
        self.0.with(|now| *now)
    }

    pub(super) fn arm(&self, at: Instant, waiter: Waiter) -> Option<Key> {
        self.0.arm(at, waiter, |now| at > *now)
    }

    pub(super) fn disarm(&self, key: Key) -> bool {
        self.0.disarm(key)
    }
}

/// A clock that stands still until [`advance`](Self::advance) moves it: minutes of time-outs, back-offs and open
/// intervals in microseconds of test, without a sleep.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use watertight::{Context, ManualClock};
///
/// let time = ManualClock::new();
/// let cx = Context::background().with_clock(&time.clock());
/// let sleeper = std::thread::spawn(move || cx.sleep(Duration::from_secs(3600)));
/// while time.waiting() == 0 {
///     std::thread::yield_now(); // until the sleeper sleeps
/// }
/// time.advance(Duration::from_secs(3600));
/// assert_eq!(sleeper.join().unwrap(), Ok(()));
/// ```
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<Manual>);

impl ManualClock {
    /// A clock that stands at some instant.
    pub fn new() -> Self {
        Self(Arc::new(Manual(Alarms::new(system_now()))))
    }

    /// The clock to hand to contexts and builders.
    pub fn clock(&self) -> Clock {
        Clock(Kind::Manual(self.0.clone()))
    }

    /// What time it is.
    pub fn now(&self) -> Instant {
        self.0.now()
    }

    /// Moves time on by `d` and wakes everybody who is due, in the order of their instants and one after the other: who
    /// stops waiting because an earlier one was woken is not woken. Time that would overflow stays where it is.
    pub fn advance(&self, d: Duration) {
        let moved = |now: &mut Instant| {
            *now = now.checked_add(d).unwrap_or(*now);
            *now
        };
        if broken("clock: an advance wakes nobody") {
            self.0.0.with(moved);
            return;
        }
        self.0.0.ring(moved);
    }

    /// How many waits this clock is to end: what a test polls to know that somebody waits.
    pub fn waiting(&self) -> usize {
        self.0.0.len()
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::new()
    }
}
