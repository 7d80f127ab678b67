//! The drivers of the flow: one that blocks and one that awaits. The same loop twice, because only one may `.await`;
//! what can be decided without waiting is in `flow.rs`, and what runs an attempt is in `run.rs`.
//!
//! **Invariants.** 1. Every call that begins is counted once at its end, also when it ends by a panic that passes
//! through or by a dropped future. 2. A refusal makes no context: until an attempt is about to wait or run, nothing is
//! allocated. **Locking.** None.

use super::Inner;
use super::flow::{Ended, Flow, Step};
use super::state::{Figures, add};
use crate::breaker::Admitted;
use crate::context::Context;
use crate::error::{CallError, RejectReason};
use crate::event::Event;
use crate::retry::Retry;
use crate::sync::thread;
use std::future::Future;
use std::time::Duration;

/// An attempt about to run: its number, and the breaker's leave if there is a breaker.
pub(super) struct Leave {
    pub(super) attempt: u32,
    pub(super) admission: Option<Admitted>,
}

/// The call's context, bounded by the compartment's time-out when it is first needed.
pub(super) struct Bounds {
    outer: Context,
    timeout: Option<Duration>,
    bound: Option<Context>,
}

impl Bounds {
    fn new(outer: &Context, timeout: Option<Duration>) -> Self {
        Self { outer: outer.clone(), timeout, bound: None }
    }

    pub(super) fn cx(&mut self) -> &Context {
        let Self { outer, timeout, bound } = self;
        bound.get_or_insert_with(|| timeout.map_or_else(|| outer.clone(), |timeout| outer.with_timeout(timeout)))
    }
}

/// Counts a call at its end (invariant 1).
struct Call<'a> {
    inner: &'a Inner,
    ended: bool,
}

impl<'a> Call<'a> {
    fn begin(inner: &'a Inner) -> Self {
        add(&inner.figures.requests);
        Self { inner, ended: false }
    }

    fn end<T, E>(mut self, result: Result<T, CallError<E>>) -> Result<T, CallError<E>> {
        self.ended = true;
        self.inner.figures.ended(&result);
        if let Err(CallError::Rejected(reason)) = &result {
            self.inner.observed.tell(Event::Rejected { name: &self.inner.name, reason: *reason });
        }
        result
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        let figures: &Figures = &self.inner.figures;
        if !self.ended {
            add(if thread::panicking() { &figures.failed } else { &figures.interrupted });
        }
    }
}

impl Inner {
    /// The blocking driver. `run` gets the work and gives it back if it may run again.
    pub(super) fn drive<W, P, T, E>(
        &self,
        cx: &Context,
        retry: Option<&Retry>,
        work: W,
        acquire: impl Fn(&mut Bounds) -> Result<P, RejectReason>,
        run: impl Fn(Leave, P, &Context, W) -> (Option<W>, Ended<T, E>),
    ) -> Result<T, CallError<E>> {
        let call = Call::begin(self);
        if let Err(why) = cx.check() {
            return call.end(Err(CallError::Rejected(why.into())));
        }
        let mut bounds = Bounds::new(cx, self.timeout);
        let (mut flow, mut pauses, mut work) = (Flow::new(), pauses(retry), Some(work));
        loop {
            match flow.next() {
                Step::Admit => flow.admitted(self.admit()),
                Step::Acquire => flow.acquired(acquire(&mut bounds)),
                Step::Run { attempt } => {
                    let (admission, place, w) = flow.take(&mut work);
                    let (back, ended) = run(Leave { attempt, admission }, place, bounds.cx(), w);
                    work = back;
                    flow.finished(ended, || pauses.next().filter(|_| work.is_some()), bounds.cx().remaining());
                }
                Step::Spend => flow.spent(spend(retry)),
                Step::Sleep { failed, pause } => {
                    self.retrying(failed, pause);
                    flow.slept(bounds.cx().sleep(pause));
                }
                Step::Done => return call.end(flow.into_result()),
            }
        }
    }

    /// The same loop, awaiting in the three steps that wait.
    pub(super) async fn drive_async<W, P, T, E, Got, Ran>(
        &self,
        cx: Context,
        retry: Option<Retry>,
        work: W,
        acquire: impl Fn(&mut Bounds) -> Got,
        run: impl Fn(Leave, P, Context, W) -> Ran,
    ) -> Result<T, CallError<E>>
    where
        Got: Future<Output = Result<P, RejectReason>>,
        Ran: Future<Output = (Option<W>, Ended<T, E>)>,
    {
        let call = Call::begin(self);
        if let Err(why) = cx.check() {
            return call.end(Err(CallError::Rejected(why.into())));
        }
        let mut bounds = Bounds::new(&cx, self.timeout);
        let (mut flow, mut pauses, mut work) = (Flow::new(), pauses(retry.as_ref()), Some(work));
        loop {
            match flow.next() {
                Step::Admit => flow.admitted(self.admit()),
                Step::Acquire => flow.acquired(acquire(&mut bounds).await),
                Step::Run { attempt } => {
                    let (admission, place, w) = flow.take(&mut work);
                    let (back, ended) = run(Leave { attempt, admission }, place, bounds.cx().clone(), w).await;
                    work = back;
                    flow.finished(ended, || pauses.next().filter(|_| work.is_some()), bounds.cx().remaining());
                }
                Step::Spend => flow.spent(spend(retry.as_ref())),
                Step::Sleep { failed, pause } => {
                    self.retrying(failed, pause);
                    flow.slept(bounds.cx().sleep_async(pause).await);
                }
                Step::Done => return call.end(flow.into_result()),
            }
        }
    }

    fn admit(&self) -> Result<Option<Admitted>, RejectReason> {
        self.breaker.as_ref().map(|breaker| breaker.admit()).transpose()
    }

    fn retrying(&self, attempt: u32, pause: Duration) {
        self.observed.tell(Event::Retrying { name: &self.name, attempt, pause });
    }
}

/// The pauses of one call: none for work that runs once.
fn pauses(retry: Option<&Retry>) -> impl Iterator<Item = Duration> + use<> {
    retry.map(Retry::schedule).into_iter().flatten()
}

/// Pays for a retry.
fn spend(retry: Option<&Retry>) -> bool {
    retry.and_then(Retry::account).is_none_or(|account| account.try_withdraw())
}
