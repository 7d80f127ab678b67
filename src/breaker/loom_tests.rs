//! What is proved of the breaker under concurrency, each model with the breakages that must make it fail.

use super::*;
use crate::clock::ManualClock;
use crate::event::{self, Event};
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::sync::model::{model, twin};
use crate::sync::thread;
use std::sync::{Arc as Real, Mutex as RealMutex};
use std::time::Duration;

pub(super) const AFTER: Duration = Duration::from_secs(1);

pub(super) fn spawn<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> impl FnOnce() -> T {
    let handle = thread::Builder::new().spawn(f).expect("a thread for a model");
    move || handle.join().expect("the thread ended well")
}

/// What the observer was told. A plain lock: nothing that loom schedules happens while it is held.
#[derive(Clone, Default)]
pub(super) struct Told(Real<RealMutex<Vec<(BreakerState, BreakerState)>>>);

impl Told {
    pub(super) fn all(&self) -> Vec<(BreakerState, BreakerState)> {
        self.0.lock().expect("not poisoned").clone()
    }

    fn count(&self, from: BreakerState, to: BreakerState) -> usize {
        self.all().into_iter().filter(|told| *told == (from, to)).count()
    }

    /// Every change begins where the one before ended, and the last ended where the breaker is.
    pub(super) fn is_a_chain_to(&self, state: BreakerState) {
        let mut at = BreakerState::Closed;
        for (from, to) in self.all() {
            assert_eq!(from, at, "told out of order: {:?}", self.all());
            assert_ne!(from, to);
            at = to;
        }
        assert_eq!(at, state);
    }
}

pub(super) fn breaker(failures: u32, probes: u32) -> (Breaker, ManualClock, Told) {
    breaker_of(Trip::consecutive(failures), probes)
}

pub(super) fn breaker_of(trip: Trip, probes: u32) -> (Breaker, ManualClock, Told) {
    let (time, told) = (ManualClock::new(), Told::default());
    let (tell, slow) = (told.clone(), AtomicUsize::new(0));
    let breaker = Breaker::builder("model")
        .trip(trip)
        .recovery(Recovery::after(AFTER).growth(1.0).probes(probes))
        .clock(&time.clock())
        .observer(event::from_fn(move |e| {
            slow.fetch_add(1, Ordering::AcqRel); // here the scheduler may let others go first
            if let Event::BreakerChanged { from, to, .. } = *e {
                tell.0.lock().expect("not poisoned").push((from, to));
            }
        }))
        .build()
        .expect("a sound breaker");
    (breaker, time, told)
}

/// Open, with the interval over and nobody having looked.
fn due(probes: u32) -> (Breaker, ManualClock, Told) {
    let (breaker, time, told) = breaker(1, probes);
    breaker.admit().expect("closed").failure();
    time.advance(AFTER);
    (breaker, time, told)
}

fn three_racing_failures() {
    let (breaker, _time, told) = breaker(3, 1);
    let [a, b, c] = [(); 3].map(|()| breaker.admit().expect("closed"));
    let (a, b) = (spawn(move || a.failure()), spawn(move || b.failure()));
    c.failure();
    a();
    b();
    assert_eq!(told.all(), [(BreakerState::Closed, BreakerState::Open)]);
    assert!(breaker.admit().is_err());
}

#[test]
fn loom_three_racing_failures_trip_once_and_tell_once() {
    model("breaker: three racing failures trip it once and tell once", three_racing_failures);
    twin("breaker-torn-decision", three_racing_failures);
    twin("breaker-front-passes-on", three_racing_failures);
}

fn callers_in_half_open(probes: u32) {
    let (breaker, _time, told) = due(probes);
    let (a, b) = (breaker.clone(), breaker.clone());
    let (a, b) = (spawn(move || a.admit().ok()), spawn(move || b.admit().ok()));
    let mine = breaker.admit().ok();
    let admitted = [a(), b(), mine].into_iter().flatten().map(Admitted::ignore).count();
    assert_eq!(admitted, probes as usize, "exactly the probes pass");
    assert_eq!(told.count(BreakerState::Open, BreakerState::HalfOpen), 1, "{:?}", told.all());
    told.is_a_chain_to(BreakerState::HalfOpen);
}

#[test]
fn loom_of_three_callers_in_half_open_exactly_k_pass() {
    for probes in [1, 2] {
        model(&format!("breaker: of three callers in half-open exactly {probes} pass"), move || {
            callers_in_half_open(probes);
        });
        twin("breaker-torn-decision", move || callers_in_half_open(probes));
    }
}

/// Probes that are ignored give their place back: never two at once, and none is lost.
fn a_place_given_back() {
    let (breaker, _time, _) = due(1);
    let out = Arc::new(AtomicUsize::new(0));
    let alone = |breaker: Breaker, out: Arc<AtomicUsize>| {
        let Ok(admitted) = breaker.admit() else { return true };
        let others = out.fetch_add(1, Ordering::AcqRel);
        out.fetch_sub(1, Ordering::AcqRel);
        drop(admitted);
        others == 0
    };
    let (breaker_a, breaker_b, out_a, out_b) = (breaker.clone(), breaker.clone(), out.clone(), out.clone());
    let (a, b) = (spawn(move || alone(breaker_a, out_a)), spawn(move || alone(breaker_b, out_b)));
    let mine = alone(breaker.clone(), out);
    assert!(a() & b() & mine, "two probes were out at once");
    assert!(breaker.admit().map(Admitted::ignore).is_ok(), "a place was lost");
}

#[test]
fn loom_a_dropped_probe_gives_its_place_to_one_other() {
    model("breaker: a dropped probe gives its place to one other", a_place_given_back);
    twin("breaker-torn-decision", a_place_given_back);
}

/// Results from before the trip arrive while a probe is out: neither closes the breaker nor opens it again.
fn stale_results_in_half_open() {
    let (breaker, time, told) = breaker(1, 1);
    let [success, failure] = [(); 2].map(|()| breaker.admit().expect("closed"));
    breaker.admit().expect("closed").failure();
    time.advance(AFTER);
    let (a, b) = (spawn(move || success.success()), spawn(move || failure.failure()));
    let probe = breaker.admit();
    a();
    b();
    let before = breaker.state();
    let probed = probe.map(Admitted::success).is_ok();
    assert!(probed);
    assert_eq!(before, BreakerState::HalfOpen, "a stale result decided");
    assert_eq!(told.count(BreakerState::HalfOpen, BreakerState::Closed), 1);
    told.is_a_chain_to(BreakerState::Closed);
}

/// A probe whose place was given away fails late, while its successor closes the breaker: no re-opening, nothing counted.
fn a_stale_failure_in_closed() {
    let (breaker, time, told) = due(1);
    let given_up = breaker.admit().expect("the probe");
    time.advance(AFTER);
    let successor = breaker.admit().expect("the lease is over");
    let late = spawn(move || given_up.failure());
    successor.success();
    late();
    told.is_a_chain_to(BreakerState::Closed);
}

#[test]
fn loom_a_stale_result_changes_nothing() {
    model("breaker: a stale success and a stale failure change nothing in half-open", stale_results_in_half_open);
    twin("breaker-no-epoch", stale_results_in_half_open);
    model("breaker: a stale failure changes nothing in closed", a_stale_failure_in_closed);
    twin("breaker-no-epoch", a_stale_failure_in_closed);
}

/// At the end of a lease the late probe either has its say or has lost its place, not both.
fn the_end_of_a_lease() {
    let (breaker, time, told) = due(1);
    let late = breaker.admit().expect("the probe");
    time.advance(AFTER);
    let late = spawn(move || late.success());
    let next = breaker.admit();
    let lost_its_place = breaker.state() == BreakerState::HalfOpen;
    late();
    let closed_by_the_late_one = breaker.state() == BreakerState::Closed;
    let passed = next.map(Admitted::failure).is_ok();
    assert!(passed, "the lease was over");
    assert_ne!(lost_its_place, closed_by_the_late_one);
    // The next caller was either a plain call of the closed breaker or its only probe: its failure opens it either way.
    let closings = told.count(BreakerState::HalfOpen, BreakerState::Closed);
    assert_eq!(closings, usize::from(closed_by_the_late_one));
    told.is_a_chain_to(BreakerState::Open);
}

#[test]
fn loom_a_late_probe_has_its_say_or_loses_its_place() {
    model("breaker: a late probe has its say or loses its place", the_end_of_a_lease);
    twin("breaker-torn-decision", the_end_of_a_lease);
    twin("breaker-no-epoch", the_end_of_a_lease);
}

/// Forced open while a probe succeeds and an old call fails: it stays open until the reset.
fn forcing_open() {
    let (breaker, time, told) = breaker(1, 1);
    let old = breaker.admit().expect("closed");
    breaker.admit().expect("closed").failure();
    time.advance(AFTER);
    let probe = breaker.admit().expect("the probe");
    let (a, b) = (spawn(move || probe.success()), spawn(move || old.failure()));
    breaker.force_open();
    a();
    b();
    time.advance(AFTER * 10);
    assert!(breaker.admit().is_err(), "forced open, and yet it admits");
    told.is_a_chain_to(BreakerState::ForcedOpen);
}

#[test]
fn loom_forced_open_stays_open_whatever_a_probe_says() {
    model("breaker: forced open stays open whatever a racing probe says", forcing_open);
    twin("breaker-torn-decision", forcing_open);
}

fn racing_changes() {
    let (breaker, _time, told) = breaker(1, 1);
    let (a, b) = (breaker.clone(), breaker.clone());
    let (a, b) = (spawn(move || a.force_open()), spawn(move || b.force_open()));
    breaker.reset();
    a();
    b();
    told.is_a_chain_to(breaker.state());
}

#[test]
fn loom_changes_are_told_once_and_in_order() {
    model("breaker: changes are told once and in order", racing_changes);
    twin("breaker-everybody-tells", racing_changes);
}

/// Half of at least two calls within a time: a failure and a success open it, in whichever order they come.
fn a_success_that_completes_the_minimum() {
    let (breaker, _time, told) = breaker_of(Trip::rate(0.5).within(AFTER * 100).min_calls(2), 1);
    let [success, failure] = [(); 2].map(|()| breaker.admit().expect("closed"));
    let failure = spawn(move || failure.failure());
    success.success();
    failure();
    assert_eq!(breaker.state(), BreakerState::Open, "a success hid the trip");
    told.is_a_chain_to(BreakerState::Open);
}

/// Two failures in a row never come about where a success lies between any two of them.
fn a_success_between_failures() {
    let (breaker, _time, told) = breaker(2, 1);
    let other = breaker.clone();
    let other = spawn(move || other.admit().expect("closed").success());
    breaker.admit().expect("closed").failure();
    breaker.admit().expect("closed").success();
    breaker.admit().expect("closed").failure();
    other();
    assert!(told.all().is_empty(), "a success was lost: {:?}", told.all());
}

#[test]
fn loom_a_success_on_the_front_never_hides_a_trip_and_is_never_lost() {
    model("breaker: a success on the front never hides a trip", a_success_that_completes_the_minimum);
    twin("breaker-front-counts-on", a_success_that_completes_the_minimum);
    model("breaker: a success on the front is not lost to the failures around it", a_success_between_failures);
    twin("breaker-front-stays-clean", a_success_between_failures);
}

/// Two successes on the front while a failure takes what is counted there.
fn counting_against_a_fold() {
    let (breaker, _time, _) = breaker_of(Trip::rate(1.0).within(AFTER * 100).min_calls(9), 1);
    let [a, b, c] = [(); 3].map(|()| breaker.admit().expect("closed"));
    let (a, b) = (spawn(move || a.success()), spawn(move || b.success()));
    c.failure();
    a();
    b();
    let counts = breaker.snapshot().counts;
    assert_eq!((counts.calls, counts.failures), (3, 1));
}

/// The same while the window's steps move on: what was counted on the front goes with its own step, once.
fn counting_against_a_rotation() {
    let (breaker, time, _) = breaker_of(Trip::rate(1.0).within(AFTER * 10).min_calls(9), 1);
    breaker.admit().expect("closed").success(); // on the front
    let [a, b] = [(); 2].map(|()| breaker.admit().expect("closed"));
    time.advance(AFTER * 10);
    let (a, b) = (spawn(move || a.success()), spawn(move || b.success()));
    a();
    b();
    assert_eq!(breaker.snapshot().counts.calls, 2, "the first is too old, the others are not");
    time.advance(AFTER * 9);
    assert_eq!(breaker.snapshot().counts.calls, 2);
    time.advance(AFTER);
    assert_eq!(breaker.snapshot().counts.calls, 0);
}

#[test]
fn loom_a_window_that_moves_on_neither_loses_nor_doubles() {
    model("breaker: what is counted on the front is folded in once", counting_against_a_fold);
    twin("breaker-front-torn-fold", counting_against_a_fold);
    model("breaker: a window that moves on neither loses nor doubles", counting_against_a_rotation);
    twin("breaker-late-fold", counting_against_a_rotation);
}

/// A success of before a reset is not counted after it, on the front or behind it.
fn a_stale_success_on_the_front() {
    let (breaker, _time, _) = breaker_of(Trip::rate(1.0).within(AFTER * 100), 1);
    let stale = breaker.admit().expect("closed");
    let stale = spawn(move || stale.success());
    breaker.reset();
    stale();
    assert_eq!(breaker.snapshot().counts.calls, 0);
}

#[test]
fn loom_a_stale_success_is_not_counted_on_the_front() {
    model("breaker: a stale success is not counted on the front", a_stale_success_on_the_front);
    twin("breaker-front-any-epoch", a_stale_success_on_the_front);
}

/// Whoever is refused while the breaker closes was refused by what it was before: by its interval, never by the instant of
/// what it has become. And nobody is refused after that.
fn a_refusal_while_it_closes() {
    let (breaker, _time, told) = breaker_of(Trip::rate(1.0).within(AFTER * 100).min_calls(1), 1);
    breaker.admit().expect("closed").failure();
    let asks = breaker.clone();
    let asks = spawn(move || asks.admit().map(Admitted::ignore).err());
    breaker.reset();
    if let Some(refused) = asks() {
        let wait = refused.retry_after().expect("the circuit was open");
        assert!(!wait.is_zero() && wait <= AFTER, "{wait:?} is the instant of another state");
    }
    assert!(breaker.admit().map(Admitted::ignore).is_ok(), "refused by a closed breaker");
    assert_eq!(told.count(BreakerState::Closed, BreakerState::Open), 1);
    told.is_a_chain_to(BreakerState::Closed);
}

/// The same by a probe that succeeds: whoever comes meanwhile is refused for no longer than its lease, or passes.
fn a_refusal_while_a_probe_closes_it() {
    let (breaker, _time, told) = due(1);
    let probe = breaker.admit().expect("the probe");
    let closes = spawn(move || probe.success());
    let other = breaker.clone();
    let other = spawn(move || other.admit().map(Admitted::success).err());
    let mine = breaker.admit().map(Admitted::success).err();
    closes();
    for refused in [other(), mine].into_iter().flatten() {
        let wait = refused.retry_after().expect("the only probe is out");
        assert!(!wait.is_zero() && wait <= AFTER, "{wait:?}");
    }
    assert!(breaker.admit().map(Admitted::ignore).is_ok(), "refused by a closed breaker");
    told.is_a_chain_to(BreakerState::Closed);
}

#[test]
fn loom_a_refusal_while_it_closes_is_that_of_the_state_it_leaves() {
    model("breaker: a refusal while it closes is that of the state it leaves", a_refusal_while_it_closes);
    twin("breaker-front-torn-refusal", a_refusal_while_it_closes);
    model("breaker: a refusal while a probe closes it is that of the lease", a_refusal_while_a_probe_closes_it);
    twin("breaker-torn-decision", a_refusal_while_a_probe_closes_it);
}
