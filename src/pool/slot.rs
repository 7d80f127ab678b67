//! An admitted place, and the wait for one.
//!
//! **Invariants.** 1. A slot is given back exactly once, by its drop. 2. Whoever gives back the last slot of a draining
//! pool closes the queue.

use super::shared::Shared;
use crate::error::RejectReason;
use crate::permit::{Permit, PermitWait};
use crate::sync::{Arc, Waiter};
use crate::wait::Wait;
use std::task::Poll;

/// One of the pool's places. It belongs to the job until the job has really ended.
pub(crate) struct Slot {
    permit: Option<Permit>,
    pub(super) shared: Arc<Shared>,
}

impl Slot {
    pub(super) fn new(permit: Permit, shared: Arc<Shared>) -> Self {
        Self { permit: Some(permit), shared }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if self.permit.take().is_some_and(Permit::release) {
            self.shared.last_place_is_back();
        }
    }
}

/// The wait for a place.
pub(super) struct SlotWait {
    wait: PermitWait,
    shared: Arc<Shared>,
}

impl SlotWait {
    pub(super) fn new(shared: &Arc<Shared>) -> Self {
        Self { wait: shared.limit.turn(), shared: shared.clone() }
    }
}

impl Wait for SlotWait {
    type Output = Result<Slot, RejectReason>;

    fn poll_wait(&mut self, w: &Waiter) -> Poll<Self::Output> {
        self.wait.poll_wait(w).map(|granted| granted.map(|permit| Slot::new(permit, self.shared.clone())))
    }

    fn give_up(&mut self) {
        self.wait.give_up();
    }
}
