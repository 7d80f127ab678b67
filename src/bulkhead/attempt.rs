//! One attempt on the compartment's threads, as its caller and its worker share it: who decides whether it was entered,
//! and who tells the breaker how it ended.
//!
//! **States.** waiting → entered → told, or waiting → abandoned. **Invariants.** 1. The worker enters or the caller
//! abandons, one of them: what the caller was told never ran will never run, and what it was told may have run was
//! entered. 2. The breaker hears of an attempt once, from whoever takes the leave; of one that was never entered it hears
//! nothing but that its place is free. **Locking.** One lock; the breaker is told after it is let go.

use super::flow::Ended;
use crate::breaker::{Admitted, Entry};
use crate::context::Context;
use crate::error::{CancelCause, Interrupted};
use crate::event::Class;
use crate::sync::{Arc, Mutex, Spares, broken, thread_local};
use std::mem::ManuallyDrop;
use std::time::Duration;

/// Whether the caller changed its mind. A deadline that somebody has seen pass cancels the token too, and is something else.
pub(super) fn given_up(cx: &Context) -> bool {
    matches!(cx.cause(), Some(Interrupted::Cancelled(_)))
}

/// The breaker's leave for one attempt, in whatever form.
pub(super) trait Leaves {
    /// Less time than the call has, if this attempt is a probe.
    fn timeout(&self) -> Option<Duration>;

    /// Tells how an attempt that was entered ended. A deadline that passes while the dependency works is its failure, and
    /// so is a panic; the caller's own change of mind says nothing about it, nor does a failure after that.
    fn tell<T, E>(self, ended: &Ended<T, E>, cx: &Context);
}

/// Leave that stays with its call. Dropped before it was used it says nothing.
pub(super) struct LeaveHere<'a>(Option<Entry<'a>>);

impl<'a> LeaveHere<'a> {
    #[inline]
    pub(super) fn new(entry: Option<Entry<'a>>) -> Self {
        Self(entry)
    }

    #[inline]
    pub(super) fn is_probe(&self) -> bool {
        self.0.is_some_and(|entry| entry.is_probe())
    }
}

impl Leaves for LeaveHere<'_> {
    #[inline]
    fn timeout(&self) -> Option<Duration> {
        self.0.and_then(|entry| entry.timeout())
    }

    #[inline(always)]
    fn tell<T, E>(self, ended: &Ended<T, E>, cx: &Context) {
        let this = ManuallyDrop::new(self); // looked at where it lies: moving it costs more than the breaker does
        let Some(entry) = &this.0 else { return };
        match ended {
            Ended::Returned(_, Class::Success) => entry.success(),
            _ => tell_otherwise(entry.admitted(), ended, cx),
        }
    }
}

impl Drop for LeaveHere<'_> {
    #[inline]
    fn drop(&mut self) {
        if let Some(entry) = self.0.take() {
            unused(entry);
        }
    }
}

#[cold]
fn unused(entry: Entry<'_>) {
    entry.admitted().ignore();
}

/// The breaker's leave for one attempt, if there is a breaker. Dropped before it was used it says nothing, not even
/// while a panic that has nothing to do with it unwinds.
#[derive(Debug)]
pub(super) struct Leave(Option<Admitted<'static>>);

impl Leave {
    #[inline]
    pub(super) fn new(admission: Option<Admitted<'static>>) -> Self {
        Self(admission)
    }

    /// For who sees to it by itself.
    pub(super) fn into_admitted(mut self) -> Option<Admitted<'static>> {
        self.0.take()
    }

    pub(super) fn is_probe(&self) -> bool {
        self.0.as_ref().is_some_and(Admitted::is_probe)
    }
}

impl Leaves for Leave {
    #[inline]
    fn timeout(&self) -> Option<Duration> {
        self.0.as_ref().and_then(Admitted::timeout)
    }

    #[inline]
    fn tell<T, E>(mut self, ended: &Ended<T, E>, cx: &Context) {
        let Some(admission) = self.0.take() else { return };
        match ended {
            Ended::Returned(_, Class::Success) => admission.success(),
            _ => tell_otherwise(admission, ended, cx),
        }
    }
}

#[cold]
fn tell_otherwise<T, E>(admission: Admitted<'_>, ended: &Ended<T, E>, cx: &Context) {
    match ended {
        Ended::Returned(_, class @ (Class::Success | Class::Slow)) => admission.record_as(*class),
        Ended::Returned(..) if given_up(cx) => admission.ignore(),
        Ended::Returned(_, class) => admission.record_as(*class),
        Ended::Interrupted(Interrupted::Cancelled(_)) | Ended::Refused(_) => admission.ignore(),
        Ended::Panicked(_) | Ended::Interrupted(Interrupted::DeadlinePassed) => admission.failure(),
    }
}

impl Drop for Leave {
    #[inline]
    fn drop(&mut self) {
        if let Some(admission) = self.0.take() {
            admission.ignore();
        }
    }
}

/// An attempt's own context: cancelled when the attempt is given up, and not when it has ended.
pub(super) struct Own(Option<Context>);

impl Own {
    pub(super) fn of(cx: &Context) -> Self {
        Self(Some(cx.brief_child()))
    }

    pub(super) fn cx(&self) -> Context {
        self.0.clone().unwrap_or_default()
    }

    pub(super) fn ended_unless(self, runs: bool) {
        if !runs {
            self.ended();
        }
    }

    pub(super) fn ended(mut self) {
        if let Some(cx) = self.0.take() {
            cx.recycle();
        }
    }
}

impl Drop for Own {
    fn drop(&mut self) {
        if let Some(cx) = self.0.take() {
            cx.cancel_if_kept(CancelCause::Dropped);
            cx.recycle();
        }
    }
}

pub(super) struct Attempt(Mutex<State>);

struct State {
    phase: Phase,
    leave: Option<Leave>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Waiting,
    Entered,
    Abandoned,
}

thread_local! {
    /// The memory of attempts that are gone.
    #[allow(clippy::missing_const_for_thread_local, reason = "loom's macro takes no const")]
    static SPARES: Spares<Attempt> = Spares::new();
}

impl Attempt {
    fn with(leave: Option<Leave>) -> Self {
        Self(Mutex::new(State { phase: Phase::Waiting, leave }))
    }

    pub(super) fn new(leave: Leave) -> Arc<Self> {
        Spares::renew(SPARES.try_with(Spares::take).ok().flatten(), Self::with(Some(leave)))
    }

    /// It is over, for its caller too.
    pub(super) fn recycle(this: Arc<Self>) {
        let _ = SPARES.try_with(|spares| spares.keep(this, || Self::with(None)));
    }

    /// The worker is about to run the work. False: nobody wants it any more.
    pub(super) fn enter(&self) -> bool {
        let mut state = self.0.lock();
        if state.phase == Phase::Abandoned && !broken("attempt: the worker enters what was abandoned") {
            return false;
        }
        state.phase = Phase::Entered;
        true
    }

    /// The work has ended.
    pub(super) fn tell<T, E>(&self, ended: &Ended<T, E>, cx: &Context) {
        let leave = self.0.lock().leave.take();
        if let Some(leave) = leave {
            leave.tell(ended, cx);
        }
    }

    /// The caller stops waiting: what it is told.
    pub(super) fn abandon<T, E>(&self, why: Interrupted, cx: &Context) -> Ended<T, E> {
        let mut state = self.0.lock();
        let leave = state.leave.take();
        let ended = if state.phase == Phase::Entered {
            Ended::Interrupted(why)
        } else {
            state.phase = Phase::Abandoned;
            Ended::Refused(why.into())
        };
        drop(state);
        if let Some(leave) = leave {
            leave.tell(&ended, cx);
        }
        ended
    }
}
