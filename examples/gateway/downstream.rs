//! A downstream and the fault proxy before it, in a process of their own, so that both can be killed with `kill -9`. For a
//! service that runs already, the proxy alone.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use axum::Json;
use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::get;
use axum::serve::ListenerExt;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::faults::{Fault, Setting, proxy};
use crate::plan::{Route, SERVICE};
use crate::{children, clock};

/// What a downstream says on its first line: where its proxy and its control route listen.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Ready {
    pub(crate) proxy: SocketAddr,
    pub(crate) control: SocketAddr,
}

/// The answer of a control route: since when the fault is on, on the machine's monotonic clock.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Since {
    pub(crate) at_us: u64,
}

#[derive(Clone)]
struct Service {
    route: Route,
    fault: watch::Sender<Setting>,
    /// Somebody else's, and so not to be told what to answer.
    foreign: bool,
}

/// Runs until the parent leaves.
pub(crate) async fn run(route: Route, foreign: Option<SocketAddr>) -> io::Result<()> {
    let (fault, seen_by_proxy) = watch::channel(Setting::default());
    let service = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let control = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let front = proxy::listen()?;
    children::ready(&Ready { proxy: front.local_addr()?, control: control.local_addr()? });

    let state = Service { route, fault, foreign: foreign.is_some() };
    let upstream = foreign.map_or_else(|| service.local_addr(), Ok)?;
    let answers = Router::new().route("/", get(answer)).with_state(state.clone());
    let faults = Router::new().route("/fault", get(current).put(set)).with_state(state);
    let service = service.tap_io(|io| {
        let _ = io.set_nodelay(true);
    });
    tokio::try_join!(
        proxy::run(front, upstream, seen_by_proxy),
        async { axum::serve(service, answers).await },
        async { axum::serve(control, faults).await },
    )?;
    Ok(())
}

async fn answer(State(service): State<Service>) -> impl IntoResponse {
    let broken = service.fault.borrow().strikes(rand::random_range(0.0..1.0)) == Fault::Errors;
    // The timer's tick rounds up by as much as a millisecond; with this one the answer takes 50 ms and at most 2 more.
    let jitter = Duration::from_micros(rand::random_range(0..1_000));
    tokio::time::sleep(SERVICE + jitter).await;
    if broken {
        return (StatusCode::INTERNAL_SERVER_ERROR, format!("{} is broken\n", service.route.name()));
    }
    (StatusCode::OK, format!("{} here\n", service.route.name()))
}

async fn current(State(service): State<Service>) -> Json<Setting> {
    Json(*service.fault.borrow())
}

async fn set(State(service): State<Service>, Json(next): Json<Setting>) -> Result<Json<Since>, (StatusCode, String)> {
    if service.foreign && next.fault == Fault::Errors {
        let why = format!("{} is a service of yours, which alone decides what it answers", service.route.name());
        return Err((StatusCode::CONFLICT, why));
    }
    service.fault.send_modify(|now| *now = now.replaced_by(next));
    Ok(Json(Since { at_us: clock::now_us() }))
}
