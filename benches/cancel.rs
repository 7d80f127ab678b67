//! What a token costs: the look that goes into innermost loops beside the atomic load it is made of, and a child's life
//! beside the allocation and the two locked list operations that it needs.

use criterion::{Criterion, criterion_group, criterion_main};
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use watertight::{CancelToken, Context};

fn look(c: &mut Criterion) {
    let mut group = c.benchmark_group("look");
    let flag = AtomicBool::new(false);
    group.bench_function("raw: AtomicBool::load", |b| b.iter(|| black_box(&flag).load(Ordering::Acquire)));
    let token = CancelToken::new();
    group.bench_function("CancelToken::is_cancelled", |b| b.iter(|| black_box(&token).is_cancelled()));
    let deep = (0..16).fold(CancelToken::new(), |token, _| token.child());
    group.bench_function("CancelToken::is_cancelled, 16 levels down", |b| b.iter(|| black_box(&deep).is_cancelled()));
    let never = CancelToken::never();
    group.bench_function("CancelToken::is_cancelled, never", |b| b.iter(|| black_box(&never).is_cancelled()));
    let cx = Context::background().with_token(&token);
    group.bench_function("Context::check, no deadline", |b| b.iter(|| black_box(&cx).check()));
    group.finish();
}

fn child(c: &mut Criterion) {
    let mut group = c.benchmark_group("child: create + drop");
    let list = Mutex::new((0_u64, BTreeMap::new()));
    group.bench_function("raw: Arc in a locked map, out again", |b| {
        b.iter(|| {
            let node = Arc::new(AtomicBool::new(false));
            let mut held = list.lock();
            held.0 += 1;
            let place = held.0;
            held.1.insert(place, node.clone());
            drop(held);
            let gone = list.lock().1.remove(&place);
            black_box((node, gone))
        });
    });
    let token = CancelToken::new();
    group.bench_function("CancelToken::child", |b| b.iter(|| black_box(token.child())));
    let crowd: Vec<_> = (0..10_000).map(|_| token.child()).collect();
    group.bench_function("CancelToken::child among 10,000", |b| b.iter(|| black_box(token.child())));
    drop(crowd);
    group.finish();
}

criterion_group!(benches, look, child);
criterion_main!(benches);
