//! Models of the wait until a pool is idle: on the places themselves, and on the whole pool.

use super::Pool;
use super::places::Places;
use crate::context::Context;
use crate::sync::model::{model, spawn, twin, wide_model};
use crate::sync::{Parker, Waiter};
use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// Waits until nothing is in use, as a thread does.
fn until_idle(places: &Places) {
    let parker = Parker::new();
    let waiter = Waiter::thread(&parker);
    let Some(number) = places.join_idlers(waiter.clone()) else { return };
    while places.look_idle(number, &waiter).is_pending() {
        parker.park();
    }
}

/// Somebody who waits for idleness against the last two who give back, each by its own word.
fn a_join_against_the_last_two() {
    let places = Arc::new(Places::new(2, 2, 2));
    places.try_take(1).unwrap();
    places.try_take(1).unwrap();
    let givers = [0, 1].map(|worker| {
        let places = places.clone();
        spawn(move || places.give_back(worker))
    });
    until_idle(&places); // or loom reports a deadlock
    assert_eq!(places.in_use(), 0);
    givers.into_iter().for_each(|giver| assert!(!giver.join().unwrap()));
}

#[test]
fn loom_nobody_waits_for_idleness_while_nothing_is_in_use() {
    model("nobody waits for idleness while nothing is in use", a_join_against_the_last_two);
    twin("places: who waits for idleness does not look again", a_join_against_the_last_two);
    twin("places: who gives back looks for the line without a fence", a_join_against_the_last_two);
}

/// One place stays in use until its end is noted; another comes and goes meanwhile.
fn a_join_against_one_that_comes_and_goes() {
    let places = Arc::new(Places::new(2, 2, 2));
    let ended = Arc::new(AtomicBool::new(false));
    places.try_take(1).unwrap();
    let other = {
        let places = places.clone();
        spawn(move || {
            places.try_take(1).unwrap();
            places.give_back(0);
        })
    };
    let first = {
        let (places, ended) = (places.clone(), ended.clone());
        spawn(move || {
            ended.store(true, Ordering::Relaxed);
            places.give_back(1);
        })
    };
    until_idle(&places);
    assert!(ended.load(Ordering::Relaxed), "told while something was in use");
    other.join().unwrap();
    first.join().unwrap();
}

#[test]
fn loom_idleness_is_told_only_when_what_was_in_use_has_ended() {
    model("idleness is told only when what was in use has ended", a_join_against_one_that_comes_and_goes);
    twin("places: what is taken is counted before what is back", a_join_against_one_that_comes_and_goes);
}

/// The real pool: a join against its worker and against a shutdown by somebody else.
fn a_join_against_the_worker_and_a_shutdown() {
    let pool = Pool::builder("m").threads(1).queue(1).build().unwrap();
    let runs = Arc::new(AtomicUsize::new(0));
    let count = runs.clone();
    pool.execute(move || {
        count.fetch_add(1, Ordering::Relaxed);
    })
    .unwrap();
    let ender = {
        let pool = pool.clone();
        spawn(move || pool.shutdown(&Context::background()).unwrap())
    };
    pool.join().unwrap();
    assert_eq!(runs.load(Ordering::Relaxed), 1);
    ender.join().unwrap();
}

#[test]
fn loom_a_join_returns_when_every_job_before_it_has_ended() {
    wide_model("a join returns when every job before it has ended", a_join_against_the_worker_and_a_shutdown);
    twin("places: who waits for idleness does not look again", a_join_against_the_worker_and_a_shutdown);
}
