//! Models of the end of a scope. What is borrowed lies in a cell that loom watches.

use super::Pool;
use crate::context::Context;
use crate::sync::UnsafeCell;
use crate::sync::model::{model, spawn, twin, wide_model, widest_model};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// What jobs borrow: touched by one thread at a time, or loom fails. It is never freed, so that a twin only fails.
struct Data {
    cell: UnsafeCell<()>,
    /// What borrowed it is gone. None of loom's: to look at it is no step of the schedule.
    dropped: AtomicBool,
}

// SAFETY: that it is not used by two threads at once is what the models check; nothing is ever read or written.
unsafe impl Sync for Data {}

impl Data {
    fn new() -> &'static Self {
        Box::leak(Box::new(Self { cell: UnsafeCell::new(()), dropped: AtomicBool::new(false) }))
    }

    fn touch(&self) {
        self.cell.with_mut(|_| ());
    }
}

/// Touches it when it is dropped.
struct Touches<'a>(&'a Data);

impl Drop for Touches<'_> {
    fn drop(&mut self) {
        self.0.touch();
        self.0.dropped.store(true, Relaxed);
    }
}

fn pool(threads: usize, queue: usize) -> Pool {
    Pool::builder("m").threads(threads).queue(queue).build().unwrap()
}

fn the_last_access() {
    let (pool, data) = (pool(1, 1), Data::new());
    pool.scope(|s| drop(s.submit(|| data.touch())));
    data.touch();
}

/// The handle is dropped while the job is completed: closure and result both borrow.
fn a_result_nobody_takes() {
    let (pool, data) = (pool(1, 1), Data::new());
    pool.scope(|s| {
        let captured = Touches(data);
        drop(s.submit(move || captured));
    });
    assert!(data.dropped.load(Relaxed), "the result is still somewhere");
    data.touch();
}

#[test]
fn loom_the_scope_ends_after_the_last_access() {
    model("the scope ends after the last access of a closure", the_last_access);
    model("the scope ends after the last access of a result", a_result_nobody_takes);
    twin("job: it is over before its closure has run", the_last_access);
    twin("job: it is over before its closure has run", a_result_nobody_takes);
    twin("job: a result whose handle has gone meanwhile stays", a_result_nobody_takes);
    twin("group: who waits is looked up before the job is over", the_last_access);
}

/// The closure of the scope has returned, and waits, when the job submits another.
fn a_job_that_submits_another() {
    let (pool, data) = (pool(1, 2), Data::new());
    pool.scope(|s| {
        drop(s.submit(move || {
            data.touch();
            drop(s.submit(|| data.touch()));
        }));
    });
    data.touch();
}

#[test]
fn loom_a_job_submitted_by_a_job_is_waited_for() {
    model("a job submitted by a job is waited for", a_job_that_submits_another);
    twin("scope: who enters late is not waited for", a_job_that_submits_another);
}

/// The scope is cancelled while the worker takes the job.
fn a_cancel_against_the_worker() {
    let (pool, data) = (pool(1, 1), Data::new());
    pool.scope(|s| {
        let captured = Touches(data);
        let handle = s.submit(move || drop(captured));
        s.cancel();
        drop(handle);
    });
    data.touch();
    pool.shutdown(&Context::background()).unwrap();
    assert_eq!(pool.stats().in_flight, 0);
}

#[test]
fn loom_a_cancelled_scope_ends_after_the_last_access() {
    model("a cancelled scope ends after the last access", a_cancel_against_the_worker);
    twin("job: it is over before its closure has run", a_cancel_against_the_worker);
}

/// On one of the pool's own workers: the end of the scope and the other worker race for the job.
fn the_end_on_a_worker() {
    let pool = pool(2, 1);
    let inner = pool.clone();
    let outer = pool.submit(move || {
        let data = Data::new();
        inner.scope(|s| drop(s.submit(|| data.touch())));
        data.touch();
    });
    outer.unwrap().join().unwrap();
}

#[test]
fn loom_the_end_of_a_scope_on_a_worker_runs_what_is_queued() {
    widest_model("the end of a scope on a worker runs what is queued, and waits for what runs", the_end_on_a_worker);
    twin("job: it is over before its closure has run", the_end_on_a_worker);
}

fn a_scope_against_shutdown() {
    let (pool, data) = (pool(1, 0), Data::new());
    let scope = {
        let pool = pool.clone();
        spawn(move || {
            pool.scope(|s| drop(s.submit(|| data.touch())));
            data.touch();
        })
    };
    pool.shutdown(&Context::background()).unwrap();
    scope.join().unwrap();
    assert_eq!(pool.stats().in_flight, 0);
}

#[test]
fn loom_a_scope_against_a_shutdown_runs_its_job_here_or_there() {
    wide_model("a scope against a shutdown runs its job, here or there", a_scope_against_shutdown);
    twin("pool: whoever drains stops the workers", a_scope_against_shutdown);
}
