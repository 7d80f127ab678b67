//! How many jobs may be in the pool, queued and running together, and the line of those who wait for a place.
//!
//! Submitters and workers would meet in one counter, once each per job. So they count apart: submitters count places
//! *taken*, in one word, and every worker counts places given *back*, in a word of its own that only it writes. What is in
//! use is the difference. A submitter adds the workers' words up only when the room it last saw is used up.
//!
//! While somebody waits in line, or once it is closed, flags in the word of `taken` send every submitter to the lock, so
//! nobody overtakes; and `attention`, which is read after every giving back, sends the workers there. So do those who wait
//! until nothing is in use (`places/idle.rs`).
//!
//! **States** of one wait: in line → granted → taken, or given up from either. **Invariants.** 1. The sum of what is back
//! is read before `taken` is raised to it plus the capacity at most, and only grows: so no more than the capacity is ever
//! in use. 2. While the line's flag is set `taken` is raised only under the lock. 3. *Nobody is left in line beside a
//! free place:* who joins sets `attention`, then looks at what is back, with a `SeqCst` fence between the two; who gives
//! back says so, then looks at `attention`, in the same order (`sync::say`, `look_after`): so at least one of them sees the
//! other. 4. Who was granted a place and gives up passes it on. 5. Once closed, nobody is granted anything, what was
//! granted and not taken is taken back, and exactly one caller, `close` or a giving back, is told that the last place is
//! back. 6. The capacity never changes. There are fewer places because some are set aside, taken by nobody; to have fewer
//! still is to wait in front of the line until they come back. So no place appears from nothing, whoever looked when.
//! **Locking.** One lock; wakers are cloned before it is taken, and run and dropped after it is let go.

mod ease;
mod idle;

use self::ease::Pace;
use crate::error::RejectReason;
use crate::sync::atomic::{AtomicU64, Ordering, fence};
use crate::sync::{Mutex, MutexGuard, Waiter, broken, look_after, say, say_more};
use crate::wait::line::{Line, Place};
use std::collections::{BTreeMap, BTreeSet};
use std::task::Poll;

/// Somebody waits in line.
const LINE: u64 = 1;
const CLOSED: u64 = 2;
/// Somebody waits until nothing is in use; in `attention` alone, submitters need not know.
const IDLE: u64 = 4;
/// How many bits of the word of `taken` are flags.
const FLAGS: u32 = 2;

pub(super) struct Places {
    /// The most there can be. What there is less of is set aside, as if it were in use.
    capacity: u64,
    /// So many are set aside, or are to be.
    less: AtomicU64,
    submitters: Submitters,
    attention: Apart<AtomicU64>,
    /// One word for each worker, and one for everybody else.
    back: Box<[Apart<AtomicU64>]>,
    state: Mutex<State>,
    pace: Pace,
}

/// On cache lines of its own.
#[repr(align(128))]
struct Apart<T>(T);

/// What submitters write.
#[repr(align(128))]
struct Submitters {
    /// So many were taken, above the flags.
    taken: AtomicU64,
    /// So many may be taken, as far as submitters have looked: what was back when they did, and the capacity.
    ceiling: AtomicU64,
}

struct State {
    line: Line<Waits>,
    /// Served with so many, but not yet come back to take them.
    granted: BTreeMap<Place, u64>,
    /// Sent away because there are not so many places any more, but not yet come back to hear it.
    refused: BTreeSet<Place>,
    /// Those who wait until nothing is in use.
    idlers: Line<Waiter>,
    closed: bool,
    /// Somebody was told that the last one is back.
    told: bool,
    /// So many are set aside.
    aside: u64,
    /// So many of those that come back are to be set aside too, before anybody in line is served.
    debt: u64,
}

/// One in line: whom to wake, and how many places it waits for, all at once.
struct Waits {
    places: u64,
    waiter: Waiter,
}

impl Places {
    /// So many of at most `capacity`, for so many workers at most.
    pub(super) fn new(places: usize, capacity: usize, workers: usize) -> Self {
        let aside = (capacity - places) as u64;
        let (line, granted, idlers) = (Line::new(), BTreeMap::new(), Line::new());
        let state =
            State { line, granted, refused: BTreeSet::new(), idlers, closed: false, told: false, aside, debt: 0 };
        Self {
            capacity: capacity as u64,
            less: AtomicU64::new(aside),
            submitters: Submitters { taken: AtomicU64::new(aside << FLAGS), ceiling: AtomicU64::new(capacity as u64) },
            attention: Apart(AtomicU64::new(0)),
            back: (0..=workers).map(|_| Apart(AtomicU64::new(0))).collect(),
            state: Mutex::new(state),
            pace: Pace::new(),
        }
    }

    /// So many places now, or none at all.
    pub(super) fn try_take(&self, places: usize) -> Result<(), RejectReason> {
        let places = places as u64;
        match places {
            0 => return Ok(()),
            // Also because sums of it might wrap.
            _ if places > self.capacity => return Err(self.full(0)),
            _ => {}
        }
        let mut word = self.submitters.taken.load(Ordering::Relaxed);
        loop {
            if word & (LINE | CLOSED) != 0 && !broken("places: who submits does not look for the line") {
                self.past_the_line()?;
                word = self.submitters.taken.load(Ordering::Relaxed);
                continue;
            }
            if !self.has_room(word >> FLAGS, places) {
                return Err(self.full(0));
            }
            if broken("places: who submits looks first and takes later") {
                self.submitters.taken.fetch_add(places << FLAGS, Ordering::AcqRel);
                return Ok(());
            }
            let more = word + (places << FLAGS);
            match self.submitters.taken.compare_exchange_weak(word, more, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return Ok(()),
                Err(now) => word = now,
            }
        }
    }

    /// Whether so many could be taken if all were free.
    pub(super) fn can_ever_take(&self, places: usize) -> bool {
        places as u64 <= self.capacity - self.less.load(Ordering::Relaxed)
    }

    /// With the flags up: refuses, unless those who waited have all been served.
    fn past_the_line(&self) -> Result<(), RejectReason> {
        let mut state = self.state.lock();
        if state.closed {
            return Err(RejectReason::ShuttingDown);
        }
        let served = self.serve(&mut state);
        let (waiting, debt) = (state.line.len(), state.debt);
        drop(state);
        served.into_iter().for_each(Waiter::wake);
        if waiting > 0 || debt > 0 { Err(self.full(waiting)) } else { Ok(()) }
    }

    /// Whether there are so many places beyond `taken`. Counts again if there were not when somebody last looked.
    fn has_room(&self, taken: u64, places: u64) -> bool {
        if taken + places <= self.submitters.ceiling.load(Ordering::Acquire) {
            return true;
        }
        let ceiling = self.count_back() + self.capacity;
        // Two may write it in any order: a ceiling too low is looked at again, and none is ever too high.
        self.submitters.ceiling.store(ceiling, Ordering::Release);
        taken + places <= ceiling
    }

    fn count_back(&self) -> u64 {
        self.back.iter().map(|back| back.0.load(Ordering::Acquire)).sum()
    }

    fn full(&self, waiting: usize) -> RejectReason {
        RejectReason::Full { limit: self.capacity as usize, waiting }
    }

    /// Grants what is free to those who wait, under the lock; whom to wake after it.
    fn serve(&self, state: &mut State) -> Vec<Waiter> {
        let mut served = Vec::new();
        // With the flag up only lock holders take.
        while state.debt > 0 && self.has_room(self.taken(), 1) {
            self.submitters.taken.fetch_add(1 << FLAGS, Ordering::AcqRel);
            state.aside += 1;
            state.debt -= 1;
        }
        if state.debt > 0 {
            return served;
        }
        while let Some(mut places) = state.line.first().map(|waits| waits.places) {
            if broken("places: who waits for many is given what there is") {
                places = 1;
            }
            // Fewer places than it waits for are left: it is sent away, or nobody behind it would ever be served.
            if !self.can_ever_take(places as usize) {
                if let Some((number, waits)) = state.line.serve() {
                    state.refused.insert(number);
                    served.push(waits.waiter);
                }
                continue;
            }
            if !self.has_room(self.taken(), places) {
                break;
            }
            self.submitters.taken.fetch_add(places << FLAGS, Ordering::AcqRel);
            if let Some((number, waits)) = state.line.serve() {
                state.granted.insert(number, places);
                served.push(waits.waiter);
            }
        }
        if state.line.len() == 0 {
            self.submitters.taken.fetch_and(!LINE, Ordering::AcqRel);
            self.attention.0.fetch_and(!LINE, Ordering::AcqRel);
        }
        served
    }

    fn taken(&self) -> u64 {
        self.submitters.taken.load(Ordering::Acquire) >> FLAGS
    }

    /// So many places now, or a number in the line; the line's waiter is woken when it is granted them or sent away.
    pub(super) fn join(&self, places: usize, waiter: Waiter) -> Result<Option<Place>, RejectReason> {
        let mut state = self.state.lock();
        if state.closed {
            return Err(RejectReason::ShuttingDown);
        }
        let number = state.line.join(Waits { places: places as u64, waiter });
        self.submitters.taken.fetch_or(LINE, Ordering::AcqRel);
        self.attention.0.fetch_or(LINE, Ordering::AcqRel);
        fence(Ordering::SeqCst); // invariant 3
        let served =
            if broken("places: who joins the line does not look again") { Vec::new() } else { self.serve(&mut state) };
        let here = state.granted.remove(&number).is_some();
        drop(state);
        // Also whoever is joining, if it was served: an early wake harms nobody.
        served.into_iter().for_each(Waiter::wake);
        Ok(if here { None } else { Some(number) })
    }

    /// Looks whether the place was granted; if not, `w` is to be woken from now on.
    pub(super) fn look(&self, number: Place, w: &Waiter) -> Poll<Result<(), RejectReason>> {
        let mine = w.clone(); // cloning and dropping a waker is the executor's code: not under our lock
        let mut state = self.state.lock();
        if state.granted.remove(&number).is_some() {
            drop(state);
            return Poll::Ready(Ok(()));
        }
        if state.refused.remove(&number) {
            let waiting = state.line.len();
            drop(state);
            return Poll::Ready(Err(self.full(waiting)));
        }
        let spare = match state.line.get_mut(number) {
            None => {
                drop(state);
                return Poll::Ready(Err(RejectReason::ShuttingDown)); // sent away by `close`
            }
            Some(there) if there.waiter.will_wake(w) => mine,
            Some(there) => std::mem::replace(&mut there.waiter, mine),
        };
        drop(state);
        drop(spare);
        Poll::Pending
    }

    /// Leaves the line; a place granted meanwhile goes to the next.
    pub(super) fn leave(&self, number: Place) {
        let mut state = self.state.lock();
        let left = state.line.leave(number);
        state.refused.remove(&number);
        // After a close nothing is granted any more: so what goes back here is never the last.
        let granted = state.granted.remove(&number).unwrap_or(0);
        if granted > 0 && !broken("places: who gives up keeps what was granted") {
            self.back[self.back.len() - 1].0.fetch_add(granted, Ordering::Release);
        }
        let served = self.serve(&mut state);
        let idlers = self.idlers(&mut state);
        drop(state);
        drop(left);
        Waiter::wake_all(served.into_iter().chain(idlers));
    }

    /// Gives one back, on the thread of the worker with this number or, with the number after the last, on any. True if
    /// it was the last one and it is closed.
    pub(super) fn give_back(&self, worker: usize) -> bool {
        let back = &self.back[worker].0;
        if broken("places: who gives back looks for the line without a fence") {
            back.fetch_add(1, Ordering::Release);
        } else if worker + 1 < self.back.len() {
            say(back, back.load(Ordering::Relaxed) + 1); // nobody else writes it
        } else {
            say_more(back, 1);
        }
        match look_after(&self.attention.0) {
            0 => return false,
            // With places set aside, the lock knows how many.
            IDLE if self.less.load(Ordering::Relaxed) == 0 && !self.is_idle(0) => return false,
            _ => {}
        }
        let mut state = self.state.lock();
        let served = if state.closed { Vec::new() } else { self.serve(&mut state) };
        let idlers = self.idlers(&mut state);
        let last = if state.closed {
            self.is_last(state)
        } else {
            drop(state);
            false
        };
        Waiter::wake_all(served.into_iter().chain(idlers));
        last
    }

    /// Grants nothing more and sends those who wait away. True for the one caller that finds all places back.
    pub(super) fn close(&self) -> bool {
        let mut state = self.state.lock();
        state.closed = true;
        self.submitters.taken.fetch_or(CLOSED, Ordering::AcqRel);
        self.attention.0.fetch_or(CLOSED, Ordering::AcqRel);
        fence(Ordering::SeqCst); // invariant 3
        // What was granted and not taken is taken back: nobody may ever come for it.
        if !broken("places: a grant nobody took is not taken back") {
            let granted = std::mem::take(&mut state.granted).into_values().sum();
            self.back[self.back.len() - 1].0.fetch_add(granted, Ordering::Release);
        }
        let sent_away = state.line.empty();
        let idlers = self.idlers(&mut state);
        let last = self.is_last(state);
        if !broken("places: who is sent away is not woken") {
            Waiter::wake_all(sent_away.map(|waits| waits.waiter));
        }
        Waiter::wake_all(idlers);
        last
    }

    /// From now on there are so many places, no more than the capacity. Of more that are in use, each is gone when it comes
    /// back: nobody in line is served before that.
    #[must_use = "whom to wake"]
    pub(super) fn resize(&self, places: usize) -> Vec<Waiter> {
        let mut state = self.state.lock();
        if state.closed {
            return Vec::new();
        }
        let less = self.capacity - (places as u64).min(self.capacity);
        self.less.swap(less, Ordering::Relaxed);
        if broken("places: a smaller size is only written down") {
            return Vec::new();
        }
        let now = state.aside + state.debt;
        if less >= now {
            state.debt += less - now;
        } else {
            let given = now - less;
            let forgiven = given.min(state.debt);
            state.debt -= forgiven;
            state.aside -= given - forgiven;
            self.back[self.back.len() - 1].0.fetch_add(given - forgiven, Ordering::Release);
        }
        self.submitters.taken.fetch_or(LINE, Ordering::AcqRel);
        self.attention.0.fetch_or(LINE, Ordering::AcqRel);
        fence(Ordering::SeqCst); // invariant 3
        let mut woken = if broken("places: who resizes serves nobody") { Vec::new() } else { self.serve(&mut state) };
        woken.extend(self.idlers(&mut state));
        woken
    }

    /// Closed: whether all are back, told once.
    fn is_last(&self, mut state: MutexGuard<'_, State>) -> bool {
        let last = self.taken() == self.count_back() + state.aside && !state.told;
        state.told |= last;
        last && !broken("places: the last one back is not told")
    }

    /// How many are in use. While many come and go at the same time it may count one as in use that has just ended,
    /// never the reverse.
    pub(super) fn in_use(&self) -> usize {
        if self.less.load(Ordering::Relaxed) > 0 {
            // What is set aside counts as taken: under the lock it stands still.
            let state = self.state.lock();
            return (self.all_in_use() as u64).saturating_sub(state.aside) as usize;
        }
        self.all_in_use()
    }

    fn all_in_use(&self) -> usize {
        let mut taken = self.taken();
        for _ in 0..3 {
            let back = self.count_back();
            let now = self.taken();
            // Between two looks at the same `taken` the difference was, at one moment, what is said here.
            if now == taken {
                return (taken - back) as usize;
            }
            taken = now;
        }
        let back = self.count_back();
        (self.taken() - back).min(self.capacity) as usize
    }
}
