//! Models of several jobs joined at once.

use super::partial::{BranchError, Partial};
use super::{JobHandle, Pool};
use crate::ManualClock;
use crate::context::Context;
use crate::error::Interrupted;
use crate::sync::model::{model, twin, wide_model};
use loom::alloc::Track;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const LATE: BranchError = BranchError::Late(Interrupted::DeadlinePassed);

/// A pool with a job that counts its runs, and a context that ends when the clock is moved.
fn scene() -> (Pool, JobHandle<usize>, Arc<AtomicUsize>, ManualClock, Context) {
    let pool = Pool::builder("m").threads(1).queue(1).build().unwrap();
    let (runs, track) = (Arc::new(AtomicUsize::new(0)), Track::new(()));
    let counts = runs.clone();
    let job = move || {
        let _held = &track; // loom misses it if the closure is not dropped
        counts.fetch_add(1, Ordering::Relaxed) + 1
    };
    // In a context of its own, whose token tells what it was told.
    let own = Context::background().with_token(&crate::CancelToken::new());
    let handle = pool.job().context(&own).submit(job).unwrap();
    let time = ManualClock::new();
    let cx = Context::background().with_clock(&time.clock()).with_timeout(SECOND);
    (pool, handle, runs, time, cx)
}

fn is_late(ended: &Result<usize, BranchError>) -> bool {
    ended.as_ref().is_err_and(|why| why.to_string() == LATE.to_string())
}

/// The worker works at it while the join sees that the time is over.
fn a_branch_that_ends_while_the_deadline_passes() {
    let (pool, handle, runs, time, cx) = scene();
    let job = handle.job.clone();
    time.advance(SECOND);
    let arrived = Partial::new().optional(handle).join(&cx).unwrap();
    let (late, ended) = (is_late(&arrived.optional[0]), job.latch().is_done());
    assert!(late || matches!(arrived.optional[0], Ok(1)), "{arrived:?}");
    assert!(ended || late && job.meta().cx.token().is_cancelled(), "it runs on, and nobody wants it");
    pool.shutdown(&Context::background()).unwrap();
    let ran = runs.load(Ordering::Relaxed);
    assert!(ran == 1 || late && ran == 0);
    assert_eq!(pool.stats().in_flight, 0, "its place came back");
}

#[test]
fn loom_a_branch_that_ends_while_the_deadline_passes_is_returned_or_cancelled_once() {
    let name = "a branch that ends while the deadline passes is returned or cancelled, once, and its place comes back";
    model(name, a_branch_that_ends_while_the_deadline_passes);
    twin("partial: what is late is not cancelled", a_branch_that_ends_while_the_deadline_passes);
}

/// The only worker moves the clock when it has done the branch.
fn a_branch_that_ends_before_the_deadline_passes() {
    let (pool, handle, runs, time, cx) = scene();
    pool.execute(move || time.advance(SECOND)).unwrap();
    let arrived = Partial::new().mandatory(handle).join(&cx).unwrap();
    assert_eq!(arrived.mandatory, [1]);
    pool.shutdown(&Context::background()).unwrap();
    assert_eq!(runs.load(Ordering::Relaxed), 1);
}

#[test]
fn loom_what_had_ended_when_the_deadline_passed_is_given() {
    wide_model("what had ended when the deadline passed is given", a_branch_that_ends_before_the_deadline_passes);
    twin("partial: what arrives last is not looked for", a_branch_that_ends_before_the_deadline_passes);
}
