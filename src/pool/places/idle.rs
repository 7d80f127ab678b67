//! The wait until nothing is in use: the third thing for which who gives back looks at `attention`.
//!
//! **Invariants.** 1. Told is only who joined before a moment at which nothing was in use. 2. *Nobody waits while nothing is
//! in use*, as invariant 3 of the places. While nobody waits it costs who gives back nothing, and while somebody does, a look
//! at all words of what is back.

use super::{IDLE, Places, State};
use crate::sync::atomic::{Ordering, fence};
use crate::sync::{Waiter, broken};
use crate::wait::line::Place;
use std::task::Poll;

impl Places {
    /// Whether nothing is in use but so many places that are set aside. What is back is counted first: it only grows, so if it is then all that was taken, there
    /// was nothing in use when it had been counted. The other way round, what was taken and given back meanwhile would stand
    /// for what is still in use.
    pub(super) fn is_idle(&self, aside: u64) -> bool {
        if broken("places: what is taken is counted before what is back") {
            return self.taken() == self.count_back() + aside;
        }
        // Of two who give the last two back and see somebody wait, one at least sees what the other has said: `say` orders a
        // look at `attention` only.
        fence(Ordering::SeqCst);
        let back = self.count_back() + aside;
        back == self.taken()
    }

    /// A number among those who wait until nothing is in use, who are woken then; `None`: that is now.
    pub(in crate::pool) fn join_idlers(&self, waiter: Waiter) -> Option<Place> {
        let mut state = self.state.lock();
        let number = state.idlers.join(waiter);
        self.attention.0.fetch_or(IDLE, Ordering::AcqRel);
        fence(Ordering::SeqCst); // invariant 3 of the places
        let found = if broken("places: who waits for idleness does not look again") {
            Vec::new()
        } else {
            self.idlers(&mut state)
        };
        let here = state.idlers.get_mut(number).is_none();
        drop(state);
        Waiter::wake_all(found); // oneself too: an early wake harms nobody
        (!here).then_some(number)
    }

    /// Looks whether there was such a moment; if not, `w` is to be woken from now on.
    pub(in crate::pool) fn look_idle(&self, number: Place, w: &Waiter) -> Poll<()> {
        let mine = w.clone(); // cloning and dropping a waker is the executor's code: not under our lock
        let mut state = self.state.lock();
        let spare = match state.idlers.get_mut(number) {
            None => {
                drop(state);
                return Poll::Ready(());
            }
            Some(there) => std::mem::replace(there, mine),
        };
        drop(state);
        drop(spare);
        Poll::Pending
    }

    /// Waits no more.
    pub(in crate::pool) fn leave_idlers(&self, number: Place) {
        let mut state = self.state.lock();
        let left = state.idlers.leave(number);
        self.forget_idlers(&state);
        drop(state);
        drop(left);
    }

    /// Under the lock: those to be woken after it, because nothing is in use now.
    pub(super) fn idlers(&self, state: &mut State) -> Vec<Waiter> {
        if state.idlers.len() == 0 || !self.is_idle(state.aside) {
            return Vec::new();
        }
        let told = state.idlers.empty().collect();
        self.forget_idlers(state);
        told
    }

    fn forget_idlers(&self, state: &State) {
        if state.idlers.len() == 0 {
            self.attention.0.fetch_and(!IDLE, Ordering::AcqRel);
        }
    }
}

#[cfg(all(test, not(watertight_loom)))]
mod tests {
    use super::*;
    use crate::sync::Parker;

    #[test]
    fn who_is_in_line_comes_before_idleness() {
        let (places, waiter) = (Places::new(1, 1, 1), Waiter::thread(&Parker::new()));
        places.try_take(1).unwrap();
        let in_line = places.join(1, waiter.clone()).unwrap().unwrap();
        let idler = places.join_idlers(waiter.clone()).unwrap();
        let gives_up = places.join_idlers(waiter.clone()).unwrap();
        places.give_back(0);
        assert!(places.look_idle(idler, &waiter).is_pending());
        assert!(places.look(in_line, &waiter).is_ready());
        places.leave_idlers(gives_up);
        places.give_back(0);
        assert!(places.look_idle(idler, &waiter).is_ready());
        assert_eq!(places.attention.0.load(Ordering::Relaxed), 0, "giving back costs nothing again");
        assert!(places.join_idlers(waiter).is_none());
        assert_eq!(places.attention.0.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn places_that_are_set_aside_are_not_in_use() {
        let (places, waiter) = (Places::new(1, 2, 1), Waiter::thread(&Parker::new()));
        places.try_take(1).unwrap();
        let idler = places.join_idlers(waiter.clone()).unwrap();
        places.give_back(0);
        assert!(places.look_idle(idler, &waiter).is_ready());
    }

    #[test]
    fn who_alone_waits_and_gives_up_leaves_no_trace() {
        let (places, waiter) = (Places::new(1, 1, 1), Waiter::thread(&Parker::new()));
        places.try_take(1).unwrap();
        let idler = places.join_idlers(waiter).unwrap();
        places.leave_idlers(idler);
        assert_eq!(places.attention.0.load(Ordering::Relaxed), 0);
    }
}
