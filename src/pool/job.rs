//! A submitted job: its closure, its context, its place and its result; and what can become of it.
//!
//! **States.** queued → claimed (run by a worker, or by a join on one of the pool's own workers) or shed (dropped unrun)
//! → ended. **Invariants.** 1. Taking the closure out of its cell under the cell's lock *is* the claim: worker, canceller
//! and joiner race for it and one wins; so a job runs or is shed, once. 2. The place is given back when the job has ended
//! *and* its entry has left the queue (else the queue could overflow), and before the handle is completed. 3. The handle
//! is completed exactly once: by whoever ran the job, whoever shed it, or, were an entry ever dropped in the queue, by
//! that drop. **Locking.** The cell's lock guards the claim and is never held while user code runs or drops.

use super::shared::Shared;
use super::slot::Slot;
use super::stats::add;
use crate::context::Context;
use crate::error::{CancelCause, Interrupted, JobError, PanicPayload};
use crate::event::Event;
use crate::queue::InlineJob;
use crate::sync::atomic::Ordering;
use crate::sync::{Arc, Mutex, Waiter, broken, drop_quietly};
use crate::wait::Wait;
use crate::wait::latch::Latch;
use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::task::Poll;

/// What a job carries besides its closure.
pub(super) struct Meta {
    pub(super) cx: Context,
    pub(super) name: Option<Cow<'static, str>>,
    pub(super) shared: Arc<Shared>,
}

impl Meta {
    fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Counted and told in the job's own context.
    fn shed(&self, cause: Interrupted) {
        self.cx.in_scope(|| self.shared.shed(self.name(), cause));
    }
}

/// The claimed closure of a job.
pub(super) type Work<T> = Box<dyn FnOnce() -> T + Send>;

/// A job with a handle.
pub(super) struct Cell<T> {
    state: Mutex<State<T>>,
    latch: Latch<Result<T, JobError>>,
    pub(super) meta: Meta,
}

struct State<T> {
    work: Option<Work<T>>,
    slot: Option<Slot>,
    popped: bool,
    ended: bool,
    /// Nobody will ask for the result.
    detached: bool,
}

impl<T: Send + 'static> Cell<T> {
    pub(super) fn new(work: Work<T>, slot: Slot, meta: Meta) -> Self {
        let state = State { work: Some(work), slot: Some(slot), popped: false, ended: false, detached: false };
        Self { state: Mutex::new(state), latch: Latch::new(), meta }
    }

    /// What a worker does with it.
    pub(super) fn task(cell: Arc<Self>) -> InlineJob<()> {
        let entry = Entry(Some(cell));
        InlineJob::new(move |()| entry.work())
    }
}

impl<T> Cell<T> {
    /// Claims the job: the closure, for the one who runs it.
    pub(super) fn claim(&self) -> Option<Work<T>> {
        self.state.lock().work.take()
    }

    /// Runs the claimed closure in the job's context and completes the handle.
    pub(super) fn run(&self, work: Work<T>) {
        let ran = run_caught(&self.meta, work);
        if self.state.lock().detached {
            // Dropping a result nobody wants is part of the job: it keeps its place until that is done.
            self.meta.cx.in_scope(|| drop_quietly(ran));
            return drop(self.ended());
        }
        let place = self.ended();
        if broken("job: the handle is completed before the place is back") {
            self.complete(ran.map_err(JobError::Panicked));
            return drop(place);
        }
        drop(place);
        self.complete(ran.map_err(JobError::Panicked));
    }

    /// Drops the job unrun, if it has not been claimed. True for the one who did.
    pub(super) fn shed(&self, cause: Interrupted) -> bool {
        if broken("job: who sheds looks first and claims later") {
            let there = self.state.lock().work.is_some();
            if there {
                drop(self.claim());
                self.complete(Err(JobError::Shed(cause)));
            }
            return there;
        }
        let Some(work) = self.claim() else { return false };
        self.shed_claimed(work, cause);
        true
    }

    /// Drops the claimed closure unrun, here and now, and completes the handle.
    pub(super) fn shed_claimed(&self, work: Work<T>, cause: Interrupted) {
        self.meta.cx.in_scope(|| drop_quietly(work));
        drop(self.ended());
        self.meta.shed(cause);
        self.complete(Err(JobError::Shed(cause)));
    }

    /// The job has ended. Its place, if the entry has left the queue.
    fn ended(&self) -> Option<Slot> {
        let mut state = self.state.lock();
        state.ended = true;
        if state.popped { state.slot.take() } else { None }
    }

    /// The entry has left the queue: the closure if nobody has it, or the place if the job has ended.
    fn popped(&self) -> (Option<Work<T>>, Option<Slot>) {
        let mut state = self.state.lock();
        state.popped = true;
        let slot = if state.ended { state.slot.take() } else { None };
        (state.work.take(), slot)
    }

    fn complete(&self, result: Result<T, JobError>) {
        // Completed twice is impossible (invariant 3); were it not, the second result is dropped, harming nobody.
        if let Err(second) = self.latch.complete(result) {
            drop_quietly(second);
        }
    }

    /// The handle is gone.
    pub(super) fn detach(&self) {
        self.state.lock().detached = true;
    }

    pub(super) fn try_take(&self) -> Option<Result<T, JobError>> {
        self.latch.take()
    }

    pub(super) fn is_finished(&self) -> bool {
        self.latch.is_done()
    }
}

/// A queued job. A worker works it; dropped in the queue it would shed it.
struct Entry<T: Send + 'static>(Option<Arc<Cell<T>>>);

impl<T: Send + 'static> Entry<T> {
    fn work(mut self) {
        let Some(cell) = self.0.take() else { return };
        match cell.popped() {
            (Some(work), _) => match cell.meta.cx.check() {
                Ok(()) => cell.run(work),
                Err(cause) => cell.shed_claimed(work, cause),
            },
            (None, place) => drop(place), // shed or claimed: an empty husk
        }
        if broken("job: the worker keeps what it has done") {
            std::mem::forget(cell);
            return;
        }
        drop_quietly(cell); // a result nobody took drops with the last reference
    }
}

impl<T: Send + 'static> Drop for Entry<T> {
    fn drop(&mut self) {
        let Some(cell) = self.0.take() else { return };
        let (work, place) = cell.popped();
        drop(place);
        if let Some(work) = work {
            cell.shed_claimed(work, Interrupted::Cancelled(CancelCause::Shutdown));
        }
    }
}

/// Runs user code in the job's context; a panic becomes a value and is counted and told.
fn run_caught<T>(meta: &Meta, work: impl FnOnce() -> T) -> Result<T, PanicPayload> {
    let counters = &meta.shared.counters;
    counters.running.fetch_add(1, Ordering::Relaxed);
    let ran = catch_unwind(AssertUnwindSafe(|| meta.cx.in_scope(work)));
    counters.running.fetch_sub(1, Ordering::Relaxed);
    add(if ran.is_ok() { &counters.finished } else { &counters.panicked });
    ran.map_err(|payload| {
        let payload = PanicPayload::new(payload);
        let (name, message) = (&meta.shared.name, payload.message());
        meta.cx.in_scope(|| meta.shared.observed.tell(Event::Panicked { name, job: meta.name(), message }));
        payload
    })
}

/// A job without a handle: no cell, no result.
pub(super) fn fire_and_forget<F>(work: F, slot: Slot, meta: Meta) -> InlineJob<()>
where
    F: FnOnce() + Send + 'static,
{
    InlineJob::new(move |()| {
        match meta.cx.check() {
            Ok(()) => {
                if let Err(payload) = run_caught(&meta, work) {
                    meta.cx.in_scope(|| drop_quietly(payload));
                }
            }
            Err(cause) => {
                meta.cx.in_scope(|| drop_quietly(work));
                meta.shed(cause);
            }
        }
        drop(slot);
    })
}

/// The wait for a job's result.
pub(super) struct ResultWait<T>(pub(super) Arc<Cell<T>>);

impl<T> Wait for ResultWait<T> {
    type Output = Result<T, JobError>;

    fn poll_wait(&mut self, w: &Waiter) -> Poll<Self::Output> {
        self.0.latch.poll_wait(w)
    }

    fn give_up(&mut self) {
        self.0.latch.leave();
    }
}
