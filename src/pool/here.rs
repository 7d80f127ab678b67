//! A job of a batch, map or scope that never entered the pool: run by whoever submitted it, or refused. Its handle is like
//! any other's.
//!
//! **States.** Ended, from the first. **Invariant.** Its group is not told that it is over: it never counted as under way.
//! **Locking.** That of its latch.

use super::group::Member;
use super::job::{Job, Meta, Popped};
use super::shared::Shared;
use super::stats::add;
use crate::context::Context;
use crate::error::{CancelCause, Interrupted, JobError, JobId};
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
    let meta = Meta { id: JobId::new(), cx, name: None, shared: shared.clone(), member };
    let result = match meta.cx.check() {
        Err(why) => {
            shared.refused(why.into());
            meta.cx.in_scope(|| crate::sync::drop_quietly(work));
            Err(JobError::Shed(why))
        }
        Ok(()) => {
            add(&shared.counters.ran_by_caller);
            meta.told().run_here(shared.own_seat(), work).map_err(JobError::Panicked)
        }
    };
    with(meta, result)
}

/// A job that has ended like this.
pub(super) fn ended<'j, T: Send + 'j>(
    shared: &Arc<Shared>,
    cx: Context,
    member: Option<Member>,
    result: Result<T, JobError>,
) -> Arc<dyn Job<T> + 'j> {
    with(Meta { id: JobId::new(), cx, name: None, shared: shared.clone(), member }, result)
}

fn with<'j, T: Send + 'j>(meta: Meta, result: Result<T, JobError>) -> Arc<dyn Job<T> + 'j> {
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
