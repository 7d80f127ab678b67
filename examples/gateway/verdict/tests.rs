//! Every pass line holds for a good run and fails for one thing that is wrong.

use std::time::Duration;

use super::*;
use crate::canary::CanaryReport;
use crate::figures::prediction;
use crate::plan::{Phase, Plan};
use crate::process::Process;
use crate::recorder::{Figures, GeneratorReport, SLICE_MS, Slice};
use crate::server::stats::{Attempt, Breaker, Log, Stats, Transition};
use crate::story::{Mark, Sample};

const START_US: u64 = 1_000_000_000;
const MS: u64 = 1_000;
/// Of the run of (d), in milliseconds.
const FAULT: u64 = 10_000;
const OPENS: u64 = FAULT + 350;
const HEALED: u64 = FAULT + 8_000;

/// A moment of the story on the machine's clock.
fn at(ms: u64) -> u64 {
    START_US + ms * MS
}

fn answered(count: u64, us: u64) -> Figures {
    let mut figures = Figures { sent: count, ok: count, good: count, ..Figures::default() };
    for _ in 0..count {
        figures.latency.record(us);
        figures.response.record(us);
    }
    figures
}

/// A run in which every request came to good.
fn plain(arch: Arch) -> Run {
    plain_of(arch, Plan::full(arch, 1.0))
}

pub(super) fn plain_of(arch: Arch, plan: Plan) -> Run {
    let total = plan.total().as_millis() as u64;
    let mut slices = Vec::new();
    for from_ms in (0..total).step_by(SLICE_MS as usize) {
        let mut slice = Slice { from_ms, ..Slice::default() };
        for route in &mut slice.routes {
            (route.sent, route.ok, route.good) = (25, 25, 25);
        }
        slices.push(slice);
    }
    let figures = std::array::from_fn(|_| std::array::from_fn(|_| answered(1_000, 52 * MS)));
    let mut last = Stats::default();
    for route in &mut last.routes {
        route.requests = [1_000; Phase::COUNT];
        route.started = [1_000; Phase::COUNT];
        route.busy_peak = 10;
    }
    let process = Process { threads: 76, rss_kb: 20_000, cpu: Duration::ZERO };
    let sample = |at_ms| Sample { at_ms, stats: Stats::default(), process };
    let mut canary = CanaryReport::default();
    canary.lateness.iter_mut().for_each(|l| l.record(200));
    Run {
        arch,
        start_us: START_US,
        generator: GeneratorReport { figures, lateness: canary.lateness.clone(), slices },
        canary,
        samples: (0..total / 100).map(|i| sample(i * 100)).collect(),
        marks: Vec::new(),
        last,
        log: Log::default(),
        came_to_rest: true,
        plan,
    }
}

/// (d) as it should be: the breaker opens after 0.35 s, probes once a second, and closes after healing.
fn watertight() -> Run {
    let mut run = plain(Arch::D);
    run.marks = vec![Mark { phase: Phase::Fault, at_us: at(FAULT) }, Mark { phase: Phase::After, at_us: at(HEALED) }];
    let mut change = |ms, to| {
        run.log.transitions.push(Transition { at_us: at(ms), route: Route::SICK, to });
    };
    change(OPENS, Breaker::Open);
    for n in 1..=6 {
        change(OPENS + 1_250 * n - 250, Breaker::HalfOpen);
        change(OPENS + 1_250 * n, Breaker::Open);
    }
    change(HEALED + 850, Breaker::HalfOpen);
    change(HEALED + 903, Breaker::Closed);
    let mut attempt = |arrived: u64, took: u64| {
        let (arrived_us, started_us) = (at(arrived), at(arrived));
        run.log.attempts.push(Attempt { arrived_us, started_us, ended_us: at(arrived + took) });
    };
    // One that came before the opening and ran into it, the probes, and one that came when it was closed again.
    attempt(OPENS - 50, 250);
    (1..=6).for_each(|n| attempt(OPENS + 1_250 * n - 250, 250));
    attempt(HEALED + 850, 52);
    attempt(HEALED + 904, 52);
    for ns in [4_000, 5_000, 6_000] {
        run.log.refusal_ns.record(ns);
    }
    let sick = &mut run.generator.figures[Phase::Fault.index()][Route::SICK.index()];
    *sick = Figures { sent: 800, refused_open: 760, failed: 40, ..Figures::default() };
    for _ in 0..760 {
        sick.response.record(600);
        sick.refusal.record(600);
    }
    (0..40).for_each(|_| sick.response.record(252 * MS));
    run
}

/// (b) or (c), from the fault to the end.
fn collapsed(arch: Arch) -> Run {
    let mut run = plain(arch);
    for slice in run.generator.slices.iter_mut().filter(|s| s.from_ms >= 8_000) {
        slice.routes.iter_mut().for_each(|r| r.good = 0);
    }
    run
}

fn runs() -> Vec<Run> {
    vec![plain(Arch::A), collapsed(Arch::B), collapsed(Arch::C), watertight()]
}

fn judged(change: impl FnOnce(&mut [Run]), mode: Mode) -> Verdict {
    let mut runs = runs();
    change(&mut runs);
    judge(&runs, &prediction(&Plan::full(Arch::D, 1.0)), mode)
}

fn failed(verdict: &Verdict) -> Vec<&str> {
    verdict.lines.iter().filter(|l| !l.holds).map(|l| l.what.as_str()).collect()
}

#[test]
fn a_good_run_passes_in_every_mode() {
    for mode in [Mode::Full, Mode::Quick, Mode::Ci] {
        let verdict = judged(|_| {}, mode);
        assert_eq!(failed(&verdict), [] as [&str; 0]);
        assert_eq!((verdict.outcome, verdict.exit_code()), (Outcome::Pass, 0));
    }
}

type Break = fn(&mut Run);

/// Breaks one thing in the run of `arch` and expects that one line to fail, whatever the mode if it is structural.
fn fails(arch: Arch, kind: Kind, what: &str, change: Break) {
    for mode in [Mode::Full, Mode::Quick, Mode::Ci] {
        let verdict = judged(|runs| runs.iter_mut().filter(|r| r.arch == arch).for_each(change), mode);
        let failed = failed(&verdict);
        assert!(failed.len() == 1 && failed[0].contains(what), "{what}: {failed:?}");
        let decides = kind == Kind::Structural || mode == Mode::Full;
        let expected = if decides { Outcome::Fail } else { Outcome::Pass };
        assert_eq!(verdict.outcome, expected, "{what} in {mode:?}");
    }
}

#[test]
fn each_structural_line_can_fail() {
    let broken: [(&str, Break); 12] = [
        ("healthy requests", |r| r.generator.figures[0][Route::Orders.index()].refused_full = 1),
        ("healthy requests", |r| r.generator.figures[2][Route::Payments.index()].failed = 1),
        ("healthy requests", |r| r.generator.figures[5][Route::Payments.index()].unanswered = 1),
        ("ever held", |r| r.last.routes[Route::SICK.index()].busy_peak = 11),
        ("threads of the gateway", |r| r.samples[100].process.threads += 1),
        ("breaker", |r| {
            // Too late: in the burst.
            r.log.transitions.last_mut().unwrap().at_us = at(HEALED + 4_500);
            r.log.attempts.pop();
        }),
        ("open breaker admitted", |r| {
            let (arrived_us, started_us, ended_us) = (at(FAULT + 3_000), at(FAULT + 3_000), at(FAULT + 3_250));
            r.log.attempts.push(Attempt { arrived_us, started_us, ended_us });
        }),
        ("attempts per request", |r| r.last.routes[0].started[Phase::Burst.index()] = 1_101),
        ("attempts per request", |r| r.last.routes[2].started[Phase::After.index()] = 1_101),
        ("callers that are gone", |r| r.last.orphans.overrun_us = 4_700_000),
        ("callers that are gone", |r| r.came_to_rest = false),
        ("threads of the gateway", |r| r.samples.last_mut().unwrap().process.threads -= 1),
    ];
    for (what, change) in broken {
        fails(Arch::D, Kind::Structural, what, change);
    }
    fails(Arch::B, Kind::Structural, "(b) collapsed", |r| *r = plain(Arch::B));
    fails(Arch::C, Kind::Structural, "(c) did not recover", |r| *r = plain(Arch::C));
}

#[test]
fn a_breaker_that_never_opens_fails() {
    let silent = |runs: &mut [Run]| runs[3].log.transitions.clear();
    let verdict = judged(silent, Mode::Ci);
    assert_eq!(verdict.outcome, Outcome::Fail);
    assert!(failed(&verdict).contains(&"breaker"));
}

#[test]
fn without_the_watertight_run_nothing_is_proved() {
    let verdict = judge(&[collapsed(Arch::B)], &prediction(&Plan::full(Arch::D, 1.0)), Mode::Ci);
    assert_eq!(verdict.outcome, Outcome::Fail);
}

#[test]
fn each_timed_line_can_fail_and_decides_in_the_full_run_only() {
    fn slower(run: &mut Run, route: Route, us: u64, share: u64) {
        let latency = &mut run.generator.figures[Phase::Fault.index()][route.index()].latency;
        (0..share).for_each(|_| latency.record(us));
    }
    fn sick(run: &mut Run) -> &mut Figures {
        &mut run.generator.figures[Phase::Fault.index()][Route::SICK.index()]
    }
    let broken: [(&str, Break); 9] = [
        // A twentieth more than before at p99 only: within its quarter, so p95 is broken alone.
        ("payments p95", |r| slower(r, Route::Payments, 58 * MS, 90)),
        ("orders p99", |r| slower(r, Route::Orders, 66 * MS, 12)),
        ("answered within 275 ms", |r| (0..40).for_each(|_| sick(r).response.record(300 * MS))),
        ("the slowest answer", |r| sick(r).response.record(501 * MS)),
        ("breaker opens", |r| r.marks[0].at_us -= 300 * MS),
        ("at the client", |r| (0..20).for_each(|_| sick(r).refusal.record(11 * MS))),
        ("at the client", |r| (0..800).for_each(|_| sick(r).refusal.record(3 * MS))),
        ("inside the process", |r| (0..9).for_each(|_| r.log.refusal_ns.record(60_000))),
        ("succeeds again", |r| {
            let late = r.generator.slices.iter_mut().find(|s| s.from_ms == HEALED + 2_000);
            late.unwrap().routes[Route::SICK.index()].ok -= 3;
        }),
    ];
    for (what, change) in broken {
        fails(Arch::D, Kind::Timed, what, change);
    }
}

#[test]
fn an_unfit_machine_makes_the_run_inconclusive() {
    let late_canary = |runs: &mut [Run]| runs[3].canary.lateness[Phase::Fault.index()].record(5_200);
    let late_generator = |runs: &mut [Run]| {
        (0..10).for_each(|_| runs[3].generator.lateness[Phase::Before.index()].record(6_000));
    };
    for late in [&late_canary as &dyn Fn(&mut [Run]), &late_generator] {
        for (mode, outcome) in
            [(Mode::Full, Outcome::Inconclusive), (Mode::Quick, Outcome::Inconclusive), (Mode::Ci, Outcome::Pass)]
        {
            let verdict = judged(late, mode);
            assert_eq!(verdict.outcome, outcome);
            assert_eq!(verdict.unfit.len(), 1);
        }
    }
    assert_eq!(judged(late_canary, Mode::Full).exit_code(), 2);
}

#[test]
fn on_an_unfit_machine_structure_decides_and_time_does_not() {
    let late = |runs: &mut [Run]| runs[3].canary.lateness[Phase::Fault.index()].record(9_000);
    let slow_too = |runs: &mut [Run]| {
        late(runs);
        runs[3].log.refusal_ns.record(60_000);
        (0..9).for_each(|_| runs[3].log.refusal_ns.record(60_000));
    };
    assert_eq!(judged(slow_too, Mode::Full).outcome, Outcome::Inconclusive);
    let broken_too = |runs: &mut [Run]| {
        late(runs);
        runs[3].came_to_rest = false;
    };
    assert_eq!(judged(broken_too, Mode::Full).outcome, Outcome::Fail);
}

#[test]
fn a_machine_that_is_late_under_another_architecture_or_in_the_warm_up_is_fit() {
    let late = |runs: &mut [Run]| {
        runs[2].canary.lateness[Phase::Fault.index()].record(50_000);
        runs[3].canary.lateness[Phase::WarmUp.index()].record(50_000);
    };
    assert_eq!(judged(late, Mode::Full).outcome, Outcome::Pass);
}
