//! The drivers of the flow: one that blocks and one that awaits. The same loop twice, because only one may `.await`;
//! what can be decided without waiting is in `flow.rs`, and what runs an attempt is in `run.rs`.
//!
//! **Invariants.** 1. Every call that begins is counted once at its end, also when its future is dropped. 2. A refusal
//! makes no context: until an attempt is about to wait or run, nothing is allocated. 3. A token paid for a retry that is
//! then not entered goes back to the budget; dropped while the attempt is under way it counts as used. 4. The call's context
//! lies in the memory of an earlier one, and gives it back unless somebody has kept it. **Locking.** None.

use super::Inner;
use super::attempt::Leave;
use super::classified::Judge;
use super::flow::{Ended, Flow, Step};
use super::state::add;
use crate::breaker::Breaker;
use crate::context::Context;
use crate::error::{CallError, RejectReason};
use crate::event::Event;
use crate::retry::{Paid, Retry};
use std::future::Future;
use std::time::Duration;

/// The call's context: bounded by the compartment's time-out and marked as inside it, when it is first needed.
pub(super) struct Bounds<'a> {
    inner: &'a Inner,
    outer: Context,
    bound: Option<Context>,
}

impl<'a> Bounds<'a> {
    pub(super) fn new(inner: &'a Inner, outer: &Context) -> Self {
        Self { inner, outer: outer.clone(), bound: None }
    }

    pub(super) fn outer(&self) -> &Context {
        &self.outer
    }

    pub(super) fn cx(&mut self) -> &Context {
        let Self { inner, outer, bound } = self;
        bound.get_or_insert_with(|| outer.within(&inner.inside, inner.timeout))
    }

    /// Tighter still, for an attempt that is a probe with a time-out of its own.
    pub(super) fn of_probe(&mut self, leave: &Leave) -> Option<Context> {
        leave.timeout().map(|d| self.cx().briefly(d))
    }
}

/// Whoever kept it has it; else its memory is the next call's (invariant 4).
impl Drop for Bounds<'_> {
    fn drop(&mut self) {
        if let Some(bound) = self.bound.take() {
            bound.recycle();
        }
    }
}

/// A call under way: counted at its end (invariant 1), and what it paid for a retry that was never made paid back.
pub(super) struct Call<'a> {
    inner: &'a Inner,
    /// An attempt has been entered and has ended.
    pub(super) entered: bool,
    /// An attempt is under way: who runs it counts it, if it is dropped there.
    running: bool,
    ended: bool,
    paid: Option<Paid>,
}

impl<'a> Call<'a> {
    pub(super) fn begin(inner: &'a Inner) -> Self {
        add(&inner.figures.requests);
        Self { inner, entered: false, running: false, ended: false, paid: None }
    }

    /// Pays for a retry. Not while the breaker is open: it would be refused.
    fn spend(&mut self, cx: &Context) -> bool {
        let open = self.inner.breaker.as_ref().is_some_and(|breaker| breaker.state().is_open());
        if open {
            return false;
        }
        let Some(retry) = self.inner.retry.as_ref() else { return true };
        self.paid = retry.pay(cx).ok();
        self.paid.is_some()
    }

    /// An attempt has ended: used is what was paid for it, if it was entered.
    fn ran<T, E>(&mut self, ended: &Ended<T, E>) {
        self.running = false;
        if !matches!(ended, Ended::Refused(_)) {
            self.entered = true;
            if let Some(paid) = self.paid.take() {
                paid.used();
            }
        }
    }

    pub(super) fn end<T, E>(mut self, result: Result<T, CallError<E>>) -> Result<T, CallError<E>> {
        self.ended = true;
        self.inner.conclude(&result);
        result
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        // Dropped while an attempt is under way, the token counts as used: it may have been entered.
        if let (Some(paid), true) = (self.paid.take(), self.running) {
            paid.used(); // and otherwise it goes back
        }
        if !self.ended && !self.running {
            self.inner.figures.left(self.entered); // its future was dropped
        }
    }
}

impl Inner {
    /// The blocking driver. `run` gets the work and gives it back if it may run again.
    pub(super) fn drive<W, P, T, E>(
        &self,
        cx: &Context,
        retry: Option<&Retry>,
        judge: &Judge<T, E>,
        work: W,
        acquire: impl Fn(&mut Bounds<'_>) -> Result<P, RejectReason>,
        run: impl Fn(u32, Leave, P, &Context, W) -> (Option<W>, Ended<T, E>),
    ) -> Result<T, CallError<E>> {
        let mut call = Call::begin(self);
        if let Err(why) = cx.check() {
            return call.end(Err(CallError::Rejected(why.into())));
        }
        let mut bounds = Bounds::new(self, cx);
        let (mut flow, mut pauses, mut work) = (Flow::new(), pauses(retry), Some(work));
        loop {
            match flow.next() {
                Step::Admit => flow.admitted(self.admit()),
                Step::Acquire => flow.acquired(acquire(&mut bounds)),
                Step::Run { attempt } => {
                    let (leave, place, w) = flow.take(&mut work);
                    let probe = bounds.of_probe(&leave);
                    let (back, ended) = run(attempt, leave, place, probe.as_ref().unwrap_or(bounds.cx()), w);
                    if let Some(probe) = probe {
                        probe.recycle();
                    }
                    call.ran(&ended);
                    work = back;
                    let next = || pauses.next().filter(|_| work.is_some());
                    flow.finished(ended, next, || retry_time(&mut bounds, retry));
                }
                Step::Spend => flow.spent(call.spend(bounds.cx())),
                Step::Sleep { failed, pause } => {
                    self.retrying(failed, pause);
                    flow.slept(bounds.cx().sleep(pause));
                }
                Step::Ask => flow.asked(self.known(judge)),
                Step::Done => return call.end(flow.into_result()),
            }
        }
    }

    /// The same loop, awaiting in the three steps that wait.
    pub(super) async fn drive_async<W, P, T, E, Got, Ran>(
        &self,
        cx: Context,
        retry: Option<&Retry>,
        judge: &Judge<T, E>,
        work: W,
        acquire: impl Fn(&mut Bounds<'_>) -> Got,
        run: impl Fn(u32, Leave, P, Context, W) -> Ran,
    ) -> Result<T, CallError<E>>
    where
        Got: Future<Output = Result<P, RejectReason>>,
        Ran: Future<Output = (Option<W>, Ended<T, E>)>,
    {
        let mut call = Call::begin(self);
        if let Err(why) = cx.check() {
            return call.end(Err(CallError::Rejected(why.into())));
        }
        let mut bounds = Bounds::new(self, &cx);
        let (mut flow, mut pauses, mut work) = (Flow::new(), pauses(retry), Some(work));
        loop {
            match flow.next() {
                Step::Admit => flow.admitted(self.admit()),
                Step::Acquire => flow.acquired(acquire(&mut bounds).await),
                Step::Run { attempt } => {
                    let (leave, place, w) = flow.take(&mut work);
                    call.running = true;
                    let cx = bounds.of_probe(&leave).unwrap_or_else(|| bounds.cx().clone());
                    let (back, ended) = run(attempt, leave, place, cx, w).await;
                    call.ran(&ended);
                    work = back;
                    let next = || pauses.next().filter(|_| work.is_some());
                    flow.finished(ended, next, || retry_time(&mut bounds, retry));
                }
                Step::Spend => flow.spent(call.spend(bounds.cx())),
                Step::Sleep { failed, pause } => {
                    self.retrying(failed, pause);
                    flow.slept(bounds.cx().sleep_async(pause).await);
                }
                Step::Ask => flow.asked(self.known(judge)),
                Step::Done => return call.end(flow.into_result()),
            }
        }
    }

    /// Counts how a call ended, and tells of a refusal.
    pub(super) fn conclude<T, E>(&self, result: &Result<T, CallError<E>>) {
        self.figures.ended(result);
        if let Err(CallError::Rejected(reason)) = result {
            self.observed.tell(Event::Rejected { name: &self.name, reason: *reason });
        }
    }

    pub(super) fn admit(&self) -> Result<Leave, RejectReason> {
        Ok(Leave::new(self.breaker.as_ref().map(Breaker::admit).transpose()?))
    }

    /// What is known of a call that would be tried again.
    fn known<T, E>(&self, judge: &Judge<T, E>) -> Option<T> {
        let known = judge.keyed.known()?;
        add(&self.figures.deduplicated);
        Some(known)
    }

    fn retrying(&self, attempt: u32, pause: Duration) {
        self.observed.tell(Event::Retrying { name: &self.name, attempt, pause });
    }
}

/// The time for a pause: what is left to the deadline, less what another attempt is expected to take.
fn retry_time(bounds: &mut Bounds<'_>, retry: Option<&Retry>) -> Option<Duration> {
    let expected = retry.map_or(Duration::ZERO, Retry::expected);
    bounds.cx().remaining().map(|left| left.saturating_sub(expected))
}

/// The pauses of one call: none for work that runs once.
fn pauses(retry: Option<&Retry>) -> impl Iterator<Item = Duration> + use<> {
    retry.map(Retry::schedule).into_iter().flatten()
}
