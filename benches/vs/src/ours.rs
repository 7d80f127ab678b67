//! `Pool`, with its default settings: bounded, panics caught, jobs counted.

use crate::peers::{Joins, Peer};
use watertight::pool::Spin;
use watertight::{Context, Pool};

impl Peer for Pool {
    const NAME: &'static str = "watertight::Pool";
    fn new(threads: usize, queue: usize) -> Self {
        Pool::builder("vs").threads(threads).queue(queue).build().unwrap()
    }
    fn execute<F: FnOnce() + Send + 'static>(&self, work: F) -> impl Send {
        assert!(Pool::execute(self, work).is_ok());
    }
    fn try_execute<F: FnOnce() + Send + 'static>(&self, work: F) -> Option<impl Send> {
        Pool::try_execute(self, work).ok()
    }
    fn end(self) {
        self.shutdown(&Context::background()).unwrap();
    }
}

impl Joins for Pool {
    fn submit<F: FnOnce() -> u64 + Send + 'static>(&self, work: F) -> impl FnOnce() -> u64 {
        let handle = Pool::submit(self, work).unwrap_or_else(|_| panic!("it waits for a place"));
        move || handle.join().unwrap()
    }
}

/// The same with its spinner on, to see what that costs where it does not help.
pub struct Adaptive(Pool);

impl Peer for Adaptive {
    const NAME: &'static str = "  the same, Adaptive";
    fn new(threads: usize, queue: usize) -> Self {
        Self(Pool::builder("vs").threads(threads).queue(queue).spin(Spin::Adaptive).build().unwrap())
    }
    fn execute<F: FnOnce() + Send + 'static>(&self, work: F) -> impl Send {
        Peer::execute(&self.0, work)
    }
    fn end(self) {
        self.0.end();
    }
}
