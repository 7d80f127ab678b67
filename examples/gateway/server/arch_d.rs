//! (d) watertight: a compartment for each dependency, with a deadline, a breaker and retries under a budget. Everything
//! the gateway asks of the library is in this file.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use watertight::breaker::BreakerState;
use watertight::event::{self, Event};
use watertight::{Budget, BuildError, Bulkhead, CallError, Context, Isolation, Recovery, RejectReason, Retry, Trip};

use super::answer::{Answer, Refusal, RefusedBy};
use super::client::{Client, ClientError};
use super::ledger::{Inbound, Ledger};
use super::stats::{Breaker, Stats};
use super::{Architecture, Endpoints};
use crate::plan::{ATTEMPTS, Compartment, OPEN_FOR, Route};

/// Failures in a row that open a breaker: ten time-outs of ten threads are one time-out's wait.
const TRIPS_AFTER: u32 = 10;
/// The pause before the first retry, before jitter.
const BACKOFF: Duration = Duration::from_millis(50);
/// Retries in a hundred first attempts.
const RETRY_BUDGET: u32 = 10;

pub(crate) struct Watertight {
    routes: [Guarded; Route::ALL.len()],
    ledger: Arc<Ledger>,
}

/// A dependency behind its bulkhead.
#[derive(Clone)]
struct Guarded {
    route: Route,
    bulkhead: Bulkhead,
    client: Arc<Client>,
}

impl Watertight {
    pub(crate) fn new(endpoints: &Endpoints, ledger: &Arc<Ledger>) -> io::Result<Self> {
        let guarded = |route: Route| -> Result<Guarded, BuildError> {
            let threads = route.compartment().threads;
            let client = Client::new(&endpoints[route.index()], threads, ledger);
            Ok(Guarded { route, bulkhead: bulkhead(route, ledger)?, client: Arc::new(client) })
        };
        let all: Result<Vec<_>, _> = Route::ALL.into_iter().map(guarded).collect();
        let routes = all.map_err(io::Error::other)?.try_into();
        let routes = routes.unwrap_or_else(|_| unreachable!("one for each route"));
        Ok(Self { routes, ledger: Arc::clone(ledger) })
    }
}

fn bulkhead(route: Route, ledger: &Arc<Ledger>) -> Result<Bulkhead, BuildError> {
    let Compartment { threads, queue, deadline } = route.compartment();
    let ledger = Arc::clone(ledger);
    let observer = event::from_fn(move |event| {
        if let Event::BreakerChanged { to, .. } = event {
            ledger.breaker_changed(route, shown(*to));
        }
    });
    Bulkhead::builder(route.name(), Isolation::Threads(threads))
        .queue(queue)
        .timeout(deadline)
        .breaker(Trip::consecutive(TRIPS_AFTER), Recovery::after(OPEN_FOR).growth(1.0).probes(1))
        .retry(Retry::exponential(BACKOFF).attempts(ATTEMPTS).budget(Budget::percent(RETRY_BUDGET)))
        .observer(observer)
        .build()
}

fn shown(state: BreakerState) -> Breaker {
    match state {
        BreakerState::Closed => Breaker::Closed,
        BreakerState::HalfOpen => Breaker::HalfOpen,
        // The enum may grow; whatever is not one of the others refuses calls.
        _ => Breaker::Open,
    }
}

impl Architecture for Watertight {
    fn answer(&self, inbound: Inbound) -> Pin<Box<dyn Future<Output = Answer> + Send>> {
        let guarded = self.routes[inbound.route.index()].clone();
        let ledger = Arc::clone(&self.ledger);
        Box::pin(async move {
            let (job, _waiting) = ledger.submitted(&inbound);
            let client = Arc::clone(&guarded.client);
            let deadline = inbound.route.compartment().deadline;
            let asked = Instant::now();
            // The socket's time-out is what remains of the deadline: nothing runs on for a caller that is gone.
            let call = guarded
                .bulkhead
                .idempotent()
                .call_blocking(&Context::background(), move |cx| client.get(&job, cx.remaining().unwrap_or(deadline)));
            let result = call.await;
            if let Err(CallError::Rejected(RejectReason::CircuitOpen { .. })) = result {
                ledger.refused_in(asked.elapsed());
            }
            guarded.answer(result)
        })
    }

    fn describe(&self, stats: &mut Stats) {
        for guarded in &self.routes {
            let state = guarded.bulkhead.state();
            let stats = &mut stats.routes[guarded.route.index()];
            stats.queued = state.queued as u64;
            stats.breaker = state.breaker.map(shown);
        }
    }
}

impl Guarded {
    fn answer(&self, result: Result<String, CallError<ClientError>>) -> Answer {
        match result {
            Ok(body) => Answer::Ok(body),
            Err(CallError::Failed(error)) => Answer::Failed(error),
            Err(CallError::Rejected(reason)) => Answer::Refused(self.refusal(reason)),
            Err(CallError::Interrupted(why)) => Answer::TimedOut(format!("{}: {why}", self.route.name())),
            Err(other) => Answer::TimedOut(format!("{}: {other}", self.route.name())),
        }
    }

    fn refusal(&self, reason: RejectReason) -> Refusal {
        let Compartment { threads, queue, deadline } = self.route.compartment();
        let places = format!("{threads} threads and {queue} waiting");
        let (by, limit, wait) = match reason {
            RejectReason::CircuitOpen { retry_after } => {
                (RefusedBy::Breaker, format!("circuit open after {TRIPS_AFTER} failures in a row"), retry_after)
            }
            // Whoever is in the compartment now is out of it when a deadline has gone by.
            RejectReason::Full { .. } => (RefusedBy::Full, places, deadline),
            RejectReason::DeadlinePassed => {
                (RefusedBy::Deadline, format!("{places}, {} ms for a call", deadline.as_millis()), deadline)
            }
            _ => (RefusedBy::Shutdown, reason.to_string(), deadline),
        };
        let state = self.bulkhead.state();
        let load = format!("{} running, {} waiting", state.running, state.queued);
        Refusal { by, route: self.route, limit, load, wait }
    }
}
