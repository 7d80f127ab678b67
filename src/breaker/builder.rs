//! [`BreakerBuilder`]: what a breaker is made of. All checks are in [`BreakerBuilder::check`], at `build`.

use super::holder::Inner;
use super::{Breaker, Recovery, Trip};
use crate::clock::Clock;
use crate::error::BuildError;
use crate::event::{Observed, Observer};
use crate::sync::Arc;
use std::borrow::Cow;

/// Builds a [`Breaker`]. From [`Breaker::builder`].
///
/// | | Default |
/// |---|---|
/// | [`trip`](Self::trip) | `Trip::rate(0.5)`: half of the last 100 calls, at least 20 of them |
/// | [`recovery`](Self::recovery) | `Recovery::after(5 s)`: doubled each time in a row up to a minute, one probe |
/// | [`clock`](Self::clock) | [`Clock::system`] |
/// | [`observer`](Self::observer) | none |
///
/// ```
/// use std::time::Duration;
/// use watertight::{Breaker, Recovery, Trip};
///
/// // The table above, held to its word.
/// assert_eq!(Trip::default(), Trip::rate(0.5));
/// assert_eq!(Trip::default(), Trip::rate(0.5).last(100));
/// assert_eq!(Recovery::default(), Recovery::after(Duration::from_secs(5)).growth(2.0).jitter(0.5).probes(1).ramp(0));
///
/// let breaker = Breaker::builder("payments").build()?;
/// for call in 1..=20 {
///     let admitted = breaker.admit()?; // all of the first 20 pass
///     if call % 2 == 0 { admitted.failure() } else { admitted.success() }
/// }
/// assert!(breaker.admit().is_err()); // 10 of 20 failed
/// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `build`"]
pub struct BreakerBuilder {
    name: Cow<'static, str>,
    trip: Trip,
    recovery: Recovery,
    clock: Clock,
    observed: Observed,
}

impl BreakerBuilder {
    pub(super) fn new(name: Cow<'static, str>) -> Self {
        Self {
            name,
            trip: Trip::default(),
            recovery: Recovery::default(),
            clock: Clock::system(),
            observed: Observed::default(),
        }
    }

    /// When it opens.
    pub fn trip(mut self, trip: Trip) -> Self {
        self.trip = trip;
        self
    }

    /// How it comes back.
    pub fn recovery(mut self, recovery: Recovery) -> Self {
        self.recovery = recovery;
        self
    }

    /// Where it reads the time of its intervals, of time windows and of slow calls.
    pub fn clock(mut self, clock: &Clock) -> Self {
        self.clock = clock.clone();
        self
    }

    /// Who is told of every change of state ([`Event::BreakerChanged`](crate::event::Event::BreakerChanged)).
    pub fn observer(self, observer: impl Observer + 'static) -> Self {
        self.observed(Observed::by(observer))
    }

    pub(crate) fn observed(mut self, observed: Observed) -> Self {
        self.observed = observed;
        self
    }

    /// Builds it, closed and with nothing counted.
    ///
    /// # Errors
    ///
    /// - [`BuildError::Name`]: the name is empty, longer than 64 bytes, or contains a NUL.
    /// - [`BuildError::OutOfRange`]: a number outside the tables of [`Trip`] and [`Recovery`].
    /// - [`BuildError::Conflict`]: a window for [`Trip::consecutive`] alone, which has none.
    pub fn build(self) -> Result<Breaker, BuildError> {
        self.check()?;
        Ok(Breaker(Arc::new(Inner::new(self.name, self.clock, self.observed, &self.trip, &self.recovery))))
    }

    /// Whether it could be built.
    ///
    /// # Errors
    ///
    /// As [`build`](Self::build).
    pub fn check(&self) -> Result<(), BuildError> {
        BuildError::check_name(&self.name)?;
        self.trip.validate()?;
        self.recovery.validate()
    }
}
