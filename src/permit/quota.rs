//! [`Quota`]: a limit that is a share of those who have registered.
//!
//! **Invariants.** 1. Whoever has changed how many there are resizes the limit, and looks again: if there are others by then,
//! it does so again. So when nobody is at it any more the limit is that of the last number, in whatever order the changes
//! came. 2. The word is changed by read-modify-write only. 3. A limit has one quota at most: two would each undo what the other has
//! done. **Locking.** None of its own: that of the limit, while it is resized.

use super::Limit;
use crate::error::BuildError;
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::sync::{Arc, broken};
use std::fmt;

const WHOLE: u128 = 1_000_000_000;

/// A [`Limit`] that is a share of the workers that have registered: half of them may be at the database at once, however many
/// there are. For threads, pools or tasks that come and go.
///
/// The limit is `ceil(share × workers)`, and at least one. It grows and shrinks as a [resize](Limit::resize) does: what is out
/// stays out.
///
/// A limit has one quota at a time, since two would each undo what the other has done. Clones are the same quota: whoever is to
/// count registers with one of them. Workers of two kinds that are to have shares of their own get a limit each, or
/// [partitions](super::Partition) of one, whose shares follow the quota's limit.
///
/// | share | 1 worker | 2 | 3 | 10 | 40 |
/// |---|---|---|---|---|---|
/// | 0.1 | 1 | 1 | 1 | 1 | 4 |
/// | 0.5 | 1 | 1 | 2 | 5 | 20 |
/// | 1.0 | 1 | 2 | 3 | 10 | 40 |
///
/// # Examples
///
/// ```
/// use watertight::Limit;
/// use watertight::permit::Quota;
///
/// let database = Quota::new(0.5, Limit::new(1))?;
/// let workers: Vec<_> = (0..3).map(|_| database.register()).collect();
/// assert_eq!(database.limit().permits(), 2);
/// let permit = database.limit().try_acquire().unwrap();
/// drop(workers); // registered no more
/// assert_eq!((database.limit().permits(), database.limit().in_flight()), (1, 1));
/// assert!(Quota::new(1.5, Limit::new(1)).is_err());
/// # drop(permit);
/// # Ok::<(), watertight::BuildError>(())
/// ```
#[derive(Clone)]
pub struct Quota(Arc<Inner>);

struct Inner {
    limit: Limit,
    /// In thousand-millionths.
    share: u128,
    workers: AtomicUsize,
}

impl Inner {
    fn permits(&self, workers: usize) -> usize {
        let permits = (self.share * workers as u128).div_ceil(WHOLE).clamp(1, Limit::MAX as u128);
        permits as usize
    }

    fn resize(&self) {
        loop {
            let workers = self.workers.load(Ordering::Acquire);
            let resized = self.limit.resize(self.permits(workers));
            debug_assert!(resized.is_ok(), "it is clamped to what a limit takes");
            if self.workers.load(Ordering::Acquire) == workers || broken("quota: who resizes does not look again") {
                return;
            }
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.limit.0.end_quota(); // invariant 3
    }
}

impl Quota {
    /// This share of those who will register; until then one permit. From now on `limit` is resized by this, and by nobody
    /// else, until this and its clones and [`Registered`] are gone; what the limit is then it stays.
    ///
    /// # Errors
    ///
    /// [`BuildError::OutOfRange`] unless the share is above 0 and at most 1; [`BuildError::Conflict`] if the limit has a quota
    /// already. Nothing is changed then.
    pub fn new(share: f64, limit: Limit) -> Result<Self, BuildError> {
        if !(share > 0.0 && share <= 1.0) {
            return Err(BuildError::out_of_range("quota", share, "above 0 and at most 1"));
        }
        let share = ((share * WHOLE as f64) as u128).max(1); // down: what it gives is rounded up
        if !limit.0.begin_quota() {
            return Err(BuildError::Conflict(
                "the limit has a quota already: register with that one, or take another limit",
            ));
        }
        let quota = Self(Arc::new(Inner { limit, share, workers: AtomicUsize::new(0) }));
        quota.0.resize();
        Ok(quota)
    }

    /// One worker more, until the value is dropped.
    pub fn register(&self) -> Registered {
        self.0.workers.fetch_add(1, Ordering::AcqRel);
        self.0.resize();
        Registered(self.clone())
    }

    /// How many have registered.
    pub fn workers(&self) -> usize {
        self.0.workers.load(Ordering::Acquire)
    }

    /// How many permits that makes: for those who pass it on, to [`Bulkhead::resize`](crate::Bulkhead::resize) for example.
    pub fn permits(&self) -> usize {
        self.0.permits(self.workers())
    }

    /// The limit.
    pub fn limit(&self) -> &Limit {
        &self.0.limit
    }
}

impl fmt::Debug for Quota {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let share = self.0.share as f64 / WHOLE as f64;
        f.debug_struct("Quota").field("share", &share).field("workers", &self.workers()).finish_non_exhaustive()
    }
}

/// A worker that counts for a [`Quota`], until this is dropped.
#[must_use = "who is dropped at once is registered no more"]
#[derive(Debug)]
pub struct Registered(Quota);

impl Drop for Registered {
    fn drop(&mut self) {
        let inner = &self.0.0;
        inner.workers.fetch_sub(1, Ordering::AcqRel);
        inner.resize();
    }
}

#[cfg(all(test, not(watertight_loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_quota_is_rounded_up_and_at_least_one() {
        // Semian's rule, as a table: share, workers, tickets.
        let table = [(0.5, [1, 1, 2, 2, 3]), (0.34, [1, 1, 2, 2, 2]), (0.1, [1; 5]), (1.0, [1, 2, 3, 4, 5])];
        for (share, tickets) in table {
            let quota = Quota::new(share, Limit::new(9)).unwrap();
            assert_eq!((quota.limit().permits(), quota.workers()), (1, 0));
            let mut workers = Vec::new();
            for permits in tickets {
                workers.push(quota.register());
                assert_eq!((quota.limit().permits(), quota.permits()), (permits, permits), "{share} of {workers:?}");
            }
            for permits in tickets.into_iter().rev() {
                assert_eq!(quota.limit().permits(), permits);
                drop(workers.pop());
            }
            assert_eq!(quota.workers(), 0);
        }
        // What is a whole number stays one, whatever binary fractions make of it.
        let tenth = Quota::new(0.1, Limit::new(1)).unwrap();
        assert!((1..=100_000).all(|n| tenth.0.permits(n * 10) == n));
        let of = |share: f64, workers| Quota::new(share, Limit::new(1)).unwrap().0.permits(workers);
        assert_eq!([of(2.0 / 3.0, 3), of(1.0 / 7.0, 7), of(1.0 / 3.0, 4), of(0.57, 100)], [2, 1, 2, 57]);
        assert!([0.0, -0.5, 1.01, f64::NAN].iter().all(|share| Quota::new(*share, Limit::new(1)).is_err()));
    }

    #[test]
    fn a_limit_has_one_quota_at_a_time() {
        let limit = Limit::new(7);
        assert!(Quota::new(0.0, limit.clone()).is_err());
        let quota = Quota::new(1.0, limit.clone()).unwrap();
        let (workers, second) = ([quota.register(), quota.register()], Quota::new(0.5, limit.clone()));
        assert!(matches!(second, Err(BuildError::Conflict(why)) if why.starts_with("the limit has a quota already")));
        assert_eq!(limit.permits(), 2, "and nothing was changed by who was refused");
        let worker = quota.register();
        drop((quota, workers));
        assert!(Quota::new(0.5, limit.clone()).is_err(), "one is registered still");
        drop(worker);
        let next = Quota::new(0.5, limit.clone()).unwrap();
        assert_eq!((next.workers(), limit.permits()), (0, 1));
    }

    #[test]
    fn who_leaves_takes_nothing_away_that_is_out() {
        let quota = Quota::new(1.0, Limit::new(1)).unwrap();
        let workers: Vec<_> = (0..4).map(|_| quota.register()).collect();
        let permits: Vec<_> = (0..4).map(|_| quota.limit().try_acquire().unwrap()).collect();
        drop(workers);
        assert_eq!((quota.limit().permits(), quota.limit().in_flight()), (1, 4));
        drop(permits);
        assert_eq!(quota.limit().in_flight(), 0);
    }
}
