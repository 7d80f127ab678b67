//! Models of the places, on themselves.

use super::places::Places;
use crate::error::RejectReason;
use crate::sync::model::{model, spawn, twin};
use crate::sync::{Parker, Waiter};
use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;

/// Waits for a place as a thread does.
fn take(places: &Places) -> Result<(), RejectReason> {
    take_many(places, 1)
}

/// Waits for so many.
fn take_many(places: &Places, so_many: usize) -> Result<(), RejectReason> {
    let parker = Parker::new();
    let waiter = Waiter::thread(&parker);
    match places.try_take(so_many) {
        Err(RejectReason::Full { .. }) => {}
        decided => return decided,
    }
    let Some(number) = places.join(so_many, waiter.clone())? else { return Ok(()) };
    loop {
        match places.look(number, &waiter) {
            Poll::Ready(decided) => return decided,
            Poll::Pending => parker.park(),
        }
    }
}

/// Somebody who joins the line against the workers who give back, each by its own word.
fn a_joiner_against_two_who_give_back() {
    let places = Arc::new(Places::new(2, 2, 2));
    places.try_take(1).unwrap();
    places.try_take(1).unwrap();
    let givers = [0, 1].map(|worker| {
        let places = places.clone();
        spawn(move || places.give_back(worker))
    });
    take(&places).unwrap(); // or loom reports a deadlock
    givers.into_iter().for_each(|giver| assert!(!giver.join().unwrap()));
    assert_eq!(places.in_use(), 1);
}

#[test]
fn loom_nobody_is_left_in_line_beside_a_free_place() {
    model("nobody is left in line beside a free place", a_joiner_against_two_who_give_back);
    twin("places: who joins the line does not look again", a_joiner_against_two_who_give_back);
    twin("places: who gives back looks for the line without a fence", a_joiner_against_two_who_give_back);
}

/// Two submitters and a worker that gives back what one of them took.
fn never_more_than_the_capacity() {
    let places = Arc::new(Places::new(1, 1, 1));
    let inside = Arc::new(AtomicUsize::new(0));
    let visit = |places: &Places, inside: &AtomicUsize, seat: usize| {
        if places.try_take(1).is_ok() {
            assert_eq!(inside.fetch_add(1, Ordering::Relaxed), 0, "more than the capacity");
            inside.fetch_sub(1, Ordering::Relaxed);
            places.give_back(seat);
        }
    };
    let worker = {
        let (places, inside) = (places.clone(), inside.clone());
        spawn(move || (0..2).for_each(|_| visit(&places, &inside, 0)))
    };
    (0..2).for_each(|_| visit(&places, &inside, 1));
    worker.join().unwrap();
    assert_eq!(places.in_use(), 0);
    assert!(places.try_take(1).is_ok(), "what is free is found");
}

#[test]
fn loom_no_more_than_the_capacity_is_ever_in_use() {
    model("no more than the capacity is ever in use", never_more_than_the_capacity);
    twin("places: who submits looks first and takes later", never_more_than_the_capacity);
}

/// Granted while giving up, a place goes to the next.
fn a_grant_against_giving_up() {
    let places = Arc::new(Places::new(1, 1, 1));
    places.try_take(1).unwrap();
    let first = places.join(1, Waiter::thread(&Parker::new())).unwrap();
    let second = {
        let places = places.clone();
        spawn(move || take(&places).unwrap())
    };
    let worker = {
        let places = places.clone();
        spawn(move || places.give_back(0))
    };
    first.into_iter().for_each(|number| places.leave(number));
    worker.join().unwrap();
    second.join().unwrap();
    assert_eq!(places.in_use(), 1);
}

#[test]
fn loom_a_place_granted_to_who_gives_up_goes_to_the_next() {
    model("a place granted to who gives up goes to the next", a_grant_against_giving_up);
    twin("places: who gives up keeps what was granted", a_grant_against_giving_up);
}

fn closing_tells_exactly_one() {
    let places = Arc::new(Places::new(2, 2, 2));
    places.try_take(1).unwrap();
    places.try_take(1).unwrap();
    let givers = [0, 1].map(|worker| {
        let places = places.clone();
        spawn(move || places.give_back(worker))
    });
    let mut told = vec![places.close()];
    told.extend(givers.map(|giver| giver.join().unwrap()));
    assert_eq!(told.iter().filter(|told| **told).count(), 1);
    assert!(!places.close());
    assert!(matches!(places.try_take(1), Err(RejectReason::ShuttingDown)));
}

#[test]
fn loom_closing_tells_exactly_one_that_the_last_place_is_back() {
    model("closing tells exactly one that the last place is back", closing_tells_exactly_one);
    twin("places: the last one back is not told", closing_tells_exactly_one);
    twin("places: who gives back looks for the line without a fence", closing_tells_exactly_one);
}

/// Somebody waits; a place comes back while another, who has not waited, wants one.
fn one_who_has_not_waited_against_the_line() {
    let places = Arc::new(Places::new(1, 1, 1));
    places.try_take(1).unwrap();
    let parker = Parker::new();
    let waiter = Waiter::thread(&parker);
    let number = places.join(1, waiter.clone()).unwrap().expect("it is full");
    let (giver, other) = (places.clone(), places.clone());
    let gives = spawn(move || giver.give_back(0));
    let takes = spawn(move || other.try_take(1).is_ok());
    assert!(!takes.join().unwrap(), "nobody overtakes");
    gives.join().unwrap();
    assert!(matches!(places.look(number, &waiter), Poll::Ready(Ok(()))));
}

#[test]
fn loom_nobody_overtakes_those_in_line() {
    model("nobody overtakes those in line", one_who_has_not_waited_against_the_line);
    twin("places: who submits does not look for the line", one_who_has_not_waited_against_the_line);
}

/// One waits for two places at once while two who hold one each give theirs back, and a third wants one.
fn all_or_none() {
    let places = Arc::new(Places::new(2, 2, 2));
    places.try_take(2).unwrap();
    let givers = [0, 1].map(|worker| {
        let places = places.clone();
        spawn(move || places.give_back(worker))
    });
    take_many(&places, 2).unwrap();
    assert!(matches!(places.try_take(1), Err(RejectReason::Full { .. })), "both are taken");
    givers.into_iter().for_each(|giver| assert!(!giver.join().unwrap()));
    assert_eq!(places.in_use(), 2);
}

#[test]
fn loom_who_waits_for_many_places_gets_all_of_them_at_once() {
    model("who waits for many places gets all of them at once", all_or_none);
    twin("places: who waits for many is given what there is", all_or_none);
}

/// One place less while two are in use and come back, and somebody waits.
fn a_smaller_size_against_givers_and_a_joiner() {
    let places = Arc::new(Places::new(2, 2, 1));
    places.try_take(2).unwrap();
    let giver = {
        let places = places.clone();
        spawn(move || {
            places.give_back(0);
            places.give_back(0);
        })
    };
    let resizer = {
        let places = places.clone();
        spawn(move || Waiter::wake_all(places.resize(1)))
    };
    take(&places).unwrap(); // nobody is stranded
    resizer.join().unwrap();
    giver.join().unwrap();
    assert!(matches!(places.try_take(1), Err(RejectReason::Full { .. })), "a place from nothing");
    assert_eq!(places.in_use(), 1);
    Waiter::wake_all(places.resize(2));
    assert!(places.try_take(1).is_ok() && places.try_take(1).is_err());
}

#[test]
fn loom_no_place_appears_from_nothing_and_nobody_is_stranded_by_a_resize() {
    let name = "no place appears from nothing and nobody is stranded by a smaller size";
    model(name, a_smaller_size_against_givers_and_a_joiner);
    twin("places: a smaller size is only written down", a_smaller_size_against_givers_and_a_joiner);
}

/// One place more while somebody waits for it.
fn a_larger_size_against_a_joiner() {
    let places = Arc::new(Places::new(1, 2, 1));
    places.try_take(1).unwrap();
    let resizer = {
        let places = places.clone();
        spawn(move || Waiter::wake_all(places.resize(2)))
    };
    take(&places).unwrap();
    resizer.join().unwrap();
    assert!(places.try_take(1).is_err());
    assert!(!places.give_back(0) && !places.close() && places.give_back(0), "the last one back is told");
}

#[test]
fn loom_a_larger_size_serves_who_waits() {
    model("a larger size serves who waits", a_larger_size_against_a_joiner);
    twin("places: who resizes serves nobody", a_larger_size_against_a_joiner);
}
