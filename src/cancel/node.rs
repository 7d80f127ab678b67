//! The nodes of the token tree: a flag, a cause, who waits, and the children.
//!
//! **States.** live → cancelled. **Invariants.** 1. The flag is set, the cause stored and the lists are taken under one
//! lock, and whoever joins a list looks at the cause under the same lock: nobody joins a cancelled node. 2. A node knows
//! its children and never its parent. 3. The first cause wins. **Locking.** Never two node locks at once: `cancel`
//! takes a node's lists, lets go, and only then visits the children. Wakers run, and are cloned
//! and dropped, under no lock.

use crate::error::Interrupted;
use crate::sync::atomic::{AtomicU8, Ordering};
use crate::sync::{Arc, Mutex, Waiter, broken};
use crate::wait::line::{Line, Place};
use std::task::Poll;

#[derive(Debug)]
pub(super) struct Node {
    fired: AtomicU8,
    lists: Mutex<Lists>,
}

#[derive(Debug)]
struct Lists {
    cause: Option<Interrupted>,
    waiters: Line<Waiter>,
    children: Line<Arc<Node>>,
}

impl Node {
    pub(super) fn new() -> Self {
        Self::with_cause(None)
    }

    fn with_cause(cause: Option<Interrupted>) -> Self {
        Self {
            fired: AtomicU8::new(u8::from(cause.is_some())),
            lists: Mutex::new(Lists { cause, waiters: Line::new(), children: Line::new() }),
        }
    }

    /// One load. Acquire, so that whoever sees the flag sees what the canceller did before.
    pub(super) fn is_cancelled(&self) -> bool {
        self.fired.load(Ordering::Acquire) != 0
    }

    pub(super) fn cause(&self) -> Option<Interrupted> {
        if self.is_cancelled() { self.lists.lock().cause } else { None }
    }

    /// Cancels the node and all below it, then wakes everybody who waits. A loop, not a recursion: a chain may be deep.
    pub(super) fn cancel(node: &Arc<Self>, cause: Interrupted) {
        let mut to_visit = vec![node.clone()];
        let mut to_wake = Vec::new();
        while let Some(node) = to_visit.pop() {
            let mut lists = node.lists.lock();
            if lists.cause.is_some() && !broken("token: a later cause replaces the first") {
                continue;
            }
            lists.cause = Some(cause);
            node.fired.swap(1, Ordering::Release);
            to_wake.extend(lists.waiters.empty());
            to_visit.extend(lists.children.empty());
        }
        to_wake.into_iter().for_each(Waiter::wake);
    }

    /// Takes `child` in: cancelled with it from now on. If this node is cancelled already, so is the child.
    pub(super) fn adopt(&self, child: &Arc<Node>) -> Option<Place> {
        if broken("token: a child joins without a look under the lock") {
            if let Some(cause) = self.cause() {
                Node::cancel(child, cause);
                return None;
            }
            return Some(self.lists.lock().children.join(child.clone()));
        }
        let mut lists = self.lists.lock();
        match lists.cause {
            None => Some(lists.children.join(child.clone())),
            Some(cause) => {
                drop(lists);
                Node::cancel(child, cause);
                None
            }
        }
    }

    pub(super) fn disown(&self, place: Place) {
        if broken("token: a dropped child stays on the list") {
            return;
        }
        let child = self.lists.lock().children.leave(place);
        drop(child);
    }

    /// Says the cause, or leaves `w` to be woken.
    pub(super) fn poll_wait(&self, place: &mut Option<Place>, w: &Waiter) -> Poll<Interrupted> {
        if broken("token: a waiter joins without a look under the lock") {
            if let Some(cause) = self.cause() {
                return Poll::Ready(cause);
            }
            *place = Some(self.lists.lock().waiters.join(w.clone()));
            return Poll::Pending;
        }
        let mine = w.clone(); // cloning and dropping a waker is the executor's code: not under our lock
        let mut lists = self.lists.lock();
        if let Some(cause) = lists.cause {
            drop(lists);
            return Poll::Ready(cause);
        }
        let spare = match place.and_then(|place| lists.waiters.get_mut(place)) {
            Some(there) if there.will_wake(w) => Some(mine),
            Some(there) => Some(std::mem::replace(there, mine)),
            None => {
                *place = Some(lists.waiters.join(mine));
                None
            }
        };
        drop(lists);
        drop(spare);
        Poll::Pending
    }

    pub(super) fn leave(&self, place: Place) {
        let waiter = self.lists.lock().waiters.leave(place);
        drop(waiter);
    }

    #[cfg(test)]
    pub(super) fn registrations(&self) -> usize {
        let lists = self.lists.lock();
        lists.waiters.len() + lists.children.len()
    }
}
