//! [`Front`]: a word before the machine that answers the common case without a lock, and mostly without a store.
//!
//! ```text
//! epoch (43 bits) | successes to be folded in (17) | calls are timed (1) | mode (3)
//! ```
//!
//! There are some of these words, each on a *line* of its own, and they say the same. The first is everybody's until two
//! threads meet at it while they count; whoever lost moves on to the next line, which is in use from then on. So threads
//! that count do not share a cache line, and who holds the lock adds up what they have counted.
//!
//! Whoever changes the machine holds its lock from [`close`](Front::close) to [`publish`](Front::publish), and unlocks after
//! that; so whenever the lock is free, each line in use says what the machine's [`View`] says, or "ask".
//!
//! **Invariants.** 1. A success that is answered here is one that the machine, asked at the moment at which the word was
//! read (or exchanged), would have counted in the same way: so the two are one machine, in some order of the calls. It is
//! enough to know how many were counted between two decisions: successes have no order among themselves. 2. A word
//! changes by read-modify-write only, so a success is counted here once or not at all: its exchange fails if anything has
//! changed. `close` takes the counts and ends the counting, and the machine has them before it decides. 3. `bound` and
//! `slow_over` change only while their word says "ask": who reads the same word before and after either has a value that
//! belongs to it. 4. No two lines say different things, other than "ask" ("closed" says that too): all that are in use ask before one says anything
//! new. Nobody is admitted, refused or counted by what was, after somebody else was by what is.

use super::machine::{EPOCH_BITS, Mode, View};
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{broken, lane, moment, next_lane};
use std::time::Duration;

const ASK: u64 = 0;
const PASS: u64 = 1;
const CLEAN: u64 = 2;
/// Until an instant.
const COUNT: u64 = 3;
/// To a number, and no further.
const COUNT_TO: u64 = 4;
const REFUSE: u64 = 5;
/// Of a line that is not in use: the first holds for it.
const UNUSED: u64 = 6;
/// Somebody decides at this moment: ask, or come back in another.
const CLOSED: u64 = 7;
const MODE: u64 = 7;
const TIMED: u64 = 8;
const ONE: u64 = 16;
const COUNTS: u64 = 0x1_FFFF * ONE;
const EPOCH: u32 = u64::BITS - EPOCH_BITS;

/// Each costs who decides two exchanges, if it is in use.
const LINES: usize = if cfg!(watertight_loom) { 2 } else { 4 };

#[derive(Debug)]
pub(super) struct Front {
    lines: [Line; LINES],
}

/// On a cache line of its own (two, which processors fetch together).
#[derive(Debug)]
#[repr(align(128))]
struct Line {
    word: AtomicU64,
    /// In the modes that have one: the [`Moment`], or how many.
    bound: AtomicU64,
    /// A [`Moment`].
    slow_over: AtomicU64,
}

/// Seconds (34 bits) and nanoseconds (30): ordered as the durations are, and made of them without a multiplication.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Moment(u64);

/// What the word says to somebody who wants to call.
pub(super) enum Door {
    Ask,
    Pass { epoch: u64, timed: bool },
    Refuse { until: Moment },
}

/// What the word says of a success.
pub(super) enum Good {
    /// It is recorded.
    Done,
    /// The machine has to be told.
    Tell,
}

impl Good {
    #[inline]
    pub(super) fn is_done(&self) -> bool {
        matches!(self, Self::Done)
    }
}

impl Moment {
    const NANOS: u32 = 30;
    const MASK: u64 = (1 << Self::NANOS) - 1;
    const SECOND: u64 = 1_000_000_000;

    #[inline]
    pub(super) fn at(d: Duration) -> Self {
        Self(d.as_secs() << Self::NANOS | u64::from(d.subsec_nanos()))
    }

    /// What does not fit is 544 years away.
    fn of_nanos(nanos: u64) -> Self {
        let secs = (nanos / Self::SECOND).min(u64::MAX >> Self::NANOS);
        Self((secs << Self::NANOS) | (nanos % Self::SECOND))
    }

    pub(super) fn nanos(self) -> u64 {
        (self.0 >> Self::NANOS).saturating_mul(Self::SECOND).saturating_add(self.0 & Self::MASK)
    }

    /// How long from then to this, if it is later.
    #[inline]
    pub(super) fn after(self, then: Self) -> Option<Duration> {
        if self <= then {
            return None;
        }
        let borrows = self.0 & Self::MASK < then.0 & Self::MASK;
        let left = self.0 - then.0 - if borrows { (1 << Self::NANOS) - Self::SECOND } else { 0 };
        Some(Duration::new(left >> Self::NANOS, (left & Self::MASK) as u32))
    }
}

impl Line {
    fn new(mode: u64) -> Self {
        Self { word: AtomicU64::new(mode), bound: AtomicU64::new(0), slow_over: AtomicU64::new(u64::MAX) }
    }

    /// Acquire: who passes sees what was done before the breaker let calls pass.
    #[inline]
    fn word(&self) -> u64 {
        self.word.load(Ordering::Acquire)
    }

    #[inline]
    fn bound(&self) -> u64 {
        self.bound.load(Ordering::Acquire)
    }

    fn is_used(&self) -> bool {
        self.word() & MODE != UNUSED
    }

    /// Counts a success of now, where there is a time, or of no time and no further than to the bound. Invariant 2: if the
    /// word has changed, to `Err`, nothing is counted.
    #[inline]
    fn count(&self, word: u64, now: Option<Moment>) -> Result<Good, u64> {
        match now {
            Some(now) if word & COUNTS == COUNTS || now.0 >= self.bound() => return Ok(Good::Tell),
            None if (word & COUNTS) / ONE >= self.bound() => {
                let again = self.word();
                return if again == word { Ok(Good::Done) } else { Err(again) }; // invariant 3
            }
            _ => {}
        }
        let counted = self.word.compare_exchange_weak(word, word + ONE, Ordering::AcqRel, Ordering::Acquire);
        counted.map(|_| Good::Done)
    }

    /// Ends the counting and takes what was counted. The caller holds the lock.
    fn close(&self) -> u64 {
        let word = self.word(); // only its count may change meanwhile, or an unused line begin to ask
        if !matches!(word & MODE, COUNT | COUNT_TO) {
            return 0;
        }
        let closed = self.word.swap(word & !COUNTS | CLOSED, Ordering::AcqRel);
        let counted = if broken("breaker-front-torn-fold") { word } else { closed };
        (counted & COUNTS) / ONE
    }

    fn bounds_are(&self, bound: u64, slow_over: u64) -> bool {
        self.bound() == bound && self.slow_over.load(Ordering::Acquire) == slow_over
    }
}

fn word_of(view: &View) -> (u64, Option<u64>) {
    let (mode, bound) = match view.mode {
        Mode::Ask => (ASK, None),
        Mode::Pass if broken("breaker-front-counts-on") => (COUNT, None),
        Mode::Pass => (PASS, None),
        Mode::Clean => (CLEAN, None),
        Mode::CountUntil(until) => (COUNT, Some(Moment::of_nanos(until).0)),
        Mode::CountTo(_) if broken("breaker-front-stays-clean") => (CLEAN, None),
        Mode::CountTo(calls) => (COUNT_TO, Some(u64::from(calls))),
        Mode::RefuseUntil(_) if broken("breaker-front-passes-on") => (PASS, None),
        Mode::RefuseUntil(until) => (REFUSE, Some(Moment::of_nanos(until).0)),
    };
    let timed = if view.slow_over == u64::MAX { 0 } else { TIMED };
    (view.epoch << EPOCH | timed | mode, bound)
}

impl Front {
    pub(super) fn new(view: View) -> Self {
        let front = Self { lines: std::array::from_fn(|i| Line::new(if i == 0 { ASK } else { UNUSED })) };
        front.publish(view);
        front
    }

    /// This thread's line, and its word.
    #[inline]
    fn line(&self) -> (&Line, u64) {
        let own = &self.lines[lane() % LINES];
        let word = own.word();
        if word & MODE == UNUSED { (&self.lines[0], self.lines[0].word()) } else { (own, word) }
    }

    #[inline]
    pub(super) fn door(&self) -> Door {
        let (line, word) = self.line();
        match word & MODE {
            PASS..=COUNT_TO => Door::Pass { epoch: word >> EPOCH, timed: word & TIMED != 0 },
            REFUSE => {
                let until = Moment(line.bound()); // invariant 3
                let same = line.word() == word || broken("breaker-front-torn-refusal");
                if same { Door::Refuse { until } } else { Door::Ask }
            }
            _ => Door::Ask,
        }
    }

    /// Whether a success of that epoch changes nothing, if it was not timed.
    #[inline]
    pub(super) fn is_clean(&self, epoch: u64) -> bool {
        let (_, word) = self.line();
        let of_now = word >> EPOCH == epoch || broken("breaker-front-any-epoch");
        word & MODE == CLEAN && of_now
    }

    /// The same if it took so long.
    #[inline]
    pub(super) fn is_clean_after(&self, epoch: u64, took: Moment) -> bool {
        let (line, word) = self.line();
        let clean = word & MODE == CLEAN && word >> EPOCH == epoch;
        clean && took.0 <= line.slow_over.load(Ordering::Acquire) && line.word() == word // invariant 3
    }

    /// Whether calls of this epoch that took so long are slow. Of another epoch nobody will ask.
    pub(super) fn is_slow(&self, took: Moment) -> bool {
        took.0 > self.line().0.slow_over.load(Ordering::Acquire)
    }

    /// Records a success of that epoch that was not slow, if that can be done here. Asks the time only if it needs it.
    #[inline]
    pub(super) fn succeed(&self, epoch: u64, now: impl FnOnce() -> Moment) -> Good {
        let (line, word) = self.line();
        let of_now = word >> EPOCH == epoch || broken("breaker-front-any-epoch");
        match word & MODE {
            CLEAN if of_now => Good::Done,
            COUNT if of_now => self.count(line, word, Some(now())),
            COUNT_TO if of_now => self.count(line, word, None),
            _ => Good::Tell,
        }
    }

    #[inline]
    fn count(&self, line: &Line, word: u64, now: Option<Moment>) -> Good {
        line.count(word, now).unwrap_or_else(|other| self.count_again(line, other, word & !COUNTS, now))
    }

    /// Somebody has changed the word: by counting too, or by closing it.
    #[cold]
    #[inline(never)]
    fn count_again(&self, line: &Line, mut word: u64, of_now: u64, now: Option<Moment>) -> Good {
        while word & !COUNTS == of_now {
            self.move_on();
            match line.count(word, now) {
                Ok(good) => return good,
                Err(other) => word = other,
            }
        }
        Good::Tell
    }

    /// Whether this thread's line was closed and is so no more, after a moment if need be. Who asked instead would close it
    /// for whoever decides now, who would then ask too, and so on. A model sees both at once: closed is but a way to ask.
    pub(super) fn settles(&self) -> bool {
        let is_closed = || self.line().1 & MODE == CLOSED;
        if cfg!(watertight_loom) || !is_closed() {
            return false;
        }
        let mut turn = 0;
        while turn < 16 {
            moment(&mut turn);
            if !is_closed() {
                return true;
            }
        }
        false
    }

    /// Two threads have met at a line: this one takes the next from now on.
    fn move_on(&self) {
        self.begin_to_use(next_lane() % LINES);
    }

    /// What the line is to say, whoever comes first asks.
    fn begin_to_use(&self, line: usize) {
        // If it is in use, there is nothing to do.
        _ = self.lines[line].word.compare_exchange(UNUSED, ASK, Ordering::AcqRel, Ordering::Acquire);
    }

    /// Before the machine decides: whoever comes from now on has to ask, and what was counted here is for the machine. The
    /// caller holds the lock.
    pub(super) fn close(&self) -> u64 {
        let lines = if broken("breaker-front-one-line") { &self.lines[..1] } else { &self.lines };
        lines.iter().map(Line::close).sum()
    }

    /// After the machine has decided, before the lock is let go.
    pub(super) fn publish(&self, view: View) {
        let (wanted, bound) = word_of(&view);
        let bound = bound.unwrap_or_else(|| self.lines[0].bound());
        let slow_over = Moment::of_nanos(view.slow_over).0;
        let alone = !self.lines[1..].iter().any(Line::is_used) || broken("breaker-front-one-by-one");
        let used = || self.lines.iter().filter(|line| line.is_used());
        for line in used() {
            let word = line.word();
            let stays = (word == wanted || alone) && line.bounds_are(bound, slow_over);
            if !stays && !matches!(word & MODE, ASK | CLOSED) {
                line.word.swap(word & !COUNTS | CLOSED, Ordering::AcqRel);
            }
        }
        for line in used() {
            let word = line.word();
            if !line.bounds_are(bound, slow_over) {
                line.bound.store(bound, Ordering::Release);
                line.slow_over.store(slow_over, Ordering::Release);
            }
            if word != wanted {
                line.word.swap(wanted, Ordering::AcqRel);
            }
        }
    }

    /// Puts all lines to use, as threads that meet do.
    #[cfg(all(test, watertight_loom, not(watertight_shuttle)))]
    pub(super) fn widen(&self) {
        (1..LINES).for_each(|line| self.begin_to_use(line));
    }
}

#[cfg(all(test, not(watertight_loom)))]
mod tests {
    use super::*;

    #[test]
    fn moments_are_ordered_and_subtracted_as_durations_are() {
        let some = [0, 1, 999_999_999, 1_000_000_000, 1_000_000_001, 2_999_999_999, 3_000_000_000, 1 << 62];
        for (a, b) in some.iter().flat_map(|a| some.iter().map(move |b| (*a, *b))) {
            let (early, late) = (Moment::of_nanos(a), Moment::of_nanos(b));
            assert_eq!(early, Moment::at(Duration::from_nanos(a)));
            assert_eq!(early.nanos(), a);
            assert_eq!(early.cmp(&late), a.cmp(&b), "{a} {b}");
            assert_eq!(late.after(early), (b > a).then(|| Duration::from_nanos(b - a)), "{a} {b}");
        }
        assert!(Moment::of_nanos(u64::MAX) > Moment::of_nanos(u64::MAX / 2));
        assert!(Moment::of_nanos(u64::MAX) >= Moment::at(Duration::from_secs((1 << 34) - 1)));
    }
}
