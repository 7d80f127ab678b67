//! A submitted job: its closure, its context, its place and its result; and what can become of it.
//!
//! **States.** queued → claimed (run by a worker, or by a join on one of the pool's own workers) or shed (dropped unrun)
//! → ended. **Invariants.** 1. Taking the closure out of its cell under the cell's lock *is* the claim: worker, canceller
//! and joiner race for it and one wins; so a job runs or is shed, once. 2. The place is given back when the job has ended
//! *and* its entry has left the queue (else the queue could overflow), and before the handle is completed. 3. The handle
//! is completed exactly once: by whoever ran the job, whoever shed it, its own waiter if the pool has abandoned the job
//! while it ran, or, were an entry ever dropped in the queue, by that drop. **Locking.** The cell's lock guards the claim and is never held while user code runs or drops.
//!
//! A job with a handle is one allocation: closure and result lie in the same cell. A job without one has no cell: it
//! lies in the queue, with its context and its name only if it has any.

use super::group::Member;
use super::handle::JobHandle;
use super::shared::Shared;
use super::slot::Slot;
use super::told::{Told, Who};
use super::worker::{Evicts, Worker};
use crate::context::{Context, held, home_here};
use crate::error::{CancelCause, Interrupted, JobError, JobId};
use crate::queue::InlineJob;
use crate::sync::{Arc, Mutex, broken, counted, drop_quietly};
use crate::wait::latch::Latch;
use std::borrow::Cow;

/// What a job carries besides its closure.
pub(super) struct Meta {
    pub(super) id: JobId,
    pub(super) cx: Context,
    pub(super) name: Option<Cow<'static, str>>,
    pub(super) shared: Arc<Shared>,
    /// Who is told when it is over.
    pub(super) member: Option<Member>,
}

impl Meta {
    pub(super) fn told(&self) -> Told<'_> {
        Told { shared: &self.shared, cx: &self.cx, who: self.who() }
    }

    fn who(&self) -> Who<'_> {
        Who { id: Some(self.id), name: self.name.as_deref() }
    }
}

/// A job with a handle, whatever its closure is.
pub(super) trait Job<T>: Send + Sync {
    fn meta(&self) -> &Meta;
    fn latch(&self) -> &Latch<Result<T, JobError>>;
    /// Runs it here if it is still queued.
    fn claim(&self);
    /// Drops it unrun, or, if it runs, tells it; for a job that brought no context, whose token is that of where it runs.
    fn cancel(&self, cause: CancelCause);
    /// Drops it unrun, if it has not been claimed. True for the one who did.
    fn shed(&self, cause: Interrupted) -> bool;
    /// Nobody waits for it any longer, though it runs: completes the handle in its place, unless it has ended.
    fn abandon(&self);
    /// The handle is gone.
    fn detach(&self);
    /// Drops a result that nobody took; a panic goes to those whom it concerns then.
    fn dispose(&self, result: Result<T, JobError>) {
        match (result, &self.meta().member) {
            (Err(JobError::Panicked(payload)), Some(member)) => member.unjoined(payload),
            (result, _) => drop_quietly(result),
        }
    }
    /// Its entry has left the queue: does what is left to do.
    fn popped(&self, popped: Popped<'_>);
}

/// Why an entry has left the queue.
#[derive(Clone, Copy)]
pub(super) enum Popped<'a> {
    ByWorker,
    /// To be dropped, with its place for whoever took it out.
    Evicted(&'a Evicts),
    /// The entry was dropped where it lay.
    Dropped,
}

impl<'a> Popped<'a> {
    pub(super) fn for_worker(worker: &'a Worker) -> Self {
        worker.evicts.as_ref().map_or(Self::ByWorker, Self::Evicted)
    }
}

/// A job with a handle.
struct Cell<F, T> {
    state: Mutex<State<F>>,
    latch: Latch<Result<T, JobError>>,
    meta: Meta,
}

struct State<F> {
    work: Option<F>,
    /// What it runs in, if it brought no context: how it is cancelled.
    runs_in: Option<Context>,
    /// The place has not been given back.
    holds: bool,
    popped: bool,
    ended: bool,
    /// Nobody will ask for the result.
    detached: bool,
}

/// Submits into an admitted place: nothing here can fail.
pub(super) fn submit_into<F, T>(slot: Slot, f: F, cx: &Context, name: Option<Cow<'static, str>>) -> JobHandle<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    let job = cell_of(slot, f, cx, name);
    job.meta().shared.queue.push(entry(job.clone()));
    JobHandle::new(job)
}

/// The job in its cell.
pub(super) fn cell_of<F, T>(slot: Slot, f: F, cx: &Context, name: Option<Cow<'static, str>>) -> Arc<dyn Job<T>>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    in_cell(slot.hand_over(), true, f, cx, name)
}

/// The job in its cell, with a place and an entry in the queue to come, or with neither.
pub(super) fn in_cell<F, T>(
    shared: Arc<Shared>,
    queued: bool,
    f: F,
    cx: &Context,
    name: Option<Cow<'static, str>>,
) -> Arc<dyn Job<T>>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    // A job that brought no context runs in its worker's: it needs none of its own.
    let cx = if cx.is_background() { Context::background() } else { cx.child() };
    core_cell(shared, queued, f, cx, name, None)
}

/// The job in its cell, in a context that others may share, and perhaps one of several. It may borrow: whoever makes such
/// a one lets nothing that it borrows go before it is over.
pub(super) fn of_group<'j, F, T>(
    slot: Slot,
    f: F,
    cx: Context,
    name: Option<Cow<'static, str>>,
    member: Option<Member>,
) -> Arc<dyn Job<T> + 'j>
where
    F: FnOnce() -> T + Send + 'j,
    T: Send + 'j,
{
    core_cell(slot.hand_over(), true, f, cx, name, member)
}

fn core_cell<'j, F, T>(
    shared: Arc<Shared>,
    queued: bool,
    f: F,
    cx: Context,
    name: Option<Cow<'static, str>>,
    member: Option<Member>,
) -> Arc<dyn Job<T> + 'j>
where
    F: FnOnce() -> T + Send + 'j,
    T: Send + 'j,
{
    let meta = Meta { id: JobId::new(), cx, name, shared, member };
    meta.shared.accepted(&meta.cx, meta.who());
    let state = State { work: Some(f), runs_in: None, holds: queued, popped: !queued, ended: false, detached: false };
    let cell = Cell { state: Mutex::new(state), latch: Latch::new(), meta };
    counted(crate::sync::Shared::new(cell))
}

/// What the queue holds of it.
pub(super) fn entry<T: Send + 'static>(job: Arc<dyn Job<T>>) -> InlineJob<Worker> {
    let entry = Entry(Some(job));
    InlineJob::new(move |worker: &Worker| entry.work(worker))
}

impl<F, T> Cell<F, T>
where
    F: FnOnce() -> T + Send,
    T: Send,
{
    /// Claims the job: the closure, for the one who sheds it.
    fn take(&self) -> Option<F> {
        self.state.lock().work.take()
    }

    /// In what a claimed job is to run: its own context, or, if it has none, this worker's home; where somebody else's job
    /// runs already, a new one.
    fn moves_in(&self, here: impl FnOnce() -> Option<Context>) -> Option<Context> {
        self.meta.cx.is_background().then(|| here().unwrap_or_else(|| self.meta.cx.child()))
    }

    /// Runs the claimed closure, or sheds it if its context has ended.
    fn run_or_shed(&self, work: F, runs_in: Option<Context>) {
        match self.meta.told().check() {
            Ok(()) => self.run(work, runs_in),
            Err(cause) => self.shed_claimed(work, cause),
        }
    }

    /// Runs the claimed closure in the job's context and completes the handle.
    fn run(&self, work: F, runs_in: Option<Context>) {
        if broken("job: it is over before its closure has run") {
            self.over(true);
        }
        let (told, seat) = (self.meta.told(), self.meta.shared.own_seat());
        let ran = match &runs_in {
            Some(home) if home.is_home() => held(|| told.run_here(seat, work)),
            Some(cx) => Told { cx, ..told }.run_here(seat, work),
            None => told.run_here(seat, work),
        };
        drop(runs_in);
        let well = ran.is_ok();
        if broken("job: the handle is completed before the place is back") {
            self.complete(ran.map_err(JobError::Panicked));
            self.ended(true);
            return;
        }
        if self.ended(false) {
            self.complete(ran.map_err(JobError::Panicked));
            return self.over(well);
        }
        // Dropping a result nobody wants is part of the job: it keeps its place until that is done.
        self.meta.cx.in_scope(|| self.dispose(ran.map_err(JobError::Panicked)));
        self.ended(true);
        self.over(well);
    }

    /// Drops the claimed closure unrun, here and now, and completes the handle.
    fn shed_claimed(&self, work: F, cause: Interrupted) {
        self.meta.cx.in_scope(|| drop_quietly(work));
        self.meta.told().shed(cause); // counted before the place is back, as what has run is
        self.ended(true);
        self.complete(Err(JobError::Shed(cause)));
        self.over(false);
    }

    /// The last thing done with a job: its closure is gone, and its result is there for a handle, or gone too. What is left
    /// of it from now on, an entry in the queue perhaps, holds nothing of the user's but a result that a handle may take.
    fn over(&self, well: bool) {
        let Some(member) = &self.meta.member else { return };
        // The handle may have gone while the job was completed.
        if self.state.lock().detached && !broken("job: a result whose handle has gone meanwhile stays") {
            if let Some(left) = self.latch.take() {
                self.meta.cx.in_scope(|| self.dispose(left));
            }
        }
        member.over(well);
    }

    /// The job has ended: gives its place back if the entry has left the queue. False, with nothing done, if its result
    /// has to be dropped first because nobody will ask for it; not asked with `anyway`.
    fn ended(&self, anyway: bool) -> bool {
        let mut state = self.state.lock();
        if state.detached && !anyway {
            return false;
        }
        state.ended = true;
        let ran_in = state.runs_in.take();
        let free = state.popped && std::mem::take(&mut state.holds);
        drop(state);
        drop(ran_in);
        self.give_back(free);
        true
    }

    fn give_back(&self, free: bool) {
        if free {
            let shared = &self.meta.shared;
            shared.give_back(shared.own_seat());
        }
    }

    fn complete(&self, result: Result<T, JobError>) {
        // The result of a job that was abandoned comes too late.
        if let Err(late) = self.latch.complete(result) {
            self.meta.cx.in_scope(|| drop_quietly(late));
        }
    }
}

impl<F, T> Job<T> for Cell<F, T>
where
    F: FnOnce() -> T + Send,
    T: Send,
{
    fn meta(&self) -> &Meta {
        &self.meta
    }

    fn latch(&self) -> &Latch<Result<T, JobError>> {
        &self.latch
    }

    fn claim(&self) {
        let runs_in = self.moves_in(|| None);
        let mut state = self.state.lock();
        let Some(work) = state.work.take() else { return };
        state.runs_in = runs_in.clone();
        drop(state);
        self.run_or_shed(work, runs_in);
    }

    fn cancel(&self, cause: CancelCause) {
        let mut state = self.state.lock();
        let (work, runs_in) = (state.work.take(), state.runs_in.clone());
        drop(state);
        match (work, runs_in) {
            (Some(work), _) => self.shed_claimed(work, Interrupted::Cancelled(cause)),
            (None, Some(cx)) => cx.token().cancel_because(cause),
            (None, None) => {}
        }
    }

    fn shed(&self, cause: Interrupted) -> bool {
        if broken("job: who sheds looks first and claims later") {
            let there = self.state.lock().work.is_some();
            if there {
                drop(self.take());
                self.complete(Err(JobError::Shed(cause)));
            }
            return there;
        }
        let Some(work) = self.take() else { return false };
        self.shed_claimed(work, cause);
        true
    }

    fn abandon(&self) {
        if !self.shed(Interrupted::Cancelled(CancelCause::Shutdown)) {
            let _ = self.latch.complete(Err(JobError::Abandoned)); // or it has just ended
        }
    }

    fn detach(&self) {
        self.state.lock().detached = true;
    }

    fn popped(&self, popped: Popped<'_>) {
        let to_run = matches!(popped, Popped::ByWorker);
        let runs_in = if to_run { self.moves_in(home_here) } else { None };
        let mut state = self.state.lock();
        state.popped = true;
        let work = state.work.take();
        if work.is_some() {
            state.runs_in = runs_in.clone();
        }
        let evicted = matches!(popped, Popped::Evicted(_));
        // Shed or claimed by somebody else, it is an empty husk; if that has ended too, its place is free.
        let free = (state.ended || (evicted && work.is_some())) && std::mem::take(&mut state.holds);
        drop(state);
        let cause = match popped {
            Popped::ByWorker => None,
            Popped::Dropped => Some(Interrupted::Cancelled(CancelCause::Shutdown)),
            Popped::Evicted(evicts) => {
                evicts.kept.set(free);
                evicts.dropped.set(work.is_some());
                Some(evicts.cause)
            }
        };
        self.give_back(free && (!evicted || broken("full: a displaced job gives its place back too")));
        match (work, cause) {
            (Some(work), Some(cause)) => self.shed_claimed(work, cause),
            (Some(work), None) => self.run_or_shed(work, runs_in),
            (None, _) => {}
        }
    }
}

/// A queued job. A worker works it; dropped in the queue it would shed it.
struct Entry<T: Send + 'static>(Option<Arc<dyn Job<T>>>);

impl<T: Send + 'static> Entry<T> {
    fn work(mut self, worker: &Worker) {
        let Some(job) = self.0.take() else { return };
        job.popped(Popped::for_worker(worker));
        if broken("job: the worker keeps what it has done") {
            std::mem::forget(job);
            return;
        }
        drop_quietly(job); // a result nobody took drops with the last reference
    }
}

impl<T: Send + 'static> Drop for Entry<T> {
    fn drop(&mut self) {
        if let Some(job) = self.0.take() {
            job.popped(Popped::Dropped);
        }
    }
}
