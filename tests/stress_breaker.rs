//! Real threads on the breaker and the budget: fixed numbers of iterations, and a check that the race really happened.

use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;
use std::time::Duration;
use watertight::breaker::BreakerState;
use watertight::event::{self, Event};
use watertight::{Breaker, Budget, ManualClock, Recovery, Trip};

const AFTER: Duration = Duration::from_secs(1);
const THREADS: usize = 8;
const ROUNDS: usize = 2_000;

/// Each round: open, interval over, eight callers race. Those let through overlap, so that places run out; some ignore,
/// some fail, most succeed. Never are more than `probes` of one half-open phase out at once.
#[test]
fn probes_in_flight_never_exceed_their_number() {
    for probes in [1, 2] {
        let time = ManualClock::new();
        let told: Arc<Mutex<Vec<(BreakerState, BreakerState)>>> = Arc::default();
        let tell = told.clone();
        let breaker = Breaker::builder("stress")
            .trip(Trip::consecutive(1))
            .recovery(Recovery::after(AFTER).growth(1.0).probes(probes))
            .clock(&time.clock())
            .observer(event::from_fn(move |e| {
                if let Event::BreakerChanged { from, to, .. } = *e {
                    tell.lock().unwrap().push((from, to));
                }
            }))
            .build()
            .unwrap();
        let (out, peak, refused) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
        let (ready, done) = (Barrier::new(THREADS + 1), Barrier::new(THREADS + 1));
        thread::scope(|s| {
            for caller in 0..THREADS {
                let (breaker, out, peak, refused, ready, done) = (&breaker, &out, &peak, &refused, &ready, &done);
                s.spawn(move || {
                    for round in 0..ROUNDS {
                        ready.wait();
                        match breaker.admit() {
                            Ok(probe) => {
                                // Closed again by other probes means that this is no probe: then it does not count.
                                if breaker.state() == BreakerState::HalfOpen {
                                    peak.fetch_max(out.fetch_add(1, Ordering::AcqRel) + 1, Ordering::AcqRel);
                                    thread::yield_now();
                                    out.fetch_sub(1, Ordering::AcqRel);
                                }
                                match (caller + round) % 4 {
                                    0 => probe.ignore(),
                                    1 => probe.failure(),
                                    _ => probe.success(),
                                }
                            }
                            Err(_) => drop(refused.fetch_add(1, Ordering::Relaxed)),
                        }
                        done.wait();
                    }
                });
            }
            for _ in 0..ROUNDS {
                breaker.reset();
                breaker.admit().unwrap().failure();
                time.advance(AFTER);
                ready.wait();
                done.wait();
                assert_eq!(out.load(Ordering::Acquire), 0);
            }
        });
        assert!(peak.load(Ordering::Acquire) <= probes as usize, "{peak:?} probes at once, {probes} allowed");
        assert!(refused.load(Ordering::Relaxed) > ROUNDS / 10, "no race: only {refused:?} refusals");
        let told = told.lock().unwrap();
        assert!(told.windows(2).all(|pair| pair[0].1 == pair[1].0), "told out of order");
        assert_eq!(told.last().map(|last| last.1), Some(breaker.state()));
    }
}

/// Callers deposit and withdraw at random; tokens are conserved to the last one.
#[test]
fn the_budget_is_exact_under_contention() {
    const CALLS: usize = 50_000;
    let budget = Budget::percent(50).burst(1_000_000);
    let (retries, dry) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|s| {
        for caller in 0..THREADS {
            let (budget, retries, dry) = (budget.clone(), &retries, &dry);
            s.spawn(move || {
                for call in 0..CALLS {
                    budget.deposit();
                    if black_box(call + caller) % 3 != 0 {
                        let count = if budget.try_withdraw() { retries } else { dry };
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let (retries, dry) = (retries.into_inner(), dry.into_inner());
    assert!(dry > 0, "no contention for tokens");
    assert_eq!(retries + budget.available() as usize, THREADS * CALLS / 2, "{retries} retries");
}

/// A call that is timed ends while the rules change from ones that say nothing of it to others. By the old ones it is slow,
/// by the new ones it is one more good call: it is one or the other, never lost between them.
#[test]
fn a_timed_call_is_not_lost_when_the_rules_change_as_it_ends() {
    const CALLS: u64 = 50_000;
    let ms = Duration::from_millis(1);
    let time = ManualClock::new();
    let old = || Trip::rate(1.0).last(1).or_slow_rate(1.0, ms).min_calls(1);
    let new = || Trip::rate(1.0).last(64).or_slow_rate(1.0, ms * 1000).min_calls(64);
    let recovery = || Recovery::after(AFTER);
    let breaker = Breaker::builder("rules").trip(old()).recovery(recovery()).clock(&time.clock()).build().unwrap();
    breaker.metrics_only();
    let together = Barrier::new(2);
    let (mut by_old, mut by_new) = (0, 0);
    thread::scope(|s| {
        s.spawn(|| {
            for call in 0..CALLS {
                let admitted = breaker.admit().unwrap();
                together.wait();
                together.wait();
                (0..call % 64).for_each(|n| _ = black_box(n));
                admitted.success();
                together.wait();
            }
        });
        for call in 0..CALLS {
            together.wait();
            breaker.reconfigure(old(), recovery()).unwrap();
            breaker.admit().unwrap().success(); // so that the window of one call is full and clean
            time.advance(ms * 10);
            together.wait();
            (0..call * 7 % 256).for_each(|n| _ = black_box(n));
            breaker.reconfigure(new(), recovery()).unwrap();
            together.wait();
            let counts = breaker.snapshot().counts;
            match (counts.calls, counts.slow) {
                (1, 1) => by_old += 1,
                (2, 0) => by_new += 1,
                (2, 1) => {} // judged by the old rules, counted by the new
                other => panic!("{other:?}"),
            }
        }
    });
    assert!(by_old > 0 && by_new > 0, "the race did not happen: {by_old} and {by_new}");
}
