//! What happened, as data: [`Event`] and [`Observer`]; and what it means, [`Class`].
//!
//! **Locking.** Events are sent outside every lock of ours. A panic in an observer is caught here and goes nowhere: an
//! observer can slow down the thread that tells it, and nothing else.

mod breaker;
mod class;

pub use breaker::{BreakerCause, BreakerState, Counts};
pub use class::Class;

use crate::error::{Interrupted, JobId, RejectReason};
use crate::sync::{Shared, quietly};
use std::fmt;
use std::time::Duration;

/// Something that happened to a pool, breaker or bulkhead called `name`.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// Work was refused before admission.
    Rejected {
        /// Who refused it.
        name: &'a str,
        /// Why.
        reason: RejectReason,
    },
    /// A queued job was dropped unrun.
    Shed {
        /// Whose job.
        name: &'a str,
        /// The job's own name, if it has one.
        job: Option<&'a str>,
        /// Which job, if it has a handle or is one of several.
        id: Option<JobId>,
        /// Why.
        cause: Interrupted,
    },
    /// A job was submitted [detached](crate::Context::detached): it outlives its caller.
    Detached {
        /// To whom.
        name: &'a str,
        /// The job's own name, if it has one.
        job: Option<&'a str>,
        /// Which job, if it has a handle or is one of several.
        id: Option<JobId>,
    },
    /// A job panicked; its worker goes on.
    Panicked {
        /// Whose job.
        name: &'a str,
        /// The job's own name, if it has one.
        job: Option<&'a str>,
        /// Which job, if it has a handle or is one of several.
        id: Option<JobId>,
        /// The panic's text, if it had one.
        message: Option<&'a str>,
        /// Where it began, if that is [recorded](crate::pool::record_backtraces).
        backtrace: Option<&'a std::backtrace::Backtrace>,
    },
    /// The system refused a thread that was to replace a worker: the worker goes on, and it is tried again.
    WorkerRefused {
        /// Whose worker.
        name: &'a str,
        /// The system's own reason.
        error: &'a std::io::Error,
    },
    /// A worker's warm-up panicked; the worker works all the same.
    WarmUpPanicked {
        /// Whose worker.
        name: &'a str,
        /// Its number, from 0.
        worker: usize,
        /// The panic's text, if it had one.
        message: Option<&'a str>,
    },
    /// A breaker changed its state. Sent exactly once per change, in the order of the changes.
    BreakerChanged {
        /// Whose breaker.
        name: &'a str,
        /// From.
        from: BreakerState,
        /// To.
        to: BreakerState,
        /// Why.
        cause: BreakerCause,
        /// What it had counted in the state that it left, at the moment it left it.
        counts: Counts,
        /// How long it will refuse everything, if it opened.
        retry_after: Option<Duration>,
    },
    /// An attempt failed and another follows.
    Retrying {
        /// Whose call.
        name: &'a str,
        /// The attempt that failed, from 1.
        attempt: u32,
        /// The pause before the next.
        pause: Duration,
    },
}

/// Is told what happens. Called on the thread it happens on, outside every lock, so it should be quick; a panic in it
/// is caught and dropped. It may call what it observes, but what it does there is observed too: an observer that submits
/// to the full pool whose refusals it is told of calls itself without end.
///
/// # Examples
///
/// ```
/// use std::sync::{Arc, atomic::{AtomicUsize, Ordering}};
/// use watertight::event::{self, Event};
/// use watertight::Pool;
///
/// let panics = Arc::new(AtomicUsize::new(0));
/// let seen = panics.clone();
/// let pool = Pool::builder("watched")
///     .threads(1)
///     .observer(event::from_fn(move |e| {
///         if let Event::Panicked { .. } = e {
///             seen.fetch_add(1, Ordering::Relaxed);
///         }
///     }))
///     .build()?;
/// assert!(pool.submit(|| panic!("on purpose"))?.join().is_err());
/// assert_eq!(panics.load(Ordering::Relaxed), 1);
/// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
/// ```
pub trait Observer: Send + Sync {
    /// Something happened.
    fn event(&self, event: &Event<'_>);
}

/// An observer made of a closure.
pub fn from_fn<F: Fn(&Event<'_>) + Send + Sync>(f: F) -> impl Observer + use<F> {
    FromFn(f)
}

struct FromFn<F>(F);

impl<F: Fn(&Event<'_>) + Send + Sync> Observer for FromFn<F> {
    fn event(&self, event: &Event<'_>) {
        (self.0)(event);
    }
}

impl<O: Observer + ?Sized> Observer for Shared<O> {
    fn event(&self, event: &Event<'_>) {
        (**self).event(event);
    }
}

/// An observer or none, as the holders keep it.
#[derive(Clone, Default)]
pub(crate) struct Observed(Option<Shared<dyn Observer>>);

impl Observed {
    pub(crate) fn by(observer: impl Observer + 'static) -> Self {
        Self(Some(Shared::new(observer)))
    }

    /// Tells the observer, if there is one. Call it outside every lock.
    pub(crate) fn tell(&self, event: Event<'_>) {
        if let Some(observer) = &self.0 {
            quietly(|| observer.event(&event));
        }
    }
}

impl fmt::Debug for Observed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Observed(yes)" } else { "Observed(no)" })
    }
}

#[cfg(all(test, not(watertight_loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_observer_hurts_nobody() {
        struct Bomb;
        impl Drop for Bomb {
            fn drop(&mut self) {
                panic!("again");
            }
        }
        let hostile = Observed::by(from_fn(|_| std::panic::panic_any(Bomb)));
        hostile.tell(Event::Rejected { name: "x", reason: RejectReason::ShuttingDown });
    }
}
