//! Published pools. None of them has a bound of its own; all of them but tokio's with a semaphore take whatever they are
//! given. All catch panics, or replace the thread that dies of one, except rayon, which ends the process.

use crate::peers::{Joins, Peer};
use futures_executor::block_on;
use std::sync::Arc;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub struct ThreadPool(threadpool::ThreadPool);

impl Peer for ThreadPool {
    const NAME: &'static str = "threadpool";
    fn new(threads: usize, _: usize) -> Self {
        Self(threadpool::ThreadPool::new(threads))
    }
    fn execute<F: FnOnce() + Send + 'static>(&self, work: F) -> impl Send {
        self.0.execute(work);
    }
    fn end(self) {
        self.0.join();
    }
}

pub struct RustyPool(rusty_pool::ThreadPool);

impl Peer for RustyPool {
    const NAME: &'static str = "rusty_pool";
    fn new(threads: usize, _: usize) -> Self {
        Self(rusty_pool::Builder::new().core_size(threads).max_size(threads).build())
    }
    fn execute<F: FnOnce() + Send + 'static>(&self, work: F) -> impl Send {
        self.0.execute(work);
    }
    fn end(self) {
        self.0.shutdown_join();
    }
}

impl Joins for RustyPool {
    fn submit<F: FnOnce() -> u64 + Send + 'static>(&self, work: F) -> impl FnOnce() -> u64 {
        let handle = self.0.evaluate(work);
        move || handle.await_complete()
    }
}

pub struct Rayon(pub rayon::ThreadPool);

impl Peer for Rayon {
    const NAME: &'static str = "rayon spawn";
    fn new(threads: usize, _: usize) -> Self {
        Self(rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap())
    }
    fn execute<F: FnOnce() + Send + 'static>(&self, work: F) -> impl Send {
        self.0.spawn(work);
    }
}

pub struct Uvth(uvth::ThreadPool);

impl Peer for Uvth {
    const NAME: &'static str = "uvth";
    fn new(threads: usize, _: usize) -> Self {
        Self(uvth::ThreadPoolBuilder::new().num_threads(threads).build())
    }
    fn execute<F: FnOnce() + Send + 'static>(&self, work: F) -> impl Send {
        self.0.execute(work);
    }
}

/// It has no fire and forget: a job is queued at once, and is cancelled if its future is dropped before its end. So the
/// futures are kept until all jobs have ended, and dropped, which frees the jobs, when the clock has been stopped.
pub struct AffinityPool(affinitypool::Threadpool);

impl Peer for AffinityPool {
    const NAME: &'static str = "affinitypool";
    fn new(threads: usize, _: usize) -> Self {
        Self(affinitypool::Builder::new().worker_threads(threads).build())
    }
    fn execute<F: FnOnce() + Send + 'static>(&self, work: F) -> impl Send {
        self.0.spawn(work)
    }
}

impl Joins for AffinityPool {
    fn submit<F: FnOnce() -> u64 + Send + 'static>(&self, work: F) -> impl FnOnce() -> u64 {
        let result = self.0.spawn(work);
        move || block_on(result)
    }
}

fn runtime(threads: usize) -> Runtime {
    Builder::new_multi_thread().worker_threads(1).max_blocking_threads(threads).build().unwrap()
}

pub struct Tokio(Runtime);

impl Peer for Tokio {
    const NAME: &'static str = "tokio spawn_blocking";
    fn new(threads: usize, _: usize) -> Self {
        Self(runtime(threads))
    }
    fn execute<F: FnOnce() + Send + 'static>(&self, work: F) -> impl Send {
        drop(self.0.spawn_blocking(work));
    }
}

impl Joins for Tokio {
    fn submit<F: FnOnce() -> u64 + Send + 'static>(&self, work: F) -> impl FnOnce() -> u64 {
        let handle = self.0.spawn_blocking(work);
        move || self.0.block_on(handle).unwrap()
    }
}

/// The usual way to give it a bound: a permit for each job, held by the job until it ends.
pub struct TokioBounded {
    runtime: Runtime,
    places: Arc<Semaphore>,
}

impl TokioBounded {
    fn place(&self) -> OwnedSemaphorePermit {
        block_on(self.places.clone().acquire_owned()).unwrap()
    }
}

impl Peer for TokioBounded {
    const NAME: &'static str = "tokio with a semaphore";
    fn new(threads: usize, queue: usize) -> Self {
        Self { runtime: runtime(threads), places: Arc::new(Semaphore::new(threads + queue)) }
    }
    fn execute<F: FnOnce() + Send + 'static>(&self, work: F) -> impl Send {
        let place = self.place();
        drop(self.runtime.spawn_blocking(move || {
            work();
            drop(place);
        }));
    }
    fn try_execute<F: FnOnce() + Send + 'static>(&self, work: F) -> Option<impl Send> {
        let place = self.places.clone().try_acquire_owned().ok()?;
        drop(self.runtime.spawn_blocking(move || {
            work();
            drop(place);
        }));
        Some(())
    }
}

impl Joins for TokioBounded {
    fn submit<F: FnOnce() -> u64 + Send + 'static>(&self, work: F) -> impl FnOnce() -> u64 {
        let place = self.place();
        let handle = self.runtime.spawn_blocking(move || {
            let result = work();
            drop(place);
            result
        });
        move || self.runtime.block_on(handle).unwrap()
    }
}
