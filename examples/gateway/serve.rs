//! `serve`: the gateway kept running, for a person with curl or a load generator.

use std::io::{self, Write};
use std::net::SocketAddr;

use crate::plan::{Arch, Route, SHARED_THREADS};
use crate::server::{self, Endpoint, Front, Setup};
use crate::story::Dependencies;
use crate::upstream::{self, Upstream, Upstreams};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// The port to listen on, on loopback; by default the system chooses
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// The architecture to serve with
    #[arg(long, value_enum, default_value_t = Arch::D)]
    arch: Arch,
    /// A service that runs already, to be asked in the place of the example's own; may be given for each route
    #[arg(long = "upstream", value_name = "NAME=URL")]
    upstreams: Vec<Upstream>,
}

/// Serves until the process is stopped; its downstreams leave with it.
pub(crate) fn run(args: &Args) -> io::Result<()> {
    let upstreams = upstream::by_route(&args.upstreams)?;
    server::runtime()?.block_on(async {
        // The port first: it is what a person may have got wrong.
        let listener = server::bind(args.port).await?;
        let dependencies = Dependencies::start(&upstreams.each_ref().map(|u| u.as_ref().map(|u| u.at))).await?;
        let front = Front::new(Setup {
            arch: args.arch,
            endpoints: Route::ALL.map(|r| endpoint(r, &upstreams, &dependencies)),
            controls: Some(dependencies.controls),
            shared_threads: SHARED_THREADS,
            keeps_log: false,
        })?;
        // Whoever reads this may stop reading; the gateway serves on.
        let _ = write!(io::stdout(), "{}", welcome(args.arch, listener.local_addr()?, &dependencies, &upstreams));
        front.serve(listener).await
    })
}

/// The proxy is connected to, and what is asked is what the service was told to be asked.
fn endpoint(route: Route, upstreams: &Upstreams, dependencies: &Dependencies) -> Endpoint {
    let at = dependencies.proxies[route.index()];
    match &upstreams[route.index()] {
        Some(upstream) => Endpoint { at, url: upstream.url.clone() },
        None => Endpoint::own(route, at),
    }
}

fn welcome(arch: Arch, at: SocketAddr, dependencies: &Dependencies, upstreams: &Upstreams) -> String {
    let asks = Route::ALL.map(|r| match &upstreams[r.index()] {
        Some(upstream) => format!("  curl -i http://{at}/{}   (asks {})\n", r.name(), upstream.url),
        None => format!("  curl -i http://{at}/{}\n", r.name()),
    });
    let pids = Route::ALL.map(|r| format!("{} {}", r.name(), dependencies.children[r.index()].pid())).join(", ");
    format!(
        "The gateway, ({letter}) {title}, listens on http://{at}

Ask it:
{asks}  curl http://{at}/status

Make a dependency slow, failing or unreachable, and well again:
  curl -X PUT 'http://{at}/fault/recommendations?fault=latency&latency_ms=5000&jitter_ms=100'
  curl -X PUT 'http://{at}/fault/recommendations?fault=errors'
  curl -X PUT 'http://{at}/fault/recommendations?fault=down'
  curl -X PUT 'http://{at}/fault/recommendations?fault=reset&toxicity=0.5'
  (and: bandwidth&kb_per_s=1, slicer&bytes=10&delay_ms=20, limit&bytes=100, timeout, slow-close&delay_ms=1000,
  drop-first&connections=10; toxicity is the share of connections that are struck)
  curl -X PUT 'http://{at}/fault/recommendations?fault=none'

Load it, from the intended send time:
  oha -q 600 -z 20s --latency-correction http://{at}/orders
  wrk2 -R 600 -d 20s -t 2 -c 100 --latency http://{at}/orders

The downstreams, or the proxies before yours, are processes, and kill -9 is a fault too: {pids}
Ctrl-C ends them all.
",
        letter = arch.letter(),
        title = arch.title(),
        asks = asks.concat(),
    )
}
