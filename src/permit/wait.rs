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
    limit: Limit,
    part: usize,
    n: u64,
    cx: Context,
    state: State,
}

enum State {
    Fresh,
    Waiting(Waiting<PermitWait, ContextWait>),
    Done,
}

impl Acquire {
    pub(super) fn new(limit: &Limit, part: usize, n: u64, cx: &Context) -> Self {
        Self { limit: limit.clone(), part, n, cx: cx.clone(), state: State::Fresh }
    }

    fn begin(&mut self, task: &mut task::Context<'_>) -> Poll<Result<(), RejectReason>> {
        if let Err(why) = self.cx.check() {
            return Poll::Ready(Err(why.into()));
        }
        match self.limit.0.try_take(self.part, self.n) {
            Err(RejectReason::Full { .. }) => {}
            decided => return Poll::Ready(decided),
        }
        let turn = self.limit.turn(self.part, self.n);
        self.state = State::Waiting(Waiting::new(turn, &Patience::of(&self.limit, &self.cx)));
        self.go_on(task)
    }

    fn go_on(&mut self, task: &mut task::Context<'_>) -> Poll<Result<(), RejectReason>> {
        match &mut self.state {
            State::Fresh => self.begin(task),
            State::Waiting(waiting) => Pin::new(waiting)
                .poll(task)
                .map(|outcome| outcome.unwrap_or_else(|why| Err(ended(&self.limit, &self.cx, why)))),
            State::Done => panic!("polled after it was ready"),
        }
    }
}

impl Future for Acquire {
    type Output = Result<Permit, RejectReason>;

    fn poll(mut self: Pin<&mut Self>, task: &mut task::Context<'_>) -> Poll<Self::Output> {
        let decided = self.go_on(task);
        if decided.is_ready() {
            self.state = State::Done;
        }
        decided.map(|had| had.map(|()| Permit::new(&self.limit, self.part, self.n)))
    }
}

impl fmt::Debug for Acquire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Fresh => "fresh",
            State::Waiting(_) => "waiting",
            State::Done => "done",
        };
        f.debug_struct("Acquire").field("permits", &self.n).field("state", &state).finish_non_exhaustive()
    }
}
