//! A pool as the benches see it, and all of them in a row.

use crate::published::{AffinityPool, Rayon, RustyPool, ThreadPool, Tokio, TokioBounded, Uvth};
use crate::table::Contender;
use crossbeam_channel::{Receiver, Sender, bounded};
use std::sync::{Arc, Barrier};
use std::thread::JoinHandle;
use watertight::Pool;

/// How many jobs wait at most, where there is a bound: what `Pool` has unless it is told otherwise.
pub const QUEUE: usize = 1024;

pub trait Peer: Sync + Sized {
    const NAME: &'static str;
    /// `queue` is for those that have a bound.
    fn new(threads: usize, queue: usize) -> Self;
    /// What it gives must be kept until the job has ended: to drop it may cancel the job.
    fn execute<F: FnOnce() + Send + 'static>(&self, work: F) -> impl Send;
    /// `None`: refused, without a wait. Without a bound nothing is refused.
    fn try_execute<F: FnOnce() + Send + 'static>(&self, work: F) -> Option<impl Send> {
        Some(self.execute(work))
    }
    fn end(self) {}
}

/// Gives a result to be joined later.
pub trait Joins: Peer {
    /// Calling what it gives waits for the result.
    fn submit<F: FnOnce() -> u64 + Send + 'static>(&self, work: F) -> impl FnOnce() -> u64;
}

pub type Work = Box<dyn FnOnce() + Send>;

/// (a): the least that does the same work.
pub struct Raw {
    tx: Sender<Work>,
    threads: Vec<JoinHandle<()>>,
}

impl Peer for Raw {
    const NAME: &'static str = "(a) channel of boxes";
    fn new(threads: usize, queue: usize) -> Self {
        let (tx, rx): (Sender<Work>, Receiver<Work>) = bounded(queue);
        let work = |rx: Receiver<Work>| std::thread::spawn(move || rx.iter().for_each(|work| work()));
        Self { tx, threads: (0..threads).map(|_| work(rx.clone())).collect() }
    }
    fn execute<F: FnOnce() + Send + 'static>(&self, work: F) -> impl Send {
        assert!(self.tx.send(Box::new(work)).is_ok());
    }
    fn try_execute<F: FnOnce() + Send + 'static>(&self, work: F) -> Option<impl Send> {
        self.tx.try_send(Box::new(work)).ok()
    }
    fn end(self) {
        drop(self.tx);
        self.threads.into_iter().for_each(|thread| thread.join().unwrap());
    }
}

impl Joins for Raw {
    fn submit<F: FnOnce() -> u64 + Send + 'static>(&self, work: F) -> impl FnOnce() -> u64 {
        let (done, result) = bounded(1);
        self.execute(move || done.send(work()).unwrap());
        move || result.recv().unwrap()
    }
}

/// Every thread has run a job, all of them at once: those that are started when they are needed are there.
pub fn warm<P: Peer>(pool: &P, threads: usize) {
    let all = Arc::new(Barrier::new(threads + 1));
    let meet = |all: Arc<Barrier>| {
        move || {
            all.wait();
        }
    };
    let _kept: Vec<_> = (0..threads).map(|_| pool.execute(meet(all.clone()))).collect();
    all.wait();
}

/// A workload for any pool.
pub trait Measure {
    fn of<P: Peer>(&self) -> Vec<f64>;
}

/// A workload for those that give a result.
pub trait MeasureJoins {
    fn of<P: Joins>(&self) -> Vec<f64>;
}

/// One contender.
pub fn one<P: Peer>(measure: &impl Measure) -> Contender<'_> {
    (P::NAME, Box::new(|| measure.of::<P>()))
}

/// One contender of those that give a result.
pub fn joins<P: Joins>(measure: &impl MeasureJoins) -> Contender<'_> {
    (P::NAME, Box::new(|| measure.of::<P>()))
}

/// All of them, ours first and (a) next.
pub fn everybody(measure: &impl Measure) -> Vec<Contender<'_>> {
    vec![
        one::<Pool>(measure),
        one::<Raw>(measure),
        one::<ThreadPool>(measure),
        one::<RustyPool>(measure),
        one::<Rayon>(measure),
        one::<Uvth>(measure),
        one::<AffinityPool>(measure),
        one::<Tokio>(measure),
        one::<TokioBounded>(measure),
    ]
}

/// All that give a result, ours first and (a) next.
pub fn everybody_joins(measure: &impl MeasureJoins) -> Vec<Contender<'_>> {
    vec![
        joins::<Pool>(measure),
        joins::<Raw>(measure),
        joins::<RustyPool>(measure),
        joins::<AffinityPool>(measure),
        joins::<Tokio>(measure),
        joins::<TokioBounded>(measure),
    ]
}
