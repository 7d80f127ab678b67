//! A job every millisecond into a pool of 64 that has nothing else to do: how soon it starts, on how many of the workers
//! all the jobs together, and what one costs.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use vs::kernel;
use vs::ours::Adaptive;
use vs::peers::{Measure, Peer, QUEUE, everybody, one, warm};
use vs::table::{Figure, Ratio, compare, effort, quantile};

const THREADS: usize = 64;
const EVERY: Duration = Duration::from_millis(1);

struct Idle(usize);

/// What a job says of itself.
#[derive(Default)]
struct Began {
    /// Nanoseconds since it was submitted.
    after: AtomicU64,
    /// Which thread.
    on: AtomicUsize,
}

/// Another number on each thread.
fn this_thread() -> usize {
    thread_local!(static HERE: u8 = const { 0 });
    HERE.with(|here| std::ptr::from_ref(here).addr())
}

impl Measure for Idle {
    fn of<P: Peer>(&self) -> Vec<f64> {
        let pool = P::new(THREADS, QUEUE);
        warm(&pool, THREADS);
        std::thread::sleep(20 * EVERY); // until all of them sleep
        let jobs: &'static [Began] = Vec::leak((0..self.0).map(|_| Began::default()).collect());
        let mut kept = Vec::with_capacity(jobs.len());
        let before = kernel::threads();
        std::thread::sleep(EVERY); // what this thread has used to look is counted when it leaves its core
        let own = kernel::cpu_of_this_thread();
        let mut due = Instant::now();
        for began in jobs {
            due += EVERY;
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            let submitted = Instant::now();
            kept.push(pool.execute(move || {
                began.after.store(submitted.elapsed().as_nanos() as u64, Ordering::Relaxed);
                began.on.store(this_thread(), Ordering::Release);
            }));
        }
        while jobs.iter().any(|began| began.on.load(Ordering::Acquire) == 0) {
            std::thread::sleep(EVERY);
        }
        std::thread::sleep(EVERY);
        let own = kernel::cpu_of_this_thread() - own;
        let here = kernel::this_thread();
        let since = kernel::since(&before);
        let others = since.iter().filter(|counts| counts.thread != here).map(|counts| counts.cpu);
        let cpu = own + others.sum::<u64>();
        drop(kept);
        pool.end();
        let mut after: Vec<_> = jobs.iter().map(|began| began.after.load(Ordering::Relaxed) as f64 / 1e3).collect();
        let workers: HashSet<_> = jobs.iter().map(|began| began.on.load(Ordering::Relaxed)).collect();
        let us_per_job = cpu as f64 / 1e3 / jobs.len() as f64;
        vec![quantile(&mut after, 0.5), quantile(&mut after, 0.99), workers.len() as f64, us_per_job]
    }
}

pub fn all() {
    let idle = Idle(effort(400, 20));
    let mut contenders = everybody(&idle);
    contenders.push(one::<Adaptive>(&idle));
    compare(
        "idle: a job every millisecond into a pool of 64",
        effort(9, 1),
        &[
            Figure::new("us from the submit to the start, p50", Ratio::OfIt),
            Figure::new("us from the submit to the start, p99", Ratio::OfIt),
            Figure::new("distinct workers", Ratio::None),
            Figure::new("us of CPU per job, the submitter's included", Ratio::OfIt),
        ],
        &contenders,
    );
}
