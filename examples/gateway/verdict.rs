//! The verdict on (d): pass lines, the machine's fitness, and the exit code.
//!
//! *Structural* lines are counts and states and always decide. *Timed* lines decide in the full run only, and only when
//! the machine was fit: a canary that wakes late, or a generator that sends late, makes every time worthless.

use serde::Serialize;

use crate::plan::{Arch, Route};
use crate::predict::Prediction;
use crate::story::Run;

mod fitness;
pub(crate) mod metastable;
mod structural;
mod timed;

pub(crate) use self::fitness::lateness;
pub(crate) use self::structural::COLLAPSED;

/// What the run was asked for, and so what decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Mode {
    /// Everything decides.
    Full,
    /// Structural lines and the machine's fitness decide.
    Quick,
    /// Structural lines decide.
    Ci,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    Structural,
    Timed,
}

/// One pass line.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Line {
    pub(crate) kind: Kind,
    pub(crate) what: String,
    /// The pass line itself, in words.
    pub(crate) limit: String,
    pub(crate) measured: String,
    pub(crate) holds: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Outcome {
    Pass,
    Fail,
    Inconclusive,
}

#[derive(Clone, Debug, Serialize)]
pub(crate) struct Verdict {
    pub(crate) mode: Mode,
    pub(crate) outcome: Outcome,
    pub(crate) lines: Vec<Line>,
    /// Why the machine was not fit; empty when it was.
    pub(crate) unfit: Vec<String>,
}

impl Verdict {
    pub(crate) fn exit_code(&self) -> u8 {
        match self.outcome {
            Outcome::Pass => 0,
            Outcome::Fail => 1,
            Outcome::Inconclusive => 2,
        }
    }

    /// Whether a line of this kind could have failed the run.
    pub(crate) fn decides(&self, kind: Kind) -> bool {
        kind == Kind::Structural || (self.mode == Mode::Full && self.unfit.is_empty())
    }

    /// The verdict in one line.
    pub(crate) fn sentence(&self) -> String {
        let deciding = || self.lines.iter().filter(|l| self.decides(l.kind));
        let (count, failed) = (deciding().count(), deciding().filter(|l| !l.holds).count());
        let unfit = self.unfit.join("; ");
        match self.outcome {
            Outcome::Pass if self.unfit.is_empty() => format!("PASS: all {count} pass lines that decide hold"),
            Outcome::Pass => format!("PASS: all {count} pass lines that decide hold; times mean little, as {unfit}"),
            Outcome::Fail => format!("FAIL: {failed} of {count} pass lines that decide do not hold"),
            Outcome::Inconclusive => format!("INCONCLUSIVE: the machine was not fit, as {unfit}"),
        }
    }
}

/// Judges the runs. Without (d) there is nothing to judge, which the structural lines say.
pub(crate) fn judge(runs: &[Run], prediction: &Prediction, mode: Mode) -> Verdict {
    let mut lines = structural::lines(runs);
    let watertight = run_of(runs, Arch::D);
    lines.extend(watertight.iter().flat_map(|run| timed::lines(run, prediction)));
    let unfit = watertight.map(fitness::unfit).unwrap_or_default();
    decide(lines, unfit, mode)
}

fn decide(lines: Vec<Line>, unfit: Vec<String>, mode: Mode) -> Verdict {
    let broken = |kind| lines.iter().any(|l| l.kind == kind && !l.holds);
    let outcome = match mode {
        _ if broken(Kind::Structural) => Outcome::Fail,
        Mode::Full | Mode::Quick if !unfit.is_empty() => Outcome::Inconclusive,
        Mode::Full if broken(Kind::Timed) => Outcome::Fail,
        _ => Outcome::Pass,
    };
    Verdict { mode, outcome, lines, unfit }
}

pub(crate) fn run_of(runs: &[Run], arch: Arch) -> Option<&Run> {
    runs.iter().find(|r| r.arch == arch)
}

/// The part of the healthy requests meant to be sent in `[from_ms, to_ms)` that came to good.
pub(crate) fn healthy_goodput(run: &Run, from_ms: u64, to_ms: u64) -> f64 {
    goodput(run, from_ms, to_ms, Route::is_healthy)
}

pub(crate) fn goodput(run: &Run, from_ms: u64, to_ms: u64, of: impl Fn(Route) -> bool) -> f64 {
    let slices = run.generator.slices.iter().filter(|s| (from_ms..to_ms).contains(&s.from_ms));
    let (mut sent, mut good) = (0, 0);
    for slice in slices {
        for route in Route::ALL.into_iter().filter(|r| of(*r)) {
            sent += slice.routes[route.index()].sent;
            good += slice.routes[route.index()].good;
        }
    }
    if sent == 0 { 1.0 } else { good as f64 / sent as f64 }
}

fn ms(us: Option<u64>) -> f64 {
    us.unwrap_or(0) as f64 / 1_000.0
}

#[cfg(test)]
mod tests;
