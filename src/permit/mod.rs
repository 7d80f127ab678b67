//! [`Limit`] and [`Permit`]: how many at once, and one of them. First come, first served; resizable while in use.
//!
//! **States** of one acquisition: fresh → waiting → granted → taken, or given up from any of the first three.
//! **Invariants.** 1. `in_use` counts permits taken plus permits granted and not yet taken; it never exceeds the largest
//! limit since it was last within the limit. 2. Somebody waits only while `in_use >= limit`, so nobody can overtake.
//! 3. A waiter that was granted a permit and gives up passes it on. **Locking.** One lock; wakers are cloned before it is taken, and run and dropped after it is let go.

#[cfg(all(test, watertight_loom, not(watertight_shuttle)))]
mod loom_tests;
#[cfg(all(test, not(watertight_loom)))]
mod tests;
mod wait;

pub use wait::Acquire;
use wait::PermitWait;

use crate::context::Context;
use crate::error::{BuildError, RejectReason};
use crate::sync::{Arc, Mutex, Waiter, broken};
use crate::wait::line::{Line, Place};
use crate::wait::{Waiting, block_on};
use std::collections::BTreeSet;
use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};

/// The most permits and the most waiters a limit can have.
const MAX: usize = u32::MAX as usize;

/// How many may do a thing at once.
///
/// A counting limit, shared by its clones. [`try_acquire`](Self::try_acquire) never waits,
/// [`acquire`](Self::acquire) blocks until the context ends, [`acquire_async`](Self::acquire_async) is a future. Waiters
/// are served in the order in which they came.
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
#[derive(Clone)]
pub struct Limit(Arc<Inner>);

struct Inner {
    state: Mutex<State>,
    max_waiting: usize,
}

struct State {
    limit: usize,
    in_use: usize,
    waiting: Line<Waiter>,
    /// Served, but not yet come back to take it.
    granted: BTreeSet<Place>,
}

/// Builds a [`Limit`] with a bound on its waiters.
///
/// | setting | default | range |
/// |---|---|---|
/// | permits | given to [`Limit::builder`] | 1 to 4,294,967,295 |
/// | [`queue`](Self::queue) | 4,294,967,295 | 0 to 4,294,967,295 |
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until build()"]
pub struct LimitBuilder {
    permits: usize,
    queue: usize,
}

impl LimitBuilder {
    /// How many may wait; 0 refuses at once whoever cannot be served.
    pub fn queue(mut self, waiting: usize) -> Self {
        self.queue = waiting;
        self
    }

    /// Makes the limit.
    ///
    /// # Errors
    ///
    /// [`BuildError::OutOfRange`] for a limit of 0 or a number beyond the range.
    pub fn build(self) -> Result<Limit, BuildError> {
        check(self.permits)?;
        if self.queue > MAX {
            return Err(BuildError::out_of_range("queue", self.queue, "at most 4294967295"));
        }
        let state = State { limit: self.permits, in_use: 0, waiting: Line::new(), granted: BTreeSet::new() };
        Ok(Limit(Arc::new(Inner { state: Mutex::new(state), max_waiting: self.queue })))
    }
}

fn check(permits: usize) -> Result<(), BuildError> {
    if (1..=MAX).contains(&permits) {
        return Ok(());
    }
    Err(BuildError::out_of_range("permits", permits, "1 to 4294967295: a limit of 0 would refuse everything"))
}

impl Limit {
    /// A limit of so many, with any number of waiters.
    ///
    /// # Panics
    ///
    /// For 0, or more than 4,294,967,295. Numbers that come from a configuration go through [`Limit::builder`], which
    /// returns an error instead.
    pub fn new(permits: usize) -> Self {
        match Self::builder(permits).build() {
            Ok(limit) => limit,
            Err(e) => panic!("{e}"),
        }
    }

    /// A limit of so many, to be configured.
    pub fn builder(permits: usize) -> LimitBuilder {
        LimitBuilder { permits, queue: MAX }
    }

    /// A permit now, or not at all.
    ///
    /// # Errors
    ///
    /// [`Full`](RejectReason::Full) with the limit and how many wait.
    pub fn try_acquire(&self) -> Result<Permit, RejectReason> {
        let mut state = self.0.state.lock();
        if state.in_use >= state.limit {
            return Err(state.full());
        }
        state.in_use += 1;
        drop(state);
        Ok(Permit { limit: Some(self.clone()) })
    }

    /// A permit, as soon as it is this caller's turn.
    ///
    /// # Blocking
    ///
    /// Blocks this thread until a permit is granted or `cx` ends.
    ///
    /// # Errors
    ///
    /// [`Full`](RejectReason::Full) if too many wait already; [`DeadlinePassed`](RejectReason::DeadlinePassed) or
    /// [`Cancelled`](RejectReason::Cancelled) as `cx` ended.
    ///
    /// # Fairness
    ///
    /// First come, first served; nobody overtakes those who wait.
    pub fn acquire(&self, cx: &Context) -> Result<Permit, RejectReason> {
        cx.check()?;
        match self.try_acquire() {
            Err(RejectReason::Full { .. }) => block_on(self.turn(), cx)?,
            decided => decided,
        }
    }

    /// [`acquire`](Self::acquire) as a future. Nothing is asked for until its first poll.
    ///
    /// # Cancellation
    ///
    /// Dropping it leaves the line; a permit granted meanwhile goes to the next.
    pub fn acquire_async(&self, cx: &Context) -> Acquire {
        Acquire { waiting: Waiting::new(self.turn(), cx), cx: cx.clone(), begun: false }
    }

    /// The wait for a permit.
    fn turn(&self) -> PermitWait {
        PermitWait { limit: self.clone(), place: None }
    }

    /// Changes how many there may be. Growing serves those who wait; shrinking takes nothing away, it just grants no
    /// more until enough are back.
    ///
    /// # Errors
    ///
    /// [`BuildError::OutOfRange`] for 0 or a number beyond the range; nothing is changed then.
    pub fn resize(&self, permits: usize) -> Result<(), BuildError> {
        check(permits)?;
        let mut state = self.0.state.lock();
        state.limit = permits;
        let mut served = Vec::new();
        while state.in_use < state.limit {
            let Some((place, waiter)) = state.waiting.serve() else { break };
            state.in_use += 1;
            state.granted.insert(place);
            served.push(waiter);
        }
        drop(state);
        served.into_iter().for_each(Waiter::wake);
        Ok(())
    }

    /// The limit.
    pub fn permits(&self) -> usize {
        self.0.state.lock().limit
    }

    /// How many permits are out.
    pub fn in_flight(&self) -> usize {
        self.0.state.lock().in_use
    }

    /// How many wait for one.
    pub fn waiting(&self) -> usize {
        self.0.state.lock().waiting.len()
    }

    /// Takes one permit back and serves the next in line.
    fn release(&self) {
        let mut state = self.0.state.lock();
        let next = state.take_back();
        drop(state);
        if let Some(waiter) = next {
            waiter.wake();
        }
    }
}

impl State {
    fn full(&self) -> RejectReason {
        RejectReason::Full { limit: self.limit, waiting: self.waiting.len() }
    }

    /// Hands one permit to the next in line, or counts it as back.
    fn take_back(&mut self) -> Option<Waiter> {
        let shrinking = self.in_use > self.limit && !broken("permit: a shrunk limit is forgotten");
        if !shrinking {
            if let Some((place, waiter)) = self.waiting.serve() {
                self.granted.insert(place);
                if broken("permit: what is handed over is also counted as back") {
                    self.in_use -= 1;
                }
                return Some(waiter);
            }
        }
        self.in_use -= 1;
        None
    }
}

// No user code runs under a lock of ours, so a panic leaves nothing half done.
impl UnwindSafe for Limit {}
impl RefUnwindSafe for Limit {}

impl fmt::Debug for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.0.state.lock();
        f.debug_struct("Limit")
            .field("permits", &state.limit)
            .field("in_flight", &state.in_use)
            .field("waiting", &state.waiting.len())
            .finish()
    }
}

/// One of a [`Limit`]'s permits. Dropping it gives it back; it goes wherever the work goes.
#[must_use = "a permit that is dropped at once limits nothing"]
pub struct Permit {
    limit: Option<Limit>,
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(limit) = self.limit.take() {
            limit.release();
        }
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Permit")
    }
}
