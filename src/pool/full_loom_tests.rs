//! Models of a full pool: displaced jobs, places held by hand, batches, and calls.

use super::on_full::OnFull;
use super::{JobHandle, Pool};
use crate::ManualClock;
use crate::context::Context;
use crate::error::{CallError, Interrupted, JobError, RejectReason};
use crate::sync::model::{spawn, twin, wide_model};
use loom::alloc::Track;
use loom::sync::Arc;
use loom::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

fn pool(queue: usize, on_full: OnFull) -> Pool {
    Pool::builder("m").threads(1).queue(queue).on_full(on_full).build().unwrap()
}

/// A job that counts its runs, and whose closure loom misses if it is not dropped.
fn counted(runs: &Arc<AtomicUsize>) -> impl FnOnce() + Send + 'static {
    let (runs, track) = (runs.clone(), Track::new(()));
    move || {
        let _held = &track;
        runs.fetch_add(1, Ordering::Relaxed);
    }
}

/// A queued job is displaced while a worker may have it already, and while its handle is cancelled.
fn displaced_or_run() {
    let pool = pool(0, OnFull::DropOldest);
    let runs = Arc::new(AtomicUsize::new(0));
    let oldest = pool.submit(counted(&runs)).unwrap();
    let submitter = {
        let (pool, work) = (pool.clone(), counted(&runs));
        spawn(move || usize::from(pool.execute(work).is_ok()))
    };
    oldest.cancel();
    let ended = oldest.join();
    let accepted = 1 + submitter.join().unwrap();
    pool.shutdown(&Context::background()).unwrap();
    let stats = pool.stats();
    assert_eq!(stats.in_flight, 0);
    assert_eq!(stats.finished + stats.shed, accepted as u64);
    assert_eq!(stats.finished, runs.load(Ordering::Relaxed) as u64);
    assert!(matches!(ended, Ok(()) | Err(JobError::Shed(Interrupted::Cancelled(_)))));
}

#[test]
fn loom_a_job_is_run_or_displaced_once_and_its_place_goes_on() {
    wide_model("a job is run or displaced, once, and its place goes on", displaced_or_run);
    twin("full: a displaced job gives its place back too", displaced_or_run);
}

/// Places held by hand, and jobs in them, against the close.
fn held_places_against_shutdown() {
    let pool = pool(1, OnFull::Wait);
    let runs = Arc::new(AtomicUsize::new(0));
    let holder = {
        let (pool, works) = (pool.clone(), vec![counted(&runs), counted(&runs)]);
        spawn(move || match pool.reserve_many(2) {
            Ok(slots) => {
                slots.zip(works).for_each(|(slot, work)| slot.execute(work));
                2
            }
            Err(RejectReason::ShuttingDown) => 0,
            Err(e) => panic!("{e}"),
        })
    };
    pool.shutdown(&Context::background()).unwrap();
    let accepted = holder.join().unwrap();
    assert_eq!((runs.load(Ordering::Relaxed), pool.stats().in_flight), (accepted, 0));
}

/// A batch against the close: whole, or back whole.
fn a_batch_against_shutdown() {
    let pool = pool(1, OnFull::Wait);
    let runs = Arc::new(AtomicUsize::new(0));
    let submitter = {
        let (pool, works) = (pool.clone(), vec![counted(&runs), counted(&runs)]);
        spawn(move || match pool.submit_batch(works) {
            Ok(handles) => handles.into_iter().map(JobHandle::join).filter(Result::is_ok).count(),
            Err(refused) => {
                assert_eq!(refused.into_work().len(), 2);
                0
            }
        })
    };
    pool.shutdown(&Context::background()).unwrap();
    let accepted = submitter.join().unwrap();
    assert!(accepted == 0 || accepted == 2);
    assert_eq!((runs.load(Ordering::Relaxed), pool.stats().in_flight), (accepted, 0));
}

#[test]
fn loom_what_is_held_or_submitted_together_is_done_whole_or_refused_whole_at_a_close() {
    wide_model("places held against a close: their jobs run, or none was held", held_places_against_shutdown);
    twin("pool: whoever drains stops the workers", held_places_against_shutdown);
    wide_model("a batch against a close is run whole or comes back whole", a_batch_against_shutdown);
    twin("pool: whoever drains stops the workers", a_batch_against_shutdown);
}

/// A call whose deadline comes while it is queued, or runs, or is done.
fn a_call_against_its_deadline() {
    let pool = pool(0, OnFull::Wait);
    let time = ManualClock::new();
    let cx = Context::background().with_clock(&time.clock()).with_timeout(Duration::from_secs(1));
    let advancer = spawn(move || time.advance(Duration::from_secs(1)));
    let mut borrowed = Track::new(0);
    let called = pool.job().context(&cx).call(|| *borrowed.get_mut() += 1);
    let runs = *borrowed.get_ref();
    match called {
        Ok(()) => assert_eq!((runs, pool.stats().in_flight), (1, 0), "its place is back"),
        Err(CallError::Rejected(RejectReason::DeadlinePassed)) => assert_eq!(runs, 0),
        Err(e) => panic!("{e}"),
    }
    advancer.join().unwrap();
    pool.shutdown(&Context::background()).unwrap();
    assert_eq!(pool.stats().in_flight, 0);
}

#[test]
fn loom_a_call_is_run_or_withdrawn_by_its_deadline() {
    wide_model("a call is run, or withdrawn at its deadline", a_call_against_its_deadline);
    twin("call: the place is back after the caller is told", a_call_against_its_deadline);
}
