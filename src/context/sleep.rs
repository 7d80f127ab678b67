//! Sleeping within a context, for threads and for tasks.

use super::{Context, ContextWait};
use crate::clock::Clock;
use crate::deadline::Deadline;
use crate::error::Interrupted;
use crate::wait::{Nothing, Until, Waiting};
use std::future::Future;
use std::pin::Pin;
use std::task::{self, Poll};

/// A sleep is a wait for nothing that ends at the sooner of two deadlines.
pub(super) struct Alarm<'a> {
    pub(super) cx: &'a Context,
    pub(super) at: Deadline,
}

impl Alarm<'_> {
    pub(super) fn woken(&self, why: Interrupted) -> Result<(), Interrupted> {
        if why == Interrupted::DeadlinePassed && self.at <= self.cx.deadline() { Ok(()) } else { Err(why) }
    }
}

impl Until for Alarm<'_> {
    type Cancel = ContextWait;

    fn deadline(&self) -> Deadline {
        self.at.min(self.cx.deadline())
    }

    fn clock(&self) -> &Clock {
        self.cx.clock()
    }

    fn cancel(&self) -> ContextWait {
        self.cx.cancel()
    }
}

/// The future of [`Context::sleep_async`].
///
/// # Panics
///
/// When polled after it was ready.
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct Sleep {
    pub(super) cx: Context,
    pub(super) at: Deadline,
    pub(super) waiting: Waiting<Nothing<()>, ContextWait>,
}

impl Future for Sleep {
    type Output = Result<(), Interrupted>;

    fn poll(mut self: Pin<&mut Self>, task: &mut task::Context<'_>) -> Poll<Self::Output> {
        let ended = Pin::new(&mut self.waiting).poll(task);
        ended.map(|ended| ended.or_else(|why| Alarm { cx: &self.cx, at: self.at }.woken(why)))
    }
}
