//! [`Brief`]: the context of a call, which lies where that of an earlier call has lain.
//!
//! **Lending.** What a compartment makes of the background differs from call to call in the deadline only. So a thread keeps
//! such a context as it is, with two holds on it, one for the work and one to be the ambient context, and lends both to the
//! next call: nothing is counted, and only the deadline is written.
//!
//! **States** of one that is lent: kept by a thread → a call's → kept, or gone if anybody has it or its token.
//! **Invariants.** 1. What somebody has kept of a call, its context or its token, no later call gets. 2. The deadline of one
//! that is lent changes only while nobody but its thread has it. **Locking.** None: what is kept is the thread's own.
//!
//! Models keep nothing, as with all spares.

use super::ambient::CURRENT;
use super::home::is_only_ours;
use super::{Context, Inside};
use crate::clock;
use crate::deadline::Deadline;
use crate::error::Interrupted;
use crate::sync::atomic::Ordering;
use crate::sync::{Arc, Shared, thread_local};
use std::cell::RefCell;
use std::ops::Deref;
use std::time::{Duration, Instant};

/// Enough for calls within calls, and for futures that take turns.
const KEPT: usize = if cfg!(watertight_loom) { 0 } else { 8 };

thread_local! {
    #[allow(clippy::missing_const_for_thread_local, reason = "loom's macro takes no const")]
    /// Two holds of each.
    static LENT: RefCell<Vec<Context>> = RefCell::new(Vec::new());
}

/// A context that is about to be gone: then its memory is the next one's, unless somebody has kept it.
#[derive(Debug)]
pub(crate) struct Brief {
    cx: Context,
    /// The other hold, of one that is lent.
    ambient: Option<Context>,
}

impl Brief {
    /// Of a compartment in the background, ending so long after now.
    #[inline]
    fn lent(compartment: &Shared<Inside>, now: Instant, timeout: Duration) -> Option<Self> {
        if KEPT == 0 {
            return None;
        }
        let number = clock::number(now)?.checked_add(u64::try_from(timeout.as_nanos()).ok()?)?;
        let kept = LENT.try_with(|lent| {
            let mut lent = lent.borrow_mut();
            (lent.pop(), lent.pop())
        });
        let (cx, ambient) = match kept.ok()? {
            (Some(cx), ambient @ Some(_)) if cx.is_of(compartment) => (cx, ambient),
            other => Self::made(other, compartment),
        };
        let inner = cx.0.as_ref()?;
        inner.lent.store(number, Ordering::Relaxed); // invariant 2
        Some(Self { cx, ambient })
    }

    /// Where there is none, or one of another compartment.
    #[cold]
    fn made(other: (Option<Context>, Option<Context>), compartment: &Shared<Inside>) -> (Context, Option<Context>) {
        let (cx, ambient) = other;
        drop(ambient);
        cx.unwrap_or_default().recycle();
        let cx = Context::background().brief(|inner| {
            inner.inside = Some(compartment.clone());
            inner.own_token();
        });
        (cx.clone(), Some(cx))
    }

    /// Runs `f` with it as the ambient context.
    #[inline]
    pub(crate) fn in_scope<T>(&mut self, f: impl FnOnce(&Context) -> T) -> T {
        let Self { cx, ambient } = self;
        match ambient.take() {
            Some(hold) => {
                let _scope = Scope::enter(hold, cx, ambient);
                f(cx)
            }
            None => cx.in_scope(|| f(cx)),
        }
    }

    /// For who does not know when it ends.
    pub(crate) fn kept(mut self) -> Context {
        std::mem::take(&mut self.cx)
    }
}

/// A hold that is the ambient context until it comes back. It carries nothing for other libraries.
struct Scope<'a> {
    cx: &'a Context,
    back: &'a mut Option<Context>,
    before: Option<Context>,
}

impl<'a> Scope<'a> {
    #[inline]
    fn enter(hold: Context, cx: &'a Context, back: &'a mut Option<Context>) -> Self {
        Self { cx, back, before: CURRENT.try_with(|current| current.replace(hold)).ok() }
    }
}

impl Drop for Scope<'_> {
    #[inline]
    fn drop(&mut self) {
        if let Some(before) = self.before.take() {
            let there = CURRENT.try_with(|current| current.replace(before)).ok();
            // After a guard that was forgotten, or dropped out of turn, it is another that is there.
            *self.back = there.filter(|there| there.is(self.cx));
        }
    }
}

impl From<Context> for Brief {
    fn from(cx: Context) -> Self {
        Self { cx, ambient: None }
    }
}

impl Deref for Brief {
    type Target = Context;

    #[inline]
    fn deref(&self) -> &Context {
        &self.cx
    }
}

impl Drop for Brief {
    #[inline]
    fn drop(&mut self) {
        let cx = std::mem::take(&mut self.cx);
        match self.ambient.take() {
            Some(ambient) if cx.only_lent(&ambient) => {
                let _ = LENT.try_with(|lent| {
                    let mut lent = lent.borrow_mut();
                    if lent.len() < 2 * KEPT {
                        lent.push(ambient);
                        lent.push(cx);
                    }
                });
            }
            ambient => {
                drop(ambient);
                cx.recycle();
            }
        }
    }
}

impl Context {
    /// Whether it is lent to calls of that compartment.
    #[inline]
    fn is_of(&self, compartment: &Shared<Inside>) -> bool {
        let inside = self.0.as_ref().and_then(|inner| inner.inside.as_ref());
        inside.is_some_and(|inside| Shared::ptr_eq(inside, compartment))
    }

    /// Whether these are two holds of one that is lent, and nobody else has it or its token (invariant 1).
    #[inline]
    fn only_lent(&self, other: &Self) -> bool {
        let (Some(inner), Some(other)) = (&self.0, &other.0) else { return false };
        // Its fence is also for invariant 2: what others have read of it is read before it is written again.
        Arc::ptr_eq(inner, other) && is_only_ours(inner, 2)
    }

    /// The same for work inside a compartment, ending after `timeout` at the latest.
    pub(crate) fn within(&self, compartment: &Shared<Inside>, timeout: Option<Duration>) -> Brief {
        self.marked(compartment, timeout.map(|timeout| Deadline::after(self.now(), timeout)))
    }

    /// The same for work that is entered now: unless it has ended.
    #[inline]
    pub(crate) fn entering(
        &self,
        compartment: &Shared<Inside>,
        timeout: Option<Duration>,
    ) -> Result<Brief, Interrupted> {
        let Some(timeout) = timeout else {
            self.check()?;
            return Ok(self.marked(compartment, None));
        };
        let now = self.now();
        if self.is_background() {
            if let Some(lent) = Brief::lent(compartment, now, timeout) {
                return Ok(lent); // with nobody's token, and all of the time
            }
        }
        let marked = self.marked(compartment, Some(Deadline::after(now, timeout)));
        if let Some(inner) = &marked.cx.0 {
            inner.token.check()?;
            inner.check_deadline(now)?;
        }
        Ok(marked)
    }

    #[inline(never)]
    fn marked(&self, compartment: &Shared<Inside>, deadline: Option<Deadline>) -> Brief {
        let marked = self.brief(|inner| {
            inner.inside = Some(match inner.inside.take() {
                None => compartment.clone(),
                // Said once: work that submits its successor from inside must not make a chain for ever.
                Some(outer) if outer.contains(compartment.compartment) => outer,
                outer => Shared::new(Inside { compartment: compartment.compartment, outer }),
            });
            if let Some(deadline) = deadline {
                inner.tighten(deadline);
            }
        });
        marked.into()
    }

    /// The same, ending `d` from now at the latest.
    pub(crate) fn briefly(&self, d: Duration) -> Brief {
        let deadline = Deadline::after(self.now(), d);
        self.brief(|inner| inner.tighten(deadline)).into()
    }
}

#[cfg(all(test, not(watertight_loom)))]
mod tests {
    use super::*;
    use crate::sync::unique;

    const SECOND: Duration = Duration::from_secs(1);

    fn compartment() -> Shared<Inside> {
        Shared::new(Inside { compartment: unique(), outer: None })
    }

    fn address(cx: &Context) -> usize {
        cx.0.as_ref().map_or(0, |inner| Arc::as_ptr(inner).addr())
    }

    fn call<T>(of: &Shared<Inside>, timeout: Duration, f: impl FnOnce(&Context) -> T) -> T {
        Context::background().entering(of, Some(timeout)).unwrap().in_scope(f)
    }

    #[test]
    fn a_call_is_lent_the_context_of_the_last_with_a_deadline_of_its_own() {
        let of = compartment();
        let first = call(&of, SECOND, address);
        for seconds in [10, 1000] {
            call(&of, SECOND * seconds, |cx| {
                assert_eq!((address(cx), address(&Context::current())), (first, first));
                let left = cx.remaining().unwrap();
                assert!(left <= SECOND * seconds && left > SECOND * (seconds / 2), "{left:?} of {seconds} s");
                assert!(cx.is_within(of.compartment) && Context::current_is_within(of.compartment));
            });
        }
        assert!(Context::current().is_background());
    }

    #[test]
    fn what_is_kept_of_a_call_is_no_later_calls() {
        let of = compartment();
        let kept = call(&of, SECOND, Context::clone);
        let (deadline, token) = (kept.deadline(), call(&of, SECOND, |cx| cx.token().clone()));
        let below = call(&of, SECOND, |cx| cx.with_timeout(SECOND * 2));
        call(&of, SECOND * 1000, |cx| {
            cx.token().cancel();
            assert!(cx.check().is_err());
        });
        call(&of, SECOND * 1000, |cx| assert_eq!(cx.check(), Ok(())));
        assert_eq!((kept.deadline(), token.is_cancelled(), below.token().is_cancelled()), (deadline, false, false));
        assert!(kept.check().is_ok());
    }

    #[test]
    fn another_compartments_is_never_lent() {
        let (one, other) = (compartment(), compartment());
        for _ in 0..3 {
            call(&one, SECOND, |cx| {
                assert!(cx.is_within(one.compartment) && !cx.is_within(other.compartment));
                let inner = call(&other, SECOND, |cx| (address(cx), cx.is_within(one.compartment)));
                assert!(inner.0 != address(cx) && !inner.1, "it was made of the background");
            });
            call(&other, SECOND, |cx| assert!(cx.is_within(other.compartment) && !cx.is_within(one.compartment)));
        }
    }

    /// A guard that somebody forgets leaves its context where the hold should be.
    #[test]
    fn a_forgotten_guard_does_no_harm() {
        let of = compartment();
        let strange = Context::background().with_timeout(SECOND * 7);
        call(&of, SECOND, |_| std::mem::forget(strange.enter()));
        for _ in 0..3 {
            call(&of, SECOND, |cx| {
                assert_eq!(address(cx), address(&Context::current()));
                assert!(address(cx) != address(&strange));
            });
        }
        assert!(Context::current().is_background());
    }

    #[test]
    fn a_forgotten_guard_does_no_harm_to_what_comes_after_it_in_the_same_call() {
        let of = compartment();
        let strange = Context::background().with_timeout(SECOND * 7);
        let mut brief = Context::background().entering(&of, Some(SECOND)).unwrap();
        brief.in_scope(|_| std::mem::forget(strange.enter()));
        for _ in 0..2 {
            brief.in_scope(|cx| {
                assert_eq!(address(cx), address(&Context::current()));
                assert!(Context::current_is_within(of.compartment));
            });
        }
        drop(brief);
        assert!(Context::current().is_background());
    }

    #[test]
    fn a_token_that_a_thread_keeps_of_a_call_is_no_later_calls() {
        let of = compartment();
        for _ in 0..200 {
            let (let_go, has_let_go) = std::sync::mpsc::channel();
            let (cancelled, is_cancelled) = std::sync::mpsc::channel::<()>();
            let thread = call(&of, SECOND, |cx| {
                let cx = cx.clone();
                let thread = std::thread::spawn(move || {
                    let token = cx.token().clone();
                    drop(cx);
                    let_go.send(()).unwrap();
                    let _ = is_cancelled.recv();
                    token.is_cancelled()
                });
                has_let_go.recv().unwrap();
                thread
            });
            call(&of, SECOND, |cx| cx.token().cancel());
            drop(cancelled);
            assert!(!thread.join().unwrap());
        }
    }

    #[test]
    fn a_context_under_way_goes_on_on_another_thread() {
        let of = compartment();
        let mut brief = Context::background().entering(&of, Some(SECOND)).unwrap();
        let here = brief.in_scope(address);
        let there = std::thread::spawn(move || {
            let there = brief.in_scope(|cx| (address(cx), address(&Context::current())));
            drop(brief);
            there
        });
        assert_eq!(there.join().unwrap(), (here, here));
    }
}
