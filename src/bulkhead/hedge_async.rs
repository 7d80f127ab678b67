//! [`Idempotent::call_hedged_async`]: the hedge for futures. Both attempts are polled by the caller's one task.
//!
//! **Invariants.** Those of `hedge.rs`, but that the loser really ends with the call: it is dropped, and with it go its place
//! and its permit. Dropped at any await the call gives everything back; what was paid for a second attempt counts as used
//! from its first poll on, if that has entered it. **Locking.** None of its own.

use super::attempt::{LeaveHere, Leaves, Own};
use super::calls::let_through;
use super::classified::Judge;
use super::drive::{Bounds, Call};
use super::flow::Ended;
use super::hedge::Hedge;
use super::place::Running;
use super::race::{is_enough, outcome};
use super::run::Ran;
use super::state::Figure;
use super::{Idempotent, Inner};
use crate::context::{Brief, Context};
use crate::error::{CallError, RejectReason};
use crate::event::Class;
use crate::retry::{Paid, Retry};
use crate::sync::Arc;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;

impl<T, E> Idempotent<T, E> {
    /// [`Bulkhead::call_async`](super::Bulkhead::call_async) with a second attempt beside the first, if that has not ended
    /// after the delay of `hedge`. As [`call_hedged`](Self::call_hedged) otherwise; but the loser is a future, which is dropped
    /// when the winner is there, and its permit is free when the call returns.
    ///
    /// Both attempts run in the caller's task, taking turns: a future that blocks its thread also blocks the other. What the
    /// loser has started elsewhere sees the [token](Context::token) of its context cancelled. The future is `Send` if `f` is
    /// `Sync` and all are `Send`.
    ///
    /// # Cancellation
    ///
    /// As [`Bulkhead::call_async`](super::Bulkhead::call_async), of both attempts.
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Panics
    ///
    /// As there; but a panic of one attempt is a failure as long as the other runs.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::cell::Cell;
    /// use std::time::Duration;
    /// use watertight::bulkhead::Hedge;
    /// use watertight::{Budget, Bulkhead, Context, Isolation, Retry};
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    /// let quotes = Bulkhead::builder("quotes", Isolation::Permits(4))
    ///     .retry(Retry::constant(Duration::ZERO).budget(Budget::percent(100)))
    ///     .timeout(Duration::from_secs(60))
    ///     .build()?;
    /// let hedge = Hedge::after(Duration::from_millis(5)); // or Hedge::quantile(0.95, ..)
    /// let stuck = Cell::new(true);
    /// let quote = quotes.idempotent().call_hedged_async(&Context::current(), &hedge, |_cx| {
    ///     let stuck = stuck.replace(false);
    ///     async move {
    ///         if stuck { std::future::pending::<()>().await } // the first attempt hangs until it is dropped
    ///         Ok::<_, std::io::Error>(1.09)
    ///     }
    /// });
    /// assert_eq!(quote.await?, 1.09);
    /// assert_eq!((quotes.state().hedges, quotes.state().running), (1, 0));
    /// # Ok(())
    /// # }
    /// # futures::executor::block_on(example()).unwrap();
    /// ```
    pub fn call_hedged_async<F, Fut>(
        &self,
        cx: &Context,
        hedge: &Hedge,
        f: F,
    ) -> impl Future<Output = Result<T, CallError<E>>> + use<T, E, F, Fut>
    where
        F: Fn(Context) -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        let (inner, judge) = (self.bulkhead.0.clone(), self.judge.clone());
        let (cx, hedge) = (judge.keyed.within(cx), hedge.clone());
        async move {
            match judge.keyed.known_at_once(&inner) {
                Some(known) => Ok(known),
                None => Inner::call_hedged_async(inner, cx, hedge, judge, f).await,
            }
        }
    }
}

/// Leave to make another attempt, and what was paid for it.
type Another<'a> = (LeaveHere<'a>, Running<'a>, Option<Paid>);

impl Inner {
    async fn call_hedged_async<F, Fut, T, E>(
        this: Arc<Self>,
        cx: Context,
        hedge: Hedge,
        judge: Judge<T, E>,
        f: F,
    ) -> Result<T, CallError<E>>
    where
        F: Fn(Context) -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        let mut call = Call::begin(&this);
        let ended = this.hedged_async(&mut call, &cx, &hedge, &judge, &f).await;
        let_through(call.end(ended.into_result()))
    }

    async fn hedged_async<F, Fut, T, E>(
        &self,
        call: &mut Call<'_>,
        cx: &Context,
        hedge: &Hedge,
        judge: &Judge<T, E>,
        f: &F,
    ) -> Ended<T, E>
    where
        F: Fn(Context) -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        let mut bounds = Bounds::new(self, cx);
        let (leave, running) = match self.let_in(&mut bounds).await {
            Ok(both) => both,
            Err(reason) => return Ended::Refused(reason),
        };
        let may_hedge = !leave.is_probe() && !self.is_nested(cx);
        let cx = match bounds.entering(&leave) {
            Ok(cx) => &**cx,
            Err(why) => return Ended::Refused(why.into()),
        };
        let attempt = |number, leave, running, own: &Own| {
            self.attempt_beside(number, (leave, running), own.cx().into(), judge, |cx| (None::<()>, f(cx)))
        };
        let own = Own::of(cx);
        let mut first = pin!(attempt(1, leave, running, &own));
        call.entered = true; // when it is first pending, if it ever is
        if let Some(ended) = within_delay(first.as_mut(), cx, hedge).await {
            own.ended();
            return ended;
        }
        hedge.late();
        let another = if may_hedge && cx.check().is_ok() { self.another_here(cx) } else { None };
        let (ended, first_runs) = match another {
            Some((leave, running, paid)) => {
                let own = Own::of(cx);
                let mut second = pin!(attempt(2, leave, running, &own));
                let begun = once(second.as_mut()).await;
                if !matches!(begun, Poll::Ready(Ended::Refused(_))) {
                    self.figures.add(Figure::Hedges);
                    if let Some(paid) = paid {
                        paid.used(); // and otherwise it goes back
                    }
                }
                let (ended, runs) = both(first.as_mut(), second.as_mut(), begun).await;
                own.ended_unless(runs[1]);
                (ended, runs[0])
            }
            None => (first.as_mut().await.1, false),
        };
        own.ended_unless(first_runs);
        ended
    }

    /// One of the attempts, with what it was let in with.
    async fn attempt_beside<T, E, Fut: Future<Output = Result<T, E>>>(
        &self,
        number: u32,
        (leave, running): (LeaveHere<'_>, Running<'_>),
        mut cx: Brief,
        judge: &Judge<T, E>,
        work: impl FnOnce(Context) -> (Option<()>, Fut),
    ) -> Ran<(), T, E> {
        let _running = running;
        if let Err(why) = cx.check() {
            return (None, Ended::Refused(why.into())); // it may have ended since it was let in
        }
        let ran = self.run_future(number, &mut cx, judge, work).await;
        leave.tell(&ran.1, &cx);
        ran
    }

    /// Leave, and a place and a permit, which is waited for.
    async fn let_in<'a>(&'a self, bounds: &mut Bounds<'_>) -> Result<(LeaveHere<'a>, Running<'a>), RejectReason> {
        bounds.outer().check()?;
        let leave = self.admit_here()?;
        let running = self.awaited(bounds).await?;
        Ok((leave, running))
    }

    /// A place, a permit and leave for a second attempt, if there may be one now.
    fn another_here(&self, cx: &Context) -> Option<Another<'_>> {
        if self.is_busy() {
            return None;
        }
        let leave = self.admit_here().ok()?;
        let running = Running::here(self.place().ok()?, self.permit_ref().ok()?);
        let paid = self.retry.as_ref().map(|retry| Retry::pay(retry, cx)).transpose().ok()?;
        Some((leave, running, paid))
    }
}

/// Polls once and no more.
async fn once<T, E>(mut attempt: Pin<&mut impl Future<Output = Ran<(), T, E>>>) -> Poll<Ended<T, E>> {
    poll_fn(|task| Poll::Ready(attempt.as_mut().poll(task).map(|ran| ran.1))).await
}

/// How the first attempt ended, or `None` when the delay is over.
async fn within_delay<T, E>(
    mut first: Pin<&mut impl Future<Output = Ran<(), T, E>>>,
    cx: &Context,
    hedge: &Hedge,
) -> Option<Ended<T, E>> {
    let mut delay = cx.sleep_async(hedge.delay());
    let mut over = false;
    poll_fn(|task| {
        if let Poll::Ready((_, ended)) = first.as_mut().poll(task) {
            hedge.in_time(&ended);
            return Poll::Ready(Some(ended));
        }
        // Where the context has ended first, the attempt is about to end too.
        match if over { Poll::Pending } else { Pin::new(&mut delay).poll(task) } {
            Poll::Ready(Ok(())) => Poll::Ready(None),
            Poll::Ready(Err(_)) => {
                over = true;
                first.as_mut().poll(task).map(|(_, ended)| Some(ended))
            }
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// The first result that is good enough, or the later of two that are not; and which of the two still run. The second
/// attempt has been polled once.
async fn both<T, E>(
    mut first: Pin<&mut impl Future<Output = Ran<(), T, E>>>,
    mut second: Pin<&mut impl Future<Output = Ran<(), T, E>>>,
    begun: Poll<Ended<T, E>>,
) -> (Ended<T, E>, [bool; 2]) {
    let (mut runs, mut failed, mut begun) = ([true; 2], None, Some(begun));
    let ended = poll_fn(|task| {
        for lane in [0, 1] {
            let polled = match lane {
                _ if !runs[lane] => Poll::Pending,
                0 => first.as_mut().poll(task).map(|ran| ran.1),
                _ => begun.take().unwrap_or_else(|| second.as_mut().poll(task).map(|ran| ran.1)),
            };
            if let Poll::Ready(ended) = polled {
                runs[lane] = false;
                let (now, _other) = outcome(failed.take(), ended);
                if is_enough(&now) || runs == [false; 2] {
                    return Poll::Ready(now);
                }
                failed = Some(now);
            }
        }
        Poll::Pending
    });
    (ended.await, runs)
}

impl Hedge {
    /// The first attempt has ended before the delay was over.
    pub(super) fn in_time<T, E>(&self, ended: &Ended<T, E>) {
        if let Ended::Returned(_, Class::Success | Class::Slow) = ended {
            self.learn(false);
        }
    }

    /// It has not.
    pub(super) fn late(&self) {
        self.learn(true);
    }
}
