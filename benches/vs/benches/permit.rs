//! `Limit` beside a bounded compare-and-swap counter (the least that counts), tokio's and async-lock's semaphores.
//!
//! Each round measures every contender, one after the other, so that whatever else the machine does hits all of them;
//! a ratio is taken within a round, which is shorter than a time slice. Printed are medians of the rounds and, in brackets, their quartiles. With `--test`
//! everything runs once and briefly; another argument is part of the titles of those to run.

mod side_by_side;

use side_by_side::{Effort, Test, alone, compare, contender, poll_once};
use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use watertight::permit::Share;
use watertight::{Context, Limit};

const PERMITS: usize = 64;

fn bounded_acquire(in_use: &AtomicUsize) -> bool {
    let mut seen = in_use.load(Ordering::Relaxed);
    while seen < PERMITS {
        match in_use.compare_exchange_weak(seen, seen + 1, Ordering::Acquire, Ordering::Relaxed) {
            Ok(_) => return true,
            Err(now) => seen = now,
        }
    }
    false
}

fn one_by_one(effort: Effort) {
    let n = effort.calls;
    let (limit, tokio) = (Limit::new(PERMITS), Arc::new(tokio::sync::Semaphore::new(PERMITS)));
    let (lock, bare) = (async_lock::Semaphore::new(PERMITS), AtomicUsize::new(0));
    let shared = Limit::builder(PERMITS).partition("live", Share::Lent(0.9)).build().unwrap();
    let live = shared.partition("live").unwrap();
    let cx = Context::background();
    for (title, two) in [("acquire + release", false), ("acquire + release, two threads", true)] {
        let bounded = || {
            assert!(black_box(bounded_acquire(&bare)));
            bare.fetch_sub(1, Ordering::Release);
        };
        let contenders = vec![
            contender("watertight, by reference", n, two, || drop(black_box(limit.try_acquire_ref().unwrap()))),
            contender("watertight, owned", n, two, || drop(black_box(limit.try_acquire().unwrap()))),
            contender("watertight, acquire(cx)", n, two, || drop(black_box(limit.acquire(&cx).unwrap()))),
            contender("watertight, of a partition", n, two, || drop(black_box(live.try_acquire().unwrap()))),
            contender("bounded CAS counter", n, two, bounded),
            contender("tokio, by reference", n, two, || drop(black_box(tokio.try_acquire().unwrap()))),
            contender("tokio, owned", n, two, || drop(black_box(tokio.clone().try_acquire_owned().unwrap()))),
            contender("async-lock, by reference", n, two, || drop(black_box(lock.try_acquire().unwrap()))),
        ];
        compare(title, effort, contenders);
    }
}

fn awaited(effort: Effort) {
    let n = effort.calls;
    let (limit, tokio) = (Limit::new(PERMITS), tokio::sync::Semaphore::new(PERMITS));
    let lock = async_lock::Semaphore::new(PERMITS);
    let cx = Context::background();
    compare(
        "acquire, awaited, nobody waits",
        effort,
        vec![
            ("watertight, owned", Box::new(|| alone(n, || assert!(poll_once(limit.acquire_async(&cx)))))),
            ("tokio, by reference", Box::new(|| alone(n, || assert!(poll_once(tokio.acquire()))))),
            ("async-lock, by reference", Box::new(|| alone(n, || assert!(poll_once(lock.acquire()))))),
        ],
    );
}

fn many(effort: Effort) {
    let n = effort.calls;
    let (limit, tokio) = (Limit::new(PERMITS), tokio::sync::Semaphore::new(PERMITS));
    compare(
        "acquire + release of eight",
        effort,
        vec![
            ("watertight, owned", Box::new(|| alone(n, || drop(black_box(limit.try_acquire_many(8).unwrap()))))),
            ("tokio, by reference", Box::new(|| alone(n, || drop(black_box(tokio.try_acquire_many(8).unwrap()))))),
        ],
    );
}

fn refusals(effort: Effort) {
    let n = effort.calls;
    let (limit, tokio) = (Limit::new(1), Arc::new(tokio::sync::Semaphore::new(0)));
    let (lock, bare, word) = (async_lock::Semaphore::new(0), AtomicUsize::new(PERMITS), AtomicU64::new(0));
    let held = limit.try_acquire().unwrap();
    for (title, two) in [("refusal", false), ("refusal, two threads", true)] {
        let contenders = vec![
            contender("watertight", n, two, || _ = black_box(black_box(&limit).try_acquire_ref().is_err())),
            contender("watertight, owned", n, two, || _ = black_box(black_box(&limit).try_acquire().is_err())),
            contender("a relaxed load", n, two, || _ = black_box(black_box(&word).load(Ordering::Relaxed))),
            contender("bounded CAS counter", n, two, || _ = black_box(bounded_acquire(black_box(&bare)))),
            contender("tokio", n, two, || _ = black_box(black_box(&tokio).try_acquire().is_err())),
            contender("async-lock", n, two, || _ = black_box(black_box(&lock).try_acquire().is_none())),
        ];
        compare(title, effort, contenders);
    }
    drop(held);
}

fn main() {
    let test = Test::asked_for();
    one_by_one(test.effort(201, 20_000));
    awaited(test.effort(201, 20_000));
    many(test.effort(201, 20_000));
    refusals(test.effort(201, 50_000));
}
