//! A job without a handle: it lies in the queue, with its context and its name only if it has any.
//!
//! **Invariant.** Its place goes back when it has ended, or to whoever takes it out of the queue. **Locking.** None.

use super::report::Unrun;
use super::slot::Taken;
use super::told::Told;
use super::worker::Worker;
use crate::context::Context;
use crate::queue::InlineJob;
use std::borrow::Cow;

/// A job without a handle, whose place goes back when it has ended. What is not given is not stored.
pub(super) fn fire_and_forget<F>(work: F, cx: Context, name: Option<Cow<'static, str>>) -> InlineJob<Worker>
where
    F: FnOnce() + Send + 'static,
{
    fn at_work<F>(worker: &Worker, cx: Context, name: Option<Cow<'static, str>>, work: F)
    where
        F: FnOnce() + Send + 'static,
    {
        let told = Told { shared: &worker.shared, cx: &cx, who: name.as_deref().into() };
        if let Some(evicts) = &worker.evicts {
            match &evicts.unrun {
                Some(unrun) => {
                    told.shed(evicts.cause);
                    unrun.borrow_mut().push(Unrun::new(name, cx, work));
                }
                None => told.drop_unrun(work, evicts.cause),
            }
            evicts.dropped.set(true);
            return evicts.kept.set(true);
        }
        let place = Taken::new(&worker.shared).by(worker.number);
        told.work(worker.number, work);
        drop(cx); // its values' drops are the job's too
        drop(place);
    }
    match (cx.is_background(), name) {
        (true, None) => InlineJob::new(move |worker: &Worker| at_work(worker, Context::background(), None, work)),
        (false, None) => InlineJob::new(move |worker: &Worker| at_work(worker, cx, None, work)),
        (_, Some(name)) => InlineJob::new(move |worker: &Worker| at_work(worker, cx, Some(name), work)),
    }
}
