//! Hours of time-outs in a moment: a context carries its clock, so a test that moves a `ManualClock` moves everything
//! that waits by it, and nothing sleeps: `cargo run --example fake_time`

use std::error::Error;
use std::time::{Duration, Instant};
use watertight::{Context, Interrupted, Limit, ManualClock, RejectReason};

const HOUR: Duration = Duration::from_secs(3600);

/// What is under test: it knows nothing of fake time.
fn nightly_job(cx: &Context, limit: &Limit) -> Result<(), RejectReason> {
    cx.sleep(6 * HOUR)?;
    let _permit = limit.acquire(&cx.with_timeout(2 * HOUR))?;
    Ok(())
}

/// Moves on once everybody who is to be moved waits: so no wake-up is missed and no sleep is needed.
fn advance_when_waiting(time: &ManualClock, d: Duration) {
    while time.waiting() == 0 {
        std::thread::yield_now();
    }
    time.advance(d);
}

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let begun = Instant::now();
    let time = ManualClock::new();
    let midnight = time.now();
    let cx = Context::background().with_clock(&time.clock());

    let limit = Limit::new(1);
    let held = limit.try_acquire()?; // somebody holds the only permit, all night
    let outcome = std::thread::scope(|s| {
        let job = s.spawn(|| nightly_job(&cx, &limit));
        advance_when_waiting(&time, 6 * HOUR); // it slept
        advance_when_waiting(&time, HOUR); // it waits for the permit
        assert!(!job.is_finished());
        advance_when_waiting(&time, HOUR); // and gives up
        job.join().expect("it does not panic")
    });
    println!("after {:?} by the fake clock: {outcome:?}", time.now() - midnight);
    assert_eq!(outcome, Err(RejectReason::DeadlinePassed));
    drop(held);

    let brief = cx.with_timeout(HOUR);
    time.advance(HOUR);
    println!("a deadline in an hour: {:?}", brief.check());
    assert_eq!(brief.check(), Err(Interrupted::DeadlinePassed));
    println!("all of it took {:?} on the wall", begun.elapsed());
    Ok(())
}
