//! Other people's breaker bugs, as our tests: each is named after what went wrong elsewhere, and says where.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, Mutex};
use std::time::Duration;
use watertight::breaker::BreakerState::{self, Closed, ForcedOpen, HalfOpen, Open};
use watertight::breaker::preset;
use watertight::event::{self, Event};
use watertight::{Admitted, Breaker, Bulkhead, Class, Context, Isolation};
use watertight::{ManualClock, Recovery, RejectReason, Trip};

const AFTER: Duration = Duration::from_secs(5);
type Told = Arc<Mutex<Vec<(BreakerState, BreakerState)>>>;

fn breaker(trip: Trip, probes: u32) -> (Breaker, ManualClock, Told) {
    let (time, told) = (ManualClock::new(), Told::default());
    let tell = told.clone();
    let breaker = Breaker::builder("conformance")
        .trip(trip)
        .recovery(Recovery::after(AFTER).growth(1.0).probes(probes))
        .clock(&time.clock())
        .observer(event::from_fn(move |e| {
            if let Event::BreakerChanged { from, to, .. } = *e {
                tell.lock().unwrap().push((from, to));
            }
        }))
        .build()
        .unwrap();
    (breaker, time, told)
}

fn due(probes: u32) -> (Breaker, ManualClock, Told) {
    let (breaker, time, told) = breaker(Trip::consecutive(1), probes);
    breaker.admit().unwrap().failure();
    time.advance(AFTER);
    (breaker, time, told)
}

/// Hystrix #1350; as read, also Polly v8, resilience4j and failsafe-go: a late result is applied to whatever state is
/// current.
#[test]
fn a_result_from_before_the_trip_does_not_close_or_reopen_a_half_open_breaker() {
    let (breaker, time, told) = breaker(Trip::consecutive(1), 2);
    let old: Vec<Admitted<'_>> = (0..4).map(|_| breaker.admit().unwrap()).collect();
    breaker.admit().unwrap().failure();
    time.advance(AFTER);
    let probe = breaker.admit().unwrap();
    for (i, late) in old.into_iter().enumerate() {
        if i % 2 == 0 {
            late.success()
        } else {
            late.failure()
        }
        assert_eq!(breaker.state(), HalfOpen);
    }
    probe.success();
    assert_eq!(breaker.state(), HalfOpen, "one of two probes");
    breaker.admit().unwrap().success();
    assert_eq!(*told.lock().unwrap(), [(Closed, Open), (Open, HalfOpen), (HalfOpen, Closed)]);
}

/// The same, the other way round: a probe that lost its place fails after the breaker has closed.
#[test]
fn a_result_of_a_probe_that_lost_its_place_is_not_counted_in_closed() {
    let (breaker, time, _) = due(1);
    let hung = breaker.admit().unwrap();
    time.advance(AFTER);
    breaker.admit().unwrap().success();
    assert_eq!(breaker.state(), Closed);
    hung.failure();
    assert_eq!(breaker.state(), Closed);
}

/// tower-resilience #382, failsafe-rs: half-open admits everybody at once.
#[test]
fn eight_racing_callers_in_half_open_are_one_probe_and_seven_refusals() {
    for probes in [1, 3] {
        for _ in 0..200 {
            let (breaker, _time, told) = due(probes);
            let start = Barrier::new(8);
            let admitted: Vec<Admitted<'_>> = std::thread::scope(|s| {
                let callers: Vec<_> = (0..8)
                    .map(|_| {
                        s.spawn(|| {
                            start.wait();
                            breaker.admit()
                        })
                    })
                    .collect();
                callers.into_iter().filter_map(|c| c.join().unwrap().ok()).collect()
            });
            assert_eq!(admitted.len(), probes as usize);
            admitted.into_iter().for_each(Admitted::success);
            assert_eq!(breaker.state(), Closed);
            assert_eq!(*told.lock().unwrap(), [(Closed, Open), (Open, HalfOpen), (HalfOpen, Closed)]);
        }
    }
}

/// jac #7909, AirMCP #249, rezilience #522; Polly v8 as read: a cancelled probe leaves half-open stuck, refusing for ever.
#[test]
fn a_dropped_probe_does_not_wedge_half_open_and_does_not_close_it() {
    let (breaker, _time, _) = due(1);
    for _ in 0..100 {
        drop(breaker.admit().unwrap());
        assert_eq!(breaker.state(), HalfOpen);
    }
    breaker.admit().unwrap().success();
    assert_eq!(breaker.state(), Closed);
}

/// The same with a probe that never comes back at all: its place is a lease.
#[test]
fn a_hung_probe_does_not_wedge_half_open() {
    let (breaker, time, _) = due(2);
    let hung = [breaker.admit().unwrap(), breaker.admit().unwrap()];
    assert_eq!(breaker.admit().unwrap_err(), RejectReason::CircuitOpen { retry_after: AFTER });
    time.advance(AFTER);
    breaker.admit().unwrap().success();
    breaker.admit().unwrap().success();
    assert_eq!(breaker.state(), Closed);
    hung.into_iter().for_each(Admitted::failure);
    assert_eq!(breaker.state(), Closed);
}

/// A window that never rotates averages an outage away: 50 failures after 10,000 successes are half of a per cent of
/// everything, and half of the last 100.
#[test]
fn fifty_failures_after_ten_thousand_successes_open_it() {
    let (breaker, _time, _) = breaker(Trip::rate(0.5).last(100).min_calls(20), 1);
    (0..10_000).for_each(|_| breaker.admit().unwrap().success());
    for n in 1..=50 {
        assert_eq!(breaker.state(), Closed, "before failure {n}");
        breaker.admit().unwrap().failure();
    }
    assert_eq!(breaker.state(), Open);
}

/// Yuzu #3018: a breaker with little traffic trips on a single error.
#[test]
fn one_error_in_a_quiet_hour_does_not_open_it() {
    let (breaker, _time, _) = breaker(Trip::rate(0.1).last(100).min_calls(20), 1);
    (0..19).for_each(|_| breaker.admit().unwrap().failure());
    assert_eq!(breaker.state(), Closed);
    breaker.admit().unwrap().success(); // the twentieth call: 19 of 20 failed
    assert_eq!(breaker.state(), Open);
}

/// A panic in the protected call is lost between "success" and "failure".
#[test]
fn a_panic_counts_as_a_failure() {
    let (breaker, time, _) = breaker(Trip::consecutive(1), 1);
    let panics = || {
        let admitted = breaker.admit().unwrap();
        if breaker.name() == "conformance" {
            panic!("on purpose");
        }
        admitted.success();
    };
    assert!(catch_unwind(AssertUnwindSafe(panics)).is_err());
    assert_eq!(breaker.state(), Open);
    time.advance(AFTER);
    assert!(catch_unwind(AssertUnwindSafe(panics)).is_err()); // and that of a probe opens it again
    assert_eq!(breaker.state(), Open);
}

/// Polly #481, smallrye-fault-tolerance #729: open to half-open is seen only on the next call.
#[test]
fn the_state_is_seen_without_traffic() {
    let (breaker, time, told) = breaker(Trip::consecutive(1), 1);
    breaker.admit().unwrap().failure();
    time.advance(AFTER - Duration::from_nanos(1));
    assert_eq!(breaker.state(), Open);
    time.advance(Duration::from_nanos(1));
    assert_eq!(breaker.state(), HalfOpen);
    assert_eq!(*told.lock().unwrap(), [(Closed, Open), (Open, HalfOpen)]);
}

/// brexhq/CrabTrap #13: a gauge goes stale on one of the paths. Here every path tells, once, in order, and the gauge that
/// an observer keeps is the state.
#[test]
fn every_change_is_told_exactly_once_whatever_path_it_takes() {
    let (breaker, time, told) = breaker(Trip::consecutive(1), 1);
    let trip = || breaker.admit().unwrap().failure();
    trip();
    time.advance(AFTER);
    trip(); // admitted as a probe: open to half-open to open
    time.advance(AFTER);
    breaker.admit().unwrap().success();
    breaker.force_open();
    breaker.force_open();
    breaker.reset();
    breaker.reset();
    trip();
    time.advance(AFTER);
    assert_eq!(breaker.state(), HalfOpen);
    breaker.force_open();
    breaker.reset();
    trip();
    breaker.reset();
    let want = [
        (Closed, Open),
        (Open, HalfOpen),
        (HalfOpen, Open),
        (Open, HalfOpen),
        (HalfOpen, Closed),
        (Closed, ForcedOpen),
        (ForcedOpen, Closed),
        (Closed, Open),
        (Open, HalfOpen),
        (HalfOpen, ForcedOpen),
        (ForcedOpen, Closed),
        (Closed, Open),
        (Open, Closed),
    ];
    assert_eq!(*told.lock().unwrap(), want);
}

/// And of many threads that fail at once, one trips it.
#[test]
fn racing_failures_trip_it_once() {
    for _ in 0..200 {
        let (breaker, _time, told) = breaker(Trip::rate(0.5).last(10).min_calls(5), 1);
        let (start, refused) = (Barrier::new(8), AtomicUsize::new(0));
        std::thread::scope(|s| {
            for _ in 0..8 {
                s.spawn(|| {
                    start.wait();
                    for _ in 0..4 {
                        match breaker.admit() {
                            Ok(admitted) => admitted.failure(),
                            Err(_) => drop(refused.fetch_add(1, Ordering::Relaxed)),
                        }
                    }
                });
            }
        });
        assert_eq!(*told.lock().unwrap(), [(Closed, Open)]);
        assert!(refused.into_inner() <= 32 - 5);
    }
}

/// Yuzu #3018, the other half: a flapping dependency gets full traffic each time it looks well for a moment.
#[test]
fn a_flapping_dependency_is_left_alone_longer_each_time() {
    let time = ManualClock::new();
    let recovery = Recovery::after(AFTER).growth(2.0).jitter(0.0).at_most(AFTER * 4);
    let breaker = Breaker::builder("flaps").trip(Trip::consecutive(1)).recovery(recovery).clock(&time.clock());
    let breaker = breaker.build().unwrap();
    for factor in [1, 2, 4, 4] {
        breaker.admit().unwrap().failure();
        let wait = breaker.admit().unwrap_err().retry_after().unwrap();
        assert_eq!(wait, AFTER * factor);
        time.advance(wait);
        breaker.admit().unwrap().success(); // well for a moment
        assert_eq!(breaker.state(), Closed);
    }
    time.advance(AFTER * 100); // well for long
    breaker.admit().unwrap().failure();
    assert_eq!(breaker.admit().unwrap_err().retry_after(), Some(AFTER));
}

/// Hystrix #1739, #1459, resilience4j #343, Polly #311: one probe is too few, or each must succeed.
#[test]
fn several_probes_of_which_so_many_must_succeed() {
    let (breaker, time, _) = due(1);
    breaker.reconfigure(Trip::consecutive(1), Recovery::after(AFTER).growth(1.0).probes(3).successes(2)).unwrap();
    for (results, state) in [([true, false, true], Closed), ([false, true, false], Open)] {
        breaker.reset();
        breaker.admit().unwrap().failure();
        time.advance(AFTER);
        let probes = results.map(|_| breaker.admit().unwrap());
        assert!(breaker.admit().is_err(), "three, and no more");
        for (probe, well) in probes.into_iter().zip(results) {
            assert_eq!(breaker.state(), HalfOpen);
            if well { probe.success() } else { probe.failure() }
        }
        assert_eq!(breaker.state(), state);
    }
}

/// Polly #216, resilience4j #1432: a dependency that has just come up is given all of its traffic at once.
#[test]
fn a_ramp_admits_twice_as_many_in_each_round() {
    let (breaker, time, told) = due(1);
    breaker.reconfigure(Trip::consecutive(1), Recovery::after(AFTER).growth(1.0).probes(2).ramp(2)).unwrap();
    breaker.reset();
    breaker.admit().unwrap().failure();
    time.advance(AFTER);
    told.lock().unwrap().clear();
    for round in [2, 4, 8] {
        assert_eq!(breaker.state(), HalfOpen);
        let probes: Vec<_> = (0..round).map(|_| breaker.admit().unwrap()).collect();
        assert!(breaker.admit().is_err());
        probes.into_iter().for_each(Admitted::success);
    }
    assert_eq!(breaker.state(), Closed);
    assert_eq!(*told.lock().unwrap(), [(Open, HalfOpen), (HalfOpen, Closed)], "rounds are no changes of state");
}

/// Semian's lumping interval: a connection that breaks under twenty calls is one mishap.
#[test]
fn errors_of_one_moment_are_one_error() {
    let (breaker, time, _) = breaker(Trip::consecutive(3).lump(Duration::from_secs(1)), 1);
    for _ in 0..2 {
        (0..20).for_each(|_| breaker.admit().unwrap().failure());
        assert_eq!(breaker.state(), Closed);
        time.advance(Duration::from_secs(1));
    }
    breaker.admit().unwrap().failure();
    assert_eq!(breaker.state(), Open);
}

/// Hystrix measures with the wall clock, which may jump. Here time is monotonic, and a jump ahead is only time that has
/// passed.
#[test]
fn a_jump_in_time_forgets_the_window_and_ends_the_interval() {
    let (breaker, time, _) = breaker(Trip::rate(0.5).within(AFTER).min_calls(2), 1);
    breaker.admit().unwrap().failure();
    time.advance(Duration::from_secs(400 * 86_400));
    breaker.admit().unwrap().failure();
    assert_eq!((breaker.state(), breaker.snapshot().counts.calls), (Closed, 1));
    breaker.admit().unwrap().failure();
    assert_eq!(breaker.state(), Open);
    time.advance(Duration::from_secs(400 * 86_400));
    assert_eq!(breaker.state(), HalfOpen);
}

/// Six failures, two windows of silence, six failures: never ten within one.
#[test]
fn failures_of_two_windows_are_not_added_up() {
    let (breaker, time, _) = breaker(Trip::rate(0.5).within(Duration::from_millis(200)).min_calls(10), 1);
    for _ in 0..2 {
        (0..6).for_each(|_| breaker.admit().unwrap().failure());
        assert_eq!(breaker.state(), Closed);
        time.advance(Duration::from_millis(400));
    }
    // And a fresh one need not wait for a whole window to pass.
    (0..10).for_each(|_| breaker.admit().unwrap().failure());
    assert_eq!(breaker.state(), Open);
}

/// sony/gobreaker #122: results that do not count vanish without a trace.
#[test]
fn results_that_come_too_late_are_counted_as_such() {
    let (breaker, _time, _) = breaker(Trip::consecutive(1), 1);
    let old = breaker.admit().unwrap();
    breaker.admit().unwrap().failure();
    old.success();
    assert_eq!(breaker.snapshot().late, 1);
}

/// resilience4j #544, #903, Polly #1979: a probe that ends with something that is neither wedges half-open.
#[test]
fn a_probe_with_an_ignored_result_gives_its_place_back() {
    let (breaker, _time, _) = due(1);
    for _ in 0..10 {
        breaker.admit().unwrap().record_as(Class::Ignore);
        assert_eq!(breaker.state(), HalfOpen);
    }
    breaker.admit().unwrap().record_as(Class::Success);
    assert_eq!(breaker.state(), Closed);
}

/// Semian's half_open_resource_timeout: a probe waits as long for a dead dependency as a call for a live one.
#[test]
fn a_probe_has_less_time_than_a_call() {
    let (time, second) = (ManualClock::new(), Duration::from_secs(1));
    let bulkhead = Bulkhead::builder("probed", Isolation::Permits(1))
        .timeout(second * 2)
        .breaker(Trip::consecutive(1), Recovery::after(AFTER).probe_timeout(second / 4))
        .clock(&time.clock())
        .build()
        .unwrap();
    let cx = Context::background().with_clock(&time.clock());
    let time_given = |result: Result<(), ()>| {
        let mut given = None;
        _ = bulkhead.call_here(&cx, |cx| {
            given = cx.remaining();
            result
        });
        given
    };
    assert_eq!(time_given(Err(())), Some(second * 2));
    assert_eq!(time_given(Ok(())), None, "refused");
    time.advance(AFTER);
    assert_eq!(time_given(Ok(())), Some(second / 4));
    assert_eq!(time_given(Ok(())), Some(second * 2));
}

/// circuit_breaker 0.1 as measured, Semian #24: failures that lie far apart are never forgotten while it is closed, and one
/// day there are enough of them.
#[test]
fn sparse_failures_among_successes_never_add_up() {
    for trip in [Trip::consecutive(50), Trip::rate(0.5).last(100).min_calls(20)] {
        let (breaker, _time, told) = breaker(trip, 1);
        (0..100).for_each(|_| breaker.admit().unwrap().success());
        for _ in 0..20 {
            (0..49).for_each(|_| breaker.admit().unwrap().failure());
            (0..1_000).for_each(|_| breaker.admit().unwrap().success());
        }
        assert!(told.lock().unwrap().is_empty());
    }
}

/// mcp-proxy #220 (tower-resilience): whatever the minimum says, nothing opens before the window is full.
#[test]
fn it_opens_at_the_minimum_of_calls_and_not_when_the_window_is_full() {
    for trip in [Trip::rate(0.5).last(100), Trip::rate(0.5).within(Duration::from_secs(60))] {
        let (breaker, _time, _) = breaker(trip.min_calls(5), 1);
        for n in 1..=5 {
            assert_eq!(breaker.state(), Closed, "before failure {n}");
            breaker.admit().unwrap().failure();
        }
        assert_eq!(breaker.state(), Open);
    }
}

/// failsafe-go, as read: a result whose call began in an earlier state gives back a place that it never had, and so one
/// probe more gets through.
#[test]
fn a_late_result_gives_back_no_place_of_a_probe() {
    let (breaker, time, _) = breaker(Trip::consecutive(1), 2);
    let old: Vec<Admitted<'_>> = (0..6).map(|_| breaker.admit().unwrap()).collect();
    breaker.admit().unwrap().failure();
    time.advance(AFTER);
    let probes = [breaker.admit().unwrap(), breaker.admit().unwrap()];
    for (n, late) in old.into_iter().enumerate() {
        match n % 3 {
            0 => late.success(),
            1 => late.ignore(),
            _ => drop(late),
        }
        assert!(breaker.admit().is_err(), "a third probe");
    }
    probes.into_iter().for_each(Admitted::success);
    assert_eq!(breaker.state(), Closed);
}

/// circuit_breaker 0.1 tells its observers under the lock of its state: a slow one stops everybody, and one that looks at the
/// breaker stops for ever. Semian's subscribers crash what they observe.
#[test]
fn an_observer_that_hangs_panics_or_asks_back_stops_nobody_else() {
    let (hold, held) = std::sync::mpsc::channel::<()>();
    let (begun, has_begun) = std::sync::mpsc::channel();
    let held = Mutex::new(held);
    let asks: Arc<Mutex<Option<Breaker>>> = Arc::default();
    let asked = asks.clone();
    let observer = event::from_fn(move |e| {
        if let Event::BreakerChanged { to: Open, .. } = e {
            let breaker = asked.lock().unwrap().take().unwrap();
            assert!(breaker.admit().is_err() && breaker.snapshot().state == Open);
            begun.send(()).unwrap();
            let _ = held.lock().unwrap().recv();
            panic!("on purpose");
        }
    });
    let builder = Breaker::builder("watched").trip(Trip::consecutive(1)).observer(observer);
    let breaker = builder.recovery(Recovery::after(AFTER)).clock(&ManualClock::new().clock()).build().unwrap();
    *asks.lock().unwrap() = Some(breaker.clone());
    let failed = breaker.admit().unwrap();
    std::thread::scope(|s| {
        let hangs = s.spawn(|| failed.failure());
        has_begun.recv().unwrap();
        assert!(breaker.admit().is_err());
        breaker.reset(); // told later, by whoever tells now
        breaker.admit().unwrap().success();
        assert_eq!(breaker.state(), Closed);
        drop(hold);
        hangs.join().unwrap();
    });
    assert_eq!(breaker.state(), Closed);
}

#[derive(Clone, Copy)]
enum Step {
    Good(u32),
    Bad(u32),
    /// Takes so many seconds.
    Takes(u32, u64),
    Pass(u64),
    Is(BreakerState),
}

/// What is documented of each of the well-known, as a table of what happens.
#[test]
fn the_presets_do_what_their_originals_document() {
    use Step::{Bad, Good, Is, Pass, Takes};
    let hystrix: [&[Step]; 4] = [
        &[Bad(19), Is(Closed), Bad(1), Is(Open), Pass(4), Is(Open), Pass(1), Is(HalfOpen), Good(1), Is(Closed)],
        &[
            Good(11),
            Bad(9),
            Is(Closed),
            Bad(2),
            Is(Open),
            Pass(5),
            Bad(1),
            Is(Open),
            Pass(4),
            Is(Open),
            Pass(1),
            Is(HalfOpen),
        ],
        &[Bad(10), Pass(10), Bad(10), Is(Closed), Pass(9), Bad(10), Is(Open)],
        &[Takes(100, 1), Is(Closed)],
    ];
    let resilience4j: [&[Step]; 5] = [
        &[Bad(99), Is(Closed), Bad(1), Is(Open), Pass(59), Is(Open), Pass(1), Is(HalfOpen)],
        &[Good(51), Bad(49), Is(Closed), Good(51), Bad(49), Is(Closed), Bad(1), Is(Open)],
        &[Bad(100), Pass(60), Good(5), Bad(4), Is(HalfOpen), Good(1), Is(Closed)],
        &[Bad(100), Pass(60), Good(5), Bad(4), Is(HalfOpen), Bad(1), Is(Open), Pass(60), Is(HalfOpen)],
        &[
            Takes(99, 61),
            Is(Closed),
            Takes(1, 61),
            Is(Open),
            Pass(60),
            Takes(9, 61),
            Is(HalfOpen),
            Takes(1, 61),
            Is(Open),
        ],
    ];
    let polly: [&[Step]; 3] = [
        &[Good(89), Bad(10), Is(Closed), Bad(1), Is(Open), Pass(5), Is(HalfOpen), Good(1), Is(Closed)],
        &[Good(91), Bad(9), Is(Closed), Pass(31), Bad(99), Is(Closed), Bad(1), Is(Open)],
        &[Bad(100), Pass(5), Bad(1), Is(Open), Pass(5), Is(HalfOpen)],
    ];
    let tables =
        [(preset::hystrix(), &hystrix[..]), (preset::resilience4j(), &resilience4j[..]), (preset::polly(), &polly[..])];
    for ((trip, recovery), tables) in tables {
        for steps in tables {
            let time = ManualClock::new();
            let builder = Breaker::builder("preset").trip(trip.clone()).recovery(recovery.clone());
            let breaker = builder.clock(&time.clock()).build().unwrap();
            for (at, step) in steps.iter().enumerate() {
                match *step {
                    Good(n) => (0..n).for_each(|_| breaker.admit().unwrap().success()),
                    Bad(n) => (0..n).for_each(|_| breaker.admit().unwrap().failure()),
                    Takes(n, seconds) => {
                        let calls: Vec<_> = (0..n).map(|_| breaker.admit().unwrap()).collect();
                        time.advance(Duration::from_secs(seconds));
                        calls.into_iter().for_each(Admitted::success);
                    }
                    Pass(seconds) => time.advance(Duration::from_secs(seconds)),
                    Is(state) => assert_eq!(breaker.state(), state, "step {at} of {trip:?}"),
                }
            }
        }
    }
}
