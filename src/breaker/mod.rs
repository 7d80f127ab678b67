//! [`Breaker`]: stops calling a dependency that fails, and finds out by bounded probes when it is well again.
//!
//! The decisions are in `machine.rs` (pure; the states and their invariants are there), with the rules in `trip.rs` and
//! `recovery.rs`, what they count in `tally.rs` and the probes in `probes.rs`. `front.rs` answers the common case before
//! the machine; `holder.rs` holds the machine behind a lock and tells the observer. This file is the face.
//!
//! **Invariants.** 1. Every decision is one critical section, in which the front counts nothing: look, decide and write
//! happen under one hold of the lock. 2. Every change of state is told exactly once and in the order in which they happened: it is
//! queued in the section that made it, and only one thread tells at a time (`telling`); who finds another at it leaves its
//! change to that one. 3. An [`Admitted`] records once: by a verb, or by being dropped.
//!
//! **Locking.** One lock per breaker. The clock may be read under it (so that time never runs backwards inside the
//! machine; a manual clock has a lock of its own and takes no other). No user code runs under it: the observer is told,
//! and a rule of the user's own asked, after it is let go, and both may call the breaker.

mod admitted;
mod builder;
mod front;
mod holder;
mod machine;
mod own;
pub mod preset;
mod probes;
mod recovery;
mod snapshot;
mod tally;
mod trip;

#[cfg(all(test, watertight_loom, not(watertight_shuttle)))]
mod front_loom_tests;
#[cfg(all(test, watertight_loom, not(watertight_shuttle)))]
mod loom_tests;
#[cfg(all(test, not(watertight_loom)))]
mod tests;

pub use crate::event::{BreakerCause, BreakerState, Class, Counts};
pub use admitted::Admitted;
pub(crate) use admitted::Entry;
pub use builder::BreakerBuilder;
pub use recovery::Recovery;
pub use snapshot::BreakerSnapshot;
pub use trip::Trip;

use crate::error::{BuildError, CallError, RejectReason};
use crate::sync::Arc;
use admitted::Held;
use holder::Inner;
use std::borrow::Cow;
use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};

/// A circuit breaker: one dependency's memory of how its calls ended, and the decision whether to make the next.
///
/// A cheap handle: clones share the one breaker. Nothing here waits. [`admit`] hands out an [`Admitted`], which is told
/// how the call ended; [`call`](Self::call) does both around a closure. There is a [page](crate::docs::breaker) on when to
/// use it and how to set it.
///
/// | State | Calls | Leaves it |
/// |---|---|---|
/// | [closed](BreakerState::Closed) | pass and are counted | the [`Trip`] rule says so: open |
/// | [open](BreakerState::Open) | are refused | the interval of [`Recovery`] is over and anybody looks: half-open |
/// | [half-open](BreakerState::HalfOpen) | the [probes](Recovery::probes) pass, the rest is refused | enough of them succeed: closed; too few can: open |
/// | [forced open](BreakerState::ForcedOpen) | are refused | only by hand |
/// | [forced closed](BreakerState::ForcedClosed) | pass, and nothing is counted | only by hand |
/// | [metrics only](BreakerState::MetricsOnly) | pass and are counted, and nothing opens it | only by hand |
///
/// What makes it exact under concurrency:
///
/// - A result belongs to the state its call was admitted in. A call that began before the breaker opened and ends after
///   it changes nothing any more: neither closes it nor opens it again.
/// - Never more probes than were asked for are out, however many callers race for them; a probe that was ignored gives
///   its place back, and one that does not come back loses it, when its lease is over, to whoever asks next.
/// - Every change of state is told to the observer exactly once and in order, with its cause and the figures.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use watertight::breaker::BreakerState;
/// use watertight::{Breaker, ManualClock, Recovery, Trip};
///
/// let time = ManualClock::new();
/// let breaker = Breaker::builder("payments")
///     .trip(Trip::consecutive(2))
///     .recovery(Recovery::after(Duration::from_secs(5)))
///     .clock(&time.clock())
///     .build()?;
///
/// fn charge() -> Result<u32, &'static str> { Err("no answer") }
/// for _ in 0..2 {
///     let admitted = breaker.admit()?;
///     admitted.record(&charge());
/// }
/// // Nobody calls it for the next five seconds.
/// assert_eq!(breaker.admit().unwrap_err().retry_after(), Some(Duration::from_secs(5)));
///
/// time.advance(Duration::from_secs(5));
/// assert_eq!(breaker.state(), BreakerState::HalfOpen);
/// breaker.admit()?.success(); // the probe
/// assert_eq!(breaker.state(), BreakerState::Closed);
/// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
/// ```
///
/// # Performance
///
/// A healthy call writes nothing that others read: with consecutive failures, or a count window that is full of successes,
/// [`admit_here`](Self::admit_here) and a success are a load each, without lock, store or clock. With a failure in the count
/// window a success is one exchange besides, of a word that threads share only if there are many; in a time window it is
/// that and a look at the clock. Timing calls costs two looks. A failure, and whatever else may change the state, is a short
/// critical section, for any size of the window. Refusing while open is a look at the clock. [`admit`] counts a reference
/// besides.
///
/// [`admit`]: Self::admit
#[derive(Clone)]
pub struct Breaker(Arc<Inner>);

impl Breaker {
    /// A breaker called `name`, to be described further.
    pub fn builder(name: impl Into<Cow<'static, str>>) -> BreakerBuilder {
        BreakerBuilder::new(name.into())
    }

    /// Leave to make one call. Tell the [`Admitted`] how it ended. It is a value of its own, and may go along with the call
    /// to wherever that ends.
    ///
    /// # Blocking
    ///
    /// Never waits for anything but the breaker's own short lock.
    ///
    /// # Errors
    ///
    /// [`RejectReason::CircuitOpen`], whose `retry_after` is, in the open state, the rest of the open interval; in the
    /// half-open state, with all probes out, the time until the first of them would lose its place (a result may make
    /// room sooner); and while [forced open](Self::force_open), the length of the first open interval: nothing but
    /// another word will let calls pass, so it is only a pace to ask at.
    ///
    /// # Examples
    ///
    /// ```
    /// use watertight::{Breaker, CallError};
    ///
    /// fn lookup(breaker: &Breaker) -> Result<u8, CallError<std::num::ParseIntError>> {
    ///     let admitted = breaker.admit()?; // refused: CallError::Rejected
    ///     let out = "7".parse::<u8>();
    ///     admitted.record(&out);
    ///     out.map_err(CallError::Failed)
    /// }
    /// assert_eq!(lookup(&Breaker::builder("rates").build()?)?, 7);
    /// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
    /// ```
    pub fn admit(&self) -> Result<Admitted<'static>, RejectReason> {
        let (ticket, begun) = self.0.admit()?;
        Ok(Admitted::new(Held::Counted(self.0.clone()), ticket, begun))
    }

    /// [`admit`](Self::admit) for a call that begins and ends here: the admission borrows the breaker, and so costs less.
    ///
    /// # Errors
    ///
    /// As [`admit`](Self::admit).
    #[inline]
    pub fn admit_here(&self) -> Result<Admitted<'_>, RejectReason> {
        let (ticket, begun) = self.0.admit()?;
        Ok(Admitted::new(Held::Borrowed(&self.0), ticket, begun))
    }

    /// [`admit_here`](Self::admit_here) as plain values: whoever has them must see to it that they are told.
    #[inline]
    pub(crate) fn enter(&self) -> Result<Entry<'_>, RejectReason> {
        let (ticket, begun) = self.0.admit()?;
        Ok(Entry::new(&self.0, ticket, begun))
    }

    /// Makes one call, if it is admitted: `Ok` is a success, `Err` a failure, and so is a panic.
    ///
    /// # Errors
    ///
    /// [`CallError::Rejected`] if it was not admitted, and then `f` was not run; [`CallError::Failed`] with the error of `f`.
    ///
    /// # Panics
    ///
    /// As `f` does.
    ///
    /// # Examples
    ///
    /// ```
    /// use watertight::{Breaker, CallError};
    ///
    /// let breaker = Breaker::builder("rates").build()?;
    /// assert_eq!(breaker.call(|| "7".parse::<u8>())?, 7);
    /// assert!(matches!(breaker.call(|| "seven".parse::<u8>()), Err(CallError::Failed(_))));
    /// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
    /// ```
    #[inline]
    pub fn call<T, E>(&self, f: impl FnOnce() -> Result<T, E>) -> Result<T, CallError<E>> {
        // The admission stays where it is made: moving it about would cost more than the rest.
        let (ticket, begun) = self.0.admit()?;
        let mut admitted = Admitted::new(Held::Borrowed(&self.0), ticket, begun);
        match f() {
            Ok(answer) => {
                admitted.succeeded();
                Ok(answer)
            }
            Err(error) => {
                admitted.failed();
                Err(CallError::Failed(error))
            }
        }
    }

    /// The state now. Asking is enough for an open breaker whose interval is over to become half-open: no traffic is
    /// needed to see it.
    pub fn state(&self) -> BreakerState {
        self.0.decide(|machine| machine.state(|| self.0.now()))
    }

    /// The state now and the figures behind it, all of one moment. Asking is enough for what is due to happen, as with
    /// [`state`](Self::state).
    pub fn snapshot(&self) -> BreakerSnapshot {
        self.0.decide(|machine| BreakerSnapshot::of(machine, self.0.now()))
    }

    /// Opens it by hand, until another word: for a dependency under repair, or one that must not be called.
    ///
    /// No time ends this and no result does: calls in flight count for nothing.
    ///
    /// # Examples
    ///
    /// ```
    /// use watertight::Breaker;
    ///
    /// let breaker = Breaker::builder("search").build()?;
    /// breaker.force_open();
    /// assert!(breaker.admit().is_err());
    /// breaker.reset();
    /// assert!(breaker.admit().is_ok());
    /// # Ok::<(), watertight::BuildError>(())
    /// ```
    pub fn force_open(&self) {
        self.0.force(BreakerState::ForcedOpen);
    }

    /// Closes it by hand, until another word: every call passes, and nothing is counted. This is a breaker that is switched
    /// off.
    pub fn force_closed(&self) {
        self.0.force(BreakerState::ForcedClosed);
    }

    /// Lets every call pass and goes on counting, until another word: to see in the [figures](Self::snapshot) what a rule
    /// would have done, before it may do it.
    pub fn metrics_only(&self) {
        self.0.force(BreakerState::MetricsOnly);
    }

    /// Closes it, whatever state it is in, with nothing counted and the open interval at its first length. Calls in flight
    /// count for nothing.
    pub fn reset(&self) {
        self.0.decide(|machine| machine.reset(self.0.now()));
    }

    /// Changes its rules while it is in use.
    ///
    /// What has been counted stays, as far as the new window has a place for it, and calls in flight count. The trip rule
    /// holds from the next outcome on, and opens nothing by itself; the recovery holds from the next opening and the next
    /// round of probes on. A window of another kind takes over what it can: the calls of a count window are taken to have
    /// happened now. A timed call that ends at that very moment may be judged slow by the old rules and be counted by the new.
    ///
    /// # Errors
    ///
    /// As [`BreakerBuilder::build`]; then nothing has changed.
    ///
    /// # Examples
    ///
    /// ```
    /// use watertight::{Breaker, Recovery, Trip};
    ///
    /// let breaker = Breaker::builder("search").trip(Trip::rate(0.9).last(50)).build()?;
    /// (0..10).for_each(|_| breaker.admit().unwrap().failure());
    /// breaker.reconfigure(Trip::rate(0.5).last(100).min_calls(11), Recovery::default())?;
    /// assert_eq!(breaker.snapshot().counts.failures, 10);
    /// breaker.admit()?.failure(); // the eleventh
    /// assert!(breaker.admit().is_err());
    /// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
    /// ```
    pub fn reconfigure(&self, trip: Trip, recovery: Recovery) -> Result<(), BuildError> {
        trip.validate()?;
        recovery.validate()?;
        self.0.decide(|machine| machine.rule_by(&trip, &recovery, self.0.now()));
        Ok(())
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.0.name
    }
}

// No user code runs under a lock of ours, so a panic leaves nothing half done.
impl UnwindSafe for Breaker {}
impl RefUnwindSafe for Breaker {}

impl fmt::Debug for Breaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Not `state()`: printing must not change anything.
        f.debug_struct("Breaker").field("name", &self.0.name).finish_non_exhaustive()
    }
}
