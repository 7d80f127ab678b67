//! The breaker's decisions. Pure: no lock, no clock of its own, no callbacks; a change of state is data to be
//! [taken](Machine::take_change).
//!
//! | State | Admits | Leaves it |
//! |---|---|---|
//! | closed | everything | the tally trips: open |
//! | open | nothing | the interval is over and somebody looks: half-open |
//! | half-open | a round of probes | enough succeed: the next round, or closed · too few can: open |
//! | forced open | nothing | by hand only |
//! | forced closed | everything, counts nothing | by hand only |
//! | metrics only | everything, and counts it | by hand only |
//!
//! `force` leads from every state to the last three, `reset` from every state to closed.
//!
//! **Invariants**
//! 1. Every change of state begins a new epoch, and so does every round of probes. A ticket is of the epoch it was issued
//!    in; one of an earlier epoch changes nothing, and neither does a probe's that has lost its lease (`probes.rs`).
//! 2. Tickets are issued by states that admit, and only a probe's is recorded while half-open.
//! 3. The tally is empty at the beginning of every state, and is fed by closed and metrics only.
//! 4. `view()` says what may be decided without the machine until it changes next: what [`Mode`] promises of the tally
//!    is [`Indifference`].
//!
//! Time is nanoseconds since an origin of the holder's. Not every decision needs it (a closed breaker admits without a look
//! at the clock), so it is passed as something that can be asked.

use super::own::Own;
use super::probes::{Probes, Verdict};
use super::recovery::Recovery;
use super::tally::{Counted, Indifference, Tally, nanos};
use super::trip::Trip;
use crate::event::{BreakerCause, BreakerState, Counts};
use crate::window::Seen;
use std::time::Duration;

/// Epochs are counted in so many bits, for the word that the holder keeps them in.
pub(crate) const EPOCH_BITS: u32 = 43;
/// Steps of the open interval's growth are not counted further than this.
const MAX_OPENINGS: u32 = 10_000;

/// Leave to make one call. Not `Clone`: a call is recorded once.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Ticket {
    pub(crate) epoch: u64,
    /// A probe's number; 0 for any other call.
    pub(crate) probe: u64,
}

/// A visible change of state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Transition {
    pub(crate) from: BreakerState,
    pub(crate) to: BreakerState,
    pub(crate) cause: BreakerCause,
    pub(crate) counts: Counts,
    pub(crate) retry_after: Option<Duration>,
}

/// A user's rule that is to be asked, what about, and in which epoch.
pub(crate) type Question = (Own, Counts, u64);

/// What can be decided without the machine until it changes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct View {
    pub(crate) mode: Mode,
    pub(crate) epoch: u64,
    /// Calls are timed, and longer than this is slow; `u64::MAX`: they are not.
    pub(crate) slow_over: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Nothing.
    Ask,
    /// Calls pass.
    Pass,
    /// Calls pass, and a success that is not slow changes nothing.
    Clean,
    /// Calls pass, and until then a success that is not slow is one more call to be folded in, and nothing else.
    CountUntil(u64),
    /// Calls pass, and so is a success that is not slow for so many of them; any more change nothing.
    CountTo(u32),
    /// Calls are refused until then.
    RefuseUntil(u64),
}

#[derive(Clone, Debug)]
pub(crate) struct Machine {
    tally: Tally,
    recovery: Recovery,
    slow_over: u64,
    epoch: u64,
    phase: Phase,
    /// Since when it is closed.
    since: u64,
    /// How often it has opened in a row; what health has undone is taken off.
    openings: u32,
    /// Results that came too late to count.
    late: u64,
    dice: u64,
    /// A change of state that nobody has taken. No operation makes two.
    change: Option<Transition>,
}

#[derive(Clone, Debug)]
enum Phase {
    Closed,
    Open { until: u64 },
    HalfOpen(Probes),
    ForcedOpen,
    ForcedClosed,
    MetricsOnly,
}

impl Machine {
    pub(crate) fn new(trip: &Trip, recovery: &Recovery, now: u64, dice: u64) -> Self {
        Self {
            tally: Tally::new(trip, now),
            recovery: recovery.clone(),
            slow_over: slow_over(trip),
            epoch: 0,
            phase: Phase::Closed,
            since: now,
            openings: 0,
            late: 0,
            dice,
            change: None,
        }
    }

    /// The change of state that the last operation made, if it made one. To be asked after each.
    pub(crate) fn take_change(&mut self) -> Option<Transition> {
        self.change.take()
    }

    /// Leave to call, or how long to wait before it is worth asking again.
    pub(crate) fn admit(&mut self, now: impl FnOnce() -> u64) -> Result<Ticket, u64> {
        let epoch = self.epoch;
        match self.phase {
            Phase::Closed | Phase::ForcedClosed | Phase::MetricsOnly => Ok(Ticket { epoch, probe: 0 }),
            // Nothing but a word ends this; the interval is a pace to ask at.
            Phase::ForcedOpen => Err(self.recovery.first()),
            Phase::Open { .. } | Phase::HalfOpen(_) => {
                let now = now();
                self.observe(now);
                match &mut self.phase {
                    Phase::Open { until } => Err(*until - now),
                    Phase::HalfOpen(probes) => probes.admit(now).map(|probe| Ticket { epoch: self.epoch, probe }),
                    _ => unreachable!("an open breaker becomes half-open"),
                }
            }
        }
    }

    /// A call has ended; `None`: what it says is to be ignored. Asks the time only if it needs it. True: there is a
    /// [question](Self::question) to the user's own rule.
    pub(crate) fn record(&mut self, ticket: Ticket, seen: Option<Seen>, now: impl Fn() -> u64) -> bool {
        if ticket.epoch != self.epoch {
            self.late += 1;
            return false; // invariant 1
        }
        match (&mut self.phase, seen) {
            (Phase::Closed, Some(seen)) => match self.tally.count(seen, &now) {
                Counted::Trips(cause) => self.open(now(), cause),
                Counted::Quiet => return self.tally.own().is_some(),
                Counted::Lumped => {}
            },
            (Phase::MetricsOnly, Some(seen)) => {
                self.tally.count(seen, &now);
            }
            (Phase::HalfOpen(probes), seen) => {
                let verdict = probes.record(ticket.probe, seen);
                self.probed(verdict, now);
            }
            _ => {}
        }
        false
    }

    fn probed(&mut self, verdict: Option<Verdict>, now: impl Fn() -> u64) {
        let Phase::HalfOpen(probes) = &self.phase else { return };
        match verdict {
            None => self.late += 1,
            Some(Verdict::Undecided) => {}
            Some(Verdict::Lost(cause)) => self.open(now(), cause),
            Some(Verdict::Won) if probes.round() + 1 < self.recovery.rounds() => {
                let round = probes.round() + 1;
                self.enter(self.round(round), BreakerCause::ProbesSucceeded);
            }
            Some(Verdict::Won) => {
                self.since = now();
                self.enter(Phase::Closed, BreakerCause::ProbesSucceeded);
            }
        }
    }

    /// What to ask of the user's own rule: about this moment.
    pub(crate) fn question(&self) -> Option<Question> {
        self.tally.own().map(|own| (own.clone(), self.tally.counts(), self.epoch))
    }

    /// The user's own rule has said that it is to open, of what was counted in that epoch.
    pub(crate) fn open_by_own_rule(&mut self, epoch: u64, now: impl FnOnce() -> u64) {
        if self.epoch == epoch && matches!(self.phase, Phase::Closed) {
            self.open(now(), BreakerCause::OwnRule);
        }
    }

    /// Opens, for longer than the last time unless health has undone that.
    fn open(&mut self, now: u64, cause: BreakerCause) {
        if let Phase::Closed = self.phase {
            let calm = now.saturating_sub(self.since) / self.recovery.interval(self.openings);
            self.openings = self.openings.saturating_sub(u32::try_from(calm).unwrap_or(u32::MAX));
        }
        self.openings = (self.openings + 1).min(MAX_OPENINGS);
        let interval = self.recovery.interval_by_chance(self.openings, chance(&mut self.dice));
        self.enter(Phase::Open { until: now.saturating_add(interval) }, cause);
        if let Some(change) = &mut self.change {
            change.retry_after = Some(Duration::from_nanos(interval));
        }
    }

    fn round(&self, n: u32) -> Phase {
        Phase::HalfOpen(Probes::new(&self.recovery, n, self.tally.slow_rate()))
    }

    /// Notices that the open interval is over. The first who looks makes the change, so that it is seen without traffic.
    fn observe(&mut self, now: u64) {
        match self.phase {
            Phase::Open { until } if now >= until => self.enter(self.round(0), BreakerCause::IntervalOver),
            _ => {}
        }
    }

    /// The state, after what is due to happen.
    pub(crate) fn state(&mut self, now: impl FnOnce() -> u64) -> BreakerState {
        if let Phase::Open { .. } = self.phase {
            self.observe(now());
        }
        self.phase.state()
    }

    /// What there is to see at this time, after [`state`](Self::state): what has been counted, and how long until a call
    /// may pass.
    pub(crate) fn figures(&mut self, now: u64) -> (Counts, Option<Duration>) {
        self.tally.advance(|| now);
        let wait = match &self.phase {
            Phase::Open { until } => Some(until.saturating_sub(now)),
            Phase::ForcedOpen => Some(self.recovery.first()),
            Phase::HalfOpen(probes) => probes.wait(now),
            _ => None,
        };
        (self.counts(), wait.map(Duration::from_nanos))
    }

    fn counts(&self) -> Counts {
        if let Phase::HalfOpen(probes) = &self.phase { probes.counts() } else { self.tally.counts() }
    }

    pub(crate) fn late(&self) -> u64 {
        self.late
    }

    pub(crate) fn openings(&self) -> u32 {
        self.openings
    }

    pub(crate) fn times_calls(&self) -> bool {
        self.view().slow_over != u64::MAX
    }

    /// What a probe is told of its time.
    pub(crate) fn probe_timeout(&self) -> Option<Duration> {
        self.recovery.timeout()
    }

    /// Stays in that state until told otherwise; what is in flight is stale from here on.
    pub(crate) fn force(&mut self, state: BreakerState) {
        let phase = match state {
            BreakerState::ForcedOpen => Phase::ForcedOpen,
            BreakerState::ForcedClosed => Phase::ForcedClosed,
            _ => Phase::MetricsOnly,
        };
        self.enter(phase, BreakerCause::Forced);
    }

    /// Closes with nothing counted and no growth; what is in flight is stale from here on.
    pub(crate) fn reset(&mut self, now: u64) {
        (self.since, self.openings) = (now, 0);
        self.enter(Phase::Closed, BreakerCause::Reset);
    }

    /// Other rules, from the next outcome, opening and round of probes on. What has been counted is kept, and so is what
    /// is in flight.
    pub(crate) fn rule_by(&mut self, trip: &Trip, recovery: &Recovery, now: u64) {
        self.tally.rule_by(trip, now);
        self.recovery = recovery.clone();
        self.slow_over = slow_over(trip);
    }

    /// Invariants 1 and 3. From a state to the same one there is nothing to tell.
    fn enter(&mut self, phase: Phase, cause: BreakerCause) {
        let (from, to, counts) = (self.phase.state(), phase.state(), self.counts());
        self.phase = phase;
        self.epoch = (self.epoch + 1) & ((1 << EPOCH_BITS) - 1);
        self.tally.clear();
        if from != to {
            self.change = Some(Transition { from, to, cause, counts, retry_after: None });
        }
    }

    /// Successes that were counted without the machine, in this epoch (see [`Mode::CountUntil`] and [`Mode::CountTo`]).
    pub(crate) fn fold(&mut self, calls: u64) {
        self.tally.fold(calls);
    }

    pub(crate) fn view(&self) -> View {
        let mode = match &self.phase {
            Phase::Closed | Phase::MetricsOnly => match self.tally.indifference() {
                Indifference::None => Mode::Pass,
                Indifference::Full => Mode::Clean,
                Indifference::CountsUntil(until) => Mode::CountUntil(until),
                Indifference::CountsTo(calls) => Mode::CountTo(calls),
            },
            Phase::ForcedClosed => Mode::Clean,
            Phase::Open { until } => Mode::RefuseUntil(*until),
            Phase::HalfOpen(_) | Phase::ForcedOpen => Mode::Ask,
        };
        let slow_over = if let Phase::ForcedClosed = self.phase { u64::MAX } else { self.slow_over };
        View { mode, epoch: self.epoch, slow_over }
    }

    /// The same leave as if it had been given now: what a breaker without epochs works with. For broken twins only.
    pub(crate) fn forge(&self, ticket: &Ticket) -> Ticket {
        let probe = if let Phase::HalfOpen(probes) = &self.phase { probes.any() } else { ticket.probe };
        Ticket { epoch: self.epoch, probe }
    }
}

fn slow_over(trip: &Trip) -> u64 {
    trip.slow.map_or(u64::MAX, |(_, over)| nanos(over))
}

/// A number from 0 to 1: a step of splitmix64.
fn chance(dice: &mut u64) -> f64 {
    *dice = dice.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut z = *dice;
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    ((z ^ (z >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
}

impl Phase {
    fn state(&self) -> BreakerState {
        match self {
            Self::Closed => BreakerState::Closed,
            Self::Open { .. } => BreakerState::Open,
            Self::HalfOpen(_) => BreakerState::HalfOpen,
            Self::ForcedOpen => BreakerState::ForcedOpen,
            Self::ForcedClosed => BreakerState::ForcedClosed,
            Self::MetricsOnly => BreakerState::MetricsOnly,
        }
    }
}

#[cfg(all(test, not(watertight_loom)))]
#[path = "machine_tests.rs"]
mod tests;
