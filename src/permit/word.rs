//! The one word of a limit: how many permits there are, how many are out, and whether the lock has to be asked.
//!
//! **Invariants.** 1. The word is changed by read-modify-writes only. 2. Permits are taken without the lock only while no
//! flag is up, in one exchange that has looked at both numbers: so no more than the limit is ever out, also while it is
//! being lowered. 3. The limit and the flags are changed, and permits taken with a flag up, under the lock.

use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::broken;

/// The most permits a limit can have: two numbers of it and two flags fill the word.
pub(super) const MAX: u64 = (1 << 31) - 1;

/// Somebody waits in line.
const LINE: u64 = 1;
/// Shares have to be looked at: nothing is taken without the lock.
const SHARED: u64 = 2;
const LIMIT: u32 = 2;
const OUT: u32 = 33;

pub(super) struct Word(AtomicU64);

/// The word at one moment.
#[derive(Clone, Copy)]
pub(super) struct Seen(u64);

impl Seen {
    #[inline]
    pub(super) fn limit(self) -> u64 {
        (self.0 >> LIMIT) & MAX
    }

    /// How many permits are out.
    #[inline]
    pub(super) fn out(self) -> u64 {
        self.0 >> OUT
    }

    #[inline]
    pub(super) fn has_line(self) -> bool {
        self.0 & LINE != 0
    }

    /// Nobody waits and nobody has a share.
    #[inline]
    pub(super) fn is_plain(self) -> bool {
        self.0 & (LINE | SHARED) == 0
    }

    #[inline]
    pub(super) fn has_shares(self) -> bool {
        self.0 & SHARED != 0
    }

    /// Whether so many more stay within the limit, or are more than it and `alone`.
    #[inline]
    pub(super) fn has_room(self, n: u64, alone: bool) -> bool {
        let runs_alone = alone && self.out() == 0 && (self.limit() + 1..=MAX).contains(&n);
        self.out().saturating_add(n) <= self.limit() || runs_alone
    }
}

impl Word {
    pub(super) fn new(limit: u64, shared: bool) -> Self {
        Self(AtomicU64::new(limit << LIMIT | if shared { SHARED } else { 0 }))
    }

    #[inline]
    pub(super) fn look(&self) -> Seen {
        // Permits handed over under the lock were given back without it: what was done under them is to be seen.
        Seen(self.0.load(Ordering::Acquire))
    }

    /// Takes so many, if there is room and no flag is up; or what it saw.
    #[inline]
    pub(super) fn try_take(&self, n: u64, alone: bool) -> Result<(), Seen> {
        let mut word = self.0.load(Ordering::Relaxed);
        loop {
            let seen = Seen(word);
            let barred = word & (LINE | SHARED) != 0 && !broken("permit: who takes does not look for the line");
            if barred || !seen.has_room(n, alone) {
                return Err(seen);
            }
            if broken("permit: who takes looks first and takes later") {
                self.0.fetch_add(n << OUT, Ordering::AcqRel);
                return Ok(());
            }
            // Acquire: what was done under permits that came back is to be seen by who takes them.
            match self.0.compare_exchange_weak(word, word + (n << OUT), Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return Ok(()),
                Err(now) => word = now,
            }
        }
    }

    /// Takes so many. Under the lock, with a flag up, after a look that found room: from then on there is only more of it.
    pub(super) fn take(&self, n: u64) {
        self.0.fetch_add(n << OUT, Ordering::AcqRel);
    }

    /// Gives so many back; what it was before.
    #[inline]
    pub(super) fn give_back(&self, n: u64) -> Seen {
        Seen(self.0.fetch_sub(n << OUT, Ordering::Release))
    }

    /// Somebody is about to wait, under the lock: what there is at this moment. Whoever gives back later sees the flag.
    pub(super) fn raise_line(&self) -> Seen {
        if broken("permit: who joins the line looks before it says so") {
            let seen = self.look();
            self.0.fetch_or(LINE, Ordering::AcqRel);
            return seen;
        }
        Seen(self.0.fetch_or(LINE, Ordering::AcqRel))
    }

    /// Nobody waits any more, under the lock.
    pub(super) fn lower_line(&self) {
        self.0.fetch_and(!LINE, Ordering::AcqRel);
    }

    /// Under the lock.
    pub(super) fn set_limit(&self, limit: u64) {
        let more = limit.wrapping_sub(self.look().limit()); // or less: the sum comes out right either way
        self.0.fetch_add(more << LIMIT, Ordering::AcqRel);
    }
}
