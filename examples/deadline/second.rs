//! The second process: the last hop, which does the work, unit by unit, for as long as somebody wants it.

use std::hint::black_box;
use std::io::{self, BufRead, BufReader, Read};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::mpsc::Sender;

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::get;
use axum::{Json, Router};
use tokio::net::TcpListener;
use watertight::{Context, Interrupted, Pool};

use crate::arrival::Door;
use crate::gateway::{AtRest, CEILING};
use crate::said::{Hop, Said, Teller, What, line};

/// The argument by which this program knows that it is the second process.
pub(crate) const ROLE: &str = "second-process";
/// After so many units it says that it is in the middle of its work.
const WELL_UNDER_WAY: u64 = 10;

/// The second process as the first one sees it. Dropping it kills it.
pub(crate) struct Second {
    process: Child,
    /// Open for as long as the process shall live.
    _stdin: Option<ChildStdin>,
    pub(crate) addr: SocketAddr,
}

impl Second {
    /// Starts this program again as the second process. What it says goes to `told`.
    pub(crate) fn start(told: Sender<Said>) -> io::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        let mut process = command.arg(ROLE).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (stdin, stdout) = (process.stdin.take(), process.stdout.take());
        let mut second = Self { process, _stdin: stdin, addr: (Ipv4Addr::LOCALHOST, 0).into() };
        let mut lines =
            BufReader::new(stdout.ok_or_else(|| io::Error::other("no pipe to the second process"))?).lines();
        let first = lines.next().ok_or_else(|| io::Error::other("the second process left before it was ready"))??;
        second.addr = serde_json::from_str(&first).map_err(io::Error::other)?;
        std::thread::Builder::new().name("second-says".into()).spawn(move || {
            for line in lines.map_while(Result::ok) {
                match serde_json::from_str(&line) {
                    Ok(said) => drop(told.send(said)),
                    Err(e) => eprintln!("the second process says {line:?}: {e}"),
                }
            }
        })?;
        Ok(second)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }
}

impl Drop for Second {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

struct Last {
    door: Door,
    /// One thread, as in the gateway.
    work: Pool,
}

/// What the second process does, until the first one leaves.
pub(crate) fn run() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    leave_with_the_first_process()?;
    let work = Pool::builder("work").threads(1).queue(8).build()?;
    let last = Arc::new(Last { door: Door::new(Hop::SecondProcess, CEILING, Teller::by_line()), work });
    crate::runtime()?.block_on(async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        line(&listener.local_addr()?);
        let router = Router::new().route("/units/{units}", get(units)).route("/at-rest", get(at_rest)).with_state(last);
        Ok(axum::serve(listener, router).await?)
    })
}

/// The first process holds the other end of this one's standard input. That closes however the first process ends, by
/// `kill -9` too.
fn leave_with_the_first_process() -> io::Result<()> {
    let watch = || {
        // An error is as good a sign as the end.
        let _ = io::stdin().lock().read_to_end(&mut Vec::new());
        std::process::exit(0);
    };
    std::thread::Builder::new().name("first-watch".into()).spawn(watch).map(drop)
}

async fn units(State(last): State<Arc<Last>>, Path(units): Path<u64>, headers: HeaderMap) -> (StatusCode, String) {
    let arrival = last.door.arrive(&headers);
    let tell = last.door.tell.clone();
    let done = arrival.cx.in_scope(|| last.work.call_async(move || work(&tell, units))).await;
    match done {
        Ok(Ok(units)) => arrival.answer(StatusCode::OK, format!("{units} units")),
        Ok(Err(why)) => arrival.answer(StatusCode::GATEWAY_TIMEOUT, why.to_string()),
        Err(why) => arrival.answer(StatusCode::SERVICE_UNAVAILABLE, why.to_string()),
    }
}

/// The work loop. One look at the context per unit is all that cancelling asks of it.
fn work(tell: &Teller, wanted: u64) -> Result<u64, Interrupted> {
    let cx = Context::current();
    tell.budget(&cx, Hop::FirstUnit);
    let (mut units, mut after_the_caller) = (0, 0);
    let why = loop {
        if let Err(why) = cx.check() {
            break Some(why);
        }
        if units == wanted {
            tell.budget(&cx, Hop::LastUnit);
            break None;
        }
        unit(units);
        units += 1;
        // The unit that was under way when the caller went: it is finished, and no other is begun. `is_cancelled` is one
        // atomic load and reads no clock; a deadline that passed meanwhile is for the check above to see.
        after_the_caller += u64::from(cx.token().is_cancelled());
        if units == WELL_UNDER_WAY {
            tell.say(&cx, What::Working { units });
        }
    };
    let text = why.map(|why| why.to_string());
    tell.say(&cx, What::Stopped { units, after_the_caller, why: text });
    why.map_or(Ok(units), Err)
}

/// A unit of work: nothing that waits, nothing that could be woken. Some tenths of a millisecond.
fn unit(number: u64) {
    let from = 1_000 * number;
    let is_prime = |n: &u64| (2..).take_while(|d| d * d <= *n).all(|d| n % d != 0);
    black_box((from..from + 200).filter(is_prime).count());
}

/// As in the gateway: behind everything that is still going on.
async fn at_rest(State(last): State<Arc<Last>>) -> Result<Json<AtRest>, StatusCode> {
    last.work.call_async(|| ()).await.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
    Ok(Json(AtRest {
        arrived: last.door.arrived.load(Relaxed),
        malformed: last.door.malformed.load(Relaxed),
        in_flight: last.work.stats().in_flight,
    }))
}
