//! Cancellation is cooperative and goes down a tree. Queued work that is cancelled never runs; running work sees it at
//! its next check; children end with their parent, not the reverse: `cargo run --example cancel`

use std::error::Error;
use std::sync::mpsc::channel;
use watertight::{CancelCause, CancelToken, Context, Interrupted, JobError, Pool};

/// Works until it is told to stop, one checkpoint per step.
fn crunch(begun: impl FnOnce()) -> (u64, Interrupted) {
    let cx = Context::current();
    begun();
    let mut steps = 0;
    loop {
        if let Err(why) = cx.check() {
            return (steps, why);
        }
        steps += 1;
        std::hint::spin_loop();
    }
}

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let pool = Pool::builder("crunch").threads(1).queue(4).build()?;

    let shutdown = CancelToken::new();
    let request = shutdown.child();
    let cx = Context::background().with_token(&request);

    let (begun, has_begun) = channel();
    let running = pool.job().context(&cx).submit(move || crunch(move || begun.send(()).unwrap()))?;
    let queued = pool.job().context(&cx).submit(|| unreachable!("cancelled before it could begin"))?;
    has_begun.recv()?;

    request.cancel_because(CancelCause::Because("the client has gone"));
    assert!(!shutdown.is_cancelled()); // a child does not cancel its parent
    let (steps, why) = running.join()?;
    println!("the running job stopped after {steps} steps: {why}");
    match queued.join() {
        Err(JobError::Shed(why)) => println!("the queued job never ran: {why}"),
        Ok(()) | Err(_) => unreachable!("it was cancelled in the queue"),
    }

    // A token of two parents, for what must end with either.
    let (another, linked) = (CancelToken::new(), CancelToken::new().link(&shutdown));
    shutdown.cancel_because(CancelCause::Shutdown);
    println!("linked: {linked:?}, another: {another:?}, born late: {:?}", shutdown.child());

    // One job alone, by its handle. The first cause wins.
    let (begun, has_begun) = channel();
    let job = pool.submit(move || crunch(move || begun.send(()).unwrap()))?;
    has_begun.recv()?;
    job.cancel();
    println!("one job by its handle: {}", job.join()?.1);
    pool.shutdown(&Context::background())?;
    Ok(())
}
