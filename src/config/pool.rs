//! The settings of pools and of limits.

use super::set;
use crate::cpus::Pin;
use crate::permit::{Limit, LimitBuilder, Order, Oversize, Share};
use crate::pool::{OnFull, Pool, PoolBuilder, Spin, Wake};
#[cfg(feature = "serde")]
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Duration;

/// What a [`Pool`] is made of. What is `None` is as [`PoolBuilder`] has it.
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "serde")] {
/// use watertight::config::PoolConfig;
///
/// let thumbnails: PoolConfig = toml::from_str("threads = 2\nqueue = 64\non_full = 'caller_runs'")?;
/// let pool = thumbnails.builder("thumbnails").build()?;
/// assert_eq!((pool.stats().threads, pool.stats().queue), (2, 64));
/// # }
/// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
/// ```
#[derive(Clone, PartialEq, Debug, Default)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize), serde(deny_unknown_fields, default))]
#[non_exhaustive]
pub struct PoolConfig {
    /// [`PoolBuilder::threads`].
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub threads: Option<usize>,
    /// [`PoolBuilder::queue`].
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub queue: Option<usize>,
    /// [`PoolBuilder::stack_size`], in bytes.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub stack_size: Option<usize>,
    /// [`PoolBuilder::pin`].
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub pin: Option<Pin>,
    /// [`PoolBuilder::on_full`].
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub on_full: Option<OnFullConfig>,
    /// [`PoolBuilder::spin`].
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub spin: Option<Spin>,
    /// [`PoolBuilder::resizable`].
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub resizable: Option<ResizableConfig>,
    /// [`PoolBuilder::wake`].
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub wake: Option<Wake>,
    /// [`PoolBuilder::retire_after`], in jobs.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub retire_after: Option<u64>,
}

impl PoolConfig {
    /// A builder that is set so.
    pub fn builder(&self, name: impl Into<Cow<'static, str>>) -> PoolBuilder {
        let builder = set(Pool::builder(name), self.threads, PoolBuilder::threads);
        let builder = set(builder, self.queue, PoolBuilder::queue);
        let builder = set(builder, self.stack_size, PoolBuilder::stack_size);
        let builder = set(builder, self.pin, PoolBuilder::pin);
        let builder = set(builder, self.on_full, |builder, on_full| builder.on_full(on_full.into()));
        let builder = set(builder, self.spin, PoolBuilder::spin);
        let builder = set(builder, self.resizable, |builder, most| builder.resizable(most.threads, most.queue));
        let builder = set(builder, self.wake, PoolBuilder::wake);
        set(builder, self.retire_after, PoolBuilder::retire_after)
    }
}

/// What a pool does with a job for which it has no place: an [`OnFull`] that can be said without a function.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum OnFullConfig {
    /// [`OnFull::Wait`].
    Wait,
    /// [`OnFull::Refuse`].
    Refuse,
    /// [`OnFull::CallerRuns`].
    CallerRuns,
    /// [`OnFull::DropNewest`].
    DropNewest,
    /// [`OnFull::DropOldest`].
    DropOldest,
}

impl From<OnFullConfig> for OnFull {
    fn from(on_full: OnFullConfig) -> Self {
        match on_full {
            OnFullConfig::Wait => Self::Wait,
            OnFullConfig::Refuse => Self::Refuse,
            OnFullConfig::CallerRuns => Self::CallerRuns,
            OnFullConfig::DropNewest => Self::DropNewest,
            OnFullConfig::DropOldest => Self::DropOldest,
        }
    }
}

/// What a pool may be resized to.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize), serde(deny_unknown_fields))]
pub struct ResizableConfig {
    /// The most threads.
    pub threads: usize,
    /// The longest queue.
    pub queue: usize,
}

/// What a [`Limit`] is made of. The permits must be given; what is `None` is as [`LimitBuilder`] has it.
#[derive(Clone, PartialEq, Debug)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize), serde(deny_unknown_fields))]
#[non_exhaustive]
pub struct LimitConfig {
    /// How many there are.
    pub permits: usize,
    /// [`LimitBuilder::queue`].
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub queue: Option<usize>,
    /// [`LimitBuilder::max_wait`].
    #[cfg_attr(
        feature = "serde",
        serde(default, with = "super::text::maybe", skip_serializing_if = "Option::is_none")
    )]
    pub max_wait: Option<Duration>,
    /// [`LimitBuilder::order`].
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub order: Option<Order>,
    /// [`LimitBuilder::oversize`].
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub oversize: Option<Oversize>,
    /// [`LimitBuilder::partition`], by name.
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "BTreeMap::is_empty"))]
    pub partitions: BTreeMap<String, Share>,
}

impl LimitConfig {
    /// Of so many permits.
    pub fn new(permits: usize) -> Self {
        Self { permits, queue: None, max_wait: None, order: None, oversize: None, partitions: BTreeMap::new() }
    }

    /// A builder that is set so.
    pub fn builder(&self) -> LimitBuilder {
        let builder = set(Limit::builder(self.permits), self.queue, LimitBuilder::queue);
        let builder = set(builder, self.max_wait, LimitBuilder::max_wait);
        let builder = set(builder, self.order, LimitBuilder::order);
        let builder = set(builder, self.oversize, LimitBuilder::oversize);
        self.partitions.iter().fold(builder, |builder, (name, share)| builder.partition(name.clone(), *share))
    }
}
