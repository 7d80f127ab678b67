//! The defaults of well-known breakers, as far as they can be said in the terms of this one.
//!
//! | | [`hystrix`] (1.5) | [`resilience4j`] (2.4) | [`polly`] (8) |
//! |---|---|---|---|
//! | window | 10 s | 100 calls | 30 s |
//! | opens at | 50 % failed of at least 20 | 50 % failed of at least 100, or all of them slower than 60 s | 10 % failed of at least 100 |
//! | open for | 5 s | 60 s | 5 s |
//! | half-open | 1 probe, which decides | 10 probes, fewer than half of which fail | 1 probe, which decides |
//!
//! What differs, and on purpose: every outcome is judged at once (Hystrix looks twice a second, Polly at failures only),
//! a time window moves on in ten steps and has the latest calls in it, results of calls from an earlier state count for
//! nothing, probes that do not come back lose their places, and ten probes decide as soon as their result is certain. The
//! interval does not grow, since theirs does not.
//!
//! # Examples
//!
//! ```
//! use watertight::breaker::preset;
//! use watertight::Breaker;
//!
//! let (trip, recovery) = preset::resilience4j();
//! let breaker = Breaker::builder("payments").trip(trip).recovery(recovery).build()?;
//! # let _ = breaker;
//! # Ok::<(), watertight::BuildError>(())
//! ```

use super::{Recovery, Trip};
use std::time::Duration;

const fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

/// Hystrix: half of at least 20 calls within ten seconds; five seconds; one probe.
pub fn hystrix() -> (Trip, Recovery) {
    (Trip::rate(0.5).within(seconds(10)).min_calls(20), Recovery::after(seconds(5)).growth(1.0))
}

/// Resilience4j: half of the last 100 calls failed, or all of them took more than a minute; one minute; ten probes, of
/// which fewer than half may fail, and not all be slow.
pub fn resilience4j() -> (Trip, Recovery) {
    let trip = Trip::rate(0.5).or_slow_rate(1.0, seconds(60)).last(100).min_calls(100);
    (trip, Recovery::after(seconds(60)).growth(1.0).probes(10).successes(6))
}

/// Polly's version 8: a tenth of at least 100 calls within half a minute; five seconds; one probe.
pub fn polly() -> (Trip, Recovery) {
    (Trip::rate(0.1).within(seconds(30)).min_calls(100), Recovery::after(seconds(5)).growth(1.0))
}
