//! Far more work than places. What does not fit is refused at once, unrun, and comes back to whoever offered it; memory
//! is bounded by the places, whatever is offered: `cargo run --example overload`

use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use watertight::{Context, Pool, RejectReason};

const OFFERED: usize = 100_000;
/// What each job carries.
const KIB: usize = 64;

/// Counts the payloads that exist, and the most that ever did.
#[derive(Default)]
struct Alive {
    now: AtomicUsize,
    most: AtomicUsize,
}

struct Payload(Vec<u8>, Arc<Alive>);

impl Payload {
    fn new(alive: &Arc<Alive>) -> Self {
        let now = alive.now.fetch_add(1, Ordering::Relaxed) + 1;
        alive.most.fetch_max(now, Ordering::Relaxed);
        Self(vec![0; KIB << 10], alive.clone())
    }
}

impl Drop for Payload {
    fn drop(&mut self) {
        self.1.now.fetch_sub(1, Ordering::Relaxed);
    }
}

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let pool = Pool::builder("overloaded").threads(4).queue(16).build()?;
    let alive = Arc::new(Alive::default());

    // A dependency that does not answer: whatever runs is stuck until `answer` is dropped.
    let (answer, stuck) = channel::<()>();
    let stuck = Arc::new(std::sync::Mutex::new(stuck));

    let (mut accepted, mut returned) = (0, 0);
    for _ in 0..OFFERED {
        let (payload, stuck) = (Payload::new(&alive), stuck.clone());
        let work = move || {
            let _ = stuck.lock().map(|stuck| stuck.recv());
            std::hint::black_box(&payload.0);
        };
        match pool.try_execute(work) {
            Ok(()) => accepted += 1,
            Err(refused) => {
                assert!(matches!(refused.reason, RejectReason::Full { .. }));
                drop(refused.into_work()); // or run it here, or offer it elsewhere
                returned += 1;
            }
        }
    }
    let stats = pool.stats();
    println!("offered {OFFERED}: {accepted} accepted, {returned} refused and returned");
    println!("in flight: {}, with {} threads and {} places to wait", stats.in_flight, stats.threads, stats.queue);
    let most = alive.most.load(Ordering::Relaxed);
    println!("payloads in memory at once: {most} at most, {} KiB of {} KiB", most * KIB, OFFERED * KIB);
    assert_eq!((accepted, stats.refused_full), (20, (OFFERED - 20) as u64));
    assert_eq!(most, 21); // the places, and the one in the caller's hand

    drop(answer); // the dependency is well again: what was accepted is done
    pool.shutdown(&Context::background())?;
    println!(
        "after the recovery: {} finished, {} payloads left",
        pool.stats().finished,
        alive.now.load(Ordering::Relaxed)
    );
    Ok(())
}
