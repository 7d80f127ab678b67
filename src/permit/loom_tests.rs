//! Models of the limit.

use super::{Limit, Permit, PermitWait};
use crate::clock::Clock;
use crate::context::Context;
use crate::deadline::Deadline;
use crate::sync::model::{model, spawn, twin};
use crate::sync::{Parker, Waiter};
use crate::wait::{At, Wait, block_on};

fn acquire(limit: &Limit) -> Permit {
    block_on(limit.turn(), &At(Deadline::NEVER, Clock::system())).unwrap().unwrap()
}

/// A wait that has asked and stands in line.
fn in_line(limit: &Limit) -> PermitWait {
    let mut wait = limit.turn();
    assert!(wait.poll_wait(&Waiter::thread(&Parker::new())).is_pending());
    wait
}

fn grant_against_give_up() {
    let limit = Limit::new(1);
    let held = limit.try_acquire().unwrap();
    let mut first = in_line(&limit);
    let second = {
        let limit = limit.clone();
        spawn(move || drop(acquire(&limit)))
    };
    let releaser = spawn(move || drop(held));
    first.give_up(); // granted meanwhile or not
    releaser.join().unwrap();
    second.join().unwrap();
    assert_eq!((limit.in_flight(), limit.waiting()), (0, 0));
}

#[test]
fn loom_a_permit_granted_to_who_gives_up_goes_to_the_next() {
    model("permits are conserved when a waiter is granted while giving up", grant_against_give_up);
    twin("permit: who gives up keeps what was granted", grant_against_give_up);
}

fn resize_against_release() {
    let limit = Limit::new(2);
    let (a, b) = (limit.try_acquire().unwrap(), limit.try_acquire().unwrap());
    let mut waiting = [in_line(&limit), in_line(&limit)];
    let resizer = {
        let limit = limit.clone();
        spawn(move || limit.resize(1).unwrap())
    };
    let releaser = spawn(move || drop(a));
    resizer.join().unwrap();
    releaser.join().unwrap();
    // Whichever came first, the larger limit was never exceeded; and from now on the smaller one rules.
    assert!(limit.in_flight() <= 2);
    drop(b);
    assert!(limit.in_flight() <= 1);
    waiting.iter_mut().for_each(Wait::give_up);
    assert_eq!(limit.in_flight(), 0);
}

#[test]
fn loom_in_flight_never_exceeds_the_larger_limit() {
    model("resize down against release: in flight never exceeds the larger limit", resize_against_release);
    twin("permit: a shrunk limit is forgotten", resize_against_release);
}

fn three_callers_of_one_permit_all_get_it() {
    let limit = Limit::new(1);
    let inside = loom::sync::Arc::new(loom::sync::atomic::AtomicUsize::new(0));
    let visit = |limit: Limit, inside: loom::sync::Arc<loom::sync::atomic::AtomicUsize>| {
        let permit = limit.acquire(&Context::background()).unwrap();
        assert_eq!(inside.fetch_add(1, loom::sync::atomic::Ordering::Relaxed), 0);
        inside.fetch_sub(1, loom::sync::atomic::Ordering::Relaxed);
        drop(permit);
    };
    let others: Vec<_> = (0..2)
        .map(|_| {
            let (limit, inside) = (limit.clone(), inside.clone());
            spawn(move || visit(limit, inside))
        })
        .collect();
    visit(limit.clone(), inside);
    others.into_iter().for_each(|t| t.join().unwrap());
    assert_eq!((limit.in_flight(), limit.waiting()), (0, 0));
}

#[test]
fn loom_three_callers_of_one_permit_all_get_it() {
    model("three callers of one permit all get it, one at a time", three_callers_of_one_permit_all_get_it);
    twin("permit: what is handed over is also counted as back", three_callers_of_one_permit_all_get_it);
}
