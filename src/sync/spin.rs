//! How long somebody who waits looks before going to sleep. A sleep and a wake cost microseconds, on some machines many; a
//! look costs nearly nothing, but for as long as it is repeated it costs a core.
//!
//! What has been worth it lately is worth it again: `Adaptive` looks on for up to twice as long as it last took, half as long
//! when that was in vain, and begins again with little. **Locking.** None; the patience is a hint, and two who write it at
//! once harm nobody.

use super::look_again;
use ::std::sync::atomic::{AtomicU32, Ordering};

/// How long an idle worker looks for work, and a caller for the end of its job, before they sleep.
///
/// | | idle | a round trip by [`Pool::call`](crate::Pool::call) |
/// |---|---|---|
/// | [`Never`](Self::Never) | sleeps at once | two wakes |
/// | [`Brief`](Self::Brief) (default) | some microseconds | two wakes, unless the job is very short |
/// | [`Adaptive`](Self::Adaptive) | at most about 100 microseconds, one worker at a time, and only while it has paid of late | none, while calls follow one another closely |
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Hash)]
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

/// The most looks beyond the brief ones: about 100 microseconds.
const MOST: u32 = 256;
/// So many to begin with, and after every sleep that was ended by work.
const LITTLE: u32 = 8;

/// What those who wait for the same kind of thing have learnt.
#[derive(Debug)]
pub(crate) struct Patience {
    spin: Spin,
    worth: AtomicU32,
}

/// The looks of one who waits.
#[derive(Debug)]
pub(crate) struct Looks {
    brief: u32,
    long: u32,
    most: u32,
}

impl Patience {
    pub(crate) fn new(spin: Spin) -> Self {
        Self { spin, worth: AtomicU32::new(LITTLE) }
    }

    /// Somebody begins to wait.
    pub(crate) fn looks(&self) -> Looks {
        let most = match self.spin {
            Spin::Adaptive => self.worth.load(Ordering::Relaxed),
            Spin::Never | Spin::Brief => 0,
        };
        Looks { brief: if self.spin == Spin::Never { u32::MAX } else { 0 }, long: 0, most }
    }

    /// The look after these has found what was waited for.
    pub(crate) fn found(&self, looks: &Looks) {
        if looks.long > 0 {
            let worth = (2 * looks.long).clamp(LITTLE, MOST);
            if worth > self.worth.load(Ordering::Relaxed) {
                self.worth.store(worth, Ordering::Relaxed);
            }
        }
    }

    /// They were all in vain: to sleep.
    pub(crate) fn in_vain(&self, looks: &Looks) {
        if looks.long > 0 {
            self.worth.store(looks.most / 2, Ordering::Relaxed);
        }
    }

    /// What was waited for has come during a sleep.
    pub(crate) fn woken(&self) {
        if self.spin == Spin::Adaptive {
            let worth = self.worth.load(Ordering::Relaxed);
            self.worth.store((worth + worth / 2).clamp(LITTLE, MOST), Ordering::Relaxed);
        }
    }
}

impl Looks {
    /// Whether it is worth looking again; lets a moment pass if so. With `alone` false, only briefly: somebody else looks on.
    pub(crate) fn again(&mut self, alone: bool) -> bool {
        if self.brief < u32::MAX {
            if look_again(&mut self.brief) {
                return true;
            }
            self.brief = u32::MAX;
        }
        if !alone || self.long >= self.most {
            return false;
        }
        self.long += 1;
        // Seldomer and seldomer: at most some hundred nanoseconds apart.
        (0..self.long.min(8)).for_each(|_| ::std::hint::spin_loop());
        true
    }

    /// Whether this was the first look.
    pub(crate) fn is_first(&self) -> bool {
        self.brief == 1
    }
}
