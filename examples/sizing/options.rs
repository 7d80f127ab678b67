//! What both programs are told on the command line: this example and `benches/sizing.rs`.

use std::error::Error;
use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::sweep::{self, Plan};
use crate::work::{Spread, Work};
use crate::{plot, table};

#[derive(Debug, Args)]
pub(crate) struct Options {
    /// How long a caller waits for the result, queue and service together
    #[arg(long, value_name = "MS", default_value = "100", value_parser = millis)]
    budget: Duration,
    /// Arrivals a second [default: 60 % of the best throughput found]
    #[arg(long, value_name = "PER_SECOND", value_parser = rate, allow_negative_numbers = true)]
    rate: Option<f64>,
    /// Thread counts to try
    #[arg(long, value_name = "N,N,...", value_delimiter = ',', value_parser = count)]
    threads: Vec<usize>,
    /// Seed of arrivals and lengths
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// More points, each for longer: a few minutes
    #[arg(long)]
    full: bool,
    /// Some seconds only: that it works, and not what it says
    #[arg(long, conflicts_with = "full")]
    pub(crate) ci: bool,
    /// Print everything measured as JSON instead of tables
    #[arg(long)]
    json: bool,
    /// Where to write the plot
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
}

/// How long to measure.
#[derive(Clone, Copy)]
enum Length {
    Smoke,
    Usual,
    Full,
}

fn number(text: &str, most: f64, what: &str) -> Result<f64, String> {
    let value: f64 = text.parse().map_err(|_| format!("{what} is a number"))?;
    // Not the same as comparing the other way round: what is not a number is neither.
    if value > 0.0 && value <= most { Ok(value) } else { Err(format!("{what} must be above 0, to {most}")) }
}

pub(crate) fn millis(text: &str) -> Result<Duration, String> {
    number(text, 60_000.0, "a time in milliseconds")
        .map(|ms| Duration::from_secs_f64(ms / 1e3).max(Duration::from_nanos(1)))
}

fn rate(text: &str) -> Result<f64, String> {
    number(text, 1e6, "a rate")
}

pub(crate) fn count(text: &str) -> Result<usize, String> {
    let all = 1..=1_024;
    text.parse().ok().filter(|n| all.contains(n)).ok_or_else(|| "must be a whole number from 1 to 1024".into())
}

impl Options {
    /// What is to be measured, of work with this name.
    pub(crate) fn plan(&self, workload: String, spread: Spread) -> Plan {
        let length = match (self.ci, self.full) {
            (true, _) => Length::Smoke,
            (false, true) => Length::Full,
            (false, false) => Length::Usual,
        };
        let mut threads = self.threads.clone();
        if threads.is_empty() {
            threads = match length {
                Length::Smoke => vec![1, 2, 4],
                Length::Usual => vec![1, 2, 4, 8, 16, 32],
                Length::Full => vec![1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64],
            };
        }
        threads.sort_unstable();
        threads.dedup();
        let (saturated, open, trial) = match length {
            Length::Smoke => (90, 60, 200),
            Length::Usual => (400, 350, 1_500),
            Length::Full => (2_000, 3_000, 10_000),
        };
        let ms = Duration::from_millis;
        Plan {
            workload,
            spread,
            budget: self.budget,
            seed: self.seed,
            rate: self.rate,
            threads,
            saturated: ms(saturated),
            open: ms(open),
            trial: ms(trial),
        }
    }

    /// Carries it out and shows what was found.
    pub(crate) fn measure(&self, plan: &Plan, work: Work) -> Result<(), Box<dyn Error>> {
        eprintln!("{} thread counts, about {:.0} s", plan.threads.len(), plan.nominal().as_secs_f64());
        let report = sweep::run(plan, work, &mut io::stderr())?;
        let mut out = io::stdout().lock();
        if self.json {
            serde_json::to_writer_pretty(&mut out, &report)?;
            writeln!(out)?;
        } else {
            table::write(&report, &mut out)?;
        }
        if let Some(path) = &self.svg {
            fs::write(path, plot::svg(&report)?).map_err(|e| format!("{}: {e}", path.display()))?;
            eprintln!("plot: {}", path.display());
        }
        Ok(())
    }
}
