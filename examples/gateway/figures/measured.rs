//! How each figure is got out of a run.

use std::collections::HashSet;

use crate::plan::{Arch, Phase, Route};
use crate::predict::Prediction;
use crate::recorder::{Figures, SLICE_MS};
use crate::story::{Run, Sample};
use crate::verdict::{goodput, healthy_goodput};

/// The fault's last seconds, when what was going to happen has happened.
const LATE_MS: u64 = 4_000;
/// After the pool's exhaustion, until its throughput counts: the queue's first second is still mixed.
const SETTLE_MS: u64 = 1_000;
const GOOD_AGAIN: f64 = 0.99;

/// The looks at the gateway in a phase.
fn samples(run: &Run, phase: Phase) -> impl Iterator<Item = &Sample> {
    let (from, to) = run.plan.stretch(phase).map_or((0, 0), |s| (s.from_ms, s.end_ms()));
    run.samples.iter().filter(move |s| (from..to).contains(&s.at_ms))
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (count, sum) = values.fold((0, 0.0), |(n, sum), v| (n + 1, sum + v));
    (count > 0).then(|| sum / f64::from(count))
}

pub(super) fn busy_before(run: &Run, _: &Prediction) -> Option<f64> {
    mean(samples(run, Phase::Before).map(|s| s.stats.busy() as f64))
}

pub(super) fn busy_in_fault(run: &Run, _: &Prediction) -> Option<f64> {
    samples(run, Phase::Fault).map(|s| s.stats.busy()).max().map(|n| n as f64)
}

pub(super) fn threads(run: &Run, _: &Prediction) -> Option<f64> {
    run.samples.iter().map(|s| s.process.threads).max().map(|n| n as f64)
}

pub(super) fn exhaustion(run: &Run, p: &Prediction) -> Option<f64> {
    if !matches!(run.arch, Arch::B | Arch::C) {
        return None;
    }
    let from = run.plan.stretch(Phase::Fault)?.from_ms;
    let full = samples(run, Phase::Fault).find(|s| s.stats.busy() as f64 >= p.pool)?;
    Some((full.at_ms - from) as f64 / 1_000.0)
}

pub(super) fn throughput(run: &Run, p: &Prediction) -> Option<f64> {
    let fault = run.plan.stretch(Phase::Fault)?;
    let from = fault.from_ms + (p.exhaustion * 1_000.0) as u64 + SETTLE_MS;
    let slices = || run.generator.slices.iter().filter(|s| s.from_ms >= from && s.from_ms < fault.end_ms());
    let first = slices().next()?.from_ms;
    let arrived: u64 = slices().flat_map(|s| s.routes.iter().map(|r| r.arrived)).sum();
    Some(arrived as f64 * 1_000.0 / (fault.end_ms() - first) as f64)
}

pub(super) fn open_at_heal(run: &Run, _: &Prediction) -> Option<f64> {
    samples(run, Phase::Fault).last().map(|s| s.stats.open() as f64)
}

/// For the naive ones what was asked for, run or not: that is what their callers did. For (d) what really went out.
pub(super) fn attempts(run: &Run, phase: Phase) -> Option<f64> {
    let stats = run.last.route(Route::SICK);
    let i = phase.index();
    let made = if run.arch == Arch::D { stats.started[i] } else { stats.submitted[i] };
    (stats.requests[i] > 0).then(|| made as f64 / stats.requests[i] as f64)
}

/// Attempts beyond each request's first. For (d) they are counted by the requests they belong to: most requests of the
/// burst are refused and make no attempt at all, which would hide the retries of the others.
pub(super) fn retries_in_burst(run: &Run, _: &Prediction) -> Option<f64> {
    let burst = run.plan.stretch(Phase::Burst)?;
    if run.arch != Arch::D {
        let (stats, i) = (run.last.route(Route::SICK), Phase::Burst.index());
        return Some(stats.submitted[i].saturating_sub(stats.requests[i]) as f64);
    }
    let (from, to) = (run.start_us + burst.from_ms * 1_000, run.start_us + burst.end_ms() * 1_000);
    let requests: Vec<_> = run.log.attempts.iter().map(|a| a.arrived_us).filter(|at| (from..to).contains(at)).collect();
    let distinct: HashSet<_> = requests.iter().collect();
    Some((requests.len() - distinct.len()) as f64)
}

pub(super) fn sick_load(run: &Run, _: &Prediction) -> Option<f64> {
    let fault = run.plan.stretch(Phase::Fault)?;
    let (from, to) = (run.start_us + fault.from_ms * 1_000, run.start_us + fault.end_ms() * 1_000);
    // An attempt is on the log when it has ended; one that is still running went out all the same.
    let ended = run.log.attempts.iter().filter(|a| (from..to).contains(&a.started_us)).count();
    let running = run.last.route(Route::SICK).busy;
    Some((ended as u64 + running) as f64 * 1_000.0 / fault.len_ms as f64)
}

pub(super) fn good_late_in_fault(run: &Run, _: &Prediction) -> Option<f64> {
    let end = run.plan.stretch(Phase::Fault)?.end_ms();
    Some(100.0 * healthy_goodput(run, end.saturating_sub(LATE_MS), end))
}

pub(super) fn good_at_end(run: &Run, _: &Prediction) -> Option<f64> {
    let last = run.plan.stretches.last()?;
    Some(100.0 * healthy_goodput(run, last.from_ms, last.end_ms()))
}

pub(super) fn recovery(run: &Run, _: &Prediction) -> Option<f64> {
    good_again(run, run.plan.stretches.last()?.end_ms(), Route::is_healthy)
}

/// Until shortly before the burst, which makes the route sick once more.
pub(super) fn sick_recovery(run: &Run, _: &Prediction) -> Option<f64> {
    good_again(run, run.plan.stretch(Phase::After)?.end_ms() - SLICE_MS, |r| r == Route::SICK)
}

/// From healing to the first slice from which on all are good, up to `to_ms`; infinite if the last one is not.
fn good_again(run: &Run, to_ms: u64, of: impl Fn(Route) -> bool) -> Option<f64> {
    let healed = run.plan.stretch(Phase::After)?.from_ms;
    let slices = run.generator.slices.iter().map(|s| s.from_ms);
    let good = slices
        .rev()
        .filter(|from| (healed..to_ms).contains(from))
        .take_while(|from| goodput(run, *from, from + SLICE_MS, &of) >= GOOD_AGAIN);
    Some(good.last().map_or(f64::INFINITY, |from| (from - healed) as f64 / 1_000.0))
}

pub(super) fn healthy(run: &Run, phase: Phase, q: f64) -> Option<f64> {
    run.generator.healthy(phase).latency.quantile(q).map(|us| us as f64 / 1_000.0)
}

pub(super) fn sick_p99(run: &Run, _: &Prediction) -> Option<f64> {
    run.generator.figures(Phase::Fault, Route::SICK).latency.quantile(0.99).map(|us| us as f64 / 1_000.0)
}

pub(super) fn lost(run: &Run, _: &Prediction) -> Option<f64> {
    let of = |f: Figures| f.refused() + f.failed + f.unanswered;
    Some(Phase::ALL.into_iter().map(|p| of(run.generator.healthy(p))).sum::<u64>() as f64)
}

pub(super) fn orphans(run: &Run, _: &Prediction) -> Option<f64> {
    Some(run.last.orphans.thread_us as f64 / 1e6)
}

pub(super) fn memory(run: &Run, _: &Prediction) -> Option<f64> {
    run.samples.iter().map(|s| s.process.rss_kb).max().map(|kb| kb as f64 / 1_024.0)
}

pub(super) fn cpu(run: &Run, phase: Phase) -> Option<f64> {
    let (first, last) = (samples(run, phase).next()?, samples(run, phase).last()?);
    let wall = last.at_ms.checked_sub(first.at_ms).filter(|ms| *ms > 0)?;
    Some((last.process.cpu - first.process.cpu).as_secs_f64() * 1_000.0 / wall as f64)
}
