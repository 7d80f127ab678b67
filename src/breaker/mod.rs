//! [`Breaker`]: stops calling a dependency that fails, and finds out by bounded probes when it is well again.
//!
//! The decisions are in `machine.rs` (pure; the states and their invariants are there), the rules in `trip.rs`; this
//! file holds a machine behind a lock and tells the observer.
//!
//! **Invariants.** 1. Every decision is one critical section: look, decide and write happen under one hold of the lock.
//! 2. Every change of state is told exactly once and in the order in which they happened: it is queued in the section
//! that made it, and only one thread tells at a time (`telling`); who finds another at it leaves its change to that one.
//! 3. An [`Admitted`] records once: by a verb, or by being dropped.
//!
//! **Locking.** One lock per breaker. The clock may be read under it (so that time never runs backwards inside the
//! machine; a manual clock has a lock of its own and takes no other). No user code runs under it: the observer is told
//! after it is let go, and may call the breaker.

mod builder;
mod machine;
mod trip;

#[cfg(all(test, watertight_loom, not(watertight_shuttle)))]
mod loom_tests;
#[cfg(all(test, not(watertight_loom)))]
mod tests;

pub use crate::event::BreakerState;
pub use builder::BreakerBuilder;
pub use trip::{Recovery, Trip};

use crate::clock::Clock;
use crate::error::RejectReason;
use crate::event::{Event, Observed};
use crate::sync::{Arc, Mutex, broken, thread};
use machine::{Machine, Outcome, Ticket, Transition};
use std::borrow::Cow;
use std::collections::VecDeque;
use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};

/// A circuit breaker: one dependency's memory of how its calls ended, and the decision whether to make the next.
///
/// A cheap handle: clones share the one breaker. Nothing here waits, and nothing here runs the call: [`admit`] hands
/// out an [`Admitted`], which is told how the call ended.
///
/// | State | Calls | Leaves it |
/// |---|---|---|
/// | [closed](BreakerState::Closed) | pass and are counted | the [`Trip`] rule says so: open |
/// | [open](BreakerState::Open) | are refused | [`Recovery::after`] has passed and anybody looks: half-open |
/// | [half-open](BreakerState::HalfOpen) | [`Recovery::probes`] of them pass, the rest is refused | all probes succeed: closed; one fails: open |
///
/// What makes it exact under concurrency:
///
/// - A result belongs to the state its call was admitted in. A call that began before the breaker opened and ends after
///   it changes nothing any more: neither closes it nor opens it again.
/// - Never more probes than were asked for are out, however many callers race for them; a probe that was ignored gives
///   its place back, and one that never comes back loses it after [`Recovery::after`] to whoever asks next.
/// - Every change of state is told to the observer exactly once and in order.
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
/// A short critical section to admit and one to record, whatever the size of the window; a closed breaker does not read
/// the clock.
///
/// [`admit`]: Self::admit
#[derive(Clone)]
pub struct Breaker(Arc<Inner>);

struct Inner {
    name: Cow<'static, str>,
    clock: Clock,
    observed: Observed,
    guarded: Mutex<Guarded>,
}

struct Guarded {
    machine: Machine,
    /// Changes that the observer has not been told of, oldest first.
    untold: VecDeque<Transition>,
    /// Somebody is telling: whatever is in `untold` will be told.
    telling: bool,
}

impl Breaker {
    /// A breaker called `name`, to be described further.
    pub fn builder(name: impl Into<Cow<'static, str>>) -> BreakerBuilder {
        BreakerBuilder::new(name.into())
    }

    fn from_inner(inner: Inner) -> Self {
        Self(Arc::new(inner))
    }

    /// Leave to make one call. Tell the [`Admitted`] how it ended.
    ///
    /// # Blocking
    ///
    /// Never waits for anything but the breaker's own short lock.
    ///
    /// # Errors
    ///
    /// [`RejectReason::CircuitOpen`], whose `retry_after` is, in the open state, the rest of the open interval; in the
    /// half-open state, with all probes out, the time until the first of them would lose its place (a result may make
    /// room sooner); and while [held open](Self::hold_open), the length of the open interval: nothing but a
    /// [`reset`](Self::reset) will let calls pass, so it is only a pace to ask at.
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
    pub fn admit(&self) -> Result<Admitted, RejectReason> {
        match self.0.decide(|machine, clock| machine.admit(|| clock.now())) {
            Ok(ticket) => Ok(Admitted { inner: self.0.clone(), ticket: Some(ticket), unwinding: thread::panicking() }),
            Err(retry_after) => Err(RejectReason::CircuitOpen { retry_after }),
        }
    }

    /// The state now. Asking is enough for an open breaker whose interval is over to become half-open: no traffic is
    /// needed to see it.
    pub fn state(&self) -> BreakerState {
        self.0.decide(|machine, clock| machine.state(|| clock.now()))
    }

    /// Opens it by hand, until [`reset`](Self::reset): for a dependency under repair, or one that must not be called.
    ///
    /// No time ends this and no result does: calls in flight count for nothing. The state is
    /// [`BreakerState::Open`].
    ///
    /// # Examples
    ///
    /// ```
    /// use watertight::Breaker;
    ///
    /// let breaker = Breaker::builder("search").build()?;
    /// breaker.hold_open();
    /// assert!(breaker.admit().is_err());
    /// breaker.reset();
    /// assert!(breaker.admit().is_ok());
    /// # Ok::<(), watertight::BuildError>(())
    /// ```
    pub fn hold_open(&self) {
        self.0.decide(|machine, _| ((), machine.hold_open()));
    }

    /// Closes it, whatever state it is in, with nothing counted. Calls in flight count for nothing.
    pub fn reset(&self) {
        self.0.decide(|machine, _| ((), machine.reset()));
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.0.name
    }
}

impl Inner {
    fn new(name: Cow<'static, str>, clock: Clock, observed: Observed, machine: Machine) -> Self {
        let guarded = Guarded { machine, untold: VecDeque::new(), telling: false };
        Self { name, clock, observed, guarded: Mutex::new(guarded) }
    }

    /// One decision (invariant 1), and telling what it changed (invariant 2).
    fn decide<R>(&self, f: impl FnOnce(&mut Machine, &Clock) -> (R, Option<Transition>)) -> R {
        let mut guarded = self.guarded.lock();
        let (answer, change) = if broken("breaker-torn-decision") {
            let mut copy = guarded.machine.clone();
            drop(guarded);
            let decided = f(&mut copy, &self.clock);
            guarded = self.guarded.lock();
            guarded.machine = copy;
            decided
        } else {
            f(&mut guarded.machine, &self.clock)
        };
        if let Some(change) = change {
            guarded.untold.push_back(change);
            let tells = !std::mem::replace(&mut guarded.telling, !broken("breaker-everybody-tells"));
            drop(guarded);
            if tells {
                self.tell();
            }
        }
        answer
    }

    fn record(&self, ticket: Ticket, outcome: Outcome) {
        self.decide(|machine, clock| {
            let ticket = if broken("breaker-no-epoch") { machine.forge(&ticket) } else { ticket };
            ((), machine.record(ticket, outcome, || clock.now()))
        });
    }

    /// Tells until nothing is untold. An observer that panics is caught where events are sent, so `telling` never stays
    /// set.
    fn tell(&self) {
        loop {
            let mut guarded = self.guarded.lock();
            let Some(Transition { from, to }) = guarded.untold.pop_front() else {
                guarded.telling = false;
                return;
            };
            drop(guarded);
            self.observed.tell(Event::BreakerChanged { name: &self.name, from, to });
        }
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

/// Leave to make one call, from [`Breaker::admit`]; it wants to know how the call ended.
///
/// It owns what it needs, so it moves into jobs and futures. Dropping it without a word is [`ignore`](Self::ignore),
/// but dropping it because the thread unwinds from a panic that began after the admission is
/// [`failure`](Self::failure).
#[must_use = "dropping an admission records neither success nor failure"]
pub struct Admitted {
    inner: Arc<Inner>,
    ticket: Option<Ticket>,
    /// The thread was unwinding already when this was admitted: a cleanup's call, not the panicking one.
    unwinding: bool,
}

impl Admitted {
    /// The dependency did its part. An answer that the caller does not like (a 404) is a success too.
    pub fn success(mut self) {
        self.end(Outcome::Success);
    }

    /// The dependency failed: no answer, no answer in time, or an error of its own.
    pub fn failure(mut self) {
        self.end(Outcome::Failure);
    }

    /// Says nothing about the dependency: the call was never made, or the caller gave it up. A probe's place is free
    /// again for the next caller.
    pub fn ignore(mut self) {
        self.end(Outcome::Ignore);
    }

    /// [`success`](Self::success) for `Ok`, [`failure`](Self::failure) for `Err`.
    pub fn record<T, E>(self, result: &Result<T, E>) {
        match result {
            Ok(_) => self.success(),
            Err(_) => self.failure(),
        }
    }

    fn end(&mut self, outcome: Outcome) {
        if let Some(ticket) = self.ticket.take() {
            self.inner.record(ticket, outcome);
        }
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        let panicked = thread::panicking() && !self.unwinding;
        self.end(if panicked { Outcome::Failure } else { Outcome::Ignore });
    }
}

impl fmt::Debug for Admitted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admitted").field("breaker", &self.inner.name).finish_non_exhaustive()
    }
}
