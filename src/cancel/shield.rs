//! A shield: a token that hears of a cancellation above it only once the shield is lifted.
//!
//! **States** of its node: shut → deferred, by a cancellation from above → open, by the lift; or shut → open. **Invariants.**
//! Those of `node.rs`, the seventh above all: a shield holds the token that it shields, and is lifted once.

use super::CancelToken;
use super::node::{Inner, LISTED, Node, SHUT};
use super::others::Other;
use super::parents::Parents;
use crate::error::Interrupted;
use crate::sync::atomic::Ordering;
use crate::sync::{Arc, broken};

/// A bit of a node's word: something has been deferred, and is among the node's others.
const DEFERRED: u8 = 0b100_0000;

impl Node {
    /// A child that is shut.
    pub(super) fn shut_child(node: &Arc<Self>) -> Arc<Self> {
        Self::child_in(node, SHUT | LISTED).unwrap_or_else(|why| {
            let child = Self::make(None, Parents::None);
            child.state.store(SHUT | LISTED, Ordering::Relaxed);
            child.defer(&mut child.inner.lock(), why);
            Arc::new(child)
        })
    }

    /// Keeps `why` for when the node is opened.
    pub(super) fn defer(&self, inner: &mut Inner, why: Interrupted) {
        if self.state.fetch_or(DEFERRED, Ordering::AcqRel) & DEFERRED == 0 {
            inner.others.join(Other::Deferred(why));
        }
    }

    /// Lets through what was deferred, and whatever comes from now on.
    pub(super) fn open(node: &Arc<Self>) {
        let mut inner = node.inner.lock();
        let mut before = node.state.load(Ordering::Acquire);
        if broken("shield: lifting looks first and opens later") {
            drop(inner);
            inner = node.inner.lock();
            node.state.fetch_and(!SHUT, Ordering::AcqRel);
        } else {
            before = node.state.fetch_and(!SHUT, Ordering::AcqRel);
        }
        let deferred = if before & DEFERRED == 0 { None } else { inner.others.take_deferred() };
        drop(inner);
        if let Some(why) = deferred {
            Self::cancel(node, why);
        }
    }
}

/// Lifts the shield when dropped.
pub(crate) struct Shield(CancelToken);

impl Drop for Shield {
    fn drop(&mut self) {
        if let Some(node) = self.0.node() {
            Node::open(node);
        }
    }
}

impl CancelToken {
    /// A child that is cancelled with this token, but not before the shield is lifted.
    pub(crate) fn shielded(&self) -> (Self, Shield) {
        let token = Self::of(self.node().map_or_else(Node::new, Node::shut_child));
        (token.clone(), Shield(token))
    }
}

#[cfg(all(test, watertight_loom, not(watertight_shuttle)))]
mod loom_tests {
    use super::CancelToken;
    use crate::error::{CancelCause, Interrupted};
    use crate::sync::model::{model, spawn, twin};

    fn a_shield_ends_while_cancel_arrives() {
        let above = CancelToken::new();
        let (below, shield) = above.shielded();
        let (other, inside) = (above.clone(), below.clone());
        let canceller = spawn(move || other.cancel());
        let section = spawn(move || {
            let seen = inside.is_cancelled();
            drop(shield);
            seen
        });
        assert!(!section.join().unwrap(), "not seen inside");
        canceller.join().unwrap();
        assert_eq!(below.cause(), Some(Interrupted::Cancelled(CancelCause::Requested)), "and not lost");
        drop(below);
        assert_eq!(above.registrations(), 0);
    }

    #[test]
    fn loom_a_cancel_during_a_shield_is_not_seen_inside_and_not_lost() {
        model("a cancel during a shield is not seen inside and not lost", a_shield_ends_while_cancel_arrives);
        twin("shield: lifting looks first and opens later", a_shield_ends_while_cancel_arrives);
        twin("shield: the gate is never shut", a_shield_ends_while_cancel_arrives);
    }

    fn the_last_holder_goes_while_the_shield_is_lifted() {
        let above = CancelToken::new();
        let (below, shield) = above.shielded();
        let holder = spawn(move || drop(below));
        drop(shield);
        holder.join().unwrap();
        assert_eq!(above.registrations(), 0);
    }

    /// loom fails on a leaked `Arc`.
    #[test]
    fn loom_a_shielded_token_leaves_nothing_behind() {
        model("a shielded token leaves nothing behind", the_last_holder_goes_while_the_shield_is_lifted);
        twin("token: a dropped child stays on the list", the_last_holder_goes_while_the_shield_is_lifted);
    }
}
