//! [`BuildError`]: a configuration that makes no sense.

use std::borrow::Cow;
use std::{fmt, io};

/// A configuration that makes no sense, or a system that refused what it asks for. Names the field and what it takes.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// A number out of range.
    #[error("{field} is {value}, must be {allowed}")]
    OutOfRange {
        /// The setter's name.
        field: &'static str,
        /// What was asked for.
        value: String,
        /// What is allowed.
        allowed: Cow<'static, str>,
    },
    /// A name that cannot be one.
    #[error("name {name:?} {problem}")]
    Name {
        /// The name, cut short.
        name: String,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Two settings that contradict each other, or one that is missing.
    #[error("{0}")]
    Conflict(&'static str),
    /// The system refused a thread. Those already started have been let go.
    #[error("the system refused thread {index} of {wanted}")]
    Spawn {
        /// Which thread, from 1.
        index: usize,
        /// How many were asked for.
        wanted: usize,
        /// The system's own reason.
        #[source]
        source: io::Error,
    },
}

/// The longest name of a pool, breaker or bulkhead, in bytes.
const MAX_NAME: usize = 64;

impl BuildError {
    pub(crate) fn out_of_range(
        field: &'static str,
        value: impl fmt::Display,
        allowed: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self::OutOfRange { field, value: value.to_string(), allowed: allowed.into() }
    }

    /// One rule for every name: threads, events and metrics carry it.
    pub(crate) fn check_name(name: &str) -> Result<(), Self> {
        let problem = if name.is_empty() {
            "must not be empty"
        } else if name.len() > MAX_NAME {
            "is longer than 64 bytes"
        } else if name.contains('\0') {
            "contains a NUL byte"
        } else {
            return Ok(());
        };
        Err(Self::Name { name: name.chars().take(MAX_NAME).collect(), problem })
    }
}
