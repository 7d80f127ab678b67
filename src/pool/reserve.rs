//! Holding places before there is work for them: the `reserve` verbs.

use super::Pool;
use super::slot::{Slot, Slots};
use super::submit_async::Reserve;
use crate::error::RejectReason;

impl Pool {
    /// A place, if there is one now: a job submitted into it is not refused. Never waits, whatever the pool's
    /// [`OnFull`](super::OnFull).
    ///
    /// # Errors
    ///
    /// As [`try_submit`](Self::try_submit).
    pub fn try_reserve(&self) -> Result<Slot, RejectReason> {
        let job = self.job();
        let shared = &self.owner.shared;
        self.told(job.try_place().map(|taken| Slot::new(taken, shared.clone())))
    }

    /// A place, waited for if need be.
    ///
    /// # Blocking
    ///
    /// Blocks this thread until there is a place or the ambient context ends, whatever the pool's
    /// [`OnFull`](super::OnFull). On one of the pool's own workers it never blocks: it might wait for itself.
    ///
    /// # Errors
    ///
    /// As [`submit`](Self::submit).
    ///
    /// # Fairness
    ///
    /// First come, first served, together with those who submit.
    pub fn reserve(&self) -> Result<Slot, RejectReason> {
        self.reserve_many(1).map(Slots::the_one)
    }

    /// [`reserve`](Self::reserve) as a future. The ambient context is read now, not at the first poll. Polled on one of the
    /// pool's own workers it never waits.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(pool: watertight::Pool) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    /// let thumbnail = pool.reserve_async().await?.submit(|| "resized").await?;
    /// assert_eq!(thumbnail, "resized");
    /// # Ok(())
    /// # }
    /// # let pool = watertight::Pool::builder("doc").threads(1).build().unwrap();
    /// # futures::executor::block_on(example(pool)).unwrap();
    /// ```
    pub fn reserve_async(&self) -> Reserve {
        Reserve::new(self)
    }

    /// So many places, all of them at once, or none: for work that makes no sense by halves.
    ///
    /// # Blocking
    ///
    /// As [`reserve`](Self::reserve). Whoever comes later waits behind it, also while some of its places are free already.
    ///
    /// # Errors
    ///
    /// As [`reserve`](Self::reserve); and [`TooLarge`](RejectReason::TooLarge) for more places than the pool has, at once or when
    /// it is [made smaller](Self::resize).
    ///
    /// # Examples
    ///
    /// ```
    /// use watertight::{JobError, Pool};
    ///
    /// let pool = Pool::builder("parts").threads(2).queue(2).build()?;
    /// let slots = pool.reserve_many(3)?;
    /// let parts: Vec<_> = slots.enumerate().map(|(n, slot)| slot.submit(move || n * n)).collect();
    /// let sum: usize = parts.into_iter().map(|part| part.join()).sum::<Result<_, JobError>>()?;
    /// assert_eq!(sum, 5);
    /// assert!(pool.reserve_many(5).is_err()); // it has four
    /// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
    /// ```
    pub fn reserve_many(&self, n: usize) -> Result<Slots, RejectReason> {
        self.told(self.job().places(n))
    }

    /// The same, counted and told if it is a refusal.
    fn told<T>(&self, reserved: Result<T, RejectReason>) -> Result<T, RejectReason> {
        reserved.inspect_err(|reason| self.owner.shared.refused(*reason))
    }
}
