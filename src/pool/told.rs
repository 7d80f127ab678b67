//! What every job goes through, with a handle or without: it is checked, run and caught, or dropped unrun; counted, noted at
//! its worker's post, and told of.
//!
//! **Invariant.** User code runs, is dropped and is told of in the job's own context. **Locking.** None held meanwhile.

use super::backtrace;
use super::shared::Shared;
use crate::context::{Context, at_home};
use crate::error::{Interrupted, JobId, PanicPayload};
use crate::event::Event;
use crate::sync::drop_quietly;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// A job as it is told of: for one with a handle its `Meta`, for one without what it has of it.
#[derive(Clone, Copy)]
pub(super) struct Told<'a> {
    pub(super) shared: &'a Shared,
    pub(super) cx: &'a Context,
    pub(super) who: Who<'a>,
}

/// What a job is called.
#[derive(Clone, Copy, Default)]
pub(super) struct Who<'a> {
    pub(super) id: Option<JobId>,
    pub(super) name: Option<&'a str>,
}

/// A job without a handle.
impl<'a> From<Option<&'a str>> for Who<'a> {
    fn from(name: Option<&'a str>) -> Self {
        Self { id: None, name }
    }
}

impl Told<'_> {
    /// Counted and told in the job's own context.
    pub(super) fn shed(&self, cause: Interrupted) {
        self.cx.in_scope(|| self.shared.shed(self.who, cause));
    }

    /// Runs user code in the job's context; a panic becomes a value and is counted and told. In a context below the
    /// submitter's: what the pool cancels is this job, not whoever submitted it.
    pub(super) fn run_caught<T>(&self, seat: usize, work: impl FnOnce() -> T) -> Result<T, PanicPayload> {
        if self.cx.is_background() {
            self.run_here(seat, work)
        } else {
            self.cx.as_child(|cx| Told { cx, ..*self }.run_here(seat, work))
        }
    }

    /// The same for a context that is the job's own.
    pub(super) fn run_here<T>(&self, seat: usize, work: impl FnOnce() -> T) -> Result<T, PanicPayload> {
        let counters = &self.shared.counters;
        counters.begun(seat);
        let noted = self.shared.posts[seat].begins(self.cx, self.who, &self.shared.cancelled);
        let hooks = &self.shared.hooks;
        let work = || match hooks.has_any_around() {
            true => hooks.around(self.shared, seat, self.who, work),
            false => work(),
        };
        let ran = catch_unwind(AssertUnwindSafe(|| match self.cx.is_background() {
            true => at_home(work),
            false => self.cx.in_scope(work),
        }));
        drop(noted);
        counters.ended(seat, ran.is_ok());
        ran.map_err(|payload| {
            let backtrace = backtrace::of_panic(&*payload);
            let payload = PanicPayload::new(payload).of_job(self.who.id, self.who.name, backtrace);
            let (name, message, backtrace) = (&self.shared.name, payload.message(), payload.backtrace());
            let Who { id, name: job } = self.who;
            self.cx.in_scope(|| self.shared.observed.tell(Event::Panicked { name, job, id, message, backtrace }));
            payload
        })
    }

    /// Whether it may still begin.
    pub(super) fn check(&self) -> Result<(), Interrupted> {
        self.cx.check()?;
        self.shared.cancelled.check()
    }

    /// Does the whole of a job without a handle.
    pub(super) fn work(&self, seat: usize, work: impl FnOnce()) {
        match self.check() {
            Ok(()) => {
                if let Err(payload) = self.run_caught(seat, work) {
                    self.cx.in_scope(|| drop_quietly(payload));
                }
            }
            Err(cause) => self.drop_unrun(work, cause),
        }
    }

    /// Drops a closure that is not to run, counted and told.
    pub(super) fn drop_unrun<F>(&self, work: F, cause: Interrupted) {
        self.cx.in_scope(|| drop_quietly(work));
        self.shed(cause);
    }
}
