//! [`Partition`]: a part of a limit with a share of its own.

use super::{Acquire, Limit, Permit};
use crate::context::Context;
use crate::error::RejectReason;
use std::fmt;

/// What a partition owns of its limit, from 0 to 1, kept to a millionth and rounded down to whole permits: write 0.334 and not a
/// third, which of 6 permits owns 1. What the shares
/// leave over belongs to nobody and is for everybody.
///
/// Whatever the share, a partition goes beyond it while there are free permits that no other keeps; and the limit as a
/// whole is never exceeded.
#[derive(Clone, Copy, PartialEq, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Share {
    /// What is idle of it is lent. **When the owner wants it back it waits for a borrower to be done**, before all those who
    /// want more than their own: nothing is revoked. For work whose permits come back soon.
    Lent(f64),
    /// What is idle of it stays idle: the owner, within its share, never waits for others.
    Kept(f64),
}

/// A part of a [`Limit`], from [`Limit::partition`]. A cheap handle; clones are the same part.
///
/// | asks for | is served |
/// |---|---|
/// | no more than it owns | before all that want more than their own; waits for holders only |
/// | more than it owns | from what is free and not kept, in the limit's order |
///
/// The same part's waiters are served in the limit's order, whatever they ask for. A partitioned limit decides under a lock.
///
/// # Examples
///
/// ```
/// use watertight::Limit;
/// use watertight::permit::Share;
///
/// let limit = Limit::builder(20)
///     .partition("live", Share::Lent(0.9))
///     .partition("batch", Share::Kept(0.1))
///     .build()?;
/// let (live, batch) = (limit.partition("live").unwrap(), limit.partition("batch").unwrap());
///
/// let night = batch.try_acquire_many(19).unwrap(); // nobody else is there
/// let morning = live.try_acquire().unwrap();
/// assert!(live.try_acquire().is_err()); // until the batch is done: nothing is revoked
/// drop(night);
/// let day = live.try_acquire_many(17).unwrap();
/// assert!(live.try_acquire().is_err()); // two are the batch's, which keeps them
/// assert!(batch.try_acquire_many(2).is_ok());
/// # drop((morning, day));
/// # Ok::<(), watertight::BuildError>(())
/// ```
#[derive(Clone)]
pub struct Partition {
    limit: Limit,
    part: usize,
}

impl Limit {
    /// The partition of this name, if the limit was built with one.
    pub fn partition(&self, name: &str) -> Option<Partition> {
        self.part_of(name).map(|part| Partition { limit: self.clone(), part })
    }
}

/// For who keeps the number of a part: from 1, and 0 is everybody's.
impl Limit {
    pub(crate) fn part_of(&self, name: &str) -> Option<usize> {
        self.0.names.iter().position(|n| n == name).map(|at| at + 1)
    }

    pub(crate) fn try_acquire_in(&self, part: usize) -> Result<Permit, RejectReason> {
        self.try_acquire_of(part, 1)
    }

    pub(crate) fn acquire_in(&self, part: usize, cx: &Context) -> Result<Permit, RejectReason> {
        self.acquire_of(part, 1, cx)
    }

    pub(crate) fn acquire_async_in(&self, part: usize, cx: &Context) -> Acquire {
        Acquire::new(self, part, 1, cx)
    }

    /// What the part owns, and how many of its permits are out.
    pub(crate) fn owned_and_out(&self, part: usize) -> (usize, usize) {
        self.0.with_turns(|turns| (turns.owned_by(part) as usize, turns.out_of(part) as usize))
    }
}

impl Partition {
    /// [`Limit::try_acquire`] within this part.
    ///
    /// # Errors
    ///
    /// [`Full`](RejectReason::Full), of the limit as a whole.
    pub fn try_acquire(&self) -> Result<Permit, RejectReason> {
        self.try_acquire_many(1)
    }

    /// [`Limit::try_acquire_many`] within this part.
    ///
    /// # Errors
    ///
    /// [`Full`](RejectReason::Full); [`TooLarge`](RejectReason::TooLarge) for more than others leave over.
    pub fn try_acquire_many(&self, n: usize) -> Result<Permit, RejectReason> {
        self.limit.try_acquire_of(self.part, n)
    }

    /// [`Limit::acquire`] within this part.
    ///
    /// # Blocking
    ///
    /// As there.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn acquire(&self, cx: &Context) -> Result<Permit, RejectReason> {
        self.acquire_many(1, cx)
    }

    /// [`Limit::acquire_many`] within this part.
    ///
    /// # Blocking
    ///
    /// As there.
    ///
    /// # Errors
    ///
    /// As there; [`TooLarge`](RejectReason::TooLarge) for more than others leave over.
    pub fn acquire_many(&self, n: usize, cx: &Context) -> Result<Permit, RejectReason> {
        self.limit.acquire_of(self.part, n, cx)
    }

    /// [`Limit::acquire_async`] within this part.
    ///
    /// # Cancellation
    ///
    /// As there.
    pub fn acquire_async(&self, cx: &Context) -> Acquire {
        self.acquire_many_async(1, cx)
    }

    /// [`Limit::acquire_many_async`] within this part.
    ///
    /// # Cancellation
    ///
    /// As there.
    pub fn acquire_many_async(&self, n: usize, cx: &Context) -> Acquire {
        Acquire::new(&self.limit, self.part, n as u64, cx)
    }

    /// How many permits it owns: its share of the limit, rounded down.
    pub fn owned(&self) -> usize {
        self.limit.0.with_turns(|turns| turns.owned_by(self.part) as usize)
    }

    /// How many of its permits are out: more than it owns, if it borrows.
    pub fn in_flight(&self) -> usize {
        self.limit.0.with_turns(|turns| turns.out_of(self.part) as usize)
    }

    /// How many wait in it.
    pub fn waiting(&self) -> usize {
        self.limit.0.with_turns(|turns| turns.waiting_in(self.part))
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.limit.0.names[self.part - 1]
    }
}

impl fmt::Debug for Partition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Partition")
            .field("name", &self.name())
            .field("owned", &self.owned())
            .field("in_flight", &self.in_flight())
            .field("waiting", &self.waiting())
            .finish()
    }
}
