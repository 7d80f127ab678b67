//! [`Idempotent`]: the same compartment for work that may run more than once.

use super::calls::run_again;
use super::classified::Judge;
use super::{Bulkhead, Inner};
use crate::context::Context;
use crate::error::CallError;
use std::fmt;
use std::future::Future;

/// Calls of a [`Bulkhead`] that may be tried again. From [`Bulkhead::idempotent`].
///
/// One attempt at a time: the closure is `FnMut`, travels to the worker and comes back between attempts. While a stuck
/// worker holds it there is no further attempt, and the call ends [`Interrupted`](CallError::Interrupted). A closure
/// that consumes what it captured does not compile here, so what must run once cannot be retried by accident.
///
/// An attempt is tried again when it returned an error (or what is [judged](Bulkhead::classify) a failure), an attempt is
/// left, its pause ends before the deadline, and the budget pays for it. Panics, refusals and interruptions are not tried
/// again.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use watertight::{Budget, Bulkhead, Context, Isolation, Retry};
///
/// let rates = Bulkhead::builder("rates", Isolation::Threads(2))
///     .retry(Retry::exponential(Duration::from_millis(1)).attempts(3).budget(Budget::percent(100)))
///     .timeout(Duration::from_secs(2))
///     .build()?;
/// let mut busy = 1; // times
/// let rate = rates.idempotent().call(&Context::current(), move |_cx| {
///     if busy > 0 { busy -= 1; Err("busy") } else { Ok(1.09) }
/// });
/// assert_eq!(rate.unwrap(), 1.09);
/// assert_eq!((rates.state().requests, rates.state().attempts), (1, 2));
/// # Ok::<(), watertight::BuildError>(())
/// ```
///
/// ```compile_fail,E0525
/// # use watertight::{Bulkhead, Isolation};
/// # let bulkhead = Bulkhead::builder("payments", Isolation::Permits(1)).no_timeout().build().unwrap();
/// let order = String::from("a payment must not be made twice");
/// let _ = bulkhead.idempotent().call(&watertight::Context::current(), move |_cx| {
///     drop(order); // consumed: this closure runs once
///     Ok::<(), ()>(())
/// });
/// ```
pub struct Idempotent<T, E> {
    pub(super) bulkhead: Bulkhead,
    pub(super) judge: Judge<T, E>,
}

impl<T, E> Idempotent<T, E> {
    pub(super) fn of(bulkhead: &Bulkhead) -> Self {
        Self::judged(bulkhead, Judge::usual())
    }

    pub(super) fn judged(bulkhead: &Bulkhead, judge: Judge<T, E>) -> Self {
        Self { bulkhead: bulkhead.clone(), judge }
    }

    /// [`Bulkhead::call`] for work that may run again.
    ///
    /// # Blocking
    ///
    /// As there; between attempts this thread sleeps, holding no place.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn call<F>(&self, cx: &Context, f: F) -> Result<T, CallError<E>>
    where
        F: FnMut(&Context) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: Send + 'static,
    {
        let Self { bulkhead, judge } = self;
        match judge.keyed.known_at_once(&bulkhead.0) {
            Some(known) => Ok(known),
            None => Inner::call(&bulkhead.0, &judge.keyed.within(cx), true, judge, f, run_again),
        }
    }

    /// [`Bulkhead::call_blocking`] for work that may run again.
    ///
    /// # Cancellation
    ///
    /// As there.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn call_blocking<F>(
        &self,
        cx: &Context,
        f: F,
    ) -> impl Future<Output = Result<T, CallError<E>>> + Send + use<T, E, F>
    where
        F: FnMut(&Context) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: Send + 'static,
    {
        let (inner, judge) = (self.bulkhead.0.clone(), self.judge.clone());
        let cx = judge.keyed.within(cx).captured();
        async move {
            match judge.keyed.known_at_once(&inner) {
                Some(known) => Ok(known),
                None => Inner::call_blocking(inner, cx, true, judge, f, run_again).await,
            }
        }
    }

    /// [`Bulkhead::call_here`] for work that may run again.
    ///
    /// # Blocking
    ///
    /// As there; between attempts this thread sleeps, holding no permit.
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Panics
    ///
    /// A panic of `f` passes through.
    pub fn call_here<F>(&self, cx: &Context, f: F) -> Result<T, CallError<E>>
    where
        F: FnMut(&Context) -> Result<T, E>,
    {
        let Self { bulkhead, judge } = self;
        match judge.keyed.known_at_once(&bulkhead.0) {
            Some(known) => Ok(known),
            None => bulkhead.0.call_here(&judge.keyed.within(cx), true, judge, f, run_again),
        }
    }

    /// [`Bulkhead::call_async`] for work that may run again.
    ///
    /// # Cancellation
    ///
    /// As there.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn call_async<F, Fut>(
        &self,
        cx: &Context,
        f: F,
    ) -> impl Future<Output = Result<T, CallError<E>>> + use<T, E, F, Fut>
    where
        F: FnMut(Context) -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        let (inner, judge) = (self.bulkhead.0.clone(), self.judge.clone());
        let cx = judge.keyed.within(cx);
        let once = |mut f: F, cx| {
            let future = f(cx);
            (Some(f), future)
        };
        Inner::call_async(inner, cx, true, judge, f, once)
    }
}

impl<T, E> Clone for Idempotent<T, E> {
    fn clone(&self) -> Self {
        Self::judged(&self.bulkhead, self.judge.clone())
    }
}

impl<T, E> fmt::Debug for Idempotent<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Idempotent").field(&self.bulkhead).finish()
    }
}
