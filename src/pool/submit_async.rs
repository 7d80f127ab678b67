//! The futures of submitting: [`Submit`] and [`Reserve`].
//!
//! **States.** not polled → in line → ready. **Invariant.** On one of the pool's own workers neither waits: it would wait
//! for itself. First polled elsewhere, it may have been granted a place since.

use super::Pool;
use super::handle::JobHandle;
use super::on_full::{Admitted, OnFull};
use super::shared::Shared;
use super::slot::{Slot, SlotWait, Slots};
use super::submit::{JobBuilder, Name, refuse, submit_as};
use crate::context::{Context, ContextWait};
use crate::error::{Interrupted, RejectReason, Rejected};
use crate::sync::Arc;
use crate::wait::Waiting;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{self, Poll};

/// One in line for places, as a task.
struct InLine {
    waiting: Waiting<SlotWait, ContextWait>,
    begun: bool,
    places: usize,
    cx: Context,
    shared: Arc<Shared>,
}

impl InLine {
    fn new(pool: &Pool, cx: Context, places: usize) -> Self {
        let shared = pool.owner.shared.clone();
        Self { waiting: Waiting::new(SlotWait::new(&shared, places), &cx), begun: false, places, cx, shared }
    }

    /// What a first poll finds without waiting, and what a poll finds that may not wait.
    fn at_once(&self) -> Result<Slots, RejectReason> {
        self.cx.check()?;
        Shared::try_places(&self.shared, self.places)
    }

    /// Polls the wait, which nobody has polled before or which has been begun. Never on one of the pool's own workers, which
    /// would wait for itself: `Full` is the answer there.
    fn poll(&mut self, task: &mut task::Context<'_>) -> Poll<Result<Slots, RejectReason>> {
        let own = self.shared.is_own_worker();
        if !std::mem::replace(&mut self.begun, true) && own {
            return Poll::Ready(self.at_once());
        }
        match Pin::new(&mut self.waiting).poll(task) {
            Poll::Pending if own => Poll::Ready(Shared::try_places(&self.shared, self.places)),
            waited => waited.map(|ended| ended.unwrap_or_else(|why: Interrupted| Err(why.into()))),
        }
    }
}

/// The future of [`Pool::submit_async`].
///
/// # Cancellation
///
/// Dropping it leaves the line and drops the closure; nothing was submitted.
///
/// # Panics
///
/// When polled after it was ready.
#[must_use = "futures do nothing unless polled"]
pub struct Submit<F, T> {
    work: Option<F>,
    line: InLine,
    /// What a hook carries is taken when the future is made, as the ambient context is: who polls may have gone on to
    /// something else.
    cx: Context,
    name: Name,
    on_full: Option<OnFull>,
    result: PhantomData<fn() -> T>,
}

// Nothing in it is pinned: the closure is moved out, never polled.
impl<F, T> Unpin for Submit<F, T> {}

impl<F, T> Submit<F, T> {
    pub(super) fn new(job: JobBuilder<'_>, work: F) -> Self {
        let line = InLine::new(job.pool, job.cx.clone(), 1);
        let cx = job.cx.captured();
        Self { work: Some(work), line, cx, name: job.name, on_full: job.on_full, result: PhantomData }
    }

    /// A place, or what is done without one.
    fn poll_admitted(&mut self, task: &mut task::Context<'_>) -> Poll<Result<Admitted<Slot>, RejectReason>> {
        if !self.line.begun {
            let shared = &self.line.shared;
            match self.line.at_once() {
                Err(full @ RejectReason::Full { .. }) => {
                    match OnFull::choose(self.on_full.as_ref(), shared, self.name.as_deref(), full) {
                        OnFull::Wait => {}
                        decided => {
                            let admitted = Shared::without_waiting(shared, &decided, full);
                            return Poll::Ready(admitted.map(|a| a.map(|taken| Slot::new(taken, shared.clone()))));
                        }
                    }
                }
                decided => return Poll::Ready(decided.map(|slots| Admitted::Place(slots.the_one()))),
            }
        }
        self.line.poll(task).map(|ended| ended.map(|slots| Admitted::Place(slots.the_one())))
    }
}

impl<F, T> Future for Submit<F, T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    type Output = Result<JobHandle<T>, Rejected<F>>;

    fn poll(mut self: Pin<&mut Self>, task: &mut task::Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let admitted = match this.poll_admitted(task) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(admitted) => admitted,
        };
        let work = this.work.take().expect("polled after it was ready");
        let shared = &this.line.shared;
        Poll::Ready(match admitted {
            Ok(admitted) => Ok(submit_as(admitted, shared, work, &this.cx, this.name.take())),
            Err(reason) => Err(refuse(shared, reason, work)),
        })
    }
}

impl<F, T> fmt::Debug for Submit<F, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Submit").field("pool", &self.line.shared.name).finish_non_exhaustive()
    }
}

/// The future of [`Pool::reserve_async`].
///
/// # Cancellation
///
/// Dropping it leaves the line; a place granted meanwhile goes to the next.
///
/// # Panics
///
/// When polled after it was ready.
#[must_use = "futures do nothing unless polled"]
pub struct Reserve(InLine);

impl Reserve {
    pub(super) fn new(pool: &Pool) -> Self {
        Self(InLine::new(pool, Context::current(), 1))
    }
}

impl Future for Reserve {
    type Output = Result<Slot, RejectReason>;

    fn poll(mut self: Pin<&mut Self>, task: &mut task::Context<'_>) -> Poll<Self::Output> {
        let line = &mut self.0;
        let ended = match if line.begun { Ok(()) } else { line.cx.check() } {
            Ok(()) => line.poll(task),
            Err(why) => Poll::Ready(Err(why.into())),
        };
        ended.map(|places| match places {
            Ok(slots) => Ok(slots.the_one()),
            Err(reason) => {
                line.shared.refused(reason);
                Err(reason)
            }
        })
    }
}

impl fmt::Debug for Reserve {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reserve").field("pool", &self.0.shared.name).finish_non_exhaustive()
    }
}
