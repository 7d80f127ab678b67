//! [`CallHandle`]: a call that is under way while its caller does something else.
//!
//! **Invariants.** 1. It is counted once: by the handle when its result is asked for, or when the handle is dropped.
//! 2. What the handle was told never ran will never run (`attempt.rs`). **Locking.** None of its own.

use super::attempt::Attempt;
use super::calls::{Gave, run_once};
use super::classified::{Judges, Usual};
use super::drive::Bounds;
use super::flow::Ended;
use super::run::{Left, Ran, ran};
use super::state::Figure;
use super::{Bulkhead, Classified, Inner};
use crate::cancel::Cancelled;
use crate::context::Context;
use crate::error::{CallError, CancelCause, Interrupted, RejectReason, Rejected};
use crate::pool::JobHandle;
use crate::sync::{Arc, Mutex};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{self, Poll};

/// A call on a compartment's threads, to be joined, awaited or cancelled. From [`Bulkhead::submit`].
///
/// It is a [`Future`] on any executor. However it is waited for, it ends by the call's own deadline, whatever the work
/// does. **Dropping it cancels**: queued work never runs, running work sees its token at its next check and keeps its place
/// until it really ends.
///
/// # Panics
///
/// Polling after `Ready`, or joining after a [`join_within`](Self::join_within) that gave the result, panics.
///
/// # Examples
///
/// Two dependencies at once:
///
/// ```
/// use std::time::Duration;
/// use watertight::{Bulkhead, Context, Isolation};
///
/// let second = Duration::from_secs(1);
/// let stock = Bulkhead::builder("stock", Isolation::Threads(2)).timeout(second).build()?;
/// let prices = Bulkhead::builder("prices", Isolation::Threads(2)).timeout(second).build()?;
/// let cx = Context::current();
/// let left = stock.submit(&cx, |_cx| Ok::<_, std::io::Error>(3))?;
/// let price = prices.submit(&cx, |_cx| Ok::<_, std::io::Error>(4.5))?;
/// assert_eq!((left.join()?, price.join()?), (3, 4.5));
/// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
/// ```
#[must_use = "dropping a call's handle cancels it"]
pub struct CallHandle<T, E>(State<T, E>);

#[allow(clippy::large_enum_variant, reason = "the usual one; a box would be an allocation for each call")]
enum State<T, E> {
    UnderWay(UnderWay<T, E>),
    /// Nobody gets at it through `&self`; the mutex makes the handle `Sync`.
    Ended(Mutex<Result<T, CallError<E>>>),
    Taken,
}

struct UnderWay<T, E> {
    left: Left,
    handle: JobHandle<Ran<(), T, E>>,
    end: Cancelled,
}

impl Bulkhead {
    /// Begins a call and returns: [`call`](Self::call) in two steps, for several at once. The breaker's leave and the
    /// place are taken now; the time-out runs from now, too.
    ///
    /// From inside the compartment's own work, `f` runs here before this returns, since the threads may all be waiting for
    /// it.
    ///
    /// # Errors
    ///
    /// [`Rejected`], with `f` inside: it was not entered and never will be. [`NoThreads`](RejectReason::NoThreads) in a
    /// compartment of permits.
    pub fn submit<T, E, F>(&self, cx: &Context, f: F) -> Result<CallHandle<T, E>, Rejected<F>>
    where
        F: FnOnce(&Context) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: Send + 'static,
    {
        Inner::submit(&self.0, cx, &Usual, f)
    }
}

impl<T, E> Classified<T, E> {
    /// As [`Bulkhead::submit`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn submit<F>(&self, cx: &Context, f: F) -> Result<CallHandle<T, E>, Rejected<F>>
    where
        F: FnOnce(&Context) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: Send + 'static,
    {
        Inner::submit(&self.bulkhead().0, cx, self.judge(), f)
    }
}

impl Inner {
    pub(super) fn submit<T, E, F>(
        this: &Arc<Self>,
        cx: &Context,
        judge: &(impl Judges<T, E> + Clone + Send + 'static),
        f: F,
    ) -> Result<CallHandle<T, E>, Rejected<F>>
    where
        F: FnOnce(&Context) -> Result<T, E> + Send + 'static,
        T: Send + 'static,
        E: Send + 'static,
    {
        this.figures.add(Figure::Requests);
        let cx = cx.clone().captured();
        let mut bounds = Bounds::new(this, &cx);
        let nested = this.pool.is_some() && this.is_nested(&cx);
        let mut begin = || {
            cx.check()?;
            let leave = this.admit()?;
            let running = if nested { this.here(&mut bounds) } else { this.on_threads() }?;
            bounds.entering(&leave)?;
            Ok((leave, running))
        };
        let (leave, running) = match begin() {
            Ok(begun) => begun,
            Err(reason) => return Err(Rejected::new(this.refused(reason), f)),
        };
        let mut cx = bounds.into_attempt(&leave);
        if nested {
            let (_, ended) = this.run_here(1, leave, running, &mut cx, |cx| judge.judged(run_once(f, cx)));
            return Ok(CallHandle(State::Ended(Mutex::new(this.concluded(ended)))));
        }
        let judge = judge.clone();
        let work = move |cx: &Context| -> Gave<(), T, E> { judge.judged((None, f(cx))) };
        let (attempt, handle) = Self::start(this, 1, leave, running, &cx, work);
        Ok(CallHandle(State::UnderWay(UnderWay::new(this, attempt, handle, &cx))))
    }

    /// Counts a refusal and tells of it.
    pub(super) fn refused(&self, reason: RejectReason) -> RejectReason {
        let _ = self.concluded::<(), ()>(Ended::Refused(reason));
        reason
    }

    /// What the caller gets, counted and told of.
    pub(super) fn concluded<T, E>(&self, ended: Ended<T, E>) -> Result<T, CallError<E>> {
        let result = ended.into_result();
        self.conclude(&result);
        result
    }
}

impl<T, E> UnderWay<T, E> {
    fn new(inner: &Arc<Inner>, attempt: Arc<Attempt>, handle: JobHandle<Ran<(), T, E>>, cx: &Context) -> Self {
        Self { left: Left::new(inner, false, attempt, cx), handle: handle.cancel_on_drop(), end: cx.ended() }
    }

    /// It has ended by itself, or `why` its caller does not wait any longer.
    fn end(mut self, ended: Result<Ended<T, E>, Interrupted>) -> Result<T, CallError<E>> {
        let ended = match ended {
            Ok(ended) => {
                self.left.done();
                ended
            }
            Err(why) => self.left.ended(why),
        };
        self.left.inner().concluded(ended) // and dropping the handle cancels what still runs
    }
}

impl<T, E> CallHandle<T, E> {
    /// Waits for the end of the call.
    ///
    /// # Blocking
    ///
    /// Blocks this thread until the work has returned, the call's deadline passes, or the token of its context is
    /// cancelled.
    ///
    /// # Errors
    ///
    /// As [`Bulkhead::call`].
    pub fn join(mut self) -> Result<T, CallError<E>> {
        let cx = match &self.0 {
            State::UnderWay(call) => call.left.cx().cloned().unwrap_or_default(),
            _ => Context::background(),
        };
        loop {
            // `None` only if the context of the call has ended meanwhile, and then it has a result.
            if let Some(result) = self.join_within(&cx) {
                return result;
            }
        }
    }

    /// The same, waiting no longer than `cx`: `None` if that ends first. The call goes on then, and the handle is still
    /// yours.
    ///
    /// # Blocking
    ///
    /// Blocks this thread until the call or `cx` ends.
    ///
    /// # Errors
    ///
    /// As [`Bulkhead::call`].
    pub fn join_within(&mut self, cx: &Context) -> Option<Result<T, CallError<E>>> {
        let State::UnderWay(call) = &mut self.0 else { return Some(self.end(None)) };
        let own = call.left.cx().cloned().unwrap_or_default();
        let both = cx.with_deadline(own.deadline()).with_token(own.token());
        let ended = match (call.handle.join_within(&both), own.check()) {
            (Some(joined), _) => Ok(ran(joined).1),
            (None, Err(why)) => Err(why),
            (None, Ok(())) => return None,
        };
        Some(self.end(Some(ended)))
    }

    /// Hands the result out; `ended`: how the call has ended just now.
    fn end(&mut self, ended: Option<Result<Ended<T, E>, Interrupted>>) -> Result<T, CallError<E>> {
        match (std::mem::replace(&mut self.0, State::Taken), ended) {
            (State::UnderWay(call), Some(ended)) => call.end(ended),
            (State::Ended(result), _) => result.into_inner(),
            (State::UnderWay(_), None) | (State::Taken, _) => panic!("the result of the call was handed out before"),
        }
    }

    /// Cancels the call: still queued, its work never runs; running, it sees its token at its next check, and what it
    /// returns then is the result.
    pub fn cancel(&self) {
        if let State::UnderWay(call) = &self.0 {
            call.handle.cancel_because(CancelCause::Requested);
        }
    }

    /// Whether the work has ended.
    pub fn is_finished(&self) -> bool {
        match &self.0 {
            State::UnderWay(call) => call.handle.is_finished(),
            State::Ended(_) | State::Taken => true,
        }
    }
}

impl<T, E> Future for CallHandle<T, E> {
    type Output = Result<T, CallError<E>>;

    fn poll(mut self: Pin<&mut Self>, task: &mut task::Context<'_>) -> Poll<Self::Output> {
        let State::UnderWay(call) = &mut self.0 else { return Poll::Ready(self.end(None)) };
        let ended = match Pin::new(&mut call.handle).poll(task) {
            Poll::Ready(joined) => Ok(ran(joined).1),
            Poll::Pending => match Pin::new(&mut call.end).poll(task) {
                Poll::Ready(why) => Err(why),
                Poll::Pending => return Poll::Pending,
            },
        };
        Poll::Ready(self.end(Some(ended)))
    }
}

// The result is moved, never pinned.
impl<T, E> Unpin for CallHandle<T, E> {}

impl<T, E> fmt::Debug for CallHandle<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallHandle").field("finished", &self.is_finished()).finish_non_exhaustive()
    }
}
