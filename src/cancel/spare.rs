//! The memory of nodes that are gone, kept by their thread for the next it makes: most tokens are made for a call or a wait,
//! and are gone a moment later.
//!
//! **Invariants.** 1. What is kept nobody else has: [`Arc::get_mut`] says so, when it is kept and when it is used again. 2. A
//! thread keeps a few and no more. **Locking.** None: it is the thread's own. Not in models, which would be larger for it
//! and see nothing more.

use super::node::Node;
#[cfg(not(watertight_loom))]
use super::parents::Parents;
use crate::sync::Arc;
#[cfg(not(watertight_loom))]
use std::cell::RefCell;

#[cfg(not(watertight_loom))]
const KEPT: usize = 16;

#[cfg(not(watertight_loom))]
crate::sync::thread_local! {
    static SPARES: RefCell<Vec<Arc<Node>>> = const { RefCell::new(Vec::new()) };
}

/// Where a new node lies: in the memory of one that is gone, if there is any.
pub(super) fn place(fresh: Node) -> Arc<Node> {
    #[cfg(not(watertight_loom))]
    if let Some(mut spare) = SPARES.try_with(|spares| spares.borrow_mut().pop()).ok().flatten() {
        if let Some(there) = Arc::get_mut(&mut spare) {
            *there = fresh;
            return spare;
        }
    }
    Arc::new(fresh)
}

/// Keeps the memory of a node of which nobody holds the token any more, unless somebody else still looks at it.
pub(super) fn keep(node: Arc<Node>) {
    #[cfg(not(watertight_loom))]
    let node = {
        let mut node = node;
        let room = SPARES.try_with(|spares| spares.borrow().len() < KEPT).unwrap_or(false);
        let gone = if room { Arc::get_mut(&mut node) } else { None };
        let Some(gone) = gone else { return };
        let left = std::mem::replace(gone, Node::make(None, Parents::None));
        drop(left); // a spare of its own, and tables: before the spares are borrowed
        node
    };
    #[cfg(not(watertight_loom))]
    let _ = SPARES.try_with(|spares| spares.borrow_mut().push(node));
    #[cfg(watertight_loom)]
    drop(node);
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
            drop(first);
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
            drop(first);
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
            drop(many);
            assert_eq!(super::SPARES.with(|spares| spares.borrow().len()), super::KEPT);
        });
    }
}
