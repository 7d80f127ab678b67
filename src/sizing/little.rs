//! Little's law, the length of a queue, and the small rules that follow from both.

use super::seconds;
use std::time::Duration;

/// Little's law: how many are inside at once, on average, if `rate` a second enter and each stays `time`.
///
/// `L = λ·W` (J. D. C. Little, 1961). It holds for any arrivals and any service, as long as what enters leaves. With the
/// mean service time it gives the busy threads; with the waiting time, the jobs that wait.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use watertight::sizing::in_flight;
///
/// // 300 calls a second of 50 ms keep 15 threads busy.
/// assert_eq!(in_flight(300.0, Duration::from_millis(50)), 15.0);
/// ```
#[must_use]
pub fn in_flight(rate: f64, time: Duration) -> f64 {
    rate * time.as_secs_f64()
}

/// The same law read the other way: what `threads` can finish a second if each job takes `mean`. Infinite if it takes none.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// assert_eq!(watertight::sizing::capacity(20, Duration::from_millis(50)), 400.0);
/// ```
#[must_use]
pub fn capacity(threads: usize, mean: Duration) -> f64 {
    threads as f64 / mean.as_secs_f64()
}

/// The longest queue that still keeps a promise: `q_max = ⌊c·(T − S_p99) / S_mean⌋`.
///
/// The last of q jobs waits `q·S_mean / c` and then takes up to `S_p99`; together that must not be more than `budget`,
/// T, all that a caller waits. What would queue behind it would be dead on arrival. 0 if the budget is not longer than
/// `p99`: then a job is in time only if it starts at once. Saturates if a job takes no time.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use watertight::sizing::queue_bound;
///
/// let ms = Duration::from_millis;
/// assert_eq!(queue_bound(20, ms(200), ms(50), ms(80)), 48); // 20 × (200 − 80) / 50
/// assert_eq!(queue_bound(20, ms(60), ms(50), ms(80)), 0);
/// ```
#[must_use]
pub fn queue_bound(threads: usize, budget: Duration, mean: Duration, p99: Duration) -> usize {
    let left = budget.saturating_sub(p99).as_nanos();
    if left == 0 || threads == 0 {
        return 0;
    }
    // In whole nanoseconds, so that what divides evenly does; a cast of the float would turn 48 into 47.
    let jobs = left.saturating_mul(threads as u128).checked_div(mean.as_nanos());
    jobs.map_or(usize::MAX, |jobs| usize::try_from(jobs).unwrap_or(usize::MAX))
}

/// How long the last one in a full queue waits until it starts: `q·S_mean / c`. For ever if nobody works.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
///
/// let wait = watertight::sizing::wait_in_queue(40, 20, Duration::from_millis(50));
/// assert_eq!(wait, Duration::from_millis(100));
/// ```
#[must_use]
pub fn wait_in_queue(queue: usize, threads: usize, mean: Duration) -> Duration {
    match (queue, threads) {
        (0, _) => Duration::ZERO,
        (_, 0) => Duration::MAX,
        _ => seconds(queue as f64 * mean.as_secs_f64() / threads as f64),
    }
}

/// Threads for a load that comes in bunches: `⌈R + β·√R⌉`, the square-root staffing rule (Halfin and Whitt, 1981).
///
/// `load` is R, the busy threads by [`in_flight`]. With a β of 1 about a quarter of the jobs wait, with 2 about one in
/// twenty. At least 1. Saturates; what is not a number counts as no load.
///
/// # Examples
///
/// ```
/// // 30 requests a second of at most 0.2 s, and room: Hystrix's own example of a pool of 10.
/// assert_eq!(watertight::sizing::square_root_staffing(30.0 * 0.2, 1.5), 10);
/// ```
#[must_use]
pub fn square_root_staffing(load: f64, beta: f64) -> usize {
    let load = load.max(0.0);
    ceil(load + beta * load.sqrt()).max(1)
}

/// The next whole number, but for what is a whole number if the last digits of a float are not believed.
pub(super) fn ceil(x: f64) -> usize {
    let almost = if x.is_finite() { x - x.abs() * 1e-12 } else { x };
    almost.ceil() as usize
}

#[cfg(all(test, not(watertight_loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_queue_is_never_longer_than_the_promise() {
        assert_eq!(queue_bound(1, 100 * MS, 10 * MS, 10 * MS), 9);
        assert_eq!(queue_bound(3, Duration::from_nanos(10), Duration::from_nanos(3), Duration::ZERO), 10);
        assert_eq!(queue_bound(0, 100 * MS, MS, MS), 0);
        assert_eq!(queue_bound(4, 10 * MS, MS, 10 * MS), 0, "nothing is left");
        assert_eq!(queue_bound(4, MS, MS, 10 * MS), 0, "less than nothing is left");
        assert_eq!(queue_bound(4, MS, Duration::ZERO, Duration::ZERO), usize::MAX);
        assert_eq!(queue_bound(usize::MAX, Duration::MAX, Duration::from_nanos(1), Duration::ZERO), usize::MAX);
    }

    #[test]
    fn nobody_working_is_for_ever_and_an_empty_queue_no_time() {
        assert_eq!(wait_in_queue(1, 0, MS), Duration::MAX);
        assert_eq!(wait_in_queue(0, 0, MS), Duration::ZERO);
        assert_eq!(wait_in_queue(usize::MAX, 1, Duration::MAX), Duration::MAX);
    }

    #[test]
    fn whole_numbers_stay_what_they_are() {
        assert_eq!(ceil(100.0 * 0.07), 7, "though the product is 7.000000000000001");
        assert_eq!((ceil(7.1), ceil(0.0), ceil(f64::INFINITY), ceil(f64::NAN)), (8, 0, usize::MAX, 0));
        assert_eq!(square_root_staffing(f64::NAN, 1.0), 1);
    }

    proptest! {
        #[test]
        fn the_last_in_the_longest_queue_is_in_time_and_one_more_is_not(
            threads in 1usize..500, mean in 1u64..10_000_000, tail in 0u64..10_000_000, budget in 0u64..1_000_000_000,
        ) {
            let (mean, budget) = (Duration::from_nanos(mean), Duration::from_nanos(budget));
            let p99 = mean + Duration::from_nanos(tail);
            let ends = |queue: u128| queue * mean.as_nanos() + p99.as_nanos() * threads as u128; // in 1/threads ns
            let limit = budget.as_nanos() * threads as u128;
            let queue = queue_bound(threads, budget, mean, p99) as u128;
            prop_assert!(queue == 0 || ends(queue) <= limit);
            prop_assert!(ends(queue + 1) > limit);
        }
    }
}
