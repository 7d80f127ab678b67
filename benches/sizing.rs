//! A template: put your own work where it says so, and learn how many threads and how long a queue it wants.
//!
//! ```text
//! cargo bench --bench sizing                                       about 15 seconds
//! cargo bench --bench sizing -- --budget 250 --rate 300 --svg sizing.svg
//! cargo bench --bench sizing -- --full                             more points, for longer: a few minutes
//! ```
//!
//! It does with your work what `examples/sizing` does with work of its own: a sweep of threads by all they can take, which
//! gives the knee, the Universal Scalability Law and what the limit is; a sweep of threads and queues by random arrivals in an
//! open loop, whose waits stand next to Erlang-C's and whose jobs inside next to Little's; and a recommendation, with its
//! arithmetic, that is tried. To have it in a crate of your own, copy this file and `examples/sizing`, and the development
//! dependencies that `Cargo.toml` names for them.

use std::error::Error;
use std::hint::black_box;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

#[allow(dead_code, unused_imports, reason = "the example uses all of it; its tests are run there")]
#[path = "../examples/sizing/analyse.rs"]
mod analyse;
#[allow(dead_code, unused_imports, reason = "as above")]
#[path = "../examples/sizing/load.rs"]
mod load;
#[allow(dead_code, unused_imports, reason = "as above")]
#[path = "../examples/sizing/options.rs"]
mod options;
#[allow(dead_code, unused_imports, reason = "as above")]
#[path = "../examples/sizing/plot.rs"]
mod plot;
#[allow(dead_code, unused_imports, reason = "as above")]
#[path = "../examples/sizing/sweep.rs"]
mod sweep;
#[allow(dead_code, unused_imports, reason = "as above")]
#[path = "../examples/sizing/system.rs"]
mod system;
#[allow(dead_code, unused_imports, reason = "as above")]
#[path = "../examples/sizing/table.rs"]
mod table;
#[allow(dead_code, unused_imports, reason = "as above")]
#[path = "../examples/sizing/work.rs"]
mod work;

use crate::options::Options;
use crate::work::{Spread, Work};

/// A pool is as fast as what its jobs share: make here, once, what your program shares, clients and caches for one.
fn your_work() -> impl Fn() + Send + Sync + 'static {
    // >>> replace what is between these marks by your own work
    let shared = std::sync::Mutex::new(0u64);
    move || {
        let mut x = 1u64;
        for i in 0..200_000u64 {
            x = black_box(x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(i));
        }
        *shared.lock().unwrap() ^= x; // a moment that only one can have
        std::thread::sleep(Duration::from_millis(2)); // as if it asked somebody
    }
    // <<< up to here
}

/// Sweeps threads and queue of a pool under your work, and recommends both.
#[derive(Debug, Parser)]
#[command(name = "sizing")]
struct Cli {
    #[command(flatten)]
    options: Options,
    /// As `--ci`; what criterion's benches do with it
    #[arg(long, hide = true)]
    test: bool,
    /// Given by `cargo bench`
    #[arg(long, hide = true)]
    bench: bool,
    /// Given to all benches: only those of this name
    #[arg(hide = true)]
    filter: Option<String>,
}

fn run(mut cli: Cli) -> Result<(), Box<dyn Error>> {
    if cli.filter.as_ref().is_some_and(|name| !"sizing".contains(name)) {
        return Ok(());
    }
    // `cargo test --benches` says nothing: it too wants to know whether it works.
    cli.options.ci |= cli.test || !cli.bench;
    let plan = cli.options.plan("of your own".into(), Spread::Constant);
    cli.options.measure(&plan, Work::own(your_work()))
}

fn main() -> ExitCode {
    match run(Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("sizing: {e}");
            ExitCode::FAILURE
        }
    }
}
