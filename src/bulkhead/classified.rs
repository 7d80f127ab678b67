//! [`Classified`]: the same compartment with the user's own judgement of results.
//!
//! **Invariants.** 1. A result is judged once, where the work has ended, inside what catches its panics: a judgement that
//! panics is a panic of the work. 2. What is told to the breaker and what decides about a retry is one and the same
//! class. **Locking.** None.

use super::calls::{Gave, run_once};
use super::keyed::Keyed;
use super::{Bulkhead, Idempotent, Inner};
use crate::context::Context;
use crate::error::CallError;
use crate::event::Class;
use crate::sync::Shared;
use std::fmt;
use std::future::Future;

/// What the user makes of a result.
type Of<T, E> = dyn Fn(Result<&T, &E>) -> Class + Send + Sync;

/// How results are judged, by the user, or as usual: a value is a success, an error a failure; and what is known before there
/// is any.
pub(super) struct Judge<T, E> {
    of: Option<Shared<Of<T, E>>>,
    pub(super) keyed: Keyed<T>,
}

impl<T, E> Judge<T, E> {
    pub(super) const fn usual() -> Self {
        Self { of: None, keyed: Keyed::not() }
    }
}

/// Who judges the results of a call, and knows what is known of it before there is any.
pub(super) trait Judges<T, E> {
    fn class(&self, result: &Result<T, E>) -> Class;

    fn known(&self) -> Option<T> {
        None
    }

    /// The same before the first attempt, counted.
    #[inline]
    fn known_at_once(&self, _inner: &Inner) -> Option<T> {
        None
    }

    #[inline]
    fn judged<W>(&self, (back, result): (Option<W>, Result<T, E>)) -> Gave<W, T, E> {
        let class = self.class(&result);
        (back, result, class)
    }
}

/// As usual, for calls of which nothing else is known: it takes no room.
#[derive(Clone, Copy)]
pub(super) struct Usual;

impl<T, E> Judges<T, E> for Usual {
    #[inline]
    fn class(&self, result: &Result<T, E>) -> Class {
        if result.is_ok() { Class::Success } else { Class::Failure }
    }
}

impl<T, E> Judges<T, E> for Judge<T, E> {
    #[inline]
    fn class(&self, result: &Result<T, E>) -> Class {
        match &self.of {
            Some(of) => of(result.as_ref()),
            None => Usual.class(result),
        }
    }

    fn known(&self) -> Option<T> {
        self.keyed.known()
    }

    #[inline]
    fn known_at_once(&self, inner: &Inner) -> Option<T> {
        self.keyed.known_at_once(inner)
    }
}

impl<T, E> Clone for Judge<T, E> {
    fn clone(&self) -> Self {
        Self { of: self.of.clone(), keyed: self.keyed.clone() }
    }
}

/// Calls of a [`Bulkhead`] whose results are judged by a function of yours. From [`Bulkhead::classify`]; a cheap handle
/// that owns what it needs, to be kept in a struct beside the client it is for.
///
/// The [`Class`] decides what the breaker counts and whether an [idempotent](Self::idempotent) call is tried again; what
/// the caller gets is the work's own result, whatever it was judged to be. An `Ok` that counts as a failure may be tried
/// again too, and if that is in vain the last `Ok` is returned.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use watertight::bulkhead::Classified;
/// use watertight::{Bulkhead, Class, Context, Isolation, Retry, Trip, Recovery};
///
/// struct Answer { status: u16, retry_after: Option<Duration> }
/// type Error = std::io::Error;
///
/// struct Catalogue { calls: Classified<Answer, Error> }
///
/// let compartment = Bulkhead::builder("catalogue", Isolation::Permits(8))
///     .breaker(Trip::rate(0.5), Recovery::after(Duration::from_secs(5)))
///     .retry(Retry::exponential(Duration::from_millis(1)).attempts(3))
///     .timeout(Duration::from_secs(2))
///     .build()?;
/// let catalogue = Catalogue {
///     calls: compartment.classify(|result: Result<&Answer, &Error>| match result {
///         Ok(Answer { status: 429 | 503, retry_after: Some(d) }) => Class::RetryAfter(*d),
///         Ok(answer) if answer.status >= 500 => Class::Failure,
///         Ok(_) => Class::Success, // a 404 is an answer
///         Err(e) if e.kind() == std::io::ErrorKind::InvalidInput => Class::Ignore, // our own mistake
///         Err(_) => Class::Failure,
///     }),
/// };
/// let mut statuses = [503, 200].into_iter();
/// let answer = catalogue.calls.idempotent().call_here(&Context::current(), |_cx| {
///     Ok(Answer { status: statuses.next().unwrap(), retry_after: Some(Duration::from_millis(2)) })
/// });
/// assert_eq!(answer.unwrap().status, 200);
/// assert_eq!(compartment.breaker().unwrap().snapshot().counts.failures, 1);
/// # Ok::<(), watertight::BuildError>(())
/// ```
pub struct Classified<T, E> {
    bulkhead: Bulkhead,
    judge: Judge<T, E>,
}

impl Bulkhead {
    /// The same compartment with results judged by `class`: what the breaker counts, and what is tried again. See
    /// [`Class`] for what each verdict does, and [`Classified`] for an example.
    ///
    /// `class` is called once for each attempt that returned, on the thread where the work ended and before its place is
    /// given back; keep it quick. If it panics, the attempt has panicked. After the caller's own cancellation a failure is
    /// not told to the breaker, whatever it is judged to be. [`Ignore`](Class::Ignore) keeps a result out of the breaker and is not tried
    /// again.
    pub fn classify<T, E>(&self, class: impl Fn(Result<&T, &E>) -> Class + Send + Sync + 'static) -> Classified<T, E> {
        Classified { bulkhead: self.clone(), judge: Judge { of: Some(Shared::new(class)), keyed: Keyed::not() } }
    }
}

impl<T, E> Classified<T, E> {
    /// As [`Bulkhead::call`].
    ///
    /// # Blocking
    ///
    /// As there.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn call<F>(&self, cx: &Context, f: F) -> Result<T, CallError<E>>
    where
        F: FnOnce(&Context) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: Send + 'static,
    {
        Inner::call(&self.bulkhead.0, cx, false, &self.judge, f, run_once)
    }

    /// As [`Bulkhead::call_blocking`].
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
        F: FnOnce(&Context) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: Send + 'static,
    {
        Inner::call_blocking(self.bulkhead.0.clone(), cx.clone().captured(), false, self.judge.clone(), f, run_once)
    }

    /// As [`Bulkhead::call_here`].
    ///
    /// # Blocking
    ///
    /// As there.
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Panics
    ///
    /// As there; a panic of the judgement passes through too.
    pub fn call_here<F>(&self, cx: &Context, f: F) -> Result<T, CallError<E>>
    where
        F: FnOnce(&Context) -> Result<T, E>,
    {
        self.bulkhead.0.call_here(cx, false, &self.judge, f, run_once)
    }

    /// As [`Bulkhead::call_async`].
    ///
    /// # Cancellation
    ///
    /// As there.
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Panics
    ///
    /// As there; a panic of the judgement passes through too.
    pub fn call_async<F, Fut>(
        &self,
        cx: &Context,
        f: F,
    ) -> impl Future<Output = Result<T, CallError<E>>> + use<T, E, F, Fut>
    where
        F: FnOnce(Context) -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        let inner = self.bulkhead.0.clone();
        Inner::call_async(inner, cx.clone(), false, self.judge.clone(), f, |f, cx| (None, f(cx)))
    }

    /// The same for work that may run more than once: [`Failure`](Class::Failure) and
    /// [`RetryAfter`](Class::RetryAfter) are tried again by the compartment's [retries](super::BulkheadBuilder::retry). A
    /// retry-after is a pause of at least that long; where it does not end before the deadline there is no retry.
    pub fn idempotent(&self) -> Idempotent<T, E> {
        Idempotent::judged(&self.bulkhead, self.judge.clone())
    }

    pub(super) fn judge(&self) -> &Judge<T, E> {
        &self.judge
    }

    /// The compartment.
    pub fn bulkhead(&self) -> &Bulkhead {
        &self.bulkhead
    }
}

impl<T, E> Clone for Classified<T, E> {
    fn clone(&self) -> Self {
        Self { bulkhead: self.bulkhead.clone(), judge: self.judge.clone() }
    }
}

impl<T, E> fmt::Debug for Classified<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Classified").field(&self.bulkhead).finish()
    }
}
