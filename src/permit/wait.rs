//! Waiting for permits, for threads and for tasks. The invariants are those of `inner.rs`.

use super::{Limit, Permit};
use crate::clock::Clock;
use crate::context::{Context, ContextWait};
use crate::deadline::Deadline;
use crate::error::{Interrupted, RejectReason};
use crate::sync::Waiter;
use crate::wait::line::Place;
use crate::wait::{Until, Wait, Waiting};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{self, Poll};

/// The wait for so many permits of one part. What is granted is counted, and has no [`Permit`] yet.
pub(super) struct PermitWait {
    pub(super) limit: Limit,
    pub(super) part: usize,
    pub(super) n: u64,
    pub(super) place: Option<Place>,
}

impl Wait for PermitWait {
    type Output = Result<(), RejectReason>;

    fn poll_wait(&mut self, w: &Waiter) -> Poll<Self::Output> {
        let inner = &self.limit.0;
        match self.place {
            Some(place) => inner.look(self.part, self.n, place, w),
            None => match inner.ask(self.part, self.n, w) {
                Ok(Some(place)) => {
                    self.place = Some(place);
                    Poll::Pending
                }
                Ok(None) => Poll::Ready(Ok(())),
                Err(why) => Poll::Ready(Err(why)),
            },
        }
    }

    fn give_up(&mut self) {
        if let Some(place) = self.place.take() {
            self.limit.0.leave(self.part, self.n, place);
        }
    }
}

/// The end of a context, or of the limit's own patience.
pub(super) struct Patience<'a> {
    cx: &'a Context,
    until: Deadline,
}

impl<'a> Patience<'a> {
    pub(super) fn of(limit: &Limit, cx: &'a Context) -> Self {
        let until = limit.0.max_wait.map_or(Deadline::NEVER, |d| Deadline::after(cx.now(), d));
        Self { cx, until }
    }
}

impl Until for Patience<'_> {
    type Cancel = ContextWait;

    fn deadline(&self) -> Deadline {
        self.until.min(self.cx.deadline())
    }

    fn clock(&self) -> &Clock {
        self.cx.clock()
    }

    fn cancel(&self) -> ContextWait {
        self.cx.cancel()
    }
}

/// Why a wait ended early. Full still, if it was the limit's patience that ended.
pub(super) fn ended(limit: &Limit, cx: &Context, why: Interrupted) -> RejectReason {
    if limit.0.max_wait.is_some() && why == Interrupted::DeadlinePassed && cx.check().is_ok() {
        return limit.0.full(limit.0.seen());
    }
    why.into()
}

/// The future of [`Limit::acquire_async`] and the others of its kind.
///
/// # Panics
///
/// When polled after it was ready.
#[must_use = "futures do nothing unless polled"]
pub struct Acquire {
    part: usize,
    n: u64,
    cx: Context,
    state: State,
}

enum State {
    Fresh(Limit),
    Waiting(Waiting<PermitWait, ContextWait>, Limit),
    Done,
}

impl Acquire {
    pub(super) fn new(limit: &Limit, part: usize, n: u64, cx: &Context) -> Self {
        Self { part, n, cx: cx.clone(), state: State::Fresh(limit.clone()) }
    }

    fn begin(&mut self, limit: Limit, task: &mut task::Context<'_>) -> Poll<Result<Permit, RejectReason>> {
        if let Err(why) = self.cx.check() {
            return Poll::Ready(Err(why.into()));
        }
        if limit.0.try_fast(self.n).is_ok() {
            return Poll::Ready(Ok(Permit::new(limit, self.part, self.n)));
        }
        let waiting = Waiting::new(limit.turn(self.part, self.n), &Patience::of(&limit, &self.cx));
        self.go_on(waiting, limit, task)
    }

    fn go_on(
        &mut self,
        mut waiting: Waiting<PermitWait, ContextWait>,
        limit: Limit,
        task: &mut task::Context<'_>,
    ) -> Poll<Result<Permit, RejectReason>> {
        match Pin::new(&mut waiting).poll(task) {
            Poll::Pending => {
                self.state = State::Waiting(waiting, limit);
                Poll::Pending
            }
            Poll::Ready(Ok(decided)) => Poll::Ready(decided.map(|()| Permit::new(limit, self.part, self.n))),
            Poll::Ready(Err(why)) => Poll::Ready(Err(ended(&limit, &self.cx, why))),
        }
    }
}

impl Future for Acquire {
    type Output = Result<Permit, RejectReason>;

    fn poll(mut self: Pin<&mut Self>, task: &mut task::Context<'_>) -> Poll<Self::Output> {
        match std::mem::replace(&mut self.state, State::Done) {
            State::Fresh(limit) => self.begin(limit, task),
            State::Waiting(waiting, limit) => self.go_on(waiting, limit, task),
            State::Done => panic!("polled after it was ready"),
        }
    }
}

impl fmt::Debug for Acquire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Fresh(_) => "fresh",
            State::Waiting(..) => "waiting",
            State::Done => "done",
        };
        f.debug_struct("Acquire").field("permits", &self.n).field("state", &state).finish_non_exhaustive()
    }
}
