//! [`Hedge`] and [`Idempotent::call_hedged`]: a second attempt beside a slow first one.
//!
//! **Invariants.** 1. A second attempt is paid for like a retry, and what was paid goes back if it is never entered. 2. The
//! loser is abandoned and cancelled: still queued, it never runs; running, it keeps its place until it really ends, and the
//! breaker hears nothing of it. 3. None is begun while somebody waits or no permit is free. The same, awaited, is in
//! `hedge_blocking.rs`. **Locking.** None of its own.

use super::attempt::{Attempt, Leave};
use super::calls::{Gave, run_once};
use super::classified::{Judge, Judges};
use super::drive::Bounds;
use super::flow::Ended;
use super::place::Running;
use super::race::{Race, Runner};
use super::state::Figure;
use super::{Idempotent, Inner};
use crate::context::Context;
use crate::error::{CallError, CancelCause, Interrupted};
use crate::pool::JobHandle;
use crate::retry::{Paid, Retry};
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{Arc, Shared};
use std::fmt;
use std::time::Duration;

/// When the second attempt of a hedged call ([`call_hedged`](Idempotent::call_hedged),
/// [`call_hedged_blocking`](Idempotent::call_hedged_blocking), [`call_hedged_async`](Idempotent::call_hedged_async)) begins.
///
/// A cheap handle; clones of one that learns learn together: keep one beside the compartment.
#[derive(Clone)]
pub struct Hedge(Kind);

#[derive(Clone)]
enum Kind {
    After(Duration),
    /// The delay in nanoseconds, and what it is multiplied by when a call was late and when it was not.
    Quantile {
        delay: Arc<AtomicU64>,
        late: f64,
        in_time: f64,
    },
}

/// How much a single call changes a delay that is learnt, at most.
const STEP: f64 = 1.0 / 16.0;
const LEAST: u64 = 1_000;
const MOST: u64 = 24 * 60 * 60 * 1_000_000_000;

impl Hedge {
    /// So long after the first attempt. A good choice is what 95 of 100 calls stay below.
    pub fn after(delay: Duration) -> Self {
        Self(Kind::After(delay))
    }

    /// After the time that this share of the calls stays below, which is learnt from the calls themselves: 0.95 makes a
    /// second attempt for one call in twenty. It starts at `first`, and each call moves it by a sixteenth at most, so a wrong
    /// start costs some dozens of calls. Between a microsecond and a day.
    ///
    /// # Panics
    ///
    /// Unless the share is above 0 and below 1.
    pub fn quantile(share: f64, first: Duration) -> Self {
        assert!(share > 0.0 && share < 1.0, "a quantile is above 0 and below 1, not {share}");
        let nanos = u64::try_from(first.as_nanos()).unwrap_or(u64::MAX).clamp(LEAST, MOST);
        let (late, in_time) = (1.0 + STEP * share, 1.0 - STEP * (1.0 - share));
        Self(Kind::Quantile { delay: Arc::new(AtomicU64::new(nanos)), late, in_time })
    }

    /// How long it is now.
    pub fn delay(&self) -> Duration {
        match &self.0 {
            Kind::After(d) => *d,
            Kind::Quantile { delay, .. } => Duration::from_nanos(delay.load(Ordering::Acquire)),
        }
    }

    /// Whether the first attempt took longer. That is all a quantile needs to know: it does not matter how much longer, and
    /// so what the loser would have taken is not missed.
    pub(super) fn learn(&self, late: bool) {
        let Kind::Quantile { delay, late: up, in_time: down } = &self.0 else { return };
        let by = if late { up } else { down };
        let next = |nanos: u64| Some(((nanos as f64 * by) as u64).clamp(LEAST, MOST));
        let _ = delay.fetch_update(Ordering::AcqRel, Ordering::Acquire, next);
    }
}

impl fmt::Debug for Hedge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = if matches!(self.0, Kind::After(_)) { "After" } else { "Quantile" };
        f.debug_tuple(name).field(&self.delay()).finish()
    }
}

impl<T, E> Idempotent<T, E> {
    /// [`Bulkhead::call`](super::Bulkhead::call) with a second attempt beside the first, if that has not ended after the
    /// delay of `hedge`: for dependencies that are now and then slow for no reason. Attempts overlap, so `f` is `Fn + Sync`.
    ///
    /// The first result that is not a failure is the call's; the other attempt is cancelled, and its place is free when it
    /// has really ended. If both fail, the later failure is the call's. There are no other retries.
    ///
    /// A second attempt is made only if the [budget](crate::Budget) pays for it, the breaker admits it, nobody waits in the
    /// compartment and a permit is free; not if the first is the probe of a half-open breaker, and not from inside the
    /// compartment's own work. [`BulkheadState::hedges`](super::BulkheadState::hedges) counts them.
    ///
    /// # Blocking
    ///
    /// As [`Bulkhead::call`](super::Bulkhead::call).
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::atomic::{AtomicBool, Ordering};
    /// use std::time::Duration;
    /// use watertight::bulkhead::Hedge;
    /// use watertight::{Budget, Bulkhead, Context, Isolation, Retry};
    ///
    /// let quotes = Bulkhead::builder("quotes", Isolation::Threads(4))
    ///     .retry(Retry::constant(Duration::ZERO).budget(Budget::percent(100)))
    ///     .timeout(Duration::from_secs(60))
    ///     .build()?;
    /// let hedge = Hedge::after(Duration::from_millis(5)); // or Hedge::quantile(0.95, ..)
    /// let stuck = AtomicBool::new(true);
    /// let quote = quotes.idempotent().call_hedged(&Context::current(), &hedge, move |cx| {
    ///     if stuck.swap(false, Ordering::Relaxed) {
    ///         cx.token().wait(&Context::background()); // the first attempt hangs until it is cancelled
    ///     }
    ///     Ok::<_, std::io::Error>(1.09)
    /// });
    /// assert_eq!(quote.unwrap(), 1.09);
    /// assert_eq!((quotes.state().hedges, quotes.state().attempts), (1, 2));
    /// # Ok::<(), watertight::BuildError>(())
    /// ```
    pub fn call_hedged<F>(&self, cx: &Context, hedge: &Hedge, f: F) -> Result<T, CallError<E>>
    where
        F: Fn(&Context) -> Result<T, E> + Send + Sync + 'static,
        T: Send + 'static,
        E: Send + 'static,
    {
        let inner = &self.bulkhead.0;
        if let Some(known) = self.judge.keyed.known_at_once(inner) {
            return Ok(known);
        }
        let cx = self.judge.keyed.within(cx).captured();
        if inner.pool.is_some() && inner.is_nested(&cx) {
            return Inner::call(inner, &cx, false, &self.judge, f, run_once);
        }
        inner.figures.add(Figure::Requests);
        inner.concluded(Inner::hedged(inner, &cx, hedge, &self.judge, f))
    }
}

/// One of the attempts, as its caller sees it.
pub(super) struct Lane {
    attempt: Arc<Attempt>,
    handle: JobHandle<()>,
    cx: Context,
    paid: Option<Paid>,
}

impl Lane {
    /// The caller has what it wants, or stops waiting: whether the attempt was entered.
    fn leave(self, why: Interrupted) -> bool {
        let entered = matches!(self.attempt.abandon::<(), ()>(why, &self.cx), Ended::Interrupted(_));
        self.handle.cancel_because(CancelCause::Dropped);
        if let (Some(paid), true) = (self.paid, entered) {
            paid.used(); // and otherwise it goes back
        }
        entered
    }
}

/// The attempts of a call under way. Dropped with a future, it leaves them and counts the call.
pub(super) struct Lanes {
    inner: Arc<Inner>,
    first: Option<Lane>,
    pub(super) second: Option<Lane>,
}

impl Lanes {
    pub(super) fn of(inner: &Arc<Inner>, first: Lane) -> Self {
        Self { inner: inner.clone(), first: Some(first), second: None }
    }

    /// Whether any of them was entered.
    fn leave(&mut self, why: Interrupted) -> bool {
        [self.first.take(), self.second.take()].map(|lane| lane.is_some_and(|lane| lane.leave(why))).contains(&true)
    }

    /// What the caller is told: what has decided the call, or that its context has ended first.
    pub(super) fn end<T, E>(mut self, cx: &Context, ended: Option<Ended<T, E>>) -> Ended<T, E> {
        let why = match &ended {
            Some(_) => Interrupted::Cancelled(CancelCause::Dropped),
            None => cx.check().err().unwrap_or(Interrupted::DeadlinePassed),
        };
        let entered = self.leave(why);
        ended.unwrap_or_else(|| if entered { Ended::Interrupted(why) } else { Ended::Refused(why.into()) })
    }
}

impl Drop for Lanes {
    fn drop(&mut self) {
        if self.first.is_some() {
            let entered = self.leave(Interrupted::Cancelled(CancelCause::Dropped));
            self.inner.figures.left(entered);
        }
    }
}

/// What both attempts are made of.
pub(super) struct Work<'a, T, E, F> {
    pub(super) inner: &'a Arc<Inner>,
    pub(super) judge: &'a Judge<T, E>,
    pub(super) f: Shared<F>,
    pub(super) race: Arc<Race<T, E>>,
}

impl<T, E, F> Work<'_, T, E, F>
where
    F: Fn(&Context) -> Result<T, E> + Send + Sync + 'static,
    T: Send + 'static,
    E: Send + 'static,
{
    pub(super) fn start(
        &self,
        number: u32,
        leave: Leave,
        running: Running<'_>,
        cx: &Context,
        paid: Option<Paid>,
    ) -> Lane {
        let attempt = Attempt::new(leave);
        let (inner, judge, f) = (self.inner.clone(), self.judge.clone(), self.f.clone());
        let (runner, of_worker) = (Runner::of(&self.race), attempt.clone());
        let beside = (number > 1).then(|| inner.clone());
        let job = move || {
            let work = move |cx: &Context| -> Gave<(), T, E> {
                if let Some(inner) = beside {
                    inner.figures.add(Figure::Hedges); // entered, and not before
                }
                judge.judged((None, f(cx)))
            };
            let (_, ended) = inner.on_worker(&of_worker, &Context::current(), number, work);
            runner.finished(ended);
        };
        let handle = running.into_slot().submit_in(job, cx);
        Lane { attempt, handle, cx: cx.clone(), paid }
    }

    /// A second attempt, if there may be one.
    pub(super) fn another(&self, cx: &Context) -> Option<Lane> {
        let inner = self.inner;
        if inner.is_busy() || cx.check().is_err() {
            return None;
        }
        let leave = inner.admit().ok()?;
        let running = inner.on_threads().ok()?;
        let paid = inner.retry.as_ref().map(|retry| Retry::pay(retry, cx)).transpose().ok()?;
        if !self.race.join() {
            return None;
        }
        Some(self.start(2, leave, running, cx, paid))
    }
}

impl Inner {
    /// Whether somebody waits or no permit is free: then nothing is begun that may as well not be.
    pub(super) fn is_busy(&self) -> bool {
        self.queued() > 0 || self.limit.waiting() > 0 || self.limit.in_flight() >= self.limit.permits()
    }

    fn hedged<T, E, F>(this: &Arc<Self>, cx: &Context, hedge: &Hedge, judge: &Judge<T, E>, f: F) -> Ended<T, E>
    where
        F: Fn(&Context) -> Result<T, E> + Send + Sync + 'static,
        T: Send + 'static,
        E: Send + 'static,
    {
        if let Err(why) = cx.check() {
            return Ended::Refused(why.into());
        }
        let (leave, running) = match this.admit().and_then(|leave| Ok((leave, this.on_threads()?))) {
            Ok(both) => both,
            Err(reason) => return Ended::Refused(reason),
        };
        let bounds = Bounds::new(this, cx);
        let is_probe = leave.is_probe();
        let cx = &*bounds.into_attempt(&leave);
        let work = Work { inner: this, judge, f: Shared::new(f), race: Race::new() };
        let mut lanes = Lanes::of(this, work.start(1, leave, running, cx, None));
        let mut ended = work.race.wait(&cx.with_timeout(hedge.delay()));
        if ended.is_none() && cx.check().is_ok() {
            hedge.late();
            lanes.second = if is_probe { None } else { work.another(cx) };
            ended = work.race.wait(cx);
        } else if let Some(ended) = &ended {
            hedge.in_time(ended);
        }
        lanes.end(cx, ended)
    }
}

#[cfg(all(test, not(watertight_loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_found_by_who_is_late() {
        for (share, first) in [(0.95, 1), (0.95, 1_000_000), (0.5, 100_000)] {
            let hedge = Hedge::quantile(share, Duration::from_micros(first));
            let (mut seed, mut late, mut sum) = (7_u64, 0, 0);
            for n in 0..60_000 {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let took = Duration::from_micros(1 + (seed >> 33) % 10_000);
                let is_late = took > hedge.delay();
                hedge.learn(is_late);
                if n >= 20_000 {
                    late += u32::from(is_late);
                    sum += hedge.delay().as_micros() as u64;
                }
            }
            let (part, mean) = (f64::from(late) / 40_000.0, sum as f64 / 40_000.0);
            assert!((part - (1.0 - share)).abs() < 0.01, "{part} of the calls are late");
            assert!((mean / 10_000.0 - share).abs() < 0.03, "{mean} us");
        }
    }

    #[test]
    fn it_stays_within_its_bounds() {
        let short = Hedge::quantile(0.5, Duration::ZERO);
        short.learn(false);
        assert_eq!(short.delay(), Duration::from_nanos(LEAST));
        let long = Hedge::quantile(0.5, Duration::MAX);
        long.learn(true);
        assert_eq!(long.delay(), Duration::from_nanos(MOST));
        assert_eq!(Hedge::after(Duration::MAX).delay(), Duration::MAX);
    }
}
