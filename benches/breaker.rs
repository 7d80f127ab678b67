//! What a breaker costs a call: admitted and recorded while closed, refused while open. Beside it, in the same run, the
//! floors: one locked add, and two looks at the clock (what merely timing the call would cost).

use criterion::{Criterion, criterion_group, criterion_main};
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use watertight::{Breaker, Budget, Recovery, Retry, Trip};

fn floors(c: &mut Criterion) {
    let mut group = c.benchmark_group("floor");
    let word = AtomicU64::new(0);
    group.bench_function("fetch_add", |b| b.iter(|| word.fetch_add(1, Ordering::AcqRel)));
    group.bench_function("two Instant::now", |b| b.iter(|| (black_box(Instant::now()), black_box(Instant::now()))));
    group.finish();
}

fn closed(c: &mut Criterion) {
    let mut group = c.benchmark_group("breaker closed: admit + success");
    let rate = || Trip::rate(0.5);
    for (name, trip) in [
        ("consecutive", Trip::consecutive(5)),
        ("rate of the last 100", rate()),
        ("rate within 10 s", rate().within(Duration::from_secs(10))),
        ("rate of the last 100, or slow", rate().or_slow_rate(0.5, Duration::from_secs(1))),
    ] {
        let breaker = Breaker::builder("bench").trip(trip).build().unwrap();
        (0..200).for_each(|_| breaker.admit().unwrap().success());
        group.bench_function(name, |b| b.iter(|| breaker.call(|| Ok::<_, ()>(black_box(1)))));
        group.bench_function(format!("{name}, owned"), |b| b.iter(|| breaker.admit().unwrap().success()));
    }
    group.finish();
}

fn open(c: &mut Criterion) {
    let mut group = c.benchmark_group("breaker open: refusal");
    let breaker = Breaker::builder("bench")
        .trip(Trip::consecutive(1))
        .recovery(Recovery::after(Duration::from_secs(86_400)))
        .build()
        .unwrap();
    breaker.admit().unwrap().failure();
    group.bench_function("admit", |b| b.iter(|| black_box(breaker.admit_here().is_err())));
    group.finish();
}

fn retry(c: &mut Criterion) {
    let mut group = c.benchmark_group("retry");
    let budget = Budget::percent(100);
    group.bench_function("budget deposit + withdraw", |b| {
        b.iter(|| {
            budget.deposit();
            black_box(budget.try_withdraw())
        });
    });
    let retry = Retry::exponential(Duration::from_millis(50));
    group.bench_function("schedule of 3 attempts", |b| b.iter(|| retry.schedule().map(black_box).count()));
    group.finish();
}

criterion_group!(benches, floors, closed, open, retry);
criterion_main!(benches);
