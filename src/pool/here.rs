//! A job of a batch, map or scope that never entered the pool: run by whoever submitted it, or refused. Its handle is like
//! any other's.
//!
//! **States.** Ended, from the first. **Invariant.** Its group is not told that it is over: it never counted as under way.
//! **Locking.** That of its latch.

use super::group::Member;
use super::job::{Job, Meta, Popped};
use super::shared::Shared;
use super::stats::add;
use super::told::Told;
use crate::context::Context;
use crate::error::{CancelCause, Interrupted, JobError};
use crate::sync::{Arc, counted};
use crate::wait::latch::Latch;

struct Here<T> {
    latch: Latch<Result<T, JobError>>,
    meta: Meta,
}

/// Runs `work` right here, in `cx`, unless that has ended.
pub(super) fn run<'j, T: Send + 'j>(
    shared: &Arc<Shared>,
    cx: Context,
    member: Option<Member>,
    work: impl FnOnce() -> T,
) -> Arc<dyn Job<T> + 'j> {
    let result = match cx.check() {
        Err(why) => {
            shared.refused(why.into());
            cx.in_scope(|| crate::sync::drop_quietly(work));
            Err(JobError::Shed(why))
        }
        Ok(()) => {
            add(&shared.counters.ran_by_caller);
            let told = Told { shared, cx: &cx, name: None };
            told.run_here(shared.own_seat(), work).map_err(JobError::Panicked)
        }
    };
    ended(shared, cx, member, result)
}

/// A job that has ended like this.
pub(super) fn ended<'j, T: Send + 'j>(
    shared: &Arc<Shared>,
    cx: Context,
    member: Option<Member>,
    result: Result<T, JobError>,
) -> Arc<dyn Job<T> + 'j> {
    let meta = Meta { cx, name: None, shared: shared.clone(), member };
    let here = Here { latch: Latch::new(), meta };
    let _ = here.latch.complete(result); // the first, so it is taken
    counted(crate::sync::Shared::new(here))
}

impl<T: Send> Job<T> for Here<T> {
    fn meta(&self) -> &Meta {
        &self.meta
    }

    fn latch(&self) -> &Latch<Result<T, JobError>> {
        &self.latch
    }

    fn claim(&self) {}

    fn shed(&self, _: Interrupted) -> bool {
        false
    }

    fn cancel(&self, _: CancelCause) {}

    fn abandon(&self) {}

    fn detach(&self) {}

    fn popped(&self, _: Popped<'_>) {}
}
