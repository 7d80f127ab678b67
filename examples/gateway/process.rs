//! What the system says of a process: threads, memory, processor time.

use std::fs;
use std::io;
use std::time::Duration;

use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Process {
    pub(crate) threads: u64,
    pub(crate) rss_kb: u64,
    pub(crate) cpu: Duration,
}

impl Process {
    pub(crate) fn read(pid: u32) -> io::Result<Self> {
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        Ok(Self { threads: field(&status, "Threads:"), rss_kb: field(&status, "VmRSS:"), cpu: cpu(&stat) })
    }
}

fn field(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|l| l.strip_prefix(name));
    line.and_then(|l| l.split_whitespace().next()).and_then(|v| v.parse().ok()).unwrap_or(0)
}

/// User and system time. The name, second on the line, may contain blanks and brackets, so counting starts after it.
fn cpu(stat: &str) -> Duration {
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks: u64 = after_name.split_whitespace().skip(11).take(2).filter_map(|v| v.parse::<u64>().ok()).sum();
    Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_this_process() {
        let me = Process::read(std::process::id()).unwrap();
        assert!(me.threads >= 1);
        assert!(me.rss_kb > 100);
    }

    #[test]
    fn processor_time_comes_after_a_name_with_blanks() {
        let stat = "7 (a (b) c) S 1 1 1 0 -1 4194560 1 0 0 0 150 50 0 0 20 0 1 0 5";
        let ticks = rustix::param::clock_ticks_per_second() as f64;
        assert_eq!(cpu(stat), Duration::from_secs_f64(200.0 / ticks));
    }
}
