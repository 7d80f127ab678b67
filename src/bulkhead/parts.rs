//! [`Bulkhead::partition`]: a compartment for several kinds of callers, each with a share of it.
//!
//! **Invariants.** 1. A part is the compartment itself, its limit, breaker, budget and sizes, with another share to draw on and with
//! figures of its own; the whole's figures are the sum. 2. A part has its share of the places as well as of the permits: who may
//! run may come in. **Locking.** None of its own: that of a partitioned limit.

use super::state::Figures;
use super::{Bulkhead, BulkheadState, Inner};
use crate::breaker::Breaker;
use crate::context::Context;
use crate::error::RejectReason;
use crate::permit::{Acquire, Permit, PermitRef};
use crate::sync::Arc;

impl Bulkhead {
    /// The same compartment for the callers of one [partition](super::BulkheadBuilder::partition), if it was built with one of this
    /// name: every form of a call is there, and draws on the partition's share. Breaker, retries and their budget, time-out,
    /// fallbacks and sizes are the compartment's.
    ///
    /// What is idle of a [`Lent`](crate::permit::Share::Lent) share is lent, and its owner waits, or is refused, until a borrower
    /// is done; what is [`Kept`](crate::permit::Share::Kept) its owner always finds. The compartment's own handle belongs to no
    /// partition: its calls have what nobody owns, and what is lent.
    ///
    /// [`state`](Self::state) of a part is that of its own calls, with what it owns as its limit; that of the whole is the sum.
    ///
    /// # Examples
    ///
    /// ```
    /// use watertight::permit::Share;
    /// use watertight::{Bulkhead, Context, Isolation};
    ///
    /// let search = Bulkhead::builder("search", Isolation::Permits(10))
    ///     .partition("live", Share::Lent(0.8))
    ///     .partition("batch", Share::Kept(0.2))
    ///     .no_timeout()
    ///     .build()?;
    /// let (live, batch) = (search.partition("live").unwrap(), search.partition("batch").unwrap());
    /// let cx = Context::current();
    /// let night: Vec<_> = std::iter::from_fn(|| batch.try_admit(&cx).ok()).collect();
    /// assert_eq!(night.len(), 10); // all of it: nobody else is there
    /// drop(night);
    /// let day: Vec<_> = std::iter::from_fn(|| live.try_admit(&cx).ok()).collect();
    /// assert_eq!(day.len(), 8); // two are the batch's, which keeps them
    /// assert!(batch.call_here(&cx, |_cx| Ok::<_, ()>("found")).is_ok());
    /// assert_eq!((live.state().attempts, batch.state().attempts, search.state().attempts), (8, 11, 19));
    /// # Ok::<(), watertight::BuildError>(())
    /// ```
    pub fn partition(&self, name: &str) -> Option<Bulkhead> {
        let part = self.0.limit.part_of(name)?;
        self.0.parts.get(part - 1).cloned().map(Bulkhead)
    }
}

impl Inner {
    /// With one more of itself for each partition (invariant 1).
    pub(super) fn with_parts(mut self, partitions: usize) -> Self {
        self.parts = (1..=partitions).map(|part| Arc::new(self.part(part))).collect();
        self
    }

    fn part(&self, part: usize) -> Self {
        Self {
            name: self.name.clone(),
            inside: self.inside.clone(),
            pool: self.pool.clone(),
            places: self.places.clone(),
            limit: self.limit.clone(),
            fallbacks: self.fallbacks.clone(),
            size: self.size.clone(),
            part,
            parts: Box::default(),
            breaker: self.breaker.clone(),
            retry: self.retry.clone(),
            timeout: self.timeout,
            observed: self.observed.clone(),
            figures: Figures::new(),
        }
    }

    /// One of the part's permits now, if there is one.
    pub(super) fn try_permit(&self) -> Result<Permit, RejectReason> {
        if self.part == 0 { self.limit.try_acquire() } else { self.limit.try_acquire_in(self.part) }
    }

    /// The same for who stays with the compartment.
    #[inline]
    pub(super) fn permit_ref(&self) -> Result<PermitRef<'_>, RejectReason> {
        if self.part == 0 { self.limit.try_acquire_ref() } else { self.limit.try_acquire_ref_in(self.part) }
    }

    /// One of the part's permits, waited for in line.
    pub(super) fn permit(&self, cx: &Context) -> Result<Permit, RejectReason> {
        self.limit.acquire_in(self.part, cx)
    }

    pub(super) fn permit_async(&self, cx: &Context) -> Acquire {
        self.limit.acquire_async_in(self.part, cx)
    }

    pub(super) fn state(&self) -> BulkheadState {
        let (breaker, falling_back) = (self.breaker.as_ref().map(Breaker::state), self.fallbacks.in_flight());
        let (limit, queue, running, queued) = match &self.places {
            Some(places) if self.part > 0 => {
                let [(limit, running), (places, in_flight)] =
                    [&self.limit, places].map(|all| all.owned_and_out(self.part));
                (limit, places.saturating_sub(limit), running, in_flight.saturating_sub(running))
            }
            _ => (self.limit.permits(), self.size.queue(), self.limit.in_flight(), self.queued()),
        };
        let now = BulkheadState { limit, queue, running, queued, breaker, falling_back, ..BulkheadState::default() };
        let own = self.figures.snapshot(now);
        self.parts.iter().fold(own, |sum, part| sum.plus(part.figures.snapshot(BulkheadState::default())))
    }
}
