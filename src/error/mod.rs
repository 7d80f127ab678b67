//! The whole error taxonomy, ordered by the caller's one question: **did my work start?**
//!
//! | type | when | did it start? |
//! |---|---|---|
//! | [`RejectReason`], [`Rejected`] | refused at the door | no: trying elsewhere is always safe |
//! | [`Interrupted`] | a wait ended early | not about work |
//! | [`JobError`] | a submitted job gave no value | [`Shed`](JobError::Shed): no; [`Panicked`](JobError::Panicked), [`Abandoned`](JobError::Abandoned): yes |
//! | [`CallError`] | a protected call gave no value | [`started()`](CallError::started) says |
//! | [`BuildError`] | a configuration makes no sense | not about work |
//!
//! `Display` is lower case, without a full stop, and never repeats the source's text: `source()` has it.

mod build;
mod id;
mod panic;
#[cfg(all(test, not(watertight_loom)))]
mod tests;

pub use build::BuildError;
pub use id::JobId;
pub use panic::PanicPayload;

use crate::sync::Mutex;
use std::convert::Infallible;
use std::fmt;
use std::io;
use std::time::Duration;

/// Why a token was cancelled. The first cause wins and children inherit it.
///
/// A label and no more, so that it is `Copy`: details belong in events.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[non_exhaustive]
pub enum CancelCause {
    /// Somebody called `cancel()`.
    Requested,
    /// What it belonged to was shut down.
    Shutdown,
    /// Nobody is left to want it: its handle or future was dropped.
    Dropped,
    /// Newer work took its place, or it was the newest where there was none.
    Displaced,
    /// A reason of the user's.
    Because(&'static str),
}

impl fmt::Display for CancelCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Requested => "requested",
            Self::Shutdown => "shut down",
            Self::Dropped => "nobody waits for it",
            Self::Displaced => "displaced",
            Self::Because(why) => why,
        })
    }
}

/// Why work was not started. It never ran: trying elsewhere is always safe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum RejectReason {
    /// Every place is taken and so is every place to wait.
    #[error("no free place: limit {limit}, {waiting} waiting")]
    Full {
        /// How many may run at once.
        limit: usize,
        /// How many were waiting for a place when this one was refused.
        waiting: usize,
    },
    /// It asks for more at once than there are to have, however long it waits.
    #[error("asks for {asked} at once, more than there are to have of {limit}")]
    TooLarge {
        /// How many it asked for.
        asked: usize,
        /// How many may be out at once.
        limit: usize,
    },
    /// The circuit breaker is open, or half-open with all its probes out.
    #[error("circuit open, retry after {retry_after:?}")]
    CircuitOpen {
        /// How long until the breaker may admit again.
        retry_after: Duration,
    },
    /// The deadline passed first.
    #[error("deadline passed before the work started")]
    DeadlinePassed,
    /// The token was cancelled first.
    #[error("cancelled before the work started: {0}")]
    Cancelled(CancelCause),
    /// The pool or limit takes no more work.
    #[error("shutting down")]
    ShuttingDown,
    /// The compartment has permits only, so there is no thread to run it on.
    #[error("no threads here: use call_here or call_async")]
    NoThreads,
}

impl RejectReason {
    /// How long to wait before it is worth trying again, where that is known.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::CircuitOpen { retry_after } => Some(*retry_after),
            _ => None,
        }
    }

    /// The HTTP status to answer with. [`retry_after`](Self::retry_after), rounded up to seconds, goes into its header.
    ///
    /// | | | |
    /// |---|---|---|
    /// | [`Full`](Self::Full), [`TooLarge`](Self::TooLarge) | 429 | too many requests: come back with fewer |
    /// | [`NoThreads`](Self::NoThreads) | 500 | a mistake in this program |
    /// | everything else | 503 | not now; nothing was begun, so it may be sent elsewhere |
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use watertight::RejectReason;
    ///
    /// let open = RejectReason::CircuitOpen { retry_after: Duration::from_millis(1_200) };
    /// let seconds = open.retry_after().map(|d| d.as_millis().div_ceil(1_000));
    /// assert_eq!((open.http_status(), seconds), (503, Some(2)));
    /// assert_eq!(RejectReason::Full { limit: 20, waiting: 10 }.http_status(), 429);
    /// ```
    pub const fn http_status(&self) -> u16 {
        match self {
            Self::Full { .. } | Self::TooLarge { .. } => 429,
            Self::NoThreads => 500,
            Self::CircuitOpen { .. } | Self::DeadlinePassed | Self::Cancelled(_) | Self::ShuttingDown => 503,
        }
    }
}

impl From<Interrupted> for RejectReason {
    fn from(why: Interrupted) -> Self {
        match why {
            Interrupted::Cancelled(cause) => Self::Cancelled(cause),
            Interrupted::DeadlinePassed => Self::DeadlinePassed,
        }
    }
}

/// Why a wait ended early.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Interrupted {
    /// The token was cancelled.
    #[error("cancelled: {0}")]
    Cancelled(CancelCause),
    /// The deadline passed.
    #[error("deadline passed")]
    DeadlinePassed,
}

/// `TimedOut` or `Other`, never `ErrorKind::Interrupted`: `read_exact` and its friends would try that one again.
impl From<Interrupted> for io::Error {
    fn from(why: Interrupted) -> Self {
        let kind = match why {
            Interrupted::DeadlinePassed => io::ErrorKind::TimedOut,
            Interrupted::Cancelled(_) => io::ErrorKind::Other,
        };
        io::Error::new(kind, why)
    }
}

/// A refused submission, with the work inside: nothing is lost.
///
/// # Examples
///
/// ```
/// use watertight::Pool;
///
/// let pool = Pool::builder("full").threads(1).queue(0).build()?;
/// let (hold, held) = std::sync::mpsc::channel::<()>();
/// let busy = pool.submit(move || held.recv().ok())?;
/// match pool.try_submit(|| 6 * 7) {
///     Ok(_) => unreachable!("its only place is taken"),
///     Err(full) => assert_eq!(full.into_work()(), 42), // the caller runs it
/// }
/// drop(hold);
/// busy.join()?;
/// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
/// ```
#[derive(thiserror::Error)]
#[error("job refused")]
pub struct Rejected<F> {
    /// Why it was refused.
    #[source]
    pub reason: RejectReason,
    // Nobody gets at it through `&self`; the mutex makes the error `Sync` whenever the work is `Send`, so that `?` turns
    // it into a boxed error.
    work: Mutex<F>,
}

impl<F> Rejected<F> {
    pub(crate) fn new(reason: RejectReason, work: F) -> Self {
        Self { reason, work: Mutex::new(work) }
    }

    /// The refused work, to run here, offer elsewhere, or keep.
    pub fn into_work(self) -> F {
        self.work.into_inner()
    }
}

impl<F> fmt::Debug for Rejected<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rejected").field("reason", &self.reason).finish_non_exhaustive()
    }
}

/// For those who do not want the work back.
impl<F> From<Rejected<F>> for RejectReason {
    fn from(refused: Rejected<F>) -> Self {
        refused.reason
    }
}

/// What became of a submitted job that did not return a value.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JobError {
    /// It was dropped from the queue and never ran.
    #[error("job never ran")]
    Shed(#[source] Interrupted),
    /// It ran and panicked. The worker goes on.
    #[error("job panicked")]
    Panicked(PanicPayload),
    /// It was still running when its pool's shutdown ran out of time. Whatever it does from now on, nobody hears of it.
    #[error("pool shut down while the job ran")]
    Abandoned,
}

/// What became of a protected call that did not return a value. Plain `CallError` is for work without an error of its
/// own.
///
/// [`Rejected`](Self::Rejected) means that nothing ran, retries included: once an attempt has run, a refusal, a spent
/// budget or a deadline during the pause ends the call with that attempt's own [`Failed`](Self::Failed).
/// [`Interrupted`](Self::Interrupted) is for a call whose attempt was still running.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError<E = Infallible> {
    /// No attempt ever started.
    #[error("call refused")]
    Rejected(#[source] RejectReason),
    /// The caller stopped waiting while an attempt ran: the outcome is unknown.
    #[error("call interrupted, outcome unknown")]
    Interrupted(#[source] Interrupted),
    /// The attempt panicked on its pool.
    #[error("call panicked")]
    Panicked(PanicPayload),
    /// The last attempt's own error.
    #[error("call failed")]
    Failed(#[source] E),
}

impl<E> CallError<E> {
    /// Whether the work was entered at least once. If not, repeating it elsewhere is always safe.
    pub fn started(&self) -> bool {
        !matches!(self, Self::Rejected(_))
    }

    /// How long to wait before it is worth calling again, where that is known.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Rejected(reason) => reason.retry_after(),
            _ => None,
        }
    }

    /// The work's own error, or what else it was.
    ///
    /// # Errors
    ///
    /// Everything that is not [`Failed`](Self::Failed), with the error type gone.
    pub fn into_failed(self) -> Result<E, CallError> {
        match self {
            Self::Failed(e) => Ok(e),
            Self::Rejected(reason) => Err(CallError::Rejected(reason)),
            Self::Interrupted(why) => Err(CallError::Interrupted(why)),
            Self::Panicked(payload) => Err(CallError::Panicked(payload)),
        }
    }

    /// The same with the work's own error changed.
    pub fn map<U>(self, f: impl FnOnce(E) -> U) -> CallError<U> {
        match self.into_failed() {
            Ok(e) => CallError::Failed(f(e)),
            Err(CallError::Rejected(reason)) => CallError::Rejected(reason),
            Err(CallError::Interrupted(why)) => CallError::Interrupted(why),
            Err(CallError::Panicked(payload)) => CallError::Panicked(payload),
            Err(CallError::Failed(never)) => match never {},
        }
    }

    /// Both kinds into the caller's one error type, as a tail expression: `.map_err(CallError::flatten)`.
    ///
    /// # Examples
    ///
    /// ```
    /// use watertight::{CallError, RejectReason};
    /// type Boxed = Box<dyn std::error::Error + Send + Sync>;
    ///
    /// fn refused() -> Result<(), Boxed> {
    ///     let call: Result<(), CallError<Boxed>> = Err(RejectReason::ShuttingDown.into());
    ///     call.map_err(CallError::flatten)
    /// }
    /// assert_eq!(refused().unwrap_err().to_string(), "call refused");
    /// ```
    pub fn flatten<X>(self) -> X
    where
        E: Into<X>,
        CallError: Into<X>,
    {
        match self.into_failed() {
            Ok(e) => e.into(),
            Err(other) => other.into(),
        }
    }
}

impl<E> From<RejectReason> for CallError<E> {
    fn from(reason: RejectReason) -> Self {
        Self::Rejected(reason)
    }
}

impl<F, E> From<Rejected<F>> for CallError<E> {
    fn from(refused: Rejected<F>) -> Self {
        Self::Rejected(refused.reason)
    }
}

impl<E> From<Interrupted> for CallError<E> {
    fn from(why: Interrupted) -> Self {
        Self::Interrupted(why)
    }
}

impl<E> From<JobError> for CallError<E> {
    fn from(e: JobError) -> Self {
        match e {
            JobError::Shed(why) => Self::Rejected(why.into()),
            JobError::Panicked(payload) => Self::Panicked(payload),
            JobError::Abandoned => Self::Interrupted(Interrupted::Cancelled(CancelCause::Shutdown)),
        }
    }
}
