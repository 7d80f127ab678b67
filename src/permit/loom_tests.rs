//! Models of the limit.

use super::wait::PermitWait;
use super::{Limit, Permit, Quota, Share};
use crate::clock::Clock;
use crate::context::Context;
use crate::deadline::Deadline;
use crate::sync::model::{model, spawn, twin, wide_model};
use crate::sync::{Parker, Waiter};
use crate::wait::{At, Wait, block_on};
use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering};

fn acquire(limit: &Limit, n: u64) -> Permit {
    block_on(limit.turn(0, n), &At(Deadline::NEVER, Clock::system())).unwrap().unwrap();
    Permit::new(limit.clone(), 0, n)
}

/// A wait that has asked and stands in line.
fn in_line(limit: &Limit, part: usize, n: u64) -> PermitWait {
    let mut wait = limit.turn(part, n);
    assert!(wait.poll_wait(&Waiter::thread(&Parker::new())).is_pending());
    wait
}

fn grant_against_give_up() {
    let limit = Limit::new(1);
    let held = limit.try_acquire().unwrap();
    let mut first = in_line(&limit, 0, 1);
    let second = {
        let limit = limit.clone();
        spawn(move || drop(acquire(&limit, 1)))
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
    let mut waiting = [in_line(&limit, 0, 1), in_line(&limit, 0, 1)];
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

/// Once a lower limit is said, nobody gets more than that, whoever takes at that moment.
fn lowering_against_two_who_take() {
    let limit = Limit::new(2);
    let takers = [0, 1].map(|_| {
        let limit = limit.clone();
        spawn(move || limit.try_acquire().ok())
    });
    limit.resize(1).unwrap();
    let already = limit.in_flight();
    let held: Vec<_> = takers.into_iter().filter_map(|taker| taker.join().unwrap()).collect();
    assert!(held.len() <= already.max(1), "granted beyond a limit that was lowered");
    drop(held);
    assert_eq!(limit.in_flight(), 0);
}

#[test]
fn loom_nothing_is_granted_beyond_a_limit_once_it_is_lowered() {
    model("nothing is granted beyond a limit once it is lowered", lowering_against_two_who_take);
    twin("permit: who takes looks first and takes later", lowering_against_two_who_take);
}

fn three_callers_of_one_permit_all_get_it() {
    let limit = Limit::new(1);
    let inside = Arc::new(AtomicUsize::new(0));
    let visit = |limit: Limit, inside: Arc<AtomicUsize>| {
        let permit = limit.acquire(&Context::background()).unwrap();
        assert_eq!(inside.fetch_add(1, Ordering::Relaxed), 0);
        inside.fetch_sub(1, Ordering::Relaxed);
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
    twin("permit: what is handed over is not counted", three_callers_of_one_permit_all_get_it);
    twin("permit: who takes looks first and takes later", three_callers_of_one_permit_all_get_it);
    twin("permit: who gives back does not look for the line", three_callers_of_one_permit_all_get_it);
    twin("permit: who joins the line looks before it says so", three_callers_of_one_permit_all_get_it);
}

/// Heavy and light, two of each weight's worth at most: the heavy one gets its turn although light ones come and go.
fn heavy_against_light() {
    let limit = Limit::new(2);
    let inside = Arc::new(AtomicUsize::new(0));
    let visit = |limit: &Limit, inside: &AtomicUsize, n: usize| {
        let permit = acquire(limit, n as u64);
        assert!(inside.fetch_add(n, Ordering::Relaxed) + n <= 2, "more than the limit");
        inside.fetch_sub(n, Ordering::Relaxed);
        drop(permit);
    };
    let others = [2, 1].map(|n| {
        let (limit, inside) = (limit.clone(), inside.clone());
        spawn(move || visit(&limit, &inside, n))
    });
    visit(&limit, &inside, 1);
    others.into_iter().for_each(|t| t.join().unwrap()); // or loom reports a deadlock
    assert_eq!((limit.in_flight(), limit.waiting()), (0, 0));
}

#[test]
fn loom_heavy_and_light_all_get_in_and_never_more_than_the_limit() {
    model("heavy and light all get in and are never more than the limit", heavy_against_light);
    twin("permit: who takes looks first and takes later", heavy_against_light);
    twin("permit: who gives back does not look for the line", heavy_against_light);
}

/// A heavy one waits at the head; who was in its way only because of the order is served when it leaves.
fn a_heavy_head_that_gives_up() {
    let limit = Limit::new(2);
    let held = limit.try_acquire().unwrap();
    let mut heavy = in_line(&limit, 0, 2);
    let light = {
        let limit = limit.clone();
        spawn(move || drop(acquire(&limit, 1)))
    };
    let releaser = spawn(move || drop(held));
    heavy.give_up();
    light.join().unwrap();
    releaser.join().unwrap();
    assert_eq!((limit.in_flight(), limit.waiting()), (0, 0));
}

#[test]
fn loom_who_waits_behind_a_heavy_one_that_gives_up_is_served() {
    model("who waits behind a heavy one that gives up is served", a_heavy_head_that_gives_up);
    twin("permit: who gives up keeps what was granted", a_heavy_head_that_gives_up);
}

/// Somebody waits; a permit comes back while another, who has not waited, wants one.
fn one_who_has_not_waited_against_the_line() {
    let limit = Limit::new(1);
    let held = limit.try_acquire().unwrap();
    let mut waiting = in_line(&limit, 0, 1);
    let taker = {
        let limit = limit.clone();
        spawn(move || limit.try_acquire().is_ok())
    };
    let releaser = spawn(move || drop(held));
    assert!(!taker.join().unwrap(), "nobody overtakes");
    releaser.join().unwrap();
    assert_eq!(limit.in_flight(), 1); // it is the waiter's
    waiting.give_up();
    assert_eq!(limit.in_flight(), 0);
}

#[test]
fn loom_nobody_overtakes_who_waits_for_a_permit() {
    model("nobody overtakes who waits for a permit", one_who_has_not_waited_against_the_line);
    twin("permit: who takes does not look for the line", one_who_has_not_waited_against_the_line);
}

/// Two borrow and bring back; whoever keeps a share always finds it.
fn a_kept_share_against_borrowers() {
    let limit = Limit::builder(2).partition("kept", Share::Kept(0.5)).build().unwrap();
    let kept = limit.partition("kept").unwrap();
    let borrower = {
        let limit = limit.clone();
        spawn(move || drop(limit.try_acquire()))
    };
    let other = {
        let limit = limit.clone();
        spawn(move || drop(limit.try_acquire()))
    };
    for _ in 0..2 {
        drop(kept.try_acquire().expect("it is kept for this partition"));
    }
    borrower.join().unwrap();
    other.join().unwrap();
    assert_eq!((limit.in_flight(), limit.waiting()), (0, 0));
}

#[test]
fn loom_what_a_partition_keeps_it_always_finds() {
    model("what a partition keeps it always finds", a_kept_share_against_borrowers);
    twin("permit: what is kept is lent", a_kept_share_against_borrowers);
}

/// One registers while another leaves: the limit is that of those who are left, whoever resizes last.
fn who_registers_against_who_leaves() {
    let quota = Quota::new(1.0, Limit::new(1)).unwrap();
    let (stays, leaves) = (quota.register(), quota.register());
    let other = {
        let quota = quota.clone();
        spawn(move || quota.register())
    };
    let left = spawn(move || drop(leaves));
    let third = quota.register();
    let other = other.join().unwrap();
    left.join().unwrap();
    assert_eq!((quota.workers(), quota.limit().permits()), (3, 3));
    drop((stays, other, third));
}

#[test]
fn loom_a_quota_is_that_of_those_who_are_registered_in_the_end() {
    model("quota: the limit is that of those who are registered in the end", who_registers_against_who_leaves);
    twin("quota: who resizes does not look again", who_registers_against_who_leaves);
}

/// Acquire, release, give-up and resize, each by somebody else and all at once.
fn all_four_at_once() {
    let limit = Limit::new(2);
    let (a, b) = (limit.try_acquire().unwrap(), limit.try_acquire().unwrap());
    let mut waits = in_line(&limit, 0, 1);
    let [resizes, comes_and_goes] = [limit.clone(), limit.clone()];
    let resizes = spawn(move || resizes.resize(1).unwrap());
    let comes_and_goes = spawn(move || {
        drop(a);
        let again = comes_and_goes.try_acquire().ok();
        assert!(comes_and_goes.in_flight() <= 2, "more than the larger limit");
        again
    });
    waits.give_up();
    resizes.join().unwrap();
    let again = comes_and_goes.join().unwrap();
    assert_eq!((limit.in_flight(), limit.waiting()), (1 + usize::from(again.is_some()), 0));
    drop((b, again));
    assert_eq!(limit.in_flight(), 0);
    assert!(limit.try_acquire().is_ok_and(|_one| limit.try_acquire().is_err()), "one, as it was said last");
}

#[test]
fn loom_acquire_release_give_up_and_resize_at_once_keep_the_count() {
    wide_model("acquire, release, give-up and resize at once keep the count", all_four_at_once);
    twin("permit: who gives up keeps what was granted", all_four_at_once);
}
