//! The gateway example from outside: bad input is a clear error, and a dependency or a client that goes away is a defined
//! outcome after which nothing is lost, hung or leaked.

mod programs;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use programs::{built, eventually, has_ended};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::net::TcpSocket;

const ROUTES: [&str; 3] = ["payments", "orders", "recommendations"];

fn example() -> &'static PathBuf {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| built("gateway"))
}

fn run(args: &[&str]) -> Output {
    Command::new(example()).args(args).stdin(Stdio::null()).output().unwrap()
}

/// A gateway in a process of its own, killed when dropped.
struct Gateway {
    process: Child,
    addr: SocketAddr,
    /// Of the downstreams, by route; none when the gateway was given foreign ones.
    pids: Vec<Pid>,
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Gateway {
    fn start(args: &[&str]) -> (Child, BufReader<std::process::ChildStdout>) {
        let mut process =
            Command::new(example()).args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap());
        (process, lines)
    }

    /// `serve`, with downstreams of its own.
    fn serve() -> Self {
        let (process, lines) = Self::start(&["serve"]);
        let mut addr = None;
        for line in lines.lines().map(Result::unwrap) {
            if let Some((_, at)) = line.split_once("listens on http://") {
                addr = at.parse().ok();
            }
            if let Some((_, pids)) = line.split_once("a fault too: ") {
                let pid = |named: &str| named.split_whitespace().nth(1)?.parse().ok().and_then(Pid::from_raw);
                let pids: Vec<_> = pids.split(", ").map(|named| pid(named).unwrap()).collect();
                return Self { process, addr: addr.unwrap(), pids };
            }
        }
        panic!("serve ended before it had said where it listens");
    }

    /// The gateway alone, before downstreams at `downstream`.
    fn before(arch: &str, downstream: SocketAddr) -> Self {
        let at = downstream.to_string();
        let mut args = vec!["server", "--arch", arch];
        ROUTES.iter().for_each(|_| args.extend(["--downstream", &at]));
        let (process, mut lines) = Self::start(&args);
        let mut line = String::new();
        lines.read_line(&mut line).unwrap();
        let ready: Value = serde_json::from_str(&line).unwrap();
        Self { process, addr: ready["addr"].as_str().unwrap().parse().unwrap(), pids: Vec::new() }
    }

    fn get(&self, path: &str) -> Answer {
        let agent = agent();
        let mut response = agent.get(format!("http://{}{path}", self.addr)).call().unwrap();
        let header = |name: &str| response.headers().get(name).map(|v| v.to_str().unwrap().to_owned());
        let (retry_after, refused_by) = (header("retry-after"), header("x-refused-by"));
        let body = response.body_mut().read_to_string().unwrap();
        Answer { status: response.status().as_u16(), retry_after, refused_by, body }
    }

    fn set_fault(&self, downstream: &str, fault: &str) {
        let uri = format!("http://{}/fault/{downstream}?{fault}", self.addr);
        let response = agent().put(uri).send_empty().unwrap();
        assert_eq!(response.status(), 200, "{downstream} {fault}");
    }

    fn stats(&self) -> Value {
        serde_json::from_str(&self.get("/stats").body).unwrap()
    }

    fn route(&self, route: &str, figure: &str) -> u64 {
        let index = ROUTES.iter().position(|r| *r == route).unwrap();
        self.stats()["routes"][index][figure].as_u64().unwrap()
    }

    fn is_at_rest(&self) -> bool {
        let stats = self.stats();
        let routes = stats["routes"].as_array().unwrap();
        routes.iter().all(|r| ["open", "busy", "queued"].iter().all(|figure| r[figure] == 0))
    }
}

struct Answer {
    status: u16,
    retry_after: Option<String>,
    refused_by: Option<String>,
    body: String,
}

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder()
        .http_status_as_error(false)
        .proxy(None)
        .timeout_global(Some(Duration::from_secs(20)))
        .build()
        .new_agent()
}

/// A port where nobody listens, and nobody will while the socket is kept.
fn nobody() -> (TcpSocket, SocketAddr) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let addr = socket.local_addr().unwrap();
    (socket, addr)
}

#[test]
fn unknown_flags_and_absurd_scales_are_errors() {
    for args in [
        &["--nonsense"] as &[&str],
        &["serve", "--nonsense"],
        &["--rate-scale", "0"],
        &["--rate-scale", "NaN"],
        &["--rate-scale", "-1"],
        &["serve", "--port", "70000"],
    ] {
        let output = run(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.starts_with("error:"), "{args:?}: {said}");
    }
}

#[test]
fn a_port_in_use_is_an_error_that_names_it() {
    let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let output = run(&["serve", "--port", &port]);
    assert_eq!(output.status.code(), Some(3));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains(&format!("cannot listen on 127.0.0.1:{port}")), "{said}");
}

#[test]
fn a_report_that_cannot_be_written_is_an_error_before_the_run() {
    let output = run(&["--quick", "--report", "/nowhere/at/all.html"]);
    assert_eq!(output.status.code(), Some(3));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("cannot write /nowhere/at/all.html"), "{said}");
    assert!(output.stdout.is_empty());
}

#[test]
fn unreachable_downstreams_are_a_502_and_then_a_refusal() {
    let (_kept, addr) = nobody();
    let gateway = Gateway::before("d", addr);
    let mut refused = None;
    for _ in 0..40 {
        let asked = Instant::now();
        let answer = gateway.get("/payments");
        assert!(asked.elapsed() < Duration::from_secs(5), "a refused connection is known at once");
        match answer.status {
            502 => assert!(answer.body.contains("cannot be reached"), "{}", answer.body),
            503 => refused = Some(answer),
            other => panic!("{other}: {}", answer.body),
        }
    }
    let refused = refused.expect("ten failures in a row open the breaker");
    assert_eq!(refused.refused_by.as_deref(), Some("breaker"));
    assert!(refused.retry_after.unwrap().parse::<u64>().unwrap() >= 1);
    let body: Value = serde_json::from_str(&refused.body).unwrap();
    assert_eq!(body["compartment"], "payments");
    for said in ["limit", "load", "retry_after_ms"] {
        assert!(!body[said].is_null(), "{body}");
    }
    eventually("the gateway is at rest", || gateway.is_at_rest());
}

#[test]
fn unreachable_downstreams_are_a_502_in_the_naive_architectures() {
    for arch in ["a", "b", "c"] {
        let (_kept, addr) = nobody();
        let gateway = Gateway::before(arch, addr);
        assert_eq!(gateway.get("/orders").status, 502, "({arch})");
    }
}

#[test]
fn an_unknown_route_and_an_unknown_fault_are_client_errors() {
    let (_kept, addr) = nobody();
    let gateway = Gateway::before("d", addr);
    assert_eq!(gateway.get("/nowhere").status, 404);
    assert!(gateway.get("/status").body.contains("recommendations"));
    let wrong = format!("http://{}/fault/payments?fault=plague", gateway.addr);
    assert_eq!(agent().put(wrong).send_empty().unwrap().status(), 400);
}

#[test]
fn faults_come_and_go_by_the_control_route() {
    let gateway = Gateway::serve();
    assert_eq!(gateway.get("/recommendations").status, 200);
    gateway.set_fault("recommendations", "fault=errors");
    assert_eq!(gateway.get("/recommendations").status, 502);
    gateway.set_fault("recommendations", "fault=down");
    assert_eq!(gateway.get("/recommendations").status, 502);
    gateway.set_fault("recommendations", "fault=latency&latency_ms=5000");
    assert_eq!(gateway.get("/recommendations").status, 504);
    gateway.set_fault("recommendations", "fault=none");
    assert_eq!(gateway.get("/recommendations").status, 200);
}

#[test]
fn a_downstream_killed_in_the_middle_of_a_request_is_an_answer_and_the_gateway_lives_on() {
    let gateway = Gateway::serve();
    gateway.set_fault("payments", "fault=latency&latency_ms=60000");
    thread::scope(|scope| {
        let asked = scope.spawn(|| gateway.get("/payments"));
        eventually("the call is under way", || gateway.route("payments", "busy") == 1);
        kill_process(gateway.pids[0], Signal::KILL).unwrap();
        // Cut off before the deadline, or at it: never hung, never a success.
        let answer = asked.join().unwrap();
        assert!([502, 503, 504].contains(&answer.status), "{}: {}", answer.status, answer.body);
    });
    assert!([502, 503].contains(&gateway.get("/payments").status));
    assert_eq!(gateway.get("/orders").status, 200);
    eventually("the gateway is at rest", || gateway.is_at_rest());
}

#[test]
fn a_client_that_disconnects_leaves_nothing_behind() {
    let gateway = Gateway::serve();
    gateway.set_fault("orders", "fault=latency&latency_ms=60000");
    let mut clients = Vec::new();
    for _ in 0..5 {
        let mut client = TcpStream::connect(gateway.addr).unwrap();
        client.write_all(b"GET /orders HTTP/1.1\r\nhost: gateway\r\n\r\n").unwrap();
        clients.push(client);
    }
    eventually("all calls are under way", || gateway.route("orders", "busy") == 5);
    drop(clients);
    eventually("nobody waits any more", || gateway.route("orders", "open") == 0);
    // The threads come back with their sockets' timeouts, a minute before the dependency would have answered.
    eventually("the gateway is at rest", || gateway.is_at_rest());
    let orphans = gateway.stats()["orphans"].clone();
    assert_eq!(orphans["jobs"], 5, "{orphans}");
    gateway.set_fault("orders", "fault=none");
    eventually("orders answers", || gateway.get("/orders").status == 200);
}

#[test]
fn no_child_outlives_a_killed_parent() {
    let gateway = Gateway::serve();
    let pids = gateway.pids.clone();
    assert!(pids.iter().all(|pid| !has_ended(*pid)));
    let parent = Pid::from_child(&gateway.process);
    kill_process(parent, Signal::KILL).unwrap();
    for pid in pids {
        eventually("the downstream ends", || has_ended(pid));
    }
}

/// What a client sees on the wire, header by header.
#[test]
fn an_answer_is_plain_http() {
    let gateway = Gateway::serve();
    let mut client = TcpStream::connect(gateway.addr).unwrap();
    client.write_all(b"GET /payments HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\n\r\n").unwrap();
    let mut text = String::new();
    client.read_to_string(&mut text).unwrap();
    assert!(text.starts_with("HTTP/1.1 200 OK\r\n"), "{text}");
    assert!(text.ends_with("payments here\n"), "{text}");
}
