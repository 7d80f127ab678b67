//! What is different for one of many.

use super::{BreakerConfig, BulkheadConfig, IsolationConfig, ResizableConfig, RetryConfig, Timeout};
use crate::permit::Share;
#[cfg(feature = "serde")]
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

/// What is different for one of many compartments that share a [`BulkheadConfig`]. What is `None` stays as it is there.
///
/// What is said takes the place of the shared setting *whole*: an override with a breaker of its own says all that is special
/// about that breaker, and gets nothing of the shared one's trip or recovery. So an override reads the same whatever it
/// overrides. With an isolation of permits the shared `resizable` is left out, which is of threads; and with one of threads the
/// shared `partitions` and `max_wait`, which are of permits.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use watertight::config::{BreakerConfig, BulkheadConfig, BulkheadOverride, IsolationConfig, OrOff};
///
/// let mut shared = BulkheadConfig::new(IsolationConfig::Permits(8), Duration::from_secs(2));
/// shared.breaker = Some(BreakerConfig::default());
/// let mut big = BulkheadOverride::default();
/// big.isolation = Some(IsolationConfig::Permits(64));
/// big.breaker = Some(OrOff::Off);
/// let big = big.over(&shared);
/// assert_eq!(big, BulkheadConfig::new(IsolationConfig::Permits(64), Duration::from_secs(2)));
/// ```
#[derive(Clone, PartialEq, Debug, Default)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize), serde(deny_unknown_fields, default))]
#[non_exhaustive]
pub struct BulkheadOverride {
    /// Another isolation.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub isolation: Option<IsolationConfig>,
    /// Another time-out, or `"never"`.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub timeout: Option<Timeout>,
    /// So many calls may wait.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub queue: Option<usize>,
    /// A call waits for a permit so long at most.
    #[cfg_attr(feature = "serde", serde(with = "super::text::maybe", skip_serializing_if = "Option::is_none"))]
    pub max_wait: Option<Duration>,
    /// It may be resized so far.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub resizable: Option<ResizableConfig>,
    /// Another breaker, or `"off"`: none.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub breaker: Option<OrOff<BreakerConfig>>,
    /// Other retries, or `"off"`: none.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub retry: Option<OrOff<RetryConfig>>,
    /// So many fallbacks may run at once.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub fallbacks: Option<usize>,
    /// Other shares.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub partitions: Option<BTreeMap<String, Share>>,
}

/// A setting that an override puts in place of the shared one, or takes away. In a file it is the setting, or `"off"`.
#[derive(Clone, PartialEq, Eq, Debug, Hash)]
pub enum OrOff<T> {
    /// This one.
    As(T),
    /// None.
    Off,
}

impl<T: Clone> OrOff<T> {
    fn or(this: &Option<Self>, shared: &Option<T>) -> Option<T> {
        match this {
            Some(Self::As(own)) => Some(own.clone()),
            Some(Self::Off) => None,
            None => shared.clone(),
        }
    }
}

impl BulkheadOverride {
    /// The shared configuration with what is different here.
    pub fn over(&self, shared: &BulkheadConfig) -> BulkheadConfig {
        let has_permits = matches!(self.isolation, Some(IsolationConfig::Permits(_)));
        let has_threads = matches!(self.isolation, Some(IsolationConfig::Threads(_)));
        let shared_parts = || if has_threads { BTreeMap::new() } else { shared.partitions.clone() };
        BulkheadConfig {
            isolation: self.isolation.unwrap_or(shared.isolation),
            timeout: self.timeout.unwrap_or(shared.timeout),
            queue: self.queue.or(shared.queue),
            max_wait: self.max_wait.or(shared.max_wait.filter(|_| !has_threads)),
            resizable: self.resizable.or(shared.resizable.filter(|_| !has_permits)),
            breaker: OrOff::or(&self.breaker, &shared.breaker),
            retry: OrOff::or(&self.retry, &shared.retry),
            fallbacks: self.fallbacks.or(shared.fallbacks),
            partitions: self.partitions.clone().unwrap_or_else(shared_parts),
        }
    }
}
