//! Why a pool has as many workers as it has, and which of them stay on a CPU.

use super::Pool;
use super::worker::Worker;
use crate::cpus::{self, Granted};
use crate::sync::atomic::Ordering;
use std::fmt;

/// Why a pool was built with as many threads as it was. `Display` is one line.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub enum SizeReason {
    /// [`PoolBuilder::threads`](crate::pool::PoolBuilder::threads) said so many.
    Given(usize),
    /// By default: the CPUs that this process had been granted when the pool was built.
    Granted(Granted),
}

impl SizeReason {
    pub(super) fn new(given: Option<usize>) -> Self {
        given.map_or_else(|| Self::Granted(cpus::granted()), Self::Given)
    }

    pub(super) fn threads(&self) -> usize {
        match self {
            Self::Given(threads) => *threads,
            Self::Granted(granted) => granted.threads,
        }
    }
}

impl fmt::Display for SizeReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Given(threads) => write!(f, "{threads} thread{}: as given", if *threads == 1 { "" } else { "s" }),
            Self::Granted(granted) => granted.fmt(f),
        }
    }
}

impl Pool {
    /// Why it was built with as many threads as it was: as given, or by what the process had been granted then.
    ///
    /// # Examples
    ///
    /// ```
    /// use watertight::Pool;
    ///
    /// let pool = Pool::builder("cpu").build()?;
    /// println!("cpu: {}", pool.size_reason()); // cpu: 2 threads: no cgroup quota, 2 in the affinity mask, 2 online
    /// let given = Pool::builder("calls").threads(40).build()?;
    /// assert_eq!(given.size_reason().to_string(), "40 threads: as given");
    /// # Ok::<(), watertight::BuildError>(())
    /// ```
    pub fn size_reason(&self) -> &SizeReason {
        &self.owner.shared.size_reason
    }
}

/// Counts this thread among the pinned until it is dropped, if it is.
pub(super) struct Pinned<'a>(Option<&'a Worker>);

impl<'a> Pinned<'a> {
    /// Pins this thread, if the pool was asked to.
    pub(super) fn new(worker: &'a Worker) -> Self {
        let pinned = worker.shared.pinning.pin(worker.number);
        if pinned {
            worker.shared.counters.pinned.fetch_add(1, Ordering::Relaxed);
        }
        Self(pinned.then_some(worker))
    }
}

impl Drop for Pinned<'_> {
    fn drop(&mut self) {
        if let Some(worker) = self.0 {
            worker.shared.counters.pinned.fetch_sub(1, Ordering::Relaxed);
        }
    }
}
