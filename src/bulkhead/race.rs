//! [`Race`]: attempts that overlap, and who decides the call.
//!
//! **States.** so many running → decided. **Invariants.** 1. The first result that is good enough decides; a failure
//! decides only if nobody runs any more, and then the latest one that was entered. 2. Nobody joins what is decided for want
//! of runners. 3. Every attempt that joined reports once, shed ones too. **Locking.** One lock; the latch is completed after
//! it is let go.

use super::flow::Ended;
use crate::context::Context;
use crate::error::{CancelCause, RejectReason};
use crate::event::Class;
use crate::sync::{Arc, Mutex, Waiter, broken, drop_quietly};
use crate::wait::latch::Latch;
use crate::wait::{Wait, Waiting, block_on};
use std::future::Future;
use std::task::Poll;

pub(super) struct Race<T, E> {
    running: Mutex<Running<T, E>>,
    decided: Latch<Ended<T, E>>,
}

struct Running<T, E> {
    attempts: u8,
    /// Somebody is about to complete the latch, and nobody else may.
    decided: bool,
    /// A failure that may still become the result.
    failed: Option<Ended<T, E>>,
}

impl<T, E> Race<T, E> {
    /// With one attempt running.
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            running: Mutex::new(Running { attempts: 1, decided: false, failed: None }),
            decided: Latch::new(),
        })
    }

    /// Another attempt is about to begin. False: nobody runs any more, and so the call is decided.
    pub(super) fn join(&self) -> bool {
        let mut running = self.running.lock();
        let open = running.attempts > 0 || broken("race: another joins what is decided");
        running.attempts += u8::from(open);
        open
    }

    /// An attempt has ended, or will never run.
    pub(super) fn finished(&self, ended: Ended<T, E>) {
        let mut running = self.running.lock();
        let left = running.attempts - 1;
        if broken("race: who fails looks who is left and leaves later") {
            drop(running);
            running = self.running.lock();
        }
        running.attempts -= 1;
        let (now, other) = outcome(running.failed.take(), ended);
        let now = if running.decided {
            drop(running);
            drop_quietly((now, other));
            return;
        } else if left == 0 || is_enough(&now) {
            running.decided = true;
            Some(now)
        } else {
            running.failed = Some(now);
            None
        };
        drop(running);
        drop_quietly(other);
        if let Some(late) = now.and_then(|decides| self.decided.complete(decides).err()) {
            drop_quietly(late);
        }
    }

    /// Waits for what decides the call; `None` if `cx` ends first.
    pub(super) fn wait(&self, cx: &Context) -> Option<Ended<T, E>> {
        block_on(Decided(self), cx).ok()
    }

    /// The same for a task. Dropped, it waits no more.
    pub(super) fn awaited(&self, cx: &Context) -> impl Future<Output = Option<Ended<T, E>>> {
        let waiting = Waiting::new(Decided(self), cx);
        async move { waiting.await.ok() }
    }
}

/// Of an attempt that has ended before and one that ends now: which stands, and the other. What was entered stands against
/// what was not, and the later against the earlier (invariant 1).
pub(super) fn outcome<T, E>(before: Option<Ended<T, E>>, now: Ended<T, E>) -> (Ended<T, E>, Option<Ended<T, E>>) {
    match before {
        Some(before) if matches!(now, Ended::Refused(_)) => (before, Some(now)),
        before => (now, before),
    }
}

/// Whether nothing better is to be waited for.
pub(super) fn is_enough<T, E>(ended: &Ended<T, E>) -> bool {
    matches!(ended, Ended::Returned(_, Class::Success | Class::Slow | Class::Final | Class::Ignore))
}

struct Decided<'a, T, E>(&'a Race<T, E>);

impl<T, E> Wait for Decided<'_, T, E> {
    type Output = Ended<T, E>;

    fn poll_wait(&mut self, w: &Waiter) -> Poll<Ended<T, E>> {
        self.0.decided.poll_wait(w)
    }

    fn give_up(&mut self) {
        self.0.decided.leave();
    }
}

/// What an attempt reports with; dropped with a job that is shed, it reports that (invariant 3).
pub(super) struct Runner<T, E>(Option<Arc<Race<T, E>>>);

impl<T, E> Runner<T, E> {
    pub(super) fn of(race: &Arc<Race<T, E>>) -> Self {
        Self(Some(race.clone()))
    }

    pub(super) fn finished(mut self, ended: Ended<T, E>) {
        if let Some(race) = self.0.take() {
            race.finished(ended);
        }
    }
}

impl<T, E> Drop for Runner<T, E> {
    fn drop(&mut self) {
        if let Some(race) = self.0.take() {
            race.finished(Ended::Refused(RejectReason::Cancelled(CancelCause::Dropped)));
        }
    }
}
