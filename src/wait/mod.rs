//! The one place that waits. Everything a thread or a task can wait for is a [`Wait`]; [`block_on`] waits for it on a
//! thread and [`Waiting`] is the same as a future.
//!
//! Interruption by a deadline or a token is handled here and nowhere else, so "every wait ends at its deadline" is true
//! by construction. The things waited for are a permit, a job's result, a token's cancellation, a sleep, a condition, and a
//! channel of somebody else's: for that one `context` drives a [`Waiting`] itself, because the channel parks the thread.
//!
//! **States** of a [`Waiting`]: waiting → done. **Invariants.** 1. What has been granted is taken or passed on: a wait
//! that is not done gives up when it is dropped. 2. The thing itself is looked at before the clock and the token, so
//! what could be had is never lost to an interruption that came at the same moment. 3. After a wake-up everything is
//! looked at again; early wake-ups are harmless. **Locking.** None of its own.

pub(crate) mod latch;
pub(crate) mod line;
#[cfg(all(test, watertight_loom, not(watertight_shuttle)))]
mod loom_tests;
#[cfg(all(test, not(watertight_loom)))]
mod tests;

use crate::clock::{Alarm, Clock};
use crate::deadline::Deadline;
use crate::error::Interrupted;
use crate::sync::{Parker, Waiter, broken};
use std::convert::Infallible;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{self, Poll};

/// A thing that can be had now, or waited for.
pub(crate) trait Wait {
    type Output;

    /// Tries; if it must wait, leaves `w` registered (replacing what this wait left before) and says `Pending`. Not
    /// called again after `Ready`.
    fn poll_wait(&mut self, w: &Waiter) -> Poll<Self::Output>;

    /// Gives up: removes the registration and passes on whatever was granted meanwhile. Called at most once, and not
    /// after `Ready`.
    fn give_up(&mut self);

    /// Whoever waits has seen the deadline pass: for those who have others to tell. Called after
    /// [`give_up`](Self::give_up).
    fn expired(&mut self) {}
}

/// What can end a wait early. Implemented by `Context` one floor up, so this room need not know it.
pub(crate) trait Until {
    type Cancel: Wait<Output = Interrupted> + Unpin;

    fn deadline(&self) -> Deadline;
    fn clock(&self) -> &Clock;
    fn cancel(&self) -> Self::Cancel;
}

/// Never had: the cancellation of what cannot be cancelled, and what a sleeper waits for.
#[derive(Debug)]
pub(crate) struct Nothing<T = Infallible>(PhantomData<fn() -> T>);

impl<T> Nothing<T> {
    pub(crate) const fn new() -> Self {
        Self(PhantomData)
    }
}

impl<T> Wait for Nothing<T> {
    type Output = T;

    fn poll_wait(&mut self, _: &Waiter) -> Poll<T> {
        Poll::Pending
    }

    fn give_up(&mut self) {}
}

/// The first of two causes.
impl<A, B> Wait for (A, B)
where
    A: Wait,
    B: Wait<Output = A::Output>,
{
    type Output = A::Output;

    fn poll_wait(&mut self, w: &Waiter) -> Poll<Self::Output> {
        if let Poll::Ready(a) = self.0.poll_wait(w) {
            self.1.give_up();
            return Poll::Ready(a);
        }
        let b = self.1.poll_wait(w);
        if b.is_ready() {
            self.0.give_up();
        }
        b
    }

    fn give_up(&mut self) {
        self.0.give_up();
        self.1.give_up();
    }

    fn expired(&mut self) {
        self.0.expired();
        self.1.expired();
    }
}

/// Whichever of two ends first. Both must go by the same clock.
impl<A: Until, B: Until> Until for (&A, &B) {
    type Cancel = (A::Cancel, B::Cancel);

    fn deadline(&self) -> Deadline {
        self.0.deadline().min(self.1.deadline())
    }

    fn clock(&self) -> &Clock {
        self.0.clock()
    }

    fn cancel(&self) -> Self::Cancel {
        (self.0.cancel(), self.1.cancel())
    }
}

/// Ends at an instant and for no other reason.
#[derive(Debug)]
pub(crate) struct At(pub(crate) Deadline, pub(crate) Clock);

impl Until for At {
    type Cancel = Nothing<Interrupted>;

    fn deadline(&self) -> Deadline {
        self.0
    }

    fn clock(&self) -> &Clock {
        &self.1
    }

    fn cancel(&self) -> Self::Cancel {
        Nothing::new()
    }
}

/// Blocks this thread until `wait` is done, the deadline passes or the token is cancelled.
pub(crate) fn block_on<W: Wait + Unpin, U: Until>(wait: W, until: &U) -> Result<W::Output, Interrupted> {
    let parker = Parker::new();
    let waiter = Waiter::thread(&parker);
    let mut waiting = Waiting::new(wait, until);
    loop {
        match waiting.poll_with(&waiter, false) {
            Poll::Ready(outcome) => return outcome,
            Poll::Pending => waiting.clock.park_until(&parker, waiting.deadline.instant()),
        }
    }
}

/// A wait under way; as a future, the asynchronous form of [`block_on`]. Dropping it is giving up.
pub(crate) struct Waiting<W: Wait, C: Wait<Output = Interrupted>> {
    wait: W,
    cancel: C,
    deadline: Deadline,
    clock: Clock,
    alarm: Option<(Alarm, Waiter)>,
    done: bool,
}

impl<W: Wait, C: Wait<Output = Interrupted>> Waiting<W, C> {
    pub(crate) fn new<U: Until<Cancel = C>>(wait: W, until: &U) -> Self
    where
        C: Unpin,
    {
        Self {
            wait,
            cancel: until.cancel(),
            deadline: until.deadline(),
            clock: until.clock().clone(),
            alarm: None,
            done: false,
        }
    }

    /// Looks once. With `arm`, whoever waits is also woken at the deadline; a thread parks until then by itself, and so must
    /// whoever drives it otherwise.
    pub(crate) fn poll_with(&mut self, w: &Waiter, arm: bool) -> Poll<Result<W::Output, Interrupted>> {
        assert!(!self.done, "polled after it was ready");
        if let Poll::Ready(had) = self.wait.poll_wait(w) {
            self.done = true;
            self.alarm = None;
            if !broken("wait: what is had leaves its registration with the token") {
                self.cancel.give_up();
            }
            return Poll::Ready(Ok(had));
        }
        let mut passed = false;
        let why = if let Poll::Ready(why) = self.cancel.poll_wait(w) {
            why
        } else if !self.deadline.is_never() && self.deadline.is_past(self.clock.now()) {
            self.cancel.give_up();
            passed = true;
            Interrupted::DeadlinePassed
        } else {
            if arm {
                self.arm(w);
            }
            return Poll::Pending;
        };
        self.done = true;
        self.alarm = None;
        self.wait.give_up();
        if passed {
            self.wait.expired();
            self.cancel.expired();
        }
        Poll::Ready(Err(why))
    }

    /// Ends it as if it had been had: the caller has decided otherwise.
    pub(crate) fn finish(&mut self) {
        if !std::mem::replace(&mut self.done, true) || broken("wait: an end is told again when the wait is dropped") {
            self.wait.give_up();
            self.cancel.give_up();
            self.alarm = None;
        }
    }

    fn arm(&mut self, w: &Waiter) {
        let Some(at) = self.deadline.instant() else { return };
        if self.alarm.as_ref().is_some_and(|(_, armed)| armed.will_wake(w)) {
            return;
        }
        self.alarm = self.clock.wake_at(at, w.clone()).map(|alarm| (alarm, w.clone()));
    }
}

/// A wait with an end of its own, waited for within another: its alarm is its own too.
impl<W: Wait, C: Wait<Output = Interrupted>> Wait for Waiting<W, C> {
    type Output = Result<W::Output, Interrupted>;

    fn poll_wait(&mut self, w: &Waiter) -> Poll<Self::Output> {
        self.poll_with(w, true)
    }

    fn give_up(&mut self) {
        self.finish();
    }
}

impl<W: Wait + Unpin, C: Wait<Output = Interrupted> + Unpin> Future for Waiting<W, C> {
    type Output = Result<W::Output, Interrupted>;

    fn poll(mut self: Pin<&mut Self>, task: &mut task::Context<'_>) -> Poll<Self::Output> {
        self.poll_with(&Waiter::task(task.waker()), true)
    }
}

impl<W: Wait, C: Wait<Output = Interrupted>> Drop for Waiting<W, C> {
    fn drop(&mut self) {
        self.finish();
    }
}

impl<W: Wait, C: Wait<Output = Interrupted>> std::fmt::Debug for Waiting<W, C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Waiting").field("deadline", &self.deadline).field("done", &self.done).finish_non_exhaustive()
    }
}
