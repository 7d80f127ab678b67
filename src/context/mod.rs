//! [`Context`]: a deadline, a token and a clock, carried together. What a wait ends at, and what a job inherits.
//!
//! There is an ambient context per thread, [`Context::current`]: a pool sets it around a job to what was current where
//! the job was submitted, so a deadline travels without being passed along.
//!
//! **Invariants.** 1. A context made from another only tightens its deadline, or extends it up to the ceiling it was
//! given, and only adds reasons to be cancelled. 2. Whoever enters a context puts back what was there. **Locking.** None.

mod extend;
mod sleep;
#[cfg(all(test, not(watertight_loom)))]
mod tests;

pub use sleep::Sleep;

use crate::cancel::{CancelToken, Cancelled, TokenWait};
use crate::clock::Clock;
use crate::deadline::{Deadline, Extendable};
use crate::error::Interrupted;
use crate::sync::{Arc, Shared, thread_local};
use crate::wait::{Nothing, Until, Waiting, block_on};
use sleep::Alarm;
use std::cell::RefCell;
use std::fmt;
use std::future::{Future, poll_fn};
use std::marker::PhantomData;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::{Duration, Instant};

/// What bounds a piece of work: a [`Deadline`], a [`CancelToken`] and the [`Clock`] by which they are judged.
///
/// Everything in this crate that waits takes one. It is cheap to clone, and the [background](Self::background), which
/// never ends, costs nothing.
///
/// # Examples
///
/// A deadline travels by itself: the job sees the context of whoever submitted it.
///
/// ```
/// use std::time::Duration;
/// use watertight::{Context, Pool};
///
/// let pool = Pool::builder("work").threads(1).build()?;
/// let cx = Context::current().with_timeout(Duration::from_millis(200));
/// let left = cx.in_scope(|| pool.submit(|| Context::current().remaining()))?.join()?;
/// assert!(left.unwrap() <= Duration::from_millis(200));
/// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
/// ```
#[derive(Clone, Default)]
pub struct Context(Option<Arc<Inner>>);

#[derive(Clone)]
struct Inner {
    deadline: Extendable,
    token: CancelToken,
    clock: Clock,
    inside: Option<Shared<Inside>>,
}

/// Which compartments the work of a context runs in, by number, the innermost first.
#[derive(Debug)]
pub(crate) struct Inside {
    pub(crate) compartment: u64,
    pub(crate) outer: Option<Shared<Inside>>,
}

impl Inside {
    fn contains(&self, compartment: u64) -> bool {
        let mut at = Some(self);
        while let Some(inside) = at {
            if inside.compartment == compartment {
                return true;
            }
            at = inside.outer.as_deref();
        }
        false
    }
}

static NEVER: CancelToken = CancelToken::never();
static SYSTEM: Clock = Clock::system();

thread_local! {
    #[allow(clippy::missing_const_for_thread_local, reason = "loom's macro takes no const")]
    static CURRENT: RefCell<Context> = RefCell::new(Context::background());
}

impl Context {
    /// The context that never ends, on the system's clock. Also the default.
    pub const fn background() -> Self {
        Self(None)
    }

    /// This thread's ambient context: that of the job or [scope](Self::in_scope) it is in, else the
    /// [background](Self::background).
    pub fn current() -> Self {
        CURRENT.try_with(|current| current.borrow().clone()).unwrap_or_default()
    }

    fn with(&self, change: impl FnOnce(&mut Inner)) -> Self {
        let mut inner = match &self.0 {
            Some(inner) => Inner::clone(inner),
            None => Inner {
                deadline: Extendable::default(),
                token: CancelToken::never(),
                clock: Clock::system(),
                inside: None,
            },
        };
        change(&mut inner);
        Self(Some(Arc::new(inner)))
    }

    /// The same, ending at `deadline` at the latest: it only tightens.
    #[must_use]
    pub fn with_deadline(&self, deadline: impl Into<Deadline>) -> Self {
        let deadline = deadline.into();
        self.with(|inner| inner.deadline = inner.deadline.tighten(deadline))
    }

    /// The same, ending `d` from now at the latest, by this context's clock.
    #[must_use]
    pub fn with_timeout(&self, d: Duration) -> Self {
        self.with_deadline(Deadline::after(self.now(), d))
    }

    /// The same, ending also when `token` is cancelled.
    #[must_use]
    pub fn with_token(&self, token: &CancelToken) -> Self {
        self.with(|inner| {
            inner.token = if inner.token.is_never() { token.clone() } else { inner.token.link(token) };
        })
    }

    /// The same by another clock.
    #[must_use]
    pub fn with_clock(&self, clock: &Clock) -> Self {
        self.with(|inner| inner.clock = clock.clone())
    }

    /// The same for work inside a compartment, ending after `timeout` at the latest.
    pub(crate) fn within(&self, compartment: &Shared<Inside>, timeout: Option<Duration>) -> Self {
        let now = timeout.map(|timeout| (self.now(), timeout));
        self.with(|inner| {
            inner.inside = Some(match inner.inside.take() {
                None => compartment.clone(),
                // Said once: work that submits its successor from inside must not make a chain for ever.
                Some(outer) if outer.contains(compartment.compartment) => outer,
                outer => Shared::new(Inside { compartment: compartment.compartment, outer }),
            });
            if let Some((now, timeout)) = now {
                inner.deadline = inner.deadline.tighten(Deadline::after(now, timeout));
            }
        })
    }

    /// Whether the ambient context is one of work inside the compartment.
    pub(crate) fn current_is_within(compartment: u64) -> bool {
        CURRENT.try_with(|current| current.borrow().is_within(compartment)).unwrap_or(false)
    }

    /// Whether this is a context of work inside the compartment.
    pub(crate) fn is_within(&self, compartment: u64) -> bool {
        let inside = self.0.as_ref().and_then(|inner| inner.inside.as_ref());
        inside.is_some_and(|inside| inside.contains(compartment))
    }

    /// A context below this one that can be cancelled by itself, and the token that does it.
    pub(crate) fn child(&self) -> (Self, CancelToken) {
        let token = self.token().child();
        (self.with(|inner| inner.token = token.clone()), token)
    }

    /// The time, by this context's clock.
    pub fn now(&self) -> Instant {
        self.clock().now()
    }

    /// The clock.
    pub fn clock(&self) -> &Clock {
        self.0.as_ref().map_or(&SYSTEM, |inner| &inner.clock)
    }

    /// The deadline.
    pub fn deadline(&self) -> Deadline {
        self.0.as_ref().map_or(Deadline::NEVER, |inner| inner.deadline.deadline())
    }

    /// The time left, which is what clients' time-out arguments want: `None` for no deadline, zero once it has passed.
    pub fn remaining(&self) -> Option<Duration> {
        let deadline = self.deadline();
        if deadline.is_never() { None } else { deadline.remaining(self.now()) }
    }

    /// The token.
    pub fn token(&self) -> &CancelToken {
        self.0.as_ref().map_or(&NEVER, |inner| &inner.token)
    }

    /// The cooperative checkpoint: `Err` once the context has ended. Reads the clock only if there is a deadline.
    ///
    /// # Errors
    ///
    /// The cause of the cancellation, or [`Interrupted::DeadlinePassed`].
    ///
    /// # Examples
    ///
    /// ```
    /// use watertight::{Context, Interrupted};
    ///
    /// fn crunch(parts: &[u64]) -> Result<u64, Interrupted> {
    ///     let cx = Context::current();
    ///     let mut sum = 0;
    ///     for part in parts {
    ///         cx.check()?; // stop as soon as nobody wants it
    ///         sum += part;
    ///     }
    ///     Ok(sum)
    /// }
    /// assert_eq!(crunch(&[1, 2, 3]), Ok(6));
    /// ```
    pub fn check(&self) -> Result<(), Interrupted> {
        let Some(inner) = &self.0 else { return Ok(()) };
        inner.token.check()?;
        let deadline = inner.deadline.deadline();
        if !deadline.is_never() && deadline.is_past(inner.clock.now()) {
            return Err(Interrupted::DeadlinePassed);
        }
        Ok(())
    }

    /// A future of its end: cancelled or past its deadline, whichever is first.
    pub fn ended(&self) -> Cancelled {
        Cancelled::new(self.token(), self.deadline(), self.clock().clone())
    }

    /// Runs `f` with this context as the ambient one.
    pub fn in_scope<T>(&self, f: impl FnOnce() -> T) -> T {
        let _entered = self.enter();
        f()
    }

    /// Makes this the ambient context of this thread until the guard is dropped. Drop guards in the reverse order of
    /// their making. Holding one across an `.await` is wrong even where it compiles: use [`wrap`](Self::wrap).
    pub fn enter(&self) -> Entered<'_> {
        let before = CURRENT.try_with(|current| current.replace(self.clone())).ok();
        Entered { before, here: PhantomData }
    }

    /// `future` with this context as the ambient one whenever it is polled.
    pub fn wrap<F: Future>(&self, future: F) -> impl Future<Output = F::Output> + use<F> {
        let cx = self.clone();
        async move {
            let mut future = pin!(future);
            poll_fn(|task| cx.in_scope(|| future.as_mut().poll(task))).await
        }
    }

    /// `future`, wrapped, or the end of this context, whichever is first. If the context has ended before the first
    /// poll, `future` is not polled at all.
    ///
    /// # Cancellation
    ///
    /// When the context ends, `future` is dropped together with this one; its output is lost.
    ///
    /// # Errors
    ///
    /// Why the context ended.
    pub fn run<F: Future>(&self, future: F) -> impl Future<Output = Result<F::Output, Interrupted>> + use<F> {
        let cx = self.clone();
        async move {
            cx.check()?;
            let mut ended = cx.ended();
            let mut future = pin!(cx.wrap(future));
            poll_fn(|task| match future.as_mut().poll(task) {
                Poll::Ready(output) => Poll::Ready(Ok(output)),
                Poll::Pending => Pin::new(&mut ended).poll(task).map(Err),
            })
            .await
        }
    }

    /// Sleeps for `d`, or until the context ends.
    ///
    /// # Blocking
    ///
    /// Blocks this thread; the context's end ends it.
    ///
    /// # Errors
    ///
    /// Why the context ended before `d` was over.
    pub fn sleep(&self, d: Duration) -> Result<(), Interrupted> {
        let alarm = Alarm { cx: self, at: Deadline::after(self.now(), d) };
        let Err(why) = block_on(Nothing::<()>::new(), &alarm) else { return Ok(()) };
        alarm.woken(why)
    }

    /// [`sleep`](Self::sleep) as a future.
    ///
    /// # Cancellation
    ///
    /// Dropping it ends it.
    pub fn sleep_async(&self, d: Duration) -> Sleep {
        let at = Deadline::after(self.now(), d);
        let waiting = Waiting::new(Nothing::new(), &Alarm { cx: self, at });
        Sleep { cx: self.clone(), at, waiting }
    }
}

impl CancelToken {
    /// Waits on this thread until the token is cancelled: its cause, or `None` if `cx` ended first.
    ///
    /// # Blocking
    ///
    /// Blocks this thread; the end of `cx` ends it.
    pub fn wait(&self, cx: &Context) -> Option<Interrupted> {
        block_on(self.waiting(), cx).ok()
    }
}

// No user code runs under a lock of ours, so a panic leaves nothing half done.
impl UnwindSafe for Context {}
impl RefUnwindSafe for Context {}

impl fmt::Debug for Context {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context")
            .field("deadline", &self.deadline())
            .field("token", self.token())
            .field("clock", self.clock())
            .finish()
    }
}

impl Until for Context {
    type Cancel = TokenWait;

    fn deadline(&self) -> Deadline {
        self.deadline()
    }

    fn clock(&self) -> &Clock {
        self.clock()
    }

    fn cancel(&self) -> TokenWait {
        self.token().waiting()
    }
}

/// Puts the earlier ambient context back when dropped. Made by [`Context::enter`].
#[must_use = "the context is left at once when the guard is dropped"]
pub struct Entered<'a> {
    before: Option<Context>,
    here: PhantomData<(&'a Context, *const ())>, // this thread only
}

impl fmt::Debug for Entered<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Entered")
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        if let Some(before) = self.before.take() {
            // The context that leaves is dropped after the cell is free again: its drop may look at the ambient one.
            let left = CURRENT.try_with(|current| current.replace(before));
            drop(left);
        }
    }
}
