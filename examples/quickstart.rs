//! A pool, a deadline and a refusal: `cargo run --example quickstart`

use std::error::Error;
use std::time::Duration;
use watertight::{Context, Pool};

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let pool = Pool::builder("thumbnails").threads(2).queue(2).build()?;
    let cx = Context::current().with_timeout(Duration::from_millis(200));

    // Each job sees its caller's deadline. Two run, two wait, and the pool is full.
    let slow = || Context::current().sleep(Duration::from_secs(5));
    let jobs: Vec<_> = (0..4).map(|_| pool.job().context(&cx).submit(slow)).collect::<Result<_, _>>()?;
    if let Err(full) = pool.try_submit(|| "here instead") {
        let reason = full.reason; // refused at once, unrun, and the closure comes back
        println!("{reason}; run {}", full.into_work()());
    }
    for job in jobs {
        println!("{:?}", job.join()); // two stopped at the deadline, two never ran
    }
    Ok(())
}
