//! The order of the policies and the accounting of attempts, once for all drivers. Pure: it is asked for the next step
//! and told what happened; it reads no clock, takes no lock and does not wait. Generic over the two tokens it carries,
//! so its tests use numbers.
//!
//! ```text
//! admit ──► acquire ──► run ──► done
//!   ▲                     │ judged a failure, an attempt left, and its pause fits the deadline
//!  ask ◄── sleep ◄── spend ◄┘
//! ```
//!
//! To ask is whether the result is known meanwhile: then it is done.
//! Breaker before place: nobody queues for a dependency known to be down. Place inside the attempt: nobody sleeps
//! between attempts while holding one.
//!
//! **Invariants.** 1. `Rejected` comes out exactly if no attempt was entered; once one was, a refusal, a spent budget or
//! a deadline during the pause ends the call with that attempt's own result. 2. Tokens are taken by the run or dropped
//! with the flow. 3. After `Done` nothing is asked any more.

use crate::error::{CallError, Interrupted, PanicPayload, RejectReason};
use crate::event::Class;
use std::time::Duration;

/// What is to be done next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Step {
    Admit,
    Acquire,
    Run {
        attempt: u32,
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
    /// What the caller of a single attempt gets.
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
pub(super) struct Flow<A, P, T, E> {
    step: Step,
    attempt: u32,
    pause: Duration,
    admission: Option<A>,
    place: Option<P>,
    outcome: Option<Result<T, CallError<E>>>,
}

impl<A, P, T, E> Flow<A, P, T, E> {
    pub(super) fn new() -> Self {
        Self { step: Step::Admit, attempt: 1, pause: Duration::ZERO, admission: None, place: None, outcome: None }
    }

    pub(super) fn next(&self) -> Step {
        self.step
    }

    pub(super) fn admitted(&mut self, admission: Result<A, RejectReason>) {
        match admission {
            Ok(admission) => {
                self.admission = Some(admission);
                self.step = Step::Acquire;
            }
            Err(reason) => self.refuse(reason),
        }
    }

    pub(super) fn acquired(&mut self, place: Result<P, RejectReason>) {
        match place {
            Ok(place) => {
                self.place = Some(place);
                self.step = Step::Run { attempt: self.attempt };
            }
            Err(reason) => {
                self.admission = None;
                self.refuse(reason);
            }
        }
    }

    /// What the attempt that is about to run takes along: the two tokens, and the work.
    ///
    /// # Panics
    ///
    /// In any step but `Run`, or without the work: `Run` comes after both tokens, and again only if the work came back.
    pub(super) fn take<W>(&mut self, work: &mut Option<W>) -> (A, P, W) {
        let taken = (self.admission.take(), self.place.take(), work.take());
        let (Some(admission), Some(place), Some(work)) = taken else { panic!("nothing to run in {:?}", self.step) };
        (admission, place, work)
    }

    /// The attempt has ended. `pause`: how long until the next, if there is to be one; `left`: the time to the deadline. Both are
    /// asked only if it matters: that is a look at the clock.
    pub(super) fn finished(
        &mut self,
        ended: Ended<T, E>,
        pause: impl FnOnce() -> Option<Duration>,
        left: impl FnOnce() -> Option<Duration>,
    ) {
        let (result, class) = match ended {
            Ended::Returned(result, class) => (result, class),
            Ended::Refused(reason) => return self.refuse(reason),
            over => {
                self.outcome = Some(over.into_result());
                self.step = Step::Done;
                return;
            }
        };
        self.outcome = Some(result.map_err(CallError::Failed));
        let at_least = match class {
            Class::Failure => Duration::ZERO,
            Class::RetryAfter(d) => d,
            Class::Success | Class::Slow | Class::Final | Class::Ignore => {
                self.step = Step::Done;
                return;
            }
        };
        self.step = match pause().map(|pause| pause.max(at_least)) {
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
        self.step = Step::Admit;
        if let Some(known) = known {
            self.outcome = Some(Ok(known));
            self.step = Step::Done;
        }
    }

    /// Invariant 1: an earlier attempt's own result stands.
    fn refuse(&mut self, reason: RejectReason) {
        self.outcome.get_or_insert(Err(CallError::Rejected(reason)));
        self.step = Step::Done;
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
