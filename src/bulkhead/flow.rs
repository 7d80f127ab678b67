//! What comes after an attempt, and the accounting of attempts, once for all drivers. Pure: it is asked for the next step
//! and told what happened; it reads no clock, takes no lock and does not wait.
//!
//! ```text
//! attempt ──► done
//!   ▲   │ judged a failure, an attempt left, and its pause fits the deadline
//!  ask ◄── sleep ◄── spend ◄┘
//! ```
//!
//! To ask is whether the result is known meanwhile: then it is done. An attempt is leave of the breaker, a place, a run: that
//! straight line is in `drive.rs`. Breaker before place: nobody queues for a dependency known to be down. Place inside the
//! attempt: nobody sleeps between attempts while holding one.
//!
//! **Invariants.** 1. `Rejected` comes out exactly if no attempt was entered; once one was, a refusal, a spent budget or
//! a deadline during the pause ends the call with that attempt's own result. 2. After `Done` nothing is asked any more.

use crate::error::{CallError, Interrupted, PanicPayload, RejectReason};
use crate::event::Class;
use std::time::Duration;

/// What is to be done next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Step {
    Attempt {
        number: u32,
    },
    Spend,
    Sleep {
        failed: u32,
        pause: Duration,
    },
    /// Whether the result is known meanwhile. Nothing is held.
    Ask,
    Done,
}

/// How an attempt ended.
#[derive(Debug)]
pub(super) enum Ended<T, E> {
    /// It ran and returned, and this is what that says.
    Returned(Result<T, E>, Class),
    /// It ran and panicked.
    Panicked(PanicPayload),
    /// The caller stopped waiting while it ran.
    Interrupted(Interrupted),
    /// It was never entered, and never will be.
    Refused(RejectReason),
}

impl<T, E> Ended<T, E> {
    /// If it is to be tried again: how long to wait at least.
    #[inline]
    pub(super) fn again(&self) -> Option<Duration> {
        match self {
            Self::Returned(_, Class::Failure) => Some(Duration::ZERO),
            Self::Returned(_, Class::RetryAfter(d)) => Some(*d),
            _ => None,
        }
    }

    /// What the caller of a single attempt gets.
    #[inline(always)]
    pub(super) fn into_result(self) -> Result<T, CallError<E>> {
        match self {
            Self::Returned(result, _) => result.map_err(CallError::Failed),
            Self::Panicked(payload) => Err(CallError::Panicked(payload)),
            Self::Interrupted(why) => Err(CallError::Interrupted(why)),
            Self::Refused(reason) => Err(CallError::Rejected(reason)),
        }
    }
}

#[derive(Debug)]
pub(super) struct Flow<T, E> {
    step: Step,
    attempt: u32,
    pause: Duration,
    outcome: Option<Result<T, CallError<E>>>,
}

impl<T, E> Flow<T, E> {
    pub(super) fn new() -> Self {
        Self { step: Step::Attempt { number: 1 }, attempt: 1, pause: Duration::ZERO, outcome: None }
    }

    pub(super) fn next(&self) -> Step {
        self.step
    }

    /// The attempt has ended. `pause`: how long until the next, if there is to be one; `left`: the time to the deadline. Both are
    /// asked only if it matters: that is a look at the clock.
    pub(super) fn finished(
        &mut self,
        ended: Ended<T, E>,
        pause: impl FnOnce() -> Option<Duration>,
        left: impl FnOnce() -> Option<Duration>,
    ) {
        let again = ended.again();
        match ended.into_result() {
            Err(CallError::Rejected(_)) if self.outcome.is_some() => {} // invariant 1: an earlier attempt's own result stands
            result => self.outcome = Some(result),
        }
        let next = again.and_then(|at_least| Some(pause()?.max(at_least)));
        self.step = match next {
            Some(pause) if left().is_none_or(|left| pause < left) => {
                self.attempt += 1;
                self.pause = pause;
                Step::Spend
            }
            _ => Step::Done,
        };
    }

    pub(super) fn spent(&mut self, paid: bool) {
        self.step = if paid { Step::Sleep { failed: self.attempt - 1, pause: self.pause } } else { Step::Done };
    }

    pub(super) fn slept(&mut self, slept: Result<(), Interrupted>) {
        self.step = if slept.is_ok() { Step::Ask } else { Step::Done };
    }

    /// What is known needs no attempt.
    pub(super) fn asked(&mut self, known: Option<T>) {
        self.step = Step::Attempt { number: self.attempt };
        if let Some(known) = known {
            self.outcome = Some(Ok(known));
            self.step = Step::Done;
        }
    }

    /// What the caller gets.
    ///
    /// # Panics
    ///
    /// Before `Done`.
    pub(super) fn into_result(self) -> Result<T, CallError<E>> {
        self.outcome.expect("the flow is done")
    }
}
