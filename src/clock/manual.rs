//! [`ManualClock`]: time that stands still until somebody moves it. For users' tests and for every loom model.

use super::{Clock, Kind, system_now};
use crate::sync::{Arc, Mutex, Waiter, broken};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// When it rings, and a number that tells two alarms of one instant apart.
pub(super) type Key = (Instant, u64);

#[derive(Debug)]
pub(super) struct Manual {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    now: Instant,
    next: u64,
    alarms: BTreeMap<Key, Waiter>,
}

impl Manual {
    pub(super) fn now(&self) -> Instant {
        self.state.lock().now
    }

    pub(super) fn arm(&self, at: Instant, waiter: Waiter) -> Option<Key> {
        let mut state = self.state.lock();
        if at > state.now {
            let key = (at, state.next);
            state.next += 1;
            state.alarms.insert(key, waiter);
            return Some(key);
        }
        drop(state);
        waiter.wake();
        None
    }

    pub(super) fn disarm(&self, key: Key) {
        let gone = self.state.lock().alarms.remove(&key);
        drop(gone); // a waker's own drop is the executor's code: not under our lock
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
        let state = State { now: system_now(), next: 0, alarms: BTreeMap::new() };
        Self(Arc::new(Manual { state: Mutex::new(state) }))
    }

    /// The clock to hand to contexts and builders.
    pub fn clock(&self) -> Clock {
        Clock(Kind::Manual(self.0.clone()))
    }

    /// What time it is.
    pub fn now(&self) -> Instant {
        self.0.now()
    }

    /// Moves time on by `d` and wakes everybody who is due, in the order of their instants. Time that would overflow
    /// stays where it is.
    pub fn advance(&self, d: Duration) {
        let mut state = self.0.state.lock();
        state.now = state.now.checked_add(d).unwrap_or(state.now);
        let later = match state.now.checked_add(Duration::from_nanos(1)) {
            Some(just_after) => state.alarms.split_off(&(just_after, 0)),
            None => BTreeMap::new(),
        };
        let due = std::mem::replace(&mut state.alarms, later);
        drop(state);
        if broken("clock: an advance wakes nobody") {
            return;
        }
        for waiter in due.into_values() {
            waiter.wake();
        }
    }

    /// How many waits this clock is to end: what a test polls to know that somebody waits.
    pub fn waiting(&self) -> usize {
        self.0.state.lock().alarms.len()
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::new()
    }
}
