//! `Budget` and `Attempts` beside a relaxed addition, tower's retry budget and backon's blocking retry.
//!
//! Each round measures every contender, one after the other, so that whatever else the machine does hits all of them;
//! a ratio is taken within a round, which is shorter than a time slice. Printed are medians of the rounds and, in brackets,
//! their quartiles. With `--test` everything runs once and briefly; another argument is part of the titles of those to run.

mod side_by_side;

use backon::BlockingRetryable;
use side_by_side::{Effort, Test, alone, compare, contender};
use std::hint::black_box;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tower::retry::budget::{Budget as _, TpsBudget};
use watertight::{Budget, Context, Retry};

fn towers() -> TpsBudget {
    TpsBudget::new(Duration::from_secs(10), 10, 0.2)
}

fn deposits(effort: Effort) {
    let n = effort.calls;
    let (budget, full, tower, bare) =
        (Budget::percent(20).burst(1_000_000), Budget::percent(20), towers(), AtomicU64::new(0));
    (0..100).for_each(|_| full.deposit());
    for (title, two) in [("deposit", false), ("deposit, two threads", true)] {
        let contenders = vec![
            contender("watertight", n, two, || black_box(&budget).deposit()),
            contender("watertight, full", n, two, || black_box(&full).deposit()),
            contender("a relaxed addition", n, two, || _ = black_box(&bare).fetch_add(1, Ordering::Relaxed)),
            contender("tower's TpsBudget", n, two, || black_box(&tower).deposit()),
        ];
        compare(title, effort, contenders);
    }
}

fn withdrawals(effort: Effort) {
    let n = effort.calls;
    let (budget, tower, empty) = (Budget::percent(20), towers(), Budget::percent(20));
    for (title, two) in
        [("five deposits and a withdrawal", false), ("five deposits and a withdrawal, two threads", true)]
    {
        let ours = || {
            (0..5).for_each(|_| budget.deposit());
            _ = black_box(budget.try_withdraw());
        };
        let towers = || {
            (0..5).for_each(|_| tower.deposit());
            _ = black_box(tower.withdraw());
        };
        compare(
            title,
            effort,
            vec![contender("watertight", n / 5, two, ours), contender("tower's TpsBudget", n / 5, two, towers)],
        );
    }
    let load = AtomicU64::new(0);
    compare(
        "refusal",
        effort,
        vec![
            contender("watertight", n, false, || _ = black_box(black_box(&empty).try_withdraw())),
            contender("a relaxed load", n, false, || _ = black_box(black_box(&load).load(Ordering::Relaxed))),
        ],
    );
}

/// What trying again costs when it is not needed.
fn first_attempts(effort: Effort) {
    let n = effort.calls;
    let (retry, cx) = (Retry::exponential(Duration::from_millis(50)), Context::background());
    let paying = retry.clone().budget(Budget::percent(20));
    let once = |retry: &Retry| {
        let mut attempts = retry.attempts_within(&cx);
        loop {
            match black_box(Ok::<u32, u32>(1)) {
                Err(_) if attempts.pause().is_ok() => {}
                last => break last,
            }
        }
    };
    let backon = || (|| black_box(Ok::<u32, u32>(1))).retry(backon::ExponentialBuilder::default().with_jitter()).call();
    compare(
        "a call that succeeds at once",
        effort,
        vec![
            ("watertight", Box::new(|| alone(n, || _ = black_box(once(&retry))))),
            ("watertight, with a budget", Box::new(|| alone(n, || _ = black_box(once(&paying))))),
            ("backon", Box::new(|| alone(n, || _ = black_box(backon())))),
        ],
    );
}

fn main() {
    let test = Test::asked_for();
    deposits(test.effort(201, 20_000));
    withdrawals(test.effort(201, 20_000));
    first_attempts(test.effort(201, 20_000));
}
