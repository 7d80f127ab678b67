//! Twice as many jobs as one worker can do, arriving whether or not those before them have been done. The worker has a core
//! and so has whoever submits. A result is good within 100 ms of its arrival.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use vs::peers::{Measure, Peer, everybody, warm};
use vs::table::{Figure, Ratio, compare, effort, is_picked, quantile};
use vs::work::{lasting, steps};

const LENGTH: Duration = Duration::from_micros(100);
const GOOD: Duration = Duration::from_millis(100);
const BOUND: usize = 128;

/// Calls at each arrival, with its instant, which may be a little past. For so long; really for how long is returned.
pub fn arrivals(every: Duration, window: Duration, mut at: impl FnMut(Instant)) -> Duration {
    let begun = Instant::now();
    let mut due = begun;
    while due < begun + window {
        while Instant::now() < due {
            std::hint::spin_loop();
        }
        at(due);
        due += every;
    }
    begun.elapsed()
}

struct Overload {
    steps: u64,
    window: Duration,
}

#[derive(Default)]
struct Counts {
    /// What is still queued is not to be done any more.
    over: AtomicBool,
    good: AtomicU64,
}

impl Measure for Overload {
    fn of<P: Peer>(&self) -> Vec<f64> {
        let pool = P::new(1, BOUND);
        warm(&pool, 1);
        let counts: &'static Counts = Box::leak(Box::default());
        let work: u64 = self.steps;
        let jobs = (self.window.as_nanos() * 2 / LENGTH.as_nanos()) as usize;
        let (mut kept, mut refusals) = (Vec::with_capacity(jobs), Vec::with_capacity(jobs));
        let mut arrived = 0;
        let took = arrivals(LENGTH / 2, self.window, |due| {
            let begun = Instant::now();
            let taken = pool.try_execute(move || {
                if counts.over.load(Ordering::Relaxed) {
                    return;
                }
                steps(work);
                if due.elapsed() <= GOOD {
                    counts.good.fetch_add(1, Ordering::Relaxed);
                }
            });
            let ns = begun.elapsed().as_nanos() as f64;
            arrived += 1;
            match taken {
                Some(taken) => kept.push(taken),
                None => refusals.push(ns),
            }
        });
        let good = counts.good.load(Ordering::Relaxed);
        counts.over.store(true, Ordering::Relaxed);
        drop(kept);
        pool.end();
        let share = good as f64 * LENGTH.as_secs_f64() / took.as_secs_f64();
        let refused = refusals.len() as f64 / f64::from(arrived);
        vec![share, refused, quantile(&mut refusals, 0.5), quantile(&mut refusals, 0.99)]
    }
}

pub fn all() {
    let title = "overload: twice the capacity of 1 worker, jobs of 100 us, a bound of 128 where there is one";
    if !is_picked(title) {
        return;
    }
    let overload =
        Overload { steps: lasting(LENGTH), window: effort(Duration::from_secs(1), Duration::from_millis(30)) };
    compare(
        title,
        effort(7, 1),
        &[
            Figure::new("good jobs as a share of the capacity", Ratio::OfIt),
            Figure::new("refused, as a share of those that arrived", Ratio::None),
            Figure::new("ns of a refusal, p50, the clock's included", Ratio::OfIt),
            Figure::new("ns of a refusal, p99, the clock's included", Ratio::OfIt),
        ],
        &everybody(&overload),
    );
}
