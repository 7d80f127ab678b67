//! Drains a backlog: a folder of log files, parsed and aggregated by a pool of 40 workers with flat memory, next to one
//! worker and next to a thread per file: `cargo run --release --example drain -- ~/logs --out report.json`
//!
//! Without a folder it makes a sample, drains that and removes it. Read `ways.rs` first: the pool is there, and all that
//! is said to it. `parse.rs` is the work, `walk.rs` where it comes from, `report.rs` where it goes to. `parent.rs` and
//! `child.rs` are only there to measure: each way runs in a process of its own.
//!
//! | exit code | |
//! |---|---|
//! | 0 | every file was drained |
//! | 1 | some could not be read, a way failed, or the ways do not agree; it is said which |
//! | 2 | nothing was begun: the folder, the report's place or an option is wrong |
//! | 130 | interrupted by Ctrl-C; it is said how far it got |

mod args;
mod child;
mod level;
mod lines;
mod parent;
mod parse;
mod progress;
mod report;
mod sample;
mod table;
mod tally;
mod walk;
mod ways;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Parser;
use tempfile::TempDir;
use watertight::{CancelToken, Pool};

use args::{Args, Way};
use child::Done;
use parent::Ended;
use progress::Progress;
use report::Place;

type Failed = Box<dyn std::error::Error + Send + Sync>;
type Result<T = ()> = std::result::Result<T, Failed>;

const SOME_FAILED: u8 = 1;
const NOT_BEGUN: u8 = 2;
const INTERRUPTED: u8 = 130;

/// The sample of `--ci`: enough to fill the pool and its queue, in a blink.
const CI_FILES: u64 = 300;

fn main() -> ExitCode {
    let args = Args::parse();
    let token = CancelToken::new();
    let ran = stop_at_ctrl_c(&token).and_then(|()| match (args.hidden.child, &args.folder) {
        (Some(way), Some(folder)) => child::run(way, &args, folder, &token).map(|()| 0),
        _ => drain(args, &token),
    });
    ran.map_or_else(
        |e| {
            eprintln!("drain: {e}");
            ExitCode::from(NOT_BEGUN)
        },
        ExitCode::from,
    )
}

/// Once to stop in good order: everything waits within a context, and cancelling its token ends it. Twice to stop.
fn stop_at_ctrl_c(token: &CancelToken) -> Result {
    let (token, mut pressed) = (token.clone(), false);
    Ok(ctrlc::set_handler(move || {
        if std::mem::replace(&mut pressed, true) {
            std::process::exit(INTERRUPTED.into());
        }
        token.cancel();
    })?)
}

fn drain(mut args: Args, token: &CancelToken) -> Result<u8> {
    Pool::builder("drain").threads(args.threads).queue(args.queue).build()?; // says what is wrong with the numbers
    let sample = if args.folder.is_none() { Some(make_sample(&mut args, token)?) } else { None };
    let folder = sample.as_ref().map_or_else(|| args.folder.clone().unwrap_or_default(), |sample| sample.path().into());
    if !std::fs::metadata(&folder).map_err(|e| format!("{}: {e}", folder.display()))?.is_dir() {
        return Err(format!("{} is a file, not a folder", folder.display()).into());
    }
    // Once through beforehand, for the length of the bar. Counting keeps no paths either.
    let files = walk::files(&folder, args.out.as_deref()).take_while(|_| !token.is_cancelled()).count() as u64;
    if files == 0 && !token.is_cancelled() {
        println!("there are no files in {}", folder.display());
    }
    let mut race = Race { args, folder, token, files, ended: Vec::new(), report: None };
    race.run()?;
    let code = race.sum_up()?;
    if let Some(sample) = sample {
        sample.close()?;
        println!("the sample is removed, with everything in it");
    }
    Ok(code)
}

fn make_sample(args: &mut Args, token: &CancelToken) -> Result<TempDir> {
    let folder = tempfile::Builder::new().prefix("drain-sample-").tempdir()?;
    let (files, median) = if args.ci { (CI_FILES, 20.0) } else { (args.sample_files, 70.0) };
    println!("no folder was given: {files} files are made in {} (seed {})", folder.path().display(), args.seed);
    sample::make(folder.path(), files, median, args.seed, token)?;
    args.out.get_or_insert_with(|| folder.path().join("report.json"));
    Ok(folder)
}

/// The ways, one after the other.
struct Race<'a> {
    args: Args,
    folder: PathBuf,
    token: &'a CancelToken,
    files: u64,
    ended: Vec<(Way, Ended)>,
    /// Of the first way that came to its end, or else of the first.
    report: Option<(bool, Place)>,
}

impl Race<'_> {
    fn run(&mut self) -> Result {
        for way in self.args.ways.clone() {
            if self.token.is_cancelled() {
                break;
            }
            let place = self.args.out.as_deref().map(place).transpose()?;
            let progress = Progress::new(self.args.progress, way, self.files);
            let unfinished = place.as_ref().map(Place::unfinished);
            let ended = parent::drain(way, &self.args, &self.folder, unfinished, self.token, &progress)?;
            if let (Ended::Done(done), Some(place)) = (&ended, place) {
                if self.report.as_ref().is_none_or(|(complete, _)| done.complete && !complete) {
                    self.report = Some((done.complete, place));
                }
            }
            self.ended.push((way, ended));
        }
        Ok(())
    }

    fn done(&self) -> impl Iterator<Item = (Way, &Done)> {
        self.ended.iter().filter_map(|(way, ended)| match ended {
            Ended::Done(done) => Some((*way, &**done)),
            Ended::Failed(_) => None,
        })
    }

    /// Says what came of it, once the report is where it should be. The code is that of the worst.
    fn sum_up(mut self) -> Result<u8> {
        let published = self.report.take().map(|(complete, place)| (complete, place.publish()));
        table::print(&self.ended);
        let findings = self.done().find(|(_, done)| done.complete).or_else(|| self.done().next());
        let some_failed = findings.is_some_and(|(_, done)| {
            table::print_findings(done, matches!(published, Some((_, Ok(_)))));
            done.failed > 0
        });
        let agree = self.agree();
        // A thread per file may be too much for the system, and that is what it is here to show.
        let failed = |(way, ended): &(Way, Ended)| *way != Way::ThreadPerFile && matches!(ended, Ended::Failed(_));
        let way_failed = self.ended.iter().any(failed) || !self.done().any(|(_, done)| done.complete);
        let mut report_failed = false;
        match published {
            Some((true, Ok(at))) => println!("the report is {}", at.display()),
            Some((false, Ok(at))) => println!("the report is {}, and it is not complete", at.display()),
            Some((_, Err(e))) => {
                eprintln!("drain: the report could not be written: {e}");
                report_failed = true;
            }
            None => {}
        }
        Ok(match self.token.is_cancelled() {
            true => self.interrupted(),
            false if some_failed || way_failed || report_failed || !agree => SOME_FAILED,
            false => 0,
        })
    }

    /// Ways that came to their ends must have come to the same.
    fn agree(&self) -> bool {
        let complete: Vec<_> = self.done().filter(|(_, done)| done.complete).collect();
        let Some(((first, done), others)) = complete.split_first() else { return true };
        for (way, other) in others.iter().filter(|(_, other)| other.aggregate != done.aggregate) {
            eprintln!("drain: {} and {} differ: did the folder change meanwhile?", first.name(), way.name());
            eprintln!("    {}\n    {}", done.aggregate, other.aggregate);
        }
        let agree = others.iter().all(|(_, other)| other.aggregate == done.aggregate);
        if agree && !others.is_empty() {
            println!("the {} ways came to the same, file by file", complete.len());
        }
        agree
    }

    fn interrupted(&self) -> u8 {
        println!("interrupted");
        for (way, done) in self.done().filter(|(_, done)| !done.complete) {
            let Done { drained, failed, undone, .. } = done;
            let rest = self.files.saturating_sub(drained + failed + undone);
            let way = way.name();
            println!("{way}: {drained} drained, {failed} failed, {undone} taken and left undone, {rest} not taken");
        }
        for way in &self.args.ways[self.ended.len()..] {
            println!("{}: not begun", way.name());
        }
        INTERRUPTED
    }
}

fn place(at: &Path) -> Result<Place> {
    Place::new(at).map_err(|e| format!("no report can be written to {}: {e}", at.display()).into())
}
