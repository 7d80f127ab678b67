//! [`Limit`] and [`Permit`]: how many at once, and one of them. Resizable while in use; weighted; partitioned.
//!
//! Nobody who finds room takes a lock: one word says how many permits there are and how many are out (`word.rs`). Only while
//! somebody waits, or in a limit with partitions, does whoever gives back or asks go to the lock, behind which it is decided
//! whose turn it is (`turns.rs`, pure). States, invariants and locking are in `inner.rs`, which holds both.

mod builder;
mod here;
mod inner;
#[cfg(all(test, watertight_loom, not(watertight_shuttle)))]
mod loom_tests;
#[cfg(all(test, not(watertight_loom)))]
mod model_tests;
mod partition;
mod quota;
#[cfg(all(test, not(watertight_loom)))]
mod tests;
mod turns;
mod wait;
mod word;

pub use builder::LimitBuilder;
pub use here::PermitRef;
pub use partition::{Partition, Share};
pub use quota::{Quota, Registered};
pub use wait::Acquire;

use crate::context::Context;
use crate::error::{BuildError, RejectReason};
use crate::sync::{Arc, Waiter};
use crate::wait::block_on;
use inner::Inner;
use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use wait::{Patience, PermitWait, ended};
use word::Seen;

/// How many may do a thing at once.
///
/// A counting limit, shared by its clones. [`try_acquire`](Self::try_acquire) never waits,
/// [`acquire`](Self::acquire) blocks until the context ends, [`acquire_async`](Self::acquire_async) is a future; each has a
/// form for several permits at once, for work of different weight. Whoever waits is served in the order in which it came,
/// unless the [builder](Self::builder) says otherwise. A limit may have [partitions](Partition).
///
/// No more than the limit is ever out, also while it is [lowered](Self::resize): what was out then comes back in its own
/// time, and meanwhile nothing is granted.
///
/// # Performance
///
/// While nobody waits, two locked instructions on one word for acquiring and giving back, and two on a count of clones, which
/// [`try_acquire_ref`](Self::try_acquire_ref) does without. A refusal writes nothing. Nothing allocates but waiting.
///
/// # Examples
///
/// ```
/// use watertight::{Context, Limit};
///
/// let limit = Limit::new(2);
/// let first = limit.try_acquire()?;
/// let second = limit.acquire(&Context::current())?;
/// assert!(limit.try_acquire().is_err());
/// drop(first); // gives it back
/// assert_eq!(limit.in_flight(), 1);
/// # Ok::<(), watertight::RejectReason>(())
/// ```
///
/// Work of different weight: 64 MiB for all, each takes what it needs.
///
/// ```
/// use watertight::{Limit, RejectReason};
///
/// let mebibytes = Limit::new(64);
/// let image = mebibytes.try_acquire_many(48)?;
/// assert_eq!(mebibytes.try_acquire_many(17).unwrap_err(), RejectReason::Full { limit: 64, waiting: 0 });
/// assert_eq!(mebibytes.try_acquire_many(65).unwrap_err(), RejectReason::TooLarge { asked: 65, limit: 64 });
/// drop(image);
/// # Ok::<(), RejectReason>(())
/// ```
#[derive(Clone)]
pub struct Limit(Arc<Inner>);

/// Who of those who wait for permits is served next.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Order {
    /// Who came first; nobody is overtaken, and who needs many permits is not passed over for those who need few.
    #[default]
    Fifo,
    /// Who came last. For callers that soon stop waiting: under overload the oldest is the one that nobody waits for any
    /// more. Who came first may starve.
    Lifo,
}

/// What becomes of who asks for more permits than there are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Oversize {
    /// It is refused at once, with [`TooLarge`](RejectReason::TooLarge); and so is who waits when the limit is made smaller
    /// than what it waits for.
    #[default]
    Refuse,
    /// It is let in when no permit is out, and nobody else while it is there. [`in_flight`](Limit::in_flight) is then more
    /// than the limit.
    Alone,
}

fn check(permits: usize) -> Result<u64, BuildError> {
    if (1..=Limit::MAX).contains(&permits) {
        return Ok(permits as u64);
    }
    Err(BuildError::out_of_range("permits", permits, "1 to 2147483647: a limit of 0 would refuse everything"))
}

impl Limit {
    /// The most permits a limit can have: 2,147,483,647.
    pub const MAX: usize = word::MAX as usize;

    /// A limit of so many, with any number of waiters.
    ///
    /// # Panics
    ///
    /// For 0, or more than [`MAX`](Self::MAX). Numbers that come from a configuration go through [`Limit::builder`], which
    /// returns an error instead.
    pub fn new(permits: usize) -> Self {
        match Self::builder(permits).build() {
            Ok(limit) => limit,
            Err(e) => panic!("{e}"),
        }
    }

    /// A limit of so many, to be configured.
    pub fn builder(permits: usize) -> LimitBuilder {
        LimitBuilder::new(permits)
    }

    /// A permit now, or not at all. It does not overtake those who wait.
    ///
    /// # Errors
    ///
    /// [`Full`](RejectReason::Full) with the limit and how many wait.
    #[inline]
    pub fn try_acquire(&self) -> Result<Permit, RejectReason> {
        match self.0.try_fast(1) {
            Ok(()) => Ok(Permit::new(self.clone(), 0, 1)),
            Err(seen) if self.0.is_full(1, seen) => Err(self.0.no_room(0, seen)),
            Err(seen) => self.try_acquire_slowly(seen),
        }
    }

    /// So many permits at once, now or not at all. Of none there is always enough.
    ///
    /// # Errors
    ///
    /// [`Full`](RejectReason::Full); [`TooLarge`](RejectReason::TooLarge) for more than the limit, unless
    /// [`Oversize::Alone`] was chosen.
    pub fn try_acquire_many(&self, n: usize) -> Result<Permit, RejectReason> {
        self.try_acquire_of(0, n)
    }

    #[cold]
    fn try_acquire_slowly(&self, seen: Seen) -> Result<Permit, RejectReason> {
        self.0.try_take_slowly(0, 1, seen)?;
        Ok(Permit::new(self.clone(), 0, 1))
    }

    fn try_acquire_of(&self, part: usize, n: usize) -> Result<Permit, RejectReason> {
        self.0.try_take(part, n as u64)?;
        Ok(Permit::new(self.clone(), part, n as u64))
    }

    /// A permit, as soon as it is this caller's turn.
    ///
    /// # Blocking
    ///
    /// Blocks this thread until a permit is granted or `cx` ends, and no longer than the limit's
    /// [`max_wait`](LimitBuilder::max_wait).
    ///
    /// # Errors
    ///
    /// [`Full`](RejectReason::Full) if too many wait already, or after `max_wait`;
    /// [`DeadlinePassed`](RejectReason::DeadlinePassed) or [`Cancelled`](RejectReason::Cancelled) as `cx` ended.
    ///
    /// # Fairness
    ///
    /// First come, first served, unless the [order](LimitBuilder::order) is another; nobody overtakes those who wait.
    pub fn acquire(&self, cx: &Context) -> Result<Permit, RejectReason> {
        self.acquire_of(0, 1, cx)
    }

    /// So many permits at once, as soon as it is this caller's turn. It takes them together or not at all, and until then
    /// holds none, so that two who need many do not wait for each other.
    ///
    /// # Blocking
    ///
    /// As [`acquire`](Self::acquire).
    ///
    /// # Errors
    ///
    /// As [`acquire`](Self::acquire); [`TooLarge`](RejectReason::TooLarge) for more than the limit, unless
    /// [`Oversize::Alone`] was chosen, also if it is made so small during the wait.
    ///
    /// # Fairness
    ///
    /// In [`Order::Fifo`] whoever needs many does not starve: who comes later waits behind it, though there may be enough for
    /// that one.
    pub fn acquire_many(&self, n: usize, cx: &Context) -> Result<Permit, RejectReason> {
        self.acquire_of(0, n, cx)
    }

    #[inline]
    fn acquire_of(&self, part: usize, n: usize, cx: &Context) -> Result<Permit, RejectReason> {
        cx.check()?;
        if self.0.try_fast(n as u64).is_err() {
            self.wait(part, n as u64, cx)?;
        }
        Ok(Permit::new(self.clone(), part, n as u64))
    }

    #[inline(never)]
    fn wait(&self, part: usize, n: u64, cx: &Context) -> Result<(), RejectReason> {
        match block_on(self.turn(part, n), &Patience::of(self, cx)) {
            Ok(decided) => decided,
            Err(why) => Err(ended(self, cx, why)),
        }
    }

    /// [`acquire`](Self::acquire) as a future. Nothing is asked for until its first poll.
    ///
    /// # Cancellation
    ///
    /// Dropping it leaves the line; a permit granted meanwhile goes to the next.
    pub fn acquire_async(&self, cx: &Context) -> Acquire {
        Acquire::new(self, 0, 1, cx)
    }

    /// [`acquire_many`](Self::acquire_many) as a future. Nothing is asked for until its first poll.
    ///
    /// # Cancellation
    ///
    /// Dropping it leaves the line; what was granted meanwhile goes to the next.
    pub fn acquire_many_async(&self, n: usize, cx: &Context) -> Acquire {
        Acquire::new(self, 0, n as u64, cx)
    }

    /// The wait for so many permits.
    fn turn(&self, part: usize, n: u64) -> PermitWait {
        PermitWait { limit: self.clone(), part, n, place: None }
    }

    /// Changes how many there may be. Growing serves those who wait; shrinking takes nothing away, it just grants no
    /// more until enough are back. What partitions own changes with it.
    ///
    /// # Errors
    ///
    /// [`BuildError::OutOfRange`] for 0 or a number beyond the range; nothing is changed then.
    pub fn resize(&self, permits: usize) -> Result<(), BuildError> {
        self.resized(permits).map(Waiter::wake_all)
    }

    /// The same for who holds a lock: whom to wake after it.
    pub(crate) fn resized(&self, permits: usize) -> Result<Vec<Waiter>, BuildError> {
        Ok(self.0.resize(check(permits)?))
    }

    /// How many may wait from now on; those who do stay.
    pub(crate) fn set_queue(&self, waiting: usize) {
        self.0.set_max_waiting(waiting);
    }

    /// [`waiting`](Self::waiting) as of a moment ago: without the lock.
    #[inline]
    pub(crate) fn in_line(&self) -> usize {
        self.0.in_line()
    }

    /// The limit.
    pub fn permits(&self) -> usize {
        self.0.seen().limit() as usize
    }

    /// How many permits are out. More than the limit only after it was lowered, or if one [runs alone](Oversize::Alone).
    pub fn in_flight(&self) -> usize {
        self.0.seen().out() as usize
    }

    /// How many wait for permits.
    pub fn waiting(&self) -> usize {
        self.0.with_turns(|turns| turns.waiting())
    }
}

// No user code runs under a lock of ours, so a panic leaves nothing half done.
impl UnwindSafe for Limit {}
impl RefUnwindSafe for Limit {}

impl fmt::Debug for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seen = self.0.seen();
        f.debug_struct("Limit")
            .field("permits", &seen.limit())
            .field("in_flight", &seen.out())
            .field("waiting", &self.waiting())
            .finish()
    }
}

/// One of a [`Limit`]'s permits, or several that were acquired together. Dropping it gives them back; it goes wherever the
/// work goes.
#[must_use = "a permit that is dropped at once limits nothing"]
pub struct Permit {
    limit: Limit,
    part: u32,
    weight: u32,
}

impl Permit {
    #[inline]
    fn new(limit: Limit, part: usize, n: u64) -> Self {
        Self { limit, part: part as u32, weight: n as u32 }
    }

    /// How many permits it is.
    pub fn weight(&self) -> usize {
        self.weight as usize
    }
}

impl Drop for Permit {
    #[inline]
    fn drop(&mut self) {
        if self.weight > 0 {
            self.limit.0.give_back(self.part as usize, u64::from(self.weight));
        }
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit").field("weight", &self.weight).finish_non_exhaustive()
    }
}
