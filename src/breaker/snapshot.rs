//! [`BreakerSnapshot`].

use super::machine::Machine;
use crate::event::{BreakerState, Counts};
use std::time::Duration;

/// A breaker's state and figures, all of one moment. From [`Breaker::snapshot`](super::Breaker::snapshot).
///
/// # Consistency
///
/// Read in one step: no other call's effect is in one number and not in another.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct BreakerSnapshot {
    /// The state.
    pub state: BreakerState,
    /// What it has counted in it.
    pub counts: Counts,
    /// How long a call would have to wait now, as [`admit`](super::Breaker::admit) would say it; `None`: it would pass.
    pub retry_after: Option<Duration>,
    /// How often it has opened in a row: what the next open interval grows with. Health takes some of it off when it opens
    /// the next time.
    pub openings: u32,
    /// Results that came too late to count, since the breaker was built: their calls were admitted in an earlier state, or
    /// were probes that had lost their lease.
    pub late: u64,
}

impl BreakerSnapshot {
    pub(super) fn of(machine: &mut Machine, now: u64) -> Self {
        let state = machine.state(|| now);
        let (counts, retry_after) = machine.figures(now);
        Self { state, counts, retry_after, openings: machine.openings(), late: machine.late() }
    }
}
