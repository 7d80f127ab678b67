//! How long somebody who waits looks before going to sleep. A sleep and a wake cost microseconds, on some machines many; a
//! look costs nearly nothing, but for as long as it is repeated it costs a core.
//!
//! What has been worth it lately is worth it again: `Adaptive` looks on for up to twice as long as it last took, with the
//! sleep if there was one; half as long after a wait that no looking would have covered; and never less than a sleep and a
//! wake cost. **Locking.** None; the patience is a hint, and two who write it at once harm nobody.

use super::{look_again, nanos};
use ::std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// How long an idle worker looks for work, and a caller for the end of its job, before they sleep.
///
/// | | idle | a round trip by [`Pool::call`](crate::Pool::call) |
/// |---|---|---|
/// | [`Never`](Self::Never) | sleeps at once | two wakes |
/// | [`Brief`](Self::Brief) (default) | some microseconds | two wakes, unless the job is very short |
/// | [`Adaptive`](Self::Adaptive) | 10 microseconds, up to 100 while that pays; one worker at a time | none, while calls follow one another closely |
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Spin {
    /// Sleeps at once.
    Never,
    /// Looks a few times, letting other threads run in between.
    #[default]
    Brief,
    /// Looks on for as long as that has been worth it of late. On a machine with one CPU it is `Brief`. A looking worker
    /// uses its core: for services that have cores to spare and need their round trips short.
    Adaptive,
}

/// The most that the long looks may take, in nanoseconds.
const MOST: u64 = 100_000;
/// What they always may: about what it costs to sleep and be woken, so that who looks in vain has at most paid twice.
const LITTLE: u64 = 10_000;
/// After so many looks the clock is read.
const PER_CLOCK: u32 = 32;
/// After so many others are let go: whoever is waited for may want this core.
const PER_YIELD: u32 = 128;
/// And after so many where that was so the last time: two on one core wait for each other to yield.
const PER_YIELD_IN_COMPANY: u32 = 4;
/// A yield that takes longer has let somebody go, in nanoseconds.
const COMPANY: u64 = 600;

/// What those who wait for the same kind of thing have learnt.
#[derive(Debug)]
pub(crate) struct Patience {
    spin: Spin,
    /// Nanoseconds.
    worth: AtomicU64,
    /// Looks between yields.
    per_yield: AtomicU32,
}

/// The looks of one who waits.
#[derive(Debug)]
pub(crate) struct Looks {
    brief: u32,
    long: u32,
    /// When the long ones began, and how long they have taken; as far as the clock was read.
    since: u64,
    took: u64,
    most: u64,
}

impl Patience {
    pub(crate) fn new(spin: Spin) -> Self {
        Self { spin, worth: AtomicU64::new(LITTLE), per_yield: AtomicU32::new(PER_YIELD) }
    }

    /// Somebody begins to wait.
    pub(crate) fn looks(&self) -> Looks {
        let most = match self.spin {
            Spin::Adaptive => self.worth.load(Ordering::Relaxed),
            Spin::Never | Spin::Brief => 0,
        };
        Looks { brief: if self.spin == Spin::Never { u32::MAX } else { 0 }, long: 0, since: 0, took: 0, most }
    }

    /// The look after these has found what was waited for.
    pub(crate) fn found(&self, looks: &Looks) {
        if 2 * looks.took > self.worth.load(Ordering::Relaxed) {
            self.worth.store((2 * looks.took).min(MOST), Ordering::Relaxed);
        }
    }

    /// They were all in vain, and what was waited for has come during a sleep: soon enough to have looked on for, or not.
    pub(crate) fn woken(&self, looks: &Looks) {
        if looks.long > 0 {
            let waited = nanos().saturating_sub(looks.since);
            let worth = if waited <= MOST { (2 * waited).min(MOST) } else { looks.most / 2 };
            self.worth.store(worth.max(LITTLE), Ordering::Relaxed);
        }
    }
}

impl Looks {
    /// Whether it is worth looking again; lets a moment pass if so. With `alone` false, only briefly: somebody else looks on.
    ///
    /// The long looks come before those that let others go each time: two who hand one core to each other, again and again,
    /// never meet on two.
    pub(crate) fn again(&mut self, patience: &Patience, alone: bool) -> bool {
        if alone && self.took < self.most {
            self.look_on(&patience.per_yield);
            return true;
        }
        if self.brief < u32::MAX {
            if look_again(&mut self.brief) {
                return true;
            }
            self.brief = u32::MAX;
        }
        false
    }

    fn look_on(&mut self, per_yield: &AtomicU32) {
        if self.long % PER_CLOCK == 0 {
            let now = nanos();
            if self.long == 0 {
                self.since = now;
            }
            self.took = now - self.since;
        }
        self.long = self.long.wrapping_add(1);
        if self.long % per_yield.load(Ordering::Relaxed) != 0 {
            return ::std::hint::spin_loop();
        }
        let before = nanos();
        ::std::thread::yield_now();
        let after = nanos();
        self.took = after - self.since; // a time slice of somebody else's may have been the most it is worth
        let company = after - before > COMPANY;
        per_yield.store(if company { PER_YIELD_IN_COMPANY } else { PER_YIELD }, Ordering::Relaxed);
    }

    /// Whether there was a look.
    pub(crate) fn have_begun(&self) -> bool {
        self.long > 0 || (1..u32::MAX).contains(&self.brief)
    }

    /// Whether this was the first look.
    pub(crate) fn is_first(&self) -> bool {
        self.brief == 1
    }
}
