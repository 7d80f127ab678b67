//! What retries do to a dependency that is down, measured: four layers that each try three times, without budgets and with:
//! `cargo run --example retries`

use std::cell::Cell;
use std::error::Error;
use std::time::Duration;
use watertight::{Budget, Bulkhead, CallError, Context, Isolation, Retry};

const LAYERS: usize = 4;
const REQUESTS: u32 = 1_000;

/// A compartment for each layer, which calls the next one.
fn layers(retry: impl Fn() -> Retry) -> Result<Vec<Bulkhead>, Box<dyn Error + Send + Sync>> {
    let layer = |n| Bulkhead::builder(format!("layer-{n}"), Isolation::Permits(8)).retry(retry()).no_timeout().build();
    Ok((1..=LAYERS).map(layer).collect::<Result<_, _>>()?)
}

fn ask(
    layers: &[Bulkhead],
    cx: &Context,
    dependency: &impl Fn() -> Result<(), &'static str>,
) -> Result<(), &'static str> {
    let Some((layer, below)) = layers.split_first() else { return dependency() };
    layer.idempotent().call_here(cx, |cx| ask(below, cx, dependency)).map_err(|e| match e {
        CallError::Failed(why) => why,
        _ => "refused",
    })
}

/// Sends the requests, and says how many attempts have come of each at the bottom.
fn measure(what: &str, retry: impl Fn() -> Retry) -> Result<f64, Box<dyn Error + Send + Sync>> {
    let (layers, asked) = (layers(retry)?, Cell::new(0_u32));
    let down = || {
        asked.set(asked.get() + 1);
        Err("down")
    };
    for _ in 0..REQUESTS {
        assert!(ask(&layers, &Context::background(), &down).is_err());
    }
    let of_each: Vec<_> = layers.iter().map(|layer| format!("{:.2}", layer.state().amplification())).collect();
    let in_all = f64::from(asked.get()) / f64::from(REQUESTS);
    println!("{what}: {} attempts at the bottom, {in_all:.2} for each request", asked.get());
    println!("    attempts for each call of a layer, measured by it: {}", of_each.join(", "));
    Ok(in_all)
}

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    println!("{LAYERS} layers of three attempts, {REQUESTS} requests, and the dependency is down");
    let three = || Retry::constant(Duration::ZERO).attempts(3);
    let naive = measure("without budgets", three)?;
    let paid = measure("with a budget of 10 % in each layer", || three().budget(Budget::percent(10)))?;
    assert_eq!(naive, 81.0); // 3 * 3 * 3 * 3
    assert!(paid <= 1.1_f64.powi(4));
    Ok(())
}
