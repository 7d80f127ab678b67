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
//!
//! **Orders.** Workers can be told to pause, or some of them to leave: a word that every worker looks at before it looks for
//! a job says that there are orders, the lock has them. Whoever obeys gives up its search first. A pause takes away searchers
//! and sleepers whom a push has woken; the resume makes one of them the searcher, so invariant 3 holds again from then on.
//! Whoever leaves as the searcher wakes the next if there is work.

use super::ring::Ring;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{Mutex, Parker, Unparker, broken};
use std::collections::VecDeque;

/// Which of the sleeping workers a submit wakes.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Wake {
    /// The one that has slept shortest: its stack and its core are warm, and the others sleep on.
    #[default]
    Lifo,
    /// The one that has slept longest: all wear evenly.
    Fifo,
}

pub(super) struct Parking {
    /// Not 0 if there are orders. On cache lines of its own: every worker reads it for every job, and nobody writes it.
    orders: Orders,
    state: Mutex<State>,
}

#[repr(align(128))]
struct Orders(AtomicU64);

struct State {
    wake: Wake,
    beds: Vec<Bed>,
    /// Beds of those who have left.
    empty: Vec<usize>,
    /// Who sleeps; whoever lay down last is last.
    sleepers: VecDeque<usize>,
    /// Who sleeps because of a pause.
    paused: Vec<usize>,
    pause: bool,
    /// So many are to leave.
    leaving: usize,
    searching: bool,
    closed: bool,
    #[cfg(all(test, watertight_loom, not(watertight_shuttle)))]
    seen: Seen,
}

struct Bed {
    unparker: Unparker,
    asleep: bool,
    /// Who is woken searches.
    searcher: bool,
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
    pub(super) fn new(wake: Wake) -> Self {
        let state = Mutex::new(State {
            wake,
            beds: Vec::new(),
            empty: Vec::new(),
            sleepers: VecDeque::new(),
            paused: Vec::new(),
            pause: false,
            leaving: 0,
            searching: false,
            closed: false,
            #[cfg(all(test, watertight_loom, not(watertight_shuttle)))]
            seen: Seen::default(),
        });
        Self { orders: Orders(AtomicU64::new(0)), state }
    }

    /// A seat for the worker that this thread is.
    pub(super) fn seat(&self) -> Seat {
        let parker = Parker::new();
        let bed = Bed { unparker: parker.unparker(), asleep: false, searcher: false };
        let mut state = self.state.lock();
        let index = match state.empty.pop() {
            Some(index) => {
                state.beds[index] = bed;
                index
            }
            None => {
                state.beds.push(bed);
                state.beds.len() - 1
            }
        };
        Seat { index, parker, searching: false }
    }

    /// The worker leaves its seat for good.
    pub(super) fn leave<C>(&self, mut seat: Seat, ring: &Ring<C>) {
        if !broken("park: who leaves keeps its search") {
            self.found(&mut seat, ring);
        }
        self.state.lock().empty.push(seat.index);
    }

    /// Whether to look for orders under the lock.
    pub(super) fn has_orders(&self) -> bool {
        self.orders.0.load(Ordering::Relaxed) != 0
    }

    /// Does what was ordered: sleeps through a pause; true for one that is to leave.
    pub(super) fn obey(&self, seat: &mut Seat) -> bool {
        let mut state = self.state.lock();
        if state.closed {
            return false; // the end of the queue is order enough
        }
        if state.leaving > 0 {
            state.leaving -= 1;
            self.say(&state);
            return true;
        }
        if !state.pause {
            return false;
        }
        if std::mem::take(&mut seat.searching) {
            state.searching = false;
        }
        state.paused.push(seat.index);
        state.beds[seat.index].asleep = true;
        drop(state);
        self.lie(seat);
        false
    }

    /// Says outside the lock whether there are orders.
    fn say(&self, state: &State) {
        let orders = u64::from(state.pause || state.leaving > 0);
        self.orders.0.swap(orders, Ordering::AcqRel);
    }

    /// No worker begins another job. One that is just taking a job begins it.
    pub(super) fn pause(&self) {
        let mut state = self.state.lock();
        state.pause = !state.closed;
        self.say(&state);
    }

    /// Workers look for jobs again.
    pub(super) fn resume<C>(&self, ring: &Ring<C>) {
        let mut state = self.state.lock();
        state.pause = false;
        self.say(&state);
        let mut woken = Vec::new();
        for index in std::mem::take(&mut state.paused) {
            // Pushes during the pause may have found nobody to wake: one is to look.
            let searcher = !state.searching;
            state.searching |= searcher;
            woken.push(state.get_up(index, searcher));
        }
        if !state.searching && !state.sleepers.is_empty() && (ring.has_work() || ring.want_wake()) {
            woken.extend(state.wake_one());
        }
        drop(state);
        if !broken("park: a resume wakes nobody") {
            woken.iter().for_each(Unparker::unpark);
        }
    }

    pub(super) fn is_paused(&self) -> bool {
        self.state.lock().pause
    }

    /// So many workers more are to leave: those that have slept longest, or else whoever is done first.
    pub(super) fn dismiss(&self, workers: usize) {
        let mut state = self.state.lock();
        state.leaving += workers;
        self.say(&state);
        let mut woken = Vec::new();
        for _ in 0..state.leaving {
            let asleep = state.paused.pop().or_else(|| state.sleepers.pop_front());
            let Some(index) = asleep else { break };
            woken.push(state.get_up(index, false));
        }
        drop(state);
        if !broken("park: who sleeps is not told to leave") {
            woken.iter().for_each(Unparker::unpark);
        }
    }

    /// Takes back the order to leave for so many at most; for how many it was not too late.
    pub(super) fn recall(&self, workers: usize) -> usize {
        let mut state = self.state.lock();
        let recalled = workers.min(state.leaving);
        state.leaving -= recalled;
        self.say(&state);
        recalled
    }

    /// Makes this worker, which looks again before it sleeps, the searcher if there is none: so that no wake is paid for
    /// what it will find.
    pub(super) fn search(&self, seat: &mut Seat) {
        if !seat.searching {
            let mut state = self.state.lock();
            seat.searching = !state.searching;
            state.searching = true;
        }
    }

    /// Sleeps until there may be work.
    pub(super) fn sleep<C>(&self, seat: &mut Seat, ring: &Ring<C>) {
        if self.lie_down(seat, ring) {
            self.lie(seat);
        }
    }

    /// Sleeps until somebody else says that it is up.
    fn lie(&self, seat: &mut Seat) {
        loop {
            seat.parker.park();
            let bed = &self.state.lock().beds[seat.index];
            if !bed.asleep {
                seat.searching = bed.searcher;
                return;
            }
        }
    }

    /// Ends the search, if this worker searches, for something else than a job or sleep; false if there is a job.
    pub(super) fn stand_aside<C>(&self, seat: &mut Seat, ring: &Ring<C>) -> bool {
        let mut state = self.state.lock();
        if std::mem::take(&mut seat.searching) {
            state.searching = false;
        }
        // From now on a push wakes somebody else, if there is one; one that came before is seen here.
        !state.closed && (state.searching || !ring.want_wake())
    }

    /// Registers as a sleeper and then looks again; false if there may be work, or nothing ever will be.
    fn lie_down<C>(&self, seat: &mut Seat, ring: &Ring<C>) -> bool {
        let mut state = self.state.lock();
        if std::mem::take(&mut seat.searching) {
            state.searching = false;
        }
        // With orders there is something else to do.
        if state.closed || state.pause || state.leaving > 0 {
            return false;
        }
        // With a searcher on its way nothing is asked for: the end of its search is the look at what came meanwhile.
        if !state.searching && ring.want_wake() {
            // The job it saw may not be the only one: with others asleep, it is the one who searches.
            seat.searching = !state.sleepers.is_empty();
            state.searching = seat.searching;
            return false;
        }
        state.sleepers.push_back(seat.index);
        state.beds[seat.index].asleep = true;
        true
    }

    /// Wakes the worker that a push has taken the flag for, unless one is on its way.
    pub(super) fn wake(&self) {
        let mut state = self.state.lock();
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
        let mut state = self.state.lock();
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
        let mut state = self.state.lock();
        ring.close();
        state.closed = true;
        state.pause = false;
        let asleep: Vec<_> = std::mem::take(&mut state.paused).into_iter().chain(state.sleepers.drain(..)).collect();
        let woken: Vec<_> = asleep.into_iter().map(|index| state.get_up(index, false)).collect();
        drop(state);
        if !broken("park: a close wakes nobody") {
            woken.iter().for_each(Unparker::unpark);
        }
    }

    #[cfg(all(test, watertight_loom, not(watertight_shuttle)))]
    pub(super) fn seen(&self) -> Seen {
        self.state.lock().seen
    }
}

impl State {
    /// Makes one of the sleepers the searcher.
    fn wake_one(&mut self) -> Option<Unparker> {
        let index = match self.wake {
            Wake::Lifo => self.sleepers.pop_back()?,
            Wake::Fifo => self.sleepers.pop_front()?,
        };
        #[cfg(all(test, watertight_loom, not(watertight_shuttle)))]
        {
            self.seen.wakes += 1;
            self.seen.wakes_beside_a_searcher += usize::from(self.searching);
        }
        self.searching = true;
        Some(self.get_up(index, true))
    }

    fn get_up(&mut self, index: usize, searcher: bool) -> Unparker {
        let bed = &mut self.beds[index];
        bed.asleep = false;
        bed.searcher = searcher;
        bed.unparker.clone()
    }
}

fn unpark(woken: Option<Unparker>) {
    if let Some(woken) = woken {
        woken.unpark();
    }
}
