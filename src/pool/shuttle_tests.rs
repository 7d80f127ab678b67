//! Whole histories of a pool under shuttle: six workers, 72 jobs of every kind, schedules drawn at random. Far too large to
//! search; what is checked is that everything given to the pool ends once, and that nothing is left. In every other history
//! the pool changes meanwhile: it is paused and resumed, threads and places come and go, and jobs have their workers replaced.
//!
//! `WATERTIGHT_SCHEDULES` says how many schedules, 20,000 by default.

use super::on_full::OnFull;
use super::{JobHandle, Pool};
use crate::context::Context;
use crate::error::{BuildError, CallError, JobError};
use crate::{CancelToken, ManualClock};
use shuttle::rand::{Rng, thread_rng};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const WORKERS: usize = 6;
const SUBMITTERS: usize = 3;
const EACH: usize = 24;
/// The longest queue.
const LONGEST: usize = 6;
/// How often a history in which the pool changes changes it.
const CHANGES: usize = 6;

/// What became of the closures, by plain counts that are no steps of the schedule.
#[derive(Default)]
struct Ledger {
    /// The pool changes.
    changes: bool,
    made: AtomicUsize,
    ran: AtomicUsize,
    dropped: AtomicUsize,
    accepted: AtomicUsize,
    refused: AtomicUsize,
}

fn add(count: &AtomicUsize) {
    count.fetch_add(1, Ordering::Relaxed);
}

impl Ledger {
    fn read(&self) -> [usize; 5] {
        [&self.made, &self.ran, &self.dropped, &self.accepted, &self.refused].map(|count| count.load(Ordering::Relaxed))
    }
}

/// In every closure: dropped once, whether it ran or not.
struct Held(Arc<Ledger>);

impl Held {
    fn new(ledger: &Arc<Ledger>) -> Self {
        add(&ledger.made);
        Self(ledger.clone())
    }

    fn run(&self) {
        add(&self.0.ran);
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        add(&self.0.dropped);
    }
}

/// Schedules while it runs; one in eight panics, quietly, and some have their worker replaced.
fn work(held: &Held, odd: usize) {
    held.run();
    shuttle::thread::yield_now();
    if held.0.changes && odd % 16 == 3 {
        super::retire_worker();
    }
    if odd % 8 == 0 {
        std::panic::resume_unwind(Box::new("on purpose"));
    }
}

fn note<T, E>(ledger: &Ledger, submitted: Result<T, E>) -> Option<T> {
    add(if submitted.is_ok() { &ledger.accepted } else { &ledger.refused });
    submitted.ok()
}

fn join(handle: JobHandle<usize>) -> Option<usize> {
    match handle.join() {
        Ok(value) => Some(value),
        Err(JobError::Shed(_) | JobError::Panicked(_)) => None,
        #[allow(unreachable_patterns, reason = "there may be more of them")]
        Err(e) => panic!("{e}"),
    }
}

/// One job of a kind drawn at random.
fn submit_one(pool: &Pool, ledger: &Arc<Ledger>, time: &ManualClock, n: usize) {
    let held = Held::new(ledger);
    match thread_rng().gen_range(0..8) {
        0 => _ = note(ledger, pool.execute(move || work(&held, n))),
        1 => {
            if let Some(handle) = note(
                ledger,
                pool.submit(move || {
                    work(&held, n);
                    n
                }),
            ) {
                assert!(join(handle).is_none_or(|value| value == n));
            }
        }
        2 => {
            if let Some(handle) = note(
                ledger,
                pool.submit(move || {
                    work(&held, n);
                    n
                }),
            ) {
                handle.cancel();
                assert!(join(handle).is_none_or(|value| value == n));
            }
        }
        3 => {
            let cx = Context::background().with_clock(&time.clock()).with_timeout(Duration::from_secs(1));
            if let Some(handle) = note(
                ledger,
                pool.job().context(&cx).submit(move || {
                    work(&held, n);
                    n
                }),
            ) {
                time.advance(Duration::from_secs(1));
                assert!(join(handle).is_none_or(|value| value == n));
            }
        }
        4 => match pool.call(|| {
            work(&held, n);
            n
        }) {
            Ok(value) => assert_eq!((value, n % 8 == 0), (n, false)),
            Err(CallError::Panicked(_)) => assert_eq!(n % 8, 0),
            Err(CallError::Rejected(_)) => {}
            Err(e) => panic!("{e}"),
        },
        5 => {
            // A job that waits for another of its own pool.
            let (inner, below) = (pool.clone(), Held::new(ledger));
            let job = pool.submit(move || {
                work(&held, 1);
                let nested = inner.submit_or_run(move || {
                    work(&below, n);
                    n
                });
                nested.ok().and_then(|nested| join(nested)).unwrap_or(n)
            });
            if let Some(handle) = note(ledger, job) {
                drop(handle); // detached
            }
        }
        6 => {
            let others = [held, Held::new(ledger)];
            let jobs: Vec<_> = others.into_iter().map(|held| move || work(&held, n)).collect();
            note(ledger, pool.execute_batch(jobs));
        }
        _ => {
            if let Some(slot) = note(ledger, pool.reserve()) {
                slot.execute(move || work(&held, n));
            }
        }
    }
}

/// Pauses and resumes, more and fewer threads and places.
fn meddle(pool: &Pool) {
    for _ in 0..CHANGES {
        match thread_rng().gen_range(0..3) {
            0 => pool.pause(),
            1 => pool.resume(),
            _ => {
                let (threads, queue) = (thread_rng().gen_range(1..=WORKERS), thread_rng().gen_range(0..=LONGEST));
                match pool.resize(threads, queue) {
                    Ok(()) | Err(BuildError::Conflict(_)) => {}
                    Err(e) => panic!("{e}"),
                }
            }
        }
        shuttle::thread::yield_now();
    }
    pool.resume();
}

/// Perhaps of a paused pool, whose pause it ends.
fn shut_down(pool: &Pool, changes: bool) {
    if changes && thread_rng().gen_range(0..2) == 0 {
        pool.pause();
    }
    pool.shutdown(&Context::background()).unwrap();
}

fn history() {
    history_of(thread_rng().gen_range(0..2) == 0);
}

fn changing_history() {
    history_of(true);
}

fn history_of(changes: bool) {
    let on_full = [OnFull::Wait, OnFull::Refuse, OnFull::CallerRuns, OnFull::DropNewest, OnFull::DropOldest];
    let on_full = on_full[thread_rng().gen_range(0..on_full.len())].clone();
    let queue = thread_rng().gen_range(0..LONGEST);
    let threads = if changes { thread_rng().gen_range(1..=WORKERS) } else { WORKERS };
    let pool = Pool::builder("history").threads(threads).queue(queue).resizable(WORKERS, LONGEST).on_full(on_full);
    let pool = pool.build().unwrap();
    let ledger = Arc::new(Ledger { changes, ..Ledger::default() });
    let time = ManualClock::new();
    let submitters: Vec<_> = (0..SUBMITTERS)
        .map(|s| {
            let (pool, ledger, time) = (pool.clone(), ledger.clone(), time.clone());
            shuttle::thread::spawn(move || {
                let token = CancelToken::new();
                let cx = Context::background().with_token(&token);
                cx.in_scope(|| (0..EACH).for_each(|n| submit_one(&pool, &ledger, &time, s * EACH + n)));
            })
        })
        .collect();
    if changes {
        meddle(&pool);
    }
    // In one of four histories the shutdown comes in between.
    let early = thread_rng().gen_range(0..4) == 0;
    if early {
        shut_down(&pool, changes);
    }
    submitters.into_iter().for_each(|submitter| submitter.join().unwrap());
    shut_down(&pool, changes);
    let stats = pool.stats();
    assert_eq!((stats.in_flight, stats.running, stats.alive), (0, 0, 0), "{stats:?}");
    assert_eq!(stats.accepted, stats.finished + stats.panicked + stats.shed, "{stats:?}");
    let [made, ran, dropped, ..] = ledger.read();
    assert_eq!(made, dropped, "every closure is dropped once");
    assert!(ran <= made);
    if !early {
        assert!(made >= SUBMITTERS * EACH);
    }
}

fn schedules() -> usize {
    std::env::var("WATERTIGHT_SCHEDULES").map_or(20_000, |n| n.parse().expect("a number"))
}

#[test]
fn shuttle_whatever_is_given_to_a_pool_ends_once() {
    shuttle::check_random(history, schedules() / 2);
}

/// The same with few preemptions at unlikely moments.
#[test]
fn shuttle_whatever_is_given_to_a_pool_ends_once_under_few_preemptions() {
    shuttle::check_pct(history, schedules() / 2, 3);
}

/// What a test of histories is worth: it must find mistakes that the models know.
fn known_mistakes_are_found(history: fn(), mistakes: &[&'static str]) {
    for &broken in mistakes {
        // On a thread of its own: an execution that failed leaves it in disorder.
        let found = std::thread::spawn(move || {
            crate::sync::break_on_purpose(broken);
            shuttle::check_random(history, 2_000);
        });
        assert!(found.join().is_err(), "{broken}");
    }
}

#[test]
fn shuttle_known_mistakes_are_found() {
    let mistakes = [
        "park: who lies down does not look again",
        "latch: who waits is looked up before the value is there",
        "frame: a lender is not woken",
        "full: a displaced job gives its place back too",
    ];
    known_mistakes_are_found(|| history_of(false), &mistakes);
}

#[test]
fn shuttle_known_mistakes_in_changing_a_pool_are_found() {
    let mistakes = [
        "park: a resume wakes nobody",
        "pool: a drain leaves a pool paused",
        "park: who sleeps is not told to leave",
        "park: who leaves keeps its search",
        "places: a smaller size is only written down",
        "worker: who is replaced leaves like one who is dismissed",
    ];
    known_mistakes_are_found(changing_history, &mistakes);
}
