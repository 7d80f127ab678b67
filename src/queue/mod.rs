//! The bounded job queue: it orders, and does nothing else. It does not admit (its owner does), judge (the worker and the
//! handle do), or keep counts of its own.
//!
//! A ring of jobs whose closures lie in its cells (`ring`, `job`), and the beds of the workers that wait for them
//! (`park`). It is the one place that sleeps outside `wait`: a worker sleeps until there is a job or the queue is closed.
//!
//! **States.** open → closed. **Invariants.** 1. Whoever pushes holds an admitted place, and there is a cell for every
//! place: a push never fails. It waits for nobody but, for the few instructions that this takes, for a worker that is
//! taking the job of a lap ago out of its cell. 2. `close` is called once, by whoever saw that no place is held and none
//! will be. 3. A worker is told to leave when the queue is closed and empty. **Locking.** `park` has a lock; the rest has
//! none.
//!
//! This room and `pool/scope` may hold `unsafe` code: each block is one operation and names the invariant it rests on, and the
//! models in `loom_tests` run it.

pub(crate) mod frame;
#[cfg(all(test, watertight_loom, not(watertight_shuttle)))]
mod frame_loom_tests;
mod job;
#[cfg(all(test, watertight_loom, not(watertight_shuttle)))]
mod loom_tests;
#[cfg(all(test, watertight_loom, not(watertight_shuttle)))]
mod orders_loom_tests;
mod park;
mod ring;
#[cfg(all(test, not(watertight_loom)))]
mod tests;

pub(crate) use job::InlineJob;
pub(crate) use park::Seat;
pub use park::Wake;

use crate::sync::{Patience, Spin, broken};
use park::Parking;
use ring::Ring;

/// The jobs that wait for a worker, each called with what the worker knows of itself, a `C`.
pub(crate) struct Queue<C> {
    ring: Ring<C>,
    parking: Parking,
    patience: Patience,
}

impl<C> Queue<C> {
    /// Room for so many jobs.
    pub(crate) fn new(places: usize, spin: Spin, wake: Wake) -> Self {
        Self { ring: Ring::new(places), parking: Parking::new(wake), patience: Patience::new(spin) }
    }

    /// A seat for the worker that this thread is.
    pub(crate) fn seat(&self) -> Seat {
        self.parking.seat()
    }

    /// Queues a job for which a place was admitted.
    pub(crate) fn push(&self, job: InlineJob<C>) {
        match self.ring.push(job) {
            Ok(true) => self.parking.wake(),
            Ok(false) => {}
            Err(_) => {
                panic!("there is room for every admitted place, and none is admitted after the close (invariant 1)")
            }
        }
    }

    /// Queues jobs for which places were admitted, one after the other. Wakes one worker for all, after the last: it wakes the
    /// next when it finds more than one.
    pub(crate) fn push_all(&self, jobs: impl Iterator<Item = InlineJob<C>>) {
        let mut wanted = false;
        for job in jobs {
            match self.ring.push(job) {
                Ok(wake) => wanted |= wake,
                Err(_) => panic!("there is room for every admitted place (invariant 1)"),
            }
        }
        if wanted && !broken("queue: a batch wakes nobody") {
            self.parking.wake();
        }
    }

    /// The oldest job, slept for; `None` tells this worker to leave. Before it sleeps, `idle` is called, if there is one.
    pub(crate) fn pop(&self, seat: &mut Seat, mut idle: Option<&dyn Fn()>) -> Option<InlineJob<C>> {
        let mut looks = self.patience.looks();
        loop {
            if self.parking.has_orders() && self.parking.obey(seat) {
                return None;
            }
            let popped = if looks.have_begun() { self.ring.pop_if_ready() } else { self.ring.pop() };
            match popped {
                Ok(job) => {
                    self.patience.found(&looks);
                    self.parking.found(seat, &self.ring);
                    return Some(job);
                }
                Err(empty) if empty.closed => return None,
                Err(_) if looks.again(&self.patience, seat.is_searching()) => {
                    if looks.is_first() {
                        self.parking.search(seat);
                    }
                }
                Err(_) => {
                    match idle.take() {
                        Some(idle) if self.parking.stand_aside(seat, &self.ring) => idle(),
                        _ => {
                            self.parking.sleep(seat, &self.ring);
                            self.patience.woken(&looks);
                        }
                    }
                    looks = self.patience.looks();
                }
            }
        }
    }

    /// The oldest job, taken away from the workers.
    pub(crate) fn evict(&self) -> Option<InlineJob<C>> {
        self.ring.pop().ok()
    }

    /// The worker that had this seat takes no job any more. What it was woken for is somebody else's.
    pub(crate) fn leave(&self, seat: Seat) {
        self.parking.leave(seat, &self.ring);
    }

    /// No worker begins another job until [`resume`](Self::resume), but for one that is just taking one.
    pub(crate) fn pause(&self) {
        self.parking.pause();
    }

    pub(crate) fn resume(&self) {
        self.parking.resume(&self.ring);
    }

    pub(crate) fn is_paused(&self) -> bool {
        self.parking.is_paused()
    }

    /// Tells so many workers to leave.
    pub(crate) fn dismiss(&self, workers: usize) {
        self.parking.dismiss(workers);
    }

    /// Takes that back for so many at most; for how many it was not too late.
    pub(crate) fn recall(&self, workers: usize) -> usize {
        self.parking.recall(workers)
    }

    /// How many jobs were pushed since the start.
    pub(crate) fn pushed(&self) -> u64 {
        self.ring.pushed()
    }

    /// Tells every worker to leave once all jobs are taken.
    pub(crate) fn close(&self) {
        self.parking.close(&self.ring);
    }
}
