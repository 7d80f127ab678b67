//! `--metastable`: does the service come back by itself? A gateway whose callers ask three times is pushed over by something
//! that passes, and stays down under a load that it carried before; one with compartments does not.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::plan::{ATTEMPTS, Arch, OVERCOMMITTED_RATE, OVERCOMMITTED_THREADS, PATIENCE, Phase, Plan, Route, SERVICE};
use crate::plan::{SICK, Trigger};
use crate::story::{Place, Run};
use crate::verdict::metastable::{Pair, back_after_ms, good_afterwards, good_in, judge};
use crate::verdict::{COLLAPSED, Mode, Verdict};
use crate::{StoryArgs, limits, live, single_threaded, story, table};

/// Runs the three triggers, each on the twin and on watertight, and prints what came of it.
pub(crate) fn tell(args: &StoryArgs, descriptors: u64) -> io::Result<ExitCode> {
    // What is open at most: what comes in a spike, for as long as the callers are patient.
    let open = OVERCOMMITTED_RATE * Trigger::SPIKE * PATIENCE.as_secs_f64() * f64::from(ATTEMPTS);
    limits::check(descriptors, open)?;

    let shown: Vec<_> = Trigger::ALL.into_iter().flat_map(|t| [(t, Arch::C), (t, Arch::D)]).collect();
    let plan_of = |trigger| Plan::metastable(trigger, args.ci);
    let mut view = live::view(args.json, args.ci);
    let runtime = single_threaded()?;
    let mut runs = Vec::new();
    for (i, &(trigger, arch)) in shown.iter().enumerate() {
        let then = shown[i + 1..].iter().map(|(t, _)| plan_of(*t).total()).sum::<Duration>();
        let place = Place { number: i + 1, of: shown.len(), then };
        runs.push(runtime.block_on(story::run(arch, &plan_of(trigger), place, view.as_mut()))?);
    }
    view.close();

    let mut runs = runs.into_iter();
    let mut pairs = Vec::new();
    while let (Some(twin), Some(watertight)) = (runs.next(), runs.next()) {
        pairs.push(Pair { twin, watertight });
    }
    let verdict = judge(&pairs, if args.ci { Mode::Ci } else { Mode::Full });
    let results = if args.json { as_json(&pairs, &verdict)? } else { as_text(&pairs, &verdict) };
    // A reader that went away changes nothing about the verdict.
    let _ = writeln!(io::stdout(), "{results}");
    Ok(ExitCode::from(verdict.exit_code()))
}

/// What the arithmetic says of a trigger and of the naive twin.
fn expected(trigger: Trigger) -> String {
    let (rate, threads, service) = (OVERCOMMITTED_RATE, OVERCOMMITTED_THREADS as f64, SERVICE.as_secs_f64());
    let capacity = threads / service;
    let asked = rate * f64::from(ATTEMPTS);
    // So many jobs before one are a second's wait for it.
    let tipping = capacity * (PATIENCE - SERVICE).as_secs_f64();
    match trigger {
        Trigger::Slow => {
            let share = Route::SICK.share();
            let mean = share * SICK.as_secs_f64() + (1.0 - share) * service;
            let free = threads - (1.0 - share) * rate * service;
            format!(
                "its 5 s calls hold the last thread after {:.1} s, and {:.0}/s are left of {capacity:.0}/s",
                free / (share * rate),
                threads / mean
            )
        }
        Trigger::Errors => format!(
            "{asked:.0} attempts/s are asked of {capacity:.0}/s, so that a second's wait takes {:.0} s to grow; sooner where \
             a call really takes more than 50 ms",
            tipping / (asked - capacity)
        ),
        Trigger::Spike => {
            let spike = rate * Trigger::SPIKE;
            format!(
                "{spike:.0}/s are asked of {capacity:.0}/s, a second's wait after {:.1} s, and then up to {:.0}/s",
                tipping / (spike - capacity),
                spike * f64::from(ATTEMPTS)
            )
        }
    }
}

/// A run, in figures.
struct Row {
    before: f64,
    meanwhile: f64,
    afterwards: f64,
    back_s: Option<f64>,
    /// Attempts asked for by each request that came after the trigger.
    attempts: f64,
    waiting: u64,
}

impl Row {
    fn of(run: &Run) -> Self {
        let after = Phase::After.index();
        let sum = |of: fn(&crate::server::stats::RouteStats) -> &[u64; Phase::COUNT]| -> u64 {
            Route::ALL.iter().map(|r| of(run.last.route(*r))[after]).sum()
        };
        // What goes downstream is what counts: in (d) not every request may ask.
        let asked = if run.arch == Arch::D { sum(|r| &r.started) } else { sum(|r| &r.submitted) };
        Self {
            before: good_in(run, Phase::Before),
            meanwhile: good_in(run, Phase::Fault),
            afterwards: good_afterwards(run),
            back_s: back_after_ms(run).map(|ms| ms as f64 / 1_000.0),
            attempts: asked as f64 / sum(|r| &r.requests).max(1) as f64,
            waiting: run.samples.last().map_or(0, |s| s.stats.queued()),
        }
    }
}

fn as_text(pairs: &[Pair], verdict: &Verdict) -> String {
    let mut out = format!(
        "\n{OVERCOMMITTED_RATE:.0} requests/s; (c) has one pool of {OVERCOMMITTED_THREADS} threads and asks up to \
         {ATTEMPTS} times, (d) is as in the story.\nDown for good once a wait passes {} s: then every request is \
         {ATTEMPTS} attempts, {:.0}/s, and the pool carries {:.0}/s.\n",
        PATIENCE.as_secs(),
        OVERCOMMITTED_RATE * f64::from(ATTEMPTS),
        OVERCOMMITTED_THREADS as f64 / SERVICE.as_secs_f64()
    );
    for pair in pairs {
        let Some(trigger) = pair.twin.plan.trigger else { continue };
        let _ = writeln!(out, "\n{} for {} s: {}", trigger.name(), trigger.seconds(), trigger.explained());
        let _ = writeln!(out, "  in (c) by arithmetic, {}", expected(trigger));
        let _ = writeln!(
            out,
            "  {:<40}{:>13}{:>11}{:>16}{:>13}{:>10}{:>14}",
            "", "good before", "meanwhile", "from 2 s after", "back after", "attempts", "waiting, end"
        );
        for run in [&pair.twin, &pair.watertight] {
            let row = Row::of(run);
            let title = format!("({}) {}", run.arch.letter(), run.arch.title());
            let percent = |part: f64| format!("{:.1} %", 100.0 * part);
            let back = row.back_s.map_or("not shown".into(), |s| format!("{s:.2} s"));
            let _ = writeln!(
                out,
                "  {title:<40}{:>13}{:>11}{:>16}{back:>13}{:>10.2}{:>14}",
                percent(row.before),
                percent(row.meanwhile),
                percent(row.afterwards),
                row.attempts,
                row.waiting
            );
        }
        if let Some(why) = why_back(&pair.twin) {
            let _ = writeln!(out, "  {why}");
        }
    }
    table::write_lines(&mut out, verdict);
    table::write_machine(&mut out, pairs.iter().map(|pair| &pair.watertight));
    let _ = write!(out, "\n{}", verdict.sentence());
    out
}

/// Why the twin came back, if it did: patience is what keeps it down.
fn why_back(twin: &Run) -> Option<String> {
    if good_afterwards(twin) < COLLAPSED {
        return None;
    }
    let healed = twin.plan.stretch(Phase::After).map_or(0, |s| s.from_ms);
    let waiting = twin.samples.iter().filter(|s| s.at_ms <= healed).map(|s| s.stats.queued()).max().unwrap_or(0);
    let wait = waiting as f64 * SERVICE.as_secs_f64() / OVERCOMMITTED_THREADS as f64;
    Some(format!(
        "(c) came back: {waiting} jobs waited at most, {wait:.2} s for the last of them, and callers wait {} s",
        PATIENCE.as_secs()
    ))
}

fn as_json(pairs: &[Pair], verdict: &Verdict) -> io::Result<String> {
    let of = |run: &Run| {
        let row = Row::of(run);
        let (arch, mut value) = table::run_json(run);
        value["good_before"] = json!(row.before);
        value["good_meanwhile"] = json!(row.meanwhile);
        value["good_afterwards"] = json!(row.afterwards);
        value["back_after_s"] = json!(row.back_s);
        value["attempts_per_request_after"] = json!(row.attempts);
        value["waiting_at_the_end"] = json!(row.waiting);
        (arch, value)
    };
    let triggers: Map<String, Value> = pairs
        .iter()
        .filter_map(|pair| {
            let trigger = pair.twin.plan.trigger?;
            let architectures: Map<_, _> = [of(&pair.twin), of(&pair.watertight)].into_iter().collect();
            let value = json!({ "seconds": trigger.seconds(), "architectures": architectures });
            Some((trigger.name().replace(' ', "-"), value))
        })
        .collect();
    let value = json!({
        "outcome": verdict.outcome,
        "exit_code": verdict.exit_code(),
        "mode": verdict.mode,
        "unfit": verdict.unfit,
        "lines": verdict.lines,
        "triggers": triggers,
    });
    serde_json::to_string_pretty(&value).map_err(io::Error::other)
}
