//! The policies in an order of one's own: permit first, then the breaker, with a budget for the second try:
//! `cargo run --example compose_by_hand`

use std::error::Error;
use std::time::Duration;
use watertight::{Breaker, Budget, CallError, Context, Limit, Recovery, Retry, Trip};

struct Compartment {
    limit: Limit,
    breaker: Breaker,
    retry: Retry,
    budget: Budget,
}

impl Compartment {
    /// One permit for all attempts: while one caller retries, nobody else gets its place. A bulkhead does it the other
    /// way round, so that nobody sleeps while holding a place.
    fn call<T, E>(&self, cx: &Context, mut work: impl FnMut() -> Result<T, E>) -> Result<T, CallError<E>> {
        let permit = self.limit.acquire(cx)?;
        self.budget.deposit();
        let mut pauses = self.retry.schedule();
        loop {
            let admitted = self.breaker.admit()?; // refused: the permit goes back by itself
            let out = work();
            admitted.record(&out);
            let failed = match out {
                Ok(value) => return Ok(value),
                Err(e) => e,
            };
            match pauses.next() {
                Some(pause) if self.budget.try_withdraw() && cx.sleep(pause).is_ok() => {}
                _ => {
                    drop(permit);
                    return Err(CallError::Failed(failed));
                }
            }
        }
    }
}

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let budget = Budget::percent(50);
    let retry = Retry::constant(Duration::from_millis(1)).attempts(3).budget(budget.clone());
    retry.validate()?;
    let breaker = Breaker::builder("by-hand")
        .trip(Trip::consecutive(4))
        .recovery(Recovery::after(Duration::from_secs(60)))
        .build()?;
    let compartment = Compartment { limit: Limit::new(2), breaker, retry, budget };

    let cx = Context::current().with_timeout(Duration::from_secs(1));
    println!("well: {:?}", compartment.call(&cx, || Ok::<_, &str>(1)));
    let mut attempts = 0;
    for call in 1..=4 {
        let out = compartment.call(&cx, || {
            attempts += 1;
            Err::<u8, _>("dead")
        });
        println!("dead, call {call}: {out:?}; {attempts} attempts so far");
    }
    println!("{:?}, {} permits out", compartment.breaker.state(), compartment.limit.in_flight());
    Ok(())
}
