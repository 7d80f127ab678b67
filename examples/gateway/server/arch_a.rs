//! (a) A thread for every request: nothing waits for a place, and nothing limits how many threads a sick dependency holds.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::answer::{Answer, Refusal, RefusedBy};
use super::client::Client;
use super::ledger::{Inbound, Ledger};
use super::stats::Stats;
use super::{Architecture, Endpoints};
use crate::plan::Route;

/// What a client library waits when nobody told it otherwise.
pub(crate) const NAIVE_TIMEOUT: Duration = Duration::from_secs(30);
/// Idle connections worth keeping: more than the prediction's 545 threads.
const IDLE: usize = 1_000;

pub(crate) struct ThreadPerRequest {
    clients: [Arc<Client>; Route::ALL.len()],
    ledger: Arc<Ledger>,
}

impl ThreadPerRequest {
    pub(crate) fn new(endpoints: &Endpoints, ledger: &Arc<Ledger>) -> Self {
        let client = |r: Route| Arc::new(Client::new(&endpoints[r.index()], IDLE, ledger));
        Self { clients: Route::ALL.map(client), ledger: Arc::clone(ledger) }
    }
}

impl Architecture for ThreadPerRequest {
    fn answer(&self, inbound: Inbound) -> Pin<Box<dyn Future<Output = Answer> + Send>> {
        let client = Arc::clone(&self.clients[inbound.route.index()]);
        let (job, waiting) = self.ledger.submitted(&inbound);
        let (done, result) = oneshot::channel();
        let thread = std::thread::Builder::new().spawn(move || {
            // The caller may have left meanwhile.
            let _ = done.send(client.get(&job, NAIVE_TIMEOUT));
        });
        Box::pin(async move {
            let _waiting = waiting;
            if let Err(error) = thread {
                return Answer::Refused(Refusal {
                    by: RefusedBy::Threads,
                    route: inbound.route,
                    limit: "the threads that the system gives".into(),
                    load: error.to_string(),
                    wait: Duration::from_secs(1),
                });
            }
            match result.await {
                Ok(Ok(body)) => Answer::Ok(body),
                Ok(Err(error)) => Answer::Failed(error),
                Err(_) => Answer::TimedOut("the thread died".into()),
            }
        })
    }

    fn describe(&self, _: &mut Stats) {}
}
