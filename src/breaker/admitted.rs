//! [`Admitted`]: leave to make one call.

use super::holder::Inner;
use super::machine::Ticket;
use crate::event::Class;
use crate::sync::{Arc, thread};
use crate::window::Seen;
use std::fmt;
use std::ops::Deref;
use std::time::{Duration, Instant};

/// Leave to make one call, from [`Breaker::admit`](super::Breaker::admit) or
/// [`Breaker::admit_here`](super::Breaker::admit_here); it wants to know how the call ended.
///
/// One from `admit` owns what it needs (`Admitted<'static>`), so it moves into jobs, callbacks and futures. Dropping it
/// without a word is [`ignore`](Self::ignore), but dropping it because the thread unwinds from a panic that began after
/// the admission is [`failure`](Self::failure).
#[must_use = "dropping an admission records neither success nor failure"]
pub struct Admitted<'a> {
    inner: Held<'a>,
    /// [`ENDED`] once it has been said how it ended.
    epoch: u64,
    /// A probe's number, or 0.
    probe: u64,
    /// When it was admitted, if calls are timed.
    begun: Option<Instant>,
    /// The thread was unwinding already when this was admitted: a cleanup's call, not the panicking one.
    unwinding: bool,
}

/// The breaker, counted or borrowed.
pub(super) enum Held<'a> {
    Counted(Arc<Inner>),
    Borrowed(&'a Inner),
}

impl Deref for Held<'_> {
    type Target = Inner;

    #[inline]
    fn deref(&self) -> &Inner {
        match self {
            Self::Counted(inner) => inner,
            Self::Borrowed(inner) => inner,
        }
    }
}

/// No epoch has as many bits.
const ENDED: u64 = u64::MAX;

impl<'a> Admitted<'a> {
    #[inline]
    pub(super) fn new(inner: Held<'a>, ticket: Ticket, begun: Option<Instant>) -> Self {
        let Ticket { epoch, probe } = ticket;
        Self { inner, epoch, probe, begun, unwinding: thread::panicking() }
    }

    /// The dependency did its part. An answer that the caller does not like (a 404) is a success too. Slow, if the breaker
    /// [times calls](super::Trip::slow_rate) and this one took too long.
    #[inline]
    pub fn success(mut self) {
        self.succeeded();
    }

    /// [`success`](Self::success), said where it is.
    #[inline]
    pub(super) fn succeeded(&mut self) {
        let epoch = std::mem::replace(&mut self.epoch, ENDED);
        succeeded(&self.inner, Ticket { epoch, probe: self.probe }, self.begun);
    }

    /// It did, but too slowly, whatever the clock says: see [`Class::Slow`].
    pub fn slow(mut self) {
        self.end(Some(Seen { failed: false, slow: true }));
    }

    /// The dependency failed: no answer, no answer in time, or an error of its own.
    pub fn failure(mut self) {
        self.failed();
    }

    pub(super) fn failed(&mut self) {
        self.end(Some(Seen { failed: true, slow: false }));
    }

    /// Says nothing about the dependency: the call was never made, or the caller gave it up. A probe's place is free
    /// again for the next caller.
    pub fn ignore(mut self) {
        self.end(None);
    }

    /// [`success`](Self::success) for `Ok`, [`failure`](Self::failure) for `Err`. If that is too simple:
    /// [`record_as`](Self::record_as).
    #[inline]
    pub fn record<T, E>(self, result: &Result<T, E>) {
        match result {
            Ok(_) => self.success(),
            Err(_) => self.failure(),
        }
    }

    /// What somebody who knows has made of the result.
    pub fn record_as(mut self, class: Class) {
        self.end(match class {
            Class::Success => return self.success(),
            Class::Slow => Some(Seen { failed: false, slow: true }),
            Class::Failure | Class::Final | Class::RetryAfter(_) => Some(Seen { failed: true, slow: false }),
            Class::Ignore => None,
        });
    }

    /// Whether this call is a probe of a half-open breaker.
    pub fn is_probe(&self) -> bool {
        self.probe != 0
    }

    /// How long this call should take at most, if it is a probe and they have a
    /// [time-out of their own](super::Recovery::probe_timeout). Nobody keeps to it but the caller.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use watertight::{Breaker, Context};
    ///
    /// # let breaker = Breaker::builder("search").build()?;
    /// let usual = Context::current().with_timeout(Duration::from_secs(2));
    /// let admitted = breaker.admit()?;
    /// let cx = admitted.timeout().map_or(usual.clone(), |d| usual.with_timeout(d));
    /// # assert!(cx.remaining().is_some());
    /// # admitted.success();
    /// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
    /// ```
    #[inline]
    pub fn timeout(&self) -> Option<Duration> {
        if self.probe == 0 { None } else { self.inner.probe_timeout() }
    }

    fn end(&mut self, seen: Option<Seen>) {
        let epoch = std::mem::replace(&mut self.epoch, ENDED);
        self.inner.end(Ticket { epoch, probe: self.probe }, seen, self.begun);
    }
}

/// An admission as plain values, for who stays where the breaker is and sees to the end of it by itself. Turned into an
/// [`Admitted`] it can be told everything.
#[derive(Clone, Copy)]
pub(crate) struct Entry<'a> {
    inner: &'a Inner,
    epoch: u64,
    probe: u64,
    begun: Option<Instant>,
    unwinding: bool,
}

impl<'a> Entry<'a> {
    #[inline]
    pub(super) fn new(inner: &'a Inner, ticket: Ticket, begun: Option<Instant>) -> Self {
        Self { inner, epoch: ticket.epoch, probe: ticket.probe, begun, unwinding: thread::panicking() }
    }

    #[inline]
    pub(crate) fn is_probe(&self) -> bool {
        self.probe != 0
    }

    /// [`Admitted::timeout`].
    #[inline]
    pub(crate) fn timeout(&self) -> Option<Duration> {
        if self.probe == 0 { None } else { self.inner.probe_timeout() }
    }

    pub(crate) fn admitted(&self) -> Admitted<'a> {
        let Self { inner, epoch, probe, begun, unwinding } = *self;
        Admitted { inner: Held::Borrowed(inner), epoch, probe, begun, unwinding }
    }

    /// [`Admitted::success`].
    #[inline]
    pub(crate) fn success(&self) {
        let ticket = Ticket { epoch: self.epoch, probe: self.probe };
        succeeded(self.inner, ticket, self.begun);
    }
}

/// A success, said where it is.
#[inline]
fn succeeded(inner: &Inner, ticket: Ticket, begun: Option<Instant>) {
    match begun {
        Some(begun) => inner.succeed_since(ticket, begun),
        None if ticket.probe == 0 && inner.front.is_clean(ticket.epoch) => {}
        None => inner.succeed(ticket),
    }
}

impl Drop for Admitted<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.epoch != ENDED {
            let panicked = thread::panicking() && !self.unwinding;
            self.end(panicked.then_some(Seen { failed: true, slow: false }));
        }
    }
}

impl fmt::Debug for Admitted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let probe = self.is_probe();
        f.debug_struct("Admitted").field("breaker", &self.inner.name).field("probe", &probe).finish_non_exhaustive()
    }
}
