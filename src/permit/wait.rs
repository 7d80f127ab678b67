//! Waiting for a permit, for threads and for tasks. The invariants are the limit's (`mod.rs`).

use super::{Limit, Permit};

use crate::context::{Context, ContextWait};
use crate::error::RejectReason;
use crate::sync::{Waiter, broken};
use crate::wait::line::Place;
use crate::wait::{Wait, Waiting};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{self, Poll};

/// The wait for a permit.
pub(crate) struct PermitWait {
    pub(super) limit: Limit,
    pub(super) place: Option<Place>,
}

impl Wait for PermitWait {
    type Output = Result<Permit, RejectReason>;

    fn poll_wait(&mut self, w: &Waiter) -> Poll<Self::Output> {
        let mine = w.clone(); // cloning and dropping a waker is the executor's code: not under our lock
        let mut state = self.limit.0.state.lock();
        let Some(place) = self.place else {
            let decided = if state.in_use < state.limit {
                state.in_use += 1;
                Ok(())
            } else if state.waiting.len() >= self.limit.0.max_waiting {
                Err(state.full())
            } else {
                self.place = Some(state.waiting.join(mine));
                return Poll::Pending;
            };
            drop(state);
            return Poll::Ready(decided.map(|()| Permit { limit: Some(self.limit.clone()) }));
        };
        let spare = if state.granted.remove(&place) {
            drop(state);
            return Poll::Ready(Ok(Permit { limit: Some(self.limit.clone()) }));
        } else {
            match state.waiting.get_mut(place) {
                Some(there) if !there.will_wake(w) => std::mem::replace(there, mine),
                _ => mine,
            }
        };
        drop(state);
        drop(spare);
        Poll::Pending
    }

    fn give_up(&mut self) {
        let Some(place) = self.place.take() else { return };
        let mut state = self.limit.0.state.lock();
        let left = state.waiting.leave(place);
        let granted = state.granted.remove(&place) && !broken("permit: who gives up keeps what was granted");
        let next = if granted { state.take_back() } else { None };
        drop(state);
        drop(left);
        if let Some(waiter) = next {
            waiter.wake();
        }
    }
}

/// The future of [`Limit::acquire_async`].
///
/// # Panics
///
/// When polled after it was ready.
#[must_use = "futures do nothing unless polled"]
pub struct Acquire {
    pub(super) waiting: Waiting<PermitWait, ContextWait>,
    pub(super) cx: Context,
    pub(super) begun: bool,
}

impl Future for Acquire {
    type Output = Result<Permit, RejectReason>;

    fn poll(mut self: Pin<&mut Self>, task: &mut task::Context<'_>) -> Poll<Self::Output> {
        if !self.begun {
            self.begun = true;
            if let Err(why) = self.cx.check() {
                self.waiting.finish();
                return Poll::Ready(Err(why.into()));
            }
        }
        Pin::new(&mut self.waiting).poll(task).map(|outcome| outcome.unwrap_or_else(|why| Err(why.into())))
    }
}

impl fmt::Debug for Acquire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Acquire").field(&self.waiting).finish()
    }
}
