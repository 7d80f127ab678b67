//! The structural pass lines: counts and states, the same on any machine.

use super::{Kind, Line, healthy_goodput, ms, run_of};
use crate::plan::{Arch, Phase, Route, Stretch};
use crate::server::stats::Breaker;
use crate::story::Run;

/// Attempts for one request, on every route in every window: what a budget of ten per cent allows.
const MOST_ATTEMPTS: f64 = 1.1;
/// How far past its socket timeout a thread may come back: a busy machine's scheduling, not a call that goes on.
const OVERRUN_US: u64 = 500_000;
/// Less than this part of the healthy requests came to good: collapsed, or not recovered.
const COLLAPSED: f64 = 0.5;
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

fn line(what: &str, limit: impl Into<String>, measured: String, holds: bool) -> Line {
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

fn threads(run: &Run) -> Line {
    let from = run.plan.stretch(Phase::Before).map_or(0, |s| s.from_ms);
    let counts = || run.samples.iter().filter(|s| s.at_ms >= from).map(|s| s.process.threads);
    let (fewest, most) = (counts().min().unwrap_or(0), counts().max().unwrap_or(0));
    let measured = if fewest == most { most.to_string() } else { format!("{fewest} to {most}") };
    line("threads of the gateway, from the window before on", "constant", measured, fewest == most && most > 0)
}

/// Opened by the fault and closed after healing, before the burst.
fn breaker(run: &Run) -> Line {
    let at = |phase| run.mark_us(phase).unwrap_or(u64::MAX);
    let changes = || run.log.transitions.iter().filter(|t| t.route == Route::SICK);
    let opened = changes().any(|t| t.to == Breaker::Open && (at(Phase::Fault)..at(Phase::After)).contains(&t.at_us));
    let closed = changes().any(|t| t.to == Breaker::Closed && (at(Phase::After)..at(Phase::Burst)).contains(&t.at_us));
    let early = changes().any(|t| t.at_us < at(Phase::Fault));
    let measured = match (early, opened, closed) {
        (true, ..) => "opened before the fault",
        (_, false, _) => "did not open",
        (_, true, false) => "opened and did not close again",
        (_, true, true) => "opened and closed again",
    };
    line("breaker", "opens with the fault, closes after healing", measured.into(), !early && opened && closed)
}

/// While the breaker is not closed, what goes to the dependency is its probes: one for each time it is half open.
///
/// An attempt whose request came in before the breaker opened was admitted before, and may still have waited for a
/// thread. And the breaker closes at the moment its probe succeeds, while the note of it is written a little later: the
/// end of the last attempt before the note is that moment.
fn probes(run: &Run) -> Line {
    let (mut admitted, mut half_open, mut opened_us) = (0, 0, None);
    for change in run.log.transitions.iter().filter(|t| t.route == Route::SICK) {
        match (change.to, opened_us) {
            (Breaker::Open, None) => opened_us = Some(change.at_us),
            (Breaker::HalfOpen, _) => half_open += 1,
            (Breaker::Closed, Some(from)) => {
                admitted += sent_between(run, from, change.at_us);
                opened_us = None;
            }
            _ => {}
        }
    }
    if let Some(from) = opened_us {
        admitted += sent_between(run, from, u64::MAX);
    }
    let measured = format!("{admitted} attempts, half open {half_open} times");
    let limit = "one attempt for each time it is half open";
    line("attempts admitted while the breaker was not closed", limit, measured, admitted <= half_open && half_open > 0)
}

fn sent_between(run: &Run, opened_us: u64, noted_us: u64) -> u64 {
    let attempts = || run.log.attempts.iter().filter(|a| a.arrived_us >= opened_us);
    let closed_us = attempts().map(|a| a.ended_us).filter(|end| *end <= noted_us).max().unwrap_or(opened_us);
    attempts().filter(|a| a.arrived_us < closed_us).count() as u64
}

fn attempts(run: &Run) -> Line {
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

fn abandoned(run: &Run) -> Line {
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
