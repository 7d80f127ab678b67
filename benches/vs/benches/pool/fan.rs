//! Fan-out of 1,000 jobs of 10 us each, and all their results back.

use std::hint::black_box;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use vs::kernel;
use vs::peers::{Joins, MeasureJoins, Peer, QUEUE, everybody_joins, warm};
use vs::published::Rayon;
use vs::table::{Contender, Figure, Ratio, compare, effort, is_picked};
use vs::work::{lasting, steps};
use watertight::Pool;
use watertight::pool::Batch;

const THREADS: usize = 2;
const LENGTH: Duration = Duration::from_micros(10);

struct Fan {
    jobs: u64,
    /// How often.
    times: u32,
    steps: u64,
}

impl Fan {
    /// How many times as long as the ideal: the same work on as many threads, with nothing between, before and after.
    fn time(&self, fan: impl Fn() -> u64) -> Vec<f64> {
        fan();
        let before = self.ideal();
        let begun = Instant::now();
        for _ in 0..self.times {
            assert_eq!(fan(), self.jobs * (self.jobs - 1) / 2);
        }
        let took = begun.elapsed().as_secs_f64() / f64::from(self.times);
        vec![took * 2.0 / (before + self.ideal())]
    }

    /// Seconds.
    fn ideal(&self) -> f64 {
        let threads = THREADS.min(kernel::cores());
        let start = Barrier::new(threads);
        let part = || {
            start.wait();
            let begun = Instant::now();
            (0..self.jobs as usize / threads).for_each(|_| steps(self.steps));
            begun.elapsed().as_secs_f64()
        };
        std::thread::scope(|s| {
            let all: Vec<_> = (0..threads).map(|_| s.spawn(part)).collect();
            all.into_iter().map(|one| one.join().unwrap()).fold(0.0, f64::max)
        })
    }

    fn job(&self, n: u64) -> impl FnOnce() -> u64 + Send + use<> {
        let work = self.steps;
        move || {
            steps(work);
            n
        }
    }

    /// Other ways to have results from ours.
    fn ours(&self, fan: impl Fn(&Pool) -> u64) -> Vec<f64> {
        let pool = <Pool as Peer>::new(THREADS, QUEUE);
        warm(&pool, THREADS);
        let times = self.time(|| fan(&pool));
        pool.end();
        times
    }

    fn submit_batch(&self, pool: &Pool) -> u64 {
        let jobs = (0..self.jobs).map(|n| self.job(n)).collect();
        let handles = pool.submit_batch(jobs).unwrap_or_else(|_| panic!("there are places for all"));
        handles.into_iter().map(|handle| handle.join().unwrap()).sum()
    }

    fn batch(&self, pool: &Pool) -> Batch<u64> {
        let mut batch = pool.batch();
        (0..self.jobs).for_each(|n| assert!(batch.submit(self.job(n)).is_ok()));
        batch
    }

    fn map(&self, pool: &Pool, in_flight: usize) -> u64 {
        let work = self.steps;
        let map = pool.map(0..self.jobs, move |n| {
            steps(work);
            n
        });
        map.in_flight(in_flight).map(Result::unwrap).sum()
    }

    fn map_unordered(&self, pool: &Pool, in_flight: usize) -> u64 {
        let work = self.steps;
        let map = pool.map_unordered(0..self.jobs, move |n| {
            steps(work);
            n
        });
        map.in_flight(in_flight).map(Result::unwrap).sum()
    }

    /// Its jobs borrow, and its end waits for them.
    fn scoped(&self, pool: &Pool) -> u64 {
        let sum = &AtomicU64::new(0);
        pool.scope(|s| {
            for n in 0..self.jobs {
                let job = self.job(n);
                drop(s.submit(move || sum.fetch_add(job(), Ordering::Relaxed)));
            }
        });
        sum.load(Ordering::Relaxed)
    }

    /// rayon's own way: a scope.
    fn scope(&self) -> Vec<f64> {
        let pool = Rayon::new(THREADS, QUEUE);
        warm(&pool, THREADS);
        let times = self.time(|| {
            let mut results = vec![0; self.jobs as usize];
            pool.0.in_place_scope(|s| {
                for (n, result) in results.iter_mut().enumerate() {
                    let job = self.job(n as u64);
                    s.spawn(move |_| *result = job());
                }
            });
            black_box(results).iter().sum()
        });
        pool.end();
        times
    }
}

impl MeasureJoins for Fan {
    fn of<P: Joins>(&self) -> Vec<f64> {
        let pool = P::new(THREADS, QUEUE);
        warm(&pool, THREADS);
        let times = self.time(|| {
            let handles: Vec<_> = (0..self.jobs).map(|n| pool.submit(self.job(n))).collect();
            handles.into_iter().map(|join| join()).sum()
        });
        pool.end();
        times
    }
}

pub fn all() {
    let title = "fan-out of 1,000 jobs of 10 us and fan-in, 2 workers";
    if !is_picked(title) {
        return;
    }
    let fan = Fan { jobs: 1000, times: effort(20, 1), steps: lasting(LENGTH) };
    let mut contenders = everybody_joins(&fan);
    let ours: [Contender<'_>; 7] = [
        ("  ours, submit_batch", Box::new(|| fan.ours(|pool| fan.submit_batch(pool)))),
        ("  ours, Batch::join_all", Box::new(|| fan.ours(|pool| fan.batch(pool).join_all().unwrap().iter().sum()))),
        ("  ours, Batch as they end", Box::new(|| fan.ours(|pool| fan.batch(pool).map(Result::unwrap).sum()))),
        ("  ours, map", Box::new(|| fan.ours(|pool| fan.map(pool, usize::MAX)))),
        ("  ours, map, 64 in flight", Box::new(|| fan.ours(|pool| fan.map(pool, 64)))),
        ("  ours, map_unordered, 64", Box::new(|| fan.ours(|pool| fan.map_unordered(pool, 64)))),
        ("  ours, scope", Box::new(|| fan.ours(|pool| fan.scoped(pool)))),
    ];
    contenders.extend(ours);
    contenders.push(("rayon scope", Box::new(|| fan.scope())));
    compare(title, effort(15, 1), &[Figure::new("times the ideal", Ratio::OfIt)], &contenders);
}
