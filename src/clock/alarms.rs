//! [`Alarms`]: who is to be woken when. The one protocol of arming, disarming and ringing, for both kinds of clock.
//!
//! **States** of an alarm: armed → ringing → rung; or armed → called off. **Invariants.** 1. An alarm leaves the map
//! once, under the lock, and whoever takes it out decides: the one who rings wakes the waiter, the one who disarms drops
//! it. So it rings at most once, and of ringing and disarming exactly one happens. 2. Alarms are taken out one at a time,
//! the soonest first, each rung before the next is taken: what a woken one disarms does not ring. 3. Time is looked at
//! under the lock that an alarm is armed under: nobody arms what a ringing round has gone past. 4. The keeper never
//! sleeps past the soonest alarm: whoever arms a sooner one wakes it.
//!
//! **Locking.** One lock, held for map operations. Wakers are woken, cloned and dropped under none: they are the
//! executor's code, which may arm and disarm. For the same reason disarming does not wait for a waker that is being
//! woken: the waker may be what disarms, or may wait for a lock that the disarming thread holds. It says so instead.

use crate::sync::{Condvar, Mutex, MutexGuard, Waiter, broken};
use std::collections::BTreeMap;
use std::time::Instant;

/// When it rings, and a number that tells two alarms of one instant apart.
pub(super) type Key = (Instant, u64);

/// The alarms of one clock, and `T`, which is what else its lock guards.
#[derive(Debug)]
pub(super) struct Alarms<T> {
    state: Mutex<State<T>>,
    /// A sooner alarm than the one that the keeper sleeps until.
    sooner: Condvar,
}

#[derive(Debug)]
struct State<T> {
    armed: BTreeMap<Key, Waiter>,
    next: u64,
    keeper: Keeper,
    time: T,
}

/// What the thread in [`Alarms::keep`] does, if there is one.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Keeper {
    /// Looks at the alarms before it sleeps.
    Looks,
    /// `None`: there is no alarm.
    SleepsUntil(Option<Instant>),
}

impl<T> Alarms<T> {
    pub(super) fn new(time: T) -> Self {
        let state = State { armed: BTreeMap::new(), next: 0, keeper: Keeper::Looks, time };
        Self { state: Mutex::new(state), sooner: Condvar::new() }
    }

    /// Arms an alarm if `may`, which looks at what the lock guards. If not, the waiter is woken here and now.
    pub(super) fn arm(&self, at: Instant, waiter: Waiter, may: impl FnOnce(&mut T) -> bool) -> Option<Key> {
        let mut state = self.state.lock();
        let may = may(&mut state.time);
        if broken("clock: an alarm is armed without a look at the time under the lock") {
            drop(state);
            state = self.state.lock();
        }
        if !may {
            drop(state);
            waiter.wake();
            return None;
        }
        let key = (at, state.next);
        state.next += 1;
        state.armed.insert(key, waiter);
        let oversleeps = match state.keeper {
            Keeper::Looks => false,
            Keeper::SleepsUntil(until) => until.is_none_or(|until| at < until),
        };
        if oversleeps {
            state.keeper = Keeper::Looks;
        }
        drop(state);
        if oversleeps && !broken("clock: the keeper is not told of a sooner alarm") {
            self.sooner.notify_one();
        }
        Some(key)
    }

    /// Calls an alarm off. `true`: it has not rung and will not. `false`: it has rung, or is ringing now on another
    /// thread or further up on this one.
    pub(super) fn disarm(&self, key: Key) -> bool {
        let gone = self.state.lock().armed.remove(&key);
        if broken("clock: a disarmed alarm stays in the map") {
            gone.clone().map(|waiter| self.state.lock().armed.insert(key, waiter));
        }
        // A waker's own drop is the executor's code too: the lock has been let go.
        gone.is_some()
    }

    /// Looks at what the lock guards, or changes it.
    pub(super) fn with<R>(&self, look: impl FnOnce(&mut T) -> R) -> R {
        look(&mut self.state.lock().time)
    }

    /// Changes the time to what `moved` says it is now, and rings all that are due by then, the soonest first.
    pub(super) fn ring(&self, moved: impl FnOnce(&mut T) -> Instant) {
        let mut state = self.state.lock();
        let now = moved(&mut state.time);
        while let Some(due) = state.take_due(now) {
            drop(state);
            self.wake(due);
            state = self.state.lock();
        }
    }

    fn wake(&self, (key, waiter): (Key, Waiter)) {
        waiter.wake();
        if broken("clock: an alarm is taken out after it has rung") {
            self.disarm(key);
        }
    }

    /// Keeps the time on this thread: rings each alarm at its instant by `now`, and sleeps in between. Ends when `now`
    /// gives none, which is looked at whenever an alarm has rung.
    pub(super) fn keep(&self, now: impl Fn(&T) -> Option<Instant>) {
        let mut state = self.state.lock();
        while let Some(now) = now(&state.time) {
            if let Some(due) = state.take_due(now) {
                drop(state);
                self.wake(due);
                state = self.state.lock();
            } else {
                state = self.sleep(state);
            }
        }
    }

    fn sleep<'a>(&'a self, mut state: MutexGuard<'a, State<T>>) -> MutexGuard<'a, State<T>> {
        let until = state.armed.first_key_value().map(|((at, _), _)| *at);
        state.keeper = Keeper::SleepsUntil(until);
        let mut state = match until {
            Some(at) => self.sooner.wait_until(state, at),
            None => self.sooner.wait(state),
        };
        state.keeper = Keeper::Looks;
        state
    }

    /// How many are armed.
    pub(super) fn len(&self) -> usize {
        self.state.lock().armed.len()
    }

    /// Moves a model's time, and wakes the keeper if that is past what it sleeps until: loom's timed waits do not end by
    /// themselves.
    #[cfg(all(test, watertight_loom, not(watertight_shuttle)))]
    pub(super) fn pass(&self, now: Instant, change: impl FnOnce(&mut T)) {
        let mut state = self.state.lock();
        change(&mut state.time);
        let ends = matches!(state.keeper, Keeper::SleepsUntil(Some(at)) if at <= now);
        drop(state);
        if ends {
            self.sooner.notify_one();
        }
    }
}

impl<T> State<T> {
    fn take_due(&mut self, now: Instant) -> Option<(Key, Waiter)> {
        let soonest = self.armed.first_entry().filter(|soonest| soonest.key().0 <= now)?;
        if broken("clock: an alarm is taken out after it has rung") {
            return Some((*soonest.key(), soonest.get().clone()));
        }
        Some(soonest.remove_entry())
    }
}
