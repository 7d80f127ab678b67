//! Receiving from, and sending to, the channels of crossbeam-channel within a context.
//!
//! A thread that selects can be woken by a channel only, so whoever ends the context rings a [`Bell`]: a channel of its own
//! among those that are selected from. The end itself is judged where every other wait judges it, in `wait`.
//!
//! **Invariants.** 1. A value is taken out of a channel only by the operation that returns it. 2. Those of `wait`: the
//! channel is looked at before the end. **Locking.** None.

use super::super::Context;
use crate::clock::Clock;
use crate::error::Interrupted;
use crate::sync::channel::{Attempt, Receiver, Sender, bounded, receive, send, try_receive, try_send};
use crate::sync::{Mutex, Shared, Waiter};
use crate::wait::{Wait, Waiting};
use std::cell::Cell;
use std::fmt;
use std::task::{Poll, Wake, Waker};
use std::time::Instant;

/// Why nothing went through a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum ChannelError {
    /// The context ended first.
    #[error("wait for the channel ended")]
    Interrupted(#[from] Interrupted),
    /// The other side is gone. Nothing is left to receive, and nobody to send to.
    #[error("channel closed")]
    Closed,
}

/// A value that was not sent, with the value inside.
#[derive(thiserror::Error)]
#[error("value not sent")]
pub struct Unsent<T> {
    /// Why it was not.
    #[source]
    pub reason: ChannelError,
    // Nobody gets at it through `&self`; the mutex makes the error `Sync` whenever the value is `Send`.
    value: Mutex<T>,
}

impl<T> Unsent<T> {
    /// The value, to send again, elsewhere, or keep.
    pub fn into_value(self) -> T {
        self.value.into_inner()
    }
}

impl<T> fmt::Debug for Unsent<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unsent").field("reason", &self.reason).finish_non_exhaustive()
    }
}

/// For those who do not want the value back.
impl<T> From<Unsent<T>> for ChannelError {
    fn from(unsent: Unsent<T>) -> Self {
        unsent.reason
    }
}

/// Wakes a thread that selects. One ring that nobody has heard yet is as good as many.
struct Bell(Sender<()>);

impl Wake for Bell {
    fn wake(self: Shared<Self>) {
        let _ = self.0.try_send(());
    }
}

struct Receive<'a, T>(&'a Receiver<T>);

impl<T> Wait for Receive<'_, T> {
    type Output = Result<T, ChannelError>;

    fn poll_wait(&mut self, _: &Waiter) -> Poll<Self::Output> {
        settle_received(try_receive(self.0)).map_or(Poll::Pending, Poll::Ready)
    }

    fn give_up(&mut self) {}
}

fn settle_received<T>(attempt: Attempt<T, ()>) -> Option<Result<T, ChannelError>> {
    match attempt {
        Attempt::Done(value) => Some(Ok(value)),
        Attempt::Closed(()) => Some(Err(ChannelError::Closed)),
        Attempt::NotYet(()) => None,
    }
}

/// The value is in the cell unless it has been sent.
struct Send<'a, T> {
    to: &'a Sender<T>,
    value: &'a Cell<Option<T>>,
}

impl<T> Send<'_, T> {
    fn settle(&self, attempt: Attempt<(), T>) -> Option<Result<(), ChannelError>> {
        let (back, outcome) = match attempt {
            Attempt::Done(()) => (None, Some(Ok(()))),
            Attempt::Closed(value) => (Some(value), Some(Err(ChannelError::Closed))),
            Attempt::NotYet(value) => (Some(value), None),
        };
        self.value.set(back);
        outcome
    }

    fn with(&self, try_it: impl FnOnce(T) -> Attempt<(), T>) -> Option<Result<(), ChannelError>> {
        self.value.take().and_then(|value| self.settle(try_it(value)))
    }
}

impl<T> Wait for Send<'_, T> {
    type Output = Result<(), ChannelError>;

    fn poll_wait(&mut self, _: &Waiter) -> Poll<Self::Output> {
        self.with(|value| try_send(self.to, value)).map_or(Poll::Pending, Poll::Ready)
    }

    fn give_up(&mut self) {}
}

impl Context {
    /// Receives a value: one that is there, or the next, unless this context ends first.
    ///
    /// What is there is taken before the end is looked at, so a receiver whose context has ended still empties its
    /// channel, and no value is ever lost to the end. A loop over a channel that never runs dry asks [`check`](Self::check) too.
    ///
    /// # Blocking
    ///
    /// Blocks this thread until there is a value, the last sender is gone, or the context ends. It does not poll.
    ///
    /// # Errors
    ///
    /// [`ChannelError::Interrupted`]: the channel was empty when the context had ended. [`ChannelError::Closed`]: the
    /// channel is empty and every sender is gone.
    ///
    /// # Performance
    ///
    /// A value that is there costs little more than [`try_recv`](crossbeam_channel::Receiver::try_recv): no clock is read,
    /// nothing is allocated. A receive that blocks allocates, and registers with the token.
    ///
    /// # Examples
    ///
    /// ```
    /// use watertight::context::ChannelError;
    /// use watertight::{CancelCause, CancelToken, Context, Interrupted};
    ///
    /// let (orders, line) = crossbeam_channel::bounded(8);
    /// let stop = CancelToken::new();
    /// let cx = Context::background().with_token(&stop);
    /// let cook = std::thread::spawn(move || {
    ///     let mut cooked = 0;
    ///     loop {
    ///         match cx.recv(&line) {
    ///             Ok(order) => cooked += u32::from(order == "soup"),
    ///             Err(why) => return (cooked, why),
    ///         }
    ///     }
    /// });
    /// orders.send("soup")?;
    /// orders.send("soup")?;
    /// stop.cancel(); // what was ordered is cooked
    /// let requested = Interrupted::Cancelled(CancelCause::Requested);
    /// assert_eq!(cook.join().unwrap(), (2, ChannelError::Interrupted(requested)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn recv<T>(&self, from: &Receiver<T>) -> Result<T, ChannelError> {
        if let Some(settled) = settle_received(try_receive(from)) {
            return settled;
        }
        drive(self, Receive(from), |bell, until| settle_received(receive(from, bell, until)))?
    }

    /// Sends a value, now or when the channel has room for it, unless this context ends first.
    ///
    /// # Blocking
    ///
    /// Blocks this thread until there is room (in a channel without capacity: somebody who receives), the last receiver is
    /// gone, or the context ends. It does not poll.
    ///
    /// # Errors
    ///
    /// [`Unsent`], with the value: the channel was full when the context had ended, or every receiver is gone.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use watertight::Context;
    ///
    /// let (send, receive) = crossbeam_channel::bounded(1);
    /// let cx = Context::background().with_timeout(Duration::from_millis(1));
    /// cx.send(&send, "first")?;
    /// let unsent = cx.send(&send, "second").unwrap_err(); // nobody receives
    /// assert_eq!(unsent.into_value(), "second");
    /// assert_eq!(cx.recv(&receive)?, "first");
    /// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
    /// ```
    pub fn send<T>(&self, to: &Sender<T>, value: T) -> Result<(), Unsent<T>> {
        let value = Cell::new(Some(value));
        let sending = || Send { to, value: &value };
        let outcome = sending().with(|value| try_send(to, value)).unwrap_or_else(|| {
            let step = |bell: &Receiver<()>, until| sending().with(|value| send(to, value, bell, until));
            drive(self, sending(), step).unwrap_or_else(|why| Err(why.into()))
        });
        match (outcome, value.take()) {
            (Err(reason), Some(value)) => Err(Unsent { reason, value: Mutex::new(value) }),
            _ => Ok(()),
        }
    }
}

/// [`block_on`](crate::wait::block_on) for a thread that waits by `step`, which ends with an outcome, by a ring of the bell,
/// or at the instant.
pub(super) fn drive<W: Wait>(
    cx: &Context,
    wait: W,
    mut step: impl FnMut(&Receiver<()>, Option<Instant>) -> Option<W::Output>,
) -> Result<W::Output, Interrupted> {
    let (bell, rings) = bounded(1);
    let waiter = Waiter::task(&Waker::from(Shared::new(Bell(bell))));
    // By the system's clock the select itself ends at the deadline; another clock has to ring.
    let system = cx.clock().is(&Clock::system());
    let until = if system { cx.deadline().instant() } else { None };
    let mut waiting = Waiting::new(wait, cx);
    loop {
        if let Poll::Ready(outcome) = waiting.poll_with(&waiter, !system) {
            return outcome;
        }
        if let Some(output) = step(&rings, until) {
            waiting.finish();
            return Ok(output);
        }
    }
}
