//! The timed pass lines. Each route is compared with itself in the window before, under the same arrivals.

use super::{Kind, Line, ms};
use crate::hist::Latencies;
use crate::plan::{OPEN_FOR, Phase, Route};
use crate::predict::Prediction;
use crate::recorder::SLICE_MS;
use crate::server::stats::Breaker;
use crate::story::Run;

/// What the breaker may take beyond the prediction.
const OPENING_SLACK_S: f64 = 0.25;

pub(super) fn lines(run: &Run, prediction: &Prediction) -> Vec<Line> {
    let mut lines = Vec::new();
    for route in Route::ALL.into_iter().filter(|r| r.is_healthy()) {
        lines.push(compared(run, route, 0.95, 1.10));
        lines.push(compared(run, route, 0.99, 1.25));
    }
    lines.extend(sick_route_answers(run));
    lines.push(opening(run, prediction));
    lines.extend(refusals(run));
    lines.push(recovery(run));
    lines
}

pub(super) fn line(what: String, limit: String, measured: String, holds: bool) -> Line {
    Line { kind: Kind::Timed, what, limit, measured, holds }
}

fn compared(run: &Run, route: Route, q: f64, factor: f64) -> Line {
    let at = |phase| run.generator.figures(phase, route).latency.quantile(q);
    let (before, fault) = (at(Phase::Before), at(Phase::Fault));
    let holds = matches!((before, fault), (Some(b), Some(f)) if f as f64 <= b as f64 * factor);
    line(
        format!("{} p{:.0} in the fault", route.name(), q * 100.0),
        format!("at most {:.0} % above {:.1} ms before", (factor - 1.0) * 100.0, ms(before)),
        format!("{:.1} ms", ms(fault)),
        holds,
    )
}

/// All windows but the warm-up, together.
fn sick_route_answers(run: &Run) -> [Line; 2] {
    let mut all = Latencies::default();
    let mut unanswered = 0;
    for phase in Phase::ALL.into_iter().filter(|p| *p != Phase::WarmUp) {
        let figures = run.generator.figures(phase, Route::SICK);
        all.merge(&figures.response);
        unanswered += figures.unanswered;
    }
    let deadline = Route::SICK.compartment().deadline.as_millis() as u64;
    let share =
        all.share_within((deadline + 25) * 1_000) * all.count() as f64 / (all.count() + unanswered).max(1) as f64;
    let worst = all.max();
    let slowest = line(
        "recommendations: the slowest answer".into(),
        format!("within {} ms of its sending", deadline + 250),
        format!("{:.1} ms, {unanswered} unanswered", ms(worst)),
        worst.is_some_and(|w| w <= (deadline + 250) * 1_000) && unanswered == 0,
    );
    let most = line(
        format!("recommendations: answered within {} ms", deadline + 25),
        "at least 99.5 %".into(),
        format!("{:.2} %", 100.0 * share),
        share >= 0.995 && all.count() > 0,
    );
    [most, slowest]
}

fn opening(run: &Run, prediction: &Prediction) -> Line {
    let fault_us = run.mark_us(Phase::Fault).unwrap_or(u64::MAX);
    let mut changes = run.log.transitions.iter();
    let opened = changes.find(|t| t.route == Route::SICK && t.to == Breaker::Open && t.at_us >= fault_us);
    let took = opened.map(|t| (t.at_us - fault_us) as f64 / 1e6);
    let limit = prediction.breaker_opens + OPENING_SLACK_S;
    line(
        "breaker opens after the fault".into(),
        format!("within {limit:.2} s (arithmetic: {:.2} s)", prediction.breaker_opens),
        took.map_or("never".into(), |s| format!("{s:.2} s")),
        took.is_some_and(|s| s <= limit),
    )
}

fn refusals(run: &Run) -> [Line; 2] {
    let mut at_client = Latencies::default();
    for phase in Phase::ALL {
        at_client.merge(&run.generator.figures(phase, Route::SICK).refusal);
    }
    let (median, p99) = (at_client.quantile(0.5), at_client.quantile(0.99));
    let inside = run.log.refusal_ns.quantile(0.5);
    [
        line(
            "refusals of the open breaker, at the client".into(),
            "median under 2 ms, p99 under 10 ms".into(),
            format!("{:.2} ms, {:.2} ms, of {}", ms(median), ms(p99), at_client.count()),
            median.is_some_and(|m| m < 2_000) && p99.is_some_and(|p| p < 10_000),
        ),
        line(
            "refusals of the open breaker, inside the process".into(),
            "median under 50 us".into(),
            format!("{:.1} us", ms(inside)),
            inside.is_some_and(|ns| ns < 50_000),
        ),
    ]
}

/// Requests from one open interval and a second after healing on. What is sent last may still be under way when the
/// burst begins, and is left out.
fn recovery(run: &Run) -> Line {
    let within = OPEN_FOR.as_millis() as u64 + 1_000;
    let (from, to) = run.plan.stretch(Phase::After).map_or((0, 0), |s| (s.from_ms + within, s.end_ms() - SLICE_MS));
    let (mut sent, mut ok) = (0, 0);
    for slice in run.generator.slices.iter().filter(|s| (from..to).contains(&s.from_ms)) {
        sent += slice.routes[Route::SICK.index()].sent;
        ok += slice.routes[Route::SICK.index()].ok;
    }
    line(
        format!("recommendations succeeds again, from {} s after healing on", within / 1_000),
        "more than 99 %".into(),
        format!("{ok} of {sent}"),
        sent > 0 && ok as f64 > 0.99 * sent as f64,
    )
}
