//! Models of a pool's life: its shutdown in stages against what runs.

use super::report::{ShutdownReport, StillRunning};
use super::stop::Drain;
use super::{JobHandle, Pool};
use crate::context::Context;
use crate::error::{CancelCause, Interrupted, JobError};
use crate::sync::model::{model, spawn, twin, wide_model, widest_model};
use crate::{CancelToken, ManualClock};
use loom::alloc::Track;
use loom::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

fn pool(threads: usize, queue: usize) -> Pool {
    Pool::builder("m").threads(threads).queue(queue).build().unwrap()
}

fn for_ever() -> Context {
    Context::background()
}

fn at_once() -> Context {
    let token = CancelToken::new();
    token.cancel();
    Context::background().with_token(&token)
}

const SHUT_DOWN: Interrupted = Interrupted::Cancelled(CancelCause::Shutdown);

fn report(outcome: Result<ShutdownReport, StillRunning>) -> ShutdownReport {
    outcome.unwrap_or_else(|left| left.report)
}

/// All lines of the report, and what had ended before.
fn sum(pool: &Pool, report: &ShutdownReport) -> u64 {
    let before = pool.owner.shared.life.lock().at_close().unwrap();
    let told = report.finished + report.cancelled + report.never_ran;
    before.ran + before.shed + told + report.queued as u64 + report.running.len() as u64
}

fn an_impatient_shutdown_against_a_jobs_end() {
    let pool = pool(1, 0);
    let seen = loom::sync::atomic::AtomicUsize::new(0);
    pool.execute(move || _ = seen.fetch_add(1, Relaxed)).unwrap(); // what loom can stop in the middle
    let report = report(pool.stop().drain(Drain::For(Duration::ZERO)).wait(&at_once()));
    assert_eq!(sum(&pool, &report), 1, "{report:?}");
    let last = pool.shutdown(&for_ever()).unwrap();
    assert_eq!((sum(&pool, &last), last.queued, last.running.len()), (1, 0, 0));
}

#[test]
fn loom_a_shutdown_counts_each_job_once_while_jobs_end() {
    let name = "a shutdown counts each job once while jobs end";
    model(name, an_impatient_shutdown_against_a_jobs_end);
}

fn a_shutdown_cancels_what_listens(with_handle: bool) {
    let pool = pool(1, 0);
    let listens = || _ = Context::current().token().wait(&for_ever());
    // A job of a context of its own: the others are at home, and need no look.
    let cx = Context::background().with_token(&CancelToken::new());
    let handle = with_handle.then(|| pool.job().context(&cx).submit(listens).unwrap());
    if !with_handle {
        pool.execute(listens).unwrap();
    }
    // A job that is missed is waited for in vain, which loom reports as a deadlock.
    let report = pool.stop().drain(Drain::For(Duration::ZERO)).wait(&for_ever()).unwrap();
    assert_eq!((report.cancelled + report.never_ran, sum(&pool, &report)), (1, 1));
    if let Some(handle) = handle {
        assert!(matches!(handle.join(), Ok(()) | Err(JobError::Shed(SHUT_DOWN))));
    }
}

#[test]
fn loom_no_running_job_is_missed_by_the_cancelling() {
    model("no running job in a context of its own is missed by the cancelling", || {
        a_shutdown_cancels_what_listens(true);
    });
    for broken in [
        "post: who begins does not look whether the pool was cancelled",
        "stop: what runs in a context of its own is not told",
    ] {
        twin(broken, || a_shutdown_cancels_what_listens(true));
    }
    model("no running job in the background is missed by the cancelling", || a_shutdown_cancels_what_listens(false));
}

/// The job ends only after its handle has said what became of it.
fn an_abandoned_job_is_joined_while_it_runs() {
    let pool = pool(1, 0);
    let gate = CancelToken::new();
    let held = gate.clone();
    let handle = pool.submit(move || _ = held.wait(&for_ever())).unwrap();
    let joiner = spawn(move || handle.join());
    drop(pool.stop().drain(Drain::For(Duration::ZERO)).wait(&at_once()));
    assert!(matches!(joiner.join().unwrap(), Err(JobError::Abandoned | JobError::Shed(SHUT_DOWN))));
    gate.cancel();
    pool.shutdown(&for_ever()).unwrap();
}

#[test]
fn loom_the_handle_of_an_abandoned_job_resolves_while_it_runs() {
    let name = "the handle of an abandoned job resolves while it runs";
    wide_model(name, an_abandoned_job_is_joined_while_it_runs);
    twin("stop: nobody hears that the jobs are abandoned", an_abandoned_job_is_joined_while_it_runs);
}

/// The job ends while its pool abandons it: its result is taken or dropped, once.
fn abandoning_against_completion() {
    let pool = pool(1, 0);
    let handle = pool.submit(|| Track::new(())).unwrap();
    let joiner = spawn(move || JobHandle::join(handle).map(drop));
    drop(pool.stop().drain(Drain::For(Duration::ZERO)).wait(&at_once()));
    assert!(matches!(joiner.join().unwrap(), Ok(()) | Err(JobError::Abandoned | JobError::Shed(SHUT_DOWN))));
    pool.shutdown(&for_ever()).unwrap();
    assert_eq!(pool.stats().in_flight, 0);
}

#[test]
fn loom_a_handle_is_completed_once_by_its_job_or_by_being_abandoned() {
    let name = "a handle is completed once, by its job or by being abandoned";
    wide_model(name, abandoning_against_completion);
    twin("job: the worker keeps what it has done", abandoning_against_completion);
}

/// The deadline passes, stage by stage, while the job ends.
fn the_stages_by_the_clock() {
    let pool = pool(1, 0);
    let time = ManualClock::new();
    let cx = Context::background().with_clock(&time.clock()).with_timeout(Duration::from_secs(4));
    let advancer = spawn(move || {
        time.advance(Duration::from_secs(3));
        time.advance(Duration::from_secs(1));
    });
    pool.execute(|| _ = Context::current().token().wait(&for_ever())).unwrap();
    let told = report(pool.shutdown(&cx));
    assert_eq!((sum(&pool, &told), told.finished), (1, 0), "{told:?}");
    advancer.join().unwrap();
    pool.shutdown(&for_ever()).unwrap();
}

#[test]
fn loom_a_shutdown_passes_its_stages_by_its_clock() {
    wide_model("a shutdown passes its stages by its clock", the_stages_by_the_clock);
    twin("clock: an advance wakes nobody", the_stages_by_the_clock);
}

/// A job that is submitted while the pool is paused and then shut down is done, or comes back.
fn a_shutdown_of_a_paused_pool() {
    let pool = pool(1, 1);
    let submitter = {
        let pool = pool.clone();
        spawn(move || pool.try_submit(|| 1).ok().map(JobHandle::join))
    };
    pool.pause();
    let report = pool.shutdown(&for_ever()).unwrap();
    pool.pause();
    let joined = submitter.join().unwrap();
    assert!(joined.is_none_or(|joined| joined.unwrap() == 1) && report.never_ran == 0 && !pool.is_paused());
}

#[test]
fn loom_a_paused_pool_that_is_shut_down_does_what_it_has() {
    model("a paused pool that is shut down does what it has", a_shutdown_of_a_paused_pool);
    twin("pool: a drain leaves a pool paused", a_shutdown_of_a_paused_pool);
}

/// A worker more and a worker less around a job that one of them takes.
fn sizes_against_a_submit() {
    let pool = Pool::builder("m").threads(1).queue(0).resizable(2, 0).build().unwrap();
    pool.resize(2, 0).unwrap();
    let handle = pool.submit(|| 1).unwrap();
    pool.resize(1, 0).unwrap();
    assert_eq!(handle.join().unwrap(), 1);
    let one = pool.try_reserve().unwrap();
    assert!(pool.try_reserve().is_err(), "a place from nothing");
    drop(one);
    pool.shutdown(&for_ever()).unwrap(); // nobody is left behind
    assert_eq!((pool.stats().alive, pool.stats().in_flight), (0, 0));
}

#[test]
fn loom_a_pool_that_is_resized_strands_nobody() {
    widest_model("a pool that is resized strands nobody", sizes_against_a_submit);
    twin("park: who sleeps is not told to leave", sizes_against_a_submit);
}

/// The only worker is replaced while a job is queued.
fn a_worker_is_replaced_while_a_job_comes() {
    let pool = pool(1, 1);
    pool.execute(|| assert!(super::retire_worker())).unwrap();
    assert_eq!(pool.submit(|| 1).unwrap().join().unwrap(), 1);
    pool.shutdown(&for_ever()).unwrap();
    assert_eq!(pool.stats().alive, 0);
}

#[test]
fn loom_a_job_is_done_though_the_worker_is_replaced() {
    widest_model("a job is done though the worker is replaced", a_worker_is_replaced_while_a_job_comes);
    twin("park: who lies down does not look again", a_worker_is_replaced_while_a_job_comes);
}
