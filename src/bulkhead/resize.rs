//! [`Bulkhead::resize`]: other sizes for a compartment in use.
//!
//! **Invariants.** 1. Nothing that runs or waits is touched. 2. The limit follows the threads that there are: when some could
//! not be had, it is that of those which could. **Locking.** One lock, so that two resizes come one after the other; it is held
//! while the parts' own are taken, and by nobody else. Whoever is served is woken after it.

use super::builder::MAX_QUEUE;
use super::{Bulkhead, Inner};
use crate::error::BuildError;
use crate::permit::Limit;
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::sync::{Mutex, Waiter};

/// How many may wait, and who changes the sizes.
pub(super) struct Size {
    queue: AtomicUsize,
    resizing: Mutex<()>,
}

impl Size {
    pub(super) fn new(queue: usize) -> Self {
        Self { queue: AtomicUsize::new(queue), resizing: Mutex::new(()) }
    }

    pub(super) fn queue(&self) -> usize {
        self.queue.load(Ordering::Relaxed)
    }
}

impl Bulkhead {
    /// From now on so many may run at once, and so many may wait. A compartment of permits takes any size; one of threads no
    /// more than [`resizable`](super::BulkheadBuilder::resizable) said.
    ///
    /// More is there at once, and those who wait in line get it. Less takes nothing away: what runs ends, what waits is served,
    /// and nobody else begins until there is room within what it is now.
    ///
    /// # Errors
    ///
    /// [`BuildError::OutOfRange`], naming `at_once` or `queue` and its range; nothing is changed then. [`BuildError::Spawn`] if the system refuses a
    /// thread: those that were started stay, and [`state`](Self::state) says how many there are.
    ///
    /// # Examples
    ///
    /// ```
    /// use watertight::{Bulkhead, Isolation};
    ///
    /// let search = Bulkhead::builder("search", Isolation::Permits(8)).queue(4).no_timeout().build()?;
    /// search.resize(2, 0)?;
    /// assert_eq!((search.state().limit, search.state().queue), (2, 0));
    /// assert!(search.resize(0, 4).is_err());
    /// # Ok::<(), watertight::BuildError>(())
    /// ```
    pub fn resize(&self, at_once: usize, queue: usize) -> Result<(), BuildError> {
        let mut woken = Vec::new();
        let resized = self.0.resized(at_once, queue, &mut woken);
        Waiter::wake_all(woken); // a waker is not run under our lock
        resized.map_err(as_asked)
    }
}

/// What a pool calls its threads and a limit its permits is `at_once` here.
fn as_asked(e: BuildError) -> BuildError {
    match e {
        BuildError::OutOfRange { field: "threads" | "permits", value, allowed } => {
            BuildError::OutOfRange { field: "at_once", value, allowed }
        }
        other => other,
    }
}

impl Inner {
    fn resized(&self, at_once: usize, queue: usize, woken: &mut Vec<Waiter>) -> Result<(), BuildError> {
        let _one_at_a_time = self.size.resizing.lock();
        match &self.pool {
            Some(pool) => {
                let resized = pool.resized(at_once, queue, woken);
                let stats = pool.stats();
                self.sized(stats.threads, stats.queue, woken)?; // invariant 2
                resized
            }
            None if queue > MAX_QUEUE => Err(BuildError::out_of_range("queue", queue, "0 to 1048576")),
            None => {
                self.sized(at_once, queue, woken)?;
                match &self.places {
                    Some(places) => woken.extend(places.resized(at_once.saturating_add(queue).min(Limit::MAX))?),
                    None => self.limit.set_queue(queue),
                }
                Ok(())
            }
        }
    }

    fn sized(&self, at_once: usize, queue: usize, woken: &mut Vec<Waiter>) -> Result<(), BuildError> {
        woken.extend(self.limit.resized(at_once)?);
        self.size.queue.store(queue, Ordering::Relaxed);
        Ok(())
    }
}
