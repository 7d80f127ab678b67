//! What is sent, when, and what is done to the dependency meanwhile: routes, architectures, phases and arrivals.
//!
//! Arrivals are drawn once, for one window of a few seconds, and replayed with the same offsets in every window. Two
//! windows then differ by the fault and not by luck.

use std::time::Duration;

use clap::ValueEnum;
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, Exp};
use serde::{Deserialize, Serialize};

use crate::faults::Fault;

/// Requests per second over all routes, before `--rate-scale`.
pub(crate) const RATE: f64 = 1_000.0;
/// What a healthy downstream takes to answer.
pub(crate) const SERVICE: Duration = Duration::from_millis(50);
/// What the sick downstream takes to answer.
pub(crate) const SICK: Duration = Duration::from_secs(5);
/// The shared pool of architectures (b) and (c), before `--rate-scale`.
pub(crate) const SHARED_THREADS: usize = 200;
/// Requests per second, and threads of the shared pool, of `--metastable`: three attempts for each request are more than
/// the pool can carry, one is far less.
pub(crate) const OVERCOMMITTED_RATE: f64 = 700.0;
pub(crate) const OVERCOMMITTED_THREADS: usize = 100;
/// How long a caller of (c) waits for one attempt; also the age up to which an answer counts as good.
pub(crate) const PATIENCE: Duration = Duration::from_secs(1);
/// Attempts of (c) and of (d), the first included.
pub(crate) const ATTEMPTS: u32 = 3;
/// How long the breaker of (d) stays open before it lets a probe through.
pub(crate) const OPEN_FOR: Duration = Duration::from_secs(1);
/// The header in which the generator says which phase a request belongs to.
pub(crate) const PHASE_HEADER: &str = "x-phase";

/// The story's sickness: with the service time it makes the 5 s.
pub(crate) fn sickness() -> Fault {
    Fault::Latency { latency_ms: (SICK - SERVICE).as_millis() as u64, jitter_ms: 0 }
}

const SEED: u64 = 0x0077_6174_6572;

/// A route of the gateway, and the downstream behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Route {
    Payments,
    Orders,
    Recommendations,
}

impl Route {
    pub(crate) const ALL: [Route; 3] = [Route::Payments, Route::Orders, Route::Recommendations];
    /// The route whose downstream falls sick.
    pub(crate) const SICK: Route = Route::Recommendations;

    pub(crate) fn name(self) -> &'static str {
        match self {
            Route::Payments => "payments",
            Route::Orders => "orders",
            Route::Recommendations => "recommendations",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Route> {
        Self::ALL.into_iter().find(|r| r.name() == name)
    }

    pub(crate) fn index(self) -> usize {
        self as usize
    }

    /// Its part of the traffic.
    pub(crate) fn share(self) -> f64 {
        match self {
            Route::Payments => 0.3,
            Route::Orders => 0.6,
            Route::Recommendations => 0.1,
        }
    }

    pub(crate) fn is_healthy(self) -> bool {
        self != Self::SICK
    }

    /// The compartment that (d) gives it. `--rate-scale` leaves these sizes alone.
    pub(crate) fn compartment(self) -> Compartment {
        let (threads, queue, deadline) = match self {
            Route::Payments => (20, 40, 1_000),
            Route::Orders => (40, 80, 1_000),
            Route::Recommendations => (10, 10, 250),
        };
        Compartment { threads, queue, deadline: Duration::from_millis(deadline) }
    }
}

/// Threads, queue and deadline of one dependency in (d).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Compartment {
    pub(crate) threads: usize,
    pub(crate) queue: usize,
    pub(crate) deadline: Duration,
}

/// The four ways to call a dependency that the story compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Arch {
    A,
    B,
    C,
    D,
}

impl Arch {
    pub(crate) fn letter(self) -> char {
        match self {
            Arch::A => 'a',
            Arch::B => 'b',
            Arch::C => 'c',
            Arch::D => 'd',
        }
    }

    pub(crate) fn title(self) -> &'static str {
        match self {
            Arch::A => "a thread per request",
            Arch::B => "one shared pool, unbounded queue",
            Arch::C => "the shared pool and naive retries",
            Arch::D => "watertight compartments",
        }
    }
}

/// A stretch of the story. Windows and phases are the same thing here; the fault phase is several windows long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Phase {
    WarmUp,
    Before,
    Fault,
    After,
    Burst,
    End,
}

impl Phase {
    pub(crate) const COUNT: usize = 6;
    pub(crate) const ALL: [Phase; Self::COUNT] =
        [Phase::WarmUp, Phase::Before, Phase::Fault, Phase::After, Phase::Burst, Phase::End];

    pub(crate) fn index(self) -> usize {
        self as usize
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Phase::WarmUp => "warm-up",
            Phase::Before => "before",
            Phase::Fault => "fault",
            Phase::After => "after",
            Phase::Burst => "burst",
            Phase::End => "end",
        }
    }

    pub(crate) fn explained(self) -> &'static str {
        match self {
            Phase::WarmUp => "connections open, nothing is judged by time",
            Phase::Before => "everything is healthy",
            Phase::Fault => "recommendations takes 5 s",
            Phase::After => "recommendations is healthy again",
            Phase::Burst => "recommendations answers 500",
            Phase::End => "everything is healthy again",
        }
    }
}

/// What pushes an overcommitted gateway over in `--metastable`, in the phase `Fault`; then it is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Trigger {
    /// Recommendations takes 5 s.
    Slow,
    /// Every dependency answers 500, in its usual time.
    Errors,
    /// Requests come at four times the rate.
    Spike,
}

impl Trigger {
    pub(crate) const ALL: [Trigger; 3] = [Trigger::Slow, Trigger::Errors, Trigger::Spike];
    /// How many times as many requests come in a spike.
    pub(crate) const SPIKE: f64 = 4.0;

    pub(crate) fn name(self) -> &'static str {
        match self {
            Trigger::Slow => "slow dependency",
            Trigger::Errors => "error burst",
            Trigger::Spike => "arrival spike",
        }
    }

    pub(crate) fn explained(self) -> &'static str {
        match self {
            Trigger::Slow => "recommendations takes 5 s",
            Trigger::Errors => "every dependency answers 500",
            Trigger::Spike => "requests come at four times the rate",
        }
    }

    /// How long it lasts: until naive callers have lost patience, by arithmetic and with something to spare. Errors take
    /// longest: they only turn one attempt into three, which is hardly more than the pool can carry.
    pub(crate) fn seconds(self) -> u64 {
        match self {
            Trigger::Slow => 5,
            Trigger::Errors => 24,
            Trigger::Spike => 4,
        }
    }

    /// What is wrong with a dependency meanwhile.
    pub(crate) fn fault(self, route: Route) -> Fault {
        match self {
            Trigger::Slow if route == Route::SICK => sickness(),
            Trigger::Errors => Fault::Errors,
            Trigger::Slow | Trigger::Spike => Fault::None,
        }
    }
}

/// One phase on the story's time line.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Stretch {
    pub(crate) phase: Phase,
    pub(crate) from_ms: u64,
    pub(crate) len_ms: u64,
}

impl Stretch {
    pub(crate) fn end_ms(&self) -> u64 {
        self.from_ms + self.len_ms
    }
}

/// The time line of one architecture. Handed to the generator and the canary, so that all agree on it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Plan {
    pub(crate) scale: f64,
    /// The length of the window whose arrivals are replayed.
    pub(crate) window_ms: u64,
    pub(crate) stretches: Vec<Stretch>,
    /// Of `--metastable`; the story has none.
    pub(crate) trigger: Option<Trigger>,
}

/// One request to be sent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Arrival {
    /// Microseconds since the story's start.
    pub(crate) at_us: u64,
    pub(crate) route: Route,
    pub(crate) phase: Phase,
}

impl Plan {
    /// The whole story, 87 s in all. (d), the only one that is judged by time, is seen for as long before the fault as
    /// in it. (a) has nothing to recover from; the others have as long for it as the fault was.
    pub(crate) fn full(arch: Arch, scale: f64) -> Self {
        let (warm_up, before, end) = match arch {
            Arch::A => (1, 4, 0),
            Arch::B | Arch::C => (1, 4, 2),
            Arch::D => (2, 8, 2),
        };
        Self::of(scale, [warm_up, before, 8, 4, 2, end])
    }

    /// The short form, 36 s in all: (b) ends soon after it has collapsed.
    pub(crate) fn quick(arch: Arch, scale: f64) -> Self {
        match arch {
            Arch::D => Self::of(scale, [2, 4, 8, 4, 2, 1]),
            _ => Self::of(scale, [1, 4, 8, 1, 0, 0]),
        }
    }

    /// 700 requests/s, a trigger, and what is left of the service when it is gone.
    pub(crate) fn metastable(trigger: Trigger, short: bool) -> Self {
        let (before, after) = if short { (2, 5) } else { (4, 10) };
        Self {
            trigger: Some(trigger),
            ..Self::of(OVERCOMMITTED_RATE / RATE, [2, before, trigger.seconds(), after, 0, 0])
        }
    }

    /// What goes on in a phase, in words.
    pub(crate) fn explained(&self, phase: Phase) -> &'static str {
        match (self.trigger, phase) {
            (Some(trigger), Phase::Fault) => trigger.explained(),
            (Some(_), Phase::After) => "everything is healthy again",
            _ => phase.explained(),
        }
    }

    /// Phases of so many seconds, in the order of [`Phase::ALL`]; those of none are left out.
    fn of(scale: f64, seconds: [u64; Phase::COUNT]) -> Self {
        let mut from_ms = 0;
        let mut stretches = Vec::new();
        for (phase, len_ms) in Phase::ALL.into_iter().zip(seconds.map(|s| s * 1_000)).filter(|(_, len)| *len > 0) {
            stretches.push(Stretch { phase, from_ms, len_ms });
            from_ms += len_ms;
        }
        Self { scale, window_ms: 4_000, stretches, trigger: None }
    }

    pub(crate) fn total(&self) -> Duration {
        Duration::from_millis(self.stretches.last().map_or(0, Stretch::end_ms))
    }

    pub(crate) fn stretch(&self, phase: Phase) -> Option<Stretch> {
        self.stretches.iter().copied().find(|s| s.phase == phase)
    }

    /// The stretch that is on at `ms` since the start; the last one afterwards.
    pub(crate) fn at(&self, ms: u64) -> Stretch {
        let last = self.stretches[self.stretches.len() - 1];
        self.stretches.iter().copied().find(|s| ms < s.end_ms()).unwrap_or(last)
    }

    /// Threads of the shared pool of (b) and (c).
    pub(crate) fn shared_threads(&self) -> usize {
        match self.trigger {
            Some(_) => OVERCOMMITTED_THREADS,
            None => shared_threads(self.scale),
        }
    }

    /// The offsets of one window, in microseconds: a Poisson stream, each arrival given to a route by its share.
    pub(crate) fn window(&self) -> Vec<(u64, Route)> {
        self.window_at(RATE * self.scale)
    }

    fn window_at(&self, rate: f64) -> Vec<(u64, Route)> {
        if self.trigger.is_some() {
            return self.counted_window(rate);
        }
        let mut rng = ChaCha8Rng::seed_from_u64(SEED);
        let gap = Exp::new(rate).expect("the rate is positive");
        let mut offsets = Vec::new();
        let mut at = 0.0;
        loop {
            at += gap.sample(&mut rng);
            let at_us = (at * 1e6) as u64;
            if at_us >= self.window_ms * 1_000 {
                return offsets;
            }
            offsets.push((at_us, pick(rng.random_range(0.0..1.0))));
        }
    }

    /// A Poisson stream of which the number is known. Where three attempts for each request are hardly more than the pool
    /// can carry, luck with the number would decide.
    fn counted_window(&self, rate: f64) -> Vec<(u64, Route)> {
        let mut rng = ChaCha8Rng::seed_from_u64(SEED);
        let count = (rate * self.window_ms as f64 / 1_000.0).round() as usize;
        let arrival = |_| (rng.random_range(0..self.window_ms * 1_000), pick(rng.random_range(0.0..1.0)));
        let mut offsets: Vec<_> = (0..count).map(arrival).collect();
        offsets.sort_unstable();
        offsets
    }

    /// Every request of the story: the window, replayed from its beginning in each stretch as often as it fits.
    pub(crate) fn arrivals(&self) -> Vec<Arrival> {
        let usual = self.window();
        let spike = match self.trigger {
            Some(Trigger::Spike) => Some(self.window_at(RATE * self.scale * Trigger::SPIKE)),
            _ => None,
        };
        let mut all = Vec::new();
        for stretch in &self.stretches {
            let window = spike.as_ref().filter(|_| stretch.phase == Phase::Fault).unwrap_or(&usual);
            for replay in (0..stretch.len_ms).step_by(self.window_ms as usize) {
                let room_us = (stretch.len_ms - replay) * 1_000;
                let base_us = (stretch.from_ms + replay) * 1_000;
                all.extend(window.iter().take_while(|(offset, _)| *offset < room_us).map(|&(offset, route)| Arrival {
                    at_us: base_us + offset,
                    route,
                    phase: stretch.phase,
                }));
            }
        }
        all
    }
}

pub(crate) fn shared_threads(scale: f64) -> usize {
    ((SHARED_THREADS as f64 * scale).round() as usize).max(1)
}

fn pick(mut draw: f64) -> Route {
    for route in Route::ALL {
        if draw < route.share() {
            return route;
        }
        draw -= route.share();
    }
    Route::Recommendations
}

#[cfg(test)]
mod tests;
