//! (b) and (c): one pool for all dependencies, behind a queue without a bound.
//!
//! In (c) the caller waits a second at most, the time in the queue included, and then submits again at once, three
//! attempts in all. What it abandoned stays queued and is run: that is what naive code does.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;

use crossbeam_channel::{Sender, unbounded};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::answer::Answer;
use super::arch_a::NAIVE_TIMEOUT;
use super::client::{Client, ClientError};
use super::ledger::{Inbound, Ledger};
use super::stats::Stats;
use super::{Architecture, Setup};
use crate::plan::{ATTEMPTS, PATIENCE, Route};

type Work = Box<dyn FnOnce() + Send>;

/// How the callers behave.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Attempts {
    /// They wait as long as it takes.
    One,
    /// They lose patience and submit again.
    Impatient,
}

#[derive(Clone)]
pub(crate) struct SharedPool {
    queue: Sender<Work>,
    clients: [Arc<Client>; Route::ALL.len()],
    ledger: Arc<Ledger>,
    attempts: Attempts,
}

impl SharedPool {
    pub(crate) fn new(setup: &Setup, ledger: &Arc<Ledger>, attempts: Attempts) -> io::Result<Self> {
        let threads = setup.shared_threads;
        let (queue, jobs) = unbounded::<Work>();
        for n in 0..threads {
            let jobs = jobs.clone();
            let worker = move || jobs.iter().for_each(|work| work());
            std::thread::Builder::new().name(format!("shared-{n}")).spawn(worker)?;
        }
        let client = |r: Route| Arc::new(Client::new(&setup.endpoints[r.index()], threads, ledger));
        Ok(Self { queue, clients: Route::ALL.map(client), ledger: Arc::clone(ledger), attempts })
    }

    async fn attempt(&self, inbound: &Inbound) -> Result<String, ClientError> {
        let client = Arc::clone(&self.clients[inbound.route.index()]);
        let (job, _waiting) = self.ledger.submitted(inbound);
        let (done, result) = oneshot::channel();
        let work: Work = Box::new(move || {
            // Nobody looks whether the caller is still there.
            let _ = done.send(client.get(&job, NAIVE_TIMEOUT));
        });
        self.queue.send(work).expect("the workers live as long as the pool");
        result.await.unwrap_or(Err(ClientError::TimedOut))
    }

    async fn impatient(&self, inbound: &Inbound) -> Answer {
        let mut last = ClientError::TimedOut;
        for _ in 0..ATTEMPTS {
            match timeout(PATIENCE, self.attempt(inbound)).await {
                Ok(Ok(body)) => return Answer::Ok(body),
                Ok(Err(error)) => last = error,
                Err(_) => last = ClientError::TimedOut,
            }
        }
        Answer::Failed(last)
    }
}

impl Architecture for SharedPool {
    fn answer(&self, inbound: Inbound) -> Pin<Box<dyn Future<Output = Answer> + Send>> {
        let pool = self.clone();
        Box::pin(async move {
            match pool.attempts {
                Attempts::One => pool.attempt(&inbound).await.map_or_else(Answer::Failed, Answer::Ok),
                Attempts::Impatient => pool.impatient(&inbound).await,
            }
        })
    }

    fn describe(&self, stats: &mut Stats) {
        stats.queued_shared = self.queue.len() as u64;
    }
}
