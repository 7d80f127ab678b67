//! A deadline travels by itself: from the caller to the job it submits, and on to what that job submits. What has not
//! begun by then never runs; what runs sees it at its next check; and a caller may stop waiting, while the place stays
//! taken until the job has really ended: `cargo run --example deadline`

use std::error::Error;
use std::sync::mpsc::channel;
use std::time::Duration;
use watertight::{Context, Interrupted, JobError, Pool};

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let pool = Pool::builder("queries").threads(1).queue(4).build()?;
    let cx = Context::current().with_timeout(Duration::from_secs(1));

    // The job runs in its submitter's context: it knows what is left and can give it to a client's time-out.
    let left = cx.in_scope(|| pool.submit(|| Context::current().remaining()))?.join()?;
    println!("the job has {left:?} left of its caller's second");

    // Deadlines only tighten: a job cannot give itself more time than its caller has.
    let longer = cx.with_timeout(Duration::from_secs(3600));
    assert_eq!(longer.deadline(), cx.deadline());
    println!("an hour within a second is still a second");

    // A job that does not look at its deadline, as a blocked system call does not.
    let (answer, no_answer) = channel::<()>();
    let mut stuck = pool.job().context(&cx).submit(move || no_answer.recv().is_err())?;
    let behind = pool.job().context(&cx).submit(|| "too late to be of use")?;

    assert!(stuck.join_within(&cx).is_none());
    println!("the caller waits no longer; in flight: {}", pool.stats().in_flight);
    match behind.join() {
        Err(JobError::Shed(Interrupted::DeadlinePassed)) => println!("what was queued behind it never ran"),
        other => unreachable!("its deadline passed in the queue: {other:?}"),
    }

    drop(answer);
    println!("the stuck job ended: {:?}", stuck.join());
    pool.shutdown(&Context::background())?;
    println!("in flight: {}", pool.stats().in_flight);
    Ok(())
}
