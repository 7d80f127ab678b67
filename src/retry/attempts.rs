//! [`Attempts`]: the attempts of one call, for a loop of the user's own.
//!
//! **States.** attempt 1 → pause → attempt 2 → …, or given up. **Invariants.** 1. A retry is paid for before its pause, by the
//! cap of the request and by the budget; what was paid goes back if the pause is interrupted or its future dropped. 2. No
//! pause begins that would end at the deadline or later, or leave less time than an attempt is expected to take.
//! **Locking.** None.

use super::budget::Payer;
use super::{Budget, Retry, RetryCap, Schedule};
use crate::context::{Context, Sleep};
use crate::error::Interrupted;
use std::future::Future;
use std::pin::Pin;
use std::task::{self, Poll};
use std::time::{Duration, Instant};

/// The attempts of one call, from [`Retry::attempts_within`]: schedule, cap, budget and deadline in one value. The first
/// attempt is under way; [`pause`](Self::pause) says whether there may be another, and waits until it is time.
///
/// Never retry what must not run twice; and never a refusal of our own ([`CallError::Rejected`](crate::CallError::Rejected)): an
/// open breaker or a full compartment is not made better by asking again.
///
/// # Examples
///
/// Awaited, and with what the server said about when to come back:
///
/// ```
/// use std::time::Duration;
/// use watertight::{Budget, Context, Retry};
///
/// struct Busy { retry_after: Option<Duration> }
/// # async fn ask(n: u32) -> Result<u32, Busy> { if n < 2 { Err(Busy { retry_after: Some(Duration::from_millis(3)) }) } else { Ok(n) } }
/// async fn call(retry: &Retry, cx: &Context) -> Result<u32, Busy> {
///     let mut attempts = retry.attempts_within(cx);
///     loop {
///         match ask(attempts.number()).await {
///             Err(busy) if attempts.retry_after(busy.retry_after).pause_async().await.is_err() => return Err(busy),
///             Err(_) => {}
///             answer => return answer,
///         }
///     }
/// }
/// # let retry = Retry::exponential(Duration::from_millis(1)).budget(Budget::percent(100));
/// # assert!(matches!(futures::executor::block_on(call(&retry, &Context::background())), Ok(2)));
/// ```
#[derive(Debug)]
#[must_use = "attempts do nothing by themselves"]
pub struct Attempts {
    cx: Context,
    retry: Retry,
    pauses: Schedule,
    number: u32,
    /// What the dependency asked for.
    at_least: Duration,
    /// When the attempt began, if that is to be learnt from.
    begun: Option<Instant>,
}

/// Why there is no other attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum GaveUp {
    /// All attempts were made.
    #[error("all attempts were made")]
    Attempts,
    /// The pause and the attempt would not end before the deadline.
    #[error("another attempt would not end in time")]
    NoTime,
    /// The request as a whole has had its retries: [`RetryCap`].
    #[error("the request has had its retries")]
    Cap,
    /// The budget does not pay for it.
    #[error("the retry budget is spent")]
    Budget,
    /// The context ended during the pause.
    #[error("interrupted between attempts")]
    Interrupted(#[source] Interrupted),
}

/// What a retry was paid with, until it is made. Dropped before that, it goes back.
#[derive(Debug)]
pub(crate) struct Paid {
    cap: Option<RetryCap>,
    budget: Option<(Budget, Payer)>,
}

impl Paid {
    /// The retry is made.
    pub(crate) fn used(mut self) {
        (self.cap, self.budget) = (None, None);
    }
}

impl Drop for Paid {
    fn drop(&mut self) {
        if let Some(cap) = self.cap.take() {
            cap.give_back();
        }
        if let Some((budget, payer)) = self.budget.take() {
            budget.refund(payer);
        }
    }
}

impl Retry {
    /// Pays for one retry, from the cap of the request and from the budget.
    pub(crate) fn pay(&self, cx: &Context) -> Result<Paid, GaveUp> {
        let mut paid = Paid { cap: None, budget: None };
        if let Some(cap) = cx.value::<RetryCap>() {
            if !cap.take() {
                return Err(GaveUp::Cap);
            }
            paid.cap = Some(cap.clone());
        }
        if let Some(budget) = self.account() {
            let payer = budget.withdraw().ok_or(GaveUp::Budget)?;
            paid.budget = Some((budget.clone(), payer));
        }
        Ok(paid)
    }
}

impl Attempts {
    pub(super) fn new(retry: &Retry, cx: &Context) -> Self {
        if let Some(budget) = retry.account() {
            budget.deposit();
        }
        let begun = retry.expected.learns().then(|| cx.now());
        let (pauses, retry) = (retry.schedule(), retry.clone());
        Self { cx: cx.clone(), retry, pauses, number: 1, at_least: Duration::ZERO, begun }
    }

    /// Which attempt is under way, from 1.
    pub fn number(&self) -> u32 {
        self.number
    }

    /// The dependency said when to come back: the next pause is at least that long, and there is none if that is too late.
    /// A pause so long is bounded by the context only.
    pub fn retry_after(&mut self, d: Option<Duration>) -> &mut Self {
        self.at_least = d.unwrap_or_default();
        self
    }

    /// The attempt succeeded: what an attempt takes is [learnt](super::Expected::learnt) from it. Nothing happens, and no
    /// clock is read, unless it is to be learnt.
    pub fn succeeded(self) {
        if let Some(begun) = self.begun {
            self.retry.expected.record(self.cx.now().saturating_duration_since(begun));
        }
    }

    /// The attempt failed: waits until it is time for another, and says which that is.
    ///
    /// # Blocking
    ///
    /// Blocks this thread for the pause; the end of the context ends it.
    ///
    /// # Errors
    ///
    /// Why there is no other attempt; unless it was [`Interrupted`](GaveUp::Interrupted), at once. Who gives up returns the
    /// attempt's own error.
    pub fn pause(&mut self) -> Result<u32, GaveUp> {
        let (pause, paid) = self.decide()?;
        self.cx.sleep(pause).map_err(GaveUp::Interrupted)?;
        Ok(self.go_on(paid))
    }

    /// [`pause`](Self::pause) as a future. It is decided and paid for at the first poll.
    ///
    /// # Cancellation
    ///
    /// Dropping it gives back what was paid; the attempt that failed is then the last one that was made.
    pub fn pause_async(&mut self) -> Pause<'_> {
        Pause { attempts: self, under_way: None, done: false }
    }

    /// How long to pause, with the retry paid for.
    fn decide(&mut self) -> Result<(Duration, Paid), GaveUp> {
        let at_least = std::mem::take(&mut self.at_least);
        let pause = self.pauses.next().ok_or(GaveUp::Attempts)?.max(at_least);
        let needed = pause.saturating_add(self.retry.expected());
        if self.cx.remaining().is_some_and(|left| needed >= left) {
            return Err(GaveUp::NoTime);
        }
        Ok((pause, self.retry.pay(&self.cx)?))
    }

    fn go_on(&mut self, paid: Paid) -> u32 {
        paid.used();
        self.number += 1;
        self.begun = self.begun.map(|_| self.cx.now());
        self.number
    }
}

/// The future of [`Attempts::pause_async`].
///
/// # Panics
///
/// When polled after it was ready.
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct Pause<'a> {
    attempts: &'a mut Attempts,
    under_way: Option<(Sleep, Paid)>,
    done: bool,
}

impl Future for Pause<'_> {
    type Output = Result<u32, GaveUp>;

    fn poll(mut self: Pin<&mut Self>, task: &mut task::Context<'_>) -> Poll<Self::Output> {
        assert!(!self.done, "polled after it was ready");
        self.done = true; // unless it goes on below
        let (mut sleep, paid) = match self.under_way.take() {
            Some(under_way) => under_way,
            None => match self.attempts.decide() {
                Ok((pause, paid)) => (self.attempts.cx.sleep_async(pause), paid),
                Err(why) => return Poll::Ready(Err(why)),
            },
        };
        match Pin::new(&mut sleep).poll(task) {
            Poll::Pending => {
                self.under_way = Some((sleep, paid));
                self.done = false;
                Poll::Pending
            }
            Poll::Ready(Ok(())) => Poll::Ready(Ok(self.attempts.go_on(paid))),
            Poll::Ready(Err(why)) => Poll::Ready(Err(GaveUp::Interrupted(why))),
        }
    }
}
