//! Submitting many jobs at once: all of them or none, with one wake.

use super::Pool;
use super::fire::fire_and_forget;
use super::handle::JobHandle;
use super::job::{cell_of, entry};
use super::slot::Slots;
use super::submit::{JobBuilder, refuse};
use crate::error::{RejectReason, Rejected};

impl Pool {
    /// Submits all of `jobs` or none, if there are places for all of them now. Never waits.
    ///
    /// # Errors
    ///
    /// As [`try_submit`](Self::try_submit), with all the jobs; [`TooLarge`](RejectReason::TooLarge) for more jobs than
    /// the pool has places.
    pub fn try_submit_batch<F, T>(&self, jobs: Vec<F>) -> Result<Vec<JobHandle<T>>, Rejected<Vec<F>>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.job().try_submit_batch(jobs)
    }

    /// Submits all of `jobs` or none, waiting until there are places for all of them. They are queued in their order, though
    /// others may come between; at most one worker is woken for all, and wakes the next while there is work.
    ///
    /// # Blocking
    ///
    /// As [`reserve_many`](Self::reserve_many).
    ///
    /// # Errors
    ///
    /// As [`submit`](Self::submit), with all the jobs; [`TooLarge`](RejectReason::TooLarge) at once for more jobs than the
    /// pool has places: submit those in pieces.
    ///
    /// # Examples
    ///
    /// ```
    /// use watertight::Pool;
    ///
    /// let pool = Pool::builder("squares").threads(2).queue(16).build()?;
    /// let jobs: Vec<_> = (0..10).map(|n| move || n * n).collect();
    /// let squares: Result<Vec<u32>, _> = pool.submit_batch(jobs)?.into_iter().map(|job| job.join()).collect();
    /// assert_eq!(squares?[9], 81);
    /// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
    /// ```
    pub fn submit_batch<F, T>(&self, jobs: Vec<F>) -> Result<Vec<JobHandle<T>>, Rejected<Vec<F>>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.job().submit_batch(jobs)
    }

    /// [`try_submit_batch`](Self::try_submit_batch) of work without results.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn try_execute_batch<F>(&self, jobs: Vec<F>) -> Result<(), Rejected<Vec<F>>>
    where
        F: FnOnce() + Send + 'static,
    {
        self.job().try_execute_batch(jobs)
    }

    /// [`submit_batch`](Self::submit_batch) of work without results.
    ///
    /// # Blocking
    ///
    /// As there.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn execute_batch<F>(&self, jobs: Vec<F>) -> Result<(), Rejected<Vec<F>>>
    where
        F: FnOnce() + Send + 'static,
    {
        self.job().execute_batch(jobs)
    }
}

impl JobBuilder<'_> {
    /// As [`Pool::try_submit_batch`], each job in the one context and under the one name.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn try_submit_batch<F, T>(self, jobs: Vec<F>) -> Result<Vec<JobHandle<T>>, Rejected<Vec<F>>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let slots = self.try_places(jobs.len());
        self.submit_all(slots, jobs)
    }

    /// As [`Pool::submit_batch`], each job in the one context and under the one name.
    ///
    /// # Blocking
    ///
    /// As there.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn submit_batch<F, T>(self, jobs: Vec<F>) -> Result<Vec<JobHandle<T>>, Rejected<Vec<F>>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let slots = self.places(jobs.len());
        self.submit_all(slots, jobs)
    }

    /// As [`Pool::try_execute_batch`], each job in the one context and under the one name.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn try_execute_batch<F>(self, jobs: Vec<F>) -> Result<(), Rejected<Vec<F>>>
    where
        F: FnOnce() + Send + 'static,
    {
        let slots = self.try_places(jobs.len());
        self.execute_all(slots, jobs)
    }

    /// As [`Pool::execute_batch`], each job in the one context and under the one name.
    ///
    /// # Blocking
    ///
    /// As there.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn execute_batch<F>(self, jobs: Vec<F>) -> Result<(), Rejected<Vec<F>>>
    where
        F: FnOnce() + Send + 'static,
    {
        let slots = self.places(jobs.len());
        self.execute_all(slots, jobs)
    }

    fn submit_all<F, T>(
        self,
        slots: Result<Slots, RejectReason>,
        jobs: Vec<F>,
    ) -> Result<Vec<JobHandle<T>>, Rejected<Vec<F>>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let slots = match slots {
            Ok(slots) => slots,
            Err(reason) => return Err(refuse(&self.pool.owner.shared, reason, jobs)),
        };
        let cx = self.cx.captured();
        // All cells are made before the first job is queued: what runs in between is ours alone.
        let cells: Vec<_> = slots.zip(jobs).map(|(slot, job)| cell_of(slot, job, &cx, self.name.clone())).collect();
        self.pool.owner.shared.queue.push_all(cells.iter().cloned().map(entry));
        Ok(cells.into_iter().map(JobHandle::new).collect())
    }

    fn execute_all<F>(self, slots: Result<Slots, RejectReason>, jobs: Vec<F>) -> Result<(), Rejected<Vec<F>>>
    where
        F: FnOnce() + Send + 'static,
    {
        let shared = &self.pool.owner.shared;
        let slots = match slots {
            Ok(slots) => slots,
            Err(reason) => return Err(refuse(shared, reason, jobs)),
        };
        let cx = self.cx.captured();
        slots.hand_over();
        jobs.iter().for_each(|_| shared.accepted(&cx, self.name.as_deref()));
        shared.queue.push_all(jobs.into_iter().map(|job| fire_and_forget(job, cx.clone(), self.name.clone())));
        Ok(())
    }
}
