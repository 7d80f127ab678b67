//! The results as text for a person, and as JSON for a program.

use std::fmt::Write as _;
use std::io;
use std::path::Path;

use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::figures::{Cell, Figure, Unit};
use crate::plan::{Arch, Phase, Route};
use crate::predict::Prediction;
use crate::story::Run;
use crate::verdict::{Kind, Verdict, lateness};

const WHAT: usize = 40;
const CELL: usize = 11;

/// The whole result: figures, pass lines, verdict.
pub(crate) fn text(
    runs: &[Run],
    prediction: &Prediction,
    figures: &[Figure],
    verdict: &Verdict,
    report: &Path,
) -> String {
    let mut out = String::new();
    write_figures(&mut out, runs, figures);
    let _ = writeln!(out, "{}", prediction.sentence());
    write_lines(&mut out, verdict);
    write_machine(&mut out, runs);
    let _ = write!(out, "\n{}\n\nThe time lines are drawn in {}", verdict.sentence(), report.display());
    out
}

fn write_figures(out: &mut String, runs: &[Run], figures: &[Figure]) {
    let _ = write!(out, "\n{:WHAT$}", "");
    for run in runs {
        let _ = write!(out, "  {:<width$}", format!("({}) {}", run.arch.letter(), short(run.arch)), width = 2 * CELL);
    }
    let _ = write!(out, "\n{:WHAT$}", "figure");
    for _ in runs {
        let _ = write!(out, "  {:>CELL$}{:>CELL$}", "predicted", "measured");
    }
    let _ = writeln!(out, "\n{}", "-".repeat(WHAT + runs.len() * (2 * CELL + 2)));
    for figure in figures {
        let _ = write!(out, "{:WHAT$}", figure.what);
        for run in runs {
            let Cell { predicted, measured } = figure.cells[run.arch as usize];
            let (predicted, measured) = (written(predicted, figure.unit), written(measured, figure.unit));
            let _ = write!(out, "  {predicted:>CELL$}{measured:>CELL$}");
        }
        out.push('\n');
    }
}

fn short(arch: Arch) -> &'static str {
    match arch {
        Arch::A => "thread each",
        Arch::B => "shared pool",
        Arch::C => "naive retries",
        Arch::D => "watertight",
    }
}

pub(crate) fn write_lines(out: &mut String, verdict: &Verdict) {
    for (kind, title) in [(Kind::Structural, "structural"), (Kind::Timed, "timed")] {
        let decides = if verdict.decides(kind) { "" } else { ", not deciding in this run" };
        let _ = writeln!(out, "\nPass lines of (d), {title}{decides}");
        for line in verdict.lines.iter().filter(|l| l.kind == kind) {
            let mark = if line.holds { "pass" } else { "FAIL" };
            let _ = writeln!(out, "  {mark}  {}: {}", line.what, line.measured);
            let _ = writeln!(out, "        pass line: {}", line.limit);
        }
    }
}

pub(crate) fn write_machine<'a>(out: &mut String, runs: impl IntoIterator<Item = &'a Run>) {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let _ = writeln!(out, "\nThe machine ({cores} cores), in ms: canary late at p99.9 / generator late at p99");
    for run in runs {
        let _ = write!(out, "  ({})", run.arch.letter());
        for late in lateness(run) {
            let _ = write!(out, "  {} {:.1} / {:.1}", late.window, late.canary_p99_9_ms, late.generator_p99_ms);
        }
        out.push('\n');
    }
}

/// A figure as a person reads it.
pub(crate) fn written(value: Option<f64>, unit: Unit) -> String {
    let Some(v) = value else { return "-".into() };
    if v.is_infinite() {
        return "not yet".into();
    }
    match unit {
        Unit::Count => format!("{v:.0}"),
        Unit::PerSecond => format!("{v:.0}/s"),
        Unit::Seconds => format!("{v:.2} s"),
        Unit::Millis => format!("{v:.1} ms"),
        Unit::Percent => format!("{v:.1} %"),
        Unit::Ratio => format!("{v:.2}"),
        Unit::Megabytes => format!("{v:.0} MB"),
        Unit::Cores => format!("{v:.2} cores"),
    }
}

#[derive(Serialize)]
struct RouteWindow {
    sent: u64,
    ok: u64,
    good: u64,
    refused_open: u64,
    refused_full: u64,
    failed: u64,
    unanswered: u64,
    attempts: u64,
    p50_ms: Option<f64>,
    p95_ms: Option<f64>,
    p99_ms: Option<f64>,
    max_ms: Option<f64>,
}

/// Every figure for a program: one JSON value.
pub(crate) fn json(
    runs: &[Run],
    prediction: &Prediction,
    figures: &[Figure],
    verdict: &Verdict,
    report: &Path,
) -> io::Result<String> {
    let value = json!({
        "outcome": verdict.outcome,
        "exit_code": verdict.exit_code(),
        "mode": verdict.mode,
        "rate_scale": runs.first().map(|r| r.plan.scale),
        "unfit": verdict.unfit,
        "lines": verdict.lines,
        "prediction": prediction,
        "figures": figures.iter().map(|f| figure_json(f, runs)).collect::<Vec<_>>(),
        "architectures": runs.iter().map(run_json).collect::<Map<_, _>>(),
        "report": report,
    });
    serde_json::to_string_pretty(&value).map_err(io::Error::other)
}

fn figure_json(figure: &Figure, runs: &[Run]) -> Value {
    let cell = |run: &Run| (run.arch.letter().to_string(), json!(figure.cells[run.arch as usize]));
    let cells: Map<_, _> = runs.iter().map(cell).collect();
    json!({ "id": figure.id, "what": figure.what, "unit": figure.unit, "architectures": cells })
}

pub(crate) fn run_json(run: &Run) -> (String, Value) {
    let window = |phase: Phase| {
        let routes: Map<_, _> =
            Route::ALL.iter().map(|r| (r.name().into(), json!(route_window(run, phase, *r)))).collect();
        (phase.name().to_string(), Value::Object(routes))
    };
    let windows: Map<_, _> = run.plan.stretches.iter().map(|s| window(s.phase)).collect();
    let breaker: Vec<_> = run
        .log
        .transitions
        .iter()
        .map(|t| json!({ "at_s": t.at_us.saturating_sub(run.start_us) as f64 / 1e6, "route": t.route, "to": t.to }))
        .collect();
    let value = json!({
        "title": run.arch.title(),
        "windows": windows,
        "machine": lateness(run),
        "breaker": breaker,
        "orphans": run.last.orphans,
        "came_to_rest": run.came_to_rest,
    });
    (run.arch.letter().to_string(), value)
}

fn route_window(run: &Run, phase: Phase, route: Route) -> RouteWindow {
    let figures = run.generator.figures(phase, route);
    let at = |q| figures.latency.quantile(q).map(|us| us as f64 / 1_000.0);
    RouteWindow {
        sent: figures.sent,
        ok: figures.ok,
        good: figures.good,
        refused_open: figures.refused_open,
        refused_full: figures.refused_full,
        failed: figures.failed,
        unanswered: figures.unanswered,
        attempts: run.last.route(route).started[phase.index()],
        p50_ms: at(0.5),
        p95_ms: at(0.95),
        p99_ms: at(0.99),
        max_ms: figures.latency.max().map(|us| us as f64 / 1_000.0),
    }
}
