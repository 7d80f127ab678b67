//! [`Class`]: what a call's result says about the dependency.

use crate::error::{CallError, Interrupted};
use std::time::Duration;

/// What the result of a call says about the dependency, and whether to try again.
///
/// An `Ok` may be a failure (an answer with status 503), an `Err` may be a success (a 404 is an answer) or say nothing at
/// all (the caller changed its mind). Whoever knows the protocol decides, and says so with one of these.
///
/// | | the breaker counts | may be tried again |
/// |---|---|---|
/// | [`Success`](Self::Success) | a success | no need |
/// | [`Slow`](Self::Slow) | a slow success | no need |
/// | [`Failure`](Self::Failure) | a failure | yes |
/// | [`Final`](Self::Final) | a failure | no |
/// | [`RetryAfter`](Self::RetryAfter) | a failure | yes, not before |
/// | [`Ignore`](Self::Ignore) | nothing | no |
///
/// # Examples
///
/// ```
/// use watertight::{Breaker, Class};
///
/// struct Answer { status: u16 }
/// fn class(result: &Result<Answer, std::io::Error>) -> Class {
///     match result {
///         Ok(answer) if answer.status >= 500 => Class::Failure,
///         Ok(_) => Class::Success, // a 404 is an answer
///         Err(e) if e.kind() == std::io::ErrorKind::InvalidInput => Class::Ignore, // our own mistake
///         Err(_) => Class::Failure,
///     }
/// }
///
/// let breaker = Breaker::builder("catalogue").build()?;
/// let admitted = breaker.admit()?;
/// let result = Ok(Answer { status: 503 });
/// admitted.record_as(class(&result));
/// assert_eq!(breaker.snapshot().counts.failures, 1);
/// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[non_exhaustive]
pub enum Class {
    /// The dependency did its part.
    Success,
    /// It did, but too slowly. A breaker that [times calls](crate::Trip::slow_rate) sees that by itself; this is for who
    /// knows better, from a header or from the size of the answer.
    Slow,
    /// It failed: no answer, no answer in time, or an error of its own.
    Failure,
    /// It failed, and trying again cannot help or would do harm.
    Final,
    /// It failed and says when to come back.
    RetryAfter(Duration),
    /// Nothing: the call was never made, or its caller gave it up.
    Ignore,
}

impl Class {
    /// What the result of a protected call inside this one says: refusals of our own and the caller's cancellation are
    /// [`Ignore`](Self::Ignore), since the dependency had no part in them; a panic and a deadline that passed while it
    /// worked are failures.
    ///
    /// # Examples
    ///
    /// ```
    /// use watertight::{CallError, Class, RejectReason};
    ///
    /// let full: Result<(), CallError> = Err(CallError::Rejected(RejectReason::Full { limit: 4, waiting: 0 }));
    /// assert_eq!(Class::of_call(&full), Class::Ignore);
    /// ```
    pub fn of_call<T, E>(result: &Result<T, CallError<E>>) -> Self {
        match result {
            Ok(_) => Self::Success,
            Err(CallError::Rejected(_) | CallError::Interrupted(Interrupted::Cancelled(_))) => Self::Ignore,
            Err(_) => Self::Failure,
        }
    }
}
