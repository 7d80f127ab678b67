//! The public breaker, one thread and manual time, beside the model that the crate's own tests drive it with: arbitrary
//! operations, jumps in time and changes of rules. And the builder: whatever it is given, it builds what is sound and
//! refuses the rest.

#![no_main]

#[path = "../../tests/model/breaker.rs"]
mod breaker;
#[path = "../../tests/model/drive.rs"]
mod drive;

use arbitrary::Arbitrary;
use breaker::{Op, Rules};
use drive::Pair;
use libfuzzer_sys::fuzz_target;
use std::time::Duration;
use watertight::{Breaker, Recovery, Trip};

#[derive(Arbitrary, Debug)]
struct Script {
    /// None: the small and sound rules that the numbers stand for.
    raw: Option<Raw>,
    rules: (u64, u64),
    ops: Vec<u64>,
}

#[derive(Arbitrary, Debug)]
struct Raw {
    failures: u32,
    rate: f64,
    last: u32,
    min_calls: u32,
    after_ms: u32,
    probes: u32,
    successes: u32,
    growth: f64,
    jitter: f64,
    ramp: u32,
}

fn builds(raw: &Raw) {
    let trip = Trip::rate(raw.rate).last(raw.last).min_calls(raw.min_calls).or_consecutive(raw.failures);
    let recovery = Recovery::after(Duration::from_millis(raw.after_ms.into()))
        .probes(raw.probes)
        .successes(raw.successes)
        .growth(raw.growth)
        .jitter(raw.jitter)
        .ramp(raw.ramp);
    let sound = (1..=86_400_000).contains(&raw.after_ms)
        && (1..=10_000).contains(&raw.probes)
        && (1..=raw.probes).contains(&raw.successes)
        && (1.0..=100.0).contains(&raw.growth)
        && (0.0..=1.0).contains(&raw.jitter)
        && raw.ramp <= 10
        && raw.failures > 0
        && raw.rate > 0.0
        && raw.rate <= 1.0
        && (1..=65_536).contains(&raw.last)
        && (1..=raw.last).contains(&raw.min_calls);
    let built = Breaker::builder("fuzzed").trip(trip).recovery(recovery).build();
    assert_eq!(built.is_ok(), sound, "{built:?}");
}

fuzz_target!(|script: Script| {
    if let Some(raw) = &script.raw {
        builds(raw);
    }
    let mut pair = Pair::new(Rules::from_bits(script.rules.0, script.rules.1));
    for op in script.ops {
        pair.step(Op::from_bits(op));
    }
    pair.finish();
});
