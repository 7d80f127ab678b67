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
        Self::serve_before(&[])
    }

    /// `serve`, with these services in the place of some of its own.
    fn serve_before(upstreams: &[&str]) -> Self {
        let mut args = vec!["serve"];
        upstreams.iter().for_each(|upstream| args.extend(["--upstream", upstream]));
        let (process, lines) = Self::start(&args);
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
        let (status, said) = self.try_fault(downstream, fault);
        assert_eq!(status, 200, "{downstream} {fault}: {said}");
    }

    fn try_fault(&self, downstream: &str, fault: &str) -> (u16, String) {
        let uri = format!("http://{}/fault/{downstream}?{fault}", self.addr);
        let mut response = agent().put(uri).send_empty().unwrap();
        (response.status().as_u16(), response.body_mut().read_to_string().unwrap())
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
        &["serve", "--upstream", "payments"],
        &["serve", "--upstream", "stock=http://127.0.0.1:9001"],
        &["serve", "--upstream", "payments=https://127.0.0.1:9001"],
        &["serve", "--upstream", "payments=http://127.0.0.1:99999"],
        &["--metastable", "--quick"],
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
fn two_upstreams_for_one_route_are_an_error_that_names_both() {
    let (one, two) = ("payments=http://127.0.0.1:1/", "payments=http://127.0.0.1:2/");
    let output = run(&["serve", "--upstream", one, "--upstream", two]);
    assert_eq!(output.status.code(), Some(3));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("payments has two upstreams, http://127.0.0.1:1/ and http://127.0.0.1:2/"), "{said}");
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

/// Each fault of the proxy, as a client of the gateway sees it; well again after each, so that the breaker stays closed.
#[test]
fn the_faults_of_the_proxy_are_what_they_say() {
    let gateway = Gateway::serve();
    for (fault, status) in [
        ("fault=reset", 502),
        ("fault=limit&bytes=20", 502),
        ("fault=drop-first&connections=100", 502),
        ("fault=timeout&after_ms=1", 502),
        ("fault=timeout", 504),
        ("fault=bandwidth&kb_per_s=0", 504),
        ("fault=slicer&bytes=1&delay_ms=50", 504),
        ("fault=none", 200),
        ("fault=slicer&bytes=10&variation=5", 200),
        ("fault=bandwidth&kb_per_s=1000", 200),
        ("fault=slow-close&delay_ms=60000", 200),
        ("fault=reset&toxicity=0", 200),
    ] {
        gateway.set_fault("recommendations", fault);
        assert_eq!(gateway.get("/recommendations").status, status, "{fault}");
        gateway.set_fault("recommendations", "fault=none");
        assert_eq!(gateway.get("/recommendations").status, 200, "after {fault}");
    }
    for nonsense in
        ["fault=limit", "fault=limit&bytes=-1", "fault=reset&toxicity=2", "fault=reset&after=1", "after_ms=1"]
    {
        let (status, said) = gateway.try_fault("recommendations", nonsense);
        assert!(status == 400 && said.starts_with("no such fault: "), "{nonsense}: {status} {said}");
    }
    eventually("the gateway is at rest", || gateway.is_at_rest());
}

/// A service that says what it was asked; it runs until the test ends.
fn service() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            let mut lines = BufReader::new(&client).lines().map_while(Result::ok).take_while(|line| !line.is_empty());
            let asked = lines.next().unwrap_or_default();
            let host = lines.find(|line| line.to_lowercase().starts_with("host:")).unwrap_or_default();
            let body = format!("mine: {asked}, {host}");
            let head = format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}", body.len());
            let _ = (&client).write_all(format!("{head}\r\n\r\n{body}").as_bytes());
        }
    });
    addr
}

#[test]
fn serves_before_services_that_run_already() {
    let at = service();
    let (_kept, nobody) = nobody();
    let payments = format!("payments=http://{at}/v1/pay?dry=yes");
    let gateway = Gateway::serve_before(&[&payments, &format!("orders=http://{nobody}")]);
    let answer = gateway.get("/payments");
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(answer.body.to_lowercase(), format!("mine: get /v1/pay?dry=yes http/1.1, host: {at}"));
    assert_eq!(gateway.get("/recommendations").body, "recommendations here\n", "not given, and so the example's own");
    assert_eq!(gateway.get("/orders").status, 502, "given, and not there");

    // The proxy is before it, too; but what a service answers is its own affair.
    gateway.set_fault("payments", "fault=latency&latency_ms=60000");
    assert_eq!(gateway.get("/payments").status, 504);
    let (status, said) = gateway.try_fault("payments", "fault=errors");
    assert!(status == 502 && said.contains("a service of yours"), "{status} {said}");
    gateway.set_fault("payments", "fault=none");
    eventually("it answers again", || gateway.get("/payments").status == 200);
    eventually("the gateway is at rest", || gateway.is_at_rest());
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
