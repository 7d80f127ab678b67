//! One clock for all processes: the machine's monotonic clock in microseconds, so that a moment noted by the gateway can
//! be compared with one noted by the generator.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Microseconds on the machine's monotonic clock.
pub(crate) fn now_us() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000 + now.tv_nsec as u64 / 1_000
}

/// How long until `at_us`; zero when it has passed.
pub(crate) fn until(at_us: u64) -> Duration {
    Duration::from_micros(at_us.saturating_sub(now_us()))
}
