//! A compartment for one dependency that turns sick and recovers, by a clock that the example moves itself:
//! `cargo run --example bulkhead`

use std::error::Error;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use watertight::event::{self, Event};
use watertight::{Bulkhead, CallError, Context, Isolation, ManualClock, Recovery, Trip};

const SECOND: Duration = Duration::from_secs(1);

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let time = ManualClock::new();
    let log = Arc::new(Mutex::new(Vec::new()));
    let told = log.clone();
    let rates = Bulkhead::builder("rates", Isolation::Threads(4))
        .queue(4)
        .breaker(Trip::consecutive(3), Recovery::after(5 * SECOND).probes(2))
        .timeout(SECOND)
        .clock(&time.clock())
        .observer(event::from_fn(move |e| {
            if let Event::BreakerChanged { from, to, .. } = e {
                told.lock().unwrap().push(format!("{from} -> {to}"));
            }
        }))
        .build()?;

    let sick = Arc::new(AtomicBool::new(true));
    let ask = || {
        let (sick, cx) = (sick.clone(), Context::background().with_clock(&time.clock()));
        rates.call(&cx, move |_cx| if sick.load(Ordering::Relaxed) { Err("no answer") } else { Ok(1.09) })
    };
    for _ in 0..5 {
        match ask() {
            Err(CallError::Failed(why)) => println!("it ran and failed: {why}"),
            Err(e) => println!("started: {}, come back in {:?}", e.started(), e.retry_after()),
            Ok(rate) => println!("{rate}"),
        }
    }
    sick.store(false, Ordering::Relaxed);
    time.advance(5 * SECOND);
    println!("five seconds later: {:?}, {:?}", ask(), ask());
    let state = rates.state();
    println!("{} calls, {} attempts; {}", state.requests, state.attempts, log.lock().unwrap().join(", "));
    Ok(())
}
