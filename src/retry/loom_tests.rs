//! What is proved of the budget's one word.

use super::Budget;
use crate::sync::model::{model, twin};
use crate::sync::thread;

fn spawn<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> impl FnOnce() -> T {
    let handle = thread::Builder::new().spawn(f).expect("a thread for a model");
    move || handle.join().expect("the thread ended well")
}

/// One token in the account, a second on its way, three who want one.
fn two_withdrawals_and_a_deposit() {
    let budget = Budget::percent(100).burst(3);
    budget.deposit();
    let (a, b) = (budget.clone(), budget.clone());
    let a = spawn(move || u32::from(a.try_withdraw()));
    let b = spawn(move || u32::from(b.try_withdraw()));
    budget.deposit();
    let taken = a() + b();
    // The first token was there all along, so one of the two got it; and nothing came from nothing.
    assert!((1..=2).contains(&taken), "{taken} taken");
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
