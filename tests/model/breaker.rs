//! What a breaker is, said as plainly as possible: calls in a list, and the calls whose result still counts in another. No
//! epochs, no slots, no words, no locks. Times are nanoseconds. Also what can be done to one, read out of numbers, for
//! whoever drives the breaker and this beside each other.

use std::time::Duration;
use watertight::breaker::BreakerCause::{self, *};
use watertight::breaker::BreakerState::{self, *};
use watertight::{Class, Recovery, Trip};

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Window {
    None,
    Calls(usize),
    /// Nanoseconds, in steps of a tenth.
    Time(u64),
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    pub(crate) consecutive: Option<u32>,
    pub(crate) rate: Option<f64>,
    pub(crate) slow: Option<(f64, u64)>,
    /// A rule of one's own: so many failures.
    pub(crate) own: Option<u64>,
    pub(crate) window: Window,
    pub(crate) min: u32,
    pub(crate) lump: Option<u64>,
    pub(crate) after: u64,
    pub(crate) growth: f64,
    pub(crate) at_most: u64,
    pub(crate) jitter: f64,
    pub(crate) probes: u32,
    pub(crate) successes: u32,
    pub(crate) ramp: u32,
    pub(crate) probe_timeout: Option<u64>,
}

/// The next number below `n`, off the low end of `bits`.
fn take(bits: &mut u64, n: u64) -> u64 {
    let value = *bits % n;
    *bits /= n;
    value
}

const MS: u64 = 1_000_000;

impl Rules {
    /// Small and sound ones, so that things happen.
    pub(crate) fn from_bits(mut a: u64, mut b: u64) -> Self {
        let some = |bits: &mut u64, of: u64| take(bits, of) == 0;
        let kind = take(&mut a, 4);
        let rate = |bits: &mut u64| (take(bits, 20) + 1) as f64 / 20.0;
        let mut rules = Self {
            consecutive: (kind == 0 || some(&mut a, 4)).then(|| take(&mut a, 5) as u32 + 1),
            rate: (kind == 1).then(|| rate(&mut a)),
            slow: (kind == 2 || some(&mut a, 3)).then(|| (rate(&mut a), (take(&mut a, 30) + 1) * MS)),
            own: (kind == 3).then(|| take(&mut a, 9) + 1),
            window: Window::None,
            min: 0,
            lump: some(&mut a, 5).then(|| (take(&mut a, 50) + 1) * MS),
            after: (take(&mut b, 50) + 1) * MS,
            growth: [1.0, 1.5, 2.0, 100.0][take(&mut b, 4) as usize],
            at_most: 0,
            jitter: [0.0, 0.5, 1.0][take(&mut b, 3) as usize],
            probes: take(&mut b, 5) as u32 + 1,
            successes: 0,
            ramp: take(&mut b, 6).saturating_sub(3) as u32,
            probe_timeout: some(&mut b, 3).then(|| (take(&mut b, 60) + 1) * MS),
        };
        rules.at_most = rules.after + take(&mut b, 500) * MS;
        rules.successes = rules.probes - take(&mut b, rules.probes.into()) as u32;
        if rules.rate.is_some() || rules.slow.is_some() || rules.own.is_some() {
            let (calls, span) = (take(&mut b, 40) + 1, (take(&mut b, 100) + 10) * MS);
            let timed = some(&mut b, 2);
            rules.window = if timed { Window::Time(span) } else { Window::Calls(calls as usize) };
            rules.min = take(&mut b, if timed { 20 } else { calls }) as u32 + 1;
        }
        rules
    }

    pub(crate) fn trip(&self) -> Trip {
        let over = |(rate, over)| (rate, Duration::from_nanos(over));
        let mut trip = match (self.rate, self.slow.map(over), self.own, self.consecutive) {
            (Some(rate), ..) => Trip::rate(rate),
            (_, Some((rate, over)), ..) => Trip::slow_rate(rate, over),
            (_, _, Some(failures), _) => Trip::own(move |counts| counts.failures >= failures),
            (.., consecutive) => Trip::consecutive(consecutive.expect("a rule")),
        };
        if let (Some((rate, over)), true) = (self.slow.map(over), self.rate.is_some()) {
            trip = trip.or_slow_rate(rate, over);
        }
        if let Some(failures) = self.consecutive {
            trip = trip.or_consecutive(failures);
        }
        trip = match self.window {
            Window::None => trip,
            Window::Calls(n) => trip.last(n as u32).min_calls(self.min),
            Window::Time(span) => trip.within(Duration::from_nanos(span)).min_calls(self.min),
        };
        if let Some(lump) = self.lump { trip.lump(Duration::from_nanos(lump)) } else { trip }
    }

    pub(crate) fn recovery(&self) -> Recovery {
        let recovery = Recovery::after(Duration::from_nanos(self.after))
            .growth(self.growth)
            .at_most(Duration::from_nanos(self.at_most))
            .jitter(self.jitter)
            .probes(self.probes)
            .successes(self.successes)
            .ramp(self.ramp);
        match self.probe_timeout {
            Some(ns) => recovery.probe_timeout(Duration::from_nanos(ns)),
            None => recovery,
        }
    }

    /// Whichever of its own a constructor shadows is no rule: [`trip`](Self::trip) can say only one of them.
    fn own_rule(&self) -> Option<u64> {
        self.own.filter(|_| self.rate.is_none() && self.slow.is_none())
    }

    fn interval(&self, opening: u32) -> u64 {
        let grown = self.after as f64 * self.growth.powf(f64::from(opening.saturating_sub(1)));
        grown.min(self.at_most as f64) as u64
    }

    fn lease(&self) -> u64 {
        self.after.max(self.probe_timeout.unwrap_or(0) * 2)
    }
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Op {
    /// Admitted and recorded at once.
    Call(Class),
    Admit,
    End(usize, Class),
    Drop(usize),
    Pass(u64),
    Look,
    Snapshot,
    Force(BreakerState),
    Reset,
    Reconfigure(u64, u64),
}

impl Op {
    pub(crate) fn from_bits(mut bits: u64) -> Self {
        let kind = take(&mut bits, 100);
        let which = take(&mut bits, 1 << 16) as usize;
        let class = match take(&mut bits, 16) {
            0..=6 => Class::Success,
            7..=10 => Class::Failure,
            11 => Class::Final,
            12 => Class::RetryAfter(Duration::ZERO),
            13 | 14 => Class::Slow,
            _ => Class::Ignore,
        };
        match kind {
            0..=29 => Self::Call(class),
            30..=49 => Self::Admit,
            50..=66 => Self::End(which, class),
            67..=69 => Self::Drop(which),
            70..=87 => Self::Pass(take(&mut bits, 20 * MS)),
            88 | 89 => Self::Pass(take(&mut bits, 2_000 * MS)),
            90 => Self::Pass(take(&mut bits, 1 << 40)),
            91..=93 => Self::Look,
            94..=96 => Self::Snapshot,
            97 => Self::Force([ForcedOpen, ForcedClosed, MetricsOnly][which % 3]),
            98 => Self::Reset,
            _ => Self::Reconfigure(bits.wrapping_mul(0x9E37_79B9_7F4A_7C15), bits.rotate_left(32) ^ which as u64),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Told {
    pub(crate) from: BreakerState,
    pub(crate) to: BreakerState,
    pub(crate) cause: BreakerCause,
    /// Calls, failures, slow, failures in a row.
    pub(crate) counts: [u64; 4],
    pub(crate) retry_after: Option<u64>,
}

/// A call or a probe: when it was recorded, failed, slow.
type Ended = (u64, bool, bool);

pub(crate) struct Model {
    pub(crate) rules: Rules,
    pub(crate) now: u64,
    pub(crate) state: BreakerState,
    pub(crate) told: Vec<Told>,
    pub(crate) late: u64,
    pub(crate) openings: u32,
    /// What the breaker has said about how long it opens, since chance may have a part in it.
    pub(crate) hint: Option<u64>,
    calls: Vec<Ended>,
    run: u64,
    lumped: Option<u64>,
    since: u64,
    until: u64,
    round: u32,
    /// Calls whose results still count: when they were admitted if calls were timed then, and when their lease is over.
    valid: Vec<(usize, Option<u64>, u64)>,
    /// The rules of this round: its probes, how many must succeed, how many slow ones are too many.
    places: (usize, usize, usize),
}

impl Model {
    pub(crate) fn new(rules: Rules) -> Self {
        Self {
            rules,
            now: 0,
            state: Closed,
            told: vec![],
            late: 0,
            openings: 0,
            hint: None,
            calls: vec![],
            run: 0,
            lumped: None,
            since: 0,
            until: 0,
            round: 0,
            valid: vec![],
            places: (0, 0, 0),
        }
    }

    fn go(&mut self, to: BreakerState, cause: BreakerCause) {
        let (from, counts) = (self.state, self.counts());
        if from != to {
            let retry_after = if to == Open { self.hint } else { None };
            self.told.push(Told { from, to, cause, counts, retry_after });
        }
        self.state = to;
        self.calls.clear();
        self.valid.clear();
        (self.run, self.lumped) = (0, None);
    }

    fn open(&mut self, cause: BreakerCause) {
        if self.state == Closed {
            let calm = (self.now - self.since) / self.rules.interval(self.openings);
            self.openings = self.openings.saturating_sub(u32::try_from(calm).unwrap_or(u32::MAX));
        }
        self.openings = (self.openings + 1).min(10_000);
        let whole = self.rules.interval(self.openings);
        let least = (whole as f64 * (1.0 - self.rules.jitter)) as u64;
        let interval =
            self.hint.unwrap_or_else(|| panic!("not opened: {cause:?} {:?} {:?}", self.counts(), self.rules));
        assert!(interval <= whole && interval + 1 >= least.max(self.rules.after), "{interval} of {whole}");
        assert!(self.rules.jitter > 0.0 || interval == whole);
        self.until = self.now + interval;
        self.go(Open, cause);
    }

    fn start_round(&mut self, round: u32) {
        let (n, need) = (self.rules.probes << round, self.rules.successes << round);
        let too_slow = |rate| (1..=n).find(|slow| f64::from(*slow) / f64::from(n) >= rate).unwrap() as usize;
        let slow = self.rules.slow.map_or(usize::MAX, |(rate, _)| too_slow(rate));
        self.round = round;
        self.places = (n as usize, need as usize, slow);
    }

    pub(crate) fn look(&mut self) -> BreakerState {
        if self.state == Open && self.now >= self.until {
            self.start_round(0);
            self.go(HalfOpen, IntervalOver);
        }
        self.state
    }

    /// The number of the call that is admitted, or how long to wait.
    pub(crate) fn admit(&mut self, call: usize) -> Result<(), u64> {
        let mut lease = u64::MAX;
        match self.look() {
            ForcedOpen => return Err(self.rules.after),
            Open => return Err(self.until - self.now),
            HalfOpen => {
                if let Some(wait) = self.wait() {
                    return Err(wait);
                }
                if self.is_full() {
                    self.valid.remove(0);
                }
                lease = self.now + self.rules_of_round_lease();
            }
            _ => {}
        }
        let timed = self.rules.slow.is_some() && self.state != ForcedClosed;
        self.valid.push((call, timed.then_some(self.now), lease));
        Ok(())
    }

    fn rules_of_round_lease(&self) -> u64 {
        self.rules.lease()
    }

    fn is_full(&self) -> bool {
        self.valid.len() + self.calls.len() == self.places.0
    }

    /// How long all places of a half-open breaker are taken.
    fn wait(&self) -> Option<u64> {
        let full = self.state == HalfOpen && self.is_full();
        self.valid.first().filter(|(.., lease)| full && *lease > self.now).map(|(.., lease)| lease - self.now)
    }

    pub(crate) fn is_probe(&self) -> bool {
        self.state == HalfOpen
    }

    pub(crate) fn record(&mut self, call: usize, class: Class) {
        let Some(at) = self.valid.iter().position(|(id, ..)| *id == call) else {
            self.late += 1;
            return;
        };
        let (_, begun, _) = self.valid.remove(at);
        if class == Class::Ignore {
            return;
        }
        let failed = !matches!(class, Class::Success | Class::Slow);
        let over = self.rules.slow.map_or(u64::MAX, |(_, over)| over);
        let slow = class == Class::Slow || begun.is_some_and(|begun| self.now - begun > over);
        match self.state {
            Closed => {
                if let Some(cause) = self.count(failed, slow) {
                    self.open(cause);
                }
            }
            MetricsOnly => drop(self.count(failed, slow)),
            HalfOpen => self.probed(failed, slow),
            _ => {}
        }
    }

    fn probed(&mut self, failed: bool, slow: bool) {
        self.calls.push((self.now, failed, slow));
        self.run = if failed { self.run + 1 } else { 0 };
        let (places, need, too_slow) = self.places;
        let failures = self.calls.iter().filter(|call| call.1).count();
        let slow = self.calls.iter().filter(|call| call.2).count();
        let left = places - self.calls.len();
        if places - failures < need {
            self.open(ProbesFailed);
        } else if slow >= too_slow {
            self.open(ProbesSlow);
        } else if self.calls.len() - failures >= need && slow + left < too_slow {
            if self.round < self.rules.ramp {
                self.start_round(self.round + 1);
                self.go(HalfOpen, ProbesSucceeded);
            } else {
                self.since = self.now;
                self.go(Closed, ProbesSucceeded);
            }
        }
    }

    fn count(&mut self, failed: bool, slow: bool) -> Option<BreakerCause> {
        if let (Some(lump), true) = (self.rules.lump, failed) {
            if self.lumped.is_some_and(|last| self.now < last + lump) {
                return None;
            }
            self.lumped = Some(self.now);
        }
        self.run = if failed { self.run + 1 } else { 0 };
        if self.rules.window != Window::None {
            self.calls.push((self.now, failed, slow));
        }
        self.forget();
        if self.rules.consecutive.is_some_and(|n| self.run >= n.into()) {
            return Some(ConsecutiveFailures);
        }
        let [calls, failures, slow, _] = self.counts();
        let enough = calls >= self.rules.min.into();
        if self.rules.rate.is_some_and(|rate| enough && failures as f64 / calls as f64 >= rate) {
            return Some(FailureRate);
        }
        if self.rules.slow.is_some_and(|(rate, _)| enough && slow as f64 / calls as f64 >= rate) {
            return Some(SlowRate);
        }
        self.rules.own_rule().filter(|n| failures >= *n).map(|_| OwnRule)
    }

    fn forget(&mut self) {
        match self.rules.window {
            Window::None => {}
            Window::Calls(n) => drop(self.calls.drain(..self.calls.len().saturating_sub(n))),
            Window::Time(span) => {
                let slot = |at: u64| at / span.div_ceil(10);
                self.calls.retain(|call| slot(call.0) + 10 > slot(self.now));
            }
        }
    }

    fn counts(&self) -> [u64; 4] {
        if self.rules.window == Window::None && self.state != HalfOpen {
            return [self.run, self.run, 0, self.run];
        }
        let of = |what: fn(&&Ended) -> bool| self.calls.iter().filter(what).count() as u64;
        [self.calls.len() as u64, of(|call| call.1), of(|call| call.2), self.run]
    }

    /// What a snapshot shows: counts, and how long to wait.
    pub(crate) fn figures(&mut self) -> ([u64; 4], Option<u64>) {
        let wait = match self.look() {
            Open => Some(self.until - self.now),
            ForcedOpen => Some(self.rules.after),
            HalfOpen => self.wait(),
            _ => {
                self.forget();
                None
            }
        };
        (self.counts(), wait)
    }

    pub(crate) fn force(&mut self, to: BreakerState) {
        self.go(to, Forced);
    }

    pub(crate) fn reset(&mut self) {
        (self.since, self.openings) = (self.now, 0);
        self.go(Closed, Reset);
    }

    /// False: such a change is not what this model knows of, and nothing has changed.
    pub(crate) fn reconfigure(&mut self, rules: Rules) -> bool {
        if self.state == HalfOpen {
            return false; // a round goes by the rules it began with
        }
        match (self.rules.window, rules.window) {
            (Window::Time(_), Window::Calls(_)) => return false, // the order within a step is not known any more
            (Window::None, _) | (_, Window::None) => self.calls.clear(),
            (Window::Calls(_), Window::Time(_)) => self.calls.iter_mut().for_each(|call| call.0 = self.now),
            (Window::Calls(_), Window::Calls(_)) => {}
            // A step's calls are taken to have happened at the end of it.
            (Window::Time(span), Window::Time(_)) => {
                let step = span.div_ceil(10);
                let now = self.now;
                self.forget();
                self.calls.iter_mut().for_each(|call| call.0 = ((call.0 / step + 1) * step - 1).min(now));
            }
        }
        self.rules = rules;
        self.forget();
        true
    }
}
