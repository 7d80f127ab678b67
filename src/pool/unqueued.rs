//! Jobs that no worker takes from the queue: run or dropped by whoever submits, or taken out of the queue to be dropped.
//!
//! **Invariant.** What is taken out of the queue hands its place to who took it out, unless somebody who has claimed the job
//! still needs it. **Locking.** None of its own.

use super::handle::JobHandle;
use super::job::in_cell;
use super::on_full::DISPLACED;
use super::shared::Shared;
use super::stats::add;
use super::told::Told;
use super::worker::{Evicts, Worker};
use crate::context::Context;
use crate::queue::InlineJob;
use crate::sync::{Arc, quietly};
use std::borrow::Cow;

/// Does without a place what a worker would: runs the job on this thread, before this returns.
pub(super) fn run_here<F, T>(shared: &Arc<Shared>, f: F, cx: &Context, name: Option<Cow<'static, str>>) -> JobHandle<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    add(&shared.counters.ran_by_caller);
    let job = in_cell(shared.clone(), false, f, cx, name);
    job.claim();
    JobHandle::new(job)
}

/// The handle of a job that is dropped in place of being queued.
pub(super) fn drop_here<F, T>(shared: &Arc<Shared>, f: F, cx: &Context, name: Option<Cow<'static, str>>) -> JobHandle<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    add(&shared.counters.dropped_newest);
    let job = in_cell(shared.clone(), false, f, cx, name);
    job.shed(DISPLACED);
    JobHandle::new(job)
}

/// The same for a job without a handle: run here, or dropped.
pub(super) fn execute_here<F>(shared: &Shared, f: F, cx: &Context, name: Option<&str>, run: bool)
where
    F: FnOnce(),
{
    let told = Told { shared, cx, who: name.into() };
    if run {
        add(&shared.counters.ran_by_caller);
        shared.accepted(cx, name);
        told.work(shared.own_seat(), f);
    } else {
        add(&shared.counters.dropped_newest);
        told.drop_unrun(f, DISPLACED);
    }
}

/// Drops a job that was taken out of the queue. What became of it: unless its place is kept, it is that of whoever has
/// claimed the job.
pub(super) fn evict(shared: &Arc<Shared>, job: InlineJob<Worker>, evicts: Evicts) -> Evicts {
    let worker = Worker { shared: shared.clone(), number: shared.own_seat(), evicts: Some(evicts) };
    quietly(|| job.run(&worker));
    worker.evicts.expect("just put there")
}
