//! What other pools have, under their names: `join`, the counts, and `run`.

use std::future::Future;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Barrier};
use std::task::{Context as Task, Poll, Waker};
use std::thread;
use std::time::Duration;
use watertight::{CallError, CancelCause, CancelToken, Context, Interrupted, ManualClock, Pool, RejectReason};

fn pool(threads: usize, queue: usize) -> Pool {
    Pool::builder("familiar").threads(threads).queue(queue).build().unwrap()
}

/// A job that says when it has begun and ends when it is let go.
fn gated() -> (impl FnOnce() + Send + 'static, Receiver<()>, Sender<()>) {
    let ((begun, has_begun), (let_go, gate)) = (channel(), channel::<()>());
    let job = move || {
        let _ = begun.send(());
        let _ = gate.recv();
    };
    (job, has_begun, let_go)
}

fn look<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    pin!(future).poll(&mut Task::from_waker(Waker::noop()))
}

#[test]
fn join_waits_for_all_that_is_queued_or_running() {
    let pool = pool(2, 100);
    for round in 1..=50 {
        let done = Arc::new(AtomicUsize::new(0));
        for _ in 0..round {
            let done = done.clone();
            let count = move || {
                done.fetch_add(1, SeqCst);
            };
            pool.execute(count).unwrap();
        }
        pool.join().unwrap();
        assert_eq!(done.load(SeqCst), round);
        assert_eq!(pool.stats().in_flight, 0);
    }
    pool.join().unwrap(); // idle: at once
    pool.shutdown(&Context::background()).unwrap();
    pool.join().unwrap();
}

#[test]
fn join_ends_with_its_context_and_says_what_is_left() {
    let pool = pool(1, 1);
    let (job, begun, go) = gated();
    pool.execute(job).unwrap();
    begun.recv().unwrap();
    pool.execute(|| ()).unwrap();
    let time = ManualClock::new();
    let cx = Context::background().with_clock(&time.clock()).with_timeout(Duration::from_secs(1));
    time.advance(Duration::from_secs(2));
    let left = cx.in_scope(|| pool.join()).unwrap_err();
    assert_eq!((left.why, left.in_flight), (Some(Interrupted::DeadlinePassed), 2));
    assert_eq!(left.to_string(), "not idle: 2 in flight");
    drop(go);
    pool.join().unwrap(); // who gave up has left no trace
}

#[test]
fn a_join_that_is_cancelled_while_it_waits_harms_no_other() {
    let pool = pool(1, 0);
    let (job, begun, go) = gated();
    pool.execute(job).unwrap();
    begun.recv().unwrap();
    let token = CancelToken::new();
    thread::scope(|scope| {
        let cx = Context::background().with_token(&token);
        let pool = &pool;
        let given_up = scope.spawn(move || cx.in_scope(|| pool.join()));
        let others: Vec<_> = (0..3).map(|_| scope.spawn(move || pool.join())).collect();
        token.cancel();
        let left = given_up.join().unwrap().unwrap_err();
        assert_eq!(left.why, Some(Interrupted::Cancelled(CancelCause::Requested)));
        drop(go);
        others.into_iter().for_each(|other| other.join().unwrap().unwrap());
    });
}

#[test]
fn on_its_own_worker_join_says_that_its_job_is_running() {
    // rust-threadpool#56: joining from inside would wait for itself.
    let pool = pool(1, 4);
    let inner = pool.clone();
    let left = pool.submit(move || inner.join()).unwrap().join().unwrap().unwrap_err();
    assert_eq!((left.why, left.in_flight), (None, 1));
    // In another pool's job it is a wait like any other.
    let other = self::pool(1, 0);
    let inner = pool.clone();
    other.submit(move || inner.join()).unwrap().join().unwrap().unwrap();
}

#[test]
fn many_joins_against_many_jobs_all_come_back() {
    let pool = pool(2, 8);
    let start = Barrier::new(4);
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                start.wait();
                (0..2_000).for_each(|_| pool.execute(|| ()).unwrap());
            });
            scope.spawn(|| {
                start.wait();
                (0..500).for_each(|_| pool.join().unwrap());
            });
        }
    });
    pool.join().unwrap();
    assert_eq!((pool.stats().in_flight, pool.stats().finished), (0, 4_000));
}

#[test]
fn the_counts_have_their_familiar_names() {
    let pool = pool(1, 2);
    pool.submit(|| panic!("counted")).unwrap().join().unwrap_err();
    let (job, begun, go) = gated();
    pool.execute(job).unwrap();
    begun.recv().unwrap();
    pool.execute(|| ()).unwrap();
    let counts = (pool.active_count(), pool.queued_count(), pool.panic_count(), pool.max_count());
    assert_eq!(counts, (1, 1, 1, 1));
    drop(go);
}

#[test]
fn run_begins_without_being_polled_and_detaches() {
    let pool = pool(1, 0);
    let (job, begun, go) = gated();
    let run = pool.run(job);
    begun.recv().unwrap();
    assert!(!run.handle().unwrap().is_finished());
    drop(run);
    assert_eq!(pool.active_count(), 1); // nobody waits for it, and it runs on
    drop(go);
    pool.join().unwrap();
    let mut run = pool.run(|| 7);
    assert!(matches!(futures::executor::block_on(&mut run), Ok(7)));
}

#[test]
fn run_waits_in_line_when_the_pool_is_full() {
    let pool = pool(1, 0);
    let (job, begun, go) = gated();
    let first = pool.run(job);
    begun.recv().unwrap();
    let held = Arc::new(());
    let work = |held: Arc<()>| move || Arc::strong_count(&held);
    let (mut waits, dropped) = (pool.run(work(held.clone())), pool.run(work(held.clone())));
    assert!(waits.handle().is_none() && look(&mut waits).is_pending());
    assert_eq!((pool.queued_count(), pool.stats().refused_full), (0, 0), "the caller waits, nothing is queued");
    assert_eq!(Arc::strong_count(&held), 3);
    drop(dropped);
    assert_eq!(Arc::strong_count(&held), 2, "unrun, and dropped");
    drop(go);
    assert_eq!(futures::executor::block_on(waits).unwrap(), 2);
    futures::executor::block_on(first).unwrap();
}

#[test]
fn run_is_refused_by_its_context_by_a_shutdown_and_on_its_own_full_pool() {
    let pool = pool(1, 0);
    let ended = Context::background().with_timeout(Duration::ZERO);
    let refused = |run: Result<(), CallError>| match run {
        Err(CallError::Rejected(reason)) => reason,
        other => panic!("{other:?}"),
    };
    let run = ended.in_scope(|| pool.run(|| ()));
    assert_eq!(refused(futures::executor::block_on(run)), RejectReason::DeadlinePassed);
    let inner = pool.clone();
    let own = pool.submit(move || futures::executor::block_on(inner.run(|| ()))).unwrap().join().unwrap();
    assert_eq!(refused(own), RejectReason::Full { limit: 1, waiting: 0 });
    pool.shutdown(&Context::background()).unwrap();
    assert_eq!(refused(futures::executor::block_on(pool.run(|| ()))), RejectReason::ShuttingDown);
    assert!(matches!(
        futures::executor::block_on(self::pool(1, 0).run(|| panic!("told"))),
        Err(CallError::Panicked(_))
    ));
}
