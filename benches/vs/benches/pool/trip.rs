//! One job there and its result back, one at a time: two hand-overs between threads. Each trip is timed by itself, the
//! reading of the clock included.

use std::time::Instant;
use vs::peers::{Joins, MeasureJoins, Peer, QUEUE, Raw, everybody_joins, joins, warm};
use vs::published::Rayon;
use vs::table::{Contender, Figure, Ratio, compare, effort, quantile};
use watertight::Pool;
use watertight::pool::Spin;

const THREADS: usize = 2;

struct Trips(usize);

impl Trips {
    /// Nanoseconds of a trip: the median, and what one in a hundred exceeds.
    fn time(&self, trip: impl Fn(u64) -> u64) -> Vec<f64> {
        assert!((0..self.0 as u64 / 10).all(|n| trip(n) == n)); // it learns, if it can
        let mut begun = Instant::now();
        let timed = |n| {
            assert_eq!(trip(n), n);
            let ended = Instant::now();
            let took = (ended - begun).as_nanos() as f64;
            begun = ended;
            took
        };
        let mut times: Vec<_> = (0..self.0 as u64).map(timed).collect();
        vec![quantile(&mut times, 0.5), quantile(&mut times, 0.99)]
    }

    fn call(&self, spin: Spin) -> Vec<f64> {
        let pool = Pool::builder("vs").threads(THREADS).queue(QUEUE).spin(spin).build().unwrap();
        warm(&pool, THREADS);
        let times = self.time(|n| pool.call(|| n).unwrap());
        pool.end();
        times
    }

    /// rayon's own way to submit and wait.
    fn install(&self) -> Vec<f64> {
        let pool = Rayon::new(THREADS, QUEUE);
        warm(&pool, THREADS);
        let times = self.time(|n| pool.0.install(|| n));
        pool.end();
        times
    }
}

impl MeasureJoins for Trips {
    fn of<P: Joins>(&self) -> Vec<f64> {
        let pool = P::new(THREADS, QUEUE);
        warm(&pool, THREADS);
        let times = self.time(|n| pool.submit(move || n)());
        pool.end();
        times
    }
}

pub fn all() {
    let trips = &Trips(effort(10_000, 200));
    let call = |name, spin| -> Contender<'_> { (name, Box::new(move || trips.call(spin))) };
    let figures = [Figure::new("ns, p50", Ratio::OfIt), Figure::new("ns, p99", Ratio::OfIt)];
    let rounds = effort(15, 1);
    let mut contenders = vec![call("Pool::call, Adaptive", Spin::Adaptive)];
    contenders.extend(everybody_joins(trips));
    contenders.push(("rayon install", Box::new(|| trips.install())));
    compare("round trip, spinner on: call, 2 workers", rounds, &figures, &contenders);
    compare(
        "round trip, default: call, 2 workers",
        rounds,
        &figures,
        &[call("Pool::call, Brief", Spin::Brief), joins::<Raw>(trips)],
    );
    compare(
        "round trip, spinner off: call, 2 workers",
        rounds,
        &figures,
        &[call("Pool::call, Never", Spin::Never), joins::<Raw>(trips)],
    );
}
