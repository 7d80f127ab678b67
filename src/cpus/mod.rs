//! How many CPUs this process has really been given, and why; and on which of them workers stay.
//!
//! A machine's CPUs are seldom all ours: an affinity mask (`taskset`, a cpuset) says on which of them a process may run, and
//! a cgroup's quota (a container's CPU limit) says how much of their time it gets. [`granted`] reads both each time it is
//! asked, and says which of them decides:
//!
//! ```
//! let granted = watertight::cpus::granted();
//! println!("{granted}"); // 4 threads: cgroup quota 3.5 CPUs (rounded up), 8 in the affinity mask, 16 online
//! assert!(granted.threads >= 1);
//! ```
//!
//! It is the default size of a pool, and [`Pool::size_reason`](crate::Pool::size_reason) keeps what it said. A quota may be
//! changed while a process runs; a pool does not follow it by itself:
//!
//! ```
//! use watertight::{Pool, cpus};
//!
//! let pool = Pool::builder("cpu").build()?;
//! // Later, once a minute perhaps:
//! let now = cpus::granted();
//! if now.threads != pool.stats().threads {
//!     println!("built for {}, now it would be {now}", pool.size_reason());
//! }
//! # Ok::<(), watertight::BuildError>(())
//! ```
//!
//! # What counts
//!
//! - **The affinity mask of the calling thread**, which is the one that threads inherit. On Windows the process's mask, within
//!   its processor group; elsewhere, where there is none, the CPUs of the machine.
//! - **The least CPU quota** of the process's cgroup and all above it that can be seen, in version 1 (`cpu.cfs_quota_us`) and
//!   version 2 (`cpu.max`). A container without one in a pod that has one gets the pod's. What cannot be read, or makes no
//!   sense, is no quota. Linux only.
//! - Not the CPU *shares* or weights: they say how CPUs are divided when there are too few, and are no limit otherwise.
//!
//! # Rounding
//!
//! A quota is time and not a number of CPUs: 3.5 may be used by any number of threads until it is used up, and then they all
//! wait for the next period, of 100 ms as a rule. It is rounded *up*, so that all of it can be used: 3 threads that compute
//! leave 0.5 of 3.5 unused for ever. The price is that 4 threads that compute all the time have used it up after 87.5 ms of
//! every 100 and stand still for the rest; the smaller the quota the longer: 1.1 lets 2 threads run 55 ms. Where that wait
//! hurts more than the lost share, round down: [`Granted::quota`] is the exact figure. The other answers around:
//! `std::thread::available_parallelism` rounds down, `num_cpus::get` rounds up.

mod cgroup;
mod nodes;
mod pin;
#[cfg(all(test, not(watertight_loom)))]
mod tests;

pub use pin::Pin;
pub(crate) use pin::Pinning;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

/// How many threads can compute at once, and what says so. `Display` is one line with all of it.
///
/// Read by [`granted`] when it was called, and not kept up to date.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub struct Granted {
    /// The least of the affinity mask and the quota, rounded up; at least 1.
    pub threads: usize,
    /// What decides.
    pub limited_by: LimitedBy,
    /// CPUs that the calling thread may run on.
    pub affinity: usize,
    /// The least cgroup quota, in CPUs, not rounded. `None`: there is none.
    pub quota: Option<f64>,
    /// The cgroup that sets it.
    pub quota_at: Option<PathBuf>,
    /// CPUs that the machine has switched on, where the system tells.
    pub online: Option<usize>,
}

/// What decides how many threads can compute at once. Of equals the first.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[non_exhaustive]
pub enum LimitedBy {
    /// The machine has no more CPUs, or the system does not say that it has.
    Machine,
    /// This process may run on some of the machine's CPUs only.
    Affinity,
    /// This process gets less time than its CPUs have.
    Quota,
}

/// What this process has been given, as of now.
///
/// # Blocking
///
/// Reads some small files of the system, each time: for start-up and now and then, not for every request.
///
/// # Examples
///
/// ```
/// use watertight::{Pool, cpus};
///
/// let granted = cpus::granted();
/// let down = granted.quota.map_or(granted.affinity, |quota| (quota.floor() as usize).clamp(1, granted.affinity));
/// let pool = Pool::builder("never throttled").threads(down).build()?;
/// # Ok::<(), watertight::BuildError>(())
/// ```
pub fn granted() -> Granted {
    // `num_cpus` knows systems without a mask, and those with more CPUs than the call for it is made for. Not its `get` where
    // there is one: that has the quota in it already, of one cgroup without those above, and as it was when first asked.
    let mask = core_affinity::get_core_ids().map(|cpus| cpus.len());
    Granted::read(Path::new("/"), mask.filter(|n| *n > 0).unwrap_or_else(num_cpus::get))
}

/// The CPUs of each NUMA node, by the node's number, whether or not this process may use them. Empty where the system does
/// not tell: Linux does.
///
/// # Examples
///
/// One pool per node:
///
/// ```
/// use watertight::cpus::{self, Pin};
/// use watertight::{BuildError, Pool};
///
/// let pools: Vec<Pool> = cpus::nodes()
///     .into_iter()
///     .map(|(node, cpus)| Pool::builder(format!("node{node}")).threads(cpus.len()).pin(Pin::Node(node)).build())
///     .collect::<Result<_, BuildError>>()?;
/// # Ok::<(), BuildError>(())
/// ```
pub fn nodes() -> BTreeMap<usize, Vec<usize>> {
    nodes::nodes(Path::new("/"))
}

impl Granted {
    /// What the system's files under `root` say to a thread with so many CPUs in its mask.
    fn read(root: &Path, affinity: usize) -> Self {
        let affinity = affinity.max(1);
        let online = nodes::online(root);
        let quota = cgroup::quota(root);
        let of_quota = quota.as_ref().map(|quota| (quota.cpus.ceil() as usize).max(1));
        let (threads, limited_by) = match of_quota {
            Some(threads) if threads < affinity => (threads, LimitedBy::Quota),
            _ if online.is_some_and(|online| affinity < online) => (affinity, LimitedBy::Affinity),
            _ => (affinity, LimitedBy::Machine),
        };
        let (cpus, at) = quota.map(|quota| (quota.cpus, quota.at)).unzip();
        Self { threads, limited_by, affinity, quota: cpus, quota_at: at, online }
    }
}

impl fmt::Display for Granted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { threads, affinity, .. } = self;
        write!(f, "{threads} thread{}: ", if *threads == 1 { "" } else { "s" })?;
        match self.quota {
            Some(quota) => {
                write!(f, "cgroup quota {} CPUs", (quota * 100.0).round() / 100.0)?;
                if quota.fract() > 0.0 && self.limited_by == LimitedBy::Quota {
                    write!(f, " (rounded up)")?;
                }
            }
            None => write!(f, "no cgroup quota")?,
        }
        write!(f, ", {affinity} in the affinity mask")?;
        self.online.map_or(Ok(()), |online| write!(f, ", {online} online"))
    }
}
