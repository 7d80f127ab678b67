//! What a compartment is, said as plainly as possible: who runs and who waits in lists, counts that go up and down, and the
//! breaker's own model. It is told what is done to the real one, and says what must come of it. Times are nanoseconds.

use super::breaker::{Model as Breaker, Rules};
use std::collections::{BTreeMap, VecDeque};
use watertight::Class;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum End {
    Returned(Result<Class, Class>),
    Panicked,
}

/// What a caller hears, or `Pending`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Heard {
    Pending,
    Ended(End),
    Admitted,
    /// Interrupted, by its deadline or not.
    Left(bool),
    Full,
    Open(u64),
    /// Refused since its context has ended, by its deadline or not.
    Late(bool),
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    InLine,
    /// It has a permit and does not know yet.
    Granted,
    Running,
    Pausing(u64),
}

pub(crate) struct Call {
    pub(crate) admission: bool,
    again: bool,
    phase: Phase,
    attempt: u32,
    /// Of the call, and of this attempt, whose time is shorter if it is a probe.
    ends: u64,
    attempt_ends: u64,
    /// How long it stays in line.
    patience: u64,
    probe: bool,
    cancelled: bool,
    /// The breaker's leave.
    ticket: usize,
    failed: Option<Result<Class, Class>>,
    paid: bool,
}

impl Call {
    pub(crate) fn is_running(&self) -> bool {
        self.phase == Phase::Running
    }

    /// What happens to it when it is dropped or its time is up depends on how far it is.
    pub(crate) fn stage(&self) -> usize {
        match self.phase {
            Phase::InLine => 0,
            Phase::Granted => 1,
            Phase::Running => 2,
            Phase::Pausing(_) => 3,
        }
    }

    fn over(&self, ends: u64, now: u64) -> Option<bool> {
        if self.cancelled { Some(false) } else { (now >= ends).then_some(true) }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Figures {
    pub(crate) requests: u64,
    pub(crate) attempts: u64,
    pub(crate) retries: u64,
    pub(crate) succeeded: u64,
    pub(crate) failed: u64,
    pub(crate) interrupted: u64,
    pub(crate) full: u64,
    pub(crate) open: u64,
    pub(crate) ended: u64,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) limit: usize,
    pub(crate) queue: usize,
    /// A pool counts places, of those who run and those who wait; without one the line for permits counts who waits.
    pub(crate) threads: bool,
    pub(crate) max_wait: Option<u64>,
    pub(crate) timeout: u64,
    pub(crate) attempts: u32,
    pub(crate) pause: u64,
    /// Retries for a hundred first attempts, and how many are saved up.
    pub(crate) percent: u64,
    pub(crate) burst: u64,
    pub(crate) rules: Rules,
}

pub(crate) struct Model {
    pub(crate) is: Settings,
    pub(crate) breaker: Breaker,
    pub(crate) calls: BTreeMap<usize, Call>,
    line: VecDeque<usize>,
    pub(crate) permits: usize,
    pub(crate) places: usize,
    balance: u64,
    tickets: usize,
    /// Retries that were paid for and not given back, and those that were not.
    pub(crate) paid: u64,
    pub(crate) refused: u64,
    pub(crate) saw: Figures,
}

impl Model {
    pub(crate) fn new(is: Settings) -> Self {
        Self {
            is,
            breaker: Breaker::new(is.rules),
            calls: BTreeMap::new(),
            line: VecDeque::new(),
            permits: 0,
            places: 0,
            balance: 0,
            tickets: 0,
            paid: 0,
            refused: 0,
            saw: Figures::default(),
        }
    }

    /// Retries that the budget would pay for.
    pub(crate) fn available(&self) -> u64 {
        self.balance / 100
    }

    /// Whether whoever asks now would have to wait.
    pub(crate) fn would_wait(&self) -> bool {
        !self.is_full() && !self.is_free()
    }

    fn is_full(&self) -> bool {
        match self.is.threads {
            true => self.places >= self.is.limit + self.is.queue,
            false => !self.is_free() && self.line.len() >= self.is.queue,
        }
    }

    fn is_free(&self) -> bool {
        self.permits < self.is.limit && self.line.is_empty()
    }

    fn serve(&mut self) {
        while self.permits < self.is.limit {
            let Some(id) = self.line.pop_front() else { return };
            self.permits += 1;
            self.calls.get_mut(&id).unwrap().phase = Phase::Granted;
        }
    }

    pub(crate) fn resize(&mut self, limit: usize, queue: usize) {
        (self.is.limit, self.is.queue) = (limit, queue);
        self.serve();
    }

    /// `ends`: when the caller's context does.
    pub(crate) fn begin(&mut self, id: usize, admission: bool, again: bool, ends: u64, cancelled: bool) -> Heard {
        self.saw.requests += 1;
        let late = ends <= self.breaker.now;
        let ends = ends.min(self.breaker.now + self.is.timeout);
        let phase = Phase::Pausing(0);
        let call = Call {
            admission,
            again,
            phase,
            attempt: 1,
            ends,
            attempt_ends: ends,
            patience: 0,
            probe: false,
            cancelled,
            ticket: 0,
            failed: None,
            paid: false,
        };
        self.calls.insert(id, call);
        if cancelled || late { self.refuse(id, Heard::Late(!cancelled)) } else { self.try_once(id) }
    }

    /// Refused: it asks for leave and a place, and then for a permit that is free.
    pub(crate) fn ask_and_not_wait(&mut self, id: usize, would_wait: bool) -> Heard {
        let heard = self.begin(id, true, false, u64::MAX, false);
        if heard == Heard::Pending {
            assert!(would_wait);
            self.leave(id, Class::Ignore);
            return self.refuse(id, Heard::Full);
        }
        heard
    }

    /// From the breaker's leave to the work, as far as it gets.
    fn try_once(&mut self, id: usize) -> Heard {
        self.tickets += 1;
        if let Err(wait) = self.breaker.admit(self.tickets) {
            return self.refuse(id, Heard::Open(wait));
        }
        let (ticket, probe) = (self.tickets, self.breaker.is_probe());
        if self.is_full() {
            self.breaker.record(ticket, Class::Ignore);
            return self.refuse(id, Heard::Full);
        }
        self.places += 1;
        let free = self.is_free();
        let (probe_ends, patience) =
            (self.probe_ends(probe), self.is.max_wait.map_or(u64::MAX, |d| self.breaker.now + d));
        let call = self.calls.get_mut(&id).unwrap();
        (call.ticket, call.probe, call.patience) = (ticket, probe, patience);
        // An admission's context is made before it waits, that of an attempt after it.
        call.attempt_ends = if call.admission { call.ends.min(probe_ends) } else { call.ends };
        call.phase = if free { Phase::Granted } else { Phase::InLine };
        if free {
            self.permits += 1;
        } else {
            self.line.push_back(id);
        }
        self.poll(id)
    }

    fn probe_ends(&self, probe: bool) -> u64 {
        self.is.rules.probe_timeout.filter(|_| probe).map_or(u64::MAX, |d| self.breaker.now + d)
    }

    /// It has a permit.
    fn enter(&mut self, id: usize) -> Heard {
        let (now, probe_ends) = (self.breaker.now, self.probe_ends(self.calls[&id].probe));
        let call = self.calls.get_mut(&id).unwrap();
        if !call.admission {
            call.attempt_ends = call.ends.min(probe_ends);
        }
        if let Some(deadline) = call.over(call.attempt_ends, now) {
            self.leave(id, Class::Ignore);
            return self.refuse(id, Heard::Late(deadline));
        }
        call.phase = Phase::Running;
        self.saw.attempts += 1;
        if call.attempt > 1 {
            call.paid = false; // used
            self.saw.retries += 1;
        } else {
            self.balance = (self.balance + self.is.percent).min(self.is.burst * 100);
        }
        if call.admission { Heard::Admitted } else { Heard::Pending }
    }

    /// The attempt is over: the breaker hears of it, and place and permit are free, or the place in line.
    fn leave(&mut self, id: usize, class: Class) {
        let call = &self.calls[&id];
        let had = call.phase != Phase::InLine;
        self.breaker.record(call.ticket, class);
        self.line.retain(|other| *other != id);
        self.places -= 1;
        self.permits -= usize::from(had);
        self.serve();
    }

    fn refuse(&mut self, id: usize, heard: Heard) -> Heard {
        let call = &self.calls[&id];
        match call.failed {
            Some(failed) => self.conclude(id, Heard::Ended(End::Returned(failed))),
            None => self.conclude(id, heard),
        }
    }

    fn conclude(&mut self, id: usize, heard: Heard) -> Heard {
        let call = self.calls.remove(&id).unwrap();
        if call.paid {
            self.balance = (self.balance + 100).min(self.is.burst * 100);
            self.paid -= 1;
        }
        *match heard {
            Heard::Ended(End::Returned(Ok(_))) => &mut self.saw.succeeded,
            Heard::Ended(_) => &mut self.saw.failed,
            Heard::Left(_) => &mut self.saw.interrupted,
            Heard::Full => &mut self.saw.full,
            Heard::Open(_) => &mut self.saw.open,
            _ => &mut self.saw.ended,
        } += 1;
        heard
    }

    /// The work says how it ended.
    pub(crate) fn end(&mut self, id: usize, end: End) -> Heard {
        let (call, now) = (&self.calls[&id], self.breaker.now);
        let class = match end {
            End::Returned(Ok(class) | Err(class)) => class,
            End::Panicked => Class::Failure,
        };
        let tries = matches!(class, Class::Failure | Class::RetryAfter(_)) && end != End::Panicked;
        let at_least = if let Class::RetryAfter(d) = class { d.as_nanos() as u64 } else { 0 };
        let pause = self.is.pause.max(at_least);
        let (more, fits) = (call.again && call.attempt < self.is.attempts, now + pause < call.ends);
        self.leave(id, class);
        if let End::Returned(result) = end {
            self.calls.get_mut(&id).unwrap().failed = Some(result);
        }
        if !(tries && more && fits && self.pays(id)) {
            return self.conclude(id, Heard::Ended(end));
        }
        let call = self.calls.get_mut(&id).unwrap();
        call.attempt += 1;
        call.phase = Phase::Pausing(now + pause);
        self.poll(id)
    }

    fn pays(&mut self, id: usize) -> bool {
        if self.breaker.look().is_open() {
            return false;
        }
        if self.balance < 100 {
            self.refused += 1;
            return false;
        }
        self.balance -= 100;
        self.paid += 1;
        self.calls.get_mut(&id).unwrap().paid = true;
        true
    }

    /// The holder of an admission says so: what the caller makes of its result is not looked at.
    pub(crate) fn end_admission(&mut self, id: usize, class: Class) {
        let failure = !matches!(class, Class::Success | Class::Slow);
        let told = if failure && self.calls[&id].cancelled { Class::Ignore } else { class };
        self.leave(id, told);
        let heard = match class {
            Class::Success | Class::Slow => Heard::Ended(End::Returned(Ok(class))),
            Class::Ignore => Heard::Left(false),
            _ => Heard::Ended(End::Returned(Err(class))),
        };
        self.conclude(id, heard);
    }

    pub(crate) fn cancel(&mut self, id: usize) {
        self.calls.get_mut(&id).unwrap().cancelled = true;
    }

    /// Its future is looked at, and its work says nothing.
    pub(crate) fn poll(&mut self, id: usize) -> Heard {
        let (call, now) = (&self.calls[&id], self.breaker.now);
        match call.phase {
            Phase::Granted => self.enter(id),
            Phase::InLine => match call.over(call.attempt_ends.min(call.ends), now) {
                Some(deadline) => {
                    self.leave(id, Class::Ignore);
                    self.refuse(id, Heard::Late(deadline))
                }
                None if now >= call.patience => {
                    self.leave(id, Class::Ignore);
                    self.refuse(id, Heard::Full)
                }
                None => Heard::Pending,
            },
            Phase::Running => match call.over(call.attempt_ends, now) {
                Some(deadline) => {
                    self.leave(id, if deadline { Class::Failure } else { Class::Ignore });
                    self.conclude(id, Heard::Left(deadline))
                }
                None => Heard::Pending,
            },
            Phase::Pausing(_) if call.cancelled => self.refuse(id, Heard::Late(false)),
            Phase::Pausing(until) if now >= until => self.try_once(id),
            Phase::Pausing(_) => Heard::Pending,
        }
    }

    /// Its future, or its admission, is dropped.
    pub(crate) fn drop(&mut self, id: usize) {
        let call = &self.calls[&id];
        let entered = call.phase == Phase::Running || call.attempt > 1;
        if !matches!(call.phase, Phase::Pausing(_)) {
            self.leave(id, Class::Ignore);
        }
        self.conclude(id, if entered { Heard::Left(false) } else { Heard::Late(false) });
    }
}
