//! The breaker's decisions. Pure: no lock, no clock of its own, no callbacks; a change of state comes back as data.
//!
//! | State | Admits | Leaves it |
//! |---|---|---|
//! | closed | everything | the tally trips: open |
//! | open | nothing | `after` has passed and somebody looks: half-open |
//! | half-open | `probes` calls | all of them succeed: closed · one fails: open |
//! | held | nothing | only `reset`: closed |
//!
//! `hold_open` and `reset` lead from every state to held and closed.
//!
//! **Invariants**
//! 1. Every change of state begins a new epoch, and so does the end of a lease. A ticket is of the epoch it was issued
//!    in; one of an earlier epoch changes nothing.
//! 2. Half-open: `out + good <= probes` and `good < probes`. `out` is the number of tickets of this epoch that have not
//!    been recorded, so in one epoch no more than `probes` calls pass that were not ignored.
//! 3. Lease: calls are refused in half-open for at most `after` at a stretch. The last place was taken at `latest`; if no
//!    result has made room by `latest + after`, the next caller begins a new epoch, in which all places but those of
//!    the probes that succeeded are free. A probe that comes back late keeps its say for as long as nobody needed its
//!    place.
//! 4. Tickets are issued in closed and half-open only.
//!
//! `now` is an argument, but not every decision needs it (a closed breaker admits without a look at the clock), so it is
//! passed as something that can be asked.

use super::BreakerState;
use super::trip::{Recovery, Tally, Trip};
use std::time::{Duration, Instant};

/// Leave to make one call. Not `Clone`: a call is recorded once.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ticket {
    epoch: u64,
}

/// What became of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Success,
    Failure,
    /// Says nothing about the dependency.
    Ignore,
}

/// A visible change of state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Transition {
    pub(crate) from: BreakerState,
    pub(crate) to: BreakerState,
}

#[derive(Clone, Debug)]
pub(crate) struct Machine {
    tally: Tally,
    after: Duration,
    probes: u32,
    epoch: u64,
    phase: Phase,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    Closed,
    Open {
        since: Instant,
    },
    Held,
    HalfOpen {
        /// When the latest probe was admitted.
        latest: Instant,
        /// Probes admitted and not recorded.
        out: u32,
        /// Probes that succeeded.
        good: u32,
    },
}

impl Machine {
    pub(crate) fn new(trip: &Trip, recovery: &Recovery) -> Self {
        Self {
            tally: trip.tally(),
            after: recovery.interval(),
            probes: recovery.places(),
            epoch: 0,
            phase: Phase::Closed,
        }
    }

    /// Leave to call, or how long to wait before it is worth asking again; and the change of state that asking caused.
    pub(crate) fn admit(&mut self, now: impl FnOnce() -> Instant) -> (Result<Ticket, Duration>, Option<Transition>) {
        match self.phase {
            Phase::Closed => (Ok(Ticket { epoch: self.epoch }), None),
            // Nothing but a reset ends this; the interval is a pace to ask at.
            Phase::Held => (Err(self.after), None),
            Phase::Open { .. } | Phase::HalfOpen { .. } => {
                let now = now();
                let change = self.observe(now);
                (self.probe(now), change)
            }
        }
    }

    /// A place among the probes (invariants 2 and 3), if it is time for probes at all.
    fn probe(&mut self, now: Instant) -> Result<Ticket, Duration> {
        match &mut self.phase {
            Phase::Open { since } => return Err(self.after.saturating_sub(now.saturating_duration_since(*since))),
            Phase::HalfOpen { latest, out, good } => {
                if *out + *good >= self.probes {
                    let left = self.after.saturating_sub(now.saturating_duration_since(*latest));
                    if !left.is_zero() {
                        return Err(left);
                    }
                    self.epoch += 1;
                    *out = 0;
                }
                *out += 1;
                *latest = now;
            }
            Phase::Closed | Phase::Held => {}
        }
        Ok(Ticket { epoch: self.epoch })
    }

    /// What became of the call that `ticket` allowed; and the change of state that this caused.
    pub(crate) fn record(
        &mut self,
        ticket: Ticket,
        outcome: Outcome,
        now: impl FnOnce() -> Instant,
    ) -> Option<Transition> {
        if ticket.epoch != self.epoch {
            return None; // invariant 1
        }
        match (&mut self.phase, outcome) {
            (Phase::Closed, Outcome::Ignore) => None,
            (Phase::Closed, Outcome::Success | Outcome::Failure) => {
                let trips = self.tally.count(outcome == Outcome::Failure);
                if trips { self.enter(Phase::Open { since: now() }) } else { None }
            }
            (Phase::HalfOpen { out, .. }, Outcome::Ignore) => {
                *out -= 1;
                None
            }
            (Phase::HalfOpen { .. }, Outcome::Failure) => self.enter(Phase::Open { since: now() }),
            (Phase::HalfOpen { out, good, .. }, Outcome::Success) => {
                *out -= 1;
                *good += 1;
                if *good == self.probes { self.enter(Phase::Closed) } else { None }
            }
            (Phase::Open { .. } | Phase::Held, _) => None, // invariant 4
        }
    }

    /// Notices that the open interval is over. The first who looks makes the change, so that it is seen without traffic.
    fn observe(&mut self, now: Instant) -> Option<Transition> {
        match self.phase {
            Phase::Open { since } if now.saturating_duration_since(since) >= self.after => {
                self.enter(Phase::HalfOpen { latest: now, out: 0, good: 0 })
            }
            _ => None,
        }
    }

    /// The state, and the change that looking caused.
    pub(crate) fn state(&mut self, now: impl FnOnce() -> Instant) -> (BreakerState, Option<Transition>) {
        let change = if let Phase::Open { .. } = self.phase { self.observe(now()) } else { None };
        (self.phase.state(), change)
    }

    /// Opens until [`reset`](Self::reset); what is in flight is stale from here on.
    pub(crate) fn hold_open(&mut self) -> Option<Transition> {
        self.enter(Phase::Held)
    }

    /// Closes with nothing counted; what is in flight is stale from here on.
    pub(crate) fn reset(&mut self) -> Option<Transition> {
        self.enter(Phase::Closed)
    }

    /// Invariant 1. Open to held and closed to closed begin an epoch too, but there is nothing to tell.
    fn enter(&mut self, phase: Phase) -> Option<Transition> {
        let (from, to) = (self.phase.state(), phase.state());
        self.phase = phase;
        self.epoch += 1;
        self.tally.clear();
        (from != to).then_some(Transition { from, to })
    }

    /// The same leave as if it had been given now: what a breaker without epochs works with. For broken twins only.
    pub(crate) fn forge(&self, _ticket: &Ticket) -> Ticket {
        Ticket { epoch: self.epoch }
    }
}

impl Phase {
    fn state(&self) -> BreakerState {
        match self {
            Self::Closed => BreakerState::Closed,
            Self::Open { .. } | Self::Held => BreakerState::Open,
            Self::HalfOpen { .. } => BreakerState::HalfOpen,
        }
    }
}

#[cfg(all(test, not(watertight_loom)))]
#[path = "machine_tests.rs"]
mod tests;
