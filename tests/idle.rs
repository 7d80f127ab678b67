//! Idle costs nothing: workers of an idle pool make no wake-ups and use no CPU. Read from the kernel's own counters.
#![cfg(target_os = "linux")]

use std::fs;
use std::time::Duration;
use watertight::Pool;

/// Voluntary and involuntary context switches and CPU ticks of every thread whose name begins with `prefix`.
fn counters(prefix: &str) -> Vec<(String, u64, u64)> {
    let mut all = Vec::new();
    for task in fs::read_dir("/proc/self/task").unwrap().flatten() {
        let read = |file: &str| fs::read_to_string(task.path().join(file)).unwrap_or_default();
        let name = read("comm").trim().to_owned();
        if !name.starts_with(prefix) {
            continue;
        }
        let status = read("status");
        let switches = status.lines().filter(|l| l.contains("ctxt_switches"));
        let switches = switches.map(|l| l.rsplit(char::is_whitespace).next().unwrap().parse::<u64>().unwrap()).sum();
        let stat = read("stat");
        let fields: Vec<_> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = [11, 12].iter().filter_map(|i| fields.get(*i)?.parse::<u64>().ok()).sum();
        all.push((name, switches, ticks));
    }
    all.sort();
    all
}

#[test]
fn an_idle_pool_of_64_makes_no_wake_ups_and_burns_no_cpu() {
    let pool = Pool::builder("idler").threads(64).queue(64).build().unwrap();
    pool.submit(|| ()).unwrap().join().unwrap();
    // The workers are idle once their counters stand still.
    let mut before = counters("idler");
    for _ in 0..1_000 {
        std::thread::sleep(Duration::from_millis(20)); // the idling that is measured, not a synchronisation
        let now = counters("idler");
        if now == before && now.len() == 64 {
            break;
        }
        before = now;
    }
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(counters("idler"), before);
    assert_eq!(before.len(), 64, "never more, never fewer threads");
}
