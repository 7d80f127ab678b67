//! [`Group`]: what jobs that belong together tell when they are over, and the wait for so many of them.
//!
//! Each job says once that it is over, which costs one lock and one number; whoever waits is woken when as many are over as
//! it wants, not at each of them. So a result costs the same however many there are.
//!
//! **Invariants.** 1. A job is over once, after its handle was completed; what it borrowed is not touched after that. 2. Who
//! waits is woken by the job that makes up the number, or by the first that failed if it wants that. **Locking.** One lock;
//! wakers are cloned before it is taken, woken and dropped after it is let go.

use crate::error::PanicPayload;
use crate::sync::{Mutex, Shared, Waiter, broken, drop_quietly};
use crate::wait::Wait;
use std::collections::VecDeque;
use std::task::Poll;

pub(super) struct Group(Mutex<State>);

struct State {
    /// Over, and not yet looked at.
    ended: Vec<Ended>,
    /// How many are over.
    over: u64,
    /// One of `ended` has failed.
    failed: bool,
    waits: Option<(Waiter, Want)>,
    /// Of a job whose handle nobody joined.
    panic: Option<PanicPayload>,
}

/// A job that is over.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ended {
    pub(super) number: u64,
    /// With a value.
    pub(super) well: bool,
}

/// What is waited for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Want {
    /// So many are over.
    pub(super) over: u64,
    /// Or one has failed.
    pub(super) or_failed: bool,
}

impl Want {
    fn had(self, state: &State) -> bool {
        state.over >= self.over || self.or_failed && state.failed
    }
}

impl Group {
    pub(super) fn new() -> Shared<Self> {
        let state = State { ended: Vec::new(), over: 0, failed: false, waits: None, panic: None };
        Shared::new(Self(Mutex::new(state)))
    }

    fn over(&self, ended: Ended) {
        let mut state = self.0.lock();
        if broken("group: who waits is looked up before the job is over") {
            let waits = state.waits.take();
            drop(state);
            let mut state = self.0.lock();
            (state.over, state.failed) = (state.over + 1, state.failed | !ended.well);
            state.ended.push(ended);
            drop(state);
            return waits.into_iter().for_each(|(waiter, _)| waiter.wake());
        }
        state.ended.push(ended);
        state.over += 1;
        state.failed |= !ended.well;
        let due = state.waits.as_ref().is_some_and(|(_, want)| want.had(&state));
        let waits = if due { state.waits.take() } else { None };
        drop(state);
        if let Some((waiter, _)) = waits {
            waiter.wake();
        }
    }

    /// Hands over those that are over and have not been looked at; how many are over in all.
    pub(super) fn look(&self, into: &mut VecDeque<Ended>) -> u64 {
        let mut state = self.0.lock();
        into.extend(state.ended.drain(..));
        state.failed = false;
        state.over
    }

    /// Whoever waits looks again.
    pub(super) fn nudge(&self) {
        let waits = self.0.lock().waits.take();
        if let Some((waiter, _)) = waits {
            waiter.wake();
        }
    }

    /// The panic of a job whose handle nobody joined: the first one.
    pub(super) fn take_panic(&self) -> Option<PanicPayload> {
        self.0.lock().panic.take()
    }

    fn unjoined(&self, payload: PanicPayload) {
        let mut state = self.0.lock();
        let later = match state.panic {
            None => state.panic.replace(payload),
            Some(_) => Some(payload),
        };
        drop(state);
        drop_quietly(later);
    }

    /// Whether what is wanted has been had; if not, `w` is woken when it is.
    pub(super) fn poll(&self, want: Want, w: &Waiter) -> Poll<()> {
        let mine = w.clone(); // cloning and dropping a waker is the executor's code: not under our lock
        let mut state = self.0.lock();
        let had = want.had(&state);
        let before = if had { state.waits.take() } else { state.waits.replace((mine, want)) };
        drop(state);
        drop(before);
        if had { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Nobody waits any more.
    pub(super) fn leave(&self) {
        let waits = self.0.lock().waits.take();
        drop(waits);
    }
}

/// One of a group's jobs.
pub(super) struct Member {
    pub(super) group: Shared<Group>,
    pub(super) number: u64,
}

impl Member {
    /// It is over: the last thing it does.
    pub(super) fn over(&self, well: bool) {
        self.group.over(Ended { number: self.number, well });
    }

    /// It panicked, and nobody has joined or will.
    pub(super) fn unjoined(&self, payload: PanicPayload) {
        self.group.unjoined(payload);
    }
}

/// The wait for so many.
pub(super) struct GroupWait {
    pub(super) group: Shared<Group>,
    pub(super) want: Want,
}

impl Wait for GroupWait {
    type Output = ();

    fn poll_wait(&mut self, w: &Waiter) -> Poll<()> {
        self.group.poll(self.want, w)
    }

    fn give_up(&mut self) {
        self.group.leave();
    }
}

#[cfg(all(test, not(watertight_loom)))]
mod tests {
    use super::*;
    use crate::sync::Parker;

    #[test]
    fn a_failure_that_was_looked_at_ends_no_further_wait() {
        let (group, waiter) = (Group::new(), Waiter::thread(&Parker::new()));
        let want = Want { over: 3, or_failed: true };
        let is_had = || group.poll(want, &waiter).is_ready();
        Member { group: group.clone(), number: 0 }.over(false);
        assert!(is_had());
        let mut ended = VecDeque::new();
        assert_eq!((group.look(&mut ended), ended.len()), (1, 1));
        assert!(!is_had(), "or whoever waits for the rest would spin");
        Member { group: group.clone(), number: 1 }.over(false);
        assert!(is_had());
    }
}
