//! [`CancelToken`]: cooperative cancellation in a tree. A parent cancels its children, never the reverse.
//!
//! A token is a counted hold on a node. A node keeps its parents, so a token in the middle of a chain may be dropped and
//! the chain holds; when nobody holds a token and it has no children left, its node goes off its parents' lists, locking
//! only those lists. An ancestor that only one descendant still keeps is a mere link of the chain: it is taken out when
//! that descendant gets a child, or a job that submits its successor for ever would make a chain for ever.
//!
//! **Invariants** and **Locking**: those of `node.rs`.

mod cause;
mod fire;
mod guard;
#[cfg(all(test, watertight_loom, not(watertight_shuttle)))]
mod loom_tests;
mod node;
mod others;
mod parents;
mod places;
#[cfg(test)]
mod probe;
mod shield;
mod spare;
#[cfg(all(test, not(watertight_loom)))]
mod tests;
#[cfg(all(feature = "tokio-util", not(watertight_loom)))]
mod weak;

pub use guard::{DropGuard, Registration};
pub(crate) use shield::Shield;
#[cfg(all(feature = "tokio-util", not(watertight_loom)))]
pub(crate) use weak::Weak;

use crate::clock::Clock;
use crate::deadline::Deadline;
use crate::error::{CancelCause, Interrupted};
use crate::sync::{Arc, Waiter};
use crate::wait::{At, Nothing, Wait, Waiting};
use node::Node;
use places::Place;
use std::borrow::Borrow;
use std::fmt;
use std::future::Future;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::pin::Pin;
use std::task::{self, Poll};

/// A request to stop, which work looks at when it likes: cancellation is cooperative, no thread is ever killed.
///
/// Clones are the same token. Cancelling a token cancels its [children](Self::child), not its parents; the first cause
/// wins and children inherit it.
///
/// # Examples
///
/// ```
/// use watertight::{CancelToken, Interrupted, CancelCause};
///
/// let shutdown = CancelToken::new();
/// let request = shutdown.child();
/// assert!(!request.is_cancelled());
/// shutdown.cancel();
/// assert_eq!(request.check(), Err(Interrupted::Cancelled(CancelCause::Requested)));
/// ```
pub struct CancelToken(Option<Arc<Node>>);

impl Clone for CancelToken {
    fn clone(&self) -> Self {
        if let Some(node) = &self.0 {
            node.hold();
        }
        Self(self.0.clone())
    }
}

impl Drop for CancelToken {
    fn drop(&mut self) {
        if let Some(node) = &self.0 {
            node.let_go();
        }
    }
}

impl CancelToken {
    /// A token of its own, not cancelled.
    pub fn new() -> Self {
        Self::of(Node::new())
    }

    /// Lets go of a token that was made for a moment: its memory is the thread's next token's, unless somebody else has it.
    pub(crate) fn recycle(mut self) {
        if let Some(node) = self.0.take() {
            node.let_go();
            spare::keep(node);
        }
    }

    fn of(node: Arc<Node>) -> Self {
        Self(Some(node))
    }

    #[inline]
    fn node(&self) -> Option<&Arc<Node>> {
        self.0.as_ref()
    }

    /// A token that is never cancelled and costs nothing. [`cancel`](Self::cancel) on it does nothing.
    pub const fn never() -> Self {
        Self(None)
    }

    /// A token that is cancelled with this one, and may be cancelled without it. The child of a cancelled token is born
    /// cancelled.
    ///
    /// # Performance
    ///
    /// One allocation. Among many children, making and dropping one costs the same.
    #[must_use]
    pub fn child(&self) -> Self {
        Self::of(self.node().map_or_else(Node::new, Node::child))
    }

    /// A child of both: cancelled when either is.
    ///
    /// # Examples
    ///
    /// ```
    /// use watertight::CancelToken;
    /// let (request, shutdown) = (CancelToken::new(), CancelToken::new());
    /// let token = request.link(&shutdown);
    /// shutdown.cancel();
    /// assert!(token.is_cancelled() && !request.is_cancelled());
    /// ```
    #[must_use]
    pub fn link(&self, other: &CancelToken) -> Self {
        Self::any([self, other])
    }

    /// A child of all of `tokens`: cancelled when any is, for the cause of whichever was first. Of none, a token of its
    /// own.
    ///
    /// # Examples
    ///
    /// ```
    /// use watertight::{CancelCause, CancelToken, Interrupted};
    /// let (client, shutdown, budget) = (CancelToken::new(), CancelToken::new(), CancelToken::new());
    /// let token = CancelToken::any([&client, &shutdown, &budget]);
    /// budget.cancel_because(CancelCause::Because("out of budget"));
    /// assert_eq!(token.check(), Err(Interrupted::Cancelled(CancelCause::Because("out of budget"))));
    /// assert!(!client.is_cancelled());
    /// ```
    #[must_use]
    pub fn any<I>(tokens: I) -> Self
    where
        I: IntoIterator,
        I::Item: Borrow<CancelToken>,
    {
        // Held while the child joins them: an iterator may give away the last hold on a parent.
        let tokens: Vec<_> = tokens.into_iter().collect();
        let parents: Vec<_> = tokens.iter().filter_map(|token| token.borrow().node()).collect();
        Self::of(Node::below(&parents))
    }

    /// Cancels this token and all below it. When it returns, every child is cancelled and every waiter woken; that
    /// promise is made by the call that won, a second concurrent one may return sooner.
    pub fn cancel(&self) {
        self.cancel_because(CancelCause::Requested);
    }

    /// [`cancel`](Self::cancel) with a cause. If the token is cancelled already, the earlier cause stays.
    pub fn cancel_because(&self, cause: CancelCause) {
        if let Some(node) = self.node() {
            Node::cancel(node, Interrupted::Cancelled(cause));
        }
    }

    /// Whether it has been cancelled.
    ///
    /// # Performance
    ///
    /// One atomic load: put it in the innermost loop.
    #[inline]
    pub fn is_cancelled(&self) -> bool {
        self.node().is_some_and(|node| node.is_cancelled())
    }

    /// Why it was cancelled, if it was.
    pub fn cause(&self) -> Option<Interrupted> {
        self.node().and_then(|node| node.cause())
    }

    /// `Err` once it has been cancelled, for `?`.
    ///
    /// # Errors
    ///
    /// The cause of the cancellation.
    pub fn check(&self) -> Result<(), Interrupted> {
        self.cause().map_or(Ok(()), Err)
    }

    /// A future of the cancellation, which gives its cause. Owned; dropping it unregisters it.
    pub fn cancelled(&self) -> Cancelled {
        Cancelled(Waiting::new(self.waiting(), &At(Deadline::NEVER, Clock::system())))
    }

    /// Runs `f` with the cause when the token is cancelled: on the thread that cancels it, or here and now if it is
    /// cancelled already. It runs at most once, under no lock, so it may use this token as it likes; a panic in it goes
    /// nowhere.
    ///
    /// Dropping the [`Registration`] undoes it: if the token is not cancelled when that drop returns, `f` never runs. A
    /// cancellation that came first has taken `f` and runs it, perhaps still while the drop returns: dropping does not
    /// wait for it. When the call of [`cancel`](Self::cancel) that won returns, `f` has run.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::mpsc::channel;
    /// use watertight::CancelToken;
    ///
    /// let token = CancelToken::new();
    /// let (told, hears) = channel();
    /// token.on_cancel(move |why| told.send(why).unwrap()).keep();
    /// let undone = token.on_cancel(|_| unreachable!("nobody cancelled it while it was registered"));
    /// drop(undone);
    /// token.cancel();
    /// assert_eq!(hears.recv().ok(), token.cause());
    /// ```
    pub fn on_cancel(&self, f: impl FnOnce(Interrupted) + Send + 'static) -> Registration {
        Registration::new(self, f)
    }

    /// A guard that cancels this token for [`CancelCause::Dropped`] when it is dropped: whatever way a scope is left, what
    /// it started stops.
    ///
    /// # Examples
    ///
    /// ```
    /// use watertight::CancelToken;
    ///
    /// fn first_answer(token: &CancelToken) -> Result<u8, std::num::ParseIntError> {
    ///     let guard = token.drop_guard(); // an early return stops the others
    ///     let answer = "x".parse()?;
    ///     guard.disarm();
    ///     Ok(answer)
    /// }
    /// let token = CancelToken::new();
    /// assert!(first_answer(&token).is_err() && token.is_cancelled());
    /// ```
    pub fn drop_guard(&self) -> DropGuard {
        DropGuard::new(self)
    }

    /// The deadline it stands for has passed.
    pub(crate) fn deadline_passed(&self) {
        if let Some(node) = self.node() {
            Node::cancel(node, Interrupted::DeadlinePassed);
        }
    }

    /// A token whose deadline had passed before anybody asked for it: the same one for all, nobody can join it.
    pub(crate) fn past() -> Self {
        #[cfg(not(watertight_loom))]
        {
            static PAST: crate::sync::OnceLock<CancelToken> = crate::sync::OnceLock::new();
            PAST.get_or_init(|| Self::of(Node::born_cancelled(Interrupted::DeadlinePassed))).clone()
        }
        #[cfg(watertight_loom)]
        Self::of(Node::born_cancelled(Interrupted::DeadlinePassed))
    }

    /// The wait for it, for `Until::cancel`.
    pub(crate) fn waiting(&self) -> TokenWait {
        TokenWait { token: self.clone(), place: None, tells: false }
    }

    /// How many waiters, callbacks and children are registered.
    #[cfg(test)]
    pub(crate) fn registrations(&self) -> usize {
        self.node().map_or(0, |node| node.registrations())
    }

    /// How many tokens it keeps alive in a row, itself included.
    #[cfg(all(test, not(watertight_loom)))]
    pub(crate) fn depth(&self) -> usize {
        self.node().map_or(0, Node::depth)
    }

    pub(crate) fn is_never(&self) -> bool {
        self.0.is_none()
    }
}

/// A token of its own: one that ignored `cancel()` would be a trap as a default.
impl Default for CancelToken {
    fn default() -> Self {
        Self::new()
    }
}

// No user code runs under a lock of ours, so a panic leaves nothing half done.
impl UnwindSafe for CancelToken {}
impl RefUnwindSafe for CancelToken {}

impl fmt::Debug for CancelToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.node(), self.cause()) {
            (None, _) => f.write_str("CancelToken(never)"),
            (_, None) => f.write_str("CancelToken(live)"),
            (_, Some(cause)) => write!(f, "CancelToken({cause})"),
        }
    }
}

/// The wait for a token's cancellation.
#[derive(Debug)]
pub(crate) struct TokenWait {
    token: CancelToken,
    place: Option<Place>,
    /// Who sees the deadline pass tells everybody below.
    tells: bool,
}

impl Wait for TokenWait {
    type Output = Interrupted;

    fn poll_wait(&mut self, w: &Waiter) -> Poll<Interrupted> {
        match self.token.node() {
            None => Poll::Pending,
            Some(node) => node.poll_wait(&mut self.place, w),
        }
    }

    fn give_up(&mut self) {
        if let (Some(node), Some(place)) = (self.token.node(), self.place.take()) {
            node.withdraw(place);
        }
    }

    fn expired(&mut self) {
        if self.tells {
            self.token.deadline_passed();
        }
    }
}

/// The future of a cancellation, or of the end of a context. Made by [`CancelToken::cancelled`] and
/// [`Context::ended`](crate::Context::ended).
///
/// # Cancellation
///
/// Dropping it unregisters it.
///
/// # Panics
///
/// When polled after it was ready.
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct Cancelled(Waiting<TokenWait, Nothing<Interrupted>>);

impl Cancelled {
    /// Of a context with the deadline, which is what cancels the token if it `tells`.
    pub(crate) fn of_context(token: &CancelToken, deadline: Deadline, tells: bool, clock: Clock) -> Self {
        let tells = tells && !deadline.is_never();
        Self(Waiting::new(TokenWait { tells, ..token.waiting() }, &At(deadline, clock)))
    }
}

impl Future for Cancelled {
    type Output = Interrupted;

    fn poll(mut self: Pin<&mut Self>, task: &mut task::Context<'_>) -> Poll<Interrupted> {
        Pin::new(&mut self.0).poll(task).map(|ended| ended.unwrap_or_else(|why| why))
    }
}
