//! [`CancelToken`] to and from tokio-util's [`CancellationToken`]. Feature `tokio-util`.
//!
//! A pair of tokens is joined by one callback on ours. It holds tokio's token, so that ours can cancel it, and a
//! [`Driver`] of tokio's future, whose waker cancels ours. tokio's token owns nothing of ours.
//!
//! **Invariants.** 1. Nothing that tokio's side reaches holds our token: the waker has it [weakly](Weak). So when nobody
//! holds ours any more, and nothing below it, the callback is dropped, and with it the future, its waker and the hold on
//! tokio's token. 2. The pairs are known by the address of our node, from when both sides are joined until the callback
//! is taken or dropped; the entry keeps the node, so that no other gets its address. 3. A cancelled token has no pair.
//!
//! **Locking.** The one lock guards the map of pairs. Under it tokio's token is cloned and ours looked at, and nothing is
//! cancelled, polled or dropped.

use super::drive::Driver;
use crate::cancel::{CancelToken, Registration, Weak};
use crate::error::CancelCause;
use crate::sync::{Mutex, quietly, thread_local, unique};
use ::tokio_util::sync::CancellationToken;
use std::cell::RefCell;
use std::collections::BTreeMap;

#[cfg(test)]
mod tests;

/// tokio's token of each of ours that has one, and a number that tells the pair from others that were tried.
static PAIRS: Mutex<BTreeMap<usize, (u64, CancellationToken)>> = Mutex::new(BTreeMap::new());

/// Bridges to `tokio_util::sync::CancellationToken`. Feature `tokio-util`. They need no runtime, no task and no thread.
impl CancelToken {
    /// A token of ours for tokio-util's: *either side cancels the other*.
    ///
    /// When tokio's `cancel()` has cancelled `tokio`, or a parent of it, and returns, this token is cancelled and its
    /// callbacks have run, on that thread; and the other way round, [`to_tokio`](Self::to_tokio) says how. tokio's tokens
    /// have no causes: cancelled from that side, this one says [`Requested`](CancelCause::Requested).
    ///
    /// It holds `tokio` as a clone would, for as long as somebody holds this token or one below it, and then gives
    /// everything back. So make one per request of a service's token as you like.
    ///
    /// # Examples
    ///
    /// ```
    /// use tokio_util::sync::CancellationToken;
    /// use watertight::{CancelToken, Context};
    ///
    /// let shutdown = CancellationToken::new(); // of an application that uses tokio's
    /// let cx = Context::background().with_token(&CancelToken::from_tokio(&shutdown.child_token()));
    /// assert!(cx.check().is_ok());
    /// shutdown.cancel();
    /// assert!(cx.check().is_err());
    /// ```
    #[must_use]
    pub fn from_tokio(tokio: &CancellationToken) -> Self {
        let token = Self::new();
        if let Some(ours) = token.weak() {
            let pair = Pair::new(ours);
            let (address, number) = pair.key();
            let registration = pair.join(&token, tokio);
            let mut pairs = PAIRS.lock();
            if !token.is_cancelled() {
                pairs.insert(address, (number, tokio.clone()));
            }
            drop(pairs);
            registration.keep();
        }
        token
    }

    /// tokio-util's token for this one: *either side cancels the other*.
    ///
    /// When [`cancel`](Self::cancel) has cancelled this token, or a parent of it, and returns, tokio's is cancelled and
    /// who waits for it is woken; and the other way round, for the cause [`Requested`](CancelCause::Requested).
    ///
    /// There is one exception: within 32 cancellations of tokio's tokens, each in a callback or waker of the one before, on
    /// one thread (a long row of bridges below bridges), the next take turns. A `cancel` of ours that is called in there
    /// cancels ours and returns before tokio's is cancelled; the outermost one returns when all are.
    ///
    /// Every call gives a clone of the same token, for as long as this one is not cancelled; of a token made by
    /// [`from_tokio`](Self::from_tokio) that is the one it was made from. A token that is [never](Self::never) cancelled
    /// gives one that does nothing to it.
    ///
    /// The two are joined for as long as somebody holds this token or one below it; tokio's alone does not keep it, and
    /// is then a token like any other that nobody here cancels. tokio's tokens tell nobody when they are dropped, so what
    /// joins the two stays until then: one pair per token, however often this is called.
    ///
    /// # Examples
    ///
    /// ```
    /// use watertight::Context;
    ///
    /// let cx = Context::background().with_token(&watertight::CancelToken::new());
    /// let theirs = cx.token().to_tokio(); // for a library that takes tokio's
    /// theirs.cancel();
    /// assert!(cx.check().is_err());
    /// ```
    ///
    /// The deadline of a context cancels its token when somebody notices that it has passed. Whoever waits for tokio's
    /// alone does not: hold [`Context::on_end`](crate::Context::on_end), which does.
    ///
    /// ```
    /// use std::time::Duration;
    /// use watertight::{Context, ManualClock};
    ///
    /// let time = ManualClock::new();
    /// let cx = Context::background().with_clock(&time.clock()).with_timeout(Duration::from_secs(1));
    /// let theirs = cx.token().to_tokio();
    /// let _notices = cx.on_end(|_| {})?;
    /// time.advance(Duration::from_secs(1));
    /// assert!(theirs.is_cancelled());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn to_tokio(&self) -> CancellationToken {
        let Some(ours) = self.weak() else { return CancellationToken::new() };
        let paired = PAIRS.lock().get(&ours.address()).map(|(_, tokio)| tokio.clone());
        let tokio = paired.unwrap_or_else(|| self.pair_up(ours));
        if self.is_cancelled() {
            tokio.cancel(); // whoever cancels us may not have come to that yet
        }
        tokio
    }

    /// Makes tokio's token for this one, or takes what somebody else has made meanwhile.
    fn pair_up(&self, ours: Weak) -> CancellationToken {
        let tokio = CancellationToken::new();
        if self.is_cancelled() {
            return tokio; // and cancelled by whoever asked
        }
        let pair = Pair::new(ours);
        let (address, number) = pair.key();
        // Joined before anybody else can be given it.
        let registration = pair.join(self, &tokio);
        let mut pairs = PAIRS.lock();
        if let Some((_, first)) = pairs.get(&address) {
            let first = first.clone();
            drop(pairs);
            drop(registration);
            return first;
        }
        // The callback takes the entry out after the token is cancelled: what is seen live here is taken out later.
        if !self.is_cancelled() {
            pairs.insert(address, (number, tokio.clone()));
        }
        drop(pairs);
        registration.keep();
        tokio
    }
}

/// Takes a pair's entry out of the map when it is dropped.
struct Pair {
    ours: Weak,
    number: u64,
}

impl Pair {
    fn new(ours: Weak) -> Self {
        Self { ours, number: unique() }
    }

    fn key(&self) -> (usize, u64) {
        (self.ours.address(), self.number)
    }

    /// From now on either token cancels the other, until the registration is dropped.
    fn join(self, token: &CancelToken, tokio: &CancellationToken) -> Registration {
        let ours = token.weak();
        let heard = Driver::start(tokio.clone().cancelled_owned(), move || {
            if let Some(ours) = &ours {
                ours.cancel_because(CancelCause::Requested);
            }
        });
        let tokio = tokio.clone();
        token.on_cancel(move |_| {
            drop(heard); // it would only tell us what we know
            drop(self);
            Turns::cancel(tokio);
        })
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        let (address, number) = self.key();
        let mut pairs = PAIRS.lock();
        let mine = pairs.get(&address).is_some_and(|(there, _)| *there == number);
        let gone = if mine { pairs.remove(&address) } else { None };
        drop(pairs);
        drop(gone);
    }
}

/// How many tokens of tokio's may be cancelled within each other on one thread: each within the other's wakers.
const DEEPEST: usize = 32;

/// The cancellations of tokio's tokens that are under way on this thread. A row of bridges below bridges is as deep as
/// the user makes it, and the stack is not: beyond some depth they take turns, and whoever began does them all before it
/// returns.
#[derive(Default)]
struct Turns {
    depth: usize,
    later: Vec<CancellationToken>,
}

thread_local! {
    #[allow(clippy::missing_const_for_thread_local, reason = "the same as in the rooms that loom sees")]
    static TURNS: RefCell<Turns> = RefCell::new(Turns::default());
}

impl Turns {
    fn cancel(tokio: CancellationToken) {
        let mut next = Some(tokio);
        // A thread that is going away has no turns to take: it cancels.
        let gone = TURNS.try_with(|turns| turns.borrow_mut().begin(&mut next)).is_err();
        while let Some(tokio) = next {
            quietly(|| tokio.cancel());
            drop(tokio);
            next = if gone { None } else { TURNS.try_with(|turns| turns.borrow_mut().next()).ok().flatten() };
        }
    }

    /// Leaves what may be cancelled now, and takes what is to wait.
    fn begin(&mut self, tokio: &mut Option<CancellationToken>) {
        if self.depth < DEEPEST {
            self.depth += 1;
        } else {
            self.later.extend(tokio.take());
        }
    }

    /// One is done.
    fn next(&mut self) -> Option<CancellationToken> {
        let next = if self.depth == 1 { self.later.pop() } else { None };
        self.depth -= usize::from(next.is_none());
        next
    }
}
