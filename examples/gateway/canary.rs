//! The canary: a process that sleeps one millisecond over and over and notes how late it wakes. When it wakes late, so
//! does everything else on the machine, and the run's times say nothing.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::hist::Latencies;
use crate::plan::{Phase, Plan};
use crate::{children, clock};

const NAP: Duration = Duration::from_millis(1);

/// Lateness for each phase, by [`Phase::index`].
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct CanaryReport {
    pub(crate) lateness: [Latencies; Phase::COUNT],
}

/// Naps from `start_us` until the plan ends, then reports.
pub(crate) fn run(plan: &Plan, start_us: u64) {
    children::ready(&());
    std::thread::sleep(clock::until(start_us));
    let mut report = CanaryReport::default();
    let end_us = start_us + plan.total().as_micros() as u64;
    loop {
        let before = clock::now_us();
        if before >= end_us {
            break;
        }
        std::thread::sleep(NAP);
        let late = (clock::now_us() - before).saturating_sub(NAP.as_micros() as u64);
        report.lateness[plan.at((before - start_us) / 1_000).phase.index()].record(late);
    }
    children::say(&report);
}
