//! The ways to run an attempt: on the compartment's threads (blocking or awaited), on the caller's thread, as a future.
//!
//! **Invariants.** 1. A worker takes its permit when it begins the job. 2. Place and permit are given back when the work
//! has really ended, also when its caller is gone. 3. Nothing is entered after the end of its context: on the caller's own
//! thread or task its driver sees to that. **Locking.** None of
//! its own.

use super::Inner;
use super::attempt::{Attempt, Leave, Leaves, Own};
use super::calls::Gave;
use super::classified::Judges;
use super::flow::Ended;
use super::place::{Holding, Running};
use super::state::Figure;
use crate::context::{Brief, Context};
use crate::error::{CancelCause, Interrupted, JobError, PanicPayload, RejectReason};
use crate::event::Event;
use crate::pool::JobHandle;
use crate::retry::Retry;
use crate::sync::{Arc, drop_quietly};
use std::any::Any;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::task::Poll;

/// What an attempt gives: the work, if it may run again, and how it ended.
pub(super) type Ran<W, T, E> = (Option<W>, Ended<T, E>);

impl Inner {
    /// The work is entered: counted, and a first attempt pays its share into the budget.
    #[inline]
    pub(super) fn entered(&self, attempt: u32) {
        self.figures.add(Figure::Attempts);
        if attempt > 1 {
            self.figures.add(Figure::Retries);
        } else if let Some(account) = self.retry.as_ref().and_then(Retry::account) {
            account.deposit();
        }
    }

    /// On the caller's own thread.
    #[inline(always)]
    pub(super) fn run_here<W, T, E, P>(
        &self,
        attempt: u32,
        leave: impl Leaves,
        running: P,
        cx: &mut Brief,
        work: impl FnOnce(&Context) -> Gave<W, T, E>,
    ) -> Ran<W, T, E> {
        let _running = running;
        let (back, ended) = self.run_caught(attempt, || cx.in_scope(work));
        leave.tell(&ended, cx);
        (back, ended)
    }

    /// Enters the work on this thread; a panic becomes a value.
    #[inline(always)]
    fn run_caught<W, T, E>(&self, attempt: u32, work: impl FnOnce() -> Gave<W, T, E>) -> Ran<W, T, E> {
        let _holding = Holding::of(self);
        self.entered(attempt);
        match catch_unwind(AssertUnwindSafe(work)) {
            Ok((back, result, class)) => (back, Ended::Returned(result, class)),
            Err(payload) => (None, self.panicked(payload)),
        }
    }

    #[cold]
    fn panicked<T, E>(&self, payload: Box<dyn Any + Send>) -> Ended<T, E> {
        let payload = PanicPayload::new(payload);
        let (message, backtrace) = (payload.message(), payload.backtrace());
        self.observed.tell(Event::Panicked { name: &self.name, job: None, id: None, message, backtrace });
        Ended::Panicked(payload)
    }

    /// As a future of the user's. At the end of the context it is dropped, and with that it has ended.
    #[inline]
    pub(super) async fn run_future<W, T, E, Fut: Future<Output = Result<T, E>>>(
        &self,
        attempt: u32,
        cx: &mut Brief,
        judge: &impl Judges<T, E>,
        work: impl FnOnce(Context) -> (Option<W>, Fut),
    ) -> Ran<W, T, E> {
        self.entered(attempt);
        let made = {
            let _holding = Holding::of(self);
            catch_unwind(AssertUnwindSafe(|| cx.in_scope(|cx| work(cx.clone()))))
        };
        let (back, future) = match made {
            Ok(made) => made,
            Err(payload) => return (None, self.panicked(payload)),
        };
        let ended = {
            let mut future = pin!(future);
            let mut end = None; // asked for when there is something to wait for
            // A panic is caught at the poll, not at the drop that follows: an executor that catches it drops the future
            // when nothing unwinds any more.
            let mut poll = |task: &mut std::task::Context<'_>| {
                let _holding = Holding::of(self);
                let judged = |result| {
                    let class = judge.class(&result);
                    Ended::Returned(result, class)
                };
                match catch_unwind(AssertUnwindSafe(|| cx.in_scope(|_| future.as_mut().poll(task).map(judged)))) {
                    Ok(Poll::Ready(ended)) => Poll::Ready(ended),
                    Ok(Poll::Pending) => {
                        let end = end.get_or_insert_with(|| cx.ended());
                        Pin::new(end).poll(task).map(Ended::Interrupted)
                    }
                    Err(payload) => Poll::Ready(self.panicked(payload)),
                }
            };
            poll_fn(&mut poll).await
        };
        (back, ended)
    }

    /// On one of the compartment's threads.
    pub(super) fn start<W, T, E>(
        this: &Arc<Self>,
        number: u32,
        leave: Leave,
        running: Running<'_>,
        cx: &Context,
        work: impl FnOnce(&Context) -> Gave<W, T, E> + Send + 'static,
    ) -> (Arc<Attempt>, JobHandle<Ran<W, T, E>>)
    where
        W: Send + 'static,
        T: Send + 'static,
        E: Send + 'static,
    {
        let attempt = Attempt::new(leave);
        let (inner, of_worker) = (this.clone(), attempt.clone());
        let job = move || inner.on_worker(&of_worker, &Context::current(), number, work);
        (attempt, running.into_slot().submit_in(job, cx))
    }

    /// The same for who waits for it there and then. The job carries its context itself and lets go of it before it has
    /// ended, so that all that was made for the attempt, but for the job's own cell, can be used again by its caller.
    fn start_own<W, T, E>(
        this: &Arc<Self>,
        number: u32,
        leave: Leave,
        running: Running<'_>,
        own: &Own,
        work: impl FnOnce(&Context) -> Gave<W, T, E> + Send + 'static,
    ) -> (Arc<Attempt>, JobHandle<Ran<W, T, E>>)
    where
        W: Send + 'static,
        T: Send + 'static,
        E: Send + 'static,
    {
        let attempt = Attempt::new(leave);
        let (inner, of_worker, cx) = (this.clone(), attempt.clone(), own.cx());
        let job = move || inner.on_worker(&of_worker, &cx, number, work);
        (attempt, running.into_slot().submit_in(job, &Context::background()).alone())
    }

    pub(super) fn on_worker<W, T, E>(
        &self,
        attempt: &Arc<Attempt>,
        cx: &Context,
        number: u32,
        work: impl FnOnce(&Context) -> Gave<W, T, E>,
    ) -> Ran<W, T, E> {
        // Claimed by a wait nested in work of this compartment, it runs under that work's permit.
        let permit = if self.holds_already() { Ok(None) } else { self.limit.acquire_ref(cx).map(Some) };
        let may_run = permit.and_then(|permit| Ok(cx.check().map(|()| permit)?)); // invariant 3
        let _permit = match may_run {
            Ok(permit) if attempt.enter() => permit,
            refused => {
                cx.in_scope(|| drop_quietly(work));
                let reason = refused.err().unwrap_or(RejectReason::Cancelled(CancelCause::Dropped));
                return (None, Ended::Refused(reason));
            }
        };
        let (back, ended) = self.run_caught(number, || cx.in_scope(|| work(cx)));
        attempt.tell(&ended, cx);
        (back, ended)
    }

    /// On one of the compartment's threads, this thread waiting no longer than `cx`.
    pub(super) fn run_blocking<W, T, E>(
        this: &Arc<Self>,
        number: u32,
        leave: Leave,
        running: Running<'_>,
        cx: &Context,
        work: impl FnOnce(&Context) -> Gave<W, T, E> + Send + 'static,
    ) -> Ran<W, T, E>
    where
        W: Send + 'static,
        T: Send + 'static,
        E: Send + 'static,
    {
        let own = Own::of(cx);
        let (attempt, mut handle) = Self::start_own(this, number, leave, running, &own, work);
        match handle.join_within(cx) {
            Some(joined) => {
                own.ended();
                Attempt::recycle(attempt);
                ran(joined)
            }
            None => {
                let why = cx.check().err().unwrap_or(Interrupted::DeadlinePassed);
                let ended = attempt.abandon(why, cx);
                drop(own); // nobody waits for it: it stops at its next check
                handle.shed(why);
                (None, ended)
            }
        }
    }

    /// The same, awaited. Dropping the future cancels.
    pub(super) fn run_awaited<W, T, E, F>(
        this: &Arc<Self>,
        number: u32,
        leave: Leave,
        running: Running<'_>,
        cx: &Context,
        work: F,
    ) -> impl Future<Output = Ran<W, T, E>> + Send + use<W, T, E, F>
    where
        F: FnOnce(&Context) -> Gave<W, T, E> + Send + 'static,
        W: Send + 'static,
        T: Send + 'static,
        E: Send + 'static,
    {
        let own = Own::of(cx);
        let (attempt, handle) = Self::start_own(this, number, leave, running, &own, work);
        let (mut handle, mut end) = (handle.cancel_on_drop(), cx.ended());
        let mut left = Left::new(this, number > 1, attempt, cx);
        async move {
            let first = poll_fn(|task| match Pin::new(&mut handle).poll(task) {
                Poll::Ready(joined) => Poll::Ready(Ok(joined)),
                Poll::Pending => Pin::new(&mut end).poll(task).map(Err),
            });
            match first.await {
                Ok(joined) => {
                    left.done();
                    own.ended();
                    ran(joined)
                }
                Err(why) => {
                    let ended = left.ended(why);
                    drop(own); // nobody waits for it: it stops at its next check
                    handle.shed(why);
                    (None, ended)
                }
            }
        }
    }
}

/// An awaited attempt whose future may be dropped: then it is abandoned, and counted as what that makes of it.
pub(super) struct Left {
    inner: Arc<Inner>,
    /// An earlier attempt has been entered.
    again: bool,
    attempt: Option<(Arc<Attempt>, Context)>,
}

impl Left {
    pub(super) fn new(inner: &Arc<Inner>, again: bool, attempt: Arc<Attempt>, cx: &Context) -> Self {
        Self { inner: inner.clone(), again, attempt: Some((attempt, cx.clone())) }
    }

    pub(super) fn inner(&self) -> &Inner {
        &self.inner
    }

    /// The attempt's context, until it has ended.
    pub(super) fn cx(&self) -> Option<&Context> {
        self.attempt.as_ref().map(|(_, cx)| cx)
    }

    /// It has ended by itself.
    pub(super) fn done(&mut self) {
        if let Some((attempt, _)) = self.attempt.take() {
            Attempt::recycle(attempt);
        }
    }

    pub(super) fn ended<T, E>(&mut self, why: Interrupted) -> Ended<T, E> {
        match self.attempt.take() {
            Some((attempt, cx)) => attempt.abandon(why, &cx),
            None => Ended::Interrupted(why),
        }
    }
}

impl Drop for Left {
    fn drop(&mut self) {
        if self.attempt.is_some() {
            let ended: Ended<(), ()> = self.ended(Interrupted::Cancelled(CancelCause::Dropped));
            self.inner.figures.left(self.again || matches!(ended, Ended::Interrupted(_)));
        }
    }
}

pub(super) fn ran<W, T, E>(joined: Result<Ran<W, T, E>, JobError>) -> Ran<W, T, E> {
    match joined {
        Ok(ran) => ran,
        Err(JobError::Shed(why)) => (None, Ended::Refused(why.into())),
        Err(JobError::Panicked(payload)) => (None, Ended::Panicked(payload)),
        Err(JobError::Abandoned) => (None, Ended::Interrupted(Interrupted::Cancelled(CancelCause::Shutdown))),
    }
}
