//! The nodes of the token tree: a flag, a cause, who waits, and the children.
//!
//! **States**, in one word: live → cancelled for a cause; and beside it *listed*, once anybody has joined a list of the
//! node's, and *orphan*, once nobody holds the token itself and only descendants keep the node. A *shut* node defers what
//! comes from above until it is opened (`shield.rs`); what is asked of itself cancels it all the same.
//!
//! **Invariants.** 1. A node that is not listed is cancelled by one exchange of its word and nothing else: nobody waits
//! there. A listed one is cancelled under its lock, and its lists are taken in the same critical section. 2. Who joins a
//! list marks the node as listed and looks at its cause, in one step under its lock: nobody joins a cancelled node. 3.
//! The first cause wins. 4. A node is on its parents' lists as long as somebody holds its token or it has children, and
//! keeps its parents that long. Whoever ends that takes it off. 5. The count of handles is not kept once it has been
//! seen at one by whoever lets go: nobody else is left to read it. 6. Once a node is listed, its word is written under its
//! lock only. 7. A shut node is listed and held. Opening it and looking at what was deferred is one step under its lock.
//!
//! **Locking.** Never two node locks at once: `fire.rs` takes a node's lists, lets go, and only then visits the children
//! that need more than an exchange. Wakers and callbacks run, and are cloned and dropped, under no lock.

use super::cause::{TEXT, decode, encode};
use super::fire::Fire;
use super::others::{Callback, Other, Others};
use super::parents::Parents;
use super::places::{NOWHERE, Place, Places};
use super::spare;
use crate::error::Interrupted;
use crate::sync::atomic::{AtomicU8, AtomicU32, AtomicUsize, Ordering};
use crate::sync::{Arc, Mutex, Waiter, broken};
use std::task::Poll;

/// The bits of the word. The cause is a small number, not 0.
const CAUSE: u8 = 0b0111;
pub(super) const LISTED: u8 = 0b1000;
const ORPHAN: u8 = 0b1_0000;
pub(super) const SHUT: u8 = 0b10_0000;

/// In this order, and so that of `Inner`, because a cancellation that meets ten thousand nodes needs only what is first.
#[repr(C)]
pub(super) struct Node {
    pub(super) state: AtomicU8,
    /// Its place with its only parent. Written by whoever joins that parent's list, under this node's lock or before
    /// anybody else has the node.
    pub(super) place: AtomicU32,
    pub(super) inner: Mutex<Inner>,
    handles: AtomicUsize,
}

#[repr(C)]
pub(super) struct Inner {
    pub(super) others: Others,
    pub(super) children: Places<Arc<Node>>,
    pub(super) parents: Parents,
    /// A child that is gone, to be made into the next.
    spare: Option<Arc<Node>>,
}

impl Node {
    pub(super) fn make(why: Option<Interrupted>, parents: Parents) -> Self {
        let (code, text) = why.map_or((0, ""), encode);
        let inner = Inner { parents, children: Places::None, others: Others::cancelled(text), spare: None };
        Self {
            state: AtomicU8::new(code),
            place: AtomicU32::new(NOWHERE),
            handles: AtomicUsize::new(1),
            inner: Mutex::new(inner),
        }
    }

    pub(super) fn new() -> Arc<Self> {
        spare::place(Self::make(None, Parents::None))
    }

    /// What is born cancelled needs no parent.
    pub(super) fn born_cancelled(why: Interrupted) -> Arc<Self> {
        Arc::new(Self::make(Some(why), Parents::None))
    }

    pub(super) fn child(node: &Arc<Self>) -> Arc<Self> {
        if let Some(why) = node.cause() {
            return Self::born_cancelled(why);
        }
        Self::child_in(node, 0).unwrap_or_else(Self::born_cancelled)
    }

    /// A child that begins in `state`, or why there is none.
    pub(super) fn child_in(node: &Arc<Self>, state: u8) -> Result<Arc<Self>, Interrupted> {
        let fresh = Self::make(None, Parents::One(node.clone())); // not under the lock, which siblings may wait for
        fresh.state.store(state, Ordering::Relaxed);
        let joined = node.join("token: a child joins without a look under the lock", |inner| {
            let child = inner.renew(fresh);
            child.place.store(inner.children.join(child.clone()), Ordering::Relaxed);
            (child, inner.parents.any(Node::is_orphan))
        });
        let (child, long) = joined?;
        if long {
            Self::shorten(node);
        }
        Ok(child)
    }

    /// A child of several.
    pub(super) fn below(parents: &[&Arc<Self>]) -> Arc<Self> {
        if let [parent] = parents {
            return Self::child(parent);
        }
        if let Some(why) = parents.iter().find_map(|parent| parent.cause()) {
            return Self::born_cancelled(why);
        }
        let child = Self::new();
        let mut joined = Vec::with_capacity(parents.len());
        for parent in parents {
            match parent.adopt(&child) {
                Ok((place, long)) => {
                    joined.push((Arc::clone(parent), place));
                    if long {
                        Self::shorten(parent);
                    }
                }
                Err(why) => Self::cancel(&child, why),
            }
        }
        child.inner.lock().parents = Parents::Many(Box::new(joined));
        child
    }

    /// One load. Acquire, so that whoever sees the flag sees what the canceller did before.
    #[inline]
    pub(super) fn is_cancelled(&self) -> bool {
        self.state.load(Ordering::Acquire) & CAUSE != 0
    }

    #[inline]
    pub(super) fn cause(&self) -> Option<Interrupted> {
        match self.state.load(Ordering::Acquire) & CAUSE {
            0 => None,
            TEXT => Some(decode(TEXT, self.inner.lock().others.text())),
            code => Some(decode(code, "")),
        }
    }

    /// Cancels a live node that nobody has joined. Fails if it is neither, and for a cause that does not fit the word.
    pub(super) fn cancel_bare(&self, code: u8) -> bool {
        // The look spares a locked instruction that would fail.
        let may_be = code != TEXT && self.state.load(Ordering::Relaxed) == 0;
        may_be && self.state.compare_exchange(0, code, Ordering::Release, Ordering::Relaxed).is_ok()
    }

    /// Marks the node as one to be cancelled under its lock, which the caller holds, and says its cause.
    fn list(&self) -> u8 {
        let mut state = self.state.load(Ordering::Acquire);
        if state & (LISTED | CAUSE) == 0 && !broken("token: who joins does not mark the node") {
            state = self.state.fetch_or(LISTED, Ordering::AcqRel);
        }
        state & CAUSE
    }

    /// Cancels the node and all below it, then wakes everybody who waits.
    pub(super) fn cancel(node: &Arc<Self>, why: Interrupted) {
        let (code, text) = encode(why);
        if !node.cancel_bare(code) {
            Fire::new(code, text).all_below(node).tell(why);
        }
    }

    /// Cancels the node, and all below it, for what has happened above it.
    fn cancel_from_above(node: &Arc<Self>, why: Interrupted) {
        let (code, text) = encode(why);
        if !node.cancel_bare(code) {
            Fire::new(code, text).below_if_open(node).tell(why);
        }
    }

    /// Cancels this node alone, unless it is cancelled, or shut to what comes `from_above`. Those who wait here are given to `told` to be kept, and the children
    /// shown to `children`, under the lock.
    #[inline]
    pub(super) fn fire(
        &self,
        (code, text): (u8, &'static str),
        from_above: bool,
        told: impl FnMut(Other),
        children: impl FnOnce(&mut Places<Arc<Self>>),
    ) {
        let mut inner = self.inner.lock();
        if self.list() != 0 && !broken("token: a later cause replaces the first") {
            return;
        }
        if from_above && self.state.load(Ordering::Relaxed) & SHUT != 0 && !broken("shield: the gate is never shut") {
            return self.defer(&mut inner, decode(code, text));
        }
        inner.others.take().for_each(told);
        if code == TEXT {
            inner.others = Others::Text(text);
        }
        // Invariant 6: a plain store, which costs a fraction of an exchange. Who still tries an exchange from 0 fails.
        self.state.store(self.state.load(Ordering::Relaxed) | code, Ordering::Release);
        children(&mut inner.children);
    }

    /// Puts the children back that [`fire`](Self::fire) has given away, but for those that have gone meanwhile.
    pub(super) fn give_back(node: Arc<Self>, children: Vec<Option<Arc<Self>>>) {
        let mut inner = node.inner.lock();
        let gone = inner.children.back(children);
        let left = (inner.children.len() == 0 && node.is_orphan()).then(|| inner.leave());
        drop(inner);
        drop(gone);
        if let Some((parents, others)) = left {
            others.for_each(Other::dismiss);
            Self::leave_all(&node, parents);
        }
    }

    /// Joins a list by `join`, or says why nobody can join any more. `careless` is the twin that looks before the lock.
    fn join<T>(&self, careless: &str, join: impl FnOnce(&mut Inner) -> T) -> Result<T, Interrupted> {
        if broken(careless) {
            if let Some(why) = self.cause() {
                return Err(why);
            }
            let mut inner = self.inner.lock();
            self.list();
            return Ok(join(&mut inner));
        }
        let mut inner = self.inner.lock();
        match self.list() {
            0 => Ok(join(&mut inner)),
            code => Err(decode(code, inner.others.text())),
        }
    }

    /// Takes `child` in: cancelled with this node from now on. Says whether this node should be [shortened](Self::shorten).
    fn adopt(&self, child: &Arc<Self>) -> Result<(Place, bool), Interrupted> {
        self.join("token: a child joins without a look under the lock", |inner| {
            (inner.children.join(child.clone()), inner.parents.any(Node::is_orphan))
        })
    }

    fn is_orphan(&self) -> bool {
        self.state.load(Ordering::Acquire) & ORPHAN != 0
    }

    /// Takes out ancestors that only this node keeps: nobody can cancel them any more but through their own parents, so
    /// this node may as well stand on those parents' lists itself.
    fn shorten(node: &Arc<Self>) {
        let mut nth = 0;
        loop {
            let Some((parent, place)) = node.inner.lock().parents.nth(nth, &node.place) else { return };
            let Some(above) = parent.as_link() else {
                nth += 1;
                continue;
            };
            // A cancellation from above finds this node on one of the two lists, or has set the flag it sees as it joins.
            match above.adopt(node) {
                Err(why) => return Self::cancel_from_above(node, why),
                Ok((new, _)) => {
                    let replaced = node.inner.lock().parents.replace(&node.place, (&parent, place), (&above, new));
                    // Somebody else may have done the same meanwhile.
                    let (left, place) = if replaced { (parent, place) } else { (above, new) };
                    Self::leave(left, place);
                }
            }
        }
    }

    /// The parent of a node that is a mere link of a chain.
    fn as_link(&self) -> Option<Arc<Self>> {
        if !self.is_orphan() {
            return None;
        }
        let inner = self.inner.lock();
        match &inner.parents {
            Parents::One(above) if inner.children.len() == 1 && inner.others.len() == 0 => Some(above.clone()),
            _ => None,
        }
    }

    /// Takes the child at `place` off the list of `parent`, and `parent` off those of its parents if that leaves nobody
    /// to keep it, and so on: in a loop, since the last of a long chain would otherwise let go of it recursively.
    fn leave(parent: Arc<Self>, place: Place) {
        if broken("token: a dropped child stays on the list") {
            return;
        }
        let (mut next, mut more) = (Some((parent, place)), Vec::new());
        while let Some((parent, place)) = next.take().or_else(|| more.pop()) {
            let mut inner = parent.inner.lock();
            let gone = inner.children.leave(place).and_then(|child| inner.keep_spare(child));
            let left = (inner.children.len() == 0 && parent.is_orphan()).then(|| inner.leave());
            drop(inner);
            drop(gone);
            if let Some((parents, others)) = left {
                others.for_each(Other::dismiss);
                next = parents.each(&parent.place, &mut more);
            }
        }
    }

    /// One more holds the token.
    pub(super) fn hold(&self) {
        self.handles.fetch_add(1, Ordering::Relaxed);
    }

    /// One less holds the token.
    pub(super) fn let_go(&self) {
        // The only one left needs no locked instruction to know it: nobody else could add to the count.
        if self.handles.load(Ordering::Acquire) != 1 && self.handles.fetch_sub(1, Ordering::AcqRel) != 1 {
            return;
        }
        let mut inner = self.inner.lock();
        if inner.children.len() > 0 {
            if !broken("token: nobody is told that only descendants are left") {
                self.state.fetch_or(ORPHAN, Ordering::AcqRel);
            }
            return;
        }
        let (parents, others) = inner.leave();
        drop(inner);
        others.for_each(Other::dismiss);
        self.leave_all(parents);
    }

    /// Goes off the lists of all its parents, which are its own no more.
    fn leave_all(&self, parents: Parents) {
        let mut more = Vec::new();
        if let Some((parent, place)) = parents.each(&self.place, &mut more) {
            Self::leave(parent, place);
        }
        more.into_iter().for_each(|(parent, place)| Self::leave(parent, place));
    }

    /// Says the cause, or leaves `w` to be woken.
    pub(super) fn poll_wait(&self, place: &mut Option<Place>, w: &Waiter) -> Poll<Interrupted> {
        let mut mine = Some(Other::Waiter(w.clone())); // cloning and dropping a waker is the executor's code
        let joined = self.join("token: a waiter joins without a look under the lock", |inner| {
            let others = &mut inner.others;
            match place.and_then(|place| others.list()?.get_mut(place)) {
                Some(Other::Waiter(there)) if there.will_wake(w) => {}
                Some(there) => mine = mine.take().map(|mine| std::mem::replace(there, mine)),
                None => *place = mine.take().and_then(|mine| others.join(mine)),
            }
        });
        if let Some(spare) = mine {
            spare.dismiss();
        }
        joined.map_or_else(Poll::Ready, |()| Poll::Pending)
    }

    /// Leaves `callback` to be run, or gives it back with the cause.
    pub(super) fn call(&self, callback: Callback) -> Result<Place, (Callback, Interrupted)> {
        let mut callback = Some(callback);
        let joined = self.join("token: a callback joins without a look under the lock", |inner| {
            callback.take().and_then(|callback| inner.others.join(Other::Callback(callback)))
        });
        match (joined, callback) {
            (Err(why), Some(callback)) => Err((callback, why)),
            (joined, _) => Ok(joined.ok().flatten().unwrap_or(NOWHERE)),
        }
    }

    /// Takes a waiter or a callback off the list. One that a cancellation has taken is not there any more.
    pub(super) fn withdraw(&self, place: Place) {
        if broken("token: a dropped registration stays on the list") {
            return;
        }
        let other = self.inner.lock().others.leave(place);
        if let Some(other) = other {
            other.dismiss();
        }
    }
}

impl Inner {
    /// `fresh` in the allocation of the spare, if nobody looks at that one any more.
    fn renew(&mut self, fresh: Node) -> Arc<Node> {
        let Some(mut spare) = self.spare.take() else { return spare::place(fresh) };
        match Arc::get_mut(&mut spare) {
            Some(node) => *node = fresh,
            None => return Arc::new(fresh),
        }
        spare
    }

    /// Keeps a child that is gone if it is the only one kept and had no lists, so that spares have no spares. Else it is
    /// given back, to be dropped under no lock.
    fn keep_spare(&mut self, child: Arc<Node>) -> Option<Arc<Node>> {
        if self.spare.is_some() || child.state.load(Ordering::Relaxed) & LISTED != 0 {
            return Some(child);
        }
        self.spare = Some(child);
        None
    }

    /// What is to be let go, under no lock, when nobody keeps the node any more.
    fn leave(&mut self) -> (Parents, Places<Other>) {
        (std::mem::replace(&mut self.parents, Parents::None), self.others.take())
    }
}
