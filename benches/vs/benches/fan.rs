//! Fan-out of 1,000 jobs of 10 us and fan-in, beside the ideal: the same work on as many threads, with nothing between.
//!
//! Each round measures the ideal and every contender, one after the other; a ratio is taken within a round. Printed are
//! medians of the rounds and, in brackets, their quartiles. With `--test` everything runs once.

use std::hint::black_box;
use std::sync::Barrier;
use std::time::{Duration, Instant};
use watertight::{JobHandle, Pool};

const THREADS: usize = 2;
const JOBS: usize = 1000;
const JOB: Duration = Duration::from_micros(10);

fn work(turns: u64) -> u64 {
    (0..turns).fold(1, |x: u64, n| black_box(x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(n)))
}

fn timed(f: impl FnOnce()) -> Duration {
    let begun = Instant::now();
    f();
    begun.elapsed()
}

/// As many turns as take a job's time on this machine.
fn turns() -> u64 {
    let many = 1_000_000;
    let fastest = (0..50).map(|_| timed(|| _ = work(many))).min().unwrap();
    (many as f64 * JOB.as_secs_f64() / fastest.as_secs_f64()) as u64
}

/// The longest that one of the threads takes for its share.
fn ideal(turns: u64) -> Duration {
    let start = Barrier::new(THREADS);
    std::thread::scope(|s| {
        let share = || {
            start.wait();
            timed(|| (0..JOBS / THREADS).for_each(|_| _ = work(turns)))
        };
        let threads: Vec<_> = (0..THREADS).map(|_| s.spawn(share)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).max().unwrap()
    })
}

fn main() {
    let rounds = if std::env::args().any(|arg| arg == "--test") { 1 } else { 101 };
    let turns = turns();
    let pool = Pool::builder("fan").threads(THREADS).queue(JOBS).build().unwrap();
    let rayon = rayon::ThreadPoolBuilder::new().num_threads(THREADS).build().unwrap();
    let raw = threadpool::ThreadPool::new(THREADS);
    let filled = || {
        let mut batch = pool.batch();
        (0..JOBS).for_each(|_| batch.submit(move || work(turns)).unwrap());
        batch
    };
    type Contender<'a> = (&'static str, Box<dyn Fn() + 'a>);
    let contenders: Vec<Contender<'_>> = vec![
        ("submit, join the handles in order", {
            Box::new(|| {
                let handles: Vec<_> = (0..JOBS).map(|_| pool.submit(move || work(turns)).unwrap()).collect();
                handles.into_iter().map(JobHandle::join).for_each(|result| _ = result.unwrap());
            })
        }),
        ("Batch::join_all", Box::new(|| assert_eq!(filled().join_all().unwrap().len(), JOBS))),
        ("Batch, as they complete", Box::new(|| assert_eq!(filled().map(Result::unwrap).count(), JOBS))),
        ("Pool::scope, nothing joined", {
            Box::new(|| pool.scope(|s| (0..JOBS).for_each(|_| drop(s.submit(|| work(turns))))))
        }),
        ("Pool::map", {
            Box::new(|| assert_eq!(pool.map(0..JOBS, move |_| work(turns)).map(Result::unwrap).count(), JOBS))
        }),
        ("Pool::map, 64 in flight", {
            Box::new(|| {
                let map = pool.map(0..JOBS, move |_| work(turns)).in_flight(64);
                assert_eq!(map.map(Result::unwrap).count(), JOBS);
            })
        }),
        ("Pool::map_unordered, 64 in flight", {
            Box::new(|| {
                let map = pool.map_unordered(0..JOBS, move |_| work(turns)).in_flight(64);
                assert_eq!(map.map(Result::unwrap).count(), JOBS);
            })
        }),
        ("rayon: scope", {
            Box::new(|| rayon.in_place_scope(|s| (0..JOBS).for_each(|_| s.spawn(|_| _ = black_box(work(turns))))))
        }),
        ("threadpool: execute, results by channel", {
            Box::new(|| {
                let (tx, rx) = std::sync::mpsc::channel();
                for _ in 0..JOBS {
                    let tx = tx.clone();
                    raw.execute(move || tx.send(work(turns)).unwrap());
                }
                drop(tx);
                assert_eq!(rx.into_iter().count(), JOBS);
            })
        }),
    ];
    let mut ratios = vec![Vec::with_capacity(rounds); contenders.len()];
    for round in 0..rounds + 2 {
        for ((_, contender), ratios) in contenders.iter().zip(&mut ratios) {
            let before = ideal(turns);
            let took = timed(contender);
            let ideal = (before + ideal(turns)) / 2;
            if round >= 2 || rounds == 1 {
                ratios.push(took.as_secs_f64() / ideal.as_secs_f64());
            }
        }
    }
    println!("1,000 jobs of 10 us on {THREADS} threads; times the ideal: median [quartiles]");
    for ((name, _), ratios) in contenders.iter().zip(&mut ratios) {
        ratios.sort_by(f64::total_cmp);
        let at = |part: usize| ratios[(ratios.len() - 1) * part / 4];
        println!("{name:<42} {:.3} [{:.3} {:.3}]", at(2), at(1), at(3));
    }
}
