//! [`CancelToken`]: cooperative cancellation in a tree. A parent cancels its children, never the reverse.
//!
//! What a user holds is a handle: its node, and for each parent the parent's handle with the place of the node in the
//! parent's list. A handle keeps its ancestors' handles alive, so a token in the middle of a chain may be dropped and the
//! chain holds; dropping the last handle of a token takes its node off its parents' lists, locking only those lists.
//! An ancestor that only one descendant still holds is a mere link of the chain: it is taken out when that descendant
//! gets a child, or a job that submits its successor for ever would make a chain for ever.
//!
//! **Invariants** and **Locking**: those of `node.rs`; and a handle's list of parents is locked before a node's lists,
//! never after.

#[cfg(all(test, watertight_loom))]
mod loom_tests;
mod node;
#[cfg(all(test, not(watertight_loom)))]
mod tests;

use crate::clock::Clock;
use crate::deadline::Deadline;
use crate::error::{CancelCause, Interrupted};
use crate::sync::{Arc, Mutex, Waiter};
use crate::wait::line::Place;
use crate::wait::{At, Nothing, Wait, Waiting};
use node::Node;
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
#[derive(Clone)]
pub struct CancelToken(Option<Arc<Handle>>);

struct Handle {
    node: Arc<Node>,
    parents: Mutex<Parents>,
}

/// None for a root, one for a child, two for a link; each with the place in its list.
type Parents = [Option<(Arc<Handle>, Place)>; 2];

impl CancelToken {
    /// A token of its own, not cancelled.
    pub fn new() -> Self {
        Self(Some(Arc::new(Handle { node: Arc::new(Node::new()), parents: Mutex::new([None, None]) })))
    }

    /// A token that is never cancelled and costs nothing. [`cancel`](Self::cancel) on it does nothing.
    pub const fn never() -> Self {
        Self(None)
    }

    /// A token that is cancelled with this one, and may be cancelled without it. The child of a cancelled token is born
    /// cancelled.
    #[must_use]
    pub fn child(&self) -> Self {
        Self::below([self.0.as_ref(), None])
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
        Self::below([self.0.as_ref(), other.0.as_ref()])
    }

    fn below(parents: [Option<&Arc<Handle>>; 2]) -> Self {
        let node = Arc::new(Node::new());
        let parents = parents.map(|parent| {
            let parent = parent?;
            parent.shorten();
            Some((parent.clone(), parent.node.adopt(&node)?))
        });
        Self(Some(Arc::new(Handle { node, parents: Mutex::new(parents) })))
    }

    /// Cancels this token and all below it. When it returns, every child is cancelled and every waiter woken; that
    /// promise is made by the call that won, a second concurrent one may return sooner.
    pub fn cancel(&self) {
        self.cancel_because(CancelCause::Requested);
    }

    /// [`cancel`](Self::cancel) with a cause. If the token is cancelled already, the earlier cause stays.
    pub fn cancel_because(&self, cause: CancelCause) {
        if let Some(handle) = &self.0 {
            Node::cancel(&handle.node, Interrupted::Cancelled(cause));
        }
    }

    /// Whether it has been cancelled.
    ///
    /// # Performance
    ///
    /// One atomic load: put it in the innermost loop.
    pub fn is_cancelled(&self) -> bool {
        self.0.as_ref().is_some_and(|handle| handle.node.is_cancelled())
    }

    /// Why it was cancelled, if it was.
    pub fn cause(&self) -> Option<Interrupted> {
        self.0.as_ref().and_then(|handle| handle.node.cause())
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
        Cancelled::new(self, Deadline::NEVER, Clock::system())
    }

    /// The wait for it, for `Until::cancel`.
    pub(crate) fn waiting(&self) -> TokenWait {
        TokenWait { token: self.clone(), place: None }
    }

    /// How many waiters and children are registered.
    #[cfg(test)]
    pub(crate) fn registrations(&self) -> usize {
        self.0.as_ref().map_or(0, |handle| handle.node.registrations())
    }

    /// How many handles it keeps alive in a row, itself included.
    #[cfg(test)]
    pub(crate) fn depth(&self) -> usize {
        let (mut depth, mut at) = (0, self.0.clone());
        while let Some(handle) = at {
            at = handle.parents.lock().iter().flatten().next().map(|(parent, _)| parent.clone());
            depth += 1;
        }
        depth
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
        match (&self.0, self.cause()) {
            (None, _) => f.write_str("CancelToken(never)"),
            (_, None) => f.write_str("CancelToken(live)"),
            (_, Some(cause)) => write!(f, "CancelToken({cause})"),
        }
    }
}

impl Handle {
    /// Takes out ancestors that nobody but this handle holds: nobody can cancel them any more but through their own
    /// parents, so this node may as well stand on those parents' lists itself.
    fn shorten(&self) {
        let mut parents = self.parents.lock();
        for slot in parents.iter_mut() {
            while let Some((parent, _)) = slot.as_ref().filter(|(parent, _)| Arc::strong_count(parent) == 1) {
                let above = parent.parents.lock().clone();
                let ([Some((grand, _)), None] | [None, Some((grand, _))]) = above else { break };
                // A cancellation from above finds it on one of the two lists, or has set the flag it sees as it joins.
                let joined = grand.node.adopt(&self.node).map(|place| (grand, place));
                *slot = joined;
            }
        }
    }
}

impl Drop for Handle {
    /// Takes the node off its parents' lists and lets the parents' handles go: in a loop, since the last handle of a
    /// long chain would otherwise drop its ancestors recursively.
    fn drop(&mut self) {
        let mut gone: Vec<Arc<Handle>> = Vec::new();
        let leave = |parents: Parents, gone: &mut Vec<Arc<Handle>>| {
            for (parent, place) in parents.into_iter().flatten() {
                parent.node.disown(place);
                gone.push(parent);
            }
        };
        leave(std::mem::take(&mut *self.parents.lock()), &mut gone);
        while let Some(parent) = gone.pop() {
            if let Ok(last) = Arc::try_unwrap(parent) {
                leave(std::mem::take(&mut *last.parents.lock()), &mut gone);
            }
        }
    }
}

/// The wait for a token's cancellation.
#[derive(Debug)]
pub(crate) struct TokenWait {
    token: CancelToken,
    place: Option<Place>,
}

impl Wait for TokenWait {
    type Output = Interrupted;

    fn poll_wait(&mut self, w: &Waiter) -> Poll<Interrupted> {
        match &self.token.0 {
            None => Poll::Pending,
            Some(handle) => handle.node.poll_wait(&mut self.place, w),
        }
    }

    fn give_up(&mut self) {
        if let (Some(handle), Some(place)) = (&self.token.0, self.place.take()) {
            handle.node.leave(place);
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
    pub(crate) fn new(token: &CancelToken, deadline: Deadline, clock: Clock) -> Self {
        Self(Waiting::new(token.waiting(), &At(deadline, clock)))
    }
}

impl Future for Cancelled {
    type Output = Interrupted;

    fn poll(mut self: Pin<&mut Self>, task: &mut task::Context<'_>) -> Poll<Interrupted> {
        Pin::new(&mut self.0).poll(task).map(|ended| ended.unwrap_or_else(|why| why))
    }
}
