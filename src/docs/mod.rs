//! Longer texts: how to use the crate, what it does not do, and how it is built.

#[doc = include_str!("guide.md")]
pub mod guide {}

#[doc = include_str!("deadlines.md")]
pub mod deadlines {}

#[doc = include_str!("cancellation.md")]
pub mod cancellation {}

#[doc = include_str!("migration.md")]
pub mod migration {}

#[doc = include_str!("retry.md")]
pub mod retry {}

#[doc = include_str!("bulkhead.md")]
pub mod bulkhead {}

#[doc = include_str!("breaker.md")]
pub mod breaker {}

#[doc = include_str!("limitations.md")]
pub mod limitations {}

#[doc = include_str!("conformance.md")]
pub mod conformance {}

#[doc = include_str!("internals.md")]
pub mod internals {}

#[doc = include_str!("../../CHANGELOG.md")]
pub mod changelog {}

/// The README's snippets are compiled and run with the doc tests.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
