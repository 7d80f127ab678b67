//! The system clock's alarms: one lazily started thread for the process and a map of who is to be woken when.
//!
//! Only futures come here; a waiting thread parks until its instant by itself.
//!
//! **States.** No thread yet → running, for ever (it sleeps without a wake-up while no alarm is armed).
//! **Invariants.** 1. The thread sleeps at most until the first alarm in the map. 2. An alarm leaves the map once: by
//! ringing or by being disarmed. **Locking.** The one lock guards the map; wakers run after it is let go.

use crate::sync::{Condvar, Mutex, OnceLock, Waiter, thread};
use std::collections::BTreeMap;
use std::time::Instant;

/// When it rings, and a number that tells two alarms of one instant apart.
pub(super) type Key = (Instant, u64);

#[derive(Debug)]
pub(super) struct Timer {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    alarms: BTreeMap<Key, Waiter>,
    next: u64,
    running: bool,
}

static TIMER: OnceLock<Timer> = OnceLock::new();

impl Timer {
    pub(super) fn global() -> &'static Timer {
        TIMER.get_or_init(|| Timer { state: Mutex::new(State::default()), changed: Condvar::new() })
    }

    pub(super) fn arm(&'static self, at: Instant, waiter: Waiter) -> Option<Key> {
        let mut state = self.state.lock();
        if !state.running && !self.start(&mut state) {
            // The system refuses the thread. Nobody is stranded: the waiter is woken at once, looks at the clock, and
            // asks again. That burns CPU until a thread can be had, and loses nothing.
            drop(state);
            waiter.wake();
            return None;
        }
        let key = (at, state.next);
        state.next += 1;
        let first = state.alarms.first_key_value().is_none_or(|(soonest, _)| key < *soonest);
        state.alarms.insert(key, waiter);
        drop(state);
        if first {
            self.changed.notify_one();
        }
        Some(key)
    }

    pub(super) fn disarm(&self, key: Key) {
        let gone = self.state.lock().alarms.remove(&key);
        drop(gone); // a waker's own drop is the executor's code: not under our lock
    }

    fn start(&'static self, state: &mut State) -> bool {
        let spawned = thread::Builder::new().name("watertight-time".into()).spawn(move || self.run());
        state.running = spawned.is_ok();
        state.running
    }

    fn run(&self) {
        let mut state = self.state.lock();
        loop {
            let now = super::system_now();
            match state.alarms.first_entry() {
                None => state = self.changed.wait(state),
                Some(soonest) if soonest.key().0 > now => {
                    let at = soonest.key().0;
                    state = self.changed.wait_until(state, at);
                }
                Some(due) => {
                    let waiter = due.remove();
                    drop(state);
                    waiter.wake();
                    state = self.state.lock();
                }
            }
        }
    }
}

#[cfg(all(test, not(watertight_loom)))]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::sync::Parker;
    use std::time::Duration;

    #[test]
    fn alarms_ring_in_order_and_disarmed_ones_leave_the_map() {
        let clock = Clock::system();
        let parker = Parker::new();
        let far =
            clock.wake_at(clock.now() + Duration::from_secs(3600), Waiter::thread(&parker)).expect("a timer thread");
        let armed = Timer::global().state.lock().alarms.len();
        assert!(armed >= 1);
        let at = clock.now() + Duration::from_millis(5);
        let near = clock.wake_at(at, Waiter::thread(&parker));
        while clock.now() < at {
            parker.park();
        }
        drop(near);
        let key = match &far.0 {
            super::super::Armed::System(key) => *key,
            super::super::Armed::Manual(..) => unreachable!("it came from the system's clock"),
        };
        drop(far);
        assert!(!Timer::global().state.lock().alarms.contains_key(&key));
    }
}
