//! Work of a known length: so many steps that each need the one before, counted and not timed, so that a job reads no
//! clock.

use std::hint::black_box;
use std::sync::{Barrier, OnceLock};
use std::time::{Duration, Instant};

/// So many steps.
#[inline]
pub fn steps(n: u64) {
    let mut x = black_box(1_u64);
    for i in 0..n {
        x = x.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(i);
    }
    black_box(x);
}

/// Nanoseconds per step when all cores are busy: the shortest of many measurements, so without whoever else runs.
fn step() -> f64 {
    static STEP: OnceLock<f64> = OnceLock::new();
    const STEPS: u64 = 100_000;
    *STEP.get_or_init(|| {
        let cores = crate::kernel::cores();
        let together = Barrier::new(cores);
        let measure = || {
            together.wait();
            let timed = |_| {
                let begun = Instant::now();
                steps(STEPS);
                begun.elapsed().as_nanos() as f64 / STEPS as f64
            };
            (0..200).map(timed).fold(f64::INFINITY, f64::min)
        };
        std::thread::scope(|s| {
            let all: Vec<_> = (0..cores).map(|_| s.spawn(measure)).collect();
            all.into_iter().map(|one| one.join().unwrap()).sum::<f64>() / cores as f64
        })
    })
}

/// How many steps take so long.
pub fn lasting(length: Duration) -> u64 {
    (length.as_nanos() as f64 / step()).round() as u64
}
