//! A job that never entered the pool: run by whoever submitted it, or refused. Its handle is like any other's; the pool's
//! figures do not count it, because the pool has not done it.

use super::group::Member;
use super::job::{Job, Meta};
use super::shared::Shared;
use crate::context::Context;
use crate::error::{Interrupted, JobError, PanicPayload};
use crate::event::Event;
use crate::sync::{Arc, counted};
use crate::wait::latch::Latch;
use std::panic::{AssertUnwindSafe, catch_unwind};

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
        Ok(()) => catch_unwind(AssertUnwindSafe(|| cx.in_scope(work))).map_err(|payload| {
            let payload = PanicPayload::new(payload);
            let (name, message) = (&shared.name, payload.message());
            cx.in_scope(|| shared.observed.tell(Event::Panicked { name, job: None, message }));
            JobError::Panicked(payload)
        }),
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

    fn detach(&self) {}

    fn popped(&self, _: bool) {}
}
