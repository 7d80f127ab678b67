//! How long after `cancel()` a blocked call returns, for everything that a context can end: `cargo run --release
//! --example cancel_latency`, with `--features process` for child processes too, `-- --rounds N` for more of it.
//!
//! In each round a thread of its own blocks within a context. It is given a moment to get into its call, then the token
//! is cancelled; what is measured is the time from just before the cancel to just after the return of the call.

use clap::Parser;
use hdrhistogram::Histogram;
use std::error::Error;
use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};
use watertight::context::Condition;
use watertight::{CancelToken, Context};

type Failure = Box<dyn Error + Send + Sync>;

/// Blocks within the context; calls the second argument just before.
type Blocks = fn(&Context, &dyn Fn()) -> Result<(), Failure>;

#[derive(Parser)]
struct Arguments {
    /// How often each kind of call is cancelled.
    #[arg(long, default_value_t = 100)]
    rounds: u32,
}

/// For a thread to get into its call. Too little of it would only make the figures better than they are.
const A_MOMENT: Duration = Duration::from_millis(2);

fn check_loop(cx: &Context, about_to: &dyn Fn()) -> Result<(), Failure> {
    about_to();
    while cx.check().is_ok() {
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_millis(1) {
            std::hint::spin_loop(); // a piece of work
        }
    }
    Ok(())
}

fn sleep(cx: &Context, about_to: &dyn Fn()) -> Result<(), Failure> {
    about_to();
    cx.sleep(Duration::from_secs(3600)).expect_err("it was cancelled");
    Ok(())
}

fn recv(cx: &Context, about_to: &dyn Fn()) -> Result<(), Failure> {
    let (_sender, receiver) = crossbeam_channel::bounded::<()>(1);
    about_to();
    cx.recv(&receiver).expect_err("it was cancelled");
    Ok(())
}

fn condition(cx: &Context, about_to: &dyn Fn()) -> Result<(), Failure> {
    let (lock, condition) = (Mutex::new(()), Condition::new());
    let take = || lock.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    about_to();
    cx.wait(&condition, take(), take).expect_err("it was cancelled");
    Ok(())
}

fn socket_read(cx: &Context, about_to: &dyn Fn()) -> Result<(), Failure> {
    let silent = TcpListener::bind("127.0.0.1:0")?;
    let mut stream = TcpStream::connect(silent.local_addr()?)?;
    let guard = cx.guard(&stream)?;
    about_to();
    guard.run(|| stream.read(&mut [0; 16])).expect_err("it was cancelled");
    Ok(())
}

#[cfg(feature = "process")]
fn child_wait(cx: &Context, about_to: &dyn Fn()) -> Result<(), Failure> {
    let child = cx.spawn(std::process::Command::new("sleep").arg("3600"))?;
    about_to();
    child.wait().expect_err("it was cancelled");
    Ok(())
}

/// One round: how long the return took.
fn latency(blocks: Blocks, round: u32) -> Result<Duration, Failure> {
    let token = CancelToken::new();
    let cx = Context::background().with_token(&token);
    let (about_to, hears) = channel();
    std::thread::scope(|s| {
        let blocked = s.spawn(move || {
            blocks(&cx, &|| about_to.send(()).expect("somebody hears it"))?;
            Ok::<_, Failure>(Instant::now())
        });
        hears.recv()?;
        std::thread::sleep(A_MOMENT + Duration::from_micros(u64::from(round) * 617 % 1000)); // at any phase of its work
        let cancelled = Instant::now();
        token.cancel();
        let returned = blocked.join().expect("it does not panic")?;
        Ok(returned - cancelled)
    })
}

fn main() -> Result<(), Failure> {
    let Arguments { rounds } = Arguments::parse();
    let rows: &[(&str, Blocks)] = &[
        ("check every ms", check_loop),
        ("sleep", sleep),
        ("recv", recv),
        ("condition", condition),
        ("socket read", socket_read),
        #[cfg(feature = "process")]
        ("child wait", child_wait),
    ];

    println!("from cancel() to the return of the blocked call, in µs, {rounds} rounds each");
    println!("{:16} {:>8} {:>8} {:>8}", "", "p50", "p99", "max");
    for &(name, blocks) in rows {
        let mut micros = Histogram::<u64>::new(3)?;
        for round in 0..rounds {
            micros.record(u64::try_from(latency(blocks, round)?.as_micros())?)?;
        }
        let [p50, p99] = [0.5, 0.99].map(|q| micros.value_at_quantile(q));
        println!("{name:16} {p50:>8} {p99:>8} {:>8}", micros.max());
    }
    Ok(())
}
