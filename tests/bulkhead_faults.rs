//! A bulkhead before a dependency on real sockets, with each fault of the gateway's proxy between them: a call ends by its
//! deadline, a failure is counted as one and opens the breaker, and no thread or place is lost.

#[allow(dead_code, reason = "the gateway uses the rest")]
#[path = "../examples/gateway/faults/mod.rs"]
mod faults;

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Barrier, mpsc};
use std::thread;
use std::time::Duration;

use faults::{Fault, Setting, proxy};
use tokio::sync::watch;
use watertight::breaker::BreakerState;
use watertight::{Bulkhead, CallError, Context, Isolation, Recovery, RejectReason, Trip};

const THREADS: usize = 2;
const TRIPS_AFTER: u32 = 3;
const BODY: usize = 4_000;
/// Of what hangs: much longer than any deadline here.
const A_MINUTE: u64 = 60_000;
/// For what hangs.
const SHORT: Duration = Duration::from_millis(200);
/// For what does not: a busy machine must not decide.
const LONG: Duration = Duration::from_secs(30);

/// A service that answers a line with a body and closes, behind a proxy.
struct Service {
    at: SocketAddr,
    setting: watch::Sender<Setting>,
}

impl Service {
    fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let upstream = listener.local_addr().unwrap();
        thread::spawn(move || {
            for client in listener.incoming() {
                thread::spawn(move || serve(client));
            }
        });
        let (setting, seen) = watch::channel(Setting::default());
        let (told, at) = mpsc::channel();
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let front = proxy::listen().unwrap();
                told.send(front.local_addr().unwrap()).unwrap();
                proxy::run(front, upstream, seen).await.unwrap();
            });
        });
        Self { at: at.recv().unwrap(), setting }
    }

    fn set(&self, next: impl Into<Setting>) {
        let next = next.into();
        self.setting.send_modify(|now| *now = now.replaced_by(next));
    }

    /// A port goes down a moment after it is told to: when the proxy has closed it.
    fn until_down(&self) {
        while TcpStream::connect(self.at).is_ok() {
            thread::yield_now();
        }
    }
}

fn serve(client: io::Result<TcpStream>) -> io::Result<()> {
    let mut client = client?;
    client.read_exact(&mut [0; 4])?;
    client.write_all(&[7; BODY])
}

/// Asks on this thread. Every wait is as long as what remains of the deadline, and no longer.
fn ask(at: SocketAddr, cx: &Context) -> io::Result<()> {
    let left = || cx.remaining().filter(|d| !d.is_zero()).ok_or(io::Error::from(io::ErrorKind::TimedOut));
    let mut socket = TcpStream::connect_timeout(&at, left()?)?;
    socket.write_all(b"ask\n")?;
    let mut body = Vec::new();
    let mut piece = [0; 1_024];
    loop {
        socket.set_read_timeout(Some(left()?))?;
        match socket.read(&mut piece)? {
            0 if body.len() == BODY => return Ok(()),
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            len => body.extend_from_slice(&piece[..len]),
        }
    }
}

fn bulkhead(timeout: Duration) -> Bulkhead {
    Bulkhead::builder("service", Isolation::Threads(THREADS))
        .queue(THREADS)
        .breaker(Trip::consecutive(TRIPS_AFTER), Recovery::after(LONG * 10))
        .timeout(timeout)
        .build()
        .unwrap()
}

fn call(bulkhead: &Bulkhead, at: SocketAddr) -> Result<(), CallError<io::Error>> {
    bulkhead.call(&Context::background(), move |cx| ask(at, cx))
}

fn until_idle(bulkhead: &Bulkhead) {
    while bulkhead.state().running + bulkhead.state().queued > 0 {
        thread::yield_now();
    }
}

/// The dependency is well again: every thread answers, all of them at once, so none was lost.
fn nothing_is_lost(bulkhead: &Bulkhead, service: &Service) {
    service.set(Fault::None);
    until_idle(bulkhead);
    bulkhead.breaker().unwrap().reset();
    while TcpStream::connect(service.at).is_err() {
        thread::yield_now();
    }
    let together = Arc::new(Barrier::new(THREADS));
    thread::scope(|scope| {
        for _ in 0..THREADS {
            let together = Arc::clone(&together);
            scope.spawn(move || {
                let met = bulkhead.call(&Context::background(), move |_| {
                    together.wait();
                    Ok::<_, io::Error>(())
                });
                met.unwrap();
            });
        }
    });
    until_idle(bulkhead);
    let state = bulkhead.state();
    assert_eq!(state.requests, state.succeeded + state.failed + state.interrupted + state.refused_open, "{state:?}");
}

/// Three calls fail, which opens the breaker; the next is not made.
fn fails(fault: Fault, timeout: Duration, as_it_should: impl Fn(&CallError<io::Error>) -> bool) {
    let (service, bulkhead) = (Service::start(), bulkhead(timeout));
    service.set(fault);
    if fault == Fault::Down {
        service.until_down();
    }
    for n in 0..TRIPS_AFTER {
        assert_eq!(bulkhead.state().breaker, Some(BreakerState::Closed), "{fault:?}, call {n}");
        let failed = call(&bulkhead, service.at).unwrap_err();
        assert!(failed.started() && as_it_should(&failed), "{fault:?}: {failed:?}");
        until_idle(&bulkhead);
    }
    assert_eq!(bulkhead.state().breaker, Some(BreakerState::Open), "{fault:?}: {:?}", bulkhead.state());
    let refused = call(&bulkhead, service.at).unwrap_err();
    assert!(matches!(refused, CallError::Rejected(RejectReason::CircuitOpen { .. })), "{fault:?}: {refused:?}");
    let state = bulkhead.state();
    assert_eq!((state.attempts, state.succeeded), (u64::from(TRIPS_AFTER), 0), "{fault:?}");
    nothing_is_lost(&bulkhead, &service);
}

/// The answer comes late, or the time is up for whoever waits for it: which of the two ends the call is a race of
/// microseconds.
fn at_its_deadline(error: &CallError<io::Error>) -> bool {
    match error {
        CallError::Interrupted(_) => true,
        CallError::Failed(e) => matches!(e.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock),
        _ => false,
    }
}

fn with(kinds: &'static [io::ErrorKind]) -> impl Fn(&CallError<io::Error>) -> bool {
    move |error| matches!(error, CallError::Failed(e) if kinds.contains(&e.kind()))
}

#[test]
fn a_late_answer_is_a_failure_at_the_deadline() {
    fails(Fault::Latency { latency_ms: A_MINUTE, jitter_ms: 0 }, SHORT, at_its_deadline);
}

#[test]
fn a_trickle_is_a_failure_at_the_deadline() {
    fails(Fault::Bandwidth { kb_per_s: 0 }, SHORT, at_its_deadline);
}

#[test]
fn slices_that_never_end_are_a_failure_at_the_deadline() {
    fails(Fault::Slicer { bytes: 1, variation: 0, delay_ms: 50 }, SHORT, at_its_deadline);
}

#[test]
fn silence_is_a_failure_at_the_deadline() {
    fails(Fault::Timeout { after_ms: 0 }, SHORT, at_its_deadline);
}

#[test]
fn an_answer_whose_end_does_not_come_is_a_failure_at_the_deadline() {
    fails(Fault::SlowClose { delay_ms: A_MINUTE }, SHORT, at_its_deadline);
}

#[test]
fn an_answer_that_is_cut_off_is_a_failure() {
    fails(Fault::Limit { bytes: 100 }, LONG, with(&[io::ErrorKind::UnexpectedEof]));
}

#[test]
fn a_connection_closed_instead_of_an_answer_is_a_failure() {
    fails(Fault::Timeout { after_ms: 1 }, LONG, with(&[io::ErrorKind::UnexpectedEof]));
}

#[test]
fn a_reset_is_a_failure() {
    fails(Fault::Reset { after_ms: 1 }, LONG, with(&[io::ErrorKind::ConnectionReset]));
}

#[test]
fn a_port_where_nobody_listens_is_a_failure() {
    fails(Fault::Down, LONG, with(&[io::ErrorKind::ConnectionRefused]));
}

#[test]
fn what_is_only_slow_or_in_pieces_is_a_success() {
    for fault in [
        Fault::None,
        Fault::Latency { latency_ms: 5, jitter_ms: 5 },
        Fault::Bandwidth { kb_per_s: 1_000 },
        Fault::Slicer { bytes: 100, variation: 50, delay_ms: 0 },
        Fault::Limit { bytes: BODY as u64 + 1 },
        Fault::SlowClose { delay_ms: 5 },
    ] {
        let (service, bulkhead) = (Service::start(), bulkhead(LONG));
        service.set(fault);
        for _ in 0..TRIPS_AFTER + 1 {
            call(&bulkhead, service.at).unwrap_or_else(|e| panic!("{fault:?}: {e:?}"));
        }
        assert_eq!(bulkhead.state().failed, 0, "{fault:?}");
        nothing_is_lost(&bulkhead, &service);
    }
}

/// Failures that are not in a row enough leave the breaker closed.
#[test]
fn the_first_connections_are_dropped_and_the_next_are_not() {
    let (service, bulkhead) = (Service::start(), bulkhead(LONG));
    let first = u64::from(TRIPS_AFTER) - 1;
    service.set(Fault::DropFirst { connections: first });
    for _ in 0..first {
        let dropped = call(&bulkhead, service.at).unwrap_err();
        let kinds = &[io::ErrorKind::UnexpectedEof, io::ErrorKind::ConnectionReset];
        assert!(with(kinds)(&dropped), "{dropped:?}");
    }
    for _ in 0..3 {
        call(&bulkhead, service.at).unwrap();
    }
    let state = bulkhead.state();
    assert_eq!((state.failed, state.succeeded, state.breaker), (first, 3, Some(BreakerState::Closed)));
    nothing_is_lost(&bulkhead, &service);
}

/// Half of the connections, evenly spread, and so never three in a row.
#[test]
fn a_share_of_the_connections_is_struck_and_every_failure_counts() {
    let (service, bulkhead) = (Service::start(), bulkhead(LONG));
    service.set(Setting { toxicity: 0.5, ..Fault::Reset { after_ms: 0 }.into() });
    let failed = (0..40).filter(|_| call(&bulkhead, service.at).is_err()).count();
    assert!((18..=22).contains(&failed), "{failed} of 40");
    let state = bulkhead.state();
    assert_eq!((state.failed, state.succeeded), (failed as u64, 40 - failed as u64));
    assert_eq!(state.breaker, Some(BreakerState::Closed));
    nothing_is_lost(&bulkhead, &service);
}
