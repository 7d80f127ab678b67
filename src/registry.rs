//! [`Registry`]: compartments by key (a host, a shard, a tenant), a bounded number of them.
//!
//! **Invariants.** 1. At most so many keys, unless more than that are in use at once: then who asks for another is refused.
//! 2. What is in use stays: an entry goes only while nobody outside holds its compartment, looked at under the lock that
//! hands them out. 3. For one key there is one compartment: it is built outside the lock, and of two that are built at the
//! same time the first that comes back stays. **Locking.** One lock; compartments are built and dropped outside of it.

mod shelf;

#[cfg(all(test, watertight_loom, not(watertight_shuttle)))]
mod loom_tests;
#[cfg(all(test, not(watertight_loom)))]
mod tests;

use crate::bulkhead::{Bulkhead, BulkheadState};
use crate::clock::Clock;
use crate::error::BuildError;
use crate::sync::{Arc, Mutex};
use shelf::{Full, Kept, Shelf};
use std::borrow::Borrow;
use std::fmt;
use std::hash::Hash;
use std::time::Duration;

impl Kept for Bulkhead {
    fn is_held_elsewhere(&self) -> bool {
        self.is_shared()
    }
}

/// Compartments by key, made when they are first asked for. A cheap handle; clones are the same registry.
///
/// For dependencies that come as many: one compartment per host, shard or tenant, so that a sick one does not close off the
/// healthy ones. Keys come from outside, so their number is bounded: of those that nobody holds and that have been there
/// for [`residence`](Self::residence), the one that was asked for the longest time ago makes room. Without the minimum
/// residence a flood of new keys would forget what the breakers of all the others know.
///
/// For settings that all share but for some, as data or from a file, see [`RegistryConfig`](crate::config::RegistryConfig).
///
/// A compartment is in use while anybody has a handle of it, a call of it under way, or an [`Admission`](crate::Admission).
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use watertight::{Bulkhead, Context, Isolation, Recovery, Registry, Trip};
///
/// let hosts: Registry<String> = Registry::new(500, |host: &String| {
///     let permits = if host.starts_with("big") { 64 } else { 8 }; // shared settings, with exceptions
///     Bulkhead::builder(host.clone(), Isolation::Permits(permits))
///         .breaker(Trip::consecutive(5), Recovery::after(Duration::from_secs(5)))
///         .timeout(Duration::from_secs(2))
///         .build()
/// });
/// let answer = hosts.get("shard-7")?.call_here(&Context::current(), |_cx| Ok::<_, std::io::Error>("here"));
/// assert_eq!(answer.unwrap(), "here");
/// assert_eq!(hosts.snapshot()[0].1.succeeded, 1);
/// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
/// ```
pub struct Registry<K>(Arc<Inner<K>>);

/// Makes the compartment of a key.
type Build<K> = dyn Fn(&K) -> Result<Bulkhead, BuildError> + Send + Sync;

struct Inner<K> {
    shelf: Mutex<Shelf<K, Bulkhead>>,
    clock: Clock,
    build: Box<Build<K>>,
}

/// Why a registry gives no compartment.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// There are as many keys as there may be, and each is in use or has not been there long enough.
    #[error("no room for another key: all {limit} are in use or new")]
    Full {
        /// How many keys there may be.
        limit: usize,
    },
    /// The compartment could not be built.
    #[error("the compartment could not be built")]
    Build(#[source] BuildError),
}

/// How long a compartment stays at least that nobody holds, unless it is said otherwise.
pub const RESIDENCE: Duration = Duration::from_secs(300);

impl<K: Hash + Eq + Clone> Registry<K> {
    /// At most `keys` compartments (at least one), each made by `build` when its key is first asked for. One that nobody
    /// holds may make room after [300 s](RESIDENCE); see [`with`](Self::with) for another time.
    pub fn new(keys: usize, build: impl Fn(&K) -> Result<Bulkhead, BuildError> + Send + Sync + 'static) -> Self {
        Self::with(keys, RESIDENCE, &Clock::system(), build)
    }

    /// The same with a minimum residence of one's own, by the time of `clock`.
    pub fn with(
        keys: usize,
        residence: Duration,
        clock: &Clock,
        build: impl Fn(&K) -> Result<Bulkhead, BuildError> + Send + Sync + 'static,
    ) -> Self {
        let shelf = Mutex::new(Shelf::new(keys.max(1), residence));
        Self(Arc::new(Inner { shelf, clock: clock.clone(), build: Box::new(build) }))
    }

    /// The compartment of this key, made if there is none. The key is only copied then.
    ///
    /// # Errors
    ///
    /// [`RegistryError::Full`] if there is no room; [`RegistryError::Build`] with what the function said.
    pub fn get<Q>(&self, key: &Q) -> Result<Bulkhead, RegistryError>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        let inner = &*self.0;
        let now = inner.clock.now();
        let refused = |Full { limit }| RegistryError::Full { limit };
        {
            let mut shelf = inner.shelf.lock();
            if let Some(there) = shelf.get(key) {
                return Ok(there);
            }
            shelf.has_room(now).map_err(refused)?; // before anything is built
        }
        let key = key.to_owned();
        let built = (inner.build)(&key).map_err(RegistryError::Build)?;
        let put = inner.shelf.lock().put(key, built, now); // what goes is dropped after the lock is let go
        let (there, gone) = put.map_err(|(full, _)| refused(full))?;
        drop(gone); // its threads, if it has any, end by themselves
        Ok(there)
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.0.shelf.lock().len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How long a compartment stays at least that nobody holds.
    pub fn residence(&self) -> Duration {
        self.0.shelf.lock().residence()
    }

    /// What every compartment has done and is doing, in no order. Looking does not count as asking for one.
    ///
    /// # Consistency
    ///
    /// The keys are those of one moment; the figures are read one after the other, outside the lock.
    pub fn snapshot(&self) -> Vec<(K, BulkheadState)> {
        let all = self.0.shelf.lock().all();
        all.into_iter().map(|(key, bulkhead)| (key, bulkhead.state())).collect()
    }
}

impl<K> Clone for Registry<K> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<K> fmt::Debug for Registry<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").finish_non_exhaustive()
    }
}
