//! What all clones of a limit share: the word, and behind a lock whose turn it is.
//!
//! **States** of one acquisition: fresh → in line → granted → taken, or given up from any of the first three.
//! **Invariants.** 1. Those of the word and of the turns. 2. The line's flag is up while somebody waits. Whoever gives back
//! and sees it comes to the lock and serves; who joins raises it in the same word, and sees what came back before. So
//! nobody is left in line beside what it waits for. 3. While the flag is up nobody takes without the lock: nobody
//! overtakes. 4. Who was granted permits and gives up passes them on. **Locking.** One lock; wakers are cloned before it is
//! taken, and run and dropped after it is let go.

use super::turns::{Left, Turns};
use super::word::{MAX, Seen, Word};
use super::{Order, Share};
use crate::error::RejectReason;
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::sync::{Mutex, Waiter, broken};
use crate::wait::line::Place;
use std::borrow::Cow;
use std::task::Poll;
use std::time::Duration;

pub(super) struct Inner {
    word: Word,
    /// How many wait: for refusals, which take no lock.
    waiting: AtomicUsize,
    alone: bool,
    /// Changed under the lock.
    max_waiting: AtomicUsize,
    pub(super) max_wait: Option<Duration>,
    /// How many quotas it has: none or one.
    quotas: AtomicUsize,
    /// Of the partitions, which are numbered from 1.
    pub(super) names: Box<[Cow<'static, str>]>,
    turns: Mutex<Turns<Waiter>>,
}

/// How a limit was configured.
pub(super) struct Settings {
    pub(super) limit: u64,
    pub(super) order: Order,
    pub(super) alone: bool,
    pub(super) max_waiting: usize,
    pub(super) max_wait: Option<Duration>,
    pub(super) partitions: Vec<(Cow<'static, str>, Share)>,
}

impl Inner {
    pub(super) fn new(s: Settings) -> Self {
        let turns = Turns::new(s.order, s.alone, s.partitions.iter().map(|(_, share)| *share), s.limit);
        Self {
            word: Word::new(s.limit, !s.partitions.is_empty()),
            waiting: AtomicUsize::new(0),
            alone: s.alone,
            max_waiting: AtomicUsize::new(s.max_waiting),
            max_wait: s.max_wait,
            quotas: AtomicUsize::new(0),
            names: s.partitions.into_iter().map(|(name, _)| name).collect(),
            turns: Mutex::new(turns),
        }
    }

    /// So many now without the lock, or what stands against it.
    #[inline]
    pub(super) fn try_fast(&self, n: u64) -> Result<(), Seen> {
        self.word.try_take(n, self.alone)
    }

    /// What is refused for sure: one permit, where there is no room. So simple because it is made where it is returned: a
    /// refusal that is copied costs three times as much.
    #[inline]
    pub(super) fn is_full(&self, n: u64, seen: Seen) -> bool {
        n == 1 && !seen.has_room(1, false)
    }

    /// So many now, or not at all.
    pub(super) fn try_take(&self, part: usize, n: u64) -> Result<(), RejectReason> {
        match self.try_fast(n) {
            Ok(()) => Ok(()),
            Err(seen) if self.is_full(n, seen) => Err(self.no_room(part, seen)),
            Err(seen) => self.try_take_slowly(part, n, seen),
        }
    }

    /// It is more than one, or there is room: then it is a share's, or those who wait go first, if they really do.
    #[cold]
    pub(super) fn try_take_slowly(&self, part: usize, n: u64, mut seen: Seen) -> Result<(), RejectReason> {
        loop {
            if n == 0 {
                return Ok(());
            }
            if seen.has_shares() {
                return self.try_take_share(part, n);
            }
            if n > seen.limit() && (!self.alone || n > MAX) {
                return Err(too_large(n, seen.limit()));
            }
            if !seen.has_room(n, self.alone) || self.turns.lock().waiting() > 0 {
                return Err(self.full(seen));
            }
            match self.word.try_take(n, self.alone) {
                Ok(()) => return Ok(()),
                Err(now) => seen = now,
            }
        }
    }

    fn try_take_share(&self, part: usize, n: u64) -> Result<(), RejectReason> {
        let mut turns = self.turns.lock();
        let seen = self.word.look();
        if n <= MAX && turns.may_take(part, n, seen.limit(), seen.out()) {
            self.word.take(n);
            turns.took(part, n);
            return Ok(());
        }
        Err(self.refusal(&turns, part, n, seen))
    }

    /// There is not one permit left. Without the lock, unless there are shares: then there may never be one for this part.
    #[inline]
    pub(super) fn no_room(&self, part: usize, seen: Seen) -> RejectReason {
        if seen.is_plain() {
            return RejectReason::Full { limit: seen.limit() as usize, waiting: 0 };
        }
        self.no_room_but(part, seen)
    }

    #[cold]
    fn no_room_but(&self, part: usize, seen: Seen) -> RejectReason {
        if seen.has_shares() { self.refusal(&self.turns.lock(), part, 1, seen) } else { self.full(seen) }
    }

    /// Without the lock.
    #[inline]
    pub(super) fn full(&self, seen: Seen) -> RejectReason {
        let waiting = if seen.has_line() { self.waiting.load(Ordering::Relaxed) } else { 0 };
        RejectReason::Full { limit: seen.limit() as usize, waiting }
    }

    fn refusal(&self, turns: &Turns<Waiter>, part: usize, n: u64, seen: Seen) -> RejectReason {
        if n > MAX || turns.is_too_large(part, n, seen.limit()) {
            return too_large(n, turns.most(part, seen.limit()));
        }
        RejectReason::Full { limit: seen.limit() as usize, waiting: turns.waiting() }
    }

    /// So many now, or a number in the line; the line's waiter is woken when they are granted, or when there will never be
    /// so many.
    pub(super) fn ask(&self, part: usize, n: u64, w: &Waiter) -> Result<Option<Place>, RejectReason> {
        if n == 0 || self.word.try_take(n, self.alone).is_ok() {
            return Ok(None);
        }
        let mine = w.clone(); // cloning and dropping a waker is the executor's code: not under our lock
        let mut turns = self.turns.lock();
        let seen = self.word.raise_line();
        let decided = if n > MAX || turns.is_too_large(part, n, seen.limit()) {
            Err(too_large(n, turns.most(part, seen.limit())))
        } else if turns.may_take(part, n, seen.limit(), seen.out()) {
            self.word.take(n);
            turns.took(part, n);
            Ok(None)
        } else if turns.waiting() >= self.max_waiting.load(Ordering::Relaxed) {
            Err(self.refusal(&turns, part, n, seen))
        } else {
            let place = turns.join(part, n, mine);
            self.waiting.fetch_add(1, Ordering::Relaxed);
            let served = self.serve(&mut turns); // the newest may be the next
            let here = turns.take_granted(place);
            drop(turns);
            // Also who has just joined, if it was served: an early wake harms nobody.
            Waiter::wake_all(served);
            return Ok(if here { None } else { Some(place) });
        };
        self.settle(&turns);
        drop(turns);
        decided
    }

    /// Looks whether they were granted; if not, `w` is to be woken from now on.
    pub(super) fn look(&self, part: usize, n: u64, place: Place, w: &Waiter) -> Poll<Result<(), RejectReason>> {
        let mine = w.clone(); // as in `ask`
        let mut turns = self.turns.lock();
        if turns.take_granted(place) {
            drop(turns);
            return Poll::Ready(Ok(()));
        }
        if let Some(limit) = turns.take_away(place) {
            drop(turns);
            return Poll::Ready(Err(too_large(n, limit)));
        }
        let spare = match turns.get_mut(part, place) {
            Some(there) if !there.will_wake(w) => std::mem::replace(there, mine),
            _ => mine,
        };
        drop(turns);
        drop(spare);
        Poll::Pending
    }

    /// Leaves the line; what was granted meanwhile goes to the next.
    pub(super) fn leave(&self, part: usize, n: u64, place: Place) {
        let mut turns = self.turns.lock();
        let left = turns.leave(part, place);
        match left {
            Left::Waiting(_) => _ = self.waiting.fetch_sub(1, Ordering::Relaxed),
            Left::Granted if !broken("permit: who gives up keeps what was granted") => {
                turns.gave_back(part, n);
                self.word.give_back(n);
            }
            Left::Granted | Left::Gone => {}
        }
        let served = self.serve(&mut turns); // also if who left was only in the way
        drop(turns);
        drop(left);
        Waiter::wake_all(served);
    }

    #[inline]
    pub(super) fn give_back(&self, part: usize, n: u64) {
        if part == 0 {
            let before = self.word.give_back(n);
            if before.has_line() && !broken("permit: who gives back does not look for the line") {
                self.serve_the_line();
            }
        } else {
            self.give_back_share(part, n);
        }
    }

    #[cold]
    fn serve_the_line(&self) {
        let mut turns = self.turns.lock();
        let served = self.serve(&mut turns);
        drop(turns);
        Waiter::wake_all(served);
    }

    /// Both counts under the lock, or what is kept would be lent between the two.
    fn give_back_share(&self, part: usize, n: u64) {
        let mut turns = self.turns.lock();
        turns.gave_back(part, n);
        self.word.give_back(n);
        let served = self.serve(&mut turns);
        drop(turns);
        Waiter::wake_all(served);
    }

    /// Grants what there is to those whose turn it is, under the lock; whom to wake after it.
    fn serve(&self, turns: &mut Turns<Waiter>) -> Vec<Waiter> {
        let mut served = Vec::new();
        while turns.waiting() > 0 {
            let seen = self.word.look();
            let limit = if broken("permit: a shrunk limit is forgotten") { MAX } else { seen.limit() };
            let Some((n, waiter)) = turns.serve(limit, seen.out()) else { break };
            if !broken("permit: what is handed over is not counted") {
                self.word.take(n);
            }
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            served.push(waiter);
        }
        self.settle(turns);
        served
    }

    /// Lowers the flag if it is up for nobody. Under the lock.
    fn settle(&self, turns: &Turns<Waiter>) {
        if turns.waiting() == 0 && self.word.look().has_line() {
            self.word.lower_line();
        }
    }

    #[must_use = "they wait"]
    pub(super) fn resize(&self, limit: u64) -> Vec<Waiter> {
        let mut turns = self.turns.lock();
        self.word.set_limit(limit);
        let mut woken = turns.resize(limit);
        self.waiting.fetch_sub(woken.len(), Ordering::Relaxed);
        woken.extend(self.serve(&mut turns));
        woken
    }

    /// False: somebody else decides how large it is.
    pub(super) fn begin_quota(&self) -> bool {
        self.quotas.compare_exchange(0, 1, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    pub(super) fn end_quota(&self) {
        self.quotas.fetch_sub(1, Ordering::AcqRel);
    }

    /// Who waits stays.
    pub(super) fn set_max_waiting(&self, waiting: usize) {
        let _turns = self.turns.lock();
        self.max_waiting.store(waiting, Ordering::Relaxed);
    }

    /// How many wait, without the lock.
    #[inline]
    pub(super) fn in_line(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    pub(super) fn seen(&self) -> Seen {
        self.word.look()
    }

    pub(super) fn with_turns<R>(&self, f: impl FnOnce(&Turns<Waiter>) -> R) -> R {
        f(&self.turns.lock())
    }
}

fn too_large(n: u64, limit: u64) -> RejectReason {
    RejectReason::TooLarge { asked: n as usize, limit: limit as usize }
}
