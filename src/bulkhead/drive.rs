//! The drivers of a call: one that blocks and one that awaits. The same twice, because only one may `.await`; what comes after
//! an attempt is decided in `flow.rs`, and what runs one is in `run.rs`. Most calls end with their first attempt: for them the
//! flow is not even asked.
//!
//! **Invariants.** 1. Every call that begins is counted once at its end, also when its future is dropped. 2. A refusal
//! makes no context: until an attempt is about to wait or run, nothing is allocated. 3. A token paid for a retry that is
//! then not entered goes back to the budget; dropped while the attempt is under way it counts as used. 4. The call's context
//! lies in the memory of an earlier one, and gives it back unless somebody has kept it. **Locking.** None.

use super::Inner;
use super::attempt::{Leave, LeaveHere, Leaves};
use super::classified::Judges;
use super::flow::{Ended, Flow, Step};
use super::run::Ran;
use super::state::Figure;
use crate::breaker::Breaker;
use crate::context::{Brief, Context};
use crate::error::{CallError, Interrupted, RejectReason};
use crate::event::Event;
use crate::retry::{Paid, Retry, Schedule};
use std::future::Future;
use std::time::Duration;

/// The call's context: bounded by the compartment's time-out and marked as inside it, when it is first needed.
pub(super) struct Bounds<'a> {
    inner: &'a Inner,
    outer: &'a Context,
    /// That of an attempt that is a probe. It goes before the call's own, below which it is.
    probe: Option<Brief>,
    bound: Option<Brief>,
}

impl<'a> Bounds<'a> {
    #[inline]
    pub(super) fn new(inner: &'a Inner, outer: &'a Context) -> Self {
        Self { inner, outer, bound: None, probe: None }
    }

    pub(super) fn outer(&self) -> &Context {
        self.outer
    }

    pub(super) fn cx(&mut self) -> &Context {
        let Self { inner, outer, bound, .. } = self;
        bound.get_or_insert_with(|| outer.within(&inner.inside, inner.timeout))
    }

    /// The context of the attempt that is about to be entered, a tighter one for a probe with a time-out of its own; unless
    /// it has ended: nothing is entered after that. One that is made now, because nobody has waited yet, is judged by the
    /// time at which it was made.
    #[inline]
    pub(super) fn entering(&mut self, leave: &impl Leaves) -> Result<&mut Brief, Interrupted> {
        let Self { inner, outer, bound, probe } = self;
        if let Some(bound) = bound {
            bound.check()?;
        } else {
            *bound = Some(outer.entering(&inner.inside, inner.timeout)?);
        }
        let Some(bound) = bound else { unreachable!("it was there or has been made") };
        match leave.timeout() {
            None => Ok(bound),
            Some(d) => Ok(probe.insert(bound.briefly(d))),
        }
    }

    /// The same for who goes on without the call; unchecked.
    pub(super) fn into_attempt(mut self, leave: &impl Leaves) -> Brief {
        let probe = leave.timeout().map(|d| self.cx().briefly(d));
        let Self { inner, outer, bound, .. } = self;
        probe.or(bound).unwrap_or_else(|| outer.within(&inner.inside, inner.timeout))
    }
}

/// How a form of call gets the breaker's leave, how its place and permit, and how it runs an attempt.
pub(super) struct Way<A, B, R> {
    pub(super) admit: A,
    pub(super) acquire: B,
    pub(super) run: R,
}

/// How a form of call that is awaited makes an attempt: leave, a place, a run.
pub(super) trait Form<W, T, E> {
    fn attempt(&self, under: &mut Under<'_, '_, W>, number: u32) -> impl Future<Output = Ended<T, E>>;
}

/// Where an attempt is under way, if there is one.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Where {
    Nowhere,
    /// In the call's own future.
    Here,
    /// Elsewhere: who waits for it counts it, if it is dropped there.
    Elsewhere,
}

/// A call under way: counted at its end (invariant 1), and what it paid for a retry that was never made paid back.
pub(super) struct Call<'a> {
    inner: &'a Inner,
    /// An attempt has been entered and has ended.
    pub(super) entered: bool,
    /// An attempt is under way.
    running: Where,
    ended: bool,
    paid: Option<Paid>,
}

impl<'a> Call<'a> {
    #[inline]
    pub(super) fn begin(inner: &'a Inner) -> Self {
        inner.figures.add(Figure::Requests);
        Self { inner, entered: false, running: Where::Nowhere, ended: false, paid: None }
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
    #[inline]
    fn ran<T, E>(&mut self, ended: &Ended<T, E>) {
        self.running = Where::Nowhere;
        if !matches!(ended, Ended::Refused(_)) {
            self.entered = true;
            if let Some(paid) = self.paid.take() {
                paid.used();
            }
        }
    }

    #[inline(always)]
    pub(super) fn end<T, E>(&mut self, result: Result<T, CallError<E>>) -> Result<T, CallError<E>> {
        self.ended = true;
        self.inner.conclude(&result);
        result
    }
}

impl Drop for Call<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.ended && self.paid.is_none() {
            return;
        }
        // Dropped while an attempt is under way, the token counts as used: it may have been entered.
        if let (Some(paid), Where::Here | Where::Elsewhere) = (self.paid.take(), self.running) {
            paid.used(); // and otherwise it goes back
        }
        if !self.ended && self.running != Where::Elsewhere {
            self.inner.figures.left(self.entered || self.running == Where::Here); // its future was dropped
        }
    }
}

/// What the two drivers of one call have in hand.
pub(super) struct Under<'a, 'r, W> {
    pub(super) call: Call<'a>,
    pub(super) bounds: Bounds<'a>,
    retry: Option<&'r Retry>,
    pauses: Option<Schedule>,
    work: Option<W>,
}

impl<'a, 'r, W> Under<'a, 'r, W> {
    #[inline]
    fn begin(inner: &'a Inner, cx: &'a Context, retry: Option<&'r Retry>, work: W) -> Self {
        Self { call: Call::begin(inner), bounds: Bounds::new(inner, cx), retry, pauses: None, work: Some(work) }
    }

    /// Tells the flow how an attempt has ended. There is a pause only for work that has come back; its schedule is made when
    /// it is first asked for. The time for it is what is left to the deadline, less what another attempt is expected to take.
    fn tell<T, E>(&mut self, flow: &mut Flow<T, E>, ended: Ended<T, E>) {
        let Self { bounds, retry, pauses, work, .. } = self;
        let pause = || {
            let retry = retry.filter(|_| work.is_some())?;
            pauses.get_or_insert_with(|| retry.schedule()).next()
        };
        let left = || {
            let expected = retry.map_or(Duration::ZERO, Retry::expected);
            bounds.cx().remaining().map(|left| left.saturating_sub(expected))
        };
        flow.finished(ended, pause, left);
    }

    fn spend(&mut self) -> bool {
        self.call.spend(self.bounds.cx())
    }

    /// The context and the work, for an attempt that from now on is under way, unless the context has ended.
    #[inline(always)]
    pub(super) fn enters(&mut self, leave: &impl Leaves, running: Where) -> Result<(&mut Brief, W), Interrupted> {
        let cx = self.bounds.entering(leave)?;
        let Some(work) = self.work.take() else { unreachable!("an attempt is made only with the work") };
        self.call.running = running;
        Ok((cx, work))
    }

    /// The attempt has ended, and this is the work, if it may run again.
    #[inline(always)]
    pub(super) fn ran<T, E>(&mut self, (back, ended): Ran<W, T, E>) -> Ended<T, E> {
        self.work = back;
        self.call.ran(&ended);
        ended
    }

    /// Whether an attempt that has ended so is not the last.
    #[inline]
    fn goes_on<T, E>(&self, ended: &Ended<T, E>) -> bool {
        self.retry.is_some() && self.work.is_some() && ended.again().is_some()
    }

    /// One attempt, blocking: leave, a place, a run. The breaker has been told before the place is free.
    #[inline(always)]
    fn attempt<T, E, L, P, A, B, R>(&mut self, number: u32, way: &Way<A, B, R>) -> Ended<T, E>
    where
        A: Fn() -> Result<L, RejectReason>,
        L: Leaves,
        B: Fn(&mut Bounds<'_>) -> Result<P, RejectReason>,
        R: Fn(u32, L, P, &mut Brief, W) -> Ran<W, T, E>,
    {
        let leave = match (way.admit)() {
            Ok(leave) => leave,
            Err(reason) => return Ended::Refused(reason),
        };
        let running = match (way.acquire)(&mut self.bounds) {
            Ok(running) => running,
            Err(reason) => return Ended::Refused(reason),
        };
        let (cx, work) = match self.enters(&leave, Where::Here) {
            Ok(both) => both,
            Err(why) => return Ended::Refused(why.into()),
        };
        let ran = (way.run)(number, leave, running, cx, work);
        self.ran(ran)
    }
}

impl Inner {
    /// The blocking driver. `run` gets the work and gives it back if it may run again.
    #[inline]
    pub(super) fn drive<W, T, E, L, P, A, B, R>(
        &self,
        cx: &Context,
        retry: Option<&Retry>,
        judge: &impl Judges<T, E>,
        work: W,
        way: Way<A, B, R>,
    ) -> Result<T, CallError<E>>
    where
        A: Fn() -> Result<L, RejectReason>,
        L: Leaves,
        B: Fn(&mut Bounds<'_>) -> Result<P, RejectReason>,
        R: Fn(u32, L, P, &mut Brief, W) -> Ran<W, T, E>,
    {
        let mut under = Under::begin(self, cx, retry, work);
        if let Err(why) = cx.check() {
            return under.call.end(Err(CallError::Rejected(why.into())));
        }
        let ended = under.attempt(1, &way);
        if under.goes_on(&ended) {
            return self.drive_on(under, ended, judge, &way);
        }
        under.call.end(ended.into_result())
    }

    /// What comes after a first attempt that is not to be the last.
    #[cold]
    #[inline(never)]
    fn drive_on<W, T, E, L, P, A, B, R>(
        &self,
        mut under: Under<'_, '_, W>,
        first: Ended<T, E>,
        judge: &impl Judges<T, E>,
        way: &Way<A, B, R>,
    ) -> Result<T, CallError<E>>
    where
        A: Fn() -> Result<L, RejectReason>,
        L: Leaves,
        B: Fn(&mut Bounds<'_>) -> Result<P, RejectReason>,
        R: Fn(u32, L, P, &mut Brief, W) -> Ran<W, T, E>,
    {
        let mut flow = Flow::new();
        under.tell(&mut flow, first);
        loop {
            match flow.next() {
                Step::Attempt { number } => {
                    let ended = under.attempt(number, way);
                    under.tell(&mut flow, ended);
                }
                Step::Spend => flow.spent(under.spend()),
                Step::Sleep { failed, pause } => {
                    self.retrying(failed, pause);
                    flow.slept(under.bounds.cx().sleep(pause));
                }
                Step::Ask => flow.asked(self.known(judge)),
                Step::Done => return under.call.end(flow.into_result()),
            }
        }
    }

    /// The driver that awaits.
    #[inline]
    pub(super) async fn drive_async<W, T, E>(
        &self,
        cx: &Context,
        retry: Option<&Retry>,
        judge: &impl Judges<T, E>,
        work: W,
        form: impl Form<W, T, E>,
    ) -> Result<T, CallError<E>> {
        let mut under = Under::begin(self, cx, retry, work);
        if let Err(why) = cx.check() {
            return under.call.end(Err(CallError::Rejected(why.into())));
        }
        let ended = form.attempt(&mut under, 1).await;
        if !under.goes_on(&ended) {
            return under.call.end(ended.into_result());
        }
        // What comes after a first attempt that is not to be the last.
        let mut flow = Flow::new();
        under.tell(&mut flow, ended);
        loop {
            match flow.next() {
                Step::Attempt { number } => {
                    let ended = form.attempt(&mut under, number).await;
                    under.tell(&mut flow, ended);
                }
                Step::Spend => flow.spent(under.spend()),
                Step::Sleep { failed, pause } => {
                    self.retrying(failed, pause);
                    flow.slept(under.bounds.cx().sleep_async(pause).await);
                }
                Step::Ask => flow.asked(self.known(judge)),
                Step::Done => return under.call.end(flow.into_result()),
            }
        }
    }

    /// Counts how a call ended, and tells of a refusal.
    #[inline(always)]
    pub(super) fn conclude<T, E>(&self, result: &Result<T, CallError<E>>) {
        self.figures.ended(result);
        if let Err(CallError::Rejected(reason)) = result {
            self.tell_of_refusal(*reason);
        }
    }

    #[cold]
    fn tell_of_refusal(&self, reason: RejectReason) {
        self.observed.tell(Event::Rejected { name: &self.name, reason });
    }

    /// The breaker's leave, to go anywhere.
    pub(super) fn admit(&self) -> Result<Leave, RejectReason> {
        Ok(Leave::new(self.breaker.as_ref().map(Breaker::admit).transpose()?))
    }

    /// The same for an attempt that stays with its call.
    #[inline]
    pub(super) fn admit_here(&self) -> Result<LeaveHere<'_>, RejectReason> {
        Ok(LeaveHere::new(match &self.breaker {
            Some(breaker) => Some(breaker.enter()?),
            None => None,
        }))
    }

    /// What is known of a call that would be tried again.
    fn known<T, E>(&self, judge: &impl Judges<T, E>) -> Option<T> {
        let known = judge.known()?;
        self.figures.add(Figure::Deduplicated);
        Some(known)
    }

    fn retrying(&self, attempt: u32, pause: Duration) {
        self.observed.tell(Event::Retrying { name: &self.name, attempt, pause });
    }
}
