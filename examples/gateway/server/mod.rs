//! The gateway: an async HTTP front before one of four ways to call a blocking client. Each of those is an
//! [`Architecture`]; the front, the client and the books are the same for all.

pub(crate) mod answer;
mod arch_a;
mod arch_d;
mod client;
mod front;
mod ledger;
mod shared_pool;
pub(crate) mod stats;

use std::future::Future;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;

use self::answer::Answer;
use self::ledger::{Inbound, Ledger};
use self::stats::Stats;
use crate::children;
use crate::plan::{Arch, Route};

pub(crate) use self::front::Front;

/// Where the downstreams listen, by [`Route::index`].
pub(crate) type Downstreams = [SocketAddr; Route::ALL.len()];

/// A downstream as the gateway's client sees it.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    /// Where to connect to: the proxy before it, if there is one.
    pub(crate) at: SocketAddr,
    /// What to ask.
    pub(crate) url: String,
}

impl Endpoint {
    /// Of the example's own downstreams.
    pub(crate) fn own(route: Route, at: SocketAddr) -> Self {
        Self { at, url: format!("http://{at}/?{}", route.name()) }
    }
}

/// The downstreams, by [`Route::index`].
pub(crate) type Endpoints = [Endpoint; Route::ALL.len()];

/// One way to call the dependencies.
pub(crate) trait Architecture: Send + Sync {
    /// Sees a request through. The future is dropped when the client disconnects.
    fn answer(&self, inbound: Inbound) -> Pin<Box<dyn Future<Output = Answer> + Send>>;

    /// Adds what only the architecture knows: queues and breakers.
    fn describe(&self, stats: &mut Stats);
}

/// What the gateway is made of.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) arch: Arch,
    pub(crate) endpoints: Endpoints,
    /// The control routes of the downstreams, where there are any.
    pub(crate) controls: Option<Downstreams>,
    /// Threads of the pool of (b) and (c).
    pub(crate) shared_threads: usize,
    /// Whether the gateway keeps a log for the end of a run.
    pub(crate) keeps_log: bool,
}

impl Setup {
    fn build(&self, ledger: &Arc<Ledger>) -> io::Result<Arc<dyn Architecture>> {
        Ok(match self.arch {
            Arch::A => Arc::new(arch_a::ThreadPerRequest::new(&self.endpoints, ledger)),
            Arch::B => Arc::new(shared_pool::SharedPool::new(self, ledger, shared_pool::Attempts::One)?),
            Arch::C => Arc::new(shared_pool::SharedPool::new(self, ledger, shared_pool::Attempts::Impatient)?),
            Arch::D => Arc::new(arch_d::Watertight::new(&self.endpoints, ledger)?),
        })
    }
}

/// Binds the gateway's port; 0 lets the system choose. The error names the address.
pub(crate) async fn bind(port: u16) -> io::Result<TcpListener> {
    let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let named = |e: io::Error| io::Error::new(e.kind(), format!("cannot listen on {addr}: {e}"));
    TcpListener::bind(addr).await.map_err(named)
}

/// What a gateway under test says on its first line.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Ready {
    pub(crate) addr: SocketAddr,
}

/// The gateway under test, in a process of its own: runs until the parent leaves.
pub(crate) fn run(setup: Setup) -> io::Result<()> {
    runtime()?.block_on(async {
        let front = Front::new(setup)?;
        let listener = bind(0).await?;
        children::ready(&Ready { addr: listener.local_addr()? });
        front.serve(listener).await
    })
}

/// The runtime of the front. Two threads: it only passes on.
pub(crate) fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()
}
