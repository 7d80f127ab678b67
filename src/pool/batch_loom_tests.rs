//! Models of results taken together.

use super::{Batch, Pool};
use crate::context::Context;
use crate::error::JobError;
use crate::sync::model::{block_on_future, model, spawn, twin, wide_model};
use loom::alloc::Track;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering};

fn pool(threads: usize, queue: usize) -> Pool {
    Pool::builder("m").threads(threads).queue(queue).build().unwrap()
}

/// A job that counts its runs, and whose closure and result loom misses if they are not dropped.
fn counted(runs: &Arc<AtomicUsize>) -> impl FnOnce() -> Track<usize> + Send + 'static {
    let (runs, track) = (runs.clone(), Track::new(()));
    move || {
        let _held = &track;
        Track::new(runs.fetch_add(1, Ordering::Relaxed) + 1)
    }
}

fn results_as_they_complete() {
    let (pool, runs) = (pool(1, 2), Arc::new(AtomicUsize::new(0)));
    let mut batch = pool.batch();
    batch.submit(counted(&runs)).unwrap();
    batch.submit(counted(&runs)).unwrap();
    assert_eq!(*batch.next().unwrap().unwrap().get_ref(), 1);
    assert_eq!(*batch.next().unwrap().unwrap().get_ref(), 2);
    assert!(batch.next().is_none());
}

fn a_task_that_waits_for_the_next() {
    let (pool, runs) = (pool(1, 1), Arc::new(AtomicUsize::new(0)));
    let mut batch = pool.batch();
    batch.submit(counted(&runs)).unwrap();
    assert!(block_on_future(batch.next_async()).unwrap().is_ok());
}

fn all_of_them() {
    let (pool, runs) = (pool(1, 2), Arc::new(AtomicUsize::new(0)));
    let mut batch = pool.batch();
    batch.submit(counted(&runs)).unwrap();
    batch.submit(counted(&runs)).unwrap();
    assert_eq!(batch.join_all().unwrap().len(), 2);
}

#[test]
fn loom_results_as_they_complete_lose_no_wake_up() {
    model("results as they complete lose no wake-up", results_as_they_complete);
    model("a task that waits for the next result is woken", a_task_that_waits_for_the_next);
    model("who waits for all is woken by the last", all_of_them);
    for body in [results_as_they_complete, a_task_that_waits_for_the_next, all_of_them] {
        twin("group: who waits is looked up before the job is over", body);
    }
}

/// One of two fails while the other runs or is queued.
fn the_first_failure_ends_the_wait() {
    let (pool, runs) = (pool(1, 2), Arc::new(AtomicUsize::new(0)));
    let mut batch = pool.batch();
    let (first, second) = (counted(&runs), counted(&runs));
    batch.submit(first).unwrap();
    batch.submit(second).unwrap();
    let other = batch.members_for_tests().next().unwrap().clone();
    let canceller = spawn(move || other.shed(crate::error::Interrupted::DeadlinePassed));
    let joined = batch.join_all();
    let shed = canceller.join().unwrap();
    assert_eq!(shed, matches!(joined, Err(JobError::Shed(_))));
    drop(joined);
    pool.shutdown(&Context::background()).unwrap();
    assert_eq!(pool.stats().in_flight, 0);
}

#[test]
fn loom_the_first_failure_ends_the_wait_for_all() {
    wide_model("the first failure ends the wait for all, and all places come back", the_first_failure_ends_the_wait);
    twin("group: who waits is looked up before the job is over", the_first_failure_ends_the_wait);
}

fn a_batch_against_shutdown() {
    let (pool, runs) = (pool(1, 1), Arc::new(AtomicUsize::new(0)));
    let submitter = {
        let (pool, work) = (pool.clone(), counted(&runs));
        spawn(move || {
            let mut batch = pool.batch();
            let accepted = batch.try_submit(work).is_ok();
            let each = batch.join_each();
            assert!(each.iter().all(Result::is_ok) && each.len() == usize::from(accepted));
            accepted
        })
    };
    pool.shutdown(&Context::background()).unwrap();
    let accepted = submitter.join().unwrap();
    assert_eq!(runs.load(Ordering::Relaxed), usize::from(accepted));
    assert_eq!(pool.stats().in_flight, 0);
}

#[test]
fn loom_what_a_batch_was_promised_it_gets_when_the_pool_shuts_down() {
    wide_model("what a batch was promised it gets when the pool shuts down", a_batch_against_shutdown);
    twin("pool: whoever drains stops the workers", a_batch_against_shutdown);
}

fn a_batch_dropped_while_its_job_ends() {
    let (pool, runs) = (pool(1, 1), Arc::new(AtomicUsize::new(0)));
    let mut batch: Batch<_> = pool.batch();
    batch.submit(counted(&runs)).unwrap();
    drop(batch);
    pool.shutdown(&Context::background()).unwrap();
    assert_eq!(pool.stats().in_flight, 0);
}

#[test]
fn loom_a_batch_dropped_while_its_job_ends_leaves_nothing() {
    model("a batch dropped while its job ends leaves nothing", a_batch_dropped_while_its_job_ends);
    twin("job: the worker keeps what it has done", a_batch_dropped_while_its_job_ends);
}
