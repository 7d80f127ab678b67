//! An admitted place, and the wait for one.
//!
//! **Invariants.** 1. A place is given back exactly once: by the drop of what holds it, or, where a job took it over, when
//! the job has ended. 2. Whoever gives back the last place of a draining pool closes the queue.

use super::shared::Shared;
use crate::error::RejectReason;
use crate::sync::{Arc, Waiter};
use crate::wait::Wait;
use crate::wait::line::Place;
use std::mem::ManuallyDrop;
use std::task::Poll;

/// A place held on one thread: between its taking and the job that takes it over, and while a worker is at the job.
pub(super) struct Taken<'a> {
    shared: &'a Shared,
    seat: Option<usize>,
}

impl<'a> Taken<'a> {
    pub(super) fn new(shared: &'a Shared) -> Self {
        Self { shared, seat: None }
    }

    /// The worker of this number holds it.
    pub(super) fn by(self, seat: usize) -> Self {
        Self { seat: Some(seat), ..*ManuallyDrop::new(self) }
    }

    /// A job has taken it over.
    pub(super) fn hand_over(self) {
        let _ = ManuallyDrop::new(self);
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.shared.give_back(self.seat.unwrap_or_else(|| self.shared.own_seat()));
    }
}

/// One of the pool's places. It belongs to the job until the job has really ended.
pub(crate) struct Slot {
    shared: Option<Arc<Shared>>,
}

impl Slot {
    pub(super) fn new(taken: Taken<'_>, shared: Arc<Shared>) -> Self {
        taken.hand_over();
        Self { shared: Some(shared) }
    }

    /// A job takes the place over: it is given back by hand.
    pub(super) fn hand_over(mut self) -> Arc<Shared> {
        self.shared.take().expect("there until it is dropped or handed over")
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.take() {
            shared.give_back(shared.own_seat());
        }
    }
}

/// The wait for a place.
pub(super) struct SlotWait {
    shared: Arc<Shared>,
    number: Option<Place>,
}

impl SlotWait {
    pub(super) fn new(shared: &Arc<Shared>) -> Self {
        Self { shared: shared.clone(), number: None }
    }
}

impl Wait for SlotWait {
    type Output = Result<Slot, RejectReason>;

    fn poll_wait(&mut self, w: &Waiter) -> Poll<Self::Output> {
        let places = &self.shared.places;
        let decided = match self.number {
            Some(number) => places.look(number, w),
            None => match places.try_take() {
                Err(RejectReason::Full { .. }) => match places.join(w.clone()) {
                    Ok(Some(number)) => {
                        self.number = Some(number);
                        Poll::Pending
                    }
                    joined => Poll::Ready(joined.map(drop)),
                },
                decided => Poll::Ready(decided),
            },
        };
        decided.map(|taken| taken.map(|()| Slot::new(Taken::new(&self.shared), self.shared.clone())))
    }

    fn give_up(&mut self) {
        if let Some(number) = self.number.take() {
            self.shared.places.leave(number);
        }
    }
}
