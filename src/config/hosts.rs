//! One configuration for all keys of a registry, with overrides for some.

use super::{BulkheadConfig, BulkheadOverride};
use crate::bulkhead::BulkheadBuilder;
use crate::clock::Clock;
use crate::error::BuildError;
use crate::registry::{RESIDENCE, Registry};
#[cfg(feature = "serde")]
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

const ONE_DAY: Duration = Duration::from_secs(86_400);

/// What a [`Registry`] is made of: how many keys, and what their compartments share; with overrides by key.
///
/// A compartment is named by its key, cut to the 64 bytes that a name may have.
///
/// # Examples
///
/// ```
/// # #[cfg(feature = "serde")] {
/// use watertight::config::RegistryConfig;
///
/// let hosts: RegistryConfig = toml::from_str(r#"
///     keys = 500
///     residence = "5m"
///
///     [shared]
///     isolation = { permits = 8 }
///     timeout = "2s"
///     breaker = { trip = { consecutive = 5 } }
///
///     [overrides."big.example.com"]
///     isolation = { permits = 64 }
///
///     [overrides."legacy.example.com"]
///     timeout = "30s"
///     breaker = "off"
/// "#)?;
/// let hosts = hosts.registry()?;
/// assert_eq!(hosts.get("big.example.com")?.state().limit, 64);
/// assert_eq!(hosts.get("another.example.com")?.state().limit, 8);
/// assert!(hosts.get("legacy.example.com")?.breaker().is_none());
/// # }
/// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
/// ```
#[derive(Clone, PartialEq, Debug)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize), serde(deny_unknown_fields))]
#[non_exhaustive]
pub struct RegistryConfig {
    /// How many keys there may be, at least 1.
    pub keys: usize,
    /// How long a compartment stays at least that nobody holds: above 0 and at most one day.
    #[cfg_attr(
        feature = "serde",
        serde(default, with = "super::text::maybe", skip_serializing_if = "Option::is_none")
    )]
    pub residence: Option<Duration>,
    /// What all have that have nothing else.
    pub shared: BulkheadConfig,
    /// What is different for some keys.
    #[cfg_attr(feature = "serde", serde(default, skip_serializing_if = "BTreeMap::is_empty"))]
    pub overrides: BTreeMap<String, BulkheadOverride>,
}

impl RegistryConfig {
    /// Without overrides.
    pub fn new(keys: usize, shared: BulkheadConfig) -> Self {
        Self { keys, residence: None, shared, overrides: BTreeMap::new() }
    }

    /// The configuration of a key.
    pub fn of(&self, key: &str) -> BulkheadConfig {
        self.overrides.get(key).map_or_else(|| self.shared.clone(), |own| own.over(&self.shared))
    }

    fn builder(&self, key: &str) -> BulkheadBuilder {
        let end = (0..=key.len().min(64)).rev().find(|end| key.is_char_boundary(*end)).unwrap_or(0);
        self.of(key).builder(key[..end].to_owned())
    }

    /// Checks what would otherwise fail when a key is first asked for: the shared configuration, and each override.
    ///
    /// # Errors
    ///
    /// What makes no sense, and for which key.
    pub fn check(&self) -> Result<(), ConfigError> {
        if self.keys == 0 {
            let (value, allowed) = (self.keys.to_string(), "1 or more".into());
            return Err(ConfigError { key: None, source: BuildError::OutOfRange { field: "keys", value, allowed } });
        }
        if let Some(residence) = self.residence.filter(|d| d.is_zero() || *d > ONE_DAY) {
            let (value, allowed) = (format!("{residence:?}"), "above 0 and at most one day".into());
            return Err(ConfigError {
                key: None,
                source: BuildError::OutOfRange { field: "residence", value, allowed },
            });
        }
        self.shared.builder("shared").check().map_err(|source| ConfigError { key: None, source })?;
        self.overrides.keys().try_for_each(|key| {
            self.builder(key).check().map_err(|source| ConfigError { key: Some(key.clone()), source })
        })
    }

    /// The registry.
    ///
    /// # Errors
    ///
    /// As [`check`](Self::check): a registry that is made has no configuration that makes no sense. What the system refuses, a
    /// thread, is said by [`Registry::get`].
    pub fn registry(self) -> Result<Registry<String>, ConfigError> {
        self.registry_with(&Clock::system(), |_, builder| builder)
    }

    /// The same with a clock, and with what cannot be said in a file: `more` gets the key and a builder that is set so.
    ///
    /// # Errors
    ///
    /// As [`registry`](Self::registry), where what `more` adds is not looked at.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use watertight::config::{BulkheadConfig, IsolationConfig, RegistryConfig};
    /// use watertight::{Clock, event::{self, Event}};
    ///
    /// let shared = BulkheadConfig::new(IsolationConfig::Permits(8), Duration::from_secs(2));
    /// let hosts = RegistryConfig::new(500, shared).registry_with(&Clock::system(), |_host, builder| {
    ///     builder.observer(event::from_fn(|e: &Event<'_>| println!("{e:?}")))
    /// })?;
    /// # assert!(hosts.get("a").is_ok());
    /// # Ok::<(), watertight::config::ConfigError>(())
    /// ```
    pub fn registry_with(
        self,
        clock: &Clock,
        more: impl Fn(&str, BulkheadBuilder) -> BulkheadBuilder + Send + Sync + 'static,
    ) -> Result<Registry<String>, ConfigError> {
        self.check()?;
        let (keys, residence) = (self.keys, self.residence.unwrap_or(RESIDENCE));
        let of_all = clock.clone();
        let build = move |key: &String| more(key, self.builder(key).clock(&of_all)).build();
        Ok(Registry::with(keys, residence, clock, build))
    }
}

/// What makes no sense in a [`RegistryConfig`], and where.
#[derive(Debug, thiserror::Error)]
#[error("{}", self.place())]
#[non_exhaustive]
pub struct ConfigError {
    /// Whose override it is in; `None` for the shared configuration.
    pub key: Option<String>,
    /// What makes no sense.
    pub source: BuildError,
}

impl ConfigError {
    fn place(&self) -> String {
        match &self.key {
            Some(key) => format!("the override of {key:?} makes no sense"),
            None => "the configuration makes no sense".into(),
        }
    }
}
