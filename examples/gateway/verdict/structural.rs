//! The structural pass lines: counts and states, the same on any machine.

use std::ops::Range;

use super::{Kind, Line, healthy_goodput, ms, run_of};
use crate::plan::{Arch, Phase, Route, Stretch};
use crate::server::stats::{Breaker, Transition};
use crate::story::Run;

/// Attempts for one request, on every route in every window: what a budget of ten per cent allows.
const MOST_ATTEMPTS: f64 = 1.1;
/// How far past its socket timeout a thread may come back: a busy machine's scheduling, not a call that goes on.
const OVERRUN_US: u64 = 500_000;
/// Less than this part of the healthy requests came to good: collapsed, or not recovered.
pub(crate) const COLLAPSED: f64 = 0.5;
/// The end of the fault, by which (b) must have collapsed.
const LAST_OF_FAULT_MS: u64 = 4_000;

pub(super) fn lines(runs: &[Run]) -> Vec<Line> {
    let mut lines = Vec::new();
    match run_of(runs, Arch::D) {
        Some(run) => lines.extend([
            healthy_answered(run),
            compartment(run),
            threads(run),
            breaker(run),
            probes(run),
            attempts(run),
            abandoned(run),
        ]),
        None => lines.push(line("(d) was run", "yes", "no".into(), false)),
    }
    lines.extend(run_of(runs, Arch::B).map(collapsed));
    lines.extend(run_of(runs, Arch::C).map(not_recovered));
    lines
}

pub(super) fn line(what: &str, limit: impl Into<String>, measured: String, holds: bool) -> Line {
    Line { kind: Kind::Structural, what: what.into(), limit: limit.into(), measured, holds }
}

fn healthy_answered(run: &Run) -> Line {
    let (mut sent, mut refused, mut failed, mut unanswered) = (0, 0, 0, 0);
    for phase in Phase::ALL {
        let figures = run.generator.healthy(phase);
        sent += figures.sent;
        refused += figures.refused();
        failed += figures.failed;
        unanswered += figures.unanswered;
    }
    let lost = refused + failed + unanswered;
    let measured = format!("{refused} refused, {failed} failed, {unanswered} unanswered of {sent}");
    line("healthy requests refused or failed, all windows", "0", measured, lost == 0 && sent > 0)
}

fn compartment(run: &Run) -> Line {
    let most = Route::SICK.compartment().threads as u64;
    let peak = run.last.route(Route::SICK).busy_peak;
    line("threads that recommendations ever held", format!("at most {most}"), peak.to_string(), peak <= most)
}

pub(super) fn threads(run: &Run) -> Line {
    let from = run.plan.stretch(Phase::Before).map_or(0, |s| s.from_ms);
    let counts = || run.samples.iter().filter(|s| s.at_ms >= from).map(|s| s.process.threads);
    let (fewest, most) = (counts().min().unwrap_or(0), counts().max().unwrap_or(0));
    let measured = if fewest == most { most.to_string() } else { format!("{fewest} to {most}") };
    line("threads of the gateway, from the window before on", "constant", measured, fewest == most && most > 0)
}

/// Opened in the fault and closed after healing, before the burst.
fn breaker(run: &Run) -> Line {
    let at = |phase| run.mark_us(phase).unwrap_or(u64::MAX);
    let changed = |to, between: Range<u64>| {
        let mut changes = run.log.transitions.iter().filter(|t| t.route == Route::SICK && t.to == to);
        changes.any(|t| between.contains(&t.at_us))
    };
    let opened = changed(Breaker::Open, at(Phase::Fault)..at(Phase::After));
    let closed = changed(Breaker::Closed, at(Phase::After)..at(Phase::Burst));
    let measured = match (opened, closed) {
        (false, _) => "did not open",
        (true, false) => "opened and did not close again",
        (true, true) => "opened and closed again",
    };
    line("breaker", "opens in the fault, closes after healing", measured.into(), opened && closed)
}

/// From each opening to the next, or to the closing, one probe goes to the dependency and nothing else.
fn probes(run: &Run) -> Line {
    let changes: Vec<_> =
        run.log.transitions.iter().filter(|t| t.route == Route::SICK && t.to != Breaker::HalfOpen).collect();
    let opened = changes.iter().enumerate().filter(|(_, change)| change.to == Breaker::Open);
    let admitted: Vec<_> =
        opened.map(|(i, open)| admitted_between(run, open.at_us, changes.get(i + 1).copied())).collect();
    let worst = admitted.iter().copied().max();
    let measured = format!(
        "{} probes in {} open intervals, {} at most in one",
        admitted.iter().sum::<u64>(),
        admitted.len(),
        worst.unwrap_or(0)
    );
    let limit = "its one probe in each open interval";
    line("attempts that an open breaker admitted", limit, measured, worst.is_some_and(|n| n <= 1))
}

/// Attempts of requests that came in while the breaker was open or half open. One that came in before it opened was
/// admitted before, and may still have waited for a thread.
///
/// A breaker closes when its probe succeeds, and the note of it is written a little later: the end of the last attempt
/// before the note is the moment.
fn admitted_between(run: &Run, opened_us: u64, then: Option<&Transition>) -> u64 {
    let attempts = || run.log.attempts.iter().filter(|a| a.arrived_us >= opened_us);
    let until_us = match then {
        None => u64::MAX,
        Some(next) if next.to == Breaker::Open => next.at_us,
        Some(next) => attempts().map(|a| a.ended_us).filter(|end| *end <= next.at_us).max().unwrap_or(opened_us),
    };
    attempts().filter(|a| a.arrived_us < until_us).count() as u64
}

pub(super) fn attempts(run: &Run) -> Line {
    let mut worst = (0.0, Route::SICK, Phase::WarmUp);
    for Stretch { phase, .. } in &run.plan.stretches {
        for route in Route::ALL {
            let stats = run.last.route(route);
            let requests = stats.requests[phase.index()].max(1) as f64;
            let ratio = stats.started[phase.index()] as f64 / requests;
            if ratio > worst.0 {
                worst = (ratio, route, *phase);
            }
        }
    }
    let (ratio, route, phase) = worst;
    let measured = format!("{ratio:.3} at most, on {} in the window {}", route.name(), phase.name());
    let limit = format!("at most {MOST_ATTEMPTS}");
    line("attempts per request, every route and window", limit, measured, ratio <= MOST_ATTEMPTS)
}

pub(super) fn abandoned(run: &Run) -> Line {
    let orphans = run.last.orphans;
    let rest = if run.came_to_rest { "nothing left at the end" } else { "work left at the end" };
    let measured = format!(
        "{} abandoned calls, the worst {:.0} ms past its timeout; {rest}",
        orphans.jobs,
        ms(Some(orphans.overrun_us)),
    );
    let holds = orphans.overrun_us <= OVERRUN_US && run.came_to_rest;
    line("work for callers that are gone", "ends with its socket timeout", measured, holds)
}

fn collapsed(run: &Run) -> Line {
    let end = run.plan.stretch(Phase::Fault).map_or(0, |s| s.end_ms());
    let good = healthy_goodput(run, end.saturating_sub(LAST_OF_FAULT_MS), end);
    let measured = format!("{:.1} % of healthy requests came to good", 100.0 * good);
    line("(b) collapsed, or the run proves nothing", "less than half, late in the fault", measured, good < COLLAPSED)
}

fn not_recovered(run: &Run) -> Line {
    let last = run.plan.stretches[run.plan.stretches.len() - 1];
    let good = healthy_goodput(run, last.from_ms, last.end_ms());
    let measured = format!("{:.1} % of healthy requests came to good", 100.0 * good);
    line("(c) did not recover, or the run proves nothing", "less than half, at the end", measured, good < COLLAPSED)
}
