//! Taking a batch's results: all of them, or one after the other.

use super::{Batch, FAILED};
use crate::error::JobError;
use crate::pool::group::Want;
use crate::sync::Waiter;
use crate::wait::{Wait, Waiting};
use std::future::{Future, poll_fn};
use std::task::{self, Poll};

impl<T: Send + 'static> Batch<T> {
    /// Waits for all of them: their values, in the order of submission. The first that fails ends the wait, and cancels the
    /// rest: still queued, it never runs; running, it sees its token at its next check, and is not waited for.
    ///
    /// # Blocking
    ///
    /// Blocks this thread until all have ended or one has failed. When the batch's context ends, what is queued is shed,
    /// which is a failure; what runs is waited for. On one of the pool's own workers, what is queued is run right here.
    ///
    /// # Errors
    ///
    /// That of the first job that failed, in time.
    ///
    /// # Examples
    ///
    /// ```
    /// use watertight::Pool;
    ///
    /// let pool = Pool::builder("squares").threads(2).build()?;
    /// let mut squares = pool.batch();
    /// for n in 0..5_u32 {
    ///     squares.submit(move || n * n)?;
    /// }
    /// assert_eq!(squares.join_all()?, [0, 1, 4, 9, 16]);
    /// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
    /// ```
    pub fn join_all(mut self) -> Result<Vec<T>, JobError> {
        while !self.all_or_failed() {
            if !self.claim() {
                self.wait(Want { over: self.submitted, or_failed: true });
            }
        }
        self.values()
    }

    /// [`join_all`](Self::join_all) as a future.
    ///
    /// # Cancellation
    ///
    /// Dropping it cancels what has not ended.
    ///
    /// # Errors
    ///
    /// As there.
    pub async fn join_all_async(mut self) -> Result<Vec<T>, JobError> {
        poll_fn(|task| {
            while !self.all_or_failed() {
                let want = Want { over: self.submitted, or_failed: true };
                if !self.claim() && self.poll_wait(want, task).is_pending() {
                    return Poll::Pending;
                }
            }
            Poll::Ready(())
        })
        .await;
        self.values()
    }

    /// Waits for all of them: what became of each, in the order of submission.
    ///
    /// # Blocking
    ///
    /// As [`join_all`](Self::join_all), but for failures.
    pub fn join_each(mut self) -> Vec<Result<T, JobError>> {
        while self.over < self.submitted {
            if !self.claim() {
                self.wait(Want { over: self.submitted, or_failed: false });
                self.look();
            }
        }
        self.members.drain().filter_map(|job| job.latch().take()).collect()
    }

    fn all_or_failed(&mut self) -> bool {
        self.look();
        self.over == self.submitted || self.has_failed()
    }

    /// All are over, or one has failed.
    fn values(mut self) -> Result<Vec<T>, JobError> {
        let failed = self.ready.iter().find(|ended| !ended.well).and_then(|ended| self.members.remove(ended.number));
        if let Some(Err(why)) = failed.and_then(|job| job.latch().take()) {
            self.cancel_because(FAILED);
            return Err(why);
        }
        self.members.drain().filter_map(|job| job.latch().take()).collect()
    }

    /// The next result, in the order in which they end; `None` when all have been taken. A task's form of
    /// [`next`](Iterator::next); on one of the pool's own workers it runs what is queued right there.
    ///
    /// # Cancellation
    ///
    /// Dropping the future loses nothing.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(pool: watertight::Pool) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    /// let mut batch = pool.batch();
    /// batch.submit(|| 1)?;
    /// batch.submit(|| 2)?;
    /// let mut sum = 0;
    /// while let Some(result) = batch.next_async().await {
    ///     sum += result?;
    /// }
    /// assert_eq!(sum, 3);
    /// # Ok(())
    /// # }
    /// # let pool = watertight::Pool::builder("doc").threads(1).build().unwrap();
    /// # futures::executor::block_on(example(pool)).unwrap();
    /// ```
    pub fn next_async(&mut self) -> impl Future<Output = Option<Result<T, JobError>>> + Send + '_ {
        poll_fn(|task| self.poll_next(task))
    }

    /// [`next_async`](Self::next_async) for those who write a `Stream` or a future of their own.
    pub fn poll_next(&mut self, task: &mut task::Context<'_>) -> Poll<Option<Result<T, JobError>>> {
        loop {
            if let Some(result) = self.take_ready() {
                return Poll::Ready(Some(result));
            }
            if self.is_empty() {
                return Poll::Ready(None);
            }
            if !self.claim() && self.poll_wait(self.want_one(), task).is_pending() {
                return Poll::Pending;
            }
        }
    }

    fn poll_wait(&mut self, want: Want, task: &task::Context<'_>) -> Poll<()> {
        let waiting = match &mut self.polled {
            Some(waiting) => waiting,
            None => {
                let waiting = Waiting::new(self.waits_for(want), &self.until());
                self.polled.insert(waiting)
            }
        };
        match waiting.poll_wait(&Waiter::task(task.waker())) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Ok(())) => self.polled = None,
            Poll::Ready(Err(why)) => {
                self.polled = None;
                self.ended(why);
            }
        }
        Poll::Ready(())
    }
}

/// The results, in the order in which the jobs end; the end when all have been taken. More may be submitted then.
///
/// # Blocking
///
/// Blocks this thread until a job has ended. When the batch's context ends, what is queued is shed, and what runs is waited
/// for. On one of the pool's own workers, what is queued is run right here.
impl<T: Send + 'static> Iterator for Batch<T> {
    type Item = Result<T, JobError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(result) = self.take_ready() {
                return Some(result);
            }
            if self.is_empty() {
                return None;
            }
            if !self.claim() {
                self.wait(self.want_one());
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.len(), Some(self.len()))
    }
}

#[cfg(all(test, not(watertight_loom)))]
mod tests {
    use super::*;
    use crate::context::Context;
    use crate::pool::Pool;

    /// It comes while the wait looks on, before it sleeps.
    #[test]
    fn a_failure_that_is_seen_by_looking_ends_the_wait() {
        let pool = Pool::builder("batch").threads(2).queue(0).build().unwrap();
        let mut batch = pool.batch();
        batch.submit(|| _ = Context::current().token().wait(&Context::background())).unwrap();
        batch.submit(|| panic!("on purpose")).unwrap();
        while pool.stats().panicked == 0 || pool.stats().in_flight > 1 {
            std::thread::yield_now();
        }
        batch.wait(Want { over: 2, or_failed: true });
        assert!(batch.join_all().is_err());
        pool.shutdown(&Context::background()).unwrap();
    }
}
