//! Models of the condition and of the watch.

use super::{Condition, Context, Watch};
use crate::cancel::CancelToken;
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::sync::model::{model, spawn, twin};
use crate::sync::{Arc, Mutex};
use crate::wait::block_on;

fn notify_against_wait() {
    let shared = Arc::new((Mutex::new(false), Condition::new()));
    let other = shared.clone();
    let notifier = spawn(move || {
        *other.0.lock() = true;
        other.1.notify_one();
    });
    let lock = || shared.0.lock();
    let set = Context::background().wait_while(&shared.1, lock(), lock, |set| !**set);
    assert!(set.is_ok_and(|set| *set));
    notifier.join().unwrap();
}

#[test]
fn loom_a_condition_loses_no_wake_up() {
    model("a condition loses no wake-up", notify_against_wait);
    twin("condition: the lock goes before the place is taken", notify_against_wait);
}

fn a_notification_against_giving_up() {
    let condition = Arc::new(Condition::new());
    let token = CancelToken::new();
    let cx = Context::background().with_token(&token);
    let first = spawn({
        let condition = condition.clone();
        let lock = Mutex::new(());
        move || cx.wait(&condition, lock.lock(), || lock.lock()).is_ok()
    });
    while condition.places() == (0, 0) {
        loom::thread::yield_now();
    }
    let second = condition.join();
    let canceller = spawn(move || token.cancel());
    condition.notify_one();
    if first.join().unwrap() {
        condition.notify_one(); // the first has used its own
    }
    block_on(second, &Context::background()).unwrap().used();
    canceller.join().unwrap();
    assert_eq!(condition.places(), (0, 0));
}

#[test]
fn loom_a_notification_to_one_who_gives_up_is_passed_on() {
    model("a notification to one who gives up is passed on", a_notification_against_giving_up);
    twin("condition: who gives up keeps its notification", a_notification_against_giving_up);
}

/// What is watched: how often it was ended. Loom fails if it is not dropped.
type Thing = Arc<AtomicUsize>;

fn end(thing: &Thing) -> bool {
    thing.fetch_add(1, Ordering::AcqRel);
    true
}

fn the_end_against_the_watch_being_over() {
    let token = CancelToken::new();
    let ended = Arc::new(AtomicUsize::new(0));
    let watch = Watch::new(&Context::background().with_token(&token), ended.clone(), end).unwrap();
    let canceller = spawn(move || token.cancel());
    drop(watch);
    let seen = ended.load(Ordering::Acquire);
    canceller.join().unwrap();
    assert_eq!(ended.load(Ordering::Acquire), seen, "ended after the watch was over");
}

#[test]
fn loom_nothing_is_ended_once_its_watch_is_over() {
    model("nothing is ended once its watch is over", the_end_against_the_watch_being_over);
    twin("watch: it ends what it no longer watches", the_end_against_the_watch_being_over);
}

fn the_effect_against_the_reason() {
    let token = CancelToken::new();
    let ended = Arc::new(AtomicUsize::new(0));
    let watch = Watch::new(&Context::background().with_token(&token), ended.clone(), end).unwrap();
    let canceller = spawn(move || token.cancel());
    let outcome = watch.run(|| Ok(ended.load(Ordering::Acquire)));
    assert!(!outcome.is_ok_and(|effects| effects > 0), "an effect without its reason");
    canceller.join().unwrap();
    assert!(watch.check().is_err());
    assert_eq!(ended.load(Ordering::Acquire), 1);
}

#[test]
fn loom_whoever_sees_the_end_of_what_is_watched_sees_why() {
    model("whoever sees the end of what is watched sees why", the_effect_against_the_reason);
    twin("watch: the reason is not there when the effect is", the_effect_against_the_reason);
}
