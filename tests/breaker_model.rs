//! The breaker against a model that a page can hold: random rules, random operations, manual time. The fuzz target
//! `breaker_ops` drives the same pair.

#[path = "model/breaker.rs"]
mod breaker;
#[path = "model/drive.rs"]
mod drive;

use breaker::{Op, Rules};
use drive::Pair;
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1_000) })]
    #[test]
    fn the_breaker_does_what_the_model_does(
        a in any::<u64>(),
        b in any::<u64>(),
        ops in prop::collection::vec(any::<u64>(), 0..300),
    ) {
        let mut pair = Pair::new(Rules::from_bits(a, b));
        for op in ops {
            pair.step(Op::from_bits(op));
        }
        pair.finish();
    }
}

/// Ten million operations in a build for release, fewer without; `BREAKER_OPS` for another number.
#[test]
fn ten_million_operations_go_as_the_model_says() {
    const ROUND: u64 = 2_000;
    let default = if cfg!(debug_assertions) { 300_000 } else { 10_000_000 };
    let ops: u64 = std::env::var("BREAKER_OPS").map_or(default, |n| n.parse().unwrap());
    let mut state = std::env::var("BREAKER_SEED").map_or(7, |n| n.parse().unwrap());
    let mut next = || -> u64 {
        state = u64::wrapping_add(state, 0x9E37_79B9_7F4A_7C15);
        let z = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    };
    let mut calls = 0;
    for _ in 0..ops.div_ceil(ROUND) {
        let mut pair = Pair::new(Rules::from_bits(next(), next()));
        (0..ROUND).for_each(|_| pair.step(Op::from_bits(next())));
        calls += pair.finish();
    }
    assert!(calls as u64 > ops / 3, "only {calls} calls");
    println!("{ops} operations, {calls} of them calls");
}
