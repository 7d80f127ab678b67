//! Models of the token tree.

use super::CancelToken;
use crate::clock::Clock;
use crate::deadline::Deadline;
use crate::error::{CancelCause, Interrupted};
use crate::sync::Arc;
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::sync::model::{model, spawn, twin};
use crate::wait::{At, block_on};
use std::future::Future;
use std::task::{Context, Poll, Waker};

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

fn a_callback_against_cancel() {
    let token = CancelToken::new();
    let ran = Arc::new(AtomicUsize::new(0));
    let (count, other) = (ran.clone(), token.clone());
    let canceller = spawn(move || other.cancel());
    token
        .on_cancel(move |_| {
            count.fetch_add(1, Ordering::Relaxed);
        })
        .keep();
    canceller.join().unwrap();
    assert_eq!(ran.load(Ordering::Relaxed), 1);
}

#[test]
fn loom_a_callback_that_meets_a_cancel_runs_once() {
    model("a callback that meets a cancel runs once", a_callback_against_cancel);
    twin("token: a callback joins without a look under the lock", a_callback_against_cancel);
    twin("token: who joins does not mark the node", a_callback_against_cancel);
}

fn a_callback_taken_back_during_cancel() {
    let token = CancelToken::new();
    let ran = Arc::new(AtomicUsize::new(0));
    let (count, other) = (ran.clone(), token.clone());
    let registration = token.on_cancel(move |_| {
        count.fetch_add(1, Ordering::Relaxed);
    });
    let canceller = spawn(move || other.cancel());
    drop(registration);
    let too_late = token.is_cancelled();
    canceller.join().unwrap();
    let ran = ran.load(Ordering::Relaxed);
    assert!(ran == 0 || too_late && ran == 1, "it ran {ran} times, taken back in time: {}", !too_late);
    assert_eq!(token.registrations(), 0);
}

#[test]
fn loom_a_callback_taken_back_in_time_never_runs() {
    model("a callback taken back in time never runs", a_callback_taken_back_during_cancel);
    twin("token: a dropped registration stays on the list", a_callback_taken_back_during_cancel);
}

/// A child joins while its parent, bare until then, is cancelled by the exchange that bare nodes are cancelled by.
fn a_bare_child_gets_a_child_during_cancel() {
    let root = CancelToken::new();
    let middle = root.child();
    let canceller = spawn(move || root.cancel());
    let leaf = middle.child();
    canceller.join().unwrap();
    assert!(middle.is_cancelled() && leaf.is_cancelled());
}

#[test]
fn loom_a_bare_node_that_gets_a_child_during_cancel_passes_it_on() {
    model("a bare node that gets a child during cancel passes it on", a_bare_child_gets_a_child_during_cancel);
    twin("token: who joins does not mark the node", a_bare_child_gets_a_child_during_cancel);
}

fn a_wait_taken_back_during_cancel() {
    let root = CancelToken::new();
    let (leaf, other) = (root.child(), root.clone());
    let canceller = spawn(move || other.cancel());
    let mut wait = Box::pin(leaf.cancelled());
    let polled = wait.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    drop(wait);
    assert_eq!(leaf.registrations(), 0);
    canceller.join().unwrap();
    assert!(leaf.is_cancelled());
    assert!(polled.is_pending() || polled == Poll::Ready(Interrupted::Cancelled(CancelCause::Requested)));
}

#[test]
fn loom_a_wait_taken_back_during_cancel_leaves_nothing() {
    model("a wait taken back during cancel leaves nothing", a_wait_taken_back_during_cancel);
    twin("token: a dropped registration stays on the list", a_wait_taken_back_during_cancel);
}

/// The last two who hold a token let go at once, and so does the child that keeps its node.
fn a_chain_let_go_by_all_at_once() {
    let root = CancelToken::new();
    let middle = root.child();
    let (leaf, other) = (middle.child(), middle.clone());
    let second = spawn(move || drop(other));
    let third = spawn(move || drop(leaf));
    drop(middle);
    second.join().unwrap();
    third.join().unwrap();
    assert_eq!(root.registrations(), 0);
}

#[test]
fn loom_a_chain_let_go_by_all_at_once_leaves_its_root() {
    model("a chain let go by all at once leaves its root", a_chain_let_go_by_all_at_once);
    twin("token: a dropped child stays on the list", a_chain_let_go_by_all_at_once);
    twin("token: nobody is told that only descendants are left", a_chain_let_go_by_all_at_once);
}

/// The new child may get the allocation of the one that goes, or come too early for that.
fn a_child_made_while_another_goes() {
    let root = CancelToken::new();
    let old = root.child();
    let goes = spawn(move || drop(old));
    let new = root.child();
    assert!(!new.is_cancelled());
    root.cancel();
    assert!(new.is_cancelled());
    goes.join().unwrap();
    drop(new);
    assert_eq!(root.registrations(), 0);
}

#[test]
fn loom_a_child_made_while_another_goes_is_its_own() {
    model("a child made while another goes is its own", a_child_made_while_another_goes);
    twin("token: a dropped child stays on the list", a_child_made_while_another_goes);
}

/// While a list of children is away, to be cancelled, they go, and so does the last hold on the node between.
fn children_that_go_while_they_are_cancelled() {
    let root = CancelToken::new();
    let middle = root.child();
    let (a, b) = (middle.child(), middle.child());
    let wait = a.waiting();
    let canceller = spawn(move || middle.cancel());
    drop((a, b));
    canceller.join().unwrap();
    drop(wait);
    assert_eq!(root.registrations(), 0);
}

#[test]
fn loom_children_that_go_while_they_are_cancelled_leave_nothing() {
    model("children that go while they are cancelled leave nothing", children_that_go_while_they_are_cancelled);
    twin(
        "token: a child that goes while it is being cancelled is not noted",
        children_that_go_while_they_are_cancelled,
    );
}

/// Two children in one list, one of which is listened to: it is woken, and the other told, whoever of two cancels first.
fn two_cancel_a_list_of_children() {
    let root = CancelToken::new();
    let (a, b) = (root.child(), root.child());
    let (heard, other) = (a.clone(), root.clone());
    let waiter = spawn(move || wait(&heard));
    let canceller = spawn(move || other.cancel());
    a.cancel_because(CancelCause::Because("mine"));
    canceller.join().unwrap();
    assert_eq!(waiter.join().unwrap(), a.cause().unwrap());
    assert_eq!(b.cause(), Some(Interrupted::Cancelled(CancelCause::Requested)));
}

#[test]
fn loom_a_list_of_children_is_cancelled_whole_and_its_waiters_woken() {
    let name = "a list of children is cancelled whole and its waiters woken";
    model(name, two_cancel_a_list_of_children);
    twin("token: a waiter joins without a look under the lock", two_cancel_a_list_of_children);
}
