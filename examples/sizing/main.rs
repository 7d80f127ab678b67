//! How many threads and how long a queue: found by experiment.
//!
//! ```text
//! cargo run --release --example sizing                             a mixed workload, about 15 seconds
//! cargo run --release --example sizing -- --workload dependency --svg sizing.svg
//! cargo run --release --example sizing -- --full                   more points, for longer: a few minutes
//! ```
//!
//! First a pool of each number of threads gets all it can take: that gives throughput, the knee, the fitted Universal
//! Scalability Law, and whether CPU, threads or the dependency is the limit. Then every size of threads and queue gets the
//! same random arrivals in an open loop: latency, refusals, and waits next to Erlang-C's. At last `sizing::recommend` is
//! asked, and what it says is tried. To measure work of your own, see `benches/sizing.rs`.
//!
//! The exit code says whether the program could run, not how fast the machine was.

mod analyse;
mod load;
mod plot;
mod sweep;
mod system;
mod table;
mod work;

use std::error::Error;
use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

use crate::sweep::Plan;
use crate::work::{Kind, Spread};

/// Sweeps threads and queue of a pool under a workload, and recommends both.
#[derive(Debug, Parser)]
#[command(name = "sizing")]
struct Cli {
    /// What the jobs do
    #[arg(long, value_enum, default_value_t = Kind::Mixed)]
    workload: Kind,
    /// How the lengths of jobs are distributed
    #[arg(long, value_enum, default_value_t = Spread::Exponential)]
    spread: Spread,
    /// Mean length of a job when nothing is in its way
    #[arg(long, value_name = "MS", default_value = "4", value_parser = millis)]
    mean: Duration,
    /// How long a caller waits for the result, queue and service together
    #[arg(long, value_name = "MS", default_value = "100", value_parser = millis)]
    budget: Duration,
    /// Arrivals a second [default: 60 % of the best throughput found]
    #[arg(long, value_name = "PER_SECOND", value_parser = rate, allow_negative_numbers = true)]
    rate: Option<f64>,
    /// Calls at once that the dependency takes
    #[arg(long, value_name = "N", default_value_t = 6, value_parser = count)]
    calls: usize,
    /// Thread counts to try
    #[arg(long, value_name = "N,N,...", value_delimiter = ',', value_parser = count)]
    threads: Vec<usize>,
    /// Seed of arrivals and lengths
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// More points, each for longer: a few minutes
    #[arg(long)]
    full: bool,
    /// Print everything measured as JSON instead of tables
    #[arg(long)]
    json: bool,
    /// Where to write the plot
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

fn number(text: &str, most: f64, what: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| format!("{what} is a number"))?;
    // Not the same as comparing the other way round: what is not a number is neither.
    if value > 0.0 && value <= most { Ok(value) } else { Err(format!("{what} must be above 0, to {most}")) }
}

fn millis(text: &str) -> Result<Duration, String> {
    number(text, 60_000.0, "a time in milliseconds")
        .map(|ms| Duration::from_secs_f64(ms / 1e3).max(Duration::from_nanos(1)))
}

fn rate(text: &str) -> Result<f64, String> {
    number(text, 1e6, "a rate")
}

fn count(text: &str) -> Result<usize, String> {
    let all = 1..=1_024;
    text.parse().ok().filter(|n| all.contains(n)).ok_or_else(|| "must be a whole number from 1 to 1024".into())
}

impl Cli {
    fn plan(&self) -> Plan {
        let mut threads = self.threads.clone();
        if threads.is_empty() {
            threads = if self.full { vec![1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64] } else { vec![1, 2, 4, 8, 16, 32] };
        }
        threads.sort_unstable();
        threads.dedup();
        let ms = Duration::from_millis;
        let (saturated, open, trial) =
            if self.full { (ms(2_000), ms(3_000), ms(10_000)) } else { (ms(400), ms(350), ms(1_500)) };
        Plan {
            workload: self.workload,
            spread: self.spread,
            mean: self.mean,
            budget: self.budget,
            calls: self.calls,
            seed: self.seed,
            rate: self.rate,
            threads,
            saturated,
            open,
            trial,
        }
    }
}

fn run(cli: &Cli) -> Result<(), Box<dyn Error>> {
    let plan = cli.plan();
    eprintln!("{} thread counts, about {:.0} s", plan.threads.len(), plan.nominal().as_secs_f64());
    let report = sweep::run(&plan, &mut io::stderr())?;
    let mut out = io::stdout().lock();
    if cli.json {
        serde_json::to_writer_pretty(&mut out, &report)?;
        writeln!(out)?;
    } else {
        table::write(&report, &mut out)?;
    }
    if let Some(path) = &cli.svg {
        fs::write(path, plot::svg(&report)?).map_err(|e| format!("{}: {e}", path.display()))?;
        eprintln!("plot: {}", path.display());
    }
    Ok(())
}

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("sizing: {e}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(flags: &[&str]) -> Result<Cli, String> {
        Cli::try_parse_from([&["sizing"], flags].concat()).map_err(|e| e.to_string())
    }

    #[test]
    fn bad_flags_say_what_is_wrong() {
        for (flags, what) in [
            (["--mean", "0"], "must be above 0"),
            (["--mean", "NaN"], "must be above 0"),
            (["--budget", "soon"], "is a number"),
            (["--rate", "-1"], "a rate must be above 0, to 1000000"),
            (["--rate", "1e300"], "must be above 0, to 1000000"),
            (["--threads", "1,0"], "a whole number from 1 to 1024"),
            (["--calls", "9999"], "a whole number from 1 to 1024"),
            (["--workload", "magic"], "possible values: cpu, sleep, dependency, mixed"),
        ] {
            let e = parse(&flags).unwrap_err();
            assert!(e.contains(what), "{flags:?}: {e}");
        }
    }

    #[test]
    fn a_run_without_flags_is_short_and_a_full_one_long() {
        let nominal = |flags: &[&str]| parse(flags).unwrap().plan().nominal();
        assert!(nominal(&[]) < Duration::from_secs(15), "{:?}", nominal(&[]));
        assert!(nominal(&["--full"]) > Duration::from_secs(100));
        assert_eq!(parse(&["--threads", "4,1,4"]).unwrap().plan().threads, [1, 4]);
    }
}
