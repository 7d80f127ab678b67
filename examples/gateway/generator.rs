//! The load generator: a process of its own that sends on schedule, whether or not the answers come (an open loop). A
//! closed loop would stop sending when the service is slow, and hide the very thing that is to be seen.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::{Request, StatusCode, Uri};
use serde::{Deserialize, Serialize};

use crate::http::{self, HttpClient};
use crate::plan::{Arrival, PHASE_HEADER, Plan, Route};
use crate::recorder::{Class, GeneratorReport, Progress, Recorder, Times};
use crate::server::answer::{REFUSED_BY, RefusedBy};
use crate::{children, clock};

const PROGRESS_EVERY: Duration = Duration::from_millis(500);
/// How long the generator waits for answers after the last phase. Every request has then had its second.
const DRAIN: Duration = Duration::from_secs(1);

/// A line of the generator to its parent.
#[derive(Serialize, Deserialize)]
pub(crate) enum Line {
    Progress(Progress),
    Report(Box<GeneratorReport>),
}

struct Generator {
    client: HttpClient,
    uris: [Uri; Route::ALL.len()],
    start_us: u64,
    recorder: Mutex<Recorder>,
}

/// Sends everything the plan asks for to `target`, beginning at `start_us`, and reports.
pub(crate) fn run(plan: &Plan, target: SocketAddr, start_us: u64) -> io::Result<()> {
    // One thread for the answers and one for the clock: the generator shares the machine with what it measures.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let recorder = Recorder::new(plan, start_us);
    let arrivals = recorder.arrivals().to_vec();
    let generator = Arc::new(Generator {
        client: http::client(),
        uris: Route::ALL.map(|r| http::uri(target, &format!("/{}", r.name()))),
        start_us,
        recorder: Mutex::new(recorder),
    });
    children::ready(&());

    let (pacing, handle) = (Arc::clone(&generator), runtime.handle().clone());
    std::thread::Builder::new().name("pacer".into()).spawn(move || pace(&pacing, &handle, &arrivals))?;
    let end_us = start_us + (plan.total() + DRAIN).as_micros() as u64;
    runtime.block_on(async {
        loop {
            tokio::time::sleep(PROGRESS_EVERY.min(clock::until(end_us))).await;
            let now = clock::now_us();
            let (progress, open) = {
                let mut recorder = generator.recorder();
                (recorder.progress(now), recorder.open())
            };
            children::say(&Line::Progress(progress));
            if open == 0 || now >= end_us {
                break;
            }
        }
    });
    let report = generator.recorder().finish(clock::now_us());
    children::say(&Line::Report(Box::new(report)));
    Ok(())
}

/// Starts each request at its moment. A thread of its own sleeps more exactly than the runtime's timer, which counts
/// whole milliseconds.
fn pace(generator: &Arc<Generator>, runtime: &tokio::runtime::Handle, arrivals: &[Arrival]) {
    for (index, &arrival) in arrivals.iter().enumerate() {
        let wait = clock::until(generator.start_us + arrival.at_us);
        if !wait.is_zero() {
            std::thread::sleep(wait);
        }
        let generator = Arc::clone(generator);
        runtime.spawn(async move { generator.send(index, arrival).await });
    }
}

impl Generator {
    fn recorder(&self) -> MutexGuard<'_, Recorder> {
        self.recorder.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn send(&self, index: usize, arrival: Arrival) {
        let request = Request::builder()
            .uri(self.uris[arrival.route.index()].clone())
            .header(PHASE_HEADER, arrival.phase.index())
            .body(Full::<Bytes>::default())
            .expect("the parts of the request are constants");
        let sent = clock::now_us();
        let class = self.class(request).await;
        let times = Times { intended: self.start_us + arrival.at_us, sent, done: clock::now_us() };
        self.recorder().answered(index, times, class);
    }

    /// An answer counts when its last byte is here.
    async fn class(&self, request: Request<Full<Bytes>>) -> Class {
        let Ok(response) = self.client.request(request).await else {
            return Class::Failed;
        };
        let (head, body) = response.into_parts();
        if body.collect().await.is_err() {
            return Class::Failed;
        }
        let refused_by = head.headers.get(REFUSED_BY).and_then(|v| v.to_str().ok());
        match (head.status, refused_by) {
            (StatusCode::OK, _) => Class::Ok,
            (_, Some(by)) if by == RefusedBy::Breaker.name() => Class::RefusedOpen,
            (_, Some(_)) => Class::RefusedFull,
            (_, None) => Class::Failed,
        }
    }
}
