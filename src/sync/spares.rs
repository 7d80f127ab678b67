//! [`Spares`]: the memory of things that are gone, kept by a thread for the next of their kind. For what is made for a call or
//! a wait and gone a moment later: there the allocator would be most of the cost.
//!
//! **Invariants.** 1. What is kept nobody else has: `Arc::get_mut` says so when it is kept, and again when it is used. 2. A
//! thread keeps a few and no more. 3. What lay there is dropped while nothing is borrowed: it may be the user's. **Locking.**
//! None: it is a thread's own. Models keep nothing: they would be larger for it and see nothing more.

use super::Arc;
use ::std::cell::RefCell;

/// Enough for calls within calls, and for futures that take turns.
const KEPT: usize = if cfg!(watertight_loom) { 0 } else { 16 };

pub(crate) struct Spares<T>(RefCell<Vec<Arc<T>>>);

impl<T> Spares<T> {
    pub(crate) const fn new() -> Self {
        Self(RefCell::new(Vec::new()))
    }

    /// One that is gone, if there is any: to be [renewed](Self::renew).
    pub(crate) fn take(&self) -> Option<Arc<T>> {
        self.0.borrow_mut().pop()
    }

    /// `fresh` in the memory of `spare`. Not while a thread's spares are looked at: what comes with `fresh` may be the user's.
    pub(crate) fn renew(spare: Option<Arc<T>>, fresh: T) -> Arc<T> {
        let Some(mut spare) = spare else { return Arc::new(fresh) };
        match Arc::get_mut(&mut spare) {
            Some(there) => *there = fresh,
            None => return Arc::new(fresh),
        }
        spare
    }

    /// Keeps the memory of `gone` with `empty` in it, unless somebody else has it too or there are enough.
    pub(crate) fn keep(&self, mut gone: Arc<T>, empty: impl FnOnce() -> T) {
        if self.0.borrow().len() >= KEPT {
            return;
        }
        let Some(there) = Arc::get_mut(&mut gone) else { return };
        *there = empty();
        let mut kept = self.0.borrow_mut();
        if kept.len() < KEPT {
            kept.push(gone); // what was dropped may have kept some itself
            return;
        }
        drop(kept);
    }

    /// Gives all of it back.
    pub(crate) fn clear(&self) {
        let all = self.0.take();
        drop(all);
    }

    #[cfg(all(test, not(watertight_loom)))]
    pub(crate) fn len(&self) -> usize {
        self.0.borrow().len()
    }
}

#[cfg(all(test, not(watertight_loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_same_memory_is_used_again_unless_somebody_has_it() {
        let spares = Spares::new();
        let first = Spares::renew(spares.take(), String::from("first"));
        let (address, held) = (Arc::as_ptr(&first).addr(), first.clone());
        spares.keep(first, String::new);
        assert_eq!((spares.len(), held.as_str()), (0, "first"));
        spares.keep(held, String::new);
        let second = Spares::renew(spares.take(), String::from("second"));
        assert_eq!((Arc::as_ptr(&second).addr(), second.as_str(), spares.len()), (address, "second", 0));
        (0..100).map(|_| Arc::new(String::new())).for_each(|gone| spares.keep(gone, String::new));
        assert_eq!(spares.len(), KEPT);
        spares.clear();
        assert_eq!(spares.len(), 0);
    }

    /// What is dropped may keep something itself.
    #[test]
    fn nothing_is_borrowed_while_what_lay_there_is_dropped() {
        thread_local!(static SPARES: Spares<Nested> = const { Spares::new() });
        struct Nested(Option<Arc<Nested>>);
        impl Drop for Nested {
            fn drop(&mut self) {
                if let Some(inner) = self.0.take() {
                    SPARES.with(|spares| spares.keep(inner, || Nested(None)));
                }
            }
        }
        let inner = Arc::new(Nested(None));
        SPARES.with(|spares| {
            spares.keep(Arc::new(Nested(Some(inner))), || Nested(None));
            assert_eq!(spares.len(), 2);
        });
    }
}
