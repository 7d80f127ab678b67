//! The figures of the story: for each architecture what the arithmetic predicts, where it says something, and what was
//! measured.

use serde::Serialize;

use crate::plan::{Arch, Phase, Plan, Route};
use crate::predict::Prediction;
use crate::recorder::Figures;
use crate::story::{Run, Sample};
use crate::verdict::{goodput, healthy_goodput};

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

/// Predicted and measured; neither, where an architecture was not shown or a figure means nothing for it.
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

/// The fault's last seconds, when what was going to happen has happened.
const LATE_MS: u64 = 4_000;
/// After the pool's exhaustion, until its throughput counts: the queue's first second is still mixed.
const SETTLE_MS: u64 = 1_000;
const GOOD_AGAIN: f64 = 0.99;

type Predicted = fn(Arch, &Prediction) -> Option<f64>;
type Measured = fn(&Run, &Prediction) -> Option<f64>;

/// The prediction for a plan, whose fault is as long as the plan says.
pub(crate) fn prediction(plan: &Plan) -> Prediction {
    let fault_s = plan
        .stretch(Phase::Fault)
        .map_or(0.0, |s| s.len_ms as f64 / 1_000.0);
    Prediction::new(plan.scale, fault_s)
}

pub(crate) fn figures(runs: &[Run], prediction: &Prediction) -> Vec<Figure> {
    let rows: [(&str, &str, Unit, Predicted, Measured); 22] = [
        (
            "busy-before",
            "threads busy, all well",
            Unit::Count,
            |_, p| Some(p.busy),
            busy_before,
        ),
        (
            "busy-fault",
            "threads busy in the fault, at most",
            Unit::Count,
            busy_predicted,
            busy_in_fault,
        ),
        (
            "threads",
            "threads of the process, at most",
            Unit::Count,
            nothing,
            threads,
        ),
        (
            "exhaustion",
            "fault to the last free thread",
            Unit::Seconds,
            exhaustion_predicted,
            exhaustion,
        ),
        (
            "throughput",
            "successes per second while sick",
            Unit::PerSecond,
            throughput_predicted,
            throughput,
        ),
        (
            "open",
            "open requests at the fault's end",
            Unit::Count,
            open_predicted,
            open_at_heal,
        ),
        (
            "attempts",
            "attempts per request, sick route",
            Unit::Ratio,
            attempts_predicted,
            attempts,
        ),
        (
            "sick-load",
            "calls per second to the sick one",
            Unit::PerSecond,
            nothing,
            sick_load,
        ),
        (
            "good-fault",
            "healthy good within 1 s, late fault",
            Unit::Percent,
            nothing,
            good_late_in_fault,
        ),
        (
            "good-end",
            "healthy good within 1 s, last window",
            Unit::Percent,
            nothing,
            good_at_end,
        ),
        (
            "recovery",
            "healing to healthy good again, at most",
            Unit::Seconds,
            recovery_predicted,
            recovery,
        ),
        (
            "sick-recovery",
            "healing to sick route good again",
            Unit::Seconds,
            nothing,
            sick_recovery,
        ),
        (
            "p50-before",
            "healthy p50 before",
            Unit::Millis,
            nothing,
            |r, _| healthy(r, Phase::Before, 0.5),
        ),
        (
            "p50-fault",
            "healthy p50 in the fault",
            Unit::Millis,
            nothing,
            |r, _| healthy(r, Phase::Fault, 0.5),
        ),
        (
            "p99-before",
            "healthy p99 before",
            Unit::Millis,
            nothing,
            |r, _| healthy(r, Phase::Before, 0.99),
        ),
        (
            "p99-fault",
            "healthy p99 in the fault",
            Unit::Millis,
            nothing,
            |r, _| healthy(r, Phase::Fault, 0.99),
        ),
        (
            "sick-p99",
            "sick route p99 in the fault",
            Unit::Millis,
            nothing,
            sick_p99,
        ),
        (
            "lost",
            "healthy refused, failed, unanswered",
            Unit::Count,
            nothing,
            lost,
        ),
        (
            "orphans",
            "thread seconds for callers gone",
            Unit::Seconds,
            nothing,
            orphans,
        ),
        (
            "memory",
            "memory of the process, at most",
            Unit::Megabytes,
            nothing,
            memory,
        ),
        (
            "cpu-before",
            "processor, all well",
            Unit::Cores,
            nothing,
            |r, _| cpu(r, Phase::Before),
        ),
        (
            "cpu-fault",
            "processor in the fault",
            Unit::Cores,
            nothing,
            |r, _| cpu(r, Phase::Fault),
        ),
    ];
    let figure = |(id, what, unit, predicted, measured): (_, _, _, Predicted, Measured)| {
        let mut cells = [Cell::default(); 4];
        for run in runs {
            let cell = Cell {
                predicted: predicted(run.arch, prediction),
                measured: measured(run, prediction),
            };
            cells[run.arch as usize] = cell;
        }
        Figure {
            id,
            what,
            unit,
            cells,
        }
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

/// The looks at the gateway in a phase.
fn samples(run: &Run, phase: Phase) -> impl Iterator<Item = &Sample> {
    let (from, to) = run
        .plan
        .stretch(phase)
        .map_or((0, 0), |s| (s.from_ms, s.end_ms()));
    run.samples
        .iter()
        .filter(move |s| (from..to).contains(&s.at_ms))
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (count, sum) = values.fold((0, 0.0), |(n, sum), v| (n + 1, sum + v));
    (count > 0).then(|| sum / f64::from(count))
}

fn busy_before(run: &Run, _: &Prediction) -> Option<f64> {
    mean(samples(run, Phase::Before).map(|s| s.stats.busy() as f64))
}

fn busy_in_fault(run: &Run, _: &Prediction) -> Option<f64> {
    samples(run, Phase::Fault)
        .map(|s| s.stats.busy())
        .max()
        .map(|n| n as f64)
}

fn threads(run: &Run, _: &Prediction) -> Option<f64> {
    run.samples
        .iter()
        .map(|s| s.process.threads)
        .max()
        .map(|n| n as f64)
}

fn exhaustion(run: &Run, p: &Prediction) -> Option<f64> {
    if !matches!(run.arch, Arch::B | Arch::C) {
        return None;
    }
    let from = run.plan.stretch(Phase::Fault)?.from_ms;
    let full = samples(run, Phase::Fault).find(|s| s.stats.busy() as f64 >= p.pool)?;
    Some((full.at_ms - from) as f64 / 1_000.0)
}

fn throughput(run: &Run, p: &Prediction) -> Option<f64> {
    let fault = run.plan.stretch(Phase::Fault)?;
    let from = fault.from_ms + (p.exhaustion * 1_000.0) as u64 + SETTLE_MS;
    let slices = || {
        run.generator
            .slices
            .iter()
            .filter(|s| s.from_ms >= from && s.from_ms < fault.end_ms())
    };
    let first = slices().next()?.from_ms;
    let arrived: u64 = slices()
        .flat_map(|s| s.routes.iter().map(|r| r.arrived))
        .sum();
    Some(arrived as f64 * 1_000.0 / (fault.end_ms() - first) as f64)
}

fn open_at_heal(run: &Run, _: &Prediction) -> Option<f64> {
    samples(run, Phase::Fault)
        .last()
        .map(|s| s.stats.open() as f64)
}

/// For the naive ones what was asked for, run or not: that is what their callers did. For (d) what really went out.
fn attempts(run: &Run, _: &Prediction) -> Option<f64> {
    let stats = run.last.route(Route::SICK);
    let i = Phase::Fault.index();
    let made = if run.arch == Arch::D {
        stats.started[i]
    } else {
        stats.submitted[i]
    };
    (stats.requests[i] > 0).then(|| made as f64 / stats.requests[i] as f64)
}

fn sick_load(run: &Run, _: &Prediction) -> Option<f64> {
    let fault = run.plan.stretch(Phase::Fault)?;
    let (from, to) = (
        run.start_us + fault.from_ms * 1_000,
        run.start_us + fault.end_ms() * 1_000,
    );
    // An attempt is on the log when it has ended; one that is still running went out all the same.
    let ended = run
        .log
        .attempts
        .iter()
        .filter(|a| (from..to).contains(&a.started_us))
        .count();
    let running = run.last.route(Route::SICK).busy;
    Some((ended as u64 + running) as f64 * 1_000.0 / fault.len_ms as f64)
}

fn good_late_in_fault(run: &Run, _: &Prediction) -> Option<f64> {
    let end = run.plan.stretch(Phase::Fault)?.end_ms();
    Some(100.0 * healthy_goodput(run, end.saturating_sub(LATE_MS), end))
}

fn good_at_end(run: &Run, _: &Prediction) -> Option<f64> {
    let last = run.plan.stretches.last()?;
    Some(100.0 * healthy_goodput(run, last.from_ms, last.end_ms()))
}

fn recovery(run: &Run, _: &Prediction) -> Option<f64> {
    good_again(run, run.plan.stretches.last()?.end_ms(), Route::is_healthy)
}

/// Until the burst, which makes the route sick once more.
fn sick_recovery(run: &Run, _: &Prediction) -> Option<f64> {
    good_again(run, run.plan.stretch(Phase::After)?.end_ms(), |r| {
        r == Route::SICK
    })
}

/// From healing to the first slice from which on all are good, up to `to_ms`; nothing if the last one is not.
fn good_again(run: &Run, to_ms: u64, of: impl Fn(Route) -> bool) -> Option<f64> {
    let healed = run.plan.stretch(Phase::After)?.from_ms;
    let slices = run
        .generator
        .slices
        .iter()
        .rev()
        .map(|s| s.from_ms)
        .filter(|from| (healed..to_ms).contains(from));
    let step = crate::recorder::SLICE_MS;
    let good = slices.take_while(|from| goodput(run, *from, from + step, &of) >= GOOD_AGAIN);
    good.last().map(|from| (from - healed) as f64 / 1_000.0)
}

fn healthy(run: &Run, phase: Phase, q: f64) -> Option<f64> {
    run.generator
        .healthy(phase)
        .latency
        .quantile(q)
        .map(|us| us as f64 / 1_000.0)
}

fn sick_p99(run: &Run, _: &Prediction) -> Option<f64> {
    run.generator
        .figures(Phase::Fault, Route::SICK)
        .latency
        .quantile(0.99)
        .map(|us| us as f64 / 1_000.0)
}

fn lost(run: &Run, _: &Prediction) -> Option<f64> {
    let of = |f: Figures| f.refused() + f.failed + f.unanswered;
    Some(
        Phase::ALL
            .into_iter()
            .map(|p| of(run.generator.healthy(p)))
            .sum::<u64>() as f64,
    )
}

fn orphans(run: &Run, _: &Prediction) -> Option<f64> {
    Some(run.last.orphans.thread_us as f64 / 1e6)
}

fn memory(run: &Run, _: &Prediction) -> Option<f64> {
    run.samples
        .iter()
        .map(|s| s.process.rss_kb)
        .max()
        .map(|kb| kb as f64 / 1_024.0)
}

fn cpu(run: &Run, phase: Phase) -> Option<f64> {
    let (first, last) = (samples(run, phase).next()?, samples(run, phase).last()?);
    let wall = last.at_ms.checked_sub(first.at_ms).filter(|ms| *ms > 0)?;
    Some((last.process.cpu - first.process.cpu).as_secs_f64() * 1_000.0 / wall as f64)
}
