//! What a breaker's handles share: the machine behind its lock, the front before it, and the telling of changes. The
//! invariants and the locking are in `mod.rs`.

use super::front::{Door, Front, Moment};
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

    /// The time as the front counts it.
    #[inline]
    fn moment_of(&self, at: Instant) -> Moment {
        Moment::at(at.saturating_duration_since(self.origin))
    }

    /// The time as the machine counts it.
    pub(super) fn now(&self) -> u64 {
        self.moment_of(self.clock.now()).nanos()
    }

    pub(super) fn probe_timeout(&self) -> Option<Duration> {
        self.decide(|machine| machine.probe_timeout())
    }

    /// Leave to call, and when it was given if the call is to be timed.
    #[inline]
    pub(super) fn admit(&self) -> Result<(Ticket, Option<Instant>), RejectReason> {
        match self.front.door() {
            Door::Pass { epoch, timed } => {
                let begun = if timed { Some(self.clock.now()) } else { None };
                Ok((Ticket { epoch, probe: 0 }, begun))
            }
            Door::Refuse { until } => match self.left(until) {
                Some(retry_after) => Err(RejectReason::CircuitOpen { retry_after }),
                None => self.knock(),
            },
            Door::Ask => self.knock(),
        }
    }

    /// How long it is until then.
    #[inline(never)]
    fn left(&self, until: Moment) -> Option<Duration> {
        until.after(self.moment_of(self.clock.now()))
    }

    /// Whoever is neither let through nor refused at once: by the machine.
    #[cold]
    #[inline(never)]
    fn knock(&self) -> Result<(Ticket, Option<Instant>), RejectReason> {
        if self.front.settles() {
            if let Door::Pass { epoch, timed } = self.front.door() {
                return Ok((Ticket { epoch, probe: 0 }, timed.then(|| self.clock.now())));
            }
        }
        let admitted =
            self.decide(|machine| machine.admit(|| self.now()).map(|ticket| (ticket, machine.times_calls())));
        let (ticket, timed) =
            admitted.map_err(|wait| RejectReason::CircuitOpen { retry_after: Duration::from_nanos(wait) })?;
        Ok((ticket, timed.then(|| self.clock.now())))
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

    /// A call that was not timed has ended well.
    #[inline(never)]
    pub(super) fn succeed(&self, ticket: Ticket) {
        let succeed = || self.front.succeed(ticket.epoch, || self.moment_of(self.clock.now())).is_done();
        if ticket.probe != 0 || !(succeed() || self.front.settles() && succeed()) {
            self.record(ticket, Some(Seen::default()), None);
        }
    }

    /// One that began then has.
    #[inline(never)]
    pub(super) fn succeed_since(&self, ticket: Ticket, begun: Instant) {
        let ended = self.clock.now();
        let took = Moment::at(ended.saturating_duration_since(begun));
        if ticket.probe != 0 || !self.front.is_clean_after(ticket.epoch, took) {
            self.succeed_at(ticket, took, ended);
        }
    }

    #[inline(never)]
    fn succeed_at(&self, ticket: Ticket, took: Moment, ended: Instant) {
        let slow = self.front.is_slow(took);
        let succeed = || self.front.succeed(ticket.epoch, || self.moment_of(ended)).is_done();
        if ticket.probe != 0 || slow || !(succeed() || self.front.settles() && succeed()) {
            self.record(ticket, Some(Seen { failed: false, slow }), Some(ended));
        }
    }

    /// One that began then, if it was timed, has ended otherwise.
    pub(super) fn end(&self, ticket: Ticket, mut seen: Option<Seen>, begun: Option<Instant>) {
        let mut ended = None;
        if let (Some(seen), Some(begun)) = (&mut seen, begun) {
            let now = self.clock.now();
            seen.slow |= self.front.is_slow(Moment::at(now.saturating_duration_since(begun)));
            ended = Some(now);
        }
        self.record(ticket, seen, ended);
    }

    /// `at`: now, if that is known.
    #[inline(never)]
    fn record(&self, ticket: Ticket, seen: Option<Seen>, at: Option<Instant>) {
        let now = || at.map_or_else(|| self.now(), |at| self.moment_of(at).nanos());
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
