//! The gateway: an async front, a pool for what the requests do, and a compartment for the one dependency it has.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::get;
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use watertight::wire::Header;
use watertight::{BuildError, Bulkhead, CallError, Context, Interrupted, Isolation, Pool, RejectReason};

use crate::arrival::Door;
use crate::call::{self, Failure, Say};
use crate::said::{Hop, Teller, What};

/// The most time that anybody gets here.
pub(crate) const CEILING: Duration = Duration::from_secs(30);
/// What the way to the second process and back may take. What the second process is given is less by this, so that its
/// answer, or its refusal, is here while somebody still waits for it.
pub(crate) const MARGIN: Duration = Duration::from_millis(25);

pub(crate) struct Gateway {
    door: Door,
    /// One thread here and one in the compartment: whatever did not let go of its place would hold up all that follows.
    pool: Pool,
    second: Bulkhead,
    second_at: SocketAddr,
}

/// What a server says of itself when nothing is going on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct AtRest {
    pub(crate) arrived: u64,
    pub(crate) malformed: u64,
    /// Places that are taken, in all pools and compartments.
    pub(crate) in_flight: usize,
}

type Answer = Result<(u16, String), CallError<Failure>>;

impl Gateway {
    pub(crate) fn new(second_at: SocketAddr, tell: Teller) -> Result<Self, BuildError> {
        Ok(Self {
            door: Door::new(Hop::Gateway, CEILING, tell),
            pool: Pool::builder("requests").threads(1).queue(8).build()?,
            second: Bulkhead::builder("second", Isolation::Threads(1)).queue(8).timeout(CEILING).build()?,
            second_at,
        })
    }

    /// Listens on a port of the system's choice, and serves from then on.
    pub(crate) async fn start(self) -> io::Result<SocketAddr> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let addr = listener.local_addr()?;
        let router = Router::new()
            .route("/units/{units}", get(units))
            .route("/at-rest", get(at_rest))
            .with_state(Arc::new(self));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Ok(addr)
    }

    /// In the pool. The context is ambient here: a job has that of whoever submitted it.
    fn in_the_pool(&self, units: u64) -> Answer {
        let cx = Context::current();
        let (tell, at) = (self.door.tell.clone(), self.second_at);
        tell.budget(&cx, Hop::Pool);
        // On a thread of the compartment's. This one is back by the deadline, or when the client has gone, whatever
        // that one does; and that one is freed because the call it sits in is torn down.
        self.second.call(&cx, move |cx| {
            tell.budget(cx, Hop::Compartment);
            // The finer header of the two: it loses less than a microsecond here.
            let say = Say::Left { header: Header::GrpcTimeout, margin: MARGIN };
            let called = call::get(cx, &tell, Hop::Wire, at, &format!("/units/{units}"), say);
            if let Err(why) = &called {
                tell.say(cx, What::CallFailed { why: why.to_string() });
            }
            called
        })
    }
}

async fn units(
    State(gateway): State<Arc<Gateway>>,
    Path(units): Path<u64>,
    headers: HeaderMap,
) -> (StatusCode, String) {
    let arrival = gateway.door.arrive(&headers);
    let job = {
        let gateway = gateway.clone();
        move || gateway.in_the_pool(units)
    };
    // Dropped while it waits, it cancels its job.
    let answer = arrival.cx.in_scope(|| gateway.pool.call_async(job)).await;
    let (status, text) = told(answer.unwrap_or_else(|e| Err(e.map(|never| match never {}))));
    arrival.answer(status, text)
}

fn told(answer: Answer) -> (StatusCode, String) {
    let late = |why: &dyn std::error::Error| (StatusCode::GATEWAY_TIMEOUT, why.to_string());
    match answer {
        Ok((200, text)) => (StatusCode::OK, text),
        Ok((status, text)) => (StatusCode::BAD_GATEWAY, format!("the second process says {status}: {text}")),
        Err(CallError::Failed(why @ (Failure::NotSent(_) | Failure::TornDown(_)))) => late(&why),
        Err(CallError::Rejected(why @ RejectReason::DeadlinePassed)) => late(&why),
        Err(CallError::Interrupted(why @ Interrupted::DeadlinePassed)) => late(&why),
        Err(other) => (StatusCode::BAD_GATEWAY, format!("{other:?}")),
    }
}

/// Waits its turn behind everything that is still going on, and says what is left of it. Of two jobs on one thread the
/// first has given its place back when the second runs.
async fn at_rest(State(gateway): State<Arc<Gateway>>) -> Result<Json<AtRest>, StatusCode> {
    let through_the_pool = gateway.pool.call_async(|| ()).await;
    let through_the_compartment = gateway.second.call_blocking(&Context::background(), |_| Ok::<_, ()>(())).await;
    if through_the_pool.is_err() || through_the_compartment.is_err() {
        return Err(StatusCode::SERVICE_UNAVAILABLE);
    }
    let compartment = gateway.second.state();
    Ok(Json(AtRest {
        arrived: gateway.door.arrived.load(Relaxed),
        malformed: gateway.door.malformed.load(Relaxed),
        in_flight: gateway.pool.stats().in_flight + compartment.running + compartment.queued,
    }))
}
