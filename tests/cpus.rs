//! The CPUs that were granted and those that workers stay on, as the system sees it.
#![cfg(target_os = "linux")]

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Barrier};
use watertight::cpus::{self, Pin};
use watertight::{Context, Pool};

/// The CPUs this thread may run on.
fn mask() -> BTreeSet<usize> {
    let set = sched_getaffinity(None).unwrap();
    (0..CpuSet::MAX_CPU).filter(|cpu| set.is_set(*cpu)).collect()
}

/// On a thread that may only run on these.
fn with_mask<T: Send>(cpus: &BTreeSet<usize>, f: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let masked = scope.spawn(|| {
            let mut set = CpuSet::new();
            cpus.iter().for_each(|cpu| set.set(*cpu));
            sched_setaffinity(None, &set).unwrap();
            f()
        });
        masked.join().unwrap()
    })
}

/// The mask of every worker: each runs one of as many jobs that meet.
fn masks(pool: &Pool) -> Vec<BTreeSet<usize>> {
    let threads = pool.stats().threads;
    let met = Arc::new(Barrier::new(threads));
    let job = || {
        let met = met.clone();
        pool.submit(move || {
            met.wait();
            mask()
        })
    };
    let jobs: Vec<_> = (0..threads).map(|_| job().unwrap()).collect();
    jobs.into_iter().map(|job| job.join().unwrap()).collect()
}

#[test]
fn the_default_size_is_what_was_granted_and_says_why() {
    let pool = Pool::builder("default").build().unwrap();
    let granted = cpus::granted();
    assert_eq!(granted.affinity, mask().len());
    assert_eq!((pool.stats().threads, pool.size_reason().to_string()), (granted.threads, granted.to_string()));
    assert_eq!(pool.stats().pinned, 0);
}

#[test]
fn a_mask_of_one_cpu_is_one_thread() {
    let one: BTreeSet<_> = mask().into_iter().take(1).collect();
    with_mask(&one, || {
        let granted = cpus::granted();
        assert_eq!((granted.threads, granted.affinity), (1, 1));
        assert_eq!(Pool::builder("narrow").build().unwrap().stats().threads, 1);
    });
}

#[test]
fn pinned_workers_stay_on_one_cpu_each_of_the_builders_mask() {
    let all = mask();
    let pool = Pool::builder("pinned").threads(all.len()).pin(Pin::Cores).build().unwrap();
    let seen = masks(&pool);
    assert!(seen.iter().all(|mask| mask.len() == 1), "{seen:?}");
    assert_eq!(seen.into_iter().flatten().collect::<BTreeSet<_>>(), all, "each has another");
    assert_eq!(pool.stats().pinned, all.len());
    pool.shutdown(&Context::background()).unwrap();
    assert_eq!(pool.stats().pinned, 0);
    assert_eq!(mask(), all, "the thread that built it is where it was");

    // Not 0..n: what the mask leaves out is not used, though there are more workers than CPUs.
    let last: BTreeSet<_> = all.into_iter().next_back().into_iter().collect();
    with_mask(&last, || {
        let pool = Pool::builder("narrow").threads(3).pin(Pin::Numa).build().unwrap();
        assert_eq!(masks(&pool), vec![last.clone(); 3]);
        assert_eq!(pool.stats().pinned, 3);
    });
}

#[test]
fn workers_that_cannot_be_pinned_run_unpinned_and_that_is_told() {
    let pool = Pool::builder("nowhere").threads(2).pin(Pin::Node(4_095)).build().unwrap();
    assert_eq!(masks(&pool), vec![mask(); 2]);
    assert_eq!(pool.stats().pinned, 0);
}

#[test]
fn the_nodes_hold_the_cpus_that_are_online() {
    let nodes = cpus::nodes();
    let of_nodes: BTreeSet<_> = nodes.values().flatten().copied().collect();
    assert!(nodes.is_empty() || of_nodes.is_superset(&mask()), "{nodes:?}");
}

/// A cgroup of our own, gone when dropped.
struct Cgroup(PathBuf);

impl Cgroup {
    /// One below another, if this machine lets us: that takes root, and a hierarchy with the CPU controller.
    fn nested() -> Option<[Self; 2]> {
        let candidates = ["/sys/fs/cgroup/cpu", "/sys/fs/cgroup/cpu,cpuacct", "/sys/fs/cgroup"];
        let parent = candidates.iter().map(Path::new).find(|at| {
            let lists = |file: &str| fs::read_to_string(at.join(file)).is_ok_and(|text| text.contains("cpu"));
            at.join("cpu.cfs_quota_us").exists() || lists("cgroup.subtree_control")
        })?;
        let outer = Self::new(parent.join(format!("watertight-test-{}", std::process::id())))?;
        // In version 2 what is below has the controller only if what is above hands it on.
        let _ = fs::write(outer.0.join("cgroup.subtree_control"), "+cpu");
        let inner = Self::new(outer.0.join("inner"))?;
        Some([outer, inner])
    }

    fn new(at: PathBuf) -> Option<Self> {
        fs::create_dir(&at).ok()?;
        Some(Self(at))
    }

    /// In microseconds of each 100 ms.
    fn set(&self, quota: u32) -> Option<()> {
        let v1 = self.0.join("cpu.cfs_quota_us");
        match v1.exists() {
            true => fs::write(v1, quota.to_string()).ok(),
            false => fs::write(self.0.join("cpu.max"), format!("{quota} 100000")).ok(), // version 2
        }
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        let gone = fs::remove_dir(&self.0);
        assert!(gone.is_ok() || std::thread::panicking(), "{gone:?}");
    }
}

/// Names the process that tells what it was granted.
const TELL: &str = "WATERTIGHT_TELL_GRANTED";

/// What a process in that cgroup says it was granted, with its default pool.
fn told_in(group: &Cgroup) -> String {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["tells_what_it_was_granted", "--exact", "--nocapture"]).env(TELL, "1");
    let mut child = child.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    fs::write(group.0.join("cgroup.procs"), child.id().to_string()).unwrap();
    child.stdin.take().unwrap().write_all(b"go\n").unwrap();
    let said = child.wait_with_output().unwrap();
    assert!(said.status.success());
    String::from_utf8(said.stdout).unwrap()
}

#[test]
fn tells_what_it_was_granted() {
    if std::env::var_os(TELL).is_some() {
        std::io::stdin().read_line(&mut String::new()).unwrap(); // it has been moved by then
        let pool = Pool::builder("told").build().unwrap();
        let granted = cpus::granted();
        println!("{:?}; {}; {}", granted.limited_by, pool.stats().threads, pool.size_reason());
    }
}

#[test]
fn a_process_in_a_real_cgroup_has_its_quota_or_that_of_the_one_above() {
    let Some([outer, inner]) = Cgroup::nested() else {
        return println!("this machine does not let us make cgroups: tried with fixtures only");
    };
    let has = |group: &Cgroup, quota: &str| {
        let said = told_in(group);
        assert!(said.contains("; 1; 1 thread: ") && said.contains(&format!("cgroup quota {quota} CPUs")), "{said}");
        assert!(mask().len() == 1 || said.contains("Quota; "), "{said}");
    };
    outer.set(60_000).unwrap();
    has(&inner, "0.6"); // it sets none itself
    inner.set(20_000).unwrap();
    has(&inner, "0.2");
    has(&outer, "0.6");
}
