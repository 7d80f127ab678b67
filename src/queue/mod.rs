//! The bounded job queue: it orders, and does nothing else. It does not admit (`permit` does), judge (the worker and the
//! handle do), or keep counts of its own.
//!
//! For now it is a crossbeam-channel of admitted places, with one stop mark per worker behind the last job. An idle
//! worker sleeps in the channel; that is the one wait outside `wait`, and it ends by a job or a mark.
//!
//! **States.** open → closed (the marks are in). **Invariants.** 1. Whoever pushes holds an admitted place, and there is
//! room for every place and every mark: a push never waits and never fails. 2. `close` is called once, by whoever saw
//! that no place is held and none will be: so nothing is ever queued behind a mark. 3. Each worker takes one mark.
//! **Locking.** The channel's own, assumed and not modelled (see `sync`).

use crate::sync::channel::{Receiver, Sender, bounded};

#[derive(Debug)]
pub(crate) struct Queue<J> {
    tx: Sender<Item<J>>,
    rx: Receiver<Item<J>>,
    workers: usize,
}

#[derive(Debug)]
enum Item<J> {
    Job(J),
    Stop,
}

impl<J> Queue<J> {
    /// Room for `places` jobs and a stop mark for each of `workers`.
    pub(crate) fn new(places: usize, workers: usize) -> Self {
        let (tx, rx) = bounded(places + workers);
        Self { tx, rx, workers }
    }

    /// Queues a job for which a place was admitted.
    pub(crate) fn push(&self, job: J) {
        let sent = self.tx.try_send(Item::Job(job));
        assert!(sent.is_ok(), "there is room for every admitted place (invariant 1)");
    }

    /// The oldest job, waited for; `None` tells this worker to leave.
    pub(crate) fn pop(&self) -> Option<J> {
        match self.rx.recv() {
            Ok(Item::Job(job)) => Some(job),
            Ok(Item::Stop) | Err(_) => None,
        }
    }

    /// Tells every worker to leave once all jobs are taken.
    pub(crate) fn close(&self) {
        for _ in 0..self.workers {
            let sent = self.tx.try_send(Item::Stop);
            assert!(sent.is_ok(), "there is room for every stop mark (invariant 1)");
        }
    }
}
