//! Models of arming, disarming and ringing: of the manual clock, and of the loop that the system clock's thread runs.

use super::alarms::Alarms;
use super::system_now;
use crate::ManualClock;
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::sync::model::{model, spawn, twin};
use crate::sync::{Arc, Parker, Waiter};
use std::task::{Wake, Waker};
use std::time::{Duration, Instant};

const SECOND: Duration = Duration::from_secs(1);

/// Counts how often it is woken.
#[derive(Clone)]
struct Rings(Arc<AtomicUsize>);

impl Wake for Rings {
    fn wake(self: std::sync::Arc<Self>) {
        self.0.fetch_add(1, Ordering::AcqRel);
    }
}

impl Rings {
    fn new() -> Self {
        Self(Arc::new(AtomicUsize::new(0)))
    }

    fn waiter(&self) -> Waiter {
        Waiter::task(&Waker::from(std::sync::Arc::new(self.clone())))
    }

    fn count(&self) -> usize {
        self.0.load(Ordering::Acquire)
    }
}

/// Two threads move the time past an alarm that a third disarms.
fn disarmed_while_two_advance() {
    let (time, rings) = (ManualClock::new(), Rings::new());
    let alarm = time.clock().wake_at(time.now() + SECOND, rings.waiter()).expect("it is not due");
    let advances = [0, 1].map(|_| {
        let time = time.clone();
        spawn(move || time.advance(SECOND))
    });
    let in_time = alarm.disarm();
    let before = rings.count();
    advances.into_iter().for_each(|advance| advance.join().unwrap());
    assert_eq!(rings.count(), usize::from(!in_time), "it rings once, or was disarmed in time");
    assert!(!in_time || before == 0);
    assert_eq!(time.waiting(), 0);
}

#[test]
fn loom_an_alarm_rings_at_most_once_and_never_after_it_was_disarmed_in_time() {
    let name = "an alarm rings at most once and never after it was disarmed in time";
    model(name, disarmed_while_two_advance);
    twin("clock: an alarm is taken out after it has rung", disarmed_while_two_advance);
    twin("clock: a disarmed alarm stays in the map", disarmed_while_two_advance);
}

/// Armed while time moves past it: rung by the one who moves it, or at once by the one who arms.
fn armed_while_time_moves() {
    let (time, rings) = (ManualClock::new(), Rings::new());
    let at = time.now() + SECOND;
    let other = time.clone();
    let advance = spawn(move || other.advance(SECOND));
    let alarm = time.clock().wake_at(at, rings.waiter());
    advance.join().unwrap();
    assert_eq!(rings.count(), 1, "nobody arms what time has gone past");
    assert!(alarm.is_none_or(|alarm| !alarm.disarm()));
}

#[test]
fn loom_an_alarm_armed_while_time_moves_past_it_rings_once() {
    model("an alarm armed while time moves past it rings once", armed_while_time_moves);
    twin("clock: an alarm is armed without a look at the time under the lock", armed_while_time_moves);
}

/// What the lock of the modelled timer guards: the time, until the model ends.
type Timer = Arc<Alarms<Option<Instant>>>;

/// The system clock's thread, by a time that the model moves.
fn kept() -> (Timer, loom::thread::JoinHandle<()>) {
    let timer = Arc::new(Alarms::new(Some(system_now())));
    let keeper = timer.clone();
    (timer, spawn(move || keeper.keep(|now| *now)))
}

fn pass(timer: &Timer, to: Instant) {
    timer.pass(to, |now| *now = Some(to));
}

/// Ends the keeper: one last alarm wakes it, and it finds that there is no time any more.
fn ends(timer: &Timer, keeper: loom::thread::JoinHandle<()>) {
    timer.with(|now| *now = None);
    let last = timer.arm(system_now(), Rings::new().waiter(), |_| true);
    keeper.join().unwrap();
    last.map(|key| timer.disarm(key));
}

/// The keeper may sleep already, for ever or until a later alarm, when a sooner one is armed.
fn armed_while_the_keeper_sleeps() {
    let (timer, keeper) = kept();
    let (parker, late) = (Parker::new(), Rings::new());
    let start = system_now();
    let far = timer.arm(start + 2 * SECOND, late.waiter(), |_| true).unwrap();
    let other = timer.clone();
    let passing = spawn(move || pass(&other, start + SECOND));
    let near = timer.arm(start + SECOND, Waiter::thread(&parker), |_| true).unwrap();
    passing.join().unwrap();
    parker.park(); // for ever, if the keeper sleeps past it
    assert!(!timer.disarm(near) && timer.disarm(far));
    ends(&timer, keeper);
    assert_eq!(late.count(), 0);
}

#[test]
fn loom_the_keeper_of_the_time_sleeps_past_no_alarm() {
    model("the keeper of the time sleeps past no alarm", armed_while_the_keeper_sleeps);
    twin("clock: the keeper is not told of a sooner alarm", armed_while_the_keeper_sleeps);
}

fn disarmed_while_the_keeper_rings() {
    let (timer, keeper) = kept();
    let rings = Rings::new();
    let at = system_now() + SECOND;
    let key = timer.arm(at, rings.waiter(), |_| true).unwrap();
    let other = timer.clone();
    let passing = spawn(move || pass(&other, at));
    let in_time = timer.disarm(key);
    passing.join().unwrap();
    ends(&timer, keeper);
    assert_eq!(rings.count(), usize::from(!in_time), "it rings once, or was disarmed in time");
}

#[test]
fn loom_an_alarm_of_the_keeper_rings_at_most_once_and_never_after_it_was_disarmed_in_time() {
    let name = "an alarm of the keeper rings at most once and never after it was disarmed in time";
    model(name, disarmed_while_the_keeper_rings);
    twin("clock: an alarm is taken out after it has rung", disarmed_while_the_keeper_rings);
    twin("clock: a disarmed alarm stays in the map", disarmed_while_the_keeper_rings);
}
