//! The gateway: a real HTTP service before three real HTTP dependencies, one of which falls sick.
//!
//! ```text
//! cargo run --release --example gateway              the story, about 90 seconds
//! cargo run --release --example gateway -- --quick   its short form, under 40 seconds
//! cargo run --release --example gateway -- --metastable   whether it comes back by itself, about 170 seconds
//! cargo run --release --example gateway -- serve     keeps it running, for curl and load generators, before the example's
//!                                                    own downstreams or yours (--upstream payments=http://127.0.0.1:9001)
//! ```
//!
//! The program starts itself as child processes (`children`): three `downstream`s, each behind a proxy of `faults`; the
//! gateway under test (`server`), fresh for each architecture; the load `generator`; a `canary` that tells whether the
//! machine was fit. `plan` says what happens when, `predict` what arithmetic expects, `story` runs one architecture,
//! `verdict` judges, `table` and `report` show.

mod canary;
mod children;
mod clock;
mod downstream;
mod faults;
mod figures;
mod generator;
mod hist;
mod http;
mod limits;
mod live;
mod metastable;
mod plan;
mod predict;
mod process;
mod recorder;
mod report;
mod serve;
mod server;
mod story;
mod table;
mod upstream;
mod verdict;

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, Subcommand};

use crate::plan::{Arch, Plan, Route};
use crate::server::{Downstreams, Endpoint, Setup};

/// The run could not be carried out, so there is nothing to judge.
const EXIT_BROKEN: u8 = 3;

/// A service with a sick dependency, on real sockets: four architectures under the same load, with a verdict.
#[derive(Parser)]
#[command(
    name = "gateway",
    after_help = "Exit code: 0 all pass lines hold, 1 a line fails, 2 the machine was not fit \
    (INCONCLUSIVE), 3 the run could not be carried out."
)]
struct Cli {
    #[command(subcommand)]
    role: Option<Role>,
    #[command(flatten)]
    story: StoryArgs,
}

#[derive(clap::Args)]
struct StoryArgs {
    /// Print the figures as JSON instead of tables
    #[arg(long)]
    json: bool,
    /// Only (b) and (d), in under 40 seconds; timed lines do not fail the run
    #[arg(long)]
    quick: bool,
    /// As --quick with plain output; neither timed lines nor the machine's fitness decide
    #[arg(long)]
    ci: bool,
    /// In place of the story: three triggers that each push a naive gateway over for good, and what watertight makes of them;
    /// with --ci, a shorter form of it
    #[arg(long, conflicts_with_all = ["quick", "rate_scale", "report"])]
    metastable: bool,
    /// Multiply the rates and the shared pool of (b) and (c); the compartments of (d) keep their sizes, so that above
    /// about 1.2 they are too small, and the run fails and says so
    #[arg(long, value_name = "S", default_value_t = 1.0, value_parser = scale)]
    rate_scale: f64,
    /// Where to write the HTML report
    #[arg(long, value_name = "PATH")]
    report: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Role {
    /// Keep the gateway running, with routes to make a dependency sick
    Serve(serve::Args),
    #[command(hide = true)]
    Downstream {
        route: Route,
        /// Before this service, and not one of its own.
        #[arg(long)]
        upstream: Option<SocketAddr>,
    },
    #[command(hide = true)]
    Server {
        #[arg(long)]
        arch: Arch,
        #[arg(long, default_value_t = plan::SHARED_THREADS)]
        shared_threads: usize,
        #[arg(long = "downstream", required = true)]
        downstreams: Vec<SocketAddr>,
        #[arg(long = "control")]
        controls: Vec<SocketAddr>,
    },
    #[command(hide = true)]
    Generate {
        #[arg(long)]
        target: SocketAddr,
        #[command(flatten)]
        timed: Timed,
    },
    #[command(hide = true)]
    Canary(Timed),
}

/// What generator and canary have to agree on.
#[derive(clap::Args)]
struct Timed {
    #[arg(long = "start")]
    start_us: u64,
    #[arg(long, value_parser = parse_plan)]
    plan: Plan,
}

fn parse_plan(text: &str) -> Result<Plan, String> {
    serde_json::from_str(text).map_err(|e| e.to_string())
}

fn scale(text: &str) -> Result<f64, String> {
    let scale: f64 = text.parse().map_err(|_| "not a number".to_string())?;
    if (0.05..=5.0).contains(&scale) { Ok(scale) } else { Err("must be between 0.05 and 5".into()) }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(EXIT_BROKEN)
        }
    }
}

fn run(cli: Cli) -> io::Result<ExitCode> {
    let descriptors = limits::raise();
    match cli.role {
        None if cli.story.metastable => return metastable::tell(&cli.story, descriptors),
        None => return tell(&cli.story, descriptors),
        Some(Role::Serve(args)) => serve::run(&args)?,
        Some(Role::Downstream { route, upstream }) => single_threaded()?.block_on(downstream::run(route, upstream))?,
        Some(Role::Server { arch, shared_threads, downstreams, controls }) => {
            let addrs = by_route(downstreams)?;
            let endpoints = Route::ALL.map(|r| Endpoint::own(r, addrs[r.index()]));
            let controls = if controls.is_empty() { None } else { Some(by_route(controls)?) };
            server::run(Setup { arch, endpoints, controls, shared_threads, keeps_log: true })?;
        }
        Some(Role::Generate { target, timed }) => generator::run(&timed.plan, target, timed.start_us)?,
        Some(Role::Canary(timed)) => canary::run(&timed.plan, timed.start_us),
    }
    Ok(ExitCode::SUCCESS)
}

fn by_route(addrs: Vec<SocketAddr>) -> io::Result<Downstreams> {
    let three = |_| io::Error::new(io::ErrorKind::InvalidInput, "one address for each of the three routes is needed");
    addrs.try_into().map_err(three)
}

fn single_threaded() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

/// Runs the story and prints what came of it.
fn tell(args: &StoryArgs, descriptors: u64) -> io::Result<ExitCode> {
    let quick = args.quick || args.ci;
    let shown: &[Arch] = if quick { &[Arch::B, Arch::D] } else { &[Arch::A, Arch::B, Arch::C, Arch::D] };
    let plan_of = |arch| {
        if quick { Plan::quick(arch, args.rate_scale) } else { Plan::full(arch, args.rate_scale) }
    };
    let prediction = figures::prediction(&plan_of(Arch::B));
    // What would only be found out after the run.
    limits::check(descriptors, prediction.open_at_heal)?;
    args.report.as_deref().map_or(Ok(()), report::check)?;

    let mut view = live::view(args.json, args.ci);
    let mut runs = Vec::new();
    let runtime = single_threaded()?;
    for (i, &arch) in shown.iter().enumerate() {
        let then = shown[i + 1..].iter().map(|&a| plan_of(a).total()).sum::<Duration>();
        let place = story::Place { number: i + 1, of: shown.len(), then };
        runs.push(runtime.block_on(story::run(arch, &plan_of(arch), place, view.as_mut()))?);
    }
    view.close();

    let mode = match (args.ci, quick) {
        (true, _) => verdict::Mode::Ci,
        (_, true) => verdict::Mode::Quick,
        _ => verdict::Mode::Full,
    };
    let verdict = verdict::judge(&runs, &prediction, mode);
    let figures = figures::figures(&runs, &prediction);
    let report = report::write(args.report.as_deref(), &runs, &figures, &verdict)?;
    let results = if args.json {
        table::json(&runs, &prediction, &figures, &verdict, &report)?
    } else {
        table::text(&runs, &prediction, &figures, &verdict, &report)
    };
    // A reader that went away changes nothing about the verdict.
    let _ = writeln!(io::stdout(), "{results}");
    Ok(ExitCode::from(verdict.exit_code()))
}
