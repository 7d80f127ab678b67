//! How many threads, how long a queue: the arithmetic, from measured figures.
//!
//! # How to size a pool in four steps
//!
//! 1. **Look at the pool twice**, some seconds apart at the busiest time: what arrives a second, refusals included.
//! 2. **Know a job**: how long it takes once it runs, on average and for the slowest hundredth; and, if you can, its
//!    processor time and what its dependency can take at once.
//! 3. **Decide how long a caller waits** for the result, and [`recommend`].
//! 4. **Read the arithmetic.** If it says that CPU or dependency is the limit, more threads do not help; if it says that
//!    some must be refused, no size does.
//!
//! ```
//! use std::time::Duration;
//! use watertight::Pool;
//! use watertight::sizing::{Bottleneck, Workload, arrival_rate, recommend};
//!
//! let ms = Duration::from_millis;
//! let pool = Pool::builder("thumbnails").threads(4).queue(1_024).build()?;
//!
//! // 1. Twice, ten seconds apart.
//! let earlier = pool.stats();
//! # (0..3_000).for_each(|_| pool.execute(|| ()).unwrap());
//! let rate = arrival_rate(&earlier, &pool.stats(), Duration::from_secs(10))?;
//!
//! // 2. A job takes 25 ms and seldom more than 60, 5 of them on one of two CPUs. 3. Callers wait 200 ms.
//! let load = Workload::per_second(rate).service(ms(25), ms(60)).cpu(ms(5), 2.0).wait_budget(ms(200));
//! let size = recommend(&pool.stats(), &load)?;
//!
//! // 4.
//! println!("{size}");
//! assert_eq!((size.threads, size.queue), (10, 56));
//! assert_eq!(size.limit_now, Bottleneck::Threads); // 4 threads do 160 a second, and 300 arrive
//! assert_eq!(size.limit, Bottleneck::Cpu); // 10 keep both CPUs busy: no use of an eleventh
//! let resized = Pool::builder("thumbnails").threads(size.threads).queue(size.queue).build()?;
//! # Ok::<(), watertight::BuildError>(())
//! ```
//!
//! It prints:
//!
//! ```text
//! threads 10, queue 56; the limit is the CPU
//!   busy        λ·S = 300/s × 25 ms = 7.50 threads (Little's law)
//!   bunches     R = λ·S_p99 = 300/s × 60 ms = 18.00; ⌈R + 1.5·√R⌉ = ⌈18.00 + 6.36⌉ = 25 threads (Hystrix's rule, square-root staffing)
//!   waits       p99 wait ≤ T − S_p99 = 200 ms − 60 ms = 140 ms: from 9 threads on, 65.5 ms (Erlang-C)
//!   CPU         cpus·S/S_cpu = 2.00 × 25 ms / 5 ms → 10 threads, 400/s
//!   queue       ⌊c·(T − S_p99)/S⌋ = ⌊10 × (200 ms − 60 ms) / 25 ms⌋ = 56
//!   then        capacity 400/s, used 75 %; 30.7 % wait, on average 3.07 ms, p99 34.23 ms (Erlang-C)
//!   now         threads 4, queue 1024: capacity 160/s for 300/s, limit: the number of threads; a full queue is 6.4 s long
//!   so far      3000 accepted, 0 refused as full (0.0 %); 0 running, 0 queued
//! ```
//!
//! The program `examples/sizing` finds all of these figures by experiment, and tries what it recommends. To measure work of
//! your own in the same way, replace one closure in `benches/sizing.rs`.
//!
//! # The laws
//!
//! | | says | where |
//! |---|---|---|
//! | Little's law | how many are inside: rate × time | [`in_flight`], [`capacity`], [`wait_in_queue`] |
//! | the bound of a queue | what waits longer is dead on arrival | [`queue_bound`] |
//! | square-root staffing | room for bunches grows with the root of the load | [`square_root_staffing`] |
//! | Erlang-C | how many have to wait, and how long | [`ErlangC`] |
//! | Universal Scalability Law | what a further thread still adds | [`Usl`] |
//!
//! # What they do not know
//!
//! Little's law always holds. Erlang-C assumes arrivals that know nothing of each other, and service times that do not grow
//! with the load: measure those at the load you mean. Clients that retry in step, or a dependency that slows down under
//! load, wait longer than it says. The queue's bound needs none of this, which is why it is the one to rely on.
//!
//! Everything here is arithmetic on its arguments: it reads no clock, takes no lock and never waits.

mod erlang;
mod little;
mod recommend;
mod show;
#[cfg(all(test, not(watertight_loom)))]
mod tests;
mod usl;
mod workload;

pub use erlang::ErlangC;
pub use little::{capacity, in_flight, queue_bound, square_root_staffing, wait_in_queue};
pub use recommend::{Bottleneck, Recommendation, recommend};
pub use usl::Usl;
pub use workload::{Workload, arrival_rate};

use crate::error::BuildError;
use std::ops::RangeInclusive;
use std::time::Duration;

/// What a pool allows: a recommendation must be one that can be built.
const MAX_THREADS: usize = 16_384;
const MAX_QUEUE: usize = 1 << 20;
/// More than any machine can tell apart.
const MAX_RATE: f64 = 1e9;
const MAX_TIME: Duration = Duration::from_secs(24 * 60 * 60);

fn check_number(
    field: &'static str,
    value: f64,
    range: RangeInclusive<f64>,
    allowed: &'static str,
) -> Result<(), BuildError> {
    if range.contains(&value) { Ok(()) } else { Err(BuildError::out_of_range(field, value, allowed)) }
}

fn check_duration(field: &'static str, value: Duration) -> Result<(), BuildError> {
    if value.is_zero() || value > MAX_TIME {
        return Err(BuildError::out_of_range(field, format!("{value:?}"), "1 ns to 24 hours"));
    }
    Ok(())
}

/// A time that may be longer than a `Duration` can be: then the longest there is.
fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
}
