//! [`Context`]: a deadline, a token and a clock, carried together. What a wait ends at, and what a job inherits.
//!
//! There is an ambient context per thread, [`Context::current`]: a pool sets it around a job to what was current where
//! the job was submitted, so a deadline travels without being passed along.
//!
//! **Invariants.** 1. A context made from another only tightens its deadline, or extends it up to the ceiling it was
//! given, and only adds reasons to be cancelled. 2. Those of `token.rs`: nobody is told of a deadline that is not theirs.
//! 3. That of `ambient.rs`. **Locking.** None.

mod ambient;
mod blocking;
mod brief;
#[cfg(all(test, not(watertight_loom)))]
mod carry_tests;
mod extend;
mod home;
#[cfg(all(test, watertight_loom, not(watertight_shuttle)))]
mod loom_tests;
mod on_end;
mod propagate;
mod shield;
mod sleep;
#[cfg(all(test, not(watertight_loom)))]
mod tests;
mod token;
mod values;

pub use ambient::Entered;
pub use blocking::*;
pub(crate) use brief::Brief;
pub(crate) use home::{Home, at_home, held, home_here, is_held};
pub use on_end::OnEnd;
pub use propagate::{AlreadySet, Propagate, propagate};
pub use sleep::Sleep;
pub(crate) use token::ContextWait;

use crate::cancel::{CancelToken, Cancelled};
use crate::clock::{self, Clock};
use crate::deadline::{Deadline, Extendable};
use crate::error::Interrupted;
use crate::sync::atomic::Ordering;
use crate::sync::{Arc, Count, Shared, broken};
use crate::wait::{Nothing, Until, Waiting, block_on};
use propagate::Carried;
use sleep::Alarm;
use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::time::{Duration, Instant};
use token::Token;
use values::Values;

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

struct Inner {
    /// Unless it is lent.
    deadline: Extendable,
    /// The deadline of the call that has it now, if it is lent to one after the other: see `brief.rs`.
    lent: Count,
    token: Token,
    clock: Clock,
    inside: Option<Shared<Inside>>,
    values: Values,
    carried: Option<Carried>,
    detached: bool,
    /// What a thread is in between its jobs, see `home.rs`.
    home: bool,
}

impl Inner {
    fn background() -> Self {
        Self {
            deadline: Extendable::default(),
            lent: Count::new(0),
            token: Token::inherited(CancelToken::never()),
            clock: Clock::system(),
            inside: None,
            values: Values::default(),
            carried: None,
            detached: false,
            home: false,
        }
    }

    #[inline]
    fn ends(&self) -> Extendable {
        match self.lent.load(Ordering::Relaxed) {
            0 => self.deadline,
            lent => Deadline::at(clock::instant(lent)).into(),
        }
    }

    fn tighten(&mut self, deadline: impl Into<Extendable>) {
        self.deadline = self.deadline.tighten(deadline);
        self.own_token();
    }

    /// Whoever asks for a deadline gets a token of its own with it, tighter or not: whose token it is must not depend on
    /// what the clock says.
    fn own_token(&mut self) {
        if !broken("context: a tighter deadline shares the token") {
            self.token = Token::own(self.token.take());
        }
    }

    fn check(&self) -> Result<(), Interrupted> {
        self.token.check()?;
        if self.ends().deadline().is_never() { Ok(()) } else { self.check_deadline(self.clock.now()) }
    }

    fn check_deadline(&self, now: Instant) -> Result<(), Interrupted> {
        let ends = self.ends();
        if !ends.deadline().is_past(now) {
            return Ok(());
        }
        // Invariant 2; a ceiling still to come may be what somebody has extended the deadline to.
        if ends.ceiling().is_past(now) {
            self.token.deadline_passed();
            self.token.check()?; // somebody else may have been first
        }
        Err(Interrupted::DeadlinePassed)
    }
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

impl Context {
    /// The context that never ends, on the system's clock. Also the default.
    pub const fn background() -> Self {
        Self(None)
    }

    fn with(&self, change: impl FnOnce(&mut Inner)) -> Self {
        let mut inner = self.copied();
        change(&mut inner);
        Self(Some(Arc::new(inner)))
    }

    fn copied(&self) -> Inner {
        let Some(inner) = &self.0 else { return Inner::background() };
        Inner {
            deadline: inner.ends(),
            lent: Count::new(0),
            token: Token::inherited(inner.token.get().clone()),
            clock: inner.clock.clone(),
            inside: inner.inside.clone(),
            values: inner.values.clone(),
            carried: inner.carried.clone(),
            detached: inner.detached,
            home: false,
        }
    }

    /// The same, ending at `deadline` at the latest: it only tightens.
    #[must_use]
    pub fn with_deadline(&self, deadline: impl Into<Deadline>) -> Self {
        let deadline = deadline.into();
        self.with(|inner| inner.tighten(deadline))
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
            let before = inner.token.get();
            if before.is_never() {
                inner.token = Token::inherited(token.clone());
            } else if !token.is_never() {
                inner.token = Token::inherited(before.link(token));
            }
        })
    }

    /// The same by another clock: the deadline is judged by that one. It stays below this context, and ends when this one's
    /// clock is seen to have passed the deadline.
    #[must_use]
    pub fn with_clock(&self, clock: &Clock) -> Self {
        self.with(|inner| {
            if !inner.deadline.ceiling().is_never() && !clock.is(&inner.clock) {
                inner.own_token(); // invariant 2: another clock, another deadline
            }
            inner.clock = clock.clone();
        })
    }

    /// Whether this is a context of work inside the compartment.
    pub(crate) fn is_within(&self, compartment: u64) -> bool {
        let inside = self.0.as_ref().and_then(|inner| inner.inside.as_ref());
        inside.is_some_and(|inside| inside.contains(compartment))
    }

    /// The context of a job: below this one, and cancelled by itself with its token, which is made when somebody asks for it.
    pub(crate) fn child(&self) -> Self {
        self.with(Inner::own_token)
    }

    /// Whether it is the background, which need not be kept.
    #[inline]
    pub(crate) fn is_background(&self) -> bool {
        self.0.is_none()
    }

    /// The time, by this context's clock.
    #[inline]
    pub fn now(&self) -> Instant {
        self.clock().now()
    }

    /// The clock.
    #[inline]
    pub fn clock(&self) -> &Clock {
        self.0.as_ref().map_or(&SYSTEM, |inner| &inner.clock)
    }

    /// The deadline.
    pub fn deadline(&self) -> Deadline {
        self.0.as_ref().map_or(Deadline::NEVER, |inner| inner.ends().deadline())
    }

    pub(crate) fn ceiling(&self) -> Deadline {
        self.0.as_ref().map_or(Deadline::NEVER, |inner| inner.ends().ceiling())
    }

    /// The time left, which is what clients' time-out arguments want: `None` for no deadline, zero once it has passed.
    pub fn remaining(&self) -> Option<Duration> {
        let deadline = self.deadline();
        if deadline.is_never() { None } else { deadline.remaining(self.now()) }
    }

    /// The token. A context that was made with a deadline ([`with_timeout`](Self::with_timeout) and the like) has one of its
    /// own, below that of the context it was made from: cancelling it ends this context and those made from it, and no
    /// other. Others share the token they were given or have inherited; that of the [background](Self::background) is
    /// [never](CancelToken::never) cancelled, whatever is called on it.
    ///
    /// It is cancelled with [`Interrupted::DeadlinePassed`] when the deadline has passed *and* somebody has noticed, by
    /// [`check`](Self::check), a wait or [`on_end`](Self::on_end): no timer runs for it while nobody waits. So
    /// [`is_cancelled`](CancelToken::is_cancelled) reads no clock; to wait for both, use [`ended`](Self::ended). A deadline
    /// that may still be [extended](Self::extend_deadline) leaves the token alone until its ceiling has passed.
    pub fn token(&self) -> &CancelToken {
        self.0.as_ref().map_or(&NEVER, |inner| inner.token.get())
    }

    /// The cooperative checkpoint: `Err` once the context has ended. Reads the clock once, and only if there is a deadline;
    /// if that has passed, its [token](Self::token) is cancelled, so that everybody below learns of it.
    ///
    /// # Performance
    ///
    /// No allocation. Without a deadline one atomic load, with one a reading of the clock.
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
    #[inline]
    pub fn check(&self) -> Result<(), Interrupted> {
        match &self.0 {
            None => Ok(()),
            Some(inner) => inner.check(),
        }
    }

    /// Why the token is cancelled, if it is. A token that nobody has asked for is not made for that.
    pub(crate) fn cause(&self) -> Option<Interrupted> {
        self.0.as_ref().and_then(|inner| inner.token.check().err())
    }

    /// Fires the token if the deadline has passed, as [`check`](Self::check) does.
    pub(crate) fn expired(&self) {
        let _ = self.check();
    }

    /// A future of its end: cancelled or past its deadline, whichever is first.
    pub fn ended(&self) -> Cancelled {
        Cancelled::of_context(self.token(), self.deadline(), self.ceiling() == self.deadline(), self.clock().clone())
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
            .field("detached", &self.is_detached())
            .finish()
    }
}

impl Until for Context {
    type Cancel = ContextWait;

    fn deadline(&self) -> Deadline {
        self.deadline()
    }

    fn clock(&self) -> &Clock {
        self.clock()
    }

    fn cancel(&self) -> ContextWait {
        ContextWait::new(self)
    }
}
