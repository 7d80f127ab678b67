//! [`Idempotent::call_hedged_blocking`]: a hedged call on the compartment's threads, awaited.
//!
//! **Invariants.** Those of `hedge.rs`; and: a future that is dropped leaves both attempts, and is counted once, by what became
//! of them. **Locking.** None of its own.

use super::calls::run_once;
use super::classified::Judge;
use super::drive::Bounds;
use super::flow::Ended;
use super::hedge::{Hedge, Lanes, Work};
use super::race::Race;
use super::state::Figure;
use super::{Idempotent, Inner};
use crate::context::Context;
use crate::error::CallError;
use crate::sync::{Arc, Shared};
use std::future::Future;

impl<T, E> Idempotent<T, E> {
    /// [`call_hedged`](Self::call_hedged), awaited: for blocking clients of async callers. Nothing happens before the first poll.
    ///
    /// # Blocking
    ///
    /// None, but from inside the compartment's own work: there it runs once, where it is polled, and blocks there.
    ///
    /// # Cancellation
    ///
    /// As [`Bulkhead::call_blocking`](super::Bulkhead::call_blocking), of both attempts.
    ///
    /// # Errors
    ///
    /// As [`Bulkhead::call`](super::Bulkhead::call).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::atomic::{AtomicBool, Ordering};
    /// use std::time::Duration;
    /// use watertight::bulkhead::Hedge;
    /// use watertight::{Budget, Bulkhead, Context, Isolation, Retry};
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    /// let quotes = Bulkhead::builder("quotes", Isolation::Threads(4))
    ///     .retry(Retry::constant(Duration::ZERO).budget(Budget::percent(100)))
    ///     .timeout(Duration::from_secs(60))
    ///     .build()?;
    /// let hedge = Hedge::after(Duration::from_millis(5));
    /// let stuck = AtomicBool::new(true);
    /// let quote = quotes.idempotent().call_hedged_blocking(&Context::current(), &hedge, move |cx| {
    ///     if stuck.swap(false, Ordering::Relaxed) {
    ///         cx.token().wait(&Context::background()); // the first attempt hangs until it is cancelled
    ///     }
    ///     Ok::<_, std::io::Error>(1.09)
    /// });
    /// assert_eq!(quote.await?, 1.09);
    /// # assert_eq!(quotes.state().hedges, 1);
    /// # Ok(())
    /// # }
    /// # futures::executor::block_on(example()).unwrap();
    /// ```
    pub fn call_hedged_blocking<F>(
        &self,
        cx: &Context,
        hedge: &Hedge,
        f: F,
    ) -> impl Future<Output = Result<T, CallError<E>>> + Send + use<T, E, F>
    where
        F: Fn(&Context) -> Result<T, E> + Send + Sync + 'static,
        T: Send + 'static,
        E: Send + 'static,
    {
        let (inner, judge) = (self.bulkhead.0.clone(), self.judge.clone());
        let (cx, hedge) = (judge.keyed.within(cx).captured(), hedge.clone());
        async move {
            if let Some(known) = judge.keyed.known_at_once(&inner) {
                return Ok(known);
            }
            if inner.pool.is_some() && inner.is_nested(&cx) {
                return inner.on_this_thread(&cx, false, &judge, f, run_once);
            }
            inner.figures.add(Figure::Requests);
            let ended = Inner::hedged_blocking(&inner, &cx, &hedge, &judge, f).await;
            inner.concluded(ended)
        }
    }
}

impl Inner {
    async fn hedged_blocking<T, E, F>(
        this: &Arc<Self>,
        cx: &Context,
        hedge: &Hedge,
        judge: &Judge<T, E>,
        f: F,
    ) -> Ended<T, E>
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
        let is_probe = leave.is_probe();
        let cx = &*Bounds::new(this, cx).into_attempt(&leave);
        let work = Work { inner: this, judge, f: Shared::new(f), race: Race::new() };
        let mut lanes = Lanes::of(this, work.start(1, leave, running, cx, None));
        let mut ended = work.race.awaited(&cx.with_timeout(hedge.delay())).await;
        if ended.is_none() && cx.check().is_ok() {
            hedge.late();
            lanes.second = if is_probe { None } else { work.another(cx) };
            ended = work.race.awaited(cx).await;
        } else if let Some(ended) = &ended {
            hedge.in_time(ended);
        }
        lanes.end(cx, ended)
    }
}
