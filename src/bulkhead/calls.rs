//! The four forms of a call, once for all faces: plain, classified, idempotent. Each is a driver with the way to a place
//! and the way to run that belong to the form.
//!
//! **Locking.** None.

use super::Inner;
use super::attempt::Leaves;
use super::classified::Judges;
use super::drive::{Bounds, Form, Under, Way, Where};
use super::flow::Ended;
use crate::context::{Brief, Context};
use crate::error::CallError;
use crate::event::Class;
use crate::retry::Retry;
use crate::sync::Arc;
use std::future::Future;

/// One run of the work: itself, if it may run again, and its result.
pub(super) trait Once<F, T, E>: Fn(F, &Context) -> (Option<F>, Result<T, E>) + Copy {}

impl<F, T, E, O: Fn(F, &Context) -> (Option<F>, Result<T, E>) + Copy> Once<F, T, E> for O {}

/// The same, and what the result says.
pub(super) type Gave<W, T, E> = (Option<W>, Result<T, E>, Class);

/// Work that runs once is not given back.
#[inline]
pub(super) fn run_once<F, T, E>(f: F, cx: &Context) -> (Option<F>, Result<T, E>)
where
    F: FnOnce(&Context) -> Result<T, E>,
{
    (None, f(cx))
}

/// Work that may run again comes back.
#[inline]
pub(super) fn run_again<F, T, E>(mut f: F, cx: &Context) -> (Option<F>, Result<T, E>)
where
    F: FnMut(&Context) -> Result<T, E>,
{
    let result = f(cx);
    (Some(f), result)
}

/// `again`: whether the work may be tried again, by the compartment's own retries.
impl Inner {
    #[inline]
    pub(super) fn retry(&self, again: bool) -> Option<&Retry> {
        self.retry.as_ref().filter(|_| again)
    }

    pub(super) fn call<F, T, E>(
        this: &Arc<Self>,
        cx: &Context,
        again: bool,
        judge: &(impl Judges<T, E> + Clone + Send + 'static),
        f: F,
        once: impl Once<F, T, E> + Send + 'static,
    ) -> Result<T, CallError<E>>
    where
        F: Send + 'static,
        T: Send + 'static,
        E: Send + 'static,
    {
        if this.pool.is_some() && this.is_nested(cx) {
            return this.on_this_thread(cx, again, judge, f, once);
        }
        let run = |n, leave, running, cx: &mut Brief, f| {
            let judge = judge.clone();
            Self::run_blocking(this, n, leave, running, cx, move |cx| judge.judged(once(f, cx)))
        };
        let way = Way { admit: || this.admit(), acquire: |_: &mut Bounds<'_>| this.on_threads(), run };
        this.drive(&cx.clone().captured(), this.retry(again), judge, f, way)
    }

    pub(super) async fn call_blocking<F, T, E>(
        this: Arc<Self>,
        cx: Context,
        again: bool,
        judge: impl Judges<T, E> + Clone + Send + 'static,
        f: F,
        once: impl Once<F, T, E> + Send + 'static,
    ) -> Result<T, CallError<E>>
    where
        F: Send + 'static,
        T: Send + 'static,
        E: Send + 'static,
    {
        if this.pool.is_some() && this.is_nested(&cx) {
            return this.on_this_thread(&cx, again, &judge, f, once);
        }
        let form = OnThreads { this: &this, judge: &judge, once };
        this.drive_async(&cx, this.retry(again), &judge, f, form).await
    }

    pub(super) fn on_this_thread<F, T, E>(
        &self,
        cx: &Context,
        again: bool,
        judge: &impl Judges<T, E>,
        f: F,
        once: impl Once<F, T, E>,
    ) -> Result<T, CallError<E>> {
        let run =
            |n, leave, running, cx: &mut Brief, f| self.run_here(n, leave, running, cx, |cx| judge.judged(once(f, cx)));
        let way = Way { admit: || self.admit_here(), acquire: |bounds: &mut Bounds<'_>| self.here(bounds), run };
        self.drive(cx, self.retry(again), judge, f, way)
    }

    #[inline]
    pub(super) fn call_here<F, T, E>(
        &self,
        cx: &Context,
        again: bool,
        judge: &impl Judges<T, E>,
        f: F,
        once: impl Once<F, T, E>,
    ) -> Result<T, CallError<E>> {
        if self.pool.is_some() || self.places.is_some() {
            return let_through(self.on_this_thread(cx, again, judge, f, once));
        }
        let run =
            |n, leave, permit, cx: &mut Brief, f| self.run_here(n, leave, permit, cx, |cx| judge.judged(once(f, cx)));
        let acquire = |bounds: &mut Bounds<'_>| self.here_by_permit(bounds);
        let_through(self.drive(cx, self.retry(again), judge, f, Way { admit: || self.admit_here(), acquire, run }))
    }

    pub(super) async fn call_async<F, Fut, T, E>(
        this: Arc<Self>,
        cx: Context,
        again: bool,
        judge: impl Judges<T, E>,
        f: F,
        once: impl Fn(F, Context) -> (Option<F>, Fut) + Copy,
    ) -> Result<T, CallError<E>>
    where
        Fut: Future<Output = Result<T, E>>,
    {
        if let Some(known) = judge.known_at_once(&this) {
            return Ok(known);
        }
        let form = AsFuture { this: &this, judge: &judge, once };
        let_through(this.drive_async(&cx, this.retry(again), &judge, f, form).await)
    }
}

/// Awaited attempts on the compartment's threads.
struct OnThreads<'a, J, O> {
    this: &'a Arc<Inner>,
    judge: &'a J,
    once: O,
}

impl<F, T, E, J, O> Form<F, T, E> for OnThreads<'_, J, O>
where
    F: Send + 'static,
    T: Send + 'static,
    E: Send + 'static,
    J: Judges<T, E> + Clone + Send + 'static,
    O: Once<F, T, E> + Send + 'static,
{
    async fn attempt(&self, under: &mut Under<'_, '_, F>, number: u32) -> Ended<T, E> {
        let Self { this, judge, once } = *self;
        let let_in = || Ok((this.admit()?, this.on_threads()?));
        let (leave, running) = match let_in() {
            Ok(both) => both,
            Err(reason) => return Ended::Refused(reason),
        };
        let (cx, f) = match under.enters(&leave, Where::Elsewhere) {
            Ok(both) => both,
            Err(why) => return Ended::Refused(why.into()),
        };
        let judge = judge.clone();
        let ran = Inner::run_awaited(this, number, leave, running, cx, move |cx| judge.judged(once(f, cx))).await;
        under.ran(ran)
    }
}

/// Attempts as futures of the user's, in the call's own.
struct AsFuture<'a, J, O> {
    this: &'a Inner,
    judge: &'a J,
    once: O,
}

impl<F, Fut, T, E, J, O> Form<F, T, E> for AsFuture<'_, J, O>
where
    Fut: Future<Output = Result<T, E>>,
    J: Judges<T, E>,
    O: Fn(F, Context) -> (Option<F>, Fut) + Copy,
{
    #[inline]
    async fn attempt(&self, under: &mut Under<'_, '_, F>, number: u32) -> Ended<T, E> {
        let Self { this, judge, once } = *self;
        let leave = match this.admit_here() {
            Ok(leave) => leave,
            Err(reason) => return Ended::Refused(reason),
        };
        // Given back in this order: the permit, then the place.
        let mut place = match this.place() {
            Ok(place) => place,
            Err(reason) => return Ended::Refused(reason),
        };
        let _permit = match this.permit_ref() {
            Ok(permit) => permit,
            Err(_) => match this.line(&mut place, &mut under.bounds) {
                Ok(turn) => match turn.await {
                    Ok(permit) => this.limit.stays(permit),
                    Err(reason) => return Ended::Refused(reason),
                },
                Err(reason) => return Ended::Refused(reason),
            },
        };
        let (cx, f) = match under.enters(&leave, Where::Here) {
            Ok(both) => both,
            Err(why) => return Ended::Refused(why.into()),
        };
        let ran = this.run_future(number, cx, judge, move |cx| once(f, cx)).await;
        leave.tell(&ran.1, cx);
        under.ran(ran)
    }
}

/// The caller's own code panicked on the caller's own thread or task: counted and told, the panic goes on.
#[inline]
pub(super) fn let_through<T, E>(result: Result<T, CallError<E>>) -> Result<T, CallError<E>> {
    match result {
        Err(CallError::Panicked(payload)) => payload.resume(),
        other => other,
    }
}
