//! [`Front`]: one word before the machine that answers the common case without a lock, and mostly without a store.
//!
//! ```text
//! epoch (44 bits) | successes to be folded in (16) | calls are timed (1) | mode (3)
//! ```
//!
//! Whoever changes the machine holds its lock from [`close`](Front::close) to [`publish`](Front::publish), and unlocks after
//! that; so whenever the lock is free, the word says what the machine's [`View`] says.
//!
//! **Invariants.** 1. A success that is answered here is one that the machine, asked at the moment at which the word was
//! read (or exchanged), would have counted in the same way: so the two are one machine, in some order of the calls. 2. The
//! word changes by read-modify-write only, so a success is counted here once or not at all: its exchange fails if anything
//! has changed. `close` takes the count and ends the counting in one step, and the machine has it before it decides.
//! 3. `until` and `slow_over` change only while the word says "ask": who reads the same word before and after either has a
//! value that belongs to it.

use super::machine::{EPOCH_BITS, Mode, View};
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::broken;

const ASK: u64 = 0;
const PASS: u64 = 1;
const CLEAN: u64 = 2;
const COUNT: u64 = 3;
const REFUSE: u64 = 4;
const MODE: u64 = 7;
const TIMED: u64 = 8;
const ONE: u64 = 16;
const COUNTS: u64 = 0xFFFF * ONE;
const EPOCH: u32 = u64::BITS - EPOCH_BITS;

/// On a line of its own: most who read it do so without a store.
#[derive(Debug)]
#[repr(align(128))]
pub(super) struct Front {
    word: AtomicU64,
    /// In the modes that have one.
    until: AtomicU64,
    slow_over: AtomicU64,
}

/// What the word says to somebody who wants to call.
pub(super) enum Door {
    Ask,
    Pass { epoch: u64, timed: bool },
    Refuse { until: u64 },
}

/// What the word says of a success.
pub(super) enum Good {
    /// It is recorded.
    Done,
    /// The machine has to be told.
    Tell,
}

fn word_of(view: &View) -> u64 {
    let mode = match view.mode {
        Mode::Ask => ASK,
        Mode::Pass => {
            if broken("breaker-front-counts-on") {
                COUNT
            } else {
                PASS
            }
        }
        Mode::Clean => CLEAN,
        Mode::CountUntil(_) => COUNT,
        Mode::RefuseUntil(_) => REFUSE,
    };
    let timed = if view.slow_over == u64::MAX { 0 } else { TIMED };
    view.epoch << EPOCH | timed | mode
}

impl Front {
    pub(super) fn new(view: View) -> Self {
        let front = Self { word: AtomicU64::new(ASK), until: AtomicU64::new(0), slow_over: AtomicU64::new(u64::MAX) };
        front.publish(view);
        front
    }

    #[inline]
    pub(super) fn door(&self) -> Door {
        // Acquire: who passes sees what was done before the breaker let calls pass.
        let word = self.word.load(Ordering::Acquire);
        match word & MODE {
            PASS..=COUNT => Door::Pass { epoch: word >> EPOCH, timed: word & TIMED != 0 },
            REFUSE => {
                let until = self.until.load(Ordering::Acquire); // invariant 3
                let same = self.word.load(Ordering::Acquire) == word || broken("breaker-front-torn-refusal");
                if same { Door::Refuse { until } } else { Door::Ask }
            }
            _ => Door::Ask,
        }
    }

    /// Whether calls of this epoch that took so long are slow. Of another epoch nobody will ask.
    #[inline]
    pub(super) fn is_slow(&self, took: u64) -> bool {
        took > self.slow_over.load(Ordering::Acquire)
    }

    /// Records a success of that epoch that was not slow, if that can be done here. Asks the time only if it needs it.
    #[inline]
    pub(super) fn succeed(&self, epoch: u64, now: impl FnOnce() -> u64) -> Good {
        let word = self.word.load(Ordering::Acquire);
        let of_now = word >> EPOCH == epoch || broken("breaker-front-any-epoch");
        match word & MODE {
            CLEAN if of_now => Good::Done,
            COUNT if of_now => self.count(word, now()),
            _ => Good::Tell,
        }
    }

    /// Invariant 2.
    #[inline]
    fn count(&self, mut word: u64, now: u64) -> Good {
        let of_now = word & !COUNTS;
        loop {
            if word & !COUNTS != of_now || word & COUNTS == COUNTS || now >= self.until.load(Ordering::Acquire) {
                return Good::Tell;
            }
            match self.word.compare_exchange_weak(word, word + ONE, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Good::Done,
                Err(other) => word = other,
            }
        }
    }

    /// Before the machine decides: whoever comes from now on has to ask, and what was counted here is for the machine. The
    /// caller holds the lock.
    pub(super) fn close(&self) -> u64 {
        let word = self.word.load(Ordering::Acquire); // only its count may change meanwhile
        if word & MODE != COUNT {
            return 0;
        }
        let closed = self.word.swap(word & !(MODE | COUNTS) | ASK, Ordering::AcqRel);
        let counted = if broken("breaker-front-torn-fold") { word } else { closed };
        (counted & COUNTS) / ONE
    }

    /// After the machine has decided, before the lock is let go.
    pub(super) fn publish(&self, view: View) {
        let mut word = self.word.load(Ordering::Acquire);
        let wanted = word_of(&view);
        if broken("breaker-front-passes-on") && word & MODE == PASS && wanted & MODE == REFUSE {
            return;
        }
        let until = match view.mode {
            Mode::CountUntil(until) | Mode::RefuseUntil(until) => until,
            _ => self.until.load(Ordering::Acquire),
        };
        let same = |atomic: &AtomicU64, value| atomic.load(Ordering::Acquire) == value;
        if !same(&self.until, until) || !same(&self.slow_over, view.slow_over) {
            if word & MODE != ASK {
                word = self.word.swap(word & !(MODE | COUNTS) | ASK, Ordering::AcqRel) & !(MODE | COUNTS) | ASK;
            }
            self.until.store(until, Ordering::Release);
            self.slow_over.store(view.slow_over, Ordering::Release);
        }
        let keeps = broken("breaker-front-stays-clean") && word & MODE == CLEAN && wanted & MODE == PASS;
        if word != wanted && !keeps {
            self.word.swap(wanted, Ordering::AcqRel);
        }
    }
}
