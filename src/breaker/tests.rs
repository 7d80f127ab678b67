//! The holder: handles, drops, panics, events, the builder's refusals. One thread, manual time.

use super::*;
use crate::clock::ManualClock;
use crate::error::BuildError;
use crate::event;
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
        .recovery(Recovery::after(AFTER).probes(probes))
        .clock(&time.clock())
        .observer(event::from_fn(move |e| {
            if let Event::BreakerChanged { name, from, to } = *e {
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
    all::<Admitted>();
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
    assert_eq!(format!("{:?}", breaker.admit().unwrap()), r#"Admitted { breaker: "watched", .. }"#);
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
    breaker.hold_open();
    breaker.reset();
    assert_eq!(*count.lock().unwrap(), 2);
}

#[test]
fn holding_open_is_ended_by_reset_only() {
    use BreakerState::{Closed, Open};
    let (breaker, time, told) = watched(Trip::consecutive(1), 1);
    let flying = breaker.admit().unwrap();
    breaker.hold_open();
    breaker.hold_open();
    flying.success();
    time.advance(AFTER * 1000);
    assert_eq!(breaker.state(), Open);
    assert_eq!(breaker.admit().unwrap_err(), RejectReason::CircuitOpen { retry_after: AFTER });
    breaker.reset();
    assert_eq!(breaker.state(), Closed);
    breaker.admit().unwrap().success();
    assert_eq!(*told.lock().unwrap(), [(Closed, Open), (Open, Closed)]);
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
    assert_eq!(left(&breaker), AFTER * 3 / 4, "the lease runs from the admission that took the last place");
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
