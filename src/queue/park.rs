//! Where idle workers sleep, and who wakes whom.
//!
//! A wake costs a system call and a worker that is on its way will look for work by itself, so wakes are paid sparingly:
//! a push wakes at most one worker, the one that lay down last (its stack and its core are warm), and none while a
//! *searcher* is on its way. A searcher that finds a job and leaves others behind wakes the next.
//!
//! **States** of a worker: up → asleep → searching → up; a worker that finds nothing looks on for a moment, as the
//! searcher if there is none, before it lies down. **Invariants.** 1. At most one worker searches. 2. While a worker
//! sleeps and none searches, the ring's `WAKE` flag is set, or somebody has taken it and is about to come here. 3. So a
//! job is never queued beside a sleeping worker without a searcher or a push on its way to wake one: whoever sets the
//! flag looks at the ring again, and sees every push that came before it; every push that comes after it takes the flag;
//! and pushes during a search are seen by the look that ends it. **Locking.** One lock, taken to look on, to lie down, to
//! wake, and to end a search; never by a push that finds nobody to wake. Unparking happens after it is let go.

use super::ring::Ring;
use crate::sync::{Mutex, Parker, Unparker, broken};

pub(super) struct Parking(Mutex<State>);

struct State {
    beds: Vec<Bed>,
    /// Who sleeps; whoever lay down last is last.
    sleepers: Vec<usize>,
    searching: bool,
    closed: bool,
    #[cfg(all(test, watertight_loom, not(watertight_shuttle)))]
    seen: Seen,
}

struct Bed {
    unparker: Unparker,
    asleep: bool,
}

/// A worker's own place in the queue: made by the worker's thread, on which it sleeps.
pub(crate) struct Seat {
    index: usize,
    parker: Parker,
    searching: bool,
}

impl Seat {
    /// Whether it is this worker that looks for all.
    pub(super) fn is_searching(&self) -> bool {
        self.searching
    }
}

/// What models look at.
#[cfg(all(test, watertight_loom, not(watertight_shuttle)))]
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Seen {
    pub(super) wakes: usize,
    pub(super) wakes_beside_a_searcher: usize,
}

impl Parking {
    pub(super) fn new() -> Self {
        Self(Mutex::new(State {
            beds: Vec::new(),
            sleepers: Vec::new(),
            searching: false,
            closed: false,
            #[cfg(all(test, watertight_loom, not(watertight_shuttle)))]
            seen: Seen::default(),
        }))
    }

    /// A seat for the worker that this thread is.
    pub(super) fn seat(&self) -> Seat {
        let parker = Parker::new();
        let mut state = self.0.lock();
        state.beds.push(Bed { unparker: parker.unparker(), asleep: false });
        Seat { index: state.beds.len() - 1, parker, searching: false }
    }

    /// Makes this worker, which looks again before it sleeps, the searcher if there is none: so that no wake is paid for
    /// what it will find.
    pub(super) fn search(&self, seat: &mut Seat) {
        if !seat.searching {
            let mut state = self.0.lock();
            seat.searching = !state.searching;
            state.searching = true;
        }
    }

    /// Sleeps until there may be work.
    pub(super) fn sleep<C>(&self, seat: &mut Seat, ring: &Ring<C>) {
        if !self.lie_down(seat, ring) {
            return;
        }
        loop {
            seat.parker.park();
            if !self.0.lock().beds[seat.index].asleep {
                break;
            }
        }
        seat.searching = true;
    }

    /// Registers as a sleeper and then looks again; false if there may be work, or nothing ever will be.
    fn lie_down<C>(&self, seat: &mut Seat, ring: &Ring<C>) -> bool {
        let mut state = self.0.lock();
        if std::mem::take(&mut seat.searching) {
            state.searching = false;
        }
        if state.closed {
            return false;
        }
        // With a searcher on its way nothing is asked for: the end of its search is the look at what came meanwhile.
        if !state.searching && ring.want_wake() {
            // The job it saw may not be the only one: with others asleep, it is the one who searches.
            seat.searching = !state.sleepers.is_empty();
            state.searching = seat.searching;
            return false;
        }
        state.sleepers.push(seat.index);
        state.beds[seat.index].asleep = true;
        true
    }

    /// Wakes the worker that a push has taken the flag for, unless one is on its way.
    pub(super) fn wake(&self) {
        let mut state = self.0.lock();
        if state.searching && !broken("park: a wake is paid beside a searcher") {
            return;
        }
        let woken = state.wake_one();
        drop(state);
        unpark(woken);
    }

    /// The searcher has found a job.
    pub(super) fn found<C>(&self, seat: &mut Seat, ring: &Ring<C>) {
        if !std::mem::take(&mut seat.searching) {
            return;
        }
        let mut state = self.0.lock();
        state.searching = false;
        let left = !state.sleepers.is_empty() && (ring.has_work() || ring.want_wake());
        let woken = if left && !broken("park: a searcher that leaves work behind wakes nobody") {
            state.wake_one()
        } else {
            None
        };
        drop(state);
        unpark(woken);
    }

    /// Wakes everybody: nothing more will come.
    pub(super) fn close<C>(&self, ring: &Ring<C>) {
        let mut state = self.0.lock();
        ring.close();
        state.closed = true;
        let sleepers = std::mem::take(&mut state.sleepers);
        let woken: Vec<_> = sleepers.into_iter().map(|index| state.get_up(index)).collect();
        drop(state);
        if !broken("park: a close wakes nobody") {
            woken.iter().for_each(Unparker::unpark);
        }
    }

    #[cfg(all(test, watertight_loom, not(watertight_shuttle)))]
    pub(super) fn seen(&self) -> Seen {
        self.0.lock().seen
    }
}

impl State {
    /// Makes the last sleeper the searcher.
    fn wake_one(&mut self) -> Option<Unparker> {
        let index = self.sleepers.pop()?;
        #[cfg(all(test, watertight_loom, not(watertight_shuttle)))]
        {
            self.seen.wakes += 1;
            self.seen.wakes_beside_a_searcher += usize::from(self.searching);
        }
        self.searching = true;
        Some(self.get_up(index))
    }

    fn get_up(&mut self, index: usize) -> Unparker {
        let bed = &mut self.beds[index];
        bed.asleep = false;
        bed.unparker.clone()
    }
}

fn unpark(woken: Option<Unparker>) {
    if let Some(woken) = woken {
        woken.unpark();
    }
}
