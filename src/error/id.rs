//! [`JobId`]: which job.

use crate::sync::unique_of_many;
use std::fmt;
use std::num::NonZeroU64;

/// Which job: a number that no other job of this process has, of whatever pool. Every job with a
/// [handle](crate::JobHandle::id) has one; events, hooks, panics and the report of a shutdown say it beside the job's name.
///
/// Ids are told apart and no more: a greater one need not be later.
///
/// # Performance
///
/// Each thread takes a block of numbers and hands them out by itself, so an id costs a submit no shared word and no
/// allocation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct JobId(NonZeroU64);

impl JobId {
    pub(crate) fn new() -> Self {
        Self(NonZeroU64::MIN.saturating_add(unique_of_many()))
    }

    /// The number, for logs and metrics.
    pub fn get(self) -> u64 {
        self.0.get()
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
