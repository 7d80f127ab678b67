//! What is proved of the front's lines: of more than one they are still one front.

use super::loom_tests::{AFTER, breaker, breaker_of, spawn};
use super::*;
use crate::sync::model::{model, twin};
use crate::sync::next_lane;

/// With every line in use and saying what the machine says.
fn widened((breaker, time, told): Built) -> Built {
    breaker.0.front.widen();
    assert_eq!(breaker.state(), BreakerState::Closed);
    (breaker, time, told)
}

type Built = (Breaker, crate::clock::ManualClock, super::loom_tests::Told);

/// Successes on a line each, while a failure takes what is counted there.
fn counting_on_two_lines(trip: Trip) {
    let (breaker, _time, _) = widened(breaker_of(trip, 1));
    let [a, b, c] = [(); 3].map(|()| breaker.admit().expect("closed"));
    let a = spawn(move || {
        next_lane();
        a.success();
    });
    let b = spawn(move || b.success());
    c.failure();
    a();
    b();
    let counts = breaker.snapshot().counts;
    assert_eq!((counts.calls, counts.failures), (3, 1));
}

#[test]
fn loom_what_is_counted_on_either_line_is_folded_in_once() {
    let within = || counting_on_two_lines(Trip::rate(1.0).within(AFTER * 100).min_calls(9));
    model("breaker: what is counted on two lines is folded in once, within a time", within);
    twin("breaker-front-torn-fold", within);
    twin("breaker-front-one-line", within);
    let last = || counting_on_two_lines(Trip::rate(1.0).last(9).min_calls(9));
    model("breaker: what is counted on two lines is folded in once, of the last calls", last);
    twin("breaker-front-torn-fold", last);
    twin("breaker-front-one-line", last);
}

/// Two failures in a row never come about where a success lies between them, on whichever line.
fn a_success_on_another_line() {
    let (breaker, _time, told) = widened(breaker(2, 1));
    let other = breaker.clone();
    let other = spawn(move || other.admit().expect("closed").success());
    breaker.admit().expect("closed").failure();
    next_lane();
    breaker.admit().expect("closed").success();
    next_lane();
    breaker.admit().expect("closed").failure();
    other();
    assert!(told.all().is_empty(), "a success was lost: {:?}", told.all());
}

#[test]
fn loom_a_success_on_another_line_is_not_lost_to_the_failures_around_it() {
    model("breaker: a success on another line is not lost to the failures around it", a_success_on_another_line);
    twin("breaker-front-one-line", a_success_on_another_line);
    twin("breaker-front-stays-clean", a_success_on_another_line);
}

/// Who was refused on one line is refused on the other.
fn lines_that_open() {
    let (breaker, _time, told) = widened(breaker(1, 1));
    let failure = breaker.admit().expect("closed");
    let asks = breaker.clone();
    let asks = spawn(move || {
        let first = asks.admit().map(Admitted::ignore);
        next_lane();
        (first, asks.admit().map(Admitted::ignore))
    });
    failure.failure();
    let (first, second) = asks();
    assert!(first.is_ok() || second.is_err(), "refused on one line and admitted on the other");
    assert!(breaker.admit().is_err());
    told.is_a_chain_to(BreakerState::Open);
}

/// Who was admitted on one line is admitted on the other.
fn lines_that_close() {
    let (breaker, _time, told) = widened(breaker(1, 1));
    breaker.admit().expect("closed").failure();
    let asks = breaker.clone();
    let asks = spawn(move || {
        let first = asks.admit();
        next_lane();
        let second = asks.admit();
        (first.map(Admitted::ignore), second.map(Admitted::ignore)) // which asks the machine, and so is late enough
    });
    breaker.reset();
    let (first, second) = asks();
    assert!(first.is_err() || second.is_ok(), "admitted on one line and refused on the other");
    told.is_a_chain_to(BreakerState::Closed);
}

#[test]
fn loom_no_line_says_what_was_when_another_says_what_is() {
    model("breaker: no line says what was when another says that it is open", lines_that_open);
    model("breaker: no line says what was when another says that it is closed", lines_that_close);
    twin("breaker-front-one-by-one", lines_that_close);
}

/// Two that meet on one line part, while a third decides: nothing is lost, and the new line joins in.
fn parting() {
    let (breaker, _time, _) = breaker_of(Trip::rate(1.0).last(9).min_calls(9), 1);
    let [a, b] = [(); 2].map(|()| breaker.clone());
    let two = |breaker: Breaker| {
        move || {
            (0..2).for_each(|_| breaker.admit().expect("closed").success());
        }
    };
    let (a, b) = (spawn(two(a)), spawn(two(b)));
    a();
    b();
    assert_eq!(breaker.snapshot().counts.calls, 4);
}

#[test]
fn loom_who_meets_on_a_line_parts_and_nothing_is_lost() {
    model("breaker: who meets on a line parts, and nothing is lost", parting);
    twin("breaker-front-one-line", parting);
}
