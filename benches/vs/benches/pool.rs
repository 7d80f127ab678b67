//! `Pool` beside other pools, and beside (a): a bounded crossbeam-channel of boxed closures with as many plain threads.
//!
//! Each round measures every contender, one after the other, each with threads of its own, so that whatever else the
//! machine does hits all of them; a ratio is taken within a round. Printed are medians of the rounds and, in brackets,
//! their quartiles. Ours has its default settings: bounded, panics caught, jobs counted. (a) is bounded; the others
//! are not, and catch and count what they do. With `--test` everything runs once and briefly; a word picks a workload.

use crossbeam_channel::{Receiver, Sender, bounded};
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{JoinHandle, Thread};
use std::time::Instant;
use watertight::{Context, Pool};

const QUEUE: usize = 1024;

trait Peer: Sync + Sized {
    const NAME: &'static str;
    fn new(threads: usize) -> Self;
    fn execute(&self, work: impl FnOnce() + Send + 'static);
    fn end(self) {}
}

/// Gives a result to be joined later.
trait Joins: Peer {
    type Handle;
    fn submit(&self, work: impl FnOnce() -> u64 + Send + 'static) -> Self::Handle;
    fn join(&self, handle: Self::Handle) -> u64;
}

impl Peer for Pool {
    const NAME: &'static str = "watertight::Pool";
    fn new(threads: usize) -> Self {
        Pool::builder("vs").threads(threads).queue(QUEUE).build().unwrap()
    }
    fn execute(&self, work: impl FnOnce() + Send + 'static) {
        assert!(Pool::execute(self, work).is_ok());
    }
    fn end(self) {
        self.shutdown(&Context::background()).unwrap();
    }
}

impl Joins for Pool {
    type Handle = watertight::JobHandle<u64>;
    fn submit(&self, work: impl FnOnce() -> u64 + Send + 'static) -> Self::Handle {
        Pool::submit(self, work).unwrap_or_else(|_| panic!("it waits for a place"))
    }
    fn join(&self, handle: Self::Handle) -> u64 {
        handle.join().unwrap()
    }
}

type Work = Box<dyn FnOnce() + Send>;

/// The least that does the same work.
struct Raw {
    tx: Sender<Work>,
    threads: Vec<JoinHandle<()>>,
}

impl Peer for Raw {
    const NAME: &'static str = "(a) channel of boxes";
    fn new(threads: usize) -> Self {
        let (tx, rx): (Sender<Work>, Receiver<Work>) = bounded(QUEUE);
        let work = |rx: Receiver<Work>| std::thread::spawn(move || rx.iter().for_each(|work| work()));
        Self { tx, threads: (0..threads).map(|_| work(rx.clone())).collect() }
    }
    fn execute(&self, work: impl FnOnce() + Send + 'static) {
        assert!(self.tx.send(Box::new(work)).is_ok());
    }
    fn end(self) {
        drop(self.tx);
        self.threads.into_iter().for_each(|thread| thread.join().unwrap());
    }
}

impl Joins for Raw {
    type Handle = Receiver<u64>;
    fn submit(&self, work: impl FnOnce() -> u64 + Send + 'static) -> Self::Handle {
        let (done, result) = bounded(1);
        self.execute(move || done.send(work()).unwrap());
        result
    }
    fn join(&self, handle: Self::Handle) -> u64 {
        handle.recv().unwrap()
    }
}

impl Peer for threadpool::ThreadPool {
    const NAME: &'static str = "threadpool";
    fn new(threads: usize) -> Self {
        threadpool::ThreadPool::new(threads)
    }
    fn execute(&self, work: impl FnOnce() + Send + 'static) {
        threadpool::ThreadPool::execute(self, work);
    }
    fn end(self) {
        self.join();
    }
}

impl Peer for rusty_pool::ThreadPool {
    const NAME: &'static str = "rusty_pool";
    fn new(threads: usize) -> Self {
        rusty_pool::Builder::new().core_size(threads).max_size(threads).build()
    }
    fn execute(&self, work: impl FnOnce() + Send + 'static) {
        rusty_pool::ThreadPool::execute(self, work);
    }
    fn end(self) {
        self.shutdown_join();
    }
}

impl Joins for rusty_pool::ThreadPool {
    type Handle = rusty_pool::JoinHandle<u64>;
    fn submit(&self, work: impl FnOnce() -> u64 + Send + 'static) -> Self::Handle {
        self.evaluate(work)
    }
    fn join(&self, handle: Self::Handle) -> u64 {
        handle.await_complete()
    }
}

impl Peer for rayon::ThreadPool {
    const NAME: &'static str = "rayon spawn";
    fn new(threads: usize) -> Self {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap()
    }
    fn execute(&self, work: impl FnOnce() + Send + 'static) {
        self.spawn(work);
    }
}

struct Tokio(tokio::runtime::Runtime);

impl Peer for Tokio {
    const NAME: &'static str = "tokio spawn_blocking";
    fn new(threads: usize) -> Self {
        Self(
            tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .max_blocking_threads(threads)
                .build()
                .unwrap(),
        )
    }
    fn execute(&self, work: impl FnOnce() + Send + 'static) {
        drop(self.0.spawn_blocking(work));
    }
}

impl Joins for Tokio {
    type Handle = tokio::task::JoinHandle<u64>;
    fn submit(&self, work: impl FnOnce() -> u64 + Send + 'static) -> Self::Handle {
        self.0.spawn_blocking(work)
    }
    fn join(&self, handle: Self::Handle) -> u64 {
        self.0.block_on(handle).unwrap()
    }
}

/// Counts the jobs down; the last one wakes who waits.
struct Left {
    jobs: AtomicUsize,
    waiting: Thread,
}

impl Left {
    fn one_less(&self) {
        if self.jobs.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.waiting.unpark();
        }
    }
}

/// Nanoseconds per job from the first submit to the end of the last job.
fn drain<P: Peer>(producers: usize, threads: usize, jobs: usize) -> f64 {
    let pool = P::new(threads);
    // Leaked, so that a job captures 24 bytes: a pointer and two numbers.
    let left: &'static Left =
        Box::leak(Box::new(Left { jobs: AtomicUsize::new(jobs), waiting: std::thread::current() }));
    let start = Barrier::new(producers);
    let share = jobs / producers;
    let produce = || {
        start.wait();
        let begun = Instant::now();
        for n in 0..share {
            let (a, b) = (n, share);
            pool.execute(move || {
                std::hint::black_box((a, b));
                left.one_less();
            });
        }
        begun
    };
    let begun = std::thread::scope(|s| {
        let others: Vec<_> = (1..producers).map(|_| s.spawn(produce)).collect();
        let here = produce();
        others.into_iter().map(|other| other.join().unwrap()).fold(here, Ord::min)
    });
    while left.jobs.load(Ordering::Acquire) > 0 {
        std::thread::park();
    }
    let ns = begun.elapsed().as_nanos() as f64 / jobs as f64;
    pool.end();
    ns
}

/// Nanoseconds per job submitted with a handle that is joined when a thousand have been submitted.
fn joined<P: Joins>(threads: usize, jobs: usize) -> f64 {
    let pool = P::new(threads);
    let mut handles = Vec::with_capacity(1000);
    let mut sum = 0;
    let begun = Instant::now();
    for batch in 0..jobs.div_ceil(1000) as u64 {
        handles.extend((0..1000).map(|n| pool.submit(move || batch + n)));
        sum += handles.drain(..).map(|handle| pool.join(handle)).sum::<u64>();
    }
    let ns = begun.elapsed().as_nanos() as f64 / (jobs.div_ceil(1000) * 1000) as f64;
    std::hint::black_box(sum);
    pool.end();
    ns
}

/// Nanoseconds from a submit to its result, one at a time.
fn round_trip<P: Joins>(threads: usize, jobs: usize) -> f64 {
    let pool = P::new(threads);
    let begun = Instant::now();
    let sum: u64 = (0..jobs as u64).map(|n| pool.join(pool.submit(move || n))).sum();
    let ns = begun.elapsed().as_nanos() as f64 / jobs as f64;
    std::hint::black_box(sum);
    pool.end();
    ns
}

fn quartiles(values: impl Iterator<Item = f64>) -> String {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    let at = |share: f64| values[((values.len() - 1) as f64 * share).round() as usize];
    format!("{:8.2} ({:.2}..{:.2})", at(0.5), at(0.25), at(0.75))
}

/// Measures all and prints them, with how many times as fast as each ours is.
fn compare(title: &str, rounds: usize, contenders: &[(&str, &dyn Fn() -> f64)]) {
    let picked: Vec<_> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    if !picked.is_empty() && !picked.iter().any(|word| title.contains(word.as_str())) {
        return;
    }
    let rounds: Vec<Vec<f64>> =
        (0..rounds).map(|_| contenders.iter().map(|(_, measure)| measure()).collect()).collect();
    println!("{title}");
    for (i, (name, _)) in contenders.iter().enumerate() {
        let ns = quartiles(rounds.iter().map(|round| round[i]));
        let ratio = quartiles(rounds.iter().map(|round| round[i] / round[0]));
        println!("  {name:22} {ns:30} ns per job   ours is {ratio} times as fast");
    }
}

fn drains(title: &str, rounds: usize, jobs: usize, producers: usize, threads: usize) {
    compare(
        title,
        rounds,
        &[
            (Pool::NAME, &|| drain::<Pool>(producers, threads, jobs)),
            (Raw::NAME, &|| drain::<Raw>(producers, threads, jobs)),
            (threadpool::ThreadPool::NAME, &|| drain::<threadpool::ThreadPool>(producers, threads, jobs)),
            (rusty_pool::ThreadPool::NAME, &|| drain::<rusty_pool::ThreadPool>(producers, threads, jobs)),
            (rayon::ThreadPool::NAME, &|| drain::<rayon::ThreadPool>(producers, threads, jobs)),
            (Tokio::NAME, &|| drain::<Tokio>(producers, threads, jobs)),
        ],
    );
}

fn main() {
    let test = std::env::args().any(|arg| arg == "--test");
    let (rounds, jobs) = if test { (1, 2_000) } else { (15, 200_000) };
    drains("drain: execute, 1 producer, 2 workers, empty jobs", rounds, jobs, 1, 2);
    drains("drain: execute, 2 producers, 4 workers, empty jobs", rounds, jobs, 2, 4);
    compare(
        "joined: submit with a handle joined later, 2 workers",
        rounds,
        &[
            (Pool::NAME, &|| joined::<Pool>(2, jobs)),
            (Raw::NAME, &|| joined::<Raw>(2, jobs)),
            (rusty_pool::ThreadPool::NAME, &|| joined::<rusty_pool::ThreadPool>(2, jobs)),
            (Tokio::NAME, &|| joined::<Tokio>(2, jobs)),
        ],
    );
    let jobs = jobs / 20;
    compare(
        "round trip: submit and join, 2 workers",
        rounds,
        &[
            (Pool::NAME, &|| round_trip::<Pool>(2, jobs)),
            (Raw::NAME, &|| round_trip::<Raw>(2, jobs)),
            (rusty_pool::ThreadPool::NAME, &|| round_trip::<rusty_pool::ThreadPool>(2, jobs)),
            (Tokio::NAME, &|| round_trip::<Tokio>(2, jobs)),
        ],
    );
}
