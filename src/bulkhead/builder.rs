//! [`BulkheadBuilder`]: what a compartment is made of, checked in one place.

use super::resize::Size;
use super::state::Figures;
use super::{Bulkhead, Inner, Isolation};
use crate::breaker::{Breaker, BreakerBuilder, Recovery, Trip};
use crate::clock::Clock;
use crate::context::Inside;
use crate::error::BuildError;
use crate::event::{Observed, Observer};
use crate::permit::Limit;
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
/// | [`resizable`](Self::resizable) | threads: to no more than it is built with | as those two |
/// | [`breaker`](Self::breaker) | none | see [`Trip`] and [`Recovery`] |
/// | [`retry`](Self::retry) | none | see [`Retry`] |
/// | [`timeout`](Self::timeout) | must be given, or [`no_timeout`](Self::no_timeout) | above 0, at most one day |
/// | [`fallbacks`](Self::fallbacks) | 10 at once | 1 to 2,147,483,647 |
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
    most: Option<(usize, usize)>,
    breaker: Option<(Trip, Recovery)>,
    retry: Option<Retry>,
    timeout: Timeout,
    fallbacks: usize,
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
            most: None,
            breaker: None,
            retry: None,
            timeout: Timeout::Unsaid,
            fallbacks: 10,
            clock: Clock::system(),
            observed: Observed::default(),
        }
    }

    /// How many calls may wait while all threads or permits are taken.
    pub fn queue(mut self, calls: usize) -> Self {
        self.queue = calls;
        self
    }

    /// How far a compartment of threads may be [resized](Bulkhead::resize): so many threads, and so many calls that wait. The
    /// memory of the longer queue is taken when it is built. One of permits needs no such word.
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
            Isolation::Permits(permits) => Limit::builder(permits).build().map(drop),
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
        let (pool, limit) = match self.isolation {
            // Who waits is counted by the pool.
            Isolation::Threads(threads) => (Some(self.pool_builder(threads).build()?), Limit::builder(threads)),
            Isolation::Permits(permits) => (None, Limit::builder(permits).queue(self.queue)),
        };
        let limit = limit.build()?;
        Ok(Bulkhead(Arc::new(Inner {
            name: self.name,
            inside: Shared::new(Inside { compartment: unique(), outer: None }),
            pool,
            limit,
            fallbacks: Limit::builder(self.fallbacks).build()?,
            size: Size::new(self.queue),
            breaker,
            retry: self.retry,
            timeout,
            observed: self.observed,
            figures: Figures::new(),
        })))
    }
}
