//! Ending a pool: it takes no more work, does what it admitted, cancels what its time does not suffice for, abandons what
//! does not listen, and says what became of every job: `cargo run --example shutdown`

use std::error::Error;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;
use watertight::pool::Drain;
use watertight::{Context, Pool};

type Outcome = Result<(), Box<dyn Error + Send + Sync>>;

fn main() -> Outcome {
    patience()?;
    one_deadline()
}

/// A job that is busy until the other end of the channel is dropped, whatever it is told.
fn deaf(until: Receiver<()>) -> impl FnOnce() + Send {
    move || _ = until.recv()
}

/// Nothing is lost: what was admitted is done, however often somebody asks whether it is.
fn patience() -> Outcome {
    let pool = Pool::builder("mail").threads(2).queue(8).build()?;
    let (go_on, paused) = channel::<()>();
    pool.execute(deaf(paused))?;
    let jobs: Vec<_> = (1..=5).map(|n| pool.submit(move || n * n)).collect::<Result<_, _>>()?;

    // First with little patience. The report says what was still running; draining goes on by itself.
    let patience = Context::background().with_timeout(Duration::from_millis(20));
    match pool.stop().drain(Drain::ToTheEnd).wait(&patience) {
        Err(left) => println!("after 20ms: {left}"),
        Ok(_) => unreachable!("a job is paused"),
    }
    let late = pool.submit(|| 0).unwrap_err();
    println!("a late submission: {}", late.reason);

    // Then for good.
    drop(go_on);
    pool.shutdown(&Context::background())?;
    let squares: Vec<_> = jobs.into_iter().map(|job| job.join()).collect::<Result<_, _>>()?;
    let stats = pool.stats();
    println!("squares: {squares:?}; {} of {} finished, {} threads left", stats.finished, stats.accepted, stats.alive);
    assert_eq!((squares, stats.alive), (vec![1, 4, 9, 16, 25], 0));
    Ok(())
}

/// What a service does when it is told to go: one deadline for everything, and an account of every job.
fn one_deadline() -> Outcome {
    let pool = Pool::builder("orders").threads(2).queue(8).build()?;
    let (_never, stuck) = channel::<()>();
    let (begun, has_begun) = channel();
    let begins = begun.clone();
    pool.job().name("a stuck driver").execute(move || {
        begins.send(()).unwrap();
        deaf(stuck)();
    })?;
    let listens = pool.job().name("an import").submit(move || {
        begun.send(()).unwrap();
        Context::current().sleep(Duration::from_secs(3600)) // ends when the job is cancelled
    })?;
    has_begun.recv()?;
    has_begun.recv()?;
    pool.job().name("an invoice").execute(|| println!("the invoice is written after all"))?;

    let cx = Context::background().with_timeout(Duration::from_millis(80));
    let Err(left) = pool.stop().drain(Drain::Percent(50)).hand_back().wait(&cx) else { unreachable!("a job is stuck") };
    println!("{left}");
    let mut report = left.report;
    println!("the import: {:?}", listens.join()?.unwrap_err());
    for job in &report.running {
        println!("abandoned: {:?}, at it for {:?}", job.name.as_deref().unwrap_or("a job"), job.age);
    }
    assert_eq!((report.cancelled, report.never_ran, report.running.len()), (1, 1, 1));
    // What never ran can be kept for the next start, or done here.
    report.unrun.drain(..).for_each(|job| job.run());
    Ok(()) // and the process ends, whatever the driver does
}
