//! What tests want to know of a node.

use super::node::Node;
#[cfg(not(watertight_loom))]
use crate::sync::Arc;

impl Node {
    /// How many waiters, callbacks and children are registered.
    pub(super) fn registrations(&self) -> usize {
        let inner = self.inner.lock();
        inner.children.len() + inner.others.len()
    }

    /// How many nodes it keeps alive in a row, itself included.
    #[cfg(not(watertight_loom))]
    pub(super) fn depth(node: &Arc<Self>) -> usize {
        let (mut depth, mut at) = (0, Some(node.clone()));
        while let Some(node) = at {
            at = node.inner.lock().parents.nth(0, &node.place).map(|(parent, _)| parent);
            depth += 1;
        }
        depth
    }
}
