//! The ambient context of a thread: what a job inherits without being handed it.
//!
//! **Invariants.** 1. Whoever enters a context puts back what was there, in the reverse order. 2. What a context carries for
//! another library is entered once, however many contexts of the same job lie on one another. **Locking.** None: it is the
//! thread's own.

use super::Context;
use super::propagate::Carried;
use crate::error::Interrupted;
use crate::sync::{drop_quietly, thread_local};
use std::any::Any;
use std::cell::RefCell;
use std::fmt;
use std::future::{Future, poll_fn};
use std::marker::PhantomData;
use std::pin::{Pin, pin};
use std::task::Poll;

thread_local! {
    #[allow(clippy::missing_const_for_thread_local, reason = "loom's macro takes no const")]
    pub(super) static CURRENT: RefCell<Context> = RefCell::new(Context::background());
    /// What was entered last of what contexts carry.
    #[allow(clippy::missing_const_for_thread_local, reason = "loom's macro takes no const")]
    static ENTERED: RefCell<Option<Carried>> = RefCell::new(None);
}

impl Context {
    /// This thread's ambient context: that of the job or [scope](Self::in_scope) it is in, else the
    /// [background](Self::background).
    pub fn current() -> Self {
        CURRENT.try_with(|current| current.borrow().clone()).unwrap_or_default()
    }

    /// Whether the ambient context is one of work inside the compartment.
    pub(crate) fn current_is_within(compartment: u64) -> bool {
        CURRENT.try_with(|current| current.borrow().is_within(compartment)).unwrap_or(false)
    }

    /// Runs `f` with this context as the ambient one.
    pub fn in_scope<T>(&self, f: impl FnOnce() -> T) -> T {
        let _entered = self.enter();
        f()
    }

    /// Makes this the ambient context of this thread until the guard is dropped. Drop guards in the reverse order of
    /// their making. Holding one across an `.await` is wrong even where it compiles: use [`wrap`](Self::wrap).
    pub fn enter(&self) -> Entered<'_> {
        let before = CURRENT.try_with(|current| current.replace(self.clone())).ok();
        Entered { carried: self.carried().and_then(enter_carried), before, here: PhantomData }
    }

    /// `future` with this context as the ambient one whenever it is polled. Not when it is dropped unfinished: that happens
    /// in whatever context drops it.
    pub fn wrap<F: Future>(&self, future: F) -> impl Future<Output = F::Output> + use<F> {
        let cx = self.clone();
        async move {
            let mut future = pin!(future);
            poll_fn(|task| cx.in_scope(|| future.as_mut().poll(task))).await
        }
    }

    /// `future`, wrapped, or the end of this context, whichever is first. If the context has ended before the first
    /// poll, `future` is not polled at all.
    ///
    /// # Cancellation
    ///
    /// When the context ends, `future` is dropped together with this one; its output is lost.
    ///
    /// # Errors
    ///
    /// Why the context ended.
    pub fn run<F: Future>(&self, future: F) -> impl Future<Output = Result<F::Output, Interrupted>> + use<F> {
        let cx = self.clone();
        async move {
            cx.check()?;
            let mut ended = None; // asked for when there is something to wait for
            let mut future = pin!(cx.wrap(future));
            poll_fn(|task| match future.as_mut().poll(task) {
                Poll::Ready(output) => Poll::Ready(Ok(output)),
                Poll::Pending => Pin::new(ended.get_or_insert_with(|| cx.ended())).poll(task).map(Err),
            })
            .await
        }
    }
}

/// Makes what is carried this thread's state, unless it is: what leaves it, and what had been entered before.
fn enter_carried(carried: &Carried) -> Option<(Box<dyn Any>, Option<Carried>)> {
    let there = ENTERED.try_with(|entered| entered.borrow().as_ref().is_some_and(|there| there.is(carried)));
    if there.unwrap_or(true) {
        return None; // or the thread is going away
    }
    let leaves = carried.enter()?;
    let before = ENTERED.try_with(|entered| entered.replace(Some(carried.clone()))).ok().flatten();
    Some((leaves, before))
}

/// Puts the earlier ambient context back when dropped. Made by [`Context::enter`].
#[must_use = "the context is left at once when the guard is dropped"]
pub struct Entered<'a> {
    /// What a hook carries is left before the context is.
    carried: Option<(Box<dyn Any>, Option<Carried>)>,
    before: Option<Context>,
    here: PhantomData<(&'a Context, *const ())>, // this thread only
}

impl fmt::Debug for Entered<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Entered")
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        if let Some((carried, before)) = self.carried.take() {
            drop_quietly(carried);
            let left = ENTERED.try_with(|entered| entered.replace(before));
            drop(left);
        }
        if let Some(before) = self.before.take() {
            // The context that leaves is dropped after the cell is free again: its drop may look at the ambient one.
            let left = CURRENT.try_with(|current| current.replace(before));
            drop(left);
        }
    }
}
