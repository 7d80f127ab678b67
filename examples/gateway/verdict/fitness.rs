//! Whether the machine was fit: how late a canary woke and the generator sent, in the windows warm-up, before, fault and
//! after. What follows healing, burst and end included, is one window: of two seconds, p99.9 would be two naps.

use serde::Serialize;

use crate::hist::Latencies;
use crate::plan::Phase;
use crate::story::Run;

/// How late the canary may wake at p99.9, and the generator may send at p99.
const FIT_MS: f64 = 5.0;

/// How late the machine was in one window, in milliseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Lateness {
    pub(crate) window: &'static str,
    pub(crate) canary_p99_9_ms: f64,
    pub(crate) generator_p99_ms: f64,
}

pub(crate) fn lateness(run: &Run) -> [Lateness; 4] {
    let windows: [(&str, &[Phase]); 4] = [
        ("warm-up", &[Phase::WarmUp]),
        ("before", &[Phase::Before]),
        ("fault", &[Phase::Fault]),
        ("after", &[Phase::After, Phase::Burst, Phase::End]),
    ];
    windows.map(|(window, phases)| Lateness {
        window,
        canary_p99_9_ms: quantile(&run.canary.lateness, phases, 0.999),
        generator_p99_ms: quantile(&run.generator.lateness, phases, 0.99),
    })
}

fn quantile(by_phase: &[Latencies; Phase::COUNT], phases: &[Phase], q: f64) -> f64 {
    let mut all = Latencies::default();
    phases.iter().for_each(|phase| all.merge(&by_phase[phase.index()]));
    all.quantile(q).unwrap_or(0) as f64 / 1_000.0
}

/// Why the machine was not fit; nothing if it was. The warm-up is not judged by time. It is asked of the run of (d)
/// only: a machine may well be late while an architecture collapses on it.
pub(super) fn unfit(run: &Run) -> Vec<String> {
    unfit_in(run, &["before", "fault", "after"])
}

/// As [`unfit`], in these windows.
pub(super) fn unfit_in(run: &Run, windows: &[&str]) -> Vec<String> {
    let mut reasons = Vec::new();
    for Lateness { window, canary_p99_9_ms, generator_p99_ms } in
        lateness(run).into_iter().filter(|l| windows.contains(&l.window))
    {
        for (who, quantile, ms) in
            [("the canary woke", "p99.9", canary_p99_9_ms), ("the generator sent", "p99", generator_p99_ms)]
        {
            if ms > FIT_MS {
                reasons
                    .push(format!("{who} {ms:.1} ms late at {quantile} in the window {window}, more than {FIT_MS} ms"));
            }
        }
    }
    reasons
}
