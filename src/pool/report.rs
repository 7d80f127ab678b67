//! What a shutdown says: what became of every job, and what never ran.

#[cfg(doc)]
use super::Pool;
use super::post::RunningJob;
#[cfg(doc)]
use super::stop::Stop;
use crate::context::Context;
use crate::error::Interrupted;
use crate::sync::Mutex;
use std::borrow::Cow;
use std::fmt;

/// What became of the jobs of a pool that was [shut down](Pool::stop): of those that had not ended when the intake was
/// stopped, and of those that were admitted at that moment.
///
/// # Consistency
///
/// Each job is in one line. Once the pool has stopped, `finished`, `cancelled` and `never_ran` are all of them. Every
/// shutdown of a pool that is shut down several times is given the same account.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct ShutdownReport {
    /// Ended by themselves while there was time to drain, with a value or a panic.
    pub finished: u64,
    /// Were running when the time to drain was over, and have ended since.
    pub cancelled: u64,
    /// Were dropped unrun: cancelled in the queue, by the shutdown or by whoever wanted them no longer.
    pub never_ran: u64,
    /// Are still queued: only if the shutdown has not cancelled them.
    pub queued: usize,
    /// Are still running.
    pub running: Vec<RunningJob>,
    /// Those of `never_ran` that were [handed back](Stop::hand_back).
    pub unrun: Vec<Unrun>,
}

/// A job that never ran, handed back by a shutdown.
pub struct Unrun {
    name: Option<Cow<'static, str>>,
    cx: Context,
    // Nobody gets at it through `&self`; the mutex makes it `Sync`.
    work: Mutex<Box<dyn FnOnce() + Send>>,
}

impl Unrun {
    pub(super) fn new(name: Option<Cow<'static, str>>, cx: Context, work: impl FnOnce() + Send + 'static) -> Self {
        Self { name, cx, work: Mutex::new(Box::new(work)) }
    }

    /// Its name, if it has one.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Runs it on this thread, in the context it was submitted with, whether or not that has ended.
    ///
    /// # Panics
    ///
    /// If the job does.
    pub fn run(self) {
        let work = self.work.into_inner();
        self.cx.in_scope(work);
    }
}

impl fmt::Debug for Unrun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unrun").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Jobs were still running when the time of a [shutdown](Pool::shutdown) was over, or when it was asked for on one of the
/// pool's own workers.
#[derive(Debug, thiserror::Error)]
#[error("still shutting down: {} running, {} queued", .report.running.len(), .report.queued)]
#[non_exhaustive]
pub struct StillRunning {
    /// Why the wait ended; `None` on one of the pool's own workers, where it did not wait.
    pub why: Option<Interrupted>,
    /// What became of all jobs.
    pub report: ShutdownReport,
}
