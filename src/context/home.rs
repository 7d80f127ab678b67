//! What a pool's threads are in between jobs and for jobs that brought no context of their own: a background that its pool
//! can end, at no cost to a job that does not ask for it.
//!
//! **States** of a home: as new → asked for its token, or kept by somebody → left for a new one. **Invariants.** 1. A
//! token is asked for by one job only: after a job that has asked, or that has kept the context, the thread moves into a
//! new home, so that nothing a job cancels is cancelled for the next. 2. After every job the thread is at home, whatever
//! guards the job has forgotten. 3. One job at a time is at home: another that runs within it has a context of its own. 4. What
//! a job submits that its handle can cancel is below it. **Locking.** None: it is the thread's own.

use super::ambient::CURRENT;
use super::token::Token;
use super::{Context, Inner};
use crate::cancel::CancelToken;
use crate::error::CancelCause;
use crate::sync::atomic::{Ordering, fence};
use crate::sync::{Arc, Spares, thread_local};
use std::cell::{Cell, RefCell};

thread_local! {
    /// The memory of contexts that are gone.
    #[allow(clippy::missing_const_for_thread_local, reason = "loom's macro takes no const")]
    static SPARES: Spares<Inner> = Spares::new();
}

/// A thread's own ambient context, below a token.
#[derive(Debug)]
pub(crate) struct Home {
    cx: Context,
    above: CancelToken,
}

impl Home {
    /// Makes this thread at home.
    pub(crate) fn new(above: &CancelToken) -> Self {
        let home = Self { cx: Context::background(), above: above.clone() };
        home.moved()
    }

    fn moved(mut self) -> Self {
        let token = Token::own(self.above.clone());
        self.cx = Context(Some(Arc::new(Inner { token, home: true, ..Inner::background() })));
        let before = CURRENT.try_with(|current| current.replace(self.cx.clone()));
        drop(before); // after the cell is free again
        self
    }

    /// After a job: moves out if anything of it is left.
    pub(crate) fn tidied(self) -> Self {
        let here = CURRENT.try_with(|current| current.borrow().is(&self.cx)).unwrap_or(true);
        if here && !self.cx.was_kept() {
            return self;
        }
        self.moved()
    }
}

/// The home of this thread, if that is its ambient context.
pub(crate) fn home_here() -> Option<Context> {
    let home = |current: &RefCell<Context>| Some(current.borrow()).filter(|cx| cx.is_home()).map(|cx| cx.clone());
    CURRENT.try_with(home).ok().flatten()
}

/// The thread leaves home before its thread-locals go, of which some are the user's.
impl Drop for Home {
    fn drop(&mut self) {
        let _ = SPARES.try_with(Spares::clear);
        let left = CURRENT.try_with(|current| current.replace(Context::background()));
        drop(left);
    }
}

/// A job runs at home.
const BUSY: u8 = 1;
/// Somebody may cancel it, so what it submits is below it.
const HELD: u8 = 2;

thread_local! {
    #[allow(clippy::missing_const_for_thread_local, reason = "loom's macro takes no const")]
    static STATE: Cell<u8> = Cell::new(0);
}

/// Puts back what was so before.
struct Before(u8);

impl Before {
    fn with(more: u8) -> Self {
        Self(STATE.try_with(|state| state.replace(state.get() | more)).unwrap_or(0))
    }
}

impl Drop for Before {
    fn drop(&mut self) {
        let _ = STATE.try_with(|state| state.set(self.0));
    }
}

fn is(what: u8) -> bool {
    STATE.try_with(|state| state.get() & what != 0).unwrap_or(false)
}

/// Runs `f` in the background as far as it is concerned: at home, if this thread is and no other job is there.
pub(crate) fn at_home<T>(f: impl FnOnce() -> T) -> T {
    let home = CURRENT.try_with(|current| current.borrow().is_home()).unwrap_or(false);
    match (home, home && is(BUSY)) {
        (true, false) => {
            let _busy = Before::with(BUSY);
            f()
        }
        // Another job's home: this one has its own token, as everywhere.
        (true, true) => Context::background().as_child(|cx| cx.in_scope(f)),
        (false, _) => Context::background().in_scope(f),
    }
}

/// `f` with what it submits below it: it can be cancelled by its handle.
pub(crate) fn held<T>(f: impl FnOnce() -> T) -> T {
    let _held = Before::with(HELD);
    f()
}

/// Whether the job that runs here can be cancelled by its handle.
pub(crate) fn is_held() -> bool {
    is(HELD)
}

/// Whether nobody has it but for so many holds of ours, nor its token. The holds are counted first: whoever has let go of one
/// may have asked for the token before, and that is seen then.
#[inline]
pub(super) fn is_only_ours(inner: &Arc<Inner>, holds: usize) -> bool {
    if Arc::strong_count(inner) > holds {
        return false;
    }
    fence(Ordering::Acquire);
    !inner.token.was_asked_for()
}

impl Context {
    pub(crate) fn is_home(&self) -> bool {
        self.0.as_ref().is_some_and(|inner| inner.home)
    }

    pub(super) fn is(&self, other: &Self) -> bool {
        matches!((&self.0, &other.0), (Some(a), Some(b)) if Arc::ptr_eq(a, b))
    }

    /// Whether somebody has its token, or has it besides its home and this thread.
    fn was_kept(&self) -> bool {
        self.0.as_ref().is_some_and(|inner| !is_only_ours(inner, 2))
    }

    /// Calls `f` with a [`child`](Self::child) of this context, in the memory of one that is gone.
    pub(crate) fn as_child<T>(&self, f: impl FnOnce(&Context) -> T) -> T {
        let child = self.brief_child();
        let done = f(&child);
        child.recycle();
        done
    }

    /// This context with a change, for who [gives the memory back](Self::recycle): it lies where another has lain, if this
    /// thread has kept one.
    pub(super) fn brief(&self, change: impl FnOnce(&mut Inner)) -> Self {
        let mut inner = self.copied();
        change(&mut inner);
        Self(Some(Spares::renew(SPARES.try_with(Spares::take).ok().flatten(), inner)))
    }

    /// A [`child`](Self::child).
    pub(crate) fn brief_child(&self) -> Self {
        self.brief(Inner::own_token)
    }

    /// Cancels it if anybody else has it or its token.
    pub(crate) fn cancel_if_kept(&self, cause: CancelCause) {
        if self.0.as_ref().is_some_and(|inner| !is_only_ours(inner, 1)) {
            self.token().cancel_because(cause);
        }
    }

    /// The end of a context: its memory is kept for the next on this thread, unless somebody else has the context too.
    pub(crate) fn recycle(self) {
        if let Some(gone) = self.0 {
            let _ = SPARES.try_with(|spares| spares.keep(gone, Inner::background));
        }
    }
}

#[cfg(all(test, not(watertight_loom)))]
mod tests {
    use super::*;
    use crate::error::Interrupted;

    #[test]
    fn what_one_job_cancels_or_keeps_is_not_the_next_ones() {
        let above = CancelToken::new();
        std::thread::spawn(move || {
            let mut home = Home::new(&above);
            at_home(|| Context::current().token().cancel());
            home = home.tidied();
            assert_eq!(at_home(|| Context::current().check()), Ok(()));
            let kept = Context::current();
            home = home.tidied();
            kept.token().cancel();
            assert_eq!(at_home(|| Context::current().check()), Ok(()));
            std::mem::forget(Context::background().with_timeout(std::time::Duration::ZERO).enter());
            home = home.tidied();
            assert_eq!(at_home(|| Context::current().check()), Ok(()));
            above.cancel_because(CancelCause::Shutdown);
            assert_eq!(Context::current().check(), Err(Interrupted::Cancelled(CancelCause::Shutdown)));
            drop(home);
        })
        .join()
        .unwrap();
    }

    #[test]
    fn a_child_in_used_memory_is_a_child() {
        let token = CancelToken::new();
        let cx = Context::background().with_token(&token);
        for _ in 0..2 {
            cx.as_child(|child| child.token().cancel());
            assert_eq!(cx.check(), Ok(()));
        }
        let kept = cx.as_child(Context::clone);
        cx.as_child(|other| other.token().cancel());
        assert_eq!(kept.check(), Ok(()));
        token.cancel();
        assert!(kept.check().is_err());
    }
}
