//! [`BulkheadBuilder`]: what a compartment is made of, checked in one place.

use super::resize::Size;
use super::state::Figures;
use super::{Bulkhead, Inner, Isolation};
use crate::breaker::{Breaker, BreakerBuilder, Recovery, Trip};
use crate::clock::Clock;
use crate::context::Inside;
use crate::error::BuildError;
use crate::event::{Observed, Observer};
use crate::permit::{Limit, LimitBuilder, Share};
use crate::pool::{Pool, PoolBuilder};
use crate::retry::Retry;
use crate::sync::{Arc, Shared, unique};
use std::borrow::Cow;
use std::time::Duration;

const MAX_TIMEOUT: Duration = Duration::from_secs(24 * 60 * 60);
pub(super) const MAX_QUEUE: usize = 1 << 20;

/// Configures a [`Bulkhead`]. Nothing fails before [`build`](Self::build).
///
/// | setting | default | range |
/// |---|---|---|
/// | isolation | given to [`Bulkhead::builder`] | threads: 1 to 16,384; permits: 1 to 2,147,483,647 |
/// | [`queue`](Self::queue) | 0: fail at once | 0 to 1,048,576 |
/// | [`max_wait`](Self::max_wait) | none: until the call's time is up | above 0, at most one day; not with threads |
/// | [`resizable`](Self::resizable) | threads: to no more than it is built with; permits: any size | as those two; not with permits |
/// | [`breaker`](Self::breaker) | none | see [`Trip`] and [`Recovery`] |
/// | [`retry`](Self::retry) | none | see [`Retry`] |
/// | [`timeout`](Self::timeout) | must be given, or [`no_timeout`](Self::no_timeout) | above 0, at most one day |
/// | [`fallbacks`](Self::fallbacks) | 10 at once | 1 to 2,147,483,647 |
/// | [`partition`](Self::partition) | none | at most 64, together at most the whole; not with threads |
/// | [`clock`](Self::clock) | the system's | |
/// | [`observer`](Self::observer) | none | |
///
/// # Examples
///
/// ```
/// use watertight::{Bulkhead, Isolation};
///
/// // A call to another system always ends: without a time-out there is no bulkhead.
/// let e = Bulkhead::builder("payments", Isolation::Threads(20)).build().unwrap_err();
/// assert_eq!(e.to_string(), "a bulkhead needs timeout(..), or no_timeout() on purpose");
/// ```
#[derive(Debug)]
#[must_use = "a builder does nothing until build()"]
pub struct BulkheadBuilder {
    name: Cow<'static, str>,
    isolation: Isolation,
    queue: usize,
    max_wait: Option<Duration>,
    most: Option<(usize, usize)>,
    breaker: Option<(Trip, Recovery)>,
    retry: Option<Retry>,
    timeout: Timeout,
    fallbacks: usize,
    partitions: Vec<(Cow<'static, str>, Share)>,
    clock: Clock,
    observed: Observed,
}

#[derive(Clone, Copy, Debug)]
enum Timeout {
    Unsaid,
    Never,
    After(Duration),
}

impl BulkheadBuilder {
    pub(super) fn new(name: Cow<'static, str>, isolation: Isolation) -> Self {
        Self {
            name,
            isolation,
            queue: 0,
            max_wait: None,
            most: None,
            breaker: None,
            retry: None,
            timeout: Timeout::Unsaid,
            fallbacks: 10,
            partitions: Vec::new(),
            clock: Clock::system(),
            observed: Observed::default(),
        }
    }

    /// How many calls may wait while all threads or permits are taken.
    pub fn queue(mut self, calls: usize) -> Self {
        self.queue = calls;
        self
    }

    /// How long a call waits for a permit at most; then it is refused as [`Full`](crate::RejectReason::Full), with the rest of its
    /// time left for something else. For compartments of permits; one of threads bounds the wait by the length of its queue, and by the
    /// time of the call.
    pub fn max_wait(mut self, d: Duration) -> Self {
        self.max_wait = Some(d);
        self
    }

    /// How far a compartment of threads may be [resized](Bulkhead::resize): so many threads, and so many calls that wait. The
    /// memory of the longer queue is taken when it is built. One of permits takes any size and no such word.
    pub fn resizable(mut self, threads: usize, queue: usize) -> Self {
        self.most = Some((threads, queue));
        self
    }

    /// Stops calling when `trip` says so, and comes back as `recovery` says.
    pub fn breaker(mut self, trip: Trip, recovery: Recovery) -> Self {
        self.breaker = Some((trip, recovery));
        self
    }

    /// How calls that are declared [idempotent](Bulkhead::idempotent) are tried again.
    pub fn retry(mut self, retry: Retry) -> Self {
        self.retry = Some(retry);
        self
    }

    /// How long a call may take in all: waiting, attempts and pauses. A context with less time left has its way.
    pub fn timeout(mut self, d: Duration) -> Self {
        self.timeout = Timeout::After(d);
        self
    }

    /// No time-out but the caller's own context. Calls may then never end.
    pub fn no_timeout(mut self) -> Self {
        self.timeout = Timeout::Never;
        self
    }

    /// How many [fallbacks](Bulkhead::fallback) may run at once, outside the compartment.
    pub fn fallbacks(mut self, at_once: usize) -> Self {
        self.fallbacks = at_once;
        self
    }

    /// A part of the compartment with a share of its own, to be had from [`Bulkhead::partition`]: for two kinds of callers of one
    /// dependency. For compartments of permits.
    pub fn partition(mut self, name: impl Into<Cow<'static, str>>, share: Share) -> Self {
        self.partitions.push((name.into(), share));
        self
    }

    /// Where the breaker reads the time. Waits go by the clock of the context.
    pub fn clock(mut self, clock: &Clock) -> Self {
        self.clock = clock.clone();
        self
    }

    /// Who is told of refusals, retries, panics and changes of the breaker's state.
    pub fn observer(mut self, observer: impl Observer + 'static) -> Self {
        self.observed = Observed::by(observer);
        self
    }

    fn validate(&self) -> Result<Option<Duration>, BuildError> {
        BuildError::check_name(&self.name)?;
        if self.queue > MAX_QUEUE {
            return Err(BuildError::out_of_range("queue", self.queue, "0 to 1048576"));
        }
        if self.fallbacks == 0 || self.fallbacks > Limit::MAX {
            return Err(BuildError::out_of_range("fallbacks", self.fallbacks, "1 to 2147483647"));
        }
        if self.most.is_some() && matches!(self.isolation, Isolation::Permits(_)) {
            return Err(BuildError::Conflict("resizable is for threads: a compartment of permits takes any size"));
        }
        if self.max_wait.is_some() && matches!(self.isolation, Isolation::Threads(_)) {
            return Err(BuildError::Conflict(
                "max_wait is for permits: in a queue of threads the call's timeout bounds the wait",
            ));
        }
        if !self.partitions.is_empty() && matches!(self.isolation, Isolation::Threads(_)) {
            return Err(BuildError::Conflict("partition is for permits: put a Limit with partitions before threads"));
        }
        self.retry.as_ref().map_or(Ok(()), Retry::validate)?;
        match self.timeout {
            Timeout::Unsaid => Err(BuildError::Conflict("a bulkhead needs timeout(..), or no_timeout() on purpose")),
            Timeout::Never => Ok(None),
            Timeout::After(d) if d.is_zero() || d > MAX_TIMEOUT => {
                Err(BuildError::out_of_range("timeout", format!("{d:?}"), "above 0 and at most one day"))
            }
            Timeout::After(d) => Ok(Some(d)),
        }
    }

    fn breaker_builder(&self) -> Option<BreakerBuilder> {
        let (trip, recovery) = self.breaker.clone()?;
        let builder = Breaker::builder(self.name.clone()).trip(trip).recovery(recovery).clock(&self.clock);
        Some(builder.observed(self.observed.clone()))
    }

    /// Of permits or of places: with the same shares.
    fn limit(&self, permits: usize) -> LimitBuilder {
        let limit = Limit::builder(permits);
        let limit = self.max_wait.map_or(limit.clone(), |d| limit.max_wait(d));
        self.partitions.iter().cloned().fold(limit, |limit, (name, share)| limit.partition(name, share))
    }

    fn pool_builder(&self, threads: usize) -> PoolBuilder {
        let pool = Pool::builder(self.name.clone()).threads(threads).queue(self.queue).observed(self.observed.clone());
        match self.most {
            Some((most, longest)) => pool.resizable(most, longest),
            None => pool,
        }
    }

    /// Whether it makes sense, with nothing built and no thread started: for who reads settings and wants to know at once.
    ///
    /// # Errors
    ///
    /// As [`build`](Self::build), but for what only the system can refuse.
    ///
    /// # Examples
    ///
    /// ```
    /// use watertight::{Bulkhead, Isolation};
    ///
    /// let absurd = Bulkhead::builder("payments", Isolation::Threads(20_000)).no_timeout();
    /// assert_eq!(absurd.check().unwrap_err().to_string(), "threads is 20000, must be 1 to 16384");
    /// ```
    pub fn check(&self) -> Result<(), BuildError> {
        self.validate()?;
        self.breaker_builder().map_or(Ok(()), |builder| builder.check())?;
        match self.isolation {
            Isolation::Threads(threads) => self.pool_builder(threads).check(),
            Isolation::Permits(permits) => self.limit(permits).build().map(drop),
        }
    }

    /// Builds it, starting its threads if it has any.
    ///
    /// # Errors
    ///
    /// [`BuildError`] naming the field and what it takes; [`BuildError::Spawn`] if the system refuses a thread.
    pub fn build(self) -> Result<Bulkhead, BuildError> {
        let timeout = self.validate()?;
        let breaker = self.breaker_builder().map(BreakerBuilder::build).transpose()?;
        let (pool, at_once) = match self.isolation {
            Isolation::Threads(threads) => (Some(self.pool_builder(threads).build()?), threads),
            Isolation::Permits(permits) => (None, permits),
        };
        // Who waits is counted by the pool, or by the places, or by the line itself. The limit first: it is what `check` makes.
        let (limit, parts) = (self.limit(at_once), !self.partitions.is_empty());
        let limit = if pool.is_none() && !parts { limit.queue(self.queue) } else { limit };
        let limit = limit.build()?;
        let places = match parts {
            true => Some(self.limit(at_once.saturating_add(self.queue).min(Limit::MAX)).build()?),
            false => None,
        };
        let whole = Inner {
            name: self.name,
            inside: Shared::new(Inside { compartment: unique(), outer: None }),
            pool,
            limit,
            places,
            fallbacks: Limit::builder(self.fallbacks).build()?,
            size: Arc::new(Size::new(self.queue)),
            part: 0,
            parts: Box::default(),
            breaker,
            retry: self.retry,
            timeout,
            observed: self.observed,
            figures: Figures::new(),
        };
        Ok(Bulkhead(Arc::new(whole.with_parts(self.partitions.len()))))
    }
}
