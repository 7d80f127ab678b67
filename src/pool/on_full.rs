//! [`OnFull`]: what `submit`, `execute`, `submit_async` and `call` do when there is no place.

use super::shared::Shared;
use super::slot::Taken;
use super::stats::add;
use super::unqueued::evict;
use super::worker::Evicts;
use crate::error::{CancelCause, Interrupted, RejectReason};
use crate::sync::{Arc, Shared as Counted, drop_quietly};
use std::fmt;
use std::panic::{AssertUnwindSafe, RefUnwindSafe, UnwindSafe, catch_unwind};

/// What a pool does with a job for which it has no place. The forms called `try_…` ask nobody: they always refuse.
///
/// Set for a pool by [`PoolBuilder::on_full`](super::PoolBuilder::on_full), for one job by
/// [`JobBuilder::on_full`](super::JobBuilder::on_full).
///
/// | | the new job | whoever submits |
/// |---|---|---|
/// | [`Wait`](Self::Wait) (default) | waits for a place | blocks until its context ends; never on one of the pool's own workers |
/// | [`Refuse`](Self::Refuse) | comes back as `Full` | goes on at once |
/// | [`CallerRuns`](Self::CallerRuns) | runs | is as slow as the job: nothing can be submitted faster than it is done |
/// | [`DropNewest`](Self::DropNewest) | is dropped, unrun | goes on at once |
/// | [`DropOldest`](Self::DropOldest) | takes the place of the job that has waited longest, which is dropped unrun | goes on at once |
/// | [`Decide`](Self::Decide) | whatever the user's own function says | |
///
/// A dropped job is [shed](crate::JobError::Shed) with [`CancelCause::Displaced`]: its handle says so, the observer is told
/// of it, [`PoolStats`](super::PoolStats) counts it, and its closure is dropped on the thread that submitted the new one,
/// in the dropped job's own context.
///
/// # Examples
///
/// Only the newest readings are worth anything:
///
/// ```
/// use watertight::{CancelCause, Interrupted, JobError};
/// use watertight::pool::OnFull;
/// use watertight::Pool;
///
/// let pool = Pool::builder("readings").threads(1).queue(1).on_full(OnFull::DropOldest).build()?;
/// let (hold, held) = std::sync::mpsc::channel::<()>();
/// let (begin, begun) = std::sync::mpsc::channel();
/// pool.execute(move || {
///     begin.send(()).unwrap();
///     held.recv().ok();
/// })?;
/// begun.recv()?; // the only worker is busy
/// let old = pool.submit(|| "old")?;
/// let new = pool.submit(|| "new")?;
/// drop(hold);
/// assert!(matches!(old.join(), Err(JobError::Shed(Interrupted::Cancelled(CancelCause::Displaced)))));
/// assert_eq!(new.join()?, "new");
/// assert_eq!(pool.stats().displaced, 1);
/// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
/// ```
#[derive(Clone, Default)]
#[non_exhaustive]
pub enum OnFull {
    /// Waits for a place until the context ends.
    #[default]
    Wait,
    /// Gives the job back.
    Refuse,
    /// Runs it on the submitting thread, in the job's own context, before the call returns. A future runs it where it is
    /// polled, so a slow job then holds up its executor.
    CallerRuns,
    /// Drops it.
    DropNewest,
    /// Drops the job that has waited longest and takes its place. Where nobody has, because all places are those of
    /// running jobs, the new one is refused.
    DropOldest,
    /// Asks the user's own function, made by [`OnFull::decide`].
    Decide(Decide),
}

impl OnFull {
    /// Asks `f`, on the submitting thread, outside every lock. What it says is done; if it says
    /// [`Decide`](Self::Decide), or panics, the job is refused.
    ///
    /// # Examples
    ///
    /// ```
    /// use watertight::pool::OnFull;
    /// use watertight::Pool;
    ///
    /// let pool = Pool::builder("mixed")
    ///     .threads(2)
    ///     .on_full(OnFull::decide(|full| match full.job {
    ///         Some("refresh") => OnFull::DropNewest, // the next one will do
    ///         _ => OnFull::Wait,
    ///     }))
    ///     .build()?;
    /// pool.job().name("refresh").execute(|| {})?;
    /// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
    /// ```
    pub fn decide(f: impl Fn(&WhenFull<'_>) -> OnFull + Send + Sync + 'static) -> Self {
        Self::Decide(Decide(Counted::new(f)))
    }

    /// What is to be done now with a job that was given its own choice or not; never `Decide`.
    pub(super) fn choose(own: Option<&OnFull>, shared: &Shared, job: Option<&str>, full: RejectReason) -> OnFull {
        let on_full = own.unwrap_or(&shared.on_full);
        let Self::Decide(decide) = on_full else { return on_full.clone() };
        let RejectReason::Full { limit: threads, waiting } = full else { unreachable!("asked when it is full") };
        let full = WhenFull { pool: &shared.name, job, threads, waiting };
        let asked = catch_unwind(AssertUnwindSafe(|| (decide.0)(&full)));
        match asked {
            Ok(Self::Decide(_)) => Self::Refuse,
            Ok(decided) => decided,
            Err(payload) => {
                drop_quietly(payload);
                Self::Refuse
            }
        }
    }
}

impl fmt::Debug for OnFull {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Wait => "Wait",
            Self::Refuse => "Refuse",
            Self::CallerRuns => "CallerRuns",
            Self::DropNewest => "DropNewest",
            Self::DropOldest => "DropOldest",
            Self::Decide(_) => "Decide",
        })
    }
}

/// A function of the user's that [decides](OnFull::decide).
#[derive(Clone)]
pub struct Decide(Counted<dyn Fn(&WhenFull<'_>) -> OnFull + Send + Sync>);

impl fmt::Debug for Decide {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Decide")
    }
}

// A panic in it is caught, and it is only ever shared.
impl UnwindSafe for Decide {}
impl RefUnwindSafe for Decide {}

/// What [`OnFull::decide`] is told.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct WhenFull<'a> {
    /// The pool's name.
    pub pool: &'a str,
    /// The new job's name, if it has one.
    pub job: Option<&'a str>,
    /// How many jobs may run at once.
    pub threads: usize,
    /// How many wait: those in the queue, and those that wait for a place in it.
    pub waiting: usize,
}

/// What became of the wish for a place.
pub(super) enum Admitted<P> {
    Place(P),
    /// None: the job is to be run here.
    Here,
    /// None: the job is to be dropped.
    Dropped,
}

impl<P> Admitted<P> {
    pub(super) fn map<Q>(self, f: impl FnOnce(P) -> Q) -> Admitted<Q> {
        match self {
            Self::Place(place) => Admitted::Place(f(place)),
            Self::Here => Admitted::Here,
            Self::Dropped => Admitted::Dropped,
        }
    }
}

/// Why a job was dropped for another's sake.
pub(super) const DISPLACED: Interrupted = Interrupted::Cancelled(CancelCause::Displaced);

impl Shared {
    /// Does what was decided, if that is not to wait.
    pub(super) fn without_waiting<'a>(
        this: &'a Arc<Self>,
        decided: &OnFull,
        full: RejectReason,
    ) -> Result<Admitted<Taken<'a>>, RejectReason> {
        match decided {
            OnFull::CallerRuns => Ok(Admitted::Here),
            OnFull::DropNewest => Ok(Admitted::Dropped),
            OnFull::DropOldest => Self::displace_oldest(this).map(Admitted::Place).ok_or(full),
            OnFull::Wait | OnFull::Refuse | OnFull::Decide(_) => Err(full),
        }
    }

    /// Drops the job that has waited longest, and takes over its place. `None`: nobody waits.
    pub(super) fn displace_oldest(this: &Arc<Self>) -> Option<Taken<'_>> {
        // Empty entries, whose jobs were claimed and still run, leave the queue but keep their places.
        while let Some(job) = this.queue.evict() {
            let evicted = evict(this, job, Evicts::new(DISPLACED));
            if evicted.dropped.get() {
                add(&this.counters.displaced);
            }
            if evicted.kept.get() {
                return Some(Taken::new(this));
            }
        }
        None
    }
}
