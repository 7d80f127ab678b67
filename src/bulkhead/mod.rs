//! [`Bulkhead`]: one compartment for one dependency, made of a limit, a pool, a breaker, retries and a time-out.
//!
//! The order is fixed: deadline → retry(budget) → breaker → permit → work; `flow.rs` has it with its reasons, `drive.rs`
//! drives it, `run.rs` runs the attempts, `attempt.rs` is what a caller and its worker share. Any other order is made by
//! hand from the tokens of [`Limit`], [`Breaker`] and [`Budget`](crate::Budget).
//!
//! **Invariants.** 1. Never more than the limit runs at once, whichever way it was called. 2. `Rejected` exactly if the
//! work was never entered. 3. A caller is never stuck behind the dependency: `call` and `call_blocking` return by the
//! deadline, whatever the work does (but from inside its own work, see `place.rs`); the work keeps its place until it ends. **Locking.** Those of the parts, each held
//! alone.

mod admission;
mod attempt;
mod builder;
mod calls;
mod classified;
mod drive;
mod fallback;
mod flow;
mod hedge;
mod hedge_async;
mod hedge_blocking;
mod idempotent;
mod keyed;
#[cfg(all(test, watertight_loom, not(watertight_shuttle)))]
mod loom_tests;
mod parts;
mod place;
mod race;
mod resize;
mod run;
mod state;
mod submit;
#[cfg(all(test, not(watertight_loom)))]
mod tests;

pub use admission::{Admission, Admit};
pub use builder::BulkheadBuilder;
pub use classified::Classified;
pub use hedge::Hedge;
pub use idempotent::Idempotent;
pub use state::BulkheadState;
pub use submit::CallHandle;

use crate::breaker::Breaker;
use crate::context::{Context, Inside};
use crate::error::CallError;
use crate::event::Observed;
use crate::permit::Limit;
use crate::pool::Pool;
use crate::retry::Retry;
use crate::sync::{Arc, Shared};
use calls::run_once;
use classified::Usual;
use resize::Size;
use state::Figures;
use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::time::Duration;

/// What keeps a dependency's calls from everybody else's.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Isolation {
    /// Threads of its own: the caller can leave a stuck call behind. For blocking clients.
    Threads(usize),
    /// A count only: calls run on the caller's thread or as its future. For async clients, and calls that always end.
    Permits(usize),
}

/// A compartment for the calls to one dependency: it may fill its own compartment and nothing else.
///
/// A cheap handle; clones are the same compartment. **A place belongs to the running call, not to the caller**: when a
/// caller times out or drops its future, the place stays taken until the work really ends.
///
/// | | runs | the caller gets away at its deadline |
/// |---|---|---|
/// | [`call`](Self::call) | on the compartment's threads | yes |
/// | [`call_blocking`](Self::call_blocking) | on the compartment's threads, awaited | yes |
/// | [`call_here`](Self::call_here) | on the caller's thread, may borrow | when the work returns |
/// | [`call_async`](Self::call_async) | as the caller's future | yes: the future is dropped |
/// | [`submit`](Self::submit) | on the compartment's threads, with a handle | yes |
/// | [`admit`](Self::admit) | wherever you like: leave to make a call, as a value | it is yours to end it |
///
/// All draw on one count, so that the dependency never sees more than its limit.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use watertight::{Budget, Bulkhead, CallError, Context, Isolation, RejectReason, Recovery, Retry, Trip};
///
/// let payments = Bulkhead::builder("payments", Isolation::Threads(20)).queue(10)
///     .breaker(Trip::rate(0.5).min_calls(20), Recovery::after(Duration::from_secs(5)).probes(3))
///     .retry(Retry::exponential(Duration::from_millis(50)).attempts(3).budget(Budget::percent(20)))
///     .timeout(Duration::from_secs(2))
///     .build()?;
///
/// # struct Client; impl Client { fn charge(&self, _: &str, _: Option<Duration>) -> Result<u32, std::io::Error> { Ok(7) } }
/// # let (client, order) = (Client, String::from("A7"));
/// let receipt = payments.call(&Context::current(), move |cx| client.charge(&order, cx.remaining()));
/// match receipt {
///     Ok(receipt) => assert_eq!(receipt, 7),
///     Err(CallError::Rejected(RejectReason::CircuitOpen { retry_after })) => println!("try again in {retry_after:?}"),
///     Err(e) if !e.started() => println!("nothing happened, safe to try elsewhere: {e}"),
///     Err(e) => println!("it may have been charged: {e}"),
/// }
/// # Ok::<(), watertight::BuildError>(())
/// ```
#[derive(Clone)]
pub struct Bulkhead(Arc<Inner>);

struct Inner {
    name: Cow<'static, str>,
    /// The mark of contexts and threads that run this compartment's work.
    inside: Shared<Inside>,
    pool: Option<Pool>,
    /// As many as may run; those who wait are counted by the pool, by the places, or by the line for it.
    limit: Limit,
    /// As many as may run and wait, of a compartment with parts: each has its share of them. See `parts.rs`.
    places: Option<Limit>,
    /// As many fallbacks as may run, outside of it.
    fallbacks: Limit,
    size: Arc<Size>,
    /// Whose share of places and permits its calls are of: a partition's, or everybody's (0). See `parts.rs`.
    part: usize,
    /// The same compartment once for each partition, with figures of its own.
    parts: Box<[Arc<Inner>]>,
    breaker: Option<Breaker>,
    retry: Option<Retry>,
    timeout: Option<Duration>,
    observed: Observed,
    figures: Figures,
}

impl Inner {
    /// How many hold a place and do not run yet.
    fn queued(&self) -> usize {
        let running = self.limit.in_flight();
        let in_flight = match (&self.pool, &self.places) {
            (Some(pool), _) => pool.stats().in_flight,
            (None, Some(places)) => places.in_flight(),
            (None, None) => return self.limit.in_line(),
        };
        in_flight.saturating_sub(running)
    }
}

impl Bulkhead {
    /// A compartment to be configured. The name is its threads' and its events': at most 64 bytes, no NUL.
    pub fn builder(name: impl Into<Cow<'static, str>>, isolation: Isolation) -> BulkheadBuilder {
        BulkheadBuilder::new(name.into(), isolation)
    }

    /// Runs `f` on one of the compartment's threads and returns by the deadline, whatever `f` does: the caller is never
    /// stuck behind the dependency, and `f` keeps its place until it really ends. `f` runs at most once.
    ///
    /// The deadline is the compartment's time-out or that of `cx`, whichever is sooner; `f` sees it in the context it is
    /// given, and should hand what [remains](Context::remaining) to its client.
    ///
    /// # Blocking
    ///
    /// Blocks this thread until `f` has returned or the deadline passes or the token of `cx` is cancelled. It does not
    /// wait for a place. Called from inside the compartment's own work it never waits for a thread either, since all of
    /// them may be waiting for it: `f` then runs on this thread, which comes back when `f` returns, or is refused.
    ///
    /// # Errors
    ///
    /// [`Rejected`](CallError::Rejected): `f` was not entered and never will be; [`NoThreads`](crate::RejectReason::NoThreads) in
    /// a compartment of permits. [`Interrupted`](CallError::Interrupted): it was still running.
    /// [`Panicked`](CallError::Panicked). [`Failed`](CallError::Failed) with its own error.
    pub fn call<T, E, F>(&self, cx: &Context, f: F) -> Result<T, CallError<E>>
    where
        F: FnOnce(&Context) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: Send + 'static,
    {
        Inner::call(&self.0, cx, false, &Usual, f, run_once)
    }

    /// [`call`](Self::call), awaited: blocking work on the compartment's threads for an async caller. Nothing happens
    /// before the first poll. From inside the compartment's own work it runs where it is polled, and blocks there.
    ///
    /// # Cancellation
    ///
    /// Dropping the future cancels: queued work never runs, running work sees its token at its next check and keeps its
    /// place until it really ends.
    ///
    /// # Errors
    ///
    /// As [`call`](Self::call).
    pub fn call_blocking<T, E, F>(
        &self,
        cx: &Context,
        f: F,
    ) -> impl Future<Output = Result<T, CallError<E>>> + Send + use<T, E, F>
    where
        F: FnOnce(&Context) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: Send + 'static,
    {
        Inner::call_blocking(self.0.clone(), cx.clone().captured(), false, Usual, f, run_once)
    }

    /// The same policies for work on the caller's own thread: it may borrow, and nobody can get away from it before it
    /// returns.
    ///
    /// # Blocking
    ///
    /// Blocks this thread while it waits for a permit, if there is a [queue](BulkheadBuilder::queue), until the deadline;
    /// and then as long as `f` takes.
    ///
    /// # Errors
    ///
    /// [`Rejected`](CallError::Rejected) or [`Failed`](CallError::Failed).
    ///
    /// # Panics
    ///
    /// A panic of `f` passes through; it counts as a failure and the permit is given back.
    ///
    /// # Performance
    ///
    /// Nothing is allocated, unless `f` keeps its context, or this call is made inside another compartment.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use watertight::{Bulkhead, Context, Isolation};
    ///
    /// let parser = Bulkhead::builder("parser", Isolation::Permits(4)).timeout(Duration::from_secs(1)).build()?;
    /// let text = String::from("42"); // borrowed
    /// assert_eq!(parser.call_here(&Context::current(), |_cx| text.parse::<u32>()).unwrap(), 42);
    /// # Ok::<(), watertight::BuildError>(())
    /// ```
    #[inline]
    pub fn call_here<T, E, F>(&self, cx: &Context, f: F) -> Result<T, CallError<E>>
    where
        F: FnOnce(&Context) -> Result<T, E>,
    {
        self.0.call_here(cx, false, &Usual, f, run_once)
    }

    /// The same policies for a future. The closure gets the context by value, so `async |cx| …`, `async move |cx| …` and
    /// `|cx| client.get(cx)` all fit, and what it makes may be spawned if it is `Send` itself.
    ///
    /// # Cancellation
    ///
    /// At the deadline, on cancellation, or when this future is dropped, the inner future is dropped; its permit is given
    /// back after that.
    ///
    /// # Errors
    ///
    /// [`Rejected`](CallError::Rejected), [`Interrupted`](CallError::Interrupted) or [`Failed`](CallError::Failed).
    ///
    /// # Panics
    ///
    /// A panic of the future passes through; it counts as a failure and the permit is given back.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use watertight::{Bulkhead, CallError, Context, Isolation};
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    /// let search = Bulkhead::builder("search", Isolation::Permits(32)).timeout(Duration::from_millis(250)).build()?;
    /// let hits = search.call_async(&Context::current(), async |_cx| Ok::<_, std::io::Error>(3)).await?;
    /// assert_eq!(hits, 3);
    /// # Ok(())
    /// # }
    /// # futures::executor::block_on(example()).unwrap();
    /// ```
    pub fn call_async<T, E, F, Fut>(
        &self,
        cx: &Context,
        f: F,
    ) -> impl Future<Output = Result<T, CallError<E>>> + use<T, E, F, Fut>
    where
        F: FnOnce(Context) -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        Inner::call_async(self.0.clone(), cx.clone(), false, Usual, f, |f, cx| (None, f(cx)))
    }

    /// The same compartment for work that may run more than once: with the [retries](BulkheadBuilder::retry) it was
    /// built with.
    pub fn idempotent<T, E>(&self) -> Idempotent<T, E> {
        Idempotent::of(self)
    }

    /// What it has done and is doing. Asking is enough for an open breaker whose interval is over to become half-open.
    pub fn state(&self) -> BulkheadState {
        self.0.state()
    }

    /// Its breaker, to look at or to [force open](Breaker::force_open).
    pub fn breaker(&self) -> Option<&Breaker> {
        self.0.breaker.as_ref()
    }

    /// Whether anybody beside this handle has it, or runs in it.
    pub(crate) fn is_shared(&self) -> bool {
        Arc::strong_count(&self.0) > 1 || self.0.parts.iter().any(|part| Arc::strong_count(part) > 1)
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.0.name
    }
}

// No user code runs under a lock of ours, so a panic leaves nothing half done.
impl UnwindSafe for Bulkhead {}
impl RefUnwindSafe for Bulkhead {}

impl fmt::Debug for Bulkhead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bulkhead").field("name", &self.name()).field("limit", &self.0.limit).finish_non_exhaustive()
    }
}
