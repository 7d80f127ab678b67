//! A pool that changes while it runs: pause and resume, more or fewer threads, a longer or a shorter queue.
//!
//! What is sized once is sized for the most that the builder was told of: the ring, and a worker's own words.
//!
//! **Invariants.** 1. There are never fewer workers than were asked for, but for those being replaced: one is dismissed after
//! the size is written, and started before. 2. A number is one worker's at a time: who is dismissed gives it back before
//! anything of the user's runs. 3. There is no pause after the intake is stopped. **Locking.** One resize at a time; under its
//! lock those of the lifecycle, the places and the parking are taken one after the other. A pause is ordered under the
//! lifecycle's lock.

use super::Pool;
use super::lifecycle::Stage;
use super::shared::Shared;
use crate::error::BuildError;
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::sync::{Arc, Mutex, Waiter, moment};

/// How large a pool is now, and can be.
pub(super) struct Size {
    threads: AtomicUsize,
    queue: AtomicUsize,
    longest: usize,
    resizing: Mutex<()>,
}

impl Size {
    pub(super) fn new(threads: usize, queue: usize, longest: usize) -> Self {
        let (threads, queue) = (AtomicUsize::new(threads), AtomicUsize::new(queue));
        Self { threads, queue, longest, resizing: Mutex::new(()) }
    }

    pub(super) fn threads(&self) -> usize {
        self.threads.load(Ordering::Relaxed)
    }

    pub(super) fn queue(&self) -> usize {
        self.queue.load(Ordering::Relaxed)
    }
}

impl Pool {
    /// Workers finish what they are at and begin nothing more, until [`resume`](Self::resume); jobs queue up. One that is
    /// just taking a job when this returns still begins it, and jobs that join jobs of their own pool still run them. A
    /// [shutdown](Self::shutdown) ends the pause; a pool that is being shut down is not paused.
    ///
    /// # Examples
    ///
    /// ```
    /// use watertight::{Context, Pool};
    ///
    /// let pool = Pool::builder("letters").threads(2).queue(8).build()?;
    /// pool.pause();
    /// let letter = pool.submit(|| "sent")?;
    /// assert!(pool.is_paused() && !letter.is_finished());
    /// pool.resume();
    /// assert_eq!(letter.join()?, "sent");
    /// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
    /// ```
    pub fn pause(&self) {
        let shared = &self.owner.shared;
        let life = shared.life.lock();
        if life.stage() == Stage::Running {
            shared.queue.pause();
        }
    }

    /// Ends a [pause](Self::pause).
    pub fn resume(&self) {
        self.owner.shared.queue.resume();
    }

    /// Whether it is paused.
    pub fn is_paused(&self) -> bool {
        self.owner.shared.queue.is_paused()
    }

    /// From now on it has so many threads and so many places in its queue, no more of either than
    /// [`resizable`](super::PoolBuilder::resizable) said.
    ///
    /// More threads are started before this returns, and those who wait for a place get the new ones. Fewer leave when they
    /// have ended the job they are at, the idle ones first. Of a shorter queue nothing is dropped: places that are in use are
    /// gone when they come back, before anybody who waits is served, and nobody who waits is turned away, but for who
    /// waits for more places at once than there are now ([`TooLarge`](crate::RejectReason::TooLarge)).
    ///
    /// # Errors
    ///
    /// [`OutOfRange`](BuildError::OutOfRange), naming the range; [`Spawn`](BuildError::Spawn) with the system's own reason if
    /// it refuses a thread: the threads that were started stay, and [`stats`](Self::stats) says how many;
    /// [`Conflict`](BuildError::Conflict) for a pool that is being shut down.
    ///
    /// # Examples
    ///
    /// ```
    /// use watertight::Pool;
    ///
    /// let pool = Pool::builder("elastic").threads(1).queue(0).resizable(4, 16).build()?;
    /// pool.resize(3, 10)?;
    /// assert_eq!((pool.stats().threads, pool.stats().queue), (3, 10));
    /// let e = pool.resize(5, 10).unwrap_err();
    /// assert_eq!(e.to_string(), "threads is 5, must be 1 to 4");
    /// # Ok::<(), watertight::BuildError>(())
    /// ```
    ///
    /// A pool does not trim its idle threads by itself: how many it has is yours to say. This does it, called every so often
    /// by whatever ticks in your service. Threads are woken last in, first out, so those that are not needed have done
    /// nothing since the last look:
    ///
    /// ```
    /// use watertight::{BuildError, Pool};
    ///
    /// /// As many threads as have had something to do since the last look, twice as many if all had; 2 to 16.
    /// fn fit(pool: &Pool, done: &mut Vec<u64>) -> Result<(), BuildError> {
    ///     let now = pool.jobs_per_worker();
    ///     let busy = now.iter().zip(&*done).filter(|(now, then)| now != then).count();
    ///     *done = now;
    ///     let stats = pool.stats();
    ///     let busy = busy.max(stats.running);
    ///     let wanted = if busy < stats.threads { busy } else { 2 * busy };
    ///     pool.resize(wanted.clamp(2, 16), stats.queue)
    /// }
    ///
    /// let pool = Pool::builder("elastic").threads(16).queue(64).resizable(16, 64).build()?;
    /// let mut done = pool.jobs_per_worker();
    /// pool.submit(|| {})?.join()?;
    /// fit(&pool, &mut done)?;
    /// assert_eq!(pool.stats().threads, 2);
    /// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
    /// ```
    pub fn resize(&self, threads: usize, queue: usize) -> Result<(), BuildError> {
        let mut woken = Vec::new();
        let resized = self.resized(threads, queue, &mut woken);
        Waiter::wake_all(woken);
        resized
    }

    /// The same for who holds a lock: `woken` are those to wake after it.
    pub(crate) fn resized(&self, threads: usize, queue: usize, woken: &mut Vec<Waiter>) -> Result<(), BuildError> {
        let shared = &self.owner.shared;
        let size = &shared.size;
        if !(1..=shared.seats).contains(&threads) {
            return Err(BuildError::out_of_range("threads", threads, format!("1 to {}", shared.seats)));
        }
        if queue > size.longest {
            return Err(BuildError::out_of_range("queue", queue, format!("0 to {}", size.longest)));
        }
        let _one_at_a_time = size.resizing.lock();
        if shared.stage() > Stage::Running {
            return Err(BuildError::Conflict("the pool is being shut down"));
        }
        let before = size.threads();
        let hired = if threads > before { hire(shared, before, threads) } else { Ok(()) };
        // As many as there are now, if not all could be had.
        let threads = if hired.is_ok() { threads } else { size.threads() };
        size.threads.store(threads, Ordering::Relaxed);
        size.queue.store(queue, Ordering::Relaxed);
        woken.extend(shared.places.resize(threads + queue));
        if threads < before {
            shared.queue.dismiss(before - threads);
        }
        hired
    }
}

/// Starts threads until there are so many. Those that were told to leave and have not yet done so stay.
fn hire(shared: &Arc<Shared>, before: usize, threads: usize) -> Result<(), BuildError> {
    let mut now = before + shared.queue.recall(threads - before);
    let mut turn = 0;
    while now < threads {
        let mut life = shared.life.lock();
        let running = life.stage() == Stage::Running;
        let number = life.hire();
        drop(life);
        match number {
            None if !running => return Err(BuildError::Conflict("the pool is being shut down")),
            // Whoever is leaving is about to give its number back.
            None => moment(&mut turn),
            Some(number) => match (shared.start)(shared.clone(), number) {
                Ok(()) => now += 1,
                Err(source) => {
                    shared.size.threads.store(now, Ordering::Relaxed);
                    let mut life = shared.life.lock();
                    life.begun(number);
                    life.vacate(number);
                    drop(life);
                    shared.worker_left();
                    return Err(BuildError::Spawn { index: now + 1 - before, wanted: threads - before, source });
                }
            },
        }
    }
    Ok(())
}
