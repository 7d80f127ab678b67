//! The gateway's blocking HTTP client: one agent for each downstream, with a socket timeout for each call.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};
use ureq::{Agent, Timeout};

use super::Endpoint;
use super::ledger::{Job, Ledger};

/// How a downstream call can fail.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ClientError {
    #[error("the dependency answered {0}")]
    Status(u16),
    #[error("the dependency did not answer in time")]
    TimedOut,
    #[error("the dependency cannot be reached")]
    Unreachable(#[source] Box<ureq::Error>),
}

impl From<ureq::Error> for ClientError {
    fn from(error: ureq::Error) -> Self {
        match error {
            ureq::Error::Timeout(_) => ClientError::TimedOut,
            other => ClientError::Unreachable(Box::new(other)),
        }
    }
}

/// Calls one downstream.
pub(crate) struct Client {
    agent: Agent,
    url: String,
    ledger: Arc<Ledger>,
}

/// The address is known. The client's own resolver starts a thread for every look-up that has a time limit, an address
/// in figures included, and the gateway's thread count is to be constant.
#[derive(Debug)]
struct Fixed(SocketAddr);

impl Resolver for Fixed {
    fn resolve(&self, _: &Uri, _: &Config, timeout: NextTimeout) -> Result<ResolvedSocketAddrs, ureq::Error> {
        // Nothing is left of a time limit that was zero to begin with.
        if timeout.after.is_zero() {
            return Err(ureq::Error::Timeout(Timeout::Global));
        }
        let mut found = self.empty();
        found.push(self.0);
        Ok(found)
    }
}

impl Client {
    /// A client that keeps as many idle connections as `threads` will use at once.
    pub(crate) fn new(endpoint: &Endpoint, threads: usize, ledger: &Arc<Ledger>) -> Self {
        let config = Agent::config_builder()
            .max_idle_connections(threads)
            .max_idle_connections_per_host(threads)
            .http_status_as_error(false)
            .proxy(None)
            .max_redirects(0)
            .build();
        Self {
            agent: Agent::with_parts(config, DefaultConnector::default(), Fixed(endpoint.at)),
            url: endpoint.url.clone(),
            ledger: Arc::clone(ledger),
        }
    }

    /// Asks the downstream on this thread and is back within `timeout`, body and all.
    pub(crate) fn get(&self, job: &Job, timeout: Duration) -> Result<String, ClientError> {
        let _busy = self.ledger.started(job, timeout);
        let request = self.agent.get(&self.url).config().timeout_global(Some(timeout)).build();
        let mut response = request.call()?;
        // The body is read whatever the status, so that the connection can be used again.
        let body = response.body_mut().read_to_vec()?;
        match response.status().as_u16() {
            200..=299 => Ok(String::from_utf8_lossy(&body).into_owned()),
            status => Err(ClientError::Status(status)),
        }
    }
}
