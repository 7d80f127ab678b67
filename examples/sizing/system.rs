//! What the system says: processor time used, and time spent ready to run without a processor.

use std::fs;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

fn read(id: ClockId) -> Duration {
    Duration::try_from(clock_gettime(id)).unwrap_or_default()
}

/// Processor time of this thread.
pub(crate) fn thread_cpu() -> Duration {
    read(ClockId::ThreadCPUTime)
}

/// A moment, and what the process had used by then.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Used {
    at: Instant,
    cpu: Duration,
    ready: Duration,
}

impl Used {
    pub(crate) fn now() -> Self {
        Self { at: Instant::now(), cpu: read(ClockId::ProcessCPUTime), ready: ready() }
    }

    /// CPUs used since `earlier`, and CPUs that were wanted: ready threads that had to wait for one count too, so that a
    /// machine shared with others does not look idle.
    pub(crate) fn cpus_since(&self, earlier: &Self) -> (f64, f64) {
        let wall = self.at.duration_since(earlier.at).as_secs_f64().max(f64::MIN_POSITIVE);
        let used = self.cpu.saturating_sub(earlier.cpu).as_secs_f64() / wall;
        let waited = self.ready.saturating_sub(earlier.ready).as_secs_f64() / wall;
        (used, used + waited)
    }
}

/// How long the threads that are alive have waited for a CPU, all together; zero where Linux does not tell.
fn ready() -> Duration {
    let Ok(tasks) = fs::read_dir("/proc/self/task") else { return Duration::ZERO };
    let of = |text: String| text.split_whitespace().nth(1)?.parse::<u64>().ok();
    let read = |task: fs::DirEntry| of(fs::read_to_string(task.path().join("schedstat")).ok()?);
    Duration::from_nanos(tasks.flatten().filter_map(read).sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_computes_uses_a_cpu() {
        let (before, mine) = (Used::now(), thread_cpu());
        while thread_cpu() < mine + Duration::from_millis(5) {
            std::hint::spin_loop();
        }
        let (used, wanted) = Used::now().cpus_since(&before);
        assert!(used > 0.0 && wanted >= used);
    }
}
