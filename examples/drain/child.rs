//! One way, in a process of its own: so that its peak of memory is its own, and its end, if the system ends it, too.
//!
//! The child says how it gets on in lines of JSON on its standard output. When its standard input ends, whoever started
//! it wants no more or is gone, and it stops.

use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use watertight::{CancelToken, Context};

use crate::Result;
use crate::args::{Args, Way};
use crate::parse::Outcome;
use crate::report::Report;
use crate::tally::Failure;
use crate::walk;
use crate::ways::{self, Ran, Work};

/// Between two words of progress.
const OFTEN: Duration = Duration::from_millis(100);

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Said {
    Progress { files: u64, failed: u64, bytes: u64 },
    Done(Box<Done>),
    Failed(String),
}

/// How it went.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Done {
    pub(crate) seconds: f64,
    /// Every file has been looked at, to its end or to where it is broken.
    pub(crate) complete: bool,
    pub(crate) refused: Option<String>,
    pub(crate) most_threads: usize,
    pub(crate) most_in_hand: usize,
    pub(crate) peak_kb: Option<u64>,
    pub(crate) drained: u64,
    pub(crate) failed: u64,
    pub(crate) undone: u64,
    pub(crate) lines: u64,
    pub(crate) text_bytes: u64,
    /// The first few.
    pub(crate) failures: Vec<Failure>,
    pub(crate) aggregate: Value,
}

/// Drains `folder` this one way.
pub(crate) fn run(way: Way, args: &Args, folder: &Path, token: &CancelToken) -> Result {
    stop_with_standard_input(token.clone())?;
    let said = match drain(way, args, folder, token) {
        Ok(done) => Said::Done(Box::new(done)),
        Err(e) => Said::Failed(e.to_string()),
    };
    Ok(say(&said)?)
}

fn stop_with_standard_input(token: CancelToken) -> io::Result<()> {
    let wait = move || {
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        token.cancel();
    };
    thread::Builder::new().name("stdin".into()).spawn(wait).map(drop)
}

fn say(said: &Said) -> io::Result<()> {
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, said)?;
    writeln!(out)?;
    out.flush()
}

fn drain(way: Way, args: &Args, folder: &Path, token: &CancelToken) -> Result<Done> {
    let work = Work {
        cx: Context::background().with_token(token),
        latency: Duration::from_millis(args.latency),
        panic_on: args.hidden.panic_on.as_deref().map(Arc::from),
    };
    let mut report = Report::new(args.hidden.unfinished.as_deref())?;
    let begun = Instant::now();
    let mut last_said = None;
    let tell = |file: &str, outcome: Outcome| {
        report.add(file, &outcome)?;
        if last_said.is_none_or(|at: Instant| at.elapsed() >= OFTEN) {
            last_said = Some(Instant::now());
            let tally = report.tally();
            say(&Said::Progress { files: tally.drained(), failed: tally.failed(), bytes: tally.total().text_bytes })?;
        }
        Ok(())
    };
    let files = walk::files(folder, args.out.as_deref());
    let ran = match way {
        Way::Pool => ways::pool((args.threads, args.queue), &work, files, tell),
        Way::One => ways::one(&work, files, tell),
        Way::ThreadPerFile => ways::thread_per_file(args.hidden.stack, &work, files, tell),
    }?;
    finish(report, ran, begun)
}

fn finish(report: Report, ran: Ran, begun: Instant) -> Result<Done> {
    let complete = !ran.stopped && report.tally().undone() == 0;
    let tally = report.finish(complete)?;
    Ok(Done {
        seconds: begun.elapsed().as_secs_f64(),
        complete,
        refused: ran.refused,
        most_threads: ran.most_threads,
        most_in_hand: ran.most_in_hand,
        peak_kb: peak_kb(),
        drained: tally.drained(),
        failed: tally.failed(),
        undone: tally.undone(),
        lines: tally.total().lines,
        text_bytes: tally.total().text_bytes,
        failures: tally.failures().to_vec(),
        aggregate: tally.aggregate(),
    })
}

/// The most memory this process ever had in use, where the system says so: all of it, the program itself included. It
/// begins anew with each program, which `ru_maxrss` does not.
fn peak_kb() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix("kB")?.trim().parse().ok())
}
