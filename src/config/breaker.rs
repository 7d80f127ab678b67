//! A breaker's settings.

use super::set;
use crate::breaker::{Breaker, BreakerBuilder, Recovery, Trip};
#[cfg(feature = "serde")]
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::time::Duration;

/// What a [`Breaker`] is made of. What it does not say is as [`BreakerBuilder`] has it.
#[derive(Clone, PartialEq, Debug, Default)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize), serde(deny_unknown_fields, default))]
#[non_exhaustive]
pub struct BreakerConfig {
    /// When it opens.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "super::text::unsaid"))]
    pub trip: TripConfig,
    /// How it comes back.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "super::text::unsaid"))]
    pub recovery: RecoveryConfig,
}

impl BreakerConfig {
    /// A builder that is set so.
    pub fn builder(&self, name: impl Into<Cow<'static, str>>) -> BreakerBuilder {
        Breaker::builder(name).trip(self.trip.trip()).recovery(self.recovery.recovery())
    }
}

/// When a breaker opens: a [`Trip`]. With several of `rate`, `slow_rate` and `consecutive` whichever is met first opens it; with
/// none of them it is the default, `rate = 0.5`.
#[derive(Clone, PartialEq, Debug, Default)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize), serde(deny_unknown_fields, default))]
#[non_exhaustive]
pub struct TripConfig {
    /// [`Trip::rate`].
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub rate: Option<f64>,
    /// [`Trip::slow_rate`].
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub slow_rate: Option<SlowConfig>,
    /// [`Trip::consecutive`].
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub consecutive: Option<u32>,
    /// What rates are taken over.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub window: Option<WindowConfig>,
    /// [`Trip::min_calls`].
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub min_calls: Option<u32>,
    /// [`Trip::lump`].
    #[cfg_attr(feature = "serde", serde(with = "super::text::maybe", skip_serializing_if = "Option::is_none"))]
    pub lump: Option<Duration>,
}

impl TripConfig {
    /// The rule.
    pub fn trip(&self) -> Trip {
        let trip = match (self.rate, self.slow_rate, self.consecutive) {
            (Some(rate), slow, _) => set(Trip::rate(rate), slow, |t, slow| t.or_slow_rate(slow.rate, slow.over)),
            (None, Some(slow), _) => Trip::slow_rate(slow.rate, slow.over),
            (None, None, Some(failures)) => Trip::consecutive(failures),
            (None, None, None) => Trip::default(),
        };
        let trip = set(trip, self.consecutive, Trip::or_consecutive);
        let trip = set(trip, self.window, |trip, window| match window {
            WindowConfig::Last(calls) => trip.last(calls),
            WindowConfig::Within(span) => trip.within(span),
        });
        set(set(trip, self.min_calls, Trip::min_calls), self.lump, Trip::lump)
    }
}

/// When so large a share of the calls is so slow.
#[derive(Clone, Copy, PartialEq, Debug)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize), serde(deny_unknown_fields))]
pub struct SlowConfig {
    /// The share of slow calls.
    pub rate: f64,
    /// What takes longer is slow.
    #[cfg_attr(feature = "serde", serde(with = "super::text::one"))]
    pub over: Duration,
}

/// What a breaker's rates are taken over.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize), serde(rename_all = "snake_case"))]
pub enum WindowConfig {
    /// So many calls: [`Trip::last`].
    Last(u32),
    /// So long a time: [`Trip::within`].
    #[cfg_attr(feature = "serde", serde(with = "super::text::one"))]
    Within(Duration),
}

/// How an open breaker comes back: a [`Recovery`]. What is `None` is as that has it.
#[derive(Clone, PartialEq, Debug, Default)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize), serde(deny_unknown_fields, default))]
#[non_exhaustive]
pub struct RecoveryConfig {
    /// [`Recovery::after`].
    #[cfg_attr(feature = "serde", serde(with = "super::text::maybe", skip_serializing_if = "Option::is_none"))]
    pub after: Option<Duration>,
    /// [`Recovery::growth`].
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub growth: Option<f64>,
    /// [`Recovery::at_most`].
    #[cfg_attr(feature = "serde", serde(with = "super::text::maybe", skip_serializing_if = "Option::is_none"))]
    pub at_most: Option<Duration>,
    /// [`Recovery::jitter`].
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub jitter: Option<f64>,
    /// [`Recovery::probes`].
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub probes: Option<u32>,
    /// [`Recovery::successes`].
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub successes: Option<u32>,
    /// [`Recovery::probe_timeout`].
    #[cfg_attr(feature = "serde", serde(with = "super::text::maybe", skip_serializing_if = "Option::is_none"))]
    pub probe_timeout: Option<Duration>,
    /// [`Recovery::ramp`].
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub ramp: Option<u32>,
}

impl RecoveryConfig {
    /// The way back.
    pub fn recovery(&self) -> Recovery {
        let recovery = self.after.map_or_else(Recovery::default, Recovery::after);
        let recovery = set(recovery, self.growth, Recovery::growth);
        let recovery = set(recovery, self.at_most, Recovery::at_most);
        let recovery = set(recovery, self.jitter, Recovery::jitter);
        let recovery = set(recovery, self.probes, Recovery::probes);
        let recovery = set(recovery, self.successes, Recovery::successes);
        let recovery = set(recovery, self.probe_timeout, Recovery::probe_timeout);
        set(recovery, self.ramp, Recovery::ramp)
    }
}
