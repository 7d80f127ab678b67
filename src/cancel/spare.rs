//! The memory of nodes that are gone: those that contexts make for a call or a wait. See [`Spares`]. Tokens that a user makes
//! do not pay for it.

use super::node::Node;
use super::parents::Parents;
use crate::sync::{Arc, Spares, thread_local};

thread_local! {
    #[allow(clippy::missing_const_for_thread_local, reason = "loom's macro takes no const")]
    static SPARES: Spares<Node> = Spares::new();
}

/// Where a new node lies. A thread that is going away keeps nothing.
pub(super) fn place(fresh: Node) -> Arc<Node> {
    Spares::renew(SPARES.try_with(Spares::take).ok().flatten(), fresh)
}

/// One who held the token of this node has let go.
pub(super) fn keep(node: Arc<Node>) {
    let _ = SPARES.try_with(|spares| spares.keep(node, || Node::make(None, Parents::None)));
}

#[cfg(all(test, not(watertight_loom)))]
mod tests {
    use super::super::Node;
    use crate::CancelToken;
    use crate::error::{CancelCause, Interrupted};
    use crate::sync::Arc;

    fn node(token: &CancelToken) -> &Arc<Node> {
        token.node().unwrap()
    }

    /// Another thread's spares are not in the way.
    fn on_a_thread_of_its_own(f: impl FnOnce() + Send + 'static) {
        std::thread::spawn(f).join().unwrap();
    }

    #[test]
    fn what_was_used_before_is_as_new() {
        on_a_thread_of_its_own(|| {
            let first = CancelToken::new();
            let address = Arc::as_ptr(node(&first)).addr();
            let child = first.child();
            let callback = first.on_cancel(|_| unreachable!("dropped with its token"));
            drop((callback, child));
            first.cancel();
            first.recycle();
            let second = CancelToken::new();
            assert_eq!(Arc::as_ptr(node(&second)).addr(), address, "in the same memory");
            assert!(!second.is_cancelled() && second.registrations() == 0);
            let below = second.child();
            second.cancel();
            assert!(below.is_cancelled());
        });
    }

    #[test]
    fn what_somebody_still_looks_at_is_not_used_again() {
        on_a_thread_of_its_own(|| {
            let first = CancelToken::new();
            let (weak, waits) = (node(&first).clone(), first.cancelled());
            first.recycle();
            let second = CancelToken::new();
            assert!(!Arc::ptr_eq(node(&second), &weak));
            second.cancel();
            drop(waits);
            Node::cancel(&weak, Interrupted::Cancelled(CancelCause::Requested));
            assert!(!CancelToken::new().is_cancelled());
        });
    }

    #[test]
    fn a_thread_keeps_a_few() {
        on_a_thread_of_its_own(|| {
            let many: Vec<_> = (0..100).map(|_| CancelToken::new()).collect();
            many.into_iter().for_each(CancelToken::recycle);
            let kept = super::SPARES.with(crate::sync::Spares::len);
            assert!((1..100).contains(&kept), "{kept}");
        });
    }
}
