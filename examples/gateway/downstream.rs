//! A downstream and the fault proxy before it, in a process of their own, so that both can be killed with `kill -9`.

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

use crate::fault::{Fault, Since};
use crate::plan::{Route, SERVICE};
use crate::{children, clock, proxy};

/// What a downstream says on its first line: where its proxy and its control route listen.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Ready {
    pub(crate) proxy: SocketAddr,
    pub(crate) control: SocketAddr,
}

#[derive(Clone)]
struct Service {
    route: Route,
    fault: watch::Sender<Fault>,
}

/// Runs until the parent leaves.
pub(crate) async fn run(route: Route) -> io::Result<()> {
    let (fault, seen_by_proxy) = watch::channel(Fault::None);
    let service = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let control = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let front = proxy::listen()?;
    children::ready(&Ready { proxy: front.local_addr()?, control: control.local_addr()? });

    let state = Service { route, fault };
    let upstream = service.local_addr()?;
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
    let broken = *service.fault.borrow() == Fault::Errors;
    // The timer's tick rounds up by as much as a millisecond; with this one the answer takes 50 ms and at most 2 more.
    let jitter = Duration::from_micros(rand::random_range(0..1_000));
    tokio::time::sleep(SERVICE + jitter).await;
    if broken {
        return (StatusCode::INTERNAL_SERVER_ERROR, format!("{} is broken\n", service.route.name()));
    }
    (StatusCode::OK, format!("{} here\n", service.route.name()))
}

async fn current(State(service): State<Service>) -> Json<Fault> {
    Json(*service.fault.borrow())
}

async fn set(State(service): State<Service>, Json(fault): Json<Fault>) -> Json<Since> {
    service.fault.send_replace(fault);
    Json(Since { at_us: clock::now_us() })
}
