//! [`Weak`]: reaches a token without holding it.
//!
//! What lies on a node's own lists may keep the node itself this way: it is dropped when nobody holds the token any more
//! and it has no children left, and that breaks the cycle. A counted hold would never end.

use super::CancelToken;
use super::node::Node;
use crate::error::{CancelCause, Interrupted};
use crate::sync::Arc;

/// A token as long as somebody else holds it. Cancelling what nobody holds any more does nothing.
pub(crate) struct Weak(Arc<Node>);

impl Weak {
    pub(crate) fn cancel_because(&self, cause: CancelCause) {
        Node::cancel(&self.0, Interrupted::Cancelled(cause));
    }

    /// Tells this token from all others for as long as the `Weak` is kept.
    pub(crate) fn address(&self) -> usize {
        std::ptr::from_ref(&*self.0).addr()
    }
}

impl CancelToken {
    /// `None` for [`never`](Self::never).
    pub(crate) fn weak(&self) -> Option<Weak> {
        self.node().cloned().map(Weak)
    }
}
