//! The settings of retries and of what pays for them.

use super::set;
use crate::retry::{Budget, Jitter, Retry};
#[cfg(feature = "serde")]
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How a failed call is tried again: a [`Retry`]. The pause must be given; what is `None` is as that has it.
#[derive(Clone, PartialEq, Debug)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize), serde(deny_unknown_fields))]
#[non_exhaustive]
pub struct RetryConfig {
    /// How long to wait between attempts, and how that grows.
    pub pause: PauseConfig,
    /// [`Retry::max`].
    #[cfg_attr(
        feature = "serde",
        serde(default, with = "super::text::maybe", skip_serializing_if = "Option::is_none")
    )]
    pub max: Option<Duration>,
    /// [`Retry::attempts`].
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub attempts: Option<u32>,
    /// [`Retry::jitter`].
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub jitter: Option<Jitter>,
    /// [`Retry::budget`].
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub budget: Option<BudgetConfig>,
    /// [`Retry::expect`].
    #[cfg_attr(
        feature = "serde",
        serde(default, with = "super::text::maybe", skip_serializing_if = "Option::is_none")
    )]
    pub expect: Option<Duration>,
}

/// The pauses between attempts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum PauseConfig {
    /// [`Retry::exponential`].
    #[cfg_attr(feature = "serde", serde(with = "super::text::one"))]
    Exponential(Duration),
    /// [`Retry::decorrelated`].
    #[cfg_attr(feature = "serde", serde(with = "super::text::one"))]
    Decorrelated(Duration),
    /// [`Retry::constant`].
    #[cfg_attr(feature = "serde", serde(with = "super::text::one"))]
    Constant(Duration),
}

impl RetryConfig {
    /// With these pauses.
    pub fn new(pause: PauseConfig) -> Self {
        Self { pause, max: None, attempts: None, jitter: None, budget: None, expect: None }
    }

    /// With pauses that double.
    pub fn exponential(base: Duration) -> Self {
        Self::new(PauseConfig::Exponential(base))
    }

    /// The retries, with a budget of their own if there is one.
    pub fn retry(&self) -> Retry {
        let retry = match self.pause {
            PauseConfig::Exponential(base) => Retry::exponential(base),
            PauseConfig::Decorrelated(base) => Retry::decorrelated(base),
            PauseConfig::Constant(pause) => Retry::constant(pause),
        };
        let retry = set(retry, self.max, Retry::max);
        let retry = set(retry, self.attempts, Retry::attempts);
        let retry = set(retry, self.jitter, Retry::jitter);
        let retry = set(retry, self.expect, |retry, attempt| retry.expect(attempt));
        set(retry, self.budget.as_ref(), |retry, budget| retry.budget(budget.budget()))
    }
}

/// What retries are paid from: a [`Budget`]. The share must be given; what is `None` is as that has it.
#[derive(Clone, PartialEq, Debug)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize), serde(deny_unknown_fields))]
#[non_exhaustive]
pub struct BudgetConfig {
    /// [`Budget::percent`].
    pub percent: f64,
    /// [`Budget::burst`].
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub burst: Option<u32>,
    /// [`Budget::floor`].
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub floor: Option<u32>,
}

impl BudgetConfig {
    /// With this share.
    pub fn percent(percent: impl Into<f64>) -> Self {
        Self { percent: percent.into(), burst: None, floor: None }
    }

    /// A new account.
    pub fn budget(&self) -> Budget {
        let budget = set(Budget::percent(self.percent), self.burst, Budget::burst);
        set(budget, self.floor, Budget::floor)
    }
}
