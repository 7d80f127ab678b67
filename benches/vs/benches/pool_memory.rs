//! What pools take: heap per queued job of 24 captured bytes and what is left of it after a drain; allocations per job;
//! what 64 threads with nothing to do keep in memory and how often they wake. The last by a process for each contender and
//! round, so that nobody else's memory is counted.
//!
//! As in `pool`: medians of rounds, their quartiles in brackets, ratios within a round, a word picks workloads, `--test`
//! runs each once and briefly.

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::alloc::System;
use std::cell::RefCell;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::time::Duration;
use vs::kernel;
use vs::peers::{Joins, Measure, MeasureJoins, Peer, QUEUE, everybody, everybody_joins, warm};
use vs::table::{Contender, Figure, Ratio, compare, effort};
use watertight::Pool;

#[global_allocator]
static HEAP: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Bytes taken since, and not given back.
fn net(region: &Region<'_, System>) -> f64 {
    let change = region.change();
    // stats_alloc counts what a block grew by among the allocated bytes, and what it shrank by among the freed.
    change.bytes_allocated as f64 - change.bytes_deallocated as f64
}

/// Once it stands still: a job's memory may be freed a little after the job has ended.
fn settled(region: &Region<'_, System>) -> f64 {
    let mut before = net(region);
    for _ in 0..100 {
        std::thread::sleep(Duration::from_millis(2));
        let now = net(region);
        if now == before {
            break;
        }
        before = now;
    }
    before
}

fn until_none(left: &AtomicUsize) {
    while left.load(Ordering::Acquire) > 0 {
        std::thread::sleep(Duration::from_micros(100));
    }
}

/// So many jobs queued behind one that holds the only worker.
struct Queued(usize);

impl Measure for Queued {
    fn of<P: Peer>(&self) -> Vec<f64> {
        let jobs = self.0;
        // Leaked, so that a job captures 24 bytes: a pointer and two numbers.
        let left: &'static AtomicUsize = Box::leak(Box::new(AtomicUsize::new(jobs)));
        let held = Arc::new(Barrier::new(2));
        let region = Region::new(HEAP);
        let pool = P::new(1, jobs);
        for _ in 0..2 {
            warm(&pool, 1);
            std::thread::sleep(Duration::from_millis(2)); // what a thread takes when it first sleeps is not the jobs'
        }
        let hold = held.clone();
        let holds = pool.execute(move || {
            hold.wait();
            hold.wait();
        });
        held.wait();
        let pool_alone = net(&region);
        let mut kept = Vec::with_capacity(jobs);
        let before = net(&region);
        for n in 0..jobs {
            kept.push(pool.execute(move || {
                std::hint::black_box((n, jobs));
                left.fetch_sub(1, Ordering::AcqRel);
            }));
        }
        let jobs_alone = net(&region) - before;
        held.wait();
        until_none(left);
        kept.clear();
        drop(holds);
        let after = settled(&region) - before;
        drop(kept);
        pool.end();
        vec![(pool_alone + jobs_alone) / jobs as f64, jobs_alone / jobs as f64, after]
    }
}

/// Allocations per job of so many, when as many have been done before.
struct Allocations(usize);

impl Allocations {
    fn of_each(&self, all: impl Fn()) -> Vec<f64> {
        all();
        let region = Region::new(HEAP);
        all();
        let change = region.change();
        vec![(change.allocations + change.reallocations) as f64 / self.0 as f64]
    }
}

impl Measure for Allocations {
    fn of<P: Peer>(&self) -> Vec<f64> {
        let pool = P::new(2, QUEUE);
        warm(&pool, 2);
        let left: &'static AtomicUsize = Box::leak(Box::new(AtomicUsize::new(0)));
        let per_job = self.of_each(|| {
            left.store(self.0, Ordering::Relaxed);
            for _ in 0..self.0 {
                // Kept no longer than this job, or keeping it would be counted.
                let before = left.load(Ordering::Acquire);
                let kept = pool.execute(move || {
                    left.fetch_sub(1, Ordering::AcqRel);
                });
                while size_of_val(&kept) > 0 && left.load(Ordering::Acquire) == before {
                    std::hint::spin_loop();
                }
            }
            until_none(left);
        });
        pool.end();
        per_job
    }
}

impl MeasureJoins for Allocations {
    fn of<P: Joins>(&self) -> Vec<f64> {
        let pool = P::new(2, QUEUE);
        warm(&pool, 2);
        let per_job = self.of_each(|| {
            let sum: u64 = (0..self.0 as u64).map(|n| pool.submit(move || n)()).sum();
            std::hint::black_box(sum);
        });
        pool.end();
        per_job
    }
}

struct JoinedLater(usize);

impl MeasureJoins for JoinedLater {
    fn of<P: Joins>(&self) -> Vec<f64> {
        let pool = P::new(2, QUEUE);
        warm(&pool, 2);
        let handles = RefCell::new(Vec::with_capacity(self.0));
        let per_job = Allocations(self.0).of_each(|| {
            let left: &'static AtomicUsize = Box::leak(Box::new(AtomicUsize::new(self.0)));
            handles.borrow_mut().extend((0..self.0).map(|_| {
                pool.submit(move || {
                    left.fetch_sub(1, Ordering::AcqRel);
                    7
                })
            }));
            until_none(left);
            std::thread::sleep(Duration::from_millis(2)); // so that no join waits
            let sum: u64 = handles.borrow_mut().drain(..).map(|join| join()).sum();
            assert_eq!(sum, 7 * self.0 as u64);
        });
        drop(handles);
        pool.end();
        per_job
    }
}

impl Allocations {
    fn of_call(&self) -> Vec<f64> {
        let pool = <Pool as Peer>::new(2, QUEUE);
        warm(&pool, 2);
        let per_job = self.of_each(|| {
            let sum: u64 = (0..self.0 as u64).map(|n| pool.call(|| n).unwrap()).sum();
            std::hint::black_box(sum);
        });
        pool.end();
        per_job
    }
}

/// 64 threads that have each run a job and then have nothing to do, for so long. In a process of its own.
struct Idle(Duration);

const THREADS: usize = 64;

impl Measure for Idle {
    fn of<P: Peer>(&self) -> Vec<f64> {
        let rss = kernel::resident();
        let pool = P::new(THREADS, QUEUE);
        warm(&pool, THREADS);
        std::thread::sleep(self.0 / 2);
        let rss = kernel::resident() - rss;
        let here = kernel::this_thread();
        let before = kernel::threads();
        std::thread::sleep(self.0);
        let since = kernel::since(&before);
        let its = || since.iter().filter(|counts| counts.thread != here);
        let wakes = its().map(|counts| counts.voluntary).sum::<u64>() as f64;
        let cpu = its().map(|counts| counts.cpu).sum::<u64>() as f64 / 1e3;
        pool.end();
        vec![rss, wakes / self.0.as_secs_f64(), cpu / self.0.as_secs_f64()]
    }
}

const CHILD: &str = "--child=";

/// What the child that measures the contender of this number prints.
fn by_child(which: usize) -> Vec<f64> {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.arg(format!("{CHILD}{which}")).args(std::env::args().filter(|arg| arg == "--test"));
    let output = child.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().split_whitespace().map(|value| value.parse().unwrap()).collect()
}

fn main() {
    let idle = Idle(effort(Duration::from_millis(500), Duration::from_millis(50)));
    let children = everybody(&idle);
    if let Some(which) = std::env::args().find_map(|arg| arg.strip_prefix(CHILD)?.parse::<usize>().ok()) {
        return children[which].1().iter().for_each(|value| println!("{value}"));
    }
    let rounds = effort(5, 1);
    for jobs in [QUEUE, effort(100_000, 2_000)] {
        compare(
            &format!("heap: {jobs} jobs of 24 captured bytes queued, with as many places where there is a bound"),
            rounds,
            &[
                Figure::new("bytes per queued job, the pool included", Ratio::OfIt),
                Figure::new("bytes per queued job, beyond the idle pool", Ratio::None),
                Figure::new("bytes left after the drain, beyond the idle pool", Ratio::None),
            ],
            &everybody(&Queued(jobs)),
        );
    }
    let allocations = Allocations(1000);
    let each = [Figure::new("per job", Ratio::None)];
    compare("allocations: execute", rounds, &each, &everybody(&allocations));
    let later = JoinedLater(QUEUE);
    compare("allocations: submit, joined when it is done", rounds, &each, &everybody_joins(&later));
    compare("allocations: submit, joined at once", rounds, &each, &everybody_joins(&allocations));
    let call: [Contender<'_>; 1] = [("Pool::call", Box::new(|| allocations.of_call()))];
    compare("allocations: call", rounds, &each, &call);
    let child =
        |(which, (name, _)): (usize, &Contender<'_>)| -> Contender<'_> { (*name, Box::new(move || by_child(which))) };
    let contenders: Vec<_> = children.iter().enumerate().map(child).collect();
    compare(
        "idle: 64 threads that have each run a job, in a process of their own",
        effort(7, 1),
        &[
            Figure::new("KiB resident", Ratio::OfIt),
            Figure::new("wake-ups per second", Ratio::None),
            Figure::new("us of CPU per second", Ratio::None),
        ],
        &contenders,
    );
}
