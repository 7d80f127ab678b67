//! Waiting beside fast workers. Whoever is woken for each place that comes back sleeps and wakes as often as there are jobs,
//! costs the workers a wake each time, and by its short sleeps keeps a core for itself on which one of them could have run.
//! So it comes back when a good part of the places is free: who looks, looks for that; and who has no deadline sleeps by
//! the clock until then, where that is soon, in place of standing in line.
//!
//! How soon is estimated from how fast places came back since somebody last asked. At least as many jobs as it sleeps
//! for are still queued when it wakes, so the workers do not run dry though the estimate be half of what is true.
//!
//! **Invariants.** None that others rely on: a wrong estimate costs at most twice [`LONGEST`] before the waiter joins the line.
//! **Locking.** One lock, for three numbers that belong together; nothing is done under it. In models nobody sleeps by the clock.

use super::Places;
use crate::sync::atomic::Ordering;
use crate::sync::{Mutex, nanos};
use std::time::Duration;

/// No more places than that are waited for: they are enough to make a wake cheap.
const MANY: u64 = 512;
/// For fewer it is not worth an estimate, and too few jobs to make one from.
const FEW: u64 = 64;
/// The least a place takes to come back for a sleep to be better than looks. This and what follows in nanoseconds.
const SLOW: u64 = 400;
const SHORTEST: u64 = 100_000;
const LONGEST: u64 = 1_000_000;
/// By so much a system's timer is late.
const LATE: u64 = 50_000;

/// When somebody last asked, what was back then, and how long each place takes. Nanoseconds.
pub(super) struct Pace(Mutex<Option<(u64, u64, u64)>>);

impl Pace {
    pub(super) fn new() -> Self {
        Self(Mutex::new(None))
    }

    /// How long to sleep until so many more are back, if that is worth it.
    fn nap(&self, now: u64, back: u64, missing: u64) -> Option<Duration> {
        let mut last = self.0.lock();
        let (since, before, pace) = last.unwrap_or((now, back, 0));
        let more = back.saturating_sub(before);
        let each = now.saturating_sub(since).checked_div(more).unwrap_or(u64::MAX);
        // Who was kept from its core sees a slow pace where there is none: it is believed when it has been seen again.
        let pace = if pace == 0 { each } else { each.min(pace.saturating_mul(2)) };
        *last = Some((now, back, pace));
        drop(last);
        let takes = pace.saturating_mul(missing);
        (pace >= SLOW && (SHORTEST..=LONGEST).contains(&takes)).then(|| Duration::from_nanos(takes - LATE))
    }
}

impl Places {
    /// Whether a good part is free again. To look at what is back takes the words out of the workers' caches, once for each
    /// job if it is for one place.
    pub(in crate::pool) fn has_eased(&self) -> bool {
        self.has_room(self.taken(), self.good_part())
    }

    /// How long to sleep until then, if that is worth it.
    pub(in crate::pool) fn nap(&self) -> Option<Duration> {
        if cfg!(watertight_loom) || self.good_part() < FEW { None } else { self.nap_from(nanos()) }
    }

    fn nap_from(&self, now: u64) -> Option<Duration> {
        let back = self.count_back();
        let missing = (self.taken() + self.good_part()).saturating_sub(back + self.capacity);
        self.pace.nap(now, back, missing)
    }

    fn good_part(&self) -> u64 {
        ((self.capacity - self.less.load(Ordering::Relaxed)) / 2).clamp(1, MANY)
    }
}

#[cfg(all(test, not(watertight_loom)))]
mod tests {
    use super::*;

    const US: u64 = 1_000;

    #[test]
    fn a_nap_is_as_long_as_the_missing_places_take_at_the_pace_of_late() {
        let pace = Pace::new();
        let mut asked = (0, 0);
        let mut nap = |each: u64, places: u64| {
            asked = (asked.0 + each * places, asked.1 + places);
            pace.nap(asked.0, asked.1, 300)
        };
        let us = |us| Some(Duration::from_micros(us));
        assert_eq!(nap(US, 10), None, "nobody has asked before");
        assert_eq!(nap(2 * US, 100), us(600 - 50), "two microseconds for each");
        assert_eq!(nap(US / 2, 200), us(150 - 50), "half a one");
        assert_eq!(nap(US / 10, 500), None, "so fast that looking is better");
        assert_eq!(nap(9 * US, 1), None, "slow once");
        assert_eq!(nap(9 * US, 1), us(120 - 50), "and again");
        assert_eq!(nap(US / 10, 500), None);
        assert_eq!((0..9).filter_map(|_| nap(9 * US, 1)).count(), 4, "so slow that the line is better");
        assert_eq!((0..99).find_map(|_| pace.nap(u64::MAX, 0, 300)), None, "none at all");
    }

    #[test]
    fn who_waits_comes_back_when_half_of_the_places_are_free() {
        let places = Places::new(128, 128, 1);
        places.try_take(128).unwrap();
        assert_eq!(places.nap_from(0), None);
        (0..32).for_each(|_| assert!(!places.give_back(0)));
        assert!(!places.has_eased());
        assert_eq!(places.nap_from(160 * US), Some(Duration::from_micros(160 - 50)), "32 more at 5 us each");
        (0..32).for_each(|_| assert!(!places.give_back(0)));
        assert!(places.has_eased());
        assert_eq!(places.nap_from(320 * US), None, "nothing to wait for");
        assert!(Places::new(126, 126, 1).nap().is_none());
    }
}
