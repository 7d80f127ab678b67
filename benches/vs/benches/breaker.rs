//! `Breaker` beside failsafe, recloser and tower-resilience, each next to what it is made of: an uncontended `fetch_add`,
//! looks at the clock, a lock.
//!
//! Each round measures every contender, one after the other, so that whatever else the machine does hits all of them; a
//! ratio is taken within a round. Printed are medians of the rounds and, in brackets, their quartiles. With `--test`
//! everything runs once and briefly; another argument is part of the titles of those to run.

use core_affinity::CoreId;
use failsafe::CircuitBreaker as _;
use std::cell::Cell;
use std::future::{Future, Ready, ready};
use std::hint::black_box;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};
use tower_resilience_circuitbreaker::CircuitBreakerLayer;
use tower_service::Service;
use watertight::{Breaker, Recovery, Trip};

type Contender<'a> = (&'a str, Box<dyn FnMut() -> f64 + 'a>);

const FOR_EVER: Duration = Duration::from_secs(80_000);

/// How much to do: rounds, and calls within a round.
#[derive(Clone, Copy)]
struct Effort {
    rounds: usize,
    calls: u32,
}

/// Nanoseconds per call.
fn alone(calls: u32, mut f: impl FnMut()) -> f64 {
    let begun = Instant::now();
    for _ in 0..calls {
        f();
    }
    begun.elapsed().as_nanos() as f64 / f64::from(calls)
}

/// The same when two threads do it at once, each with what `make` makes on it: the mean of what each sees. Each has a core
/// of its own, if there are two.
fn together_with<F: FnMut()>(calls: u32, make: impl Fn() -> F + Sync) -> f64 {
    let start = Barrier::new(2);
    let cores: Vec<CoreId> = core_affinity::get_core_ids().unwrap_or_default();
    let (start, make) = (&start, &make);
    std::thread::scope(|s| {
        let both = [0, 1].map(|which| {
            let core = cores.get(which).copied();
            s.spawn(move || {
                core.map(core_affinity::set_for_current);
                let f = make();
                start.wait();
                alone(calls, f)
            })
        });
        both.into_iter().map(|one| one.join().unwrap()).sum::<f64>() / 2.0
    })
}

fn together(calls: u32, f: impl Fn() + Sync) -> f64 {
    together_with(calls, || &f)
}

fn quartiles(values: impl Iterator<Item = f64>) -> String {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    let at = |share: f64| values[((values.len() - 1) as f64 * share).round() as usize];
    format!("{:9.2} ({:.2}..{:.2})", at(0.5), at(0.25), at(0.75))
}

/// Measures all and prints them; the first is the floor, and each says how many times of it.
fn compare(title: &str, effort: Effort, mut contenders: Vec<Contender<'_>>) {
    if std::env::args().skip(1).any(|wanted| !wanted.starts_with("--") && !title.contains(&wanted)) {
        return;
    }
    let rounds: Vec<Vec<f64>> =
        (0..effort.rounds).map(|_| contenders.iter_mut().map(|(_, measure)| measure()).collect()).collect();
    println!("{title}");
    for (i, (name, _)) in contenders.iter().enumerate() {
        let ns = quartiles(rounds.iter().map(|round| round[i]));
        let ratio = quartiles(rounds.iter().map(|round| round[i] / round[0]));
        println!("  {name:40} {ns:32} ns   {ratio} of the floor");
    }
}

fn breaker(trip: Trip) -> Breaker {
    let breaker = Breaker::builder("bench").trip(trip).recovery(Recovery::after(FOR_EVER)).build().unwrap();
    (0..200).for_each(|_| breaker.admit().unwrap().success()); // a full, clean window
    breaker
}

fn good() -> Result<u64, ()> {
    Ok(black_box(1))
}

fn bad() -> Result<u64, ()> {
    black_box(Err(()))
}

fn ours(breaker: &Breaker) {
    _ = black_box(breaker.call(good));
}

fn ours_by_admission(breaker: &Breaker) {
    if let Ok(admitted) = breaker.admit_here() {
        admitted.record(&black_box(good()));
    }
}

/// One call in twenty fails.
fn mixed(breaker: &Breaker) -> impl FnMut() + '_ {
    let calls = Cell::new(0_u32);
    move || {
        calls.set(calls.get() + 1);
        _ = black_box(breaker.call(if calls.get() % 20 == 0 { bad } else { good }));
    }
}

fn recloser() -> recloser::Recloser {
    recloser::Recloser::custom().error_rate(0.5).closed_len(100).open_wait(FOR_EVER).build()
}

fn safe() -> impl failsafe::CircuitBreaker + Sync {
    let policy = failsafe::failure_policy::consecutive_failures(10, failsafe::backoff::constant(FOR_EVER));
    failsafe::Config::new().failure_policy(policy).build()
}

/// A service that is ready at once, well or not.
#[derive(Clone)]
struct Instantly(bool);

impl Service<()> for Instantly {
    type Response = u64;
    type Error = String;
    type Future = Ready<Result<u64, String>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), String>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, (): ()) -> Self::Future {
        ready(if self.0 { Ok(black_box(1)) } else { Err(String::new()) })
    }
}

/// A call of a tower service, polled once: everything in it is ready.
fn towered<S: Service<()>>(service: &mut S) -> bool {
    let mut task = Context::from_waker(Waker::noop());
    let is_ready = service.poll_ready(&mut task).is_ready();
    let future = std::pin::pin!(service.call(()));
    is_ready && black_box(future.poll(&mut task)).is_ready()
}

fn closed(effort: Effort) {
    let n = effort.calls;
    let word = AtomicU64::new(0);
    let floor = || _ = black_box(word.fetch_add(1, Ordering::Relaxed));
    let (consecutive, window) = (breaker(Trip::consecutive(10)), breaker(Trip::rate(0.5)));
    let (recloser, safe) = (recloser(), safe());
    let tower = CircuitBreakerLayer::builder().failure_rate_threshold(0.5).sliding_window_size(100).build();
    let tower = tower.unwrap().layer_fn(Instantly(true));
    let recloser = || _ = black_box(recloser.call(good));
    let safe = || _ = black_box(safe.call(good));
    compare(
        "closed, a success",
        effort,
        vec![
            ("floor: fetch_add", Box::new(|| alone(n, floor))),
            ("watertight, consecutive", Box::new(|| alone(n, || ours(&consecutive)))),
            ("watertight, last 100", Box::new(|| alone(n, || ours(&window)))),
            ("watertight, last 100, admit_here", Box::new(|| alone(n, || ours_by_admission(&window)))),
            ("watertight, last 100, admit", Box::new(|| alone(n, || window.admit().unwrap().success()))),
            ("failsafe, consecutive", Box::new(|| alone(n, safe))),
            ("recloser, last 100", Box::new(|| alone(n, recloser))),
            (
                "tower-resilience, 100",
                Box::new(|| {
                    let mut service = tower.clone();
                    alone(n / 20 + 1, || _ = black_box(towered(&mut service)))
                }),
            ),
        ],
    );
    compare(
        "closed, a success, two threads on one breaker (the floor is alone)",
        effort,
        vec![
            ("floor: fetch_add, alone", Box::new(|| alone(n, floor))),
            ("fetch_add, two threads", Box::new(|| together(n, floor))),
            ("watertight, consecutive", Box::new(|| together(n, || ours(&consecutive)))),
            ("watertight, last 100", Box::new(|| together(n, || ours(&window)))),
            ("watertight, last 100, admit", Box::new(|| together(n, || window.admit().unwrap().success()))),
            ("failsafe, consecutive", Box::new(|| together(n, safe))),
            ("recloser, last 100", Box::new(|| together(n, recloser))),
        ],
    );
}

fn timed(effort: Effort) {
    let n = effort.calls / 4 + 1;
    let look = || _ = black_box(Instant::now());
    let looks = || _ = black_box((Instant::now(), Instant::now()));
    let within = breaker(Trip::rate(0.5).within(Duration::from_secs(10)));
    compare(
        "closed, a success in a time window",
        effort,
        vec![
            ("floor: a look at the clock", Box::new(|| alone(n, look))),
            ("watertight, within 10 s", Box::new(|| alone(n, || ours(&within)))),
            ("watertight, within 10 s, two threads", Box::new(|| together(n, || ours(&within)))),
        ],
    );
    let slow = breaker(Trip::rate(0.5).or_slow_rate(0.5, Duration::from_secs(1)));
    compare(
        "closed, a success that is timed",
        effort,
        vec![
            ("floor: two looks at the clock", Box::new(|| alone(n, looks))),
            ("watertight, slow calls, last 100", Box::new(|| alone(n, || ours(&slow)))),
            ("watertight, slow calls, two threads", Box::new(|| together(n, || ours(&slow)))),
        ],
    );
}

fn outcomes(effort: Effort) {
    let n = effort.calls / 4 + 1;
    let lock = parking_lot::Mutex::new(0_u64);
    let floor = || *lock.lock() += 1;
    let (window, recloser) = (breaker(Trip::rate(0.9)), recloser());
    let peer = || {
        let calls = Cell::new(0_u32);
        let recloser = &recloser;
        move || {
            calls.set(calls.get() + 1);
            _ = black_box(recloser.call(if calls.get() % 20 == 0 { bad } else { good }));
        }
    };
    compare(
        "closed, one failure in twenty",
        effort,
        vec![
            ("floor: a lock", Box::new(|| alone(n, floor))),
            ("watertight, last 100", Box::new(|| alone(n, mixed(&window)))),
            ("recloser, last 100", Box::new(|| alone(n, peer()))),
        ],
    );
    compare(
        "closed, one failure in twenty, two threads",
        effort,
        vec![
            ("floor: a lock, two threads", Box::new(|| together(n, floor))),
            ("watertight, last 100", Box::new(|| together_with(n, || mixed(&window)))),
            ("recloser, last 100", Box::new(|| together_with(n, peer))),
        ],
    );
}

fn refusals(effort: Effort) {
    let n = effort.calls / 4 + 1;
    let look = || _ = black_box(Instant::now());
    let (open, recloser, safe) = (breaker(Trip::consecutive(1)), recloser(), safe());
    open.admit().unwrap().failure();
    for _ in 0..200 {
        _ = recloser.call(bad);
        _ = safe.call(bad);
    }
    let refuse = || _ = black_box(open.admit_here().is_err());
    let recloser = || _ = black_box(recloser.call(good).is_err());
    let safe = || _ = black_box(safe.call(good).is_err());
    let contenders = |one: bool| -> Vec<Contender<'_>> {
        vec![
            ("floor: a look at the clock", Box::new(|| alone(n, look))),
            ("watertight", Box::new(move || if one { alone(n, refuse) } else { together(n, refuse) })),
            ("failsafe", Box::new(move || if one { alone(n, safe) } else { together(n, safe) })),
            ("recloser", Box::new(move || if one { alone(n, recloser) } else { together(n, recloser) })),
        ]
    };
    compare("open, a refusal", effort, contenders(true));
    compare("open, a refusal, two threads (the floor is alone)", effort, contenders(false));
}

fn main() {
    let test = std::env::args().any(|argument| argument == "--test");
    let effort = if test { Effort { rounds: 1, calls: 40 } } else { Effort { rounds: 31, calls: 1_000_000 } };
    closed(effort);
    timed(effort);
    outcomes(effort);
    refusals(effort);
}
