//! The figures of the story: for each architecture what the arithmetic predicts, where it says something, and what was
//! measured.

use serde::Serialize;

use self::measured as m;
use crate::plan::{Arch, Phase, Plan};
use crate::predict::Prediction;
use crate::story::Run;

mod measured;

/// How a figure is to be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Unit {
    Count,
    PerSecond,
    Seconds,
    Millis,
    Percent,
    Ratio,
    Megabytes,
    Cores,
}

/// Predicted and measured; neither, where an architecture was not shown or a figure means nothing for it. What did not
/// happen while shown is infinite.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Cell {
    pub(crate) predicted: Option<f64>,
    pub(crate) measured: Option<f64>,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Figure {
    pub(crate) id: &'static str,
    pub(crate) what: &'static str,
    pub(crate) unit: Unit,
    /// By architecture, (a) to (d).
    pub(crate) cells: [Cell; 4],
}

type Predicted = fn(Arch, &Prediction) -> Option<f64>;
type Measured = fn(&Run, &Prediction) -> Option<f64>;

/// The prediction for a plan, whose fault is as long as the plan says.
pub(crate) fn prediction(plan: &Plan) -> Prediction {
    let fault_s = plan.stretch(Phase::Fault).map_or(0.0, |s| s.len_ms as f64 / 1_000.0);
    Prediction::new(plan.scale, fault_s)
}

pub(crate) fn figures(runs: &[Run], prediction: &Prediction) -> Vec<Figure> {
    let rows: [(&str, &str, Unit, Predicted, Measured); 24] = [
        ("busy-before", "threads busy, all well", Unit::Count, |_, p| Some(p.busy), m::busy_before),
        ("busy-fault", "threads busy in the fault, at most", Unit::Count, busy_predicted, m::busy_in_fault),
        ("threads", "threads of the process, at most", Unit::Count, nothing, m::threads),
        ("exhaustion", "fault to the last free thread", Unit::Seconds, exhaustion_predicted, m::exhaustion),
        ("throughput", "successes per second while sick", Unit::PerSecond, throughput_predicted, m::throughput),
        ("open", "open requests at the fault's end", Unit::Count, open_predicted, m::open_at_heal),
        ("attempts", "attempts per request, sick, fault", Unit::Ratio, attempts_predicted, |r, _| {
            m::attempts(r, Phase::Fault)
        }),
        ("attempts-burst", "attempts per request, sick, burst", Unit::Ratio, attempts_predicted, |r, _| {
            m::attempts(r, Phase::Burst)
        }),
        ("retries-burst", "retries, sick route, burst", Unit::Count, nothing, m::retries_in_burst),
        ("sick-load", "calls per second to the sick one", Unit::PerSecond, nothing, m::sick_load),
        ("good-fault", "healthy good within 1 s, late fault", Unit::Percent, nothing, m::good_late_in_fault),
        ("good-end", "healthy good within 1 s, last window", Unit::Percent, nothing, m::good_at_end),
        ("recovery", "healing to healthy good again, at most", Unit::Seconds, recovery_predicted, m::recovery),
        ("sick-recovery", "healing to sick route good again", Unit::Seconds, nothing, m::sick_recovery),
        ("p50-before", "healthy p50 before", Unit::Millis, nothing, |r, _| m::healthy(r, Phase::Before, 0.5)),
        ("p50-fault", "healthy p50 in the fault", Unit::Millis, nothing, |r, _| m::healthy(r, Phase::Fault, 0.5)),
        ("p99-before", "healthy p99 before", Unit::Millis, nothing, |r, _| m::healthy(r, Phase::Before, 0.99)),
        ("p99-fault", "healthy p99 in the fault", Unit::Millis, nothing, |r, _| m::healthy(r, Phase::Fault, 0.99)),
        ("sick-p99", "sick route p99 in the fault", Unit::Millis, nothing, m::sick_p99),
        ("lost", "healthy refused, failed, unanswered", Unit::Count, nothing, m::lost),
        ("orphans", "thread seconds for callers gone", Unit::Seconds, nothing, m::orphans),
        ("memory", "memory of the process, at most", Unit::Megabytes, nothing, m::memory),
        ("cpu-before", "processor, all well", Unit::Cores, nothing, |r, _| m::cpu(r, Phase::Before)),
        ("cpu-fault", "processor in the fault", Unit::Cores, nothing, |r, _| m::cpu(r, Phase::Fault)),
    ];
    let figure = |(id, what, unit, predicted, measured): (_, _, _, Predicted, Measured)| {
        let mut cells = [Cell::default(); 4];
        for run in runs {
            let cell = Cell { predicted: predicted(run.arch, prediction), measured: measured(run, prediction) };
            cells[run.arch as usize] = cell;
        }
        Figure { id, what, unit, cells }
    };
    rows.into_iter().map(figure).collect()
}

fn nothing(_: Arch, _: &Prediction) -> Option<f64> {
    None
}

fn busy_predicted(arch: Arch, p: &Prediction) -> Option<f64> {
    Some(match arch {
        Arch::A => p.threads_per_request,
        Arch::B | Arch::C => p.pool,
        // A bound, and nowhere near it: the healthy routes need no more than before.
        Arch::D => return None,
    })
}

fn only_b(arch: Arch, value: f64) -> Option<f64> {
    (arch == Arch::B).then_some(value)
}

fn exhaustion_predicted(arch: Arch, p: &Prediction) -> Option<f64> {
    matches!(arch, Arch::B | Arch::C).then_some(p.exhaustion)
}

fn throughput_predicted(arch: Arch, p: &Prediction) -> Option<f64> {
    only_b(arch, p.throughput_sick)
}

fn open_predicted(arch: Arch, p: &Prediction) -> Option<f64> {
    only_b(arch, p.open_at_heal)
}

fn attempts_predicted(arch: Arch, p: &Prediction) -> Option<f64> {
    (arch == Arch::C).then_some(p.attempts)
}

fn recovery_predicted(arch: Arch, p: &Prediction) -> Option<f64> {
    match arch {
        Arch::B => Some(p.recovery),
        Arch::C => Some(p.dead_for),
        Arch::A | Arch::D => None,
    }
}
