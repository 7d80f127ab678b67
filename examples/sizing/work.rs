//! The built-in workloads: what a job does, and how its length is drawn.

use std::hint::black_box;
use std::thread;
use std::time::Duration;

use clap::ValueEnum;
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use serde::Serialize;
use watertight::{Context, Limit};

use crate::system;

/// Of a mixed job, the part that computes.
const COMPUTES: f64 = 0.2;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// Computes all the time
    Cpu,
    /// Waits all the time, as for a disk or a distant service with no bound
    Sleep,
    /// Waits for a service that takes only so many calls at once
    Dependency,
    /// Computes a fifth of its time and waits the rest
    Mixed,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Spread {
    /// All jobs take the same time
    Constant,
    /// As Erlang-C assumes: many short jobs, a few long ones
    Exponential,
}

/// A workload, ready to run. `benches/sizing.rs` has one of its own and none of the others.
#[allow(dead_code, reason = "each of the two programs makes one of them")]
pub(crate) enum Work {
    BuiltIn(BuiltIn),
    Own(Box<dyn Fn() + Send + Sync>),
}

pub(crate) struct BuiltIn {
    kind: Kind,
    mean: Duration,
    rounds_per_us: f64,
    dependency: Limit,
}

#[allow(dead_code, reason = "each of the two programs makes one of them")]
impl Work {
    /// `calls` is how many at once the dependency takes.
    pub(crate) fn new(kind: Kind, mean: Duration, calls: usize) -> Result<Self, watertight::BuildError> {
        let rounds_per_us = calibrate();
        let dependency = Limit::builder(calls).queue(16_384).build()?;
        Ok(Self::BuiltIn(BuiltIn { kind, mean, rounds_per_us, dependency }))
    }

    /// Somebody's own, whose jobs are as long as they are.
    pub(crate) fn own(job: impl Fn() + Send + Sync + 'static) -> Self {
        Self::Own(Box::new(job))
    }

    /// A job, of `scale` times the mean length if it is built in.
    pub(crate) fn run(&self, scale: f64) {
        match self {
            Self::BuiltIn(work) => work.run(scale),
            Self::Own(job) => job(),
        }
    }
}

impl BuiltIn {
    fn run(&self, scale: f64) {
        match self.kind {
            Kind::Cpu => self.spin(scale),
            Kind::Sleep => thread::sleep(self.mean.mul_f64(scale)),
            Kind::Dependency => {
                let _call = self.dependency.acquire(&Context::background()).expect("its queue is longer than any pool");
                thread::sleep(self.mean.mul_f64(scale));
            }
            Kind::Mixed => {
                self.spin(scale * COMPUTES);
                thread::sleep(self.mean.mul_f64(scale * (1.0 - COMPUTES)));
            }
        }
    }

    /// A fixed amount of work and not a fixed time: on a shared CPU it takes longer, as real work does.
    fn spin(&self, scale: f64) {
        rounds((self.mean.as_secs_f64() * 1e6 * scale * self.rounds_per_us) as u64);
    }
}

fn rounds(n: u64) {
    let mut x = 1u64;
    for i in 0..n {
        x = black_box(x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(i));
    }
    black_box(x);
}

/// Rounds a microsecond of processor time, the fastest of a few tries: the others were disturbed.
fn calibrate() -> f64 {
    const ROUNDS: u64 = 200_000;
    let fastest = (0..5).map(|_| {
        let before = system::thread_cpu();
        rounds(ROUNDS);
        system::thread_cpu().saturating_sub(before)
    });
    let fastest = fastest.min().unwrap_or_default().max(Duration::from_nanos(1));
    ROUNDS as f64 / (fastest.as_secs_f64() * 1e6)
}

/// The lengths of jobs as parts of the mean.
#[derive(Debug)]
pub(crate) enum Scales {
    Constant,
    /// Exponential, independent of each other: for queues, which are made by chance.
    Random(Box<ChaCha8Rng>),
    /// Exponential, spread evenly by the golden ratio: for throughput, so that few jobs have the mean of many.
    Even(f64),
}

impl Scales {
    pub(crate) fn random(spread: Spread, seed: u64) -> Self {
        match spread {
            Spread::Constant => Self::Constant,
            Spread::Exponential => Self::Random(Box::new(ChaCha8Rng::seed_from_u64(seed))),
        }
    }

    /// `round` takes up where the one before could have ended.
    pub(crate) fn even(spread: Spread, round: u8) -> Self {
        match spread {
            Spread::Constant => Self::Constant,
            Spread::Exponential => Self::Even(f64::from(round) * 0.37),
        }
    }

    pub(crate) fn next(&mut self) -> f64 {
        let part: f64 = match self {
            Self::Constant => return 1.0,
            Self::Random(rng) => rng.random_range(0.0..1.0),
            Self::Even(at) => {
                *at = (*at + 0.618_033_988_749_894_9).fract();
                *at
            }
        };
        -(1.0 - part).ln()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_have_the_mean_and_the_spread_of_their_law() {
        for (mut scales, jobs, part) in [
            (Scales::even(Spread::Exponential, 0), 100, 0.05),
            (Scales::random(Spread::Exponential, 1), 100_000, 0.02),
            (Scales::even(Spread::Constant, 0), 10, 0.0),
        ] {
            let drawn: Vec<f64> = (0..jobs).map(|_| scales.next()).collect();
            let mean = drawn.iter().sum::<f64>() / jobs as f64;
            assert!((mean - 1.0).abs() <= part, "{mean}");
            assert!(drawn.iter().all(|s| s.is_finite() && *s >= 0.0));
        }
    }

    #[test]
    fn one_seed_is_one_load() {
        let draw = |seed| {
            let mut scales = Scales::random(Spread::Exponential, seed);
            (0..10).map(|_| scales.next()).collect::<Vec<_>>()
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }

    #[test]
    fn every_kind_runs() {
        for kind in Kind::value_variants() {
            Work::new(*kind, Duration::from_micros(10), 1).unwrap().run(1.0);
        }
    }
}
