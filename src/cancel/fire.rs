//! [`Fire`]: one cancellation on its way through a tree. A loop, not a recursion: a chain may be deep.
//!
//! A node is cancelled where it stands on its parent's list, which is given away for that time: so no node's lock is held
//! while another's is taken, and none but the nodes that have several children themselves is held on to by a count.
//!
//! **Invariants.** 1. Who waits on a node is woken after it and all above it are cancelled; in batches, or ten thousand of
//! them would cost pages of memory. 2. Callbacks run when all are cancelled and all who wait are woken: one may take its
//! time. 3. A list that is given away comes back, without those who left meanwhile. **Locking.** Wakers and callbacks run
//! under no lock; lists may be away while wakers do.

use super::node::Node;
use super::others::{Callback, Other};
use super::places::Places;
use crate::error::Interrupted;
use crate::sync::{Arc, Waiter, quietly};

/// How many nodes' waiters are woken at a time.
const BATCH: usize = 128;

pub(super) struct Fire {
    code: u8,
    text: &'static str,
    /// Those who wait on nodes that have been cancelled.
    to_wake: Vec<Waiter>,
    callbacks: Vec<Callback>,
    to_visit: Vec<Below>,
}

/// The children of a cancelled node that are still to be cancelled.
enum Below {
    /// One, taken off the list.
    One(Arc<Node>),
    /// All, and where to give them back.
    Many(Arc<Node>, Vec<Option<Arc<Node>>>),
}

impl Fire {
    pub(super) fn new(code: u8, text: &'static str) -> Self {
        Self { code, text, to_wake: Vec::new(), callbacks: Vec::new(), to_visit: Vec::new() }
    }

    /// Cancels `node`, and all below it.
    pub(super) fn all_below(mut self, node: &Arc<Node>) -> Self {
        self.visit(node, false);
        self.rest()
    }

    /// The same, if `node` is not shut.
    pub(super) fn below_if_open(mut self, node: &Arc<Node>) -> Self {
        self.visit(node, true);
        self.rest()
    }

    fn rest(mut self) -> Self {
        while let Some(below) = self.to_visit.pop() {
            match below {
                Below::One(child) => self.visit(&child, true),
                Below::Many(node, children) => {
                    children.iter().flatten().for_each(|child| self.visit_unless_bare(child));
                    Node::give_back(node, children);
                }
            }
        }
        self
    }

    #[inline]
    fn visit_unless_bare(&mut self, node: &Arc<Node>) {
        if !node.cancel_bare(self.code) && !node.is_cancelled() {
            self.visit(node, true);
        }
    }

    #[inline]
    fn visit(&mut self, node: &Arc<Node>, from_above: bool) {
        let Self { code, text, ref mut to_wake, ref mut callbacks, ref mut to_visit } = *self;
        let told = |other| match other {
            Other::Waiter(waiter) => to_wake.push(waiter),
            Other::Callback(callback) => callbacks.push(callback),
            Other::Deferred(_) => {} // and comes too late
        };
        node.fire((code, text), from_above, told, |children| match children {
            Places::None => {}
            // Bare ones stay on the list: each takes itself off when it is dropped, and until then nothing is owed it.
            Places::One(child) if child.cancel_bare(code) || child.is_cancelled() => {}
            Places::One(_) => to_visit.extend(children.leave(0).map(Below::One)),
            Places::Many(_) => to_visit.extend(children.away().map(|all| Below::Many(node.clone(), all))),
        });
        if self.to_wake.len() >= BATCH {
            Waiter::wake_all(self.to_wake.drain(..));
        }
    }

    /// Wakes who has not been woken, and runs the callbacks.
    pub(super) fn tell(mut self, why: Interrupted) {
        Waiter::wake_all(self.to_wake.drain(..));
        self.callbacks.into_iter().for_each(|callback| quietly(move || callback(why)));
    }
}
