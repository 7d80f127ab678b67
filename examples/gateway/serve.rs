//! `serve`: the gateway kept running, for a person with curl or a load generator.

use std::io::{self, Write};
use std::net::SocketAddr;

use crate::plan::{Arch, Route, SHARED_THREADS};
use crate::server::{self, Front, Setup};
use crate::story::Dependencies;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The port to listen on, on loopback; by default the system chooses
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// The architecture to serve with
    #[arg(long, value_enum, default_value_t = Arch::D)]
    arch: Arch,
}

/// Serves until the process is stopped; its downstreams leave with it.
pub(crate) fn run(args: &Args) -> io::Result<()> {
    server::runtime()?.block_on(async {
        // The port first: it is what a person may have got wrong.
        let listener = server::bind(args.port).await?;
        let dependencies = Dependencies::start().await?;
        let front = Front::new(Setup {
            arch: args.arch,
            downstreams: dependencies.proxies,
            controls: Some(dependencies.controls),
            shared_threads: SHARED_THREADS,
            keeps_log: false,
        })?;
        // Whoever reads this may stop reading; the gateway serves on.
        let _ = write!(io::stdout(), "{}", welcome(args.arch, listener.local_addr()?, &dependencies));
        front.serve(listener).await
    })
}

fn welcome(arch: Arch, at: SocketAddr, dependencies: &Dependencies) -> String {
    let pids = Route::ALL.map(|r| format!("{} {}", r.name(), dependencies.children[r.index()].pid())).join(", ");
    format!(
        "The gateway, ({letter}) {title}, listens on http://{at}

Ask it:
  curl -i http://{at}/payments
  curl -i http://{at}/orders
  curl -i http://{at}/recommendations
  curl http://{at}/status

Make a dependency slow, failing or unreachable, and well again:
  curl -X PUT 'http://{at}/fault/recommendations?fault=latency&latency_ms=5000&jitter_ms=100'
  curl -X PUT 'http://{at}/fault/recommendations?fault=errors'
  curl -X PUT 'http://{at}/fault/recommendations?fault=down'
  curl -X PUT 'http://{at}/fault/recommendations?fault=none'

Load it, from the intended send time:
  oha -q 600 -z 20s --latency-correction http://{at}/orders
  wrk2 -R 600 -d 20s -t 2 -c 100 --latency http://{at}/orders

The downstreams are processes, and kill -9 is a fault too: {pids}
Ctrl-C ends them all.
",
        letter = arch.letter(),
        title = arch.title(),
    )
}
