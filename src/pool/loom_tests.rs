//! Models of the pool: the real pool on loom's threads, locks and queue.

use super::slot::SlotWait;
use super::{JobHandle, Pool};
use crate::context::Context;
use crate::error::{Interrupted, JobError};
use crate::sync::model::{model, spawn, twin, wide_model};
use crate::sync::{Parker, Waiter};
use crate::wait::Wait;
use crate::{CancelCause, CancelToken, ManualClock};
use loom::alloc::Track;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

fn pool(threads: usize, queue: usize) -> Pool {
    Pool::builder("m").threads(threads).queue(queue).build().unwrap()
}

fn for_ever() -> Context {
    Context::background()
}

/// A job that counts its runs, and whose closure loom misses if it is not dropped.
fn counted(runs: &Arc<AtomicUsize>) -> impl FnOnce() -> usize + Send + 'static {
    let (runs, track) = (runs.clone(), Track::new(()));
    move || {
        let _held = &track;
        runs.fetch_add(1, Ordering::Relaxed) + 1
    }
}

fn submit_against_shutdown() {
    let pool = pool(1, 1);
    let runs = Arc::new(AtomicUsize::new(0));
    let submitter = {
        let (pool, work) = (pool.clone(), counted(&runs));
        spawn(move || pool.try_submit(work).map(JobHandle::join))
    };
    pool.shutdown(&for_ever()).unwrap();
    let accepted = match submitter.join().unwrap() {
        Ok(joined) => {
            assert_eq!(joined.unwrap(), 1);
            1
        }
        Err(refused) => {
            drop(refused.into_work()); // it came back whole
            0
        }
    };
    assert_eq!(runs.load(Ordering::Relaxed), accepted);
    assert_eq!(pool.stats().in_flight, 0);
}

#[test]
fn loom_every_accepted_job_ends_exactly_once_when_submit_races_shutdown() {
    let name = "every accepted job ends exactly once when submit races shutdown";
    model(name, submit_against_shutdown);
    twin("pool: whoever drains stops the workers", submit_against_shutdown);
}

/// Worker, canceller and a joiner on one of the pool's own workers race for one queued job.
fn race_for_a_queued_job() {
    let pool = pool(1, 1);
    let runs = Arc::new(AtomicUsize::new(0));
    let handle = pool.submit(counted(&runs)).unwrap();
    let cell = handle.job.clone();
    // The claim alone, without the token that would hide a second one: nobody runs what is cancelled.
    let canceller = spawn(move || cell.shed(Interrupted::Cancelled(CancelCause::Requested)));
    let joined = {
        let pool = pool.clone();
        let joiner = spawn(move || {
            pool.owner.shared.mark_this_thread(1); // it counts with those who are none
            handle.join()
        });
        joiner.join().unwrap()
    };
    let shed = canceller.join().unwrap();
    pool.shutdown(&for_ever()).unwrap();
    match joined {
        Ok(run) => assert!(run == 1 && !shed),
        Err(JobError::Shed(_)) => assert_eq!(runs.load(Ordering::Relaxed), 0),
        Err(e) => panic!("{e}"),
    }
    assert_eq!((pool.stats().in_flight, pool.stats().running), (0, 0));
}

#[test]
fn loom_a_queued_job_is_run_or_shed_once_by_worker_canceller_or_joiner() {
    let name = "run xor shed when worker, canceller and joiner race for a queued job";
    wide_model(name, race_for_a_queued_job);
    twin("job: who sheds looks first and claims later", race_for_a_queued_job);
}

/// The only worker is stuck, so only the waiter itself can notice that the job's deadline has passed.
fn a_deadline_behind_a_stuck_worker() {
    let pool = pool(1, 1);
    let (time, gate) = (ManualClock::new(), CancelToken::new());
    let held = gate.clone();
    pool.execute(move || _ = held.wait(&for_ever())).unwrap();
    let cx = Context::background().with_clock(&time.clock()).with_timeout(Duration::from_secs(1));
    let runs = Arc::new(AtomicUsize::new(0));
    let handle = pool.job().context(&cx).submit(counted(&runs)).unwrap();
    let advancer = spawn(move || time.advance(Duration::from_secs(1)));
    assert!(matches!(handle.join(), Err(JobError::Shed(Interrupted::DeadlinePassed))));
    gate.cancel();
    advancer.join().unwrap();
    pool.shutdown(&for_ever()).unwrap();
    assert_eq!(runs.load(Ordering::Relaxed), 0);
}

#[test]
fn loom_a_queued_job_resolves_at_its_deadline_though_every_worker_is_stuck() {
    let name = "a queued job's handle resolves at its deadline though every worker is stuck";
    model(name, a_deadline_behind_a_stuck_worker);
    twin("clock: an advance wakes nobody", a_deadline_behind_a_stuck_worker);
}

#[test]
fn loom_a_deadline_against_the_worker_resolves_the_handle_once() {
    wide_model("deadline against worker: the handle resolves once, run xor shed", || {
        let pool = pool(1, 1);
        let time = ManualClock::new();
        let cx = Context::background().with_clock(&time.clock()).with_timeout(Duration::from_secs(1));
        let runs = Arc::new(AtomicUsize::new(0));
        let handle = pool.job().context(&cx).submit(counted(&runs)).unwrap();
        let advancer = spawn(move || time.advance(Duration::from_secs(1)));
        let joined = handle.join();
        advancer.join().unwrap();
        pool.shutdown(&for_ever()).unwrap();
        let ran = runs.load(Ordering::Relaxed);
        match joined {
            Ok(run) => assert_eq!((run, ran), (1, 1)),
            Err(JobError::Shed(Interrupted::DeadlinePassed)) => assert_eq!(ran, 0),
            Err(e) => panic!("{e}"),
        }
    });
}

fn the_place_is_free_when_join_returns() {
    let pool = pool(1, 0);
    pool.submit(|| ()).unwrap().join().unwrap();
    assert!(pool.try_submit(|| ()).is_ok(), "its only place was still taken");
}

#[test]
fn loom_when_join_returns_the_place_is_free() {
    model("when join returns, the place is free", the_place_is_free_when_join_returns);
    twin("job: the handle is completed before the place is back", the_place_is_free_when_join_returns);
}

fn a_waiting_submitter_gets_the_place_or_hears_of_the_shutdown() {
    let pool = pool(1, 0);
    let first = pool.submit(|| ()).unwrap();
    let waiting = {
        let pool = pool.clone();
        spawn(move || pool.submit(|| ()).map(JobHandle::join))
    };
    pool.shutdown(&for_ever()).unwrap();
    first.join().unwrap();
    if let Ok(joined) = waiting.join().unwrap() {
        joined.unwrap();
    }
    assert_eq!(pool.stats().in_flight, 0);
}

#[test]
fn loom_a_waiting_submitter_gets_the_place_or_hears_of_the_shutdown() {
    wide_model(
        "a waiting submitter gets the place or hears of the shutdown",
        a_waiting_submitter_gets_the_place_or_hears_of_the_shutdown,
    );
    twin("places: who is sent away is not woken", a_waiting_submitter_gets_the_place_or_hears_of_the_shutdown);
}

fn a_result_nobody_takes_is_dropped_once() {
    let pool = pool(1, 1);
    let handle = pool.submit(|| Track::new(())).unwrap();
    drop(handle);
    pool.shutdown(&for_ever()).unwrap();
}

#[test]
fn loom_a_result_nobody_takes_is_dropped_once() {
    model("a dropped handle against completion: the value is dropped once", a_result_nobody_takes_is_dropped_once);
    twin("job: the worker keeps what it has done", a_result_nobody_takes_is_dropped_once);
}

fn the_last_handle_may_be_dropped_inside_a_worker() {
    let pool = pool(2, 1);
    let inner = pool.clone();
    pool.execute(move || drop(inner)).unwrap();
    drop(pool);
}

#[test]
fn loom_the_last_handle_may_be_dropped_inside_a_worker() {
    // loom reports a worker that never leaves as a deadlock.
    model(
        "the last handle dropped inside a worker closes the pool once",
        the_last_handle_may_be_dropped_inside_a_worker,
    );
    twin("pool: the last handle drains nothing", the_last_handle_may_be_dropped_inside_a_worker);
}

/// A submitter that is not polled any more, granted a place meanwhile or not, does not hold up a shutdown.
fn an_unpolled_grant_against_drain() {
    let pool = pool(1, 0);
    let first = pool.submit(|| ()).unwrap();
    let mut waiting = SlotWait::new(&pool.owner.shared, 1);
    let asked = waiting.poll_wait(&Waiter::thread(&Parker::new()));
    if let Poll::Ready(place) = asked {
        return drop(place); // the first job had ended already: no race
    }
    let drainer = {
        let pool = pool.clone();
        spawn(move || pool.shutdown(&for_ever()).unwrap())
    };
    first.join().unwrap();
    drainer.join().unwrap(); // whether or not the waiter was granted the place that nobody polls it for
    waiting.give_up();
    assert_eq!(pool.stats().in_flight, 0);
}

#[test]
fn loom_a_grant_that_nobody_takes_does_not_hold_up_a_shutdown() {
    model("a grant that nobody takes does not hold up a shutdown", an_unpolled_grant_against_drain);
    twin("places: a grant nobody took is not taken back", an_unpolled_grant_against_drain);
}
