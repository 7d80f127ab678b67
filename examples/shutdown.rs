//! Ending a pool: it takes no more work, does what it admitted, and says what was left if the caller's time runs out
//! first: `cargo run --example shutdown`

use std::error::Error;
use std::sync::mpsc::channel;
use std::time::Duration;
use watertight::{Context, Pool};

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let pool = Pool::builder("mail").threads(2).queue(8).build()?;
    let (go_on, paused) = channel::<()>();
    let (begun, has_begun) = channel();
    pool.execute(move || {
        begun.send(()).unwrap();
        let _ = paused.recv(); // busy until `go_on` is dropped
    })?;
    has_begun.recv()?;
    let jobs: Vec<_> = (1..=5).map(|n| pool.submit(move || n * n)).collect::<Result<_, _>>()?;

    // First with little patience. The report says what was still running; draining goes on by itself.
    let patience = Context::background().with_timeout(Duration::from_millis(20));
    match pool.shutdown(&patience) {
        Err(left) => println!("after 20ms: {left}"),
        Ok(()) => unreachable!("a job is paused"),
    }
    let late = pool.submit(|| 0).unwrap_err();
    println!("a late submission: {}", late.reason);

    // Then for good. What was admitted was done: nothing is lost.
    drop(go_on);
    pool.shutdown(&Context::background())?;
    let squares: Vec<_> = jobs.into_iter().map(|job| job.join()).collect::<Result<_, _>>()?;
    let stats = pool.stats();
    println!("squares: {squares:?}; {} of {} finished, {} threads left", stats.finished, stats.accepted, stats.alive);
    assert_eq!((squares, stats.alive), (vec![1, 4, 9, 16, 25], 0));
    Ok(())
}
