//! The HTTP front: three routes for clients, `/status` for people, `/stats` for the story, and `/fault` to make a
//! downstream sick.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, put};
use axum::serve::ListenerExt;
use axum::{Json, Router};
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;

use super::ledger::{Inbound, Ledger};
use super::stats::{Log, Stats};
use super::{Architecture, Setup};
use crate::clock::now_us;
use crate::downstream::Since;
use crate::faults::{Fault, Setting};
use crate::http::{self, HttpClient};
use crate::plan::{self, Arch, PHASE_HEADER, Phase, Route};

/// The gateway, ready to be served.
pub(crate) struct Front {
    setup: Setup,
    arch: Arc<dyn Architecture>,
    ledger: Arc<Ledger>,
    control: HttpClient,
}

impl Front {
    pub(crate) fn new(setup: Setup) -> io::Result<Self> {
        let ledger = Arc::new(Ledger::new(setup.keeps_log));
        let arch = setup.build(&ledger)?;
        Ok(Self { setup, arch, ledger, control: http::client() })
    }

    /// Serves until the process ends.
    pub(crate) async fn serve(self, listener: TcpListener) -> io::Result<()> {
        let router = Router::new()
            .route("/{route}", get(client))
            .route("/status", get(status))
            .route("/stats", get(stats))
            .route("/stats/log", get(log))
            .route("/fault/{downstream}", put(fault).post(fault))
            .with_state(Arc::new(self));
        let listener = listener.tap_io(|io| {
            let _ = io.set_nodelay(true);
        });
        axum::serve(listener, router).await
    }

    fn stats(&self) -> Stats {
        let mut stats = self.ledger.stats();
        self.arch.describe(&mut stats);
        stats
    }
}

type Gateway = State<Arc<Front>>;

async fn client(State(front): Gateway, Path(name): Path<String>, headers: HeaderMap) -> Response {
    let Some(route) = Route::named(&name) else {
        return unknown(&name);
    };
    let inbound = Inbound { route, phase: phase(&headers), arrived_us: now_us() };
    // Dropped with this future, which the server does when the client disconnects.
    let _open = front.ledger.opened(&inbound);
    let answer = front.arch.answer(inbound).await;
    front.ledger.answered(route, &answer);
    answer.into_response()
}

/// The phase a request belongs to. Clients other than the generator do not say.
fn phase(headers: &HeaderMap) -> Phase {
    let index = headers.get(PHASE_HEADER).and_then(|v| v.to_str().ok()).and_then(|v| v.parse::<usize>().ok());
    index.and_then(|i| Phase::ALL.get(i).copied()).unwrap_or(Phase::WarmUp)
}

fn unknown(name: &str) -> Response {
    let routes = Route::ALL.map(Route::name).join(", /");
    (StatusCode::NOT_FOUND, format!("no route /{name}; there are /{routes}, /status\n")).into_response()
}

async fn stats(State(front): Gateway) -> Json<Stats> {
    Json(front.stats())
}

async fn log(State(front): Gateway) -> Json<Log> {
    Json(front.ledger.full_log())
}

/// For people: a line for each route, with its limits where it has any.
async fn status(State(front): Gateway) -> String {
    let stats = front.stats();
    let arch = front.setup.arch;
    let row = |cells: [String; 9]| -> String {
        let [route, cells @ ..] = cells;
        let cells = cells.map(|cell| format!("{cell:>11}")).concat();
        format!("{route:<16}{cells}\n")
    };
    let mut text = format!(
        "({}) {}: {} requests inside, {} threads busy, {} jobs waiting\n\n",
        arch.letter(),
        arch.title(),
        stats.open(),
        stats.busy(),
        stats.queued()
    );
    let head = ["route", "busy", "waiting", "requests", "attempts", "refused", "too late", "failed", "breaker"];
    text += &row(head.map(String::from));
    for route in Route::ALL {
        let r = stats.route(route);
        let limit = route.compartment();
        let of = |n: u64, limit: usize| if arch == Arch::D { format!("{n} of {limit}") } else { n.to_string() };
        text += &row([
            route.name().into(),
            of(r.busy, limit.threads),
            of(r.queued, limit.queue),
            r.requests.iter().sum::<u64>().to_string(),
            r.started.iter().sum::<u64>().to_string(),
            (r.refused_open + r.refused_full).to_string(),
            r.refused_late.to_string(),
            r.failed.to_string(),
            r.breaker.map_or("none", |b| b.name()).into(),
        ]);
    }
    text
}

/// A fault as a person writes it: `?fault=latency&latency_ms=5000`, `?fault=reset&toxicity=0.5`, `?fault=none`. A latency
/// without a figure is the story's.
fn wanted(query: &HashMap<String, String>) -> Result<Setting, String> {
    let figure = |text: &String| match (text.parse::<u64>(), text.parse::<f64>()) {
        (Ok(whole), _) => json!(whole),
        (_, Ok(number)) => json!(number),
        _ => json!(text),
    };
    let mut said: Map<_, _> = query.iter().map(|(name, text)| (name.clone(), figure(text))).collect();
    if said.get("fault") == Some(&json!("latency")) && !said.contains_key("latency_ms") {
        if let Fault::Latency { latency_ms, .. } = plan::sickness() {
            said.insert("latency_ms".into(), json!(latency_ms));
        }
    }
    let setting: Setting = serde_json::from_value(Value::Object(said)).map_err(|e| e.to_string())?;
    if !(0.0..=1.0).contains(&setting.toxicity) {
        return Err(format!("toxicity is a share, from 0 to 1, and not {}", setting.toxicity));
    }
    Ok(setting)
}

async fn fault(
    State(front): Gateway,
    Path(name): Path<String>,
    Query(query): Query<HashMap<String, String>>,
) -> Response {
    let Some(route) = Route::named(&name) else {
        return unknown(&name);
    };
    let setting = match wanted(&query) {
        Ok(setting) => setting,
        Err(why) => return (StatusCode::BAD_REQUEST, format!("no such fault: {why}\n")).into_response(),
    };
    let Some(controls) = front.setup.controls else {
        return (StatusCode::NOT_FOUND, "these downstreams have no control routes\n").into_response();
    };
    match http::put::<_, Since>(&front.control, controls[route.index()], "/fault", &setting).await {
        Ok(_) => format!("{name}: {}\n", json!(setting)).into_response(),
        Err(e) => (StatusCode::BAD_GATEWAY, format!("{name} cannot be told: {e}\n")).into_response(),
    }
}
