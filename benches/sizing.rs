//! A template: copy this file, put your own work where it says so, and learn how many threads it wants.
//!
//! `cargo bench --bench sizing` measures the throughput of a pool for each number of threads and fits the Universal
//! Scalability Law to it. For waits, refusals and a recommendation under random arrivals see `examples/sizing`.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::{BenchmarkId, Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use watertight::sizing::Usl;
use watertight::{Context, Pool};

/// How many threads to try. Six or more, and further than you think is useful: the peak shows only from beyond.
const THREADS: [usize; 7] = [1, 2, 3, 4, 6, 8, 16];

/// One job. A pool is as fast as what its jobs share: keep clients and caches shared here if they are shared in your
/// program.
fn job() {
    // >>> replace what is between these marks by your own work
    let mut x = 1u64;
    for i in 0..2_000u64 {
        x = black_box(x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(i));
    }
    std::thread::sleep(Duration::from_micros(100)); // as if it asked somebody
    // <<< up to here
}

/// How long `jobs` take on `pool`, from the first that is handed in to the last that is done.
fn drain(pool: &Pool, jobs: u64) -> Duration {
    let start = Instant::now();
    for _ in 0..jobs {
        pool.execute(job).unwrap(); // waits while the queue is full
    }
    pool.shutdown(&Context::background()).unwrap();
    start.elapsed()
}

fn sizing(c: &mut Criterion) {
    // Jobs and time of each number of threads.
    let measured = RefCell::new(BTreeMap::<usize, (u64, Duration)>::new());
    let mut group = c.benchmark_group("sizing: your work");
    group.sampling_mode(SamplingMode::Flat).sample_size(10).throughput(Throughput::Elements(1));
    group.warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(3));
    for threads in THREADS {
        group.bench_function(BenchmarkId::new("threads", threads), |b| {
            b.iter_custom(|jobs| {
                let pool = Pool::builder("sizing").threads(threads).queue(4 * threads).build().unwrap();
                let took = drain(&pool, jobs);
                let mut measured = measured.borrow_mut();
                let (all, time) = measured.entry(threads).or_default();
                // The last jobs of a drain leave threads idle: what is too short for that not to matter is left out.
                if jobs >= 10 * threads as u64 {
                    (*all, *time) = (*all + jobs, *time + took);
                }
                took
            });
        });
    }
    group.finish();
    report(&measured.into_inner());
}

fn report(measured: &BTreeMap<usize, (u64, Duration)>) {
    let enough = measured.iter().filter(|(_, (jobs, _))| *jobs > 0);
    let points: Vec<_> = enough.map(|(n, (jobs, time))| (*n, *jobs as f64 / time.as_secs_f64())).collect();
    let law = match Usl::fit(points.iter().copied()) {
        Ok(law) => law,
        Err(e) => return println!("no Universal Scalability Law: {e}"), // with --test each runs one job
    };
    println!("{:>8} {:>10} {:>10} {:>11}", "threads", "jobs/s", "law", "efficiency");
    for (n, rate) in points {
        let of_one = rate / (law.lambda() * n as f64) * 100.0;
        println!("{n:>8} {rate:>10.0} {:>10.0} {of_one:>10.0}%", law.throughput(n as f64));
    }
    let most = THREADS.into_iter().max().unwrap_or(1);
    println!("Universal Scalability Law: {law}");
    if law.peak().is_some_and(|n| n > most) {
        println!("(its peak is beyond what was measured, so it is a guess: try more threads)");
    }
    println!("knee: {} threads reach 95 % of the most that up to {most} threads do", law.knee(0.95, most));
}

criterion_group!(benches, sizing);
criterion_main!(benches);
