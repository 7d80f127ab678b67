//! The verdict of `--metastable`: the naive twin stays down when the trigger is gone, and watertight does not.

use super::fitness::unfit_in;
use super::structural::{self, COLLAPSED};
use super::{Line, Mode, Verdict, decide, goodput, timed};
use crate::plan::{Phase, Route};
use crate::recorder::SLICE_MS;
use crate::server::stats::Breaker;
use crate::story::Run;

/// The part of its earlier goodput above which a service is back.
const BACK: f64 = 0.99;
/// Within which it has to be.
pub(crate) const BACK_WITHIN_MS: u64 = 2_000;
/// Both have to be well to begin with, or it was not the trigger.
const WELL: f64 = 0.95;

/// One trigger, and what the two made of it.
pub(crate) struct Pair {
    pub(crate) twin: Run,
    pub(crate) watertight: Run,
}

pub(crate) fn judge(pairs: &[Pair], mode: Mode) -> Verdict {
    let mut lines = Vec::new();
    let mut unfit = Vec::new();
    for Pair { twin, watertight } in pairs {
        let name = twin.plan.trigger.map_or("no trigger", |t| t.name());
        let named = |mut line: Line| {
            line.what = format!("{name}: {}", line.what);
            line
        };
        let of_watertight = [
            back_by_count(watertight),
            closed(watertight),
            structural::threads(watertight),
            structural::attempts(watertight),
            structural::abandoned(watertight),
            back_in_time(watertight),
        ];
        lines.extend([well_before(twin), well_before(watertight), stays_down(twin)].into_iter().map(named));
        lines.extend(of_watertight.into_iter().map(named));
        // What is judged by time is judged before the trigger and after it.
        unfit.extend(unfit_in(watertight, &["before", "after"]).into_iter().map(|why| format!("{name}: {why}")));
    }
    decide(lines, unfit, mode)
}

/// From when on a service has to be back, to the end.
fn afterwards(run: &Run) -> (u64, u64) {
    let after = run.plan.stretch(Phase::After);
    after.map_or((0, 0), |s| (s.from_ms + BACK_WITHIN_MS, s.end_ms()))
}

/// The good part of all requests in a phase.
pub(crate) fn good_in(run: &Run, phase: Phase) -> f64 {
    let Some(stretch) = run.plan.stretch(phase) else { return 0.0 };
    goodput(run, stretch.from_ms, stretch.end_ms(), |_| true)
}

pub(crate) fn good_afterwards(run: &Run) -> f64 {
    let (from, to) = afterwards(run);
    goodput(run, from, to, |_| true)
}

/// How long after the trigger's end the last quarter second began that fell short of `BACK`, and that quarter second.
/// `None` when that was the last one shown.
pub(crate) fn back_after_ms(run: &Run) -> Option<u64> {
    let after = run.plan.stretch(Phase::After)?;
    let enough = BACK * good_in(run, Phase::Before);
    let short = |from: &u64| goodput(run, *from, from + SLICE_MS, |_| true) < enough;
    let last_short = (after.from_ms..after.end_ms()).step_by(SLICE_MS as usize).filter(short).last();
    let back = last_short.map_or(0, |from| from + SLICE_MS - after.from_ms);
    (back < after.len_ms).then_some(back)
}

fn percent(part: f64) -> String {
    format!("{:.1} %", 100.0 * part)
}

fn well_before(run: &Run) -> Line {
    let good = good_in(run, Phase::Before);
    let what = format!("({}) was well before, or it was not the trigger", run.arch.letter());
    structural::line(&what, "at least 95 % of requests come to good", percent(good), good >= WELL)
}

fn stays_down(run: &Run) -> Line {
    let good = good_afterwards(run);
    let what = "(c) stays down while shown, or the run proves nothing";
    structural::line(
        what,
        "less than half comes to good, from 2 s after the trigger on",
        percent(good),
        good < COLLAPSED,
    )
}

/// Answers, whenever they came.
fn back_by_count(run: &Run) -> Line {
    let (from, to) = afterwards(run);
    let before = run.plan.stretch(Phase::Before).map_or((0, 0), |s| (s.from_ms, s.end_ms()));
    let answered = |(from, to): (u64, u64)| {
        let slices = run.generator.slices.iter().filter(|s| (from..to).contains(&s.from_ms));
        let sum = slices.flat_map(|s| &s.routes).fold((0, 0), |(sent, ok), r| (sent + r.sent, ok + r.ok));
        sum.1 as f64 / sum.0.max(1) as f64
    };
    let (was, is) = (answered(before), answered((from, to)));
    let limit = format!("at least 99 % of the {} before, from 2 s after the trigger on", percent(was));
    structural::line("(d) answers with success", limit, percent(is), is >= BACK * was && is > 0.0)
}

fn closed(run: &Run) -> Line {
    let open: Vec<_> = Route::ALL
        .into_iter()
        .filter(|r| run.last.route(*r).breaker != Some(Breaker::Closed))
        .map(Route::name)
        .collect();
    let measured = if open.is_empty() { "all closed".into() } else { format!("not closed: {}", open.join(", ")) };
    structural::line("(d) breakers at the end", "closed", measured, open.is_empty())
}

fn back_in_time(run: &Run) -> Line {
    let back = back_after_ms(run);
    let measured = back.map_or("not while shown".into(), |ms| format!("after {:.2} s", ms as f64 / 1_000.0));
    let holds = back.is_some_and(|ms| ms <= BACK_WITHIN_MS);
    let limit = "every quarter second from 2 s after the trigger on".into();
    timed::line("(d) is above 99 % of its earlier goodput".into(), limit, measured, holds)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Arch, Plan, Trigger};
    use crate::verdict::tests::plain_of;
    use crate::verdict::{Kind, Outcome};

    fn down_from(run: &mut Run, from_ms: u64, for_ms: u64) {
        for slice in run.generator.slices.iter_mut().filter(|s| (from_ms..from_ms + for_ms).contains(&s.from_ms)) {
            slice.routes.iter_mut().for_each(|r| (r.ok, r.good) = (0, 0));
        }
    }

    fn pair() -> Pair {
        let run = |arch| plain_of(arch, Plan::metastable(Trigger::Slow, false));
        let (mut twin, mut watertight) = (run(Arch::C), run(Arch::D));
        let fault = twin.plan.stretch(Phase::Fault).unwrap();
        down_from(&mut twin, fault.from_ms, u64::MAX / 2);
        down_from(&mut watertight, fault.from_ms, fault.len_ms + 1_000);
        watertight.last.routes.iter_mut().for_each(|r| r.breaker = Some(Breaker::Closed));
        Pair { twin, watertight }
    }

    #[test]
    fn a_twin_that_stays_down_and_a_service_that_comes_back_pass() {
        let pair = pair();
        assert_eq!(back_after_ms(&pair.watertight), Some(1_000));
        assert_eq!(back_after_ms(&pair.twin), None);
        let verdict = judge(&[pair], Mode::Full);
        assert_eq!(verdict.outcome, Outcome::Pass, "{:?}", verdict.lines);
    }

    /// A change, the kind of line that it breaks, and words of that line.
    type Wrong = (fn(&mut Pair), Kind, &'static str);

    #[test]
    fn each_line_fails_for_one_thing_that_is_wrong() {
        let wrongs: [Wrong; 7] = [
            (|p| p.twin.generator = p.watertight.generator.clone(), Kind::Structural, "stays down"),
            (|p| down_from(&mut p.twin, 0, 6_000), Kind::Structural, "(c) was well"),
            (|p| down_from(&mut p.watertight, 13_250, 1_000), Kind::Structural, "answers with success"),
            (|p| down_from(&mut p.watertight, 0, 6_000), Kind::Structural, "(d) was well"),
            (|p| p.watertight.last.routes[0].breaker = Some(Breaker::Open), Kind::Structural, "breakers"),
            (|p| p.watertight.came_to_rest = false, Kind::Structural, "callers that are gone"),
            (|p| p.watertight.last.routes[1].started[2] = 1_200, Kind::Structural, "attempts"),
        ];
        for (change, kind, words) in wrongs {
            let mut pair = pair();
            change(&mut pair);
            let verdict = judge(&[pair], Mode::Full);
            let broken = |l: &&Line| !l.holds && l.kind == kind && l.what.contains(words);
            assert!(verdict.lines.iter().any(|l| broken(&l)), "{words}: {:?}", verdict.lines);
            assert_eq!(verdict.outcome, Outcome::Fail, "{words}");
        }
    }

    #[test]
    fn a_service_that_is_back_too_late_fails_by_time_and_not_in_the_short_form() {
        let late = || {
            let mut pair = pair();
            down_from(&mut pair.watertight, 13_000, SLICE_MS);
            pair.watertight.generator.slices.iter_mut().for_each(|s| s.routes.iter_mut().for_each(|r| r.ok = r.sent));
            pair
        };
        assert_eq!(judge(&[late()], Mode::Full).outcome, Outcome::Fail);
        assert_eq!(judge(&[late()], Mode::Ci).outcome, Outcome::Pass);
        let mut unfit = late();
        unfit.watertight.canary.lateness.iter_mut().for_each(|l| l.record(50_000));
        assert_eq!(judge(&[unfit], Mode::Full).outcome, Outcome::Inconclusive);
    }
}
