//! [`Pin`]: on which CPUs a pool's workers are to stay.
//!
//! **Invariants.** 1. Only CPUs of the builder's own affinity mask are used. 2. A worker that cannot be pinned runs where
//! the system lets it, and does not count as pinned.

use super::nodes;
use core_affinity::CoreId;
use std::collections::BTreeMap;
use std::path::Path;

/// Whether each worker of a pool stays on one CPU, and on which.
///
/// Pinning keeps a worker's caches warm and its memory near; it also keeps the system from moving it out of somebody
/// else's way. It pays on machines that one program has for itself, and seldom elsewhere. The CPUs are those of the affinity
/// mask of the thread that builds the pool; worker after worker takes the next, and with more workers than CPUs they begin
/// again. What cannot be done is not done: a worker that the system does not let stay on its CPU runs unpinned, and
/// [`PoolStats::pinned`](crate::pool::PoolStats::pinned) says how many are pinned.
///
/// Threads inherit the mask of the thread that starts them: a pool that is built by a job of a pinned worker finds one CPU.
///
/// # Examples
///
/// ```
/// use std::sync::{Arc, Barrier};
/// use watertight::{Pool, cpus::Pin};
///
/// let pool = Pool::builder("warm").threads(2).pin(Pin::Cores).build()?;
/// let met = Arc::new(Barrier::new(2)); // both workers are there
/// let jobs: Vec<_> = (0..2).map(|_| { let met = met.clone(); pool.submit(move || met.wait()) }).collect::<Result<_, _>>()?;
/// jobs.into_iter().for_each(|job| drop(job.join()));
/// println!("{} of 2 workers are pinned", pool.stats().pinned);
/// # assert!(cfg!(not(target_os = "linux")) || pool.stats().pinned == 2);
/// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Pin {
    /// Workers run where the system puts them. The default.
    #[default]
    No,
    /// Each worker on a CPU of its own, in the order of their numbers; CPUs that share a core with one that is taken come
    /// last.
    Cores,
    /// As [`Cores`](Self::Cores), filling one NUMA node before the next, that with the most CPUs first: workers that fit
    /// into one node share its memory. Where the system does not tell its nodes, as `Cores`.
    Numa,
    /// As [`Cores`](Self::Cores), on the CPUs of this NUMA node only: for one pool per node. If there is no such node, or
    /// none of its CPUs is in the mask, nobody is pinned. Give [`threads`](crate::pool::PoolBuilder::threads) with it: the
    /// default is for the whole mask. [`nodes`](super::nodes) tells the numbers.
    Node(usize),
}

/// Which worker goes where.
#[derive(Clone, Default, Debug)]
pub(crate) struct Pinning(Vec<CoreId>);

impl Pinning {
    /// For what this thread may use. Asks the system only if somebody is to be pinned.
    pub(crate) fn new(pin: Pin) -> Self {
        if pin == Pin::No {
            return Self::default();
        }
        Self::planned(pin, Path::new("/"), core_affinity::get_core_ids().unwrap_or_default())
    }

    /// For the CPUs of `mask` and the machine that is told of under `root`.
    pub(super) fn planned(pin: Pin, root: &Path, mask: Vec<CoreId>) -> Self {
        let turns: BTreeMap<usize, usize> = match pin {
            Pin::No => return Self::default(),
            _ => mask.iter().map(|cpu| (cpu.id, nodes::turn_on_core(root, cpu.id))).collect(),
        };
        let mut cpus = mask;
        cpus.sort_by_key(|cpu| (turns[&cpu.id], cpu.id));
        let groups: BTreeMap<usize, Vec<CoreId>> = nodes::nodes(root)
            .into_iter()
            .map(|(node, of)| (node, cpus.iter().copied().filter(|cpu| of.contains(&cpu.id)).collect()))
            .collect();
        match pin {
            Pin::Node(node) => Self(groups.get(&node).cloned().unwrap_or_default()),
            Pin::Numa => {
                let mut groups: Vec<_> = groups.into_values().collect();
                groups.sort_by_key(|group| std::cmp::Reverse(group.len())); // of equals the lower number first
                let mut ordered = groups.concat();
                ordered.extend(cpus.iter().filter(|cpu| !ordered.contains(cpu)).copied().collect::<Vec<_>>());
                Self(ordered)
            }
            _ => Self(cpus),
        }
    }

    /// Pins this thread, the worker of this number. False if it runs unpinned.
    pub(crate) fn pin(&self, worker: usize) -> bool {
        self.cpu_of(worker).is_some_and(core_affinity::set_for_current)
    }

    pub(super) fn cpu_of(&self, worker: usize) -> Option<CoreId> {
        if self.0.is_empty() { None } else { Some(self.0[worker % self.0.len()]) }
    }
}
