//! The four forms of a call, once for all faces: plain, classified, idempotent. Each is a driver with the way to a place
//! and the way to run that belong to the form.
//!
//! **Locking.** None.

use super::Inner;
use super::classified::Judge;
use crate::context::Context;
use crate::error::CallError;
use crate::event::Class;
use crate::retry::Retry;
use crate::sync::Arc;
use std::future::{Future, ready};

/// One run of the work: itself, if it may run again, and its result.
pub(super) type Once<F, T, E> = fn(F, &Context) -> (Option<F>, Result<T, E>);

/// The same, and what the result says.
pub(super) type Gave<W, T, E> = (Option<W>, Result<T, E>, Class);

/// Work that runs once is not given back.
pub(super) fn run_once<F, T, E>(f: F, cx: &Context) -> (Option<F>, Result<T, E>)
where
    F: FnOnce(&Context) -> Result<T, E>,
{
    (None, f(cx))
}

/// Work that may run again comes back.
pub(super) fn run_again<F, T, E>(mut f: F, cx: &Context) -> (Option<F>, Result<T, E>)
where
    F: FnMut(&Context) -> Result<T, E>,
{
    let result = f(cx);
    (Some(f), result)
}

/// `again`: whether the work may be tried again, by the compartment's own retries.
impl Inner {
    pub(super) fn retry(&self, again: bool) -> Option<&Retry> {
        self.retry.as_ref().filter(|_| again)
    }

    pub(super) fn call<F, T, E>(
        this: &Arc<Self>,
        cx: &Context,
        again: bool,
        judge: &Judge<T, E>,
        f: F,
        once: Once<F, T, E>,
    ) -> Result<T, CallError<E>>
    where
        F: Send + 'static,
        T: Send + 'static,
        E: Send + 'static,
    {
        if this.pool.is_some() && this.is_nested(cx) {
            return this.on_this_thread(cx, again, judge, f, once);
        }
        let run = |n, leave, running, cx: &Context, f| {
            let judge = judge.clone();
            Self::run_blocking(this, n, leave, running, cx, move |cx| judge.judged(once(f, cx)))
        };
        this.drive(&cx.clone().captured(), this.retry(again), judge, f, |_| this.on_threads(), run)
    }

    pub(super) async fn call_blocking<F, T, E>(
        this: Arc<Self>,
        cx: Context,
        again: bool,
        judge: Judge<T, E>,
        f: F,
        once: Once<F, T, E>,
    ) -> Result<T, CallError<E>>
    where
        F: Send + 'static,
        T: Send + 'static,
        E: Send + 'static,
    {
        if this.pool.is_some() && this.is_nested(&cx) {
            return this.on_this_thread(&cx, again, &judge, f, once);
        }
        let (this, judge) = (&this, &judge);
        let run = |n, leave, running, cx: Context, f| async move {
            let judge = judge.clone();
            Self::run_awaited(this, n, leave, running, cx, move |cx| judge.judged(once(f, cx))).await
        };
        this.drive_async(cx, this.retry(again), judge, f, |_| ready(this.on_threads()), run).await
    }

    pub(super) fn on_this_thread<F, T, E>(
        &self,
        cx: &Context,
        again: bool,
        judge: &Judge<T, E>,
        f: F,
        once: Once<F, T, E>,
    ) -> Result<T, CallError<E>> {
        let run =
            |n, leave, running, cx: &Context, f| self.run_here(n, leave, running, cx, |cx| judge.judged(once(f, cx)));
        self.drive(cx, self.retry(again), judge, f, |bounds| self.here(bounds), run)
    }

    pub(super) fn call_here<F, T, E>(
        &self,
        cx: &Context,
        again: bool,
        judge: &Judge<T, E>,
        f: F,
        once: Once<F, T, E>,
    ) -> Result<T, CallError<E>> {
        let_through(self.on_this_thread(cx, again, judge, f, once))
    }

    pub(super) async fn call_async<F, Fut, T, E>(
        this: Arc<Self>,
        cx: Context,
        again: bool,
        judge: Judge<T, E>,
        f: F,
        once: fn(F, Context) -> (Option<F>, Fut),
    ) -> Result<T, CallError<E>>
    where
        Fut: Future<Output = Result<T, E>>,
    {
        let (this, judge) = (&*this, &judge);
        let run = |n, leave, running, cx: Context, f| async move {
            this.run_future(n, leave, running, cx, judge, move |cx| once(f, cx)).await
        };
        let_through(this.drive_async(cx, this.retry(again), judge, f, |bounds| this.awaited(bounds), run).await)
    }
}

/// The caller's own code panicked on the caller's own thread or task: counted and told, the panic goes on.
pub(super) fn let_through<T, E>(result: Result<T, CallError<E>>) -> Result<T, CallError<E>> {
    match result {
        Err(CallError::Panicked(payload)) => payload.resume(),
        other => other,
    }
}
