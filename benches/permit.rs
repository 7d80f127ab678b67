//! What a permit costs when nobody has to wait, and what a refusal costs when nobody is let in: beside a bounded
//! compare-and-swap counter (the least that counts) and a counter under a lock (the least that can also have a line).

use criterion::{Criterion, criterion_group, criterion_main};
use parking_lot::Mutex;
use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};
use watertight::permit::Share;
use watertight::{Context, Limit};

const PERMITS: usize = 64;

fn cas_acquire(in_use: &AtomicUsize) -> bool {
    in_use.fetch_update(Ordering::Acquire, Ordering::Relaxed, |n| (n < PERMITS).then_some(n + 1)).is_ok()
}

fn locked_acquire(in_use: &Mutex<usize>) -> bool {
    let mut n = in_use.lock();
    let free = *n < PERMITS;
    *n += usize::from(free);
    free
}

fn free(c: &mut Criterion) {
    let mut group = c.benchmark_group("permit free: acquire + release");
    let word = AtomicUsize::new(0);
    group.bench_function("raw: bounded CAS counter", |b| {
        b.iter(|| {
            assert!(cas_acquire(&word));
            word.fetch_sub(1, Ordering::Release);
        });
    });
    let locked = Mutex::new(0);
    group.bench_function("raw: parking_lot::Mutex<usize>", |b| {
        b.iter(|| {
            assert!(locked_acquire(&locked));
            *locked.lock() -= 1;
        });
    });
    let limit = Limit::new(PERMITS);
    group.bench_function("Limit::try_acquire", |b| b.iter(|| drop(limit.try_acquire().unwrap())));
    group.bench_function("Limit::try_acquire_ref", |b| b.iter(|| drop(limit.try_acquire_ref().unwrap())));
    group.bench_function("Limit::try_acquire_many(8)", |b| b.iter(|| drop(limit.try_acquire_many(8).unwrap())));
    let shared = Limit::builder(PERMITS).partition("live", Share::Lent(0.9)).build().unwrap();
    let live = shared.partition("live").unwrap();
    group.bench_function("Partition::try_acquire", |b| b.iter(|| drop(live.try_acquire().unwrap())));
    let cx = Context::background();
    group.bench_function("Limit::acquire", |b| b.iter(|| drop(limit.acquire(&cx).unwrap())));
    group.finish();
}

fn full(c: &mut Criterion) {
    let mut group = c.benchmark_group("all permits out: refusal");
    let word = AtomicUsize::new(PERMITS);
    group.bench_function("raw: bounded CAS counter", |b| b.iter(|| black_box(cas_acquire(&word))));
    let locked = Mutex::new(PERMITS);
    group.bench_function("raw: parking_lot::Mutex<usize>", |b| b.iter(|| black_box(locked_acquire(&locked))));
    let limit = Limit::new(1);
    let held = limit.try_acquire().unwrap();
    group.bench_function("Limit::try_acquire", |b| b.iter(|| black_box(limit.try_acquire().is_err())));
    drop(held);
    group.finish();
}

criterion_group!(benches, free, full);
criterion_main!(benches);
