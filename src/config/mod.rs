//! Configurations as plain data: what the builders take, to be kept, compared, overridden and, with the feature `serde`,
//! read from a file.
//!
//! A configuration says what differs from the builder's defaults: what is `None` is as the builder has it. It is checked when
//! something is built of it, by the builder, which names the field and what it takes. A name is no part of it:
//! `config.builder("payments")` gives the builder, and there goes what cannot be said in a file: a clock, an observer, hooks,
//! a rule of one's own ([`Trip::own`](crate::Trip::own)), a budget that several compartments share, durations that are
//! [learnt](crate::retry::Expected::learnt), and results judged by a [function](crate::Bulkhead::classify).
//!
//! | | makes |
//! |---|---|
//! | [`BulkheadConfig`] | a [`BulkheadBuilder`], for one dependency |
//! | [`RegistryConfig`] | a [`Registry`](crate::Registry): one configuration for all keys, with overrides for some |
//! | [`PoolConfig`], [`LimitConfig`], [`BreakerConfig`] | the builder of each |
//! | [`RetryConfig`], [`BudgetConfig`], [`TripConfig`], [`RecoveryConfig`] | the thing itself |
//!
//! # In a file
//!
//! With the feature `serde` all of them can be read and written in any format that says what is what, like TOML, JSON or YAML. Unknown fields are refused, so
//! a misspelt one is found when the program starts. Durations are text with a unit, such as `"250ms"`, `"5s"` or `"1h 30m"`;
//! choices are a name, `pin = "cores"`, or a name with what belongs to it, `isolation = { threads = 20 }`.
//!
//! ```
//! # #[cfg(feature = "serde")] {
//! use std::collections::BTreeMap;
//! use watertight::config::BulkheadConfig;
//!
//! let file = r#"
//!     [payments]
//!     isolation = { threads = 20 }
//!     queue = 10
//!     timeout = "2s"
//!
//!     [payments.breaker]
//!     trip = { rate = 0.5, window = { within = "10s" }, min_calls = 20 }
//!     recovery = { after = "5s", probes = 3 }
//!
//!     [payments.retry]
//!     pause = { exponential = "50ms" }
//!     budget = { percent = 20 }
//!
//!     [search]
//!     isolation = { permits = 32 }
//!     timeout = "250ms"
//! "#;
//! let dependencies: BTreeMap<String, BulkheadConfig> = toml::from_str(file)?;
//! let payments = dependencies["payments"].builder("payments").build()?;
//! assert_eq!((payments.state().limit, payments.state().queue), (20, 10));
//!
//! // A misspelt field is found by who reads the file, and a number that makes no sense by who builds.
//! let misspelt = toml::from_str::<BulkheadConfig>("isolation = { permits = 1 }\ntimeuot = '2s'").unwrap_err();
//! assert!(misspelt.message().starts_with("unknown field `timeuot`, expected one of"));
//! let absurd: BulkheadConfig = toml::from_str("isolation = { permits = 1 }\ntimeout = '0s'")?;
//! assert_eq!(absurd.builder("b").build().unwrap_err().to_string(), "timeout is 0ns, must be above 0 and at most one day");
//! # }
//! # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
//! ```
//!
//! **Locking.** None: these are values.

mod breaker;
mod hosts;
mod overrides;
mod pool;
mod retry;
#[cfg(feature = "serde")]
mod text;

pub use breaker::{BreakerConfig, RecoveryConfig, SlowConfig, TripConfig, WindowConfig};
pub use hosts::{ConfigError, RegistryConfig};
pub use overrides::{BulkheadOverride, OrOff};
pub use pool::{LimitConfig, OnFullConfig, PoolConfig, ResizableConfig};
pub use retry::{BudgetConfig, PauseConfig, RetryConfig};

use crate::bulkhead::{Bulkhead, BulkheadBuilder, Isolation};
use crate::permit::Share;
#[cfg(feature = "serde")]
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

/// What a [`Bulkhead`] is made of. Isolation and time-out must be given; `None` is as [`BulkheadBuilder`] has it.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use watertight::config::{BulkheadConfig, IsolationConfig, RetryConfig};
///
/// let mut shared = BulkheadConfig::new(IsolationConfig::Permits(8), Duration::from_secs(2));
/// shared.retry = Some(RetryConfig::exponential(Duration::from_millis(50)));
/// let (users, orders) = (shared.builder("users").build()?, shared.builder("orders").build()?);
/// # let _ = (users, orders);
/// # Ok::<(), watertight::BuildError>(())
/// ```
#[derive(Clone, PartialEq, Debug)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize), serde(deny_unknown_fields))]
#[non_exhaustive]
pub struct BulkheadConfig {
    /// Threads of its own, or permits only, and how many.
    pub isolation: IsolationConfig,
    /// How long a call may take in all, or `"never"`.
    pub timeout: Timeout,
    /// How many calls may wait.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub queue: Option<usize>,
    /// How long a call waits for a permit at most: [`BulkheadBuilder::max_wait`]. Not for one of threads.
    #[cfg_attr(feature = "serde", serde(default, with = "text::maybe", skip_serializing_if = "Option::is_none"))]
    pub max_wait: Option<Duration>,
    /// How far a compartment of threads may be resized: [`BulkheadBuilder::resizable`]. Not for one of permits.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub resizable: Option<ResizableConfig>,
    /// When it stops calling, and how it comes back. An empty one is the defaults of [`Trip`](crate::Trip) and
    /// [`Recovery`](crate::Recovery).
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub breaker: Option<BreakerConfig>,
    /// How idempotent calls are tried again.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub retry: Option<RetryConfig>,
    /// How many fallbacks may run at once.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub fallbacks: Option<usize>,
    /// Shares of the compartment, by name: [`BulkheadBuilder::partition`]. Not for one of threads.
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "BTreeMap::is_empty"))]
    pub partitions: BTreeMap<String, Share>,
}

impl BulkheadConfig {
    /// With what must be given.
    pub fn new(isolation: IsolationConfig, timeout: impl Into<Timeout>) -> Self {
        let timeout = timeout.into();
        Self {
            isolation,
            timeout,
            queue: None,
            max_wait: None,
            resizable: None,
            breaker: None,
            retry: None,
            fallbacks: None,
            partitions: BTreeMap::new(),
        }
    }

    /// A builder that is set so. Each has a budget of its own, if there is one: retries are paid for per compartment.
    pub fn builder(&self, name: impl Into<Cow<'static, str>>) -> BulkheadBuilder {
        let builder = Bulkhead::builder(name, self.isolation.into());
        let builder = match self.timeout {
            Timeout::After(d) => builder.timeout(d),
            Timeout::Never => builder.no_timeout(),
        };
        let builder = set(builder, self.queue, BulkheadBuilder::queue);
        let builder = set(builder, self.max_wait, BulkheadBuilder::max_wait);
        let builder = set(builder, self.resizable, |builder, most| builder.resizable(most.threads, most.queue));
        let builder = set(builder, self.fallbacks, BulkheadBuilder::fallbacks);
        let builder = set(builder, self.retry.as_ref(), |builder, retry| builder.retry(retry.retry()));
        let builder =
            self.partitions.iter().fold(builder, |builder, (name, share)| builder.partition(name.clone(), *share));
        set(builder, self.breaker.as_ref(), |builder, b| builder.breaker(b.trip.trip(), b.recovery.recovery()))
    }
}

/// How a compartment keeps its calls apart, and how many there may be at once: an [`Isolation`] that can be compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum IsolationConfig {
    /// So many threads of its own.
    Threads(usize),
    /// So many permits.
    Permits(usize),
}

impl From<IsolationConfig> for Isolation {
    fn from(isolation: IsolationConfig) -> Self {
        match isolation {
            IsolationConfig::Threads(n) => Self::Threads(n),
            IsolationConfig::Permits(n) => Self::Permits(n),
        }
    }
}

/// How long a call may take in all. In a file it is a duration, or `"never"`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub enum Timeout {
    /// So long.
    After(Duration),
    /// As long as the caller's own context lets it: calls may then never end.
    Never,
}

impl From<Duration> for Timeout {
    fn from(d: Duration) -> Self {
        Self::After(d)
    }
}

/// What is said is set.
fn set<B, V>(builder: B, said: Option<V>, with: impl FnOnce(B, V) -> B) -> B {
    match said {
        Some(value) => with(builder, value),
        None => builder,
    }
}
