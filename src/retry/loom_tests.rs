//! What is proved of the budget's one word.

use super::{Budget, RetryCap};
use crate::sync::model::{model, twin};
use crate::sync::thread;

fn spawn<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> impl FnOnce() -> T {
    let handle = thread::Builder::new().spawn(f).expect("a thread for a model");
    move || handle.join().expect("the thread ended well")
}

/// Half a token in the account, a whole one on its way, two who want one.
fn two_withdrawals_and_a_deposit() {
    let budget = Budget::percent(50).burst(3);
    budget.deposit();
    let (a, b) = (budget.clone(), budget.clone());
    let a = spawn(move || {
        a.deposit();
        u32::from(a.try_withdraw())
    });
    let b = spawn(move || u32::from(b.try_withdraw()));
    budget.deposit();
    let taken = a() + b();
    assert_eq!(taken, 1, "a has paid for one, and nothing comes from nothing");
    budget.deposit();
    assert_eq!(taken + budget.available(), 2, "what was deposited is taken or still there");
}

/// Two withdrawals race for one token.
fn two_withdrawals() {
    let budget = Budget::percent(100).burst(3);
    budget.deposit();
    let a = budget.clone();
    let a = spawn(move || u32::from(a.try_withdraw()));
    let mine = u32::from(budget.try_withdraw());
    assert_eq!((a() + mine, budget.available()), (1, 0));
}

/// Deposits race at the brim: two more than fit by one.
fn deposits_at_the_brim() {
    let budget = Budget::percent(50).burst(1);
    let (a, b) = (budget.clone(), budget.clone());
    let a = spawn(move || a.deposit());
    let b = spawn(move || b.deposit());
    budget.deposit();
    a();
    b();
    assert_eq!(budget.available(), 1);
    assert!(budget.try_withdraw());
    assert!(!budget.try_withdraw());
}

#[test]
fn loom_two_withdrawals_and_a_deposit_never_overdraw_and_keep_the_deposit() {
    model("budget: two withdrawals and a deposit never overdraw and keep the deposit", two_withdrawals_and_a_deposit);
    twin("budget-check-then-take", two_withdrawals_and_a_deposit);
    twin("budget-lost-deposit", two_withdrawals_and_a_deposit);
}

#[test]
fn loom_one_token_is_taken_once() {
    model("budget: one token is taken once", two_withdrawals);
    twin("budget-check-then-take", two_withdrawals);
}

#[test]
fn loom_no_deposit_is_lost_and_none_goes_over_the_brim() {
    model("budget: no deposit is lost and none goes over the brim", deposits_at_the_brim);
    twin("budget-lost-deposit", deposits_at_the_brim);
}

/// A retry that is not made goes back while another wants one.
fn a_refund_against_a_withdrawal() {
    let budget = Budget::percent(100).burst(3);
    budget.deposit();
    let payer = budget.withdraw().unwrap();
    let other = budget.clone();
    let other = spawn(move || u32::from(other.try_withdraw()));
    budget.refund(payer);
    let taken = other();
    assert_eq!(taken + budget.available(), 1, "one was earned");
    let stats = budget.stats();
    assert_eq!((stats.firsts, stats.retries), (1, u64::from(taken)));
}

#[test]
fn loom_a_refund_is_no_second_token() {
    model("budget: a refund is no second token", a_refund_against_a_withdrawal);
    twin("budget: a refund is two tokens", a_refund_against_a_withdrawal);
}

/// Three layers take from one cap at once.
fn three_take_from_a_cap_of_two() {
    let cap = RetryCap::new(2);
    let (a, b) = (cap.clone(), cap.clone());
    let a = spawn(move || u32::from(a.take()));
    let b = spawn(move || u32::from(b.take()));
    let mine = u32::from(cap.take());
    assert_eq!((a() + b() + mine, cap.left()), (2, 0));
}

#[test]
fn loom_a_cap_is_taken_from_once_each() {
    model("retry: a cap is taken from once each", three_take_from_a_cap_of_two);
    twin("retry: who takes from the cap looks first and takes later", three_take_from_a_cap_of_two);
}
