//! Fanning out a thousand jobs of 10 us and taking the results together, beside the least that could be: the work itself,
//! divided among the threads. "alone" is that work on as many threads with nothing between; a ratio to it is what the pool
//! and the way of collecting cost.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use std::thread;
use std::time::{Duration, Instant};
use watertight::{JobHandle, Pool};

const THREADS: usize = 2;
const JOBS: usize = 1000;
const JOB: Duration = Duration::from_micros(10);

/// As many turns as take a job's time on this machine now.
fn turns() -> u64 {
    let time = |turns| {
        let begun = Instant::now();
        work(turns);
        begun.elapsed()
    };
    let many = 1_000_000;
    let fastest = (0..20).map(|_| time(many)).min().unwrap_or_default();
    (many as f64 * JOB.as_secs_f64() / fastest.as_secs_f64()) as u64
}

/// Work that no compiler takes out.
fn work(turns: u64) -> u64 {
    (0..turns).fold(1, |x: u64, n| black_box(x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(n)))
}

fn alone(turns: u64) {
    thread::scope(|s| {
        for _ in 0..THREADS {
            s.spawn(move || (0..JOBS / THREADS).for_each(|_| _ = work(turns)));
        }
    });
}

fn fan_out(c: &mut Criterion) {
    let turns = turns();
    let pool = Pool::builder("bench").threads(THREADS).queue(JOBS).build().unwrap();
    let mut group = c.benchmark_group("fan out and in: 1000 jobs of 10 us");
    group.throughput(Throughput::Elements(JOBS as u64)).sample_size(50);
    group.bench_function("alone: the work on as many threads", |b| b.iter(|| alone(turns)));
    group.bench_function("submit, and join the handles in order", |b| {
        b.iter(|| {
            let handles: Vec<_> = (0..JOBS).map(|_| pool.submit(move || work(turns)).unwrap()).collect();
            handles.into_iter().map(JobHandle::join).collect::<Result<Vec<_>, _>>().unwrap()
        });
    });
    let filled = || {
        let mut batch = pool.batch();
        (0..JOBS).for_each(|_| batch.submit(move || work(turns)).unwrap());
        batch
    };
    group.bench_function("Batch, join_all", |b| b.iter(|| filled().join_all().unwrap()));
    group.bench_function("Batch, as they complete", |b| {
        b.iter(|| filled().map(Result::unwrap).fold(0, u64::wrapping_add))
    });
    group.bench_function("scope, nothing joined", |b| {
        b.iter(|| pool.scope(|s| (0..JOBS).for_each(|_| drop(s.submit(|| work(turns))))));
    });
    group.bench_function("map, 64 under way", |b| {
        b.iter(|| pool.map(0..JOBS, move |_| work(turns)).in_flight(64).map(Result::unwrap).fold(0, u64::wrapping_add));
    });
    group.finish();
}

criterion_group!(benches, fan_out);
criterion_main!(benches);
