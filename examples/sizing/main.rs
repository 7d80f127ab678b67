//! How many threads and how long a queue: found by experiment.
//!
//! ```text
//! cargo run --release --example sizing                             a mixed workload, about 15 seconds
//! cargo run --release --example sizing -- --workload dependency --svg sizing.svg
//! cargo run --release --example sizing -- --full                   more points, for longer: a few minutes
//! cargo run --example sizing -- --ci                               some seconds: that it works, and not what it says
//! ```
//!
//! First a pool of each number of threads gets all it can take: that gives throughput, the knee, the fitted Universal
//! Scalability Law, and whether CPU, threads or the dependency is the limit. Then every size of threads and queue gets the
//! same random arrivals in an open loop: latency, refusals, and waits next to Erlang-C's. At last `sizing::recommend` is
//! asked, and what it says is tried. `benches/sizing.rs` is the same for work of your own.
//!
//! The exit code says whether the program could run, not how fast the machine was.

mod analyse;
mod load;
mod options;
mod plot;
mod sweep;
mod system;
mod table;
mod work;

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

use crate::options::{Options, count, millis};
use crate::sweep::Plan;
use crate::work::{Kind, Spread, Work};

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
    /// Calls at once that the dependency takes
    #[arg(long, value_name = "N", default_value_t = 6, value_parser = count)]
    calls: usize,
    #[command(flatten)]
    options: Options,
}

impl Cli {
    fn plan(&self) -> Plan {
        let name = format!("{:?}, {:?} jobs of {:?}", self.workload, self.spread, self.mean);
        self.options.plan(name, self.spread)
    }
}

fn run(cli: &Cli) -> Result<(), Box<dyn Error>> {
    let work = Work::new(cli.workload, cli.mean, cli.calls)?;
    cli.options.measure(&cli.plan(), work)
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
        assert!(nominal(&["--ci"]) < Duration::from_secs(3), "{:?}", nominal(&["--ci"]));
        assert!(parse(&["--ci", "--full"]).is_err());
        assert_eq!(parse(&["--threads", "4,1,4"]).unwrap().plan().threads, [1, 4]);
    }
}
