//! The holder: handles, drops, panics, events, the builder's refusals. One thread, manual time.

use super::*;
use crate::clock::ManualClock;
use crate::error::BuildError;
use crate::event::{self, Event};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc as StdArc;
use std::sync::Mutex as StdMutex;
use std::time::Duration;

const AFTER: Duration = Duration::from_secs(1);
type Told = StdArc<StdMutex<Vec<(BreakerState, BreakerState)>>>;

fn watched(trip: Trip, probes: u32) -> (Breaker, ManualClock, Told) {
    let (time, told) = (ManualClock::new(), Told::default());
    let tell = told.clone();
    let breaker = Breaker::builder("watched")
        .trip(trip)
        .recovery(Recovery::after(AFTER).growth(1.0).probes(probes))
        .clock(&time.clock())
        .observer(event::from_fn(move |e| {
            if let Event::BreakerChanged { name, from, to, .. } = *e {
                assert_eq!(name, "watched");
                tell.lock().unwrap().push((from, to));
            }
        }))
        .build()
        .unwrap();
    (breaker, time, told)
}

#[test]
fn everything_public_is_send_sync_and_debug() {
    fn all<T: Send + Sync + fmt::Debug + 'static>() {}
    all::<Breaker>();
    all::<Admitted<'static>>();
    all::<BreakerBuilder>();
    all::<Trip>();
    all::<Recovery>();
}

#[test]
fn debug_shows_a_name_and_changes_nothing() {
    let (breaker, time, told) = watched(Trip::consecutive(1), 1);
    breaker.admit().unwrap().failure();
    time.advance(AFTER);
    assert_eq!(format!("{breaker:?}"), r#"Breaker { name: "watched", .. }"#);
    assert_eq!(told.lock().unwrap().len(), 1);
    assert_eq!(breaker.name(), "watched");
    assert_eq!(format!("{:?}", breaker.admit().unwrap()), r#"Admitted { breaker: "watched", probe: true, .. }"#);
}

#[test]
fn a_panic_that_began_before_the_admission_is_not_its_failure() {
    struct Cleanup(Breaker);
    impl Drop for Cleanup {
        fn drop(&mut self) {
            drop(self.0.admit()); // a call of its own, given up, while the thread unwinds from somebody else's panic
        }
    }
    let (breaker, _time, _) = watched(Trip::consecutive(1), 1);
    let cleanup = Cleanup(breaker.clone());
    assert!(
        catch_unwind(AssertUnwindSafe(move || {
            let _cleanup = cleanup;
            panic!("on purpose");
        }))
        .is_err()
    );
    assert_eq!(breaker.state(), BreakerState::Closed);
}

#[test]
fn an_observer_may_call_the_breaker_and_changes_stay_in_order() {
    use BreakerState::{Closed, Open};
    let told = Told::default();
    let slot: StdArc<StdMutex<Option<Breaker>>> = StdArc::default();
    let (tell, own) = (told.clone(), slot.clone());
    let breaker = Breaker::builder("reentrant")
        .trip(Trip::consecutive(1))
        .observer(event::from_fn(move |e| {
            let Event::BreakerChanged { from, to, .. } = *e else { return };
            if to == Open {
                let own = own.lock().unwrap().clone();
                own.unwrap().reset(); // told only after this returns
            }
            tell.lock().unwrap().push((from, to));
        }))
        .build()
        .unwrap();
    *slot.lock().unwrap() = Some(breaker.clone());
    breaker.admit().unwrap().failure();
    assert_eq!(*told.lock().unwrap(), [(Closed, Open), (Open, Closed)]);
    slot.lock().unwrap().take();
}

#[test]
fn an_observer_that_panics_does_not_silence_the_next_change() {
    let count = StdArc::new(StdMutex::new(0));
    let seen = count.clone();
    let breaker = Breaker::builder("hostile")
        .observer(event::from_fn(move |_| {
            *seen.lock().unwrap_or_else(|p| p.into_inner()) += 1;
            panic!("on purpose");
        }))
        .build()
        .unwrap();
    breaker.force_open();
    breaker.reset();
    assert_eq!(*count.lock().unwrap(), 2);
}

#[test]
fn forcing_open_is_ended_by_another_word_only() {
    use BreakerState::{Closed, ForcedOpen};
    let (breaker, time, told) = watched(Trip::consecutive(1), 1);
    let flying = breaker.admit().unwrap();
    breaker.force_open();
    breaker.force_open();
    flying.success();
    time.advance(AFTER * 1000);
    assert_eq!(breaker.state(), ForcedOpen);
    assert_eq!(breaker.admit().unwrap_err(), RejectReason::CircuitOpen { retry_after: AFTER });
    breaker.reset();
    assert_eq!(breaker.state(), Closed);
    breaker.admit().unwrap().success();
    assert_eq!(*told.lock().unwrap(), [(Closed, ForcedOpen), (ForcedOpen, Closed)]);
}

#[test]
fn forced_closed_and_metrics_only_never_open_and_only_one_of_them_counts() {
    let (breaker, _time, told) = watched(Trip::rate(0.1).min_calls(1), 1);
    breaker.force_closed();
    (0..50).for_each(|_| breaker.admit().unwrap().failure());
    assert_eq!(breaker.snapshot().counts, Counts::default());
    breaker.metrics_only();
    (0..50).for_each(|_| breaker.admit().unwrap().failure());
    let seen = breaker.snapshot();
    assert_eq!((seen.state, seen.counts.failures, seen.retry_after), (BreakerState::MetricsOnly, 50, None));
    breaker.reset();
    assert_eq!(breaker.snapshot().counts, Counts::default());
    assert_eq!(told.lock().unwrap().len(), 3);
}

#[test]
fn reset_forgets_what_was_counted_and_what_is_in_flight() {
    let (breaker, _time, told) = watched(Trip::consecutive(2), 1);
    breaker.admit().unwrap().failure();
    let flying = breaker.admit().unwrap();
    breaker.reset();
    flying.failure();
    breaker.admit().unwrap().failure();
    assert_eq!(breaker.state(), BreakerState::Closed);
    breaker.admit().unwrap().failure();
    assert_eq!(breaker.state(), BreakerState::Open);
    assert_eq!(told.lock().unwrap().len(), 1);
}

#[test]
fn retry_after_says_what_is_left() {
    let (breaker, time, _) = watched(Trip::consecutive(1), 2);
    let left = |b: &Breaker| b.admit().unwrap_err().retry_after().unwrap();
    breaker.admit().unwrap().failure();
    time.advance(AFTER / 4);
    assert_eq!(left(&breaker), AFTER * 3 / 4);
    time.advance(AFTER * 3 / 4);
    let first = breaker.admit().unwrap();
    time.advance(AFTER / 2);
    let second = breaker.admit().unwrap();
    time.advance(AFTER / 4);
    assert_eq!(left(&breaker), AFTER / 4, "the first lease to end");
    first.ignore();
    breaker.admit().unwrap().success(); // in the place that was given back
    assert_eq!(breaker.state(), BreakerState::HalfOpen);
    second.success();
    assert_eq!(breaker.state(), BreakerState::Closed);
}

#[test]
fn a_late_probe_keeps_its_say_until_somebody_needs_its_place() {
    let (breaker, time, _) = watched(Trip::consecutive(1), 1);
    breaker.admit().unwrap().failure();
    time.advance(AFTER);
    let late = breaker.admit().unwrap();
    time.advance(AFTER * 10);
    late.success();
    assert_eq!(breaker.state(), BreakerState::Closed);
}

#[test]
fn absurd_breakers_are_refused() {
    let name = |n: &str| Breaker::builder(n.to_owned()).build();
    for bad in ["", "a\0b", &"x".repeat(65)] {
        assert!(matches!(name(bad), Err(BuildError::Name { .. })));
    }
    let e = Breaker::builder("x").trip(Trip::rate(f64::NAN)).build().unwrap_err();
    assert_eq!(e.to_string(), "rate is NaN, must be above 0 and at most 1");
    let e = Breaker::builder("x").recovery(Recovery::after(Duration::ZERO)).build().unwrap_err();
    assert_eq!(e.to_string(), "after is 0ns, must be above 0 and at most one day");
}

#[test]
fn a_change_says_why_and_with_which_figures() {
    let (time, told) = (ManualClock::new(), StdArc::new(StdMutex::new(Vec::new())));
    let tell = told.clone();
    let breaker = Breaker::builder("told")
        .trip(Trip::rate(0.5).last(10).min_calls(4).or_slow_rate(0.9, AFTER))
        .recovery(Recovery::after(AFTER).jitter(0.0).probes(2))
        .clock(&time.clock())
        .observer(event::from_fn(move |e| {
            if let Event::BreakerChanged { cause, counts, retry_after, .. } = *e {
                tell.lock().unwrap().push((cause, counts.calls, counts.failures, counts.slow, retry_after));
            }
        }))
        .build()
        .unwrap();
    breaker.admit().unwrap().success();
    let slow = breaker.admit().unwrap();
    time.advance(AFTER + Duration::from_nanos(1));
    slow.success();
    breaker.admit().unwrap().failure();
    breaker.admit().unwrap().record_as(Class::Final);
    time.advance(AFTER);
    breaker.admit().unwrap().success();
    breaker.admit().unwrap().slow();
    breaker.force_open();
    breaker.reset();
    breaker.admit().unwrap().ignore();
    breaker.force_closed();
    let want = [
        (BreakerCause::FailureRate, 4, 2, 1, Some(AFTER)),
        (BreakerCause::IntervalOver, 0, 0, 0, None),
        (BreakerCause::ProbesSucceeded, 2, 0, 1, None),
        (BreakerCause::Forced, 0, 0, 0, None),
        (BreakerCause::Reset, 0, 0, 0, None),
        (BreakerCause::Forced, 0, 0, 0, None),
    ];
    assert_eq!(*told.lock().unwrap(), want);
}

#[test]
fn an_own_rule_is_asked_outside_the_lock_and_may_panic() {
    let slot: StdArc<StdMutex<Option<Breaker>>> = StdArc::default();
    let own = slot.clone();
    let rule = move |counts: &Counts| {
        let breaker = own.lock().unwrap().clone().unwrap();
        assert_eq!(breaker.state(), BreakerState::Closed); // it may call what it rules
        assert_ne!(counts.calls, 2, "on purpose: this is not a yes");
        counts.failures == 3
    };
    let breaker = Breaker::builder("own").trip(Trip::own(rule)).build().unwrap();
    *slot.lock().unwrap() = Some(breaker.clone());
    for _ in 0..3 {
        assert_eq!(breaker.state(), BreakerState::Closed);
        breaker.admit().unwrap().failure();
    }
    assert_eq!(breaker.state(), BreakerState::Open);
    slot.lock().unwrap().take();
}

#[test]
fn a_call_is_an_admission_and_a_result() {
    let (breaker, _time, _) = watched(Trip::rate(1.0).last(2), 1);
    assert_eq!(breaker.call(|| Ok::<_, ()>(7)).unwrap(), 7);
    assert!(matches!(breaker.call(|| Err::<(), _>("no")), Err(CallError::Failed("no"))));
    assert!(catch_unwind(AssertUnwindSafe(|| breaker.call(|| -> Result<(), ()> { panic!("on purpose") }))).is_err());
    let refused = breaker.call(|| -> Result<(), ()> { unreachable!("it is open") });
    assert!(matches!(refused, Err(CallError::Rejected(RejectReason::CircuitOpen { .. }))));
}

/// Of what a protected call inside says, our refusals and the caller's change of mind are no failures.
#[test]
fn refusals_and_cancellation_say_nothing_about_the_dependency() {
    use crate::error::{CancelCause, Interrupted, PanicPayload};
    let of = |e: CallError<()>| Class::of_call::<(), ()>(&Err(e));
    assert_eq!(Class::of_call::<(), ()>(&Ok(())), Class::Success);
    assert_eq!(of(CallError::Rejected(RejectReason::Full { limit: 1, waiting: 0 })), Class::Ignore);
    assert_eq!(of(CallError::Interrupted(Interrupted::Cancelled(CancelCause::Requested))), Class::Ignore);
    assert_eq!(of(CallError::Interrupted(Interrupted::DeadlinePassed)), Class::Failure);
    assert_eq!(of(CallError::Failed(())), Class::Failure);
    assert_eq!(of(CallError::Panicked(PanicPayload::new(Box::new("x")))), Class::Failure);
}

#[test]
fn a_probe_knows_its_time() {
    let time = ManualClock::new();
    let short = Duration::from_millis(100);
    let recovery = Recovery::after(AFTER).probe_timeout(short);
    let breaker =
        Breaker::builder("p").trip(Trip::consecutive(1)).recovery(recovery).clock(&time.clock()).build().unwrap();
    let usual = breaker.admit().unwrap();
    assert_eq!((usual.is_probe(), usual.timeout()), (false, None));
    usual.failure();
    time.advance(AFTER);
    let probe = breaker.admit_here().unwrap();
    assert_eq!((probe.is_probe(), probe.timeout()), (true, Some(short)));
}

#[test]
fn states_causes_and_rates_read_well() {
    use BreakerState::{ForcedClosed, ForcedOpen, HalfOpen, MetricsOnly, Open};
    let shown = [Open, HalfOpen, ForcedOpen, ForcedClosed, MetricsOnly].map(|s| (s.to_string(), s.is_open()));
    let want = [
        ("open", true),
        ("half-open", false),
        ("forced open", true),
        ("forced closed", false),
        ("metrics only", false),
    ];
    assert_eq!(shown, want.map(|(s, open)| (s.to_owned(), open)));
    assert_eq!(BreakerCause::ProbesSlow.to_string(), "probes were slow");
    assert_eq!(Counts::default().failure_rate(), 0.0);
    assert_eq!(Counts { calls: 100, failures: 7, slow: 50, ..Counts::default() }.failure_rate(), 0.07);
}

/// However many threads count at the same time, and on however many lines: each call is counted once.
#[test]
fn calls_of_many_threads_are_each_counted_once() {
    const CALLS: u64 = 10_000;
    let an_hour = Duration::from_secs(3_600);
    for trip in [Trip::rate(1.0).last(65_536), Trip::rate(1.0).within(an_hour).min_calls(2)] {
        let time = ManualClock::new();
        let breaker = Breaker::builder("busy").trip(trip).clock(&time.clock()).build().unwrap();
        (0..30).for_each(|_| breaker.admit().unwrap().success());
        let start = std::sync::Barrier::new(6);
        std::thread::scope(|s| {
            for _ in 0..6 {
                s.spawn(|| {
                    start.wait();
                    (1..=CALLS).for_each(|n| {
                        _ = breaker.call(|| if n % 50 == 0 { Err(()) } else { Ok(()) });
                    });
                });
            }
        });
        let counts = breaker.snapshot().counts;
        assert_eq!((counts.calls, counts.failures), (30 + 6 * CALLS, 6 * CALLS / 50));
    }
}
