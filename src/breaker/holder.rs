//! What a breaker's handles share: the machine behind its lock, the front before it, and the telling of changes. The
//! invariants and the locking are in `mod.rs`.

use super::admitted::{Admitted, Held, nanos_between};
use super::front::{Door, Front};
use super::machine::{Machine, Ticket, Transition};
use super::{Recovery, Trip};
use crate::clock::Clock;
use crate::error::RejectReason;
use crate::event::{BreakerState, Event, Observed};
use crate::sync::{Mutex, broken, seed};
use crate::window::Seen;
use std::borrow::Cow;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

pub(super) struct Inner {
    pub(super) front: Front,
    pub(super) name: Cow<'static, str>,
    pub(super) clock: Clock,
    /// When it was built: what the machine counts time from.
    origin: Instant,
    observed: Observed,
    guarded: Apart<Mutex<Guarded>>,
}

/// On cache lines of its own: whoever takes the lock would slow down everybody who only reads.
#[repr(align(128))]
struct Apart<T>(T);

struct Guarded {
    machine: Machine,
    /// Changes that the observer has not been told of, oldest first.
    untold: VecDeque<Transition>,
    /// Somebody is telling: whatever is in `untold` will be told.
    telling: bool,
}

impl Inner {
    pub(super) fn new(
        name: Cow<'static, str>,
        clock: Clock,
        observed: Observed,
        trip: &Trip,
        recovery: &Recovery,
    ) -> Self {
        let origin = clock.now();
        let machine = Machine::new(trip, recovery, 0, seed());
        let front = Front::new(machine.view());
        let guarded = Apart(Mutex::new(Guarded { machine, untold: VecDeque::new(), telling: false }));
        Self { front, name, clock, origin, observed, guarded }
    }

    /// When a call begins, if calls are timed.
    #[inline]
    pub(super) fn begins(&self, timed: bool) -> Option<Instant> {
        if timed { Some(self.clock.now()) } else { None }
    }

    #[inline]
    pub(super) fn since_origin(&self, at: Instant) -> u64 {
        nanos_between(self.origin, at)
    }

    #[inline]
    pub(super) fn now(&self) -> u64 {
        self.since_origin(self.clock.now())
    }

    pub(super) fn probe_timeout(&self) -> Option<Duration> {
        self.decide(|machine| machine.probe_timeout())
    }

    /// The word refuses, and goes on doing so for so long.
    #[inline]
    pub(super) fn refusal(&self, door: &Door) -> Option<RejectReason> {
        let Door::Refuse { until } = door else { return None };
        let left = until.saturating_sub(self.now());
        (left > 0).then(|| refused(left))
    }

    /// Whoever is neither let through nor refused at once: by the machine.
    #[cold]
    pub(super) fn knock<'a>(&self, held: impl FnOnce() -> Held<'a>) -> Result<Admitted<'a>, RejectReason> {
        let admitted =
            self.decide(|machine| machine.admit(|| self.now()).map(|ticket| (ticket, machine.times_calls())));
        let (ticket, timed) = admitted.map_err(refused)?;
        Ok(Admitted::new(held(), ticket, self.begins(timed)))
    }

    /// One decision (invariant 1), and telling what it changed (invariant 2).
    pub(super) fn decide<R>(&self, f: impl FnOnce(&mut Machine) -> R) -> R {
        let mut guarded = self.guarded.0.lock();
        let counted = self.front.close();
        let late = broken("breaker-late-fold");
        if counted > 0 && !late {
            guarded.machine.fold(counted);
        }
        let answer = if broken("breaker-torn-decision") {
            let mut copy = guarded.machine.clone();
            drop(guarded);
            let decided = f(&mut copy);
            guarded = self.guarded.0.lock();
            guarded.machine = copy;
            decided
        } else {
            f(&mut guarded.machine)
        };
        if late {
            guarded.machine.fold(counted);
        }
        self.front.publish(guarded.machine.view());
        if let Some(change) = guarded.machine.take_change() {
            guarded.untold.push_back(change);
            let tells = !std::mem::replace(&mut guarded.telling, !broken("breaker-everybody-tells"));
            drop(guarded);
            if tells {
                self.tell();
            }
        }
        answer
    }

    pub(super) fn record(&self, ticket: Ticket, seen: Option<Seen>, at: Option<u64>) {
        let now = || at.unwrap_or_else(|| self.now());
        let question = self.decide(|machine| {
            let ticket = if broken("breaker-no-epoch") { machine.forge(&ticket) } else { ticket };
            if machine.record(ticket, seen, now) { machine.question() } else { None }
        });
        if let Some((own, counts, epoch)) = question {
            if own.says_open(&counts) {
                self.decide(|machine| machine.open_by_own_rule(epoch, now));
            }
        }
    }

    pub(super) fn force(&self, state: BreakerState) {
        self.decide(|machine| machine.force(state));
    }

    /// Tells until nothing is untold. An observer that panics is caught where events are sent, so `telling` never stays
    /// set.
    fn tell(&self) {
        loop {
            let mut guarded = self.guarded.0.lock();
            let Some(change) = guarded.untold.pop_front() else {
                guarded.telling = false;
                return;
            };
            drop(guarded);
            let Transition { from, to, cause, counts, retry_after } = change;
            self.observed.tell(Event::BreakerChanged { name: &self.name, from, to, cause, counts, retry_after });
        }
    }
}

#[inline]
fn refused(wait: u64) -> RejectReason {
    RejectReason::CircuitOpen { retry_after: Duration::from_nanos(wait) }
}
