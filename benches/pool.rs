//! What the pool costs beside the least that does the same work: a bounded crossbeam-channel of boxed closures and as
//! many plain threads. The raw one has no handles, contexts, sheds, panics or figures; the difference is their price.

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use crossbeam_channel::{Receiver, Sender, bounded};
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use watertight::pool::Spin;
use watertight::{Context, Pool};

const THREADS: usize = 2;
const QUEUE: usize = 1024;
/// Jobs of one drain.
const JOBS: usize = 1000;

type Work = Box<dyn FnOnce() + Send>;

struct Raw {
    tx: Sender<Work>,
    threads: Vec<JoinHandle<()>>,
}

impl Raw {
    fn new() -> Self {
        let (tx, rx): (Sender<Work>, Receiver<Work>) = bounded(QUEUE);
        let work = |rx: Receiver<Work>| thread::spawn(move || rx.iter().for_each(|work| work()));
        Self { tx, threads: (0..THREADS).map(|_| work(rx.clone())).collect() }
    }

    fn execute(&self, work: impl FnOnce() + Send + 'static) {
        assert!(self.tx.send(Box::new(work)).is_ok(), "the workers hold the other end");
    }

    fn shutdown(self) {
        drop(self.tx);
        self.threads.into_iter().for_each(|thread| thread.join().unwrap());
    }
}

fn pool() -> Pool {
    Pool::builder("bench").threads(THREADS).queue(QUEUE).build().unwrap()
}

/// One job there and its result back: two hand-overs between threads.
fn round_trip(c: &mut Criterion) {
    let mut group = c.benchmark_group("round trip: submit + join");
    let raw = Raw::new();
    group.bench_function("raw: channel there, channel back", |b| {
        b.iter(|| {
            let (done, result) = bounded(1);
            raw.execute(move || done.send(black_box(7)).unwrap());
            result.recv().unwrap()
        });
    });
    raw.shutdown();
    let pool = pool();
    group.bench_function("Pool::submit + join", |b| b.iter(|| pool.submit(|| black_box(7)).unwrap().join().unwrap()));
    for spin in [Spin::Brief, Spin::Adaptive] {
        let pool = Pool::builder("bench").threads(THREADS).queue(QUEUE).spin(spin).build().unwrap();
        let name = format!("Pool::call, Spin::{spin:?}");
        group.bench_function(name, |b| b.iter(|| pool.call(|| black_box(7)).unwrap()));
    }
    group.finish();
}

/// Many small jobs in, and all of them done.
fn drain(c: &mut Criterion) {
    let mut group = c.benchmark_group("execute and drain");
    group.throughput(Throughput::Elements(JOBS as u64));
    let count = |done: &Arc<AtomicUsize>| {
        let done = done.clone();
        move || {
            done.fetch_add(1, Ordering::Relaxed);
        }
    };
    group.bench_function("raw: channel and threads", |b| {
        b.iter_batched(
            Raw::new,
            |raw| {
                let done = Arc::new(AtomicUsize::new(0));
                (0..JOBS).for_each(|_| raw.execute(count(&done)));
                raw.shutdown();
                assert_eq!(done.load(Ordering::Relaxed), JOBS);
            },
            BatchSize::PerIteration,
        );
    });
    group.bench_function("Pool::execute + shutdown", |b| {
        b.iter_batched(
            pool,
            |pool| {
                let done = Arc::new(AtomicUsize::new(0));
                (0..JOBS).for_each(|_| pool.execute(count(&done)).unwrap());
                pool.shutdown(&Context::background()).unwrap();
                assert_eq!(done.load(Ordering::Relaxed), JOBS);
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

/// What an overloaded service does most: it says no.
fn refusal(c: &mut Criterion) {
    let mut group = c.benchmark_group("full: refusal");
    let (tx, _rx) = bounded::<Work>(1);
    tx.try_send(Box::new(|| ())).unwrap();
    group.bench_function("raw: try_send on a full channel", |b| {
        b.iter(|| black_box(tx.try_send(Box::new(|| ())).is_err()));
    });
    let pool = Pool::builder("full").threads(1).queue(0).build().unwrap();
    let (hold, held) = bounded::<()>(0);
    pool.execute(move || assert!(held.recv().is_err())).unwrap(); // until the other end is dropped
    group.bench_function("Pool::try_submit on a full pool", |b| b.iter(|| black_box(pool.try_submit(|| ()).is_err())));
    drop(hold);
    group.finish();
}

criterion_group!(benches, round_trip, drain, refusal);
criterion_main!(benches);
