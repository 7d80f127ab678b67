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
    /// From the first pause on: most calls need none.
    pauses: Option<Schedule>,
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
        Self { cx: cx.clone(), retry: retry.clone(), pauses: None, number: 1, at_least: Duration::ZERO, begun }
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
        let pauses = self.pauses.get_or_insert_with(|| self.retry.schedule());
        let pause = pauses.next().ok_or(GaveUp::Attempts)?.max(at_least);
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

#[cfg(all(test, not(watertight_loom)))]
mod tests {
    use super::*;
    use crate::error::CancelCause;
    use crate::retry::{Expected, Jitter};
    use crate::{CancelToken, ManualClock};
    use proptest::prelude::*;

    const MS: Duration = Duration::from_millis(1);

    fn poll<F: Future + Unpin>(f: &mut F) -> Poll<F::Output> {
        Pin::new(f).poll(&mut task::Context::from_waker(task::Waker::noop()))
    }

    fn exactly(pause: Duration) -> Retry {
        Retry::constant(pause).jitter(Jitter::None)
    }

    #[test]
    fn there_are_so_many_attempts_and_no_more() {
        let cx = Context::background();
        let mut attempts = exactly(Duration::ZERO).attempts(3).attempts_within(&cx);
        assert_eq!(attempts.number(), 1);
        assert_eq!([(); 3].map(|()| attempts.pause()), [Ok(2), Ok(3), Err(GaveUp::Attempts)]);
        assert_eq!(exactly(MS).attempts(1).attempts_within(&cx).pause(), Err(GaveUp::Attempts));
    }

    #[test]
    fn no_pause_reaches_the_deadline_and_none_leaves_too_little_time() {
        let time = ManualClock::new();
        let cx = Context::background().with_clock(&time.clock()).with_timeout(MS * 100);
        let budget = Budget::percent(100);
        let retry = |pause| exactly(pause).budget(budget.clone());
        let decide = |retry: &Retry| retry.attempts_within(&cx).decide().map(|(pause, _)| pause);
        assert_eq!(decide(&retry(MS * 99)), Ok(MS * 99));
        assert_eq!(decide(&retry(MS * 100)), Err(GaveUp::NoTime));
        assert_eq!(decide(&retry(MS * 50).expect(MS * 49)), Ok(MS * 50));
        assert_eq!(decide(&retry(MS * 50).expect(MS * 50)), Err(GaveUp::NoTime));
        assert_eq!(decide(&retry(MS).expect(Duration::MAX)), Err(GaveUp::NoTime));
        assert_eq!(budget.stats().retries, 0, "nothing is paid for what is not tried");
        time.advance(MS * 100);
        assert_eq!(decide(&retry(Duration::ZERO)), Err(GaveUp::NoTime));
    }

    #[test]
    fn what_attempts_take_is_learnt_from_those_that_succeed() {
        let time = ManualClock::new();
        let cx = Context::background().with_clock(&time.clock());
        let retry = exactly(Duration::ZERO).expect(Expected::learnt());
        let mut first = retry.attempts_within(&cx);
        time.advance(MS * 500); // a failure says nothing
        first.pause().unwrap();
        time.advance(MS * 40);
        first.succeeded();
        assert_eq!(retry.expected(), MS * 40);
        let near = cx.with_timeout(MS * 40);
        assert_eq!(retry.attempts_within(&near).pause(), Err(GaveUp::NoTime));
        assert_eq!(retry.attempts_within(&cx.with_timeout(MS * 41)).pause(), Ok(2));
    }

    #[test]
    fn retry_after_is_honoured_and_said_once() {
        let time = ManualClock::new();
        let cx = Context::background().with_clock(&time.clock()).with_timeout(MS * 100);
        let retry = exactly(MS * 10).attempts(9);
        let mut attempts = retry.attempts_within(&cx);
        assert_eq!(attempts.retry_after(Some(MS * 30)).decide().unwrap().0, MS * 30);
        assert_eq!(attempts.decide().unwrap().0, MS * 10);
        assert_eq!(attempts.retry_after(Some(MS * 3)).decide().unwrap().0, MS * 10);
        assert_eq!(attempts.retry_after(None).decide().unwrap().0, MS * 10);
        assert_eq!(attempts.retry_after(Some(MS * 100)).decide().unwrap_err(), GaveUp::NoTime);
    }

    #[test]
    fn a_budget_bounds_the_amplification_of_a_dead_dependency_and_says_it() {
        let (cx, budget) = (Context::background(), Budget::percent(20));
        let retry = exactly(Duration::ZERO).attempts(3).budget(budget.clone());
        let mut sent = 0;
        for _ in 0..1_000 {
            let mut attempts = retry.attempts_within(&cx);
            sent += 1;
            while attempts.pause().is_ok() {
                sent += 1;
            }
        }
        assert_eq!(sent, 1_200);
        assert!((budget.stats().amplification() - 1.2).abs() < 1e-9);
        assert!(budget.stats().refused > 0);
    }

    #[test]
    fn layers_share_the_cap_of_their_request() {
        let cap = RetryCap::new(2);
        let cx = Context::background().with_value(cap.clone());
        let retry = exactly(Duration::ZERO).attempts(3);
        let mut attempts = 0;
        for _ in retry_all(&retry, &cx) {
            for _ in retry_all(&retry, &cx) {
                attempts += retry_all(&retry, &cx).count();
            }
        }
        assert_eq!((attempts, cap.left()), (3, 0)); // not 27
        // What the budget does not pay for is not taken from the cap.
        let (cap, poor) = (RetryCap::new(1), exactly(Duration::ZERO).budget(Budget::percent(1)));
        let mut attempts = poor.attempts_within(&Context::background().with_value(cap.clone()));
        assert_eq!((attempts.pause(), cap.left()), (Err(GaveUp::Budget), 1));
    }

    fn retry_all(retry: &Retry, cx: &Context) -> impl Iterator<Item = u32> + use<> {
        let mut attempts = retry.attempts_within(cx);
        let mut first = true;
        std::iter::from_fn(move || if std::mem::take(&mut first) { Some(1) } else { attempts.pause().ok() })
    }

    #[test]
    fn a_pause_that_is_interrupted_or_dropped_gives_back_what_was_paid() {
        let (budget, cap, token) = (Budget::percent(100), RetryCap::new(5), CancelToken::new());
        let time = ManualClock::new();
        let cx = Context::background().with_clock(&time.clock()).with_token(&token).with_value(cap.clone());
        let retry = exactly(MS * 10).attempts(9).budget(budget.clone());
        let mut attempts = retry.attempts_within(&cx);
        let left = || (budget.available(), cap.left());
        let mut pause = attempts.pause_async();
        assert_eq!(left(), (1, 5)); // nothing happens before it is polled
        assert!(poll(&mut pause).is_pending());
        assert_eq!(left(), (0, 4));
        drop(pause);
        assert_eq!(left(), (1, 5));
        let mut pause = attempts.pause_async();
        assert!(poll(&mut pause).is_pending());
        time.advance(MS * 10);
        assert_eq!(poll(&mut pause), Poll::Ready(Ok(2)));
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| poll(&mut pause))).is_err());
        assert_eq!((left(), attempts.number()), ((0, 4), 2));
        budget.deposit();
        let mut pause = attempts.pause_async();
        assert!(poll(&mut pause).is_pending());
        token.cancel();
        let gave_up = GaveUp::Interrupted(Interrupted::Cancelled(CancelCause::Requested));
        assert_eq!(poll(&mut pause), Poll::Ready(Err(gave_up)));
        assert_eq!(left(), (1, 4));
        assert_eq!(attempts.pause(), Err(gave_up)); // the same on a thread
        assert_eq!((left(), budget.stats().retries), ((1, 4), 1));
    }

    proptest! {
        /// Whatever is asked for, all pauses and the last attempt end before the deadline.
        #[test]
        fn no_schedule_goes_beyond_its_deadline(
            base in 1_u64..50, left in 1_u64..500, takes in 0_u64..60, after in prop::option::of(0_u64..200), seed: u64,
        ) {
            let time = ManualClock::new();
            let cx = Context::background().with_clock(&time.clock()).with_timeout(MS * left as u32);
            let end = cx.deadline().instant().unwrap();
            let retry = Retry::exponential(MS * base as u32).attempts(20).seed(seed).expect(MS * takes as u32);
            let mut attempts = retry.attempts_within(&cx);
            while let Ok((pause, paid)) = attempts.retry_after(after.map(Duration::from_millis)).decide() {
                prop_assert!(pause >= Duration::from_millis(after.unwrap_or(0)));
                time.advance(pause);
                attempts.go_on(paid);
                time.advance(MS * takes as u32);
                prop_assert!(time.clock().now() < end);
            }
        }
    }
}
