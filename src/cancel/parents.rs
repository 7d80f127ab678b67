//! [`Parents`]: whom a node is below. Nearly all have one parent, whose place is kept beside it in the node.
//!
//! **Locking.** None: it lives behind its node's lock. The word with the place is written by whoever holds that lock, or
//! before anybody else has the node.

use super::node::Node;
use super::places::Place;
use crate::sync::Arc;
use crate::sync::atomic::{AtomicU32, Ordering};

pub(super) enum Parents {
    None,
    One(Arc<Node>),
    /// Each with the place there.
    #[expect(clippy::box_collection, reason = "the few links are not to make every node larger")]
    Many(Box<Vec<(Arc<Node>, Place)>>),
}

impl Parents {
    /// Whether any of them is so.
    pub(super) fn any(&self, is: impl Fn(&Node) -> bool) -> bool {
        match self {
            Self::None => false,
            Self::One(parent) => is(parent),
            Self::Many(parents) => parents.iter().any(|(parent, _)| is(parent)),
        }
    }

    /// The `n`th and the node's place there.
    pub(super) fn nth(&self, n: usize, only: &AtomicU32) -> Option<(Arc<Node>, Place)> {
        match self {
            Self::One(parent) if n == 0 => Some((parent.clone(), only.load(Ordering::Relaxed))),
            Self::Many(parents) => parents.get(n).cloned(),
            _ => None,
        }
    }

    /// Puts one parent in the place of another, if that is there still.
    pub(super) fn replace(&mut self, only: &AtomicU32, old: (&Arc<Node>, Place), new: (&Arc<Node>, Place)) -> bool {
        match self {
            Self::One(parent) if Arc::ptr_eq(parent, old.0) && only.load(Ordering::Relaxed) == old.1 => {
                *parent = new.0.clone();
                only.store(new.1, Ordering::Relaxed);
                true
            }
            Self::Many(parents) => {
                let found = parents.iter_mut().find(|(parent, place)| Arc::ptr_eq(parent, old.0) && *place == old.1);
                found.map(|slot| *slot = (new.0.clone(), new.1)).is_some()
            }
            _ => false,
        }
    }

    /// The only one, or all into `more`.
    pub(super) fn each(self, only: &AtomicU32, more: &mut Vec<(Arc<Node>, Place)>) -> Option<(Arc<Node>, Place)> {
        match self {
            Self::None => None,
            Self::One(parent) => Some((parent, only.load(Ordering::Relaxed))),
            Self::Many(parents) => {
                more.extend(*parents);
                None
            }
        }
    }
}
