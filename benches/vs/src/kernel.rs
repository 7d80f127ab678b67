//! What the kernel counts of this process, from `/proc`. Elsewhere than on Linux there are no threads to be seen, and the
//! figures that need them are zero.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// What the kernel has counted of a thread.
#[derive(Clone, Copy)]
pub struct Counts {
    pub thread: u64,
    /// Context switches because it had nothing to do: it slept, or waited for somebody.
    pub voluntary: u64,
    /// Nanoseconds on a CPU until it last left one.
    pub cpu: u64,
}

/// All threads of this process.
pub fn threads() -> Vec<Counts> {
    let Ok(tasks) = fs::read_dir("/proc/self/task") else { return Vec::new() };
    let read = |task: fs::DirEntry| {
        let status = fs::read_to_string(task.path().join("status")).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?;
        Some(Counts {
            thread: task.file_name().to_str()?.parse().ok()?,
            voluntary: line.trim().parse().ok()?,
            cpu: cpu(&task.path()),
        })
    };
    tasks.flatten().filter_map(read).collect()
}

fn cpu(task: &Path) -> u64 {
    let schedstat = fs::read_to_string(task.join("schedstat")).unwrap_or_default();
    schedstat.split(' ').next().and_then(|ns| ns.parse().ok()).unwrap_or(0)
}

/// Nanoseconds of this thread on a CPU until it last left one.
pub fn cpu_of_this_thread() -> u64 {
    cpu(Path::new("/proc/thread-self"))
}

/// What they have done since `before`.
pub fn since(before: &[Counts]) -> Vec<Counts> {
    let none = Counts { thread: 0, voluntary: 0, cpu: 0 };
    let change = |now: Counts| {
        let then = before.iter().find(|then| then.thread == now.thread).unwrap_or(&none);
        Counts { voluntary: now.voluntary - then.voluntary, cpu: now.cpu.saturating_sub(then.cpu), ..now }
    };
    threads().into_iter().map(change).collect()
}

/// The number of this thread.
pub fn this_thread() -> u64 {
    let link = fs::read_link("/proc/thread-self").unwrap_or_default();
    link.file_name().and_then(|id| id.to_str()?.parse().ok()).unwrap_or(0)
}

/// KiB of this process in memory.
pub fn resident() -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse().ok()).unwrap_or(f64::NAN)
}

/// Some pools do not wait for their threads: those would disturb the next. Gives up after a second.
pub fn wait_for_threads_to_end(but: usize) {
    let begun = Instant::now();
    while threads().len() > but && begun.elapsed() < Duration::from_secs(1) {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// How many threads run at once, at most.
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
