//! Models of the token tree.

use super::CancelToken;
use crate::clock::Clock;
use crate::deadline::Deadline;
use crate::error::{CancelCause, Interrupted};
use crate::sync::model::{model, spawn, twin};
use crate::wait::{At, block_on};

fn wait(token: &CancelToken) -> Interrupted {
    block_on(token.waiting(), &At(Deadline::NEVER, Clock::system())).unwrap()
}

fn cancel_against_two_waiters() {
    let token = CancelToken::new();
    let (a, b) = (token.clone(), token.clone());
    let waiter = spawn(move || wait(&a));
    let canceller = spawn(move || b.cancel());
    assert_eq!(wait(&token), Interrupted::Cancelled(CancelCause::Requested));
    assert_eq!(waiter.join().unwrap(), Interrupted::Cancelled(CancelCause::Requested));
    canceller.join().unwrap();
}

#[test]
fn loom_a_token_wait_loses_no_wake_up() {
    model("a token wait loses no wake-up", cancel_against_two_waiters);
    twin("token: a waiter joins without a look under the lock", cancel_against_two_waiters);
}

fn children_during_cancel() {
    let token = CancelToken::new();
    let other = token.clone();
    let canceller = spawn(move || other.cancel());
    let child = token.child();
    let grandchild = child.child();
    canceller.join().unwrap();
    assert!(child.is_cancelled() && grandchild.is_cancelled());
    assert!(child.child().is_cancelled());
}

#[test]
fn loom_children_made_during_cancel_end_cancelled() {
    model("children made during cancel end cancelled", children_during_cancel);
    twin("token: a child joins without a look under the lock", children_during_cancel);
}

/// loom fails on a leaked `Arc`; and the lists must be as they were.
fn a_child_dropped_during_cancel_leaks_nothing() {
    let root = CancelToken::new();
    let (middle, other) = (root.child(), root.child());
    let (leaf, cancelled) = (middle.child(), middle.clone());
    let canceller = spawn(move || cancelled.cancel());
    drop(leaf);
    drop(other);
    canceller.join().unwrap();
    assert_eq!((root.registrations(), middle.registrations()), (1, 0));
}

#[test]
fn loom_a_child_dropped_during_cancel_leaks_nothing() {
    model("a child dropped during cancel leaks nothing", a_child_dropped_during_cancel_leaks_nothing);
    twin("token: a dropped child stays on the list", a_child_dropped_during_cancel_leaks_nothing);
}

fn a_link_cancelled_by_both_parents_has_one_cause() {
    let (a, b) = (CancelToken::new(), CancelToken::new());
    let link = a.link(&b);
    let canceller = spawn(move || a.cancel_because(CancelCause::Because("a")));
    b.cancel_because(CancelCause::Because("b"));
    let cause = link.cause();
    assert!(cause.is_some());
    canceller.join().unwrap();
    assert_eq!(link.cause(), cause);
}

#[test]
fn loom_a_link_cancelled_by_both_parents_has_one_cause() {
    model("a link cancelled by both parents has one cause", a_link_cancelled_by_both_parents_has_one_cause);
    twin("token: a later cause replaces the first", a_link_cancelled_by_both_parents_has_one_cause);
}

fn shorten_against_cancel() {
    let root = CancelToken::new();
    let middle = root.child();
    let last = middle.child();
    drop(middle); // only `last` holds it now
    let other = root.clone();
    let canceller = spawn(move || other.cancel());
    let below = last.child(); // takes the middle out
    canceller.join().unwrap();
    assert!(last.is_cancelled() && below.is_cancelled());
}

#[test]
fn loom_a_chain_made_shorter_during_cancel_ends_cancelled() {
    model("a chain made shorter during cancel ends cancelled", shorten_against_cancel);
    twin("token: a child joins without a look under the lock", shorten_against_cancel);
}
