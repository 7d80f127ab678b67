//! The ways to run an attempt: on the compartment's threads (blocking or awaited), on the caller's thread, as a future.
//!
//! **Invariants.** 1. One count per compartment: whatever runs holds one permit of its limit while it runs, else the
//! dependency would see the threads' calls and the others' calls at once. A worker takes its permit when it begins the
//! job; work nested in work of the same compartment on the same thread uses the permit that its thread holds. 2. Permit
//! and place are given back when the work has really ended, also when its caller is gone. **Locking.** None of its own.

use super::Inner;
use super::attempt::{Attempt, Left, record};
use super::drive::{Bounds, Leave};
use super::flow::Ended;
use super::state::add;
use crate::context::Context;
use crate::error::{CancelCause, Interrupted, JobError, RejectReason};
use crate::permit::Permit;
use crate::pool::{JobHandle, Slot};
use crate::sync::{Arc, thread_local};
use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::Poll;

thread_local! {
    /// The address of the compartment whose permit this thread holds; 0 for none.
    #[allow(clippy::missing_const_for_thread_local, reason = "loom's macro takes no const")]
    static HOLDS: Cell<usize> = Cell::new(0);
}

/// Leave to be one of those that run. `None` inside: the thread held it already.
pub(super) struct Running {
    _permit: Option<Permit>,
}

/// While a thread runs work under a permit of a compartment, work of that compartment nested in it needs no other.
struct Holding {
    before: usize,
}

impl Holding {
    fn of(inner: &Inner) -> Self {
        Self { before: HOLDS.with(|holds| holds.replace(inner.address())) }
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        HOLDS.with(|holds| holds.set(self.before));
    }
}

/// What a job on the compartment's threads gives: the work, if it may run again, and how it ended.
type Ran<W, T, E> = (Option<W>, Ended<T, E>);

impl Inner {
    fn address(&self) -> usize {
        std::ptr::from_ref(self).addr()
    }

    fn holds_already(&self) -> bool {
        HOLDS.with(Cell::get) == self.address()
    }

    /// A permit for the caller's own thread, waited for in the compartment's line.
    pub(super) fn acquire_here(&self, bounds: &mut Bounds) -> Result<Running, RejectReason> {
        if self.holds_already() {
            return Ok(Running { _permit: None });
        }
        let permit = match self.limit.try_acquire() {
            Err(RejectReason::Full { .. }) if self.queue > 0 => self.limit.acquire(bounds.cx())?,
            decided => decided?,
        };
        Ok(Running { _permit: Some(permit) })
    }

    /// The same, awaited. A future may move between threads, so it never borrows its thread's permit.
    pub(super) fn acquire_async(
        &self,
        bounds: &mut Bounds,
    ) -> impl Future<Output = Result<Running, RejectReason>> + Send + use<> {
        let now = self.limit.try_acquire();
        let full = matches!(now, Err(RejectReason::Full { .. }));
        let waits = (full && self.queue > 0).then(|| self.limit.acquire_async(bounds.cx()));
        async move {
            let permit = match waits {
                Some(turn) => turn.await?,
                None => now?,
            };
            Ok(Running { _permit: Some(permit) })
        }
    }

    /// The work is entered: counted, and a first attempt pays its share into the budget.
    fn entered(&self, attempt: u32) {
        add(&self.figures.attempts);
        if attempt == 1 {
            if let Some(account) = self.retry.as_ref().and_then(crate::retry::Retry::account) {
                account.deposit();
            }
        }
    }

    /// On the caller's own thread. A panic passes through, the tokens doing their duty on the way.
    pub(super) fn run_here<T, E>(
        &self,
        leave: Leave,
        running: Running,
        cx: &Context,
        f: impl FnOnce(&Context) -> Result<T, E>,
    ) -> Ended<T, E> {
        let _running = running;
        let _holding = Holding::of(self);
        self.entered(leave.attempt);
        let result = cx.in_scope(|| f(cx));
        if let Some(admission) = leave.admission {
            record(admission, &result, cx);
        }
        Ended::Returned(result)
    }

    /// As a future of the user's. At the end of the context it is dropped, and with that it has ended.
    pub(super) async fn run_future<T, E, Fut: Future<Output = Result<T, E>>>(
        &self,
        leave: Leave,
        running: Running,
        cx: Context,
        f: impl FnOnce(Context) -> Fut,
    ) -> Ended<T, E> {
        let _running = running;
        self.entered(leave.attempt);
        let future = cx.in_scope(|| f(cx.clone()));
        match cx.run(future).await {
            Ok(result) => {
                if let Some(admission) = leave.admission {
                    record(admission, &result, &cx);
                }
                Ended::Returned(result)
            }
            Err(why) => {
                match leave.admission {
                    Some(admission) if why == Interrupted::DeadlinePassed => admission.failure(),
                    Some(admission) => admission.ignore(),
                    None => {}
                }
                Ended::Interrupted(why)
            }
        }
    }

    /// On one of the compartment's threads.
    fn start<W, T, E>(
        this: &Arc<Self>,
        leave: Leave,
        place: Slot,
        cx: &Context,
        work: impl FnOnce(&Context) -> (Option<W>, Result<T, E>) + Send + 'static,
    ) -> (Arc<Attempt>, JobHandle<Ran<W, T, E>>)
    where
        W: Send + 'static,
        T: Send + 'static,
        E: Send + 'static,
    {
        let attempt = Attempt::new(leave.admission);
        let (inner, of_worker) = (this.clone(), attempt.clone());
        let job = move || inner.on_worker(&of_worker, leave.attempt, work);
        (attempt, place.submit(job, cx))
    }

    fn on_worker<W, T, E>(
        &self,
        attempt: &Arc<Attempt>,
        number: u32,
        work: impl FnOnce(&Context) -> (Option<W>, Result<T, E>),
    ) -> Ran<W, T, E> {
        let cx = Context::current();
        // It has been admitted and waited in the pool's queue: it joins the line whatever the line's bound.
        let _permit = match self.holds_already() {
            true => None,
            false => match self.limit.acquire_among(&cx, usize::MAX) {
                Ok(permit) => Some(permit),
                Err(reason) => return (None, Ended::Refused(reason)),
            },
        };
        let Some(entered) = Attempt::enter(attempt) else {
            return (None, Ended::Refused(RejectReason::Cancelled(CancelCause::Dropped)));
        };
        let _holding = Holding::of(self);
        self.entered(number);
        let (back, result) = work(&cx);
        entered.record(&result, &cx);
        (back, Ended::Returned(result))
    }

    /// On one of the compartment's threads, this thread waiting no longer than `cx`.
    pub(super) fn run_blocking<W, T, E>(
        this: &Arc<Self>,
        leave: Leave,
        place: Slot,
        cx: &Context,
        work: impl FnOnce(&Context) -> (Option<W>, Result<T, E>) + Send + 'static,
    ) -> Ran<W, T, E>
    where
        W: Send + 'static,
        T: Send + 'static,
        E: Send + 'static,
    {
        let (attempt, mut handle) = Self::start(this, leave, place, cx, work);
        match handle.join_within(cx) {
            Some(joined) => ran(joined),
            None => {
                let why = cx.check().err().unwrap_or(Interrupted::DeadlinePassed);
                let ended = abandon(&attempt, why);
                handle.cancel_because(CancelCause::Dropped); // nobody waits for it: it stops at its next check
                (None, ended)
            }
        }
    }

    /// The same, awaited. Dropping the future abandons and cancels.
    pub(super) fn run_awaited<W, T, E, F>(
        this: &Arc<Self>,
        leave: Leave,
        place: Slot,
        cx: &Context,
        work: F,
    ) -> impl Future<Output = Ran<W, T, E>> + Send + use<W, T, E, F>
    where
        F: FnOnce(&Context) -> (Option<W>, Result<T, E>) + Send + 'static,
        W: Send + 'static,
        T: Send + 'static,
        E: Send + 'static,
    {
        let (attempt, handle) = Self::start(this, leave, place, cx, work);
        let (attempt, mut handle, mut end) = (AbandonOnDrop(attempt), handle.cancel_on_drop(), cx.ended());
        async move {
            let first = poll_fn(|task| match Pin::new(&mut handle).poll(task) {
                Poll::Ready(joined) => Poll::Ready(Ok(joined)),
                Poll::Pending => Pin::new(&mut end).poll(task).map(Err),
            });
            match first.await {
                Ok(joined) => ran(joined),
                Err(why) => (None, abandon(&attempt.0, why)),
            }
        }
    }
}

fn ran<W, T, E>(joined: Result<Ran<W, T, E>, JobError>) -> Ran<W, T, E> {
    match joined {
        Ok(ran) => ran,
        Err(JobError::Shed(why)) => (None, Ended::Refused(why.into())),
        Err(JobError::Panicked(payload)) => (None, Ended::Panicked(payload)),
    }
}

fn abandon<T, E>(attempt: &Attempt, why: Interrupted) -> Ended<T, E> {
    match attempt.abandon(why) {
        Left::Runs => Ended::Interrupted(why),
        Left::NeverRuns => Ended::Refused(why.into()),
    }
}

/// Abandons an attempt whose future is dropped; after a result that finds nothing to do.
struct AbandonOnDrop(Arc<Attempt>);

impl Drop for AbandonOnDrop {
    fn drop(&mut self) {
        self.0.abandon(Interrupted::Cancelled(CancelCause::Dropped));
    }
}
