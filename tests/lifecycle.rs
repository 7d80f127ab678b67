//! The life of a pool through its public face: shutdown in stages, pause, resize, retirement, hooks and panics.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use watertight::event::{self, Event};
use watertight::pool::{Drain, ShutdownReport};
use watertight::{
    CallError, CancelCause, CancelToken, Context, Interrupted, JobError, ManualClock, Pool, RejectReason,
};

const SHUT_DOWN: Interrupted = Interrupted::Cancelled(CancelCause::Shutdown);

fn pool(threads: usize, queue: usize) -> Pool {
    Pool::builder("life").threads(threads).queue(queue).build().unwrap()
}

/// A job that says that it has begun and then waits, whatever it is told, until the sender is dropped.
fn deaf() -> (impl FnOnce() + Send + 'static, Receiver<()>, Sender<()>) {
    let (begin, begun) = channel();
    let (go, until) = channel::<()>();
    let job = move || {
        begin.send(()).unwrap();
        let _ = until.recv();
    };
    (job, begun, go)
}

/// A context that has ended: no patience at all.
fn at_once() -> Context {
    let token = CancelToken::new();
    token.cancel();
    Context::background().with_token(&token)
}

fn for_ever() -> Context {
    Context::background()
}

fn now(pool: &Pool) -> watertight::pool::Stop<'_> {
    pool.stop().drain(Drain::For(Duration::ZERO))
}

fn lines(report: &ShutdownReport) -> (u64, u64, u64, usize, usize) {
    (report.finished, report.cancelled, report.never_ran, report.queued, report.running.len())
}

#[test]
fn a_shutdown_drains_then_cancels_then_abandons_by_one_clock() {
    let pool = pool(3, 4);
    let time = ManualClock::new();
    let cx = Context::background().with_clock(&time.clock()).with_timeout(Duration::from_secs(100));
    let (quick, quick_begun, quick_go) = deaf();
    let (stuck, stuck_begun, stuck_go) = deaf();
    let quick = pool.submit(quick).unwrap();
    let stuck = pool.job().name("stuck").submit(stuck).unwrap();
    quick_begun.recv().unwrap();
    stuck_begun.recv().unwrap();
    let (begin, begun) = channel();
    let told = pool.submit(move || {
        begin.send(()).unwrap();
        Context::current().sleep(Duration::from_secs(3600))
    });
    begun.recv().unwrap();
    let queued = pool.submit(|| 2).unwrap();

    let mut stopping = pool.shutdown_async(&cx);
    let mut look = || futures::executor::block_on(async { futures::poll!(&mut stopping) });
    assert!(look().is_pending());
    drop(quick_go);
    quick.join().unwrap();
    assert_eq!(queued.join().unwrap(), 2); // while there is time, what is queued is done
    time.advance(Duration::from_secs(74));
    assert!(look().is_pending() && !stuck.is_finished());
    time.advance(Duration::from_secs(1)); // three quarters
    assert!(look().is_pending());
    assert_eq!(told.unwrap().join().unwrap(), Err(SHUT_DOWN));
    time.advance(Duration::from_secs(25));
    let std::task::Poll::Ready(Err(left)) = look() else { panic!("the time is over") };
    assert_eq!(left.why, Some(Interrupted::DeadlinePassed));
    assert_eq!(lines(&left.report), (2, 1, 0, 0, 1));
    assert_eq!(left.report.running[0].name.as_deref(), Some("stuck"));
    assert!(stuck.is_finished());
    assert!(matches!(stuck.join(), Err(JobError::Abandoned)));
    drop(stuck_go);
    assert_eq!(lines(&pool.shutdown(&for_ever()).unwrap()), (2, 2, 0, 0, 0));
}

#[test]
fn the_cancel_stage_reaches_jobs_without_a_handle_and_leaves_their_submitters_alone() {
    let pool = pool(3, 0);
    let token = CancelToken::new();
    let cx = Context::background().with_token(&token);
    let (tell, told) = channel();
    let listens = |begin: Sender<()>| {
        let tell = tell.clone();
        move || {
            begin.send(()).unwrap();
            tell.send(Context::current().sleep(Duration::from_secs(3600))).unwrap();
        }
    };
    let (begin, begun) = channel();
    pool.execute(listens(begin.clone())).unwrap();
    pool.job().name("named").execute(listens(begin.clone())).unwrap();
    pool.job().context(&cx).execute(listens(begin)).unwrap();
    (0..3).for_each(|_| begun.recv().unwrap());
    let report = now(&pool).wait(&for_ever()).unwrap();
    assert_eq!(lines(&report), (0, 3, 0, 0, 0));
    (0..3).for_each(|_| assert_eq!(told.recv().unwrap(), Err(SHUT_DOWN)));
    assert!(!token.is_cancelled());
}

#[test]
fn what_a_background_job_cancels_is_only_itself() {
    let pool = pool(1, 4);
    let (tell, told) = channel();
    for _ in 0..3 {
        let tell = tell.clone();
        pool.execute(move || {
            tell.send(Context::current().check()).unwrap();
            Context::current().token().cancel();
            tell.send(Context::current().check()).unwrap();
        })
        .unwrap();
    }
    drop(tell);
    let cancelled = Err(Interrupted::Cancelled(CancelCause::Requested));
    let told: Vec<_> = (0..6).map(|_| told.recv().unwrap()).collect();
    assert_eq!(told, [Ok(()), cancelled, Ok(()), cancelled, Ok(()), cancelled]);
}

#[test]
fn what_never_ran_comes_back_runnable_and_once() {
    let pool = pool(1, 8);
    let (job, begun, go) = deaf();
    pool.execute(job).unwrap();
    begun.recv().unwrap();
    let ran = Arc::new(AtomicUsize::new(0));
    let kept = ran.clone();
    let count = move || _ = kept.fetch_add(1, Ordering::Relaxed);
    pool.execute(count.clone()).unwrap();
    pool.job().name("second").execute(count.clone()).unwrap();
    let with_handle = pool.submit(count.clone()).unwrap();
    drop(count);
    let mut left = now(&pool).hand_back().wait(&at_once()).unwrap_err().report;
    assert_eq!(lines(&left), (0, 0, 3, 0, 1));
    assert!(matches!(with_handle.join(), Err(JobError::Shed(SHUT_DOWN))));
    assert_eq!(left.unrun.iter().map(|job| job.name()).collect::<Vec<_>>(), [None, Some("second")]);
    assert_eq!(ran.load(Ordering::Relaxed), 0);
    left.unrun.drain(..).for_each(|job| job.run());
    assert_eq!((ran.load(Ordering::Relaxed), Arc::strong_count(&ran)), (2, 1));
    drop(go);
    assert_eq!(lines(&pool.shutdown(&for_ever()).unwrap()), (0, 1, 3, 0, 0));
}

#[test]
fn what_never_ran_is_dropped_once_if_nobody_wants_it_back() {
    let pool = pool(1, 8);
    let (job, begun, go) = deaf();
    pool.execute(job).unwrap();
    begun.recv().unwrap();
    let captured = Arc::new(());
    for _ in 0..4 {
        let captured = captured.clone();
        pool.execute(move || drop(captured)).unwrap();
    }
    let left = now(&pool).wait(&at_once()).unwrap_err().report;
    assert_eq!((left.never_ran, left.unrun.len(), Arc::strong_count(&captured)), (4, 0, 1));
    assert_eq!(pool.stats().in_flight, 1);
    drop(go);
    pool.shutdown(&for_ever()).unwrap();
}

#[test]
fn every_way_of_waiting_for_an_abandoned_job_ends() {
    let pool = pool(4, 0);
    let mut gates = Vec::new();
    let mut handle = || {
        let (job, begun, go) = deaf();
        let handle = pool.submit(job).unwrap();
        begun.recv().unwrap();
        gates.push(go);
        handle
    };
    let (joined, mut within, mut tried, polled) = (handle(), handle(), handle(), handle());
    let joins = std::thread::spawn(move || joined.join());
    let joins_within = std::thread::spawn(move || within.join_within(&Context::background()));
    let polls = std::thread::spawn(move || futures::executor::block_on(polled));
    assert!(tried.try_join().is_none());
    assert_eq!(now(&pool).wait(&at_once()).unwrap_err().report.running.len(), 4);
    assert!(matches!(joins.join().unwrap(), Err(JobError::Abandoned)));
    assert!(matches!(joins_within.join().unwrap(), Some(Err(JobError::Abandoned))));
    assert!(matches!(polls.join().unwrap(), Err(JobError::Abandoned)));
    assert!(matches!(tried.try_join(), Some(Err(JobError::Abandoned))));
    drop(gates);
    pool.shutdown(&for_ever()).unwrap();
    let call: CallError = JobError::Abandoned.into();
    assert!(call.started());
}

#[test]
fn the_late_result_of_an_abandoned_job_is_dropped_once_and_quietly() {
    struct Late(Sender<()>);
    impl Drop for Late {
        fn drop(&mut self) {
            self.0.send(()).unwrap();
            panic!("on purpose");
        }
    }
    let pool = pool(1, 0);
    let (begin, begun) = channel();
    let (go, until) = channel::<()>();
    let (tell, told) = channel();
    let handle = pool.submit(move || {
        begin.send(()).unwrap();
        let _ = until.recv();
        Late(tell)
    });
    begun.recv().unwrap();
    assert!(now(&pool).wait(&at_once()).is_err());
    assert!(matches!(handle.unwrap().join(), Err(JobError::Abandoned)));
    drop(go);
    pool.shutdown(&for_ever()).unwrap();
    assert_eq!(told.iter().count(), 1);
}

#[test]
fn a_job_submitted_during_a_drain_is_not_missed() {
    // agenticos#1089: whatever was accepted is done, whatever was not comes back; round by round, on the edge.
    for round in 0..200 {
        let pool = pool(2, 4);
        let ran = Arc::new(AtomicUsize::new(0));
        let submitters: Vec<_> = (0..2)
            .map(|_| {
                let (pool, ran) = (pool.clone(), ran.clone());
                std::thread::spawn(move || {
                    let mut accepted = 0;
                    loop {
                        let ran = ran.clone();
                        match pool.try_execute(move || _ = ran.fetch_add(1, Ordering::Relaxed)) {
                            Ok(()) => accepted += 1,
                            Err(refused) if refused.reason == RejectReason::ShuttingDown => return accepted,
                            Err(_) => std::thread::yield_now(),
                        }
                    }
                })
            })
            .collect();
        (0..round % 7).for_each(|_| std::thread::yield_now());
        let before = pool.stats().accepted;
        let report = pool.shutdown(&for_ever()).unwrap();
        let accepted: usize = submitters.into_iter().map(|s| s.join().unwrap()).sum();
        assert_eq!(ran.load(Ordering::Relaxed), accepted);
        assert!(report.finished <= accepted as u64 && before <= accepted as u64);
        assert_eq!(pool.stats().finished, accepted as u64);
    }
}

#[test]
fn an_idle_shutdown_is_immediate() {
    // trailbase#73: a drain that sleeps its full timeout. The clock stands still: only what needs no time passes.
    let time = ManualClock::new();
    let cx = Context::background().with_clock(&time.clock()).with_timeout(Duration::from_secs(3600));
    let report = pool(4, 4).shutdown(&cx).unwrap();
    assert_eq!(lines(&report), (0, 0, 0, 0, 0));
    let asynchronous = pool(4, 4).shutdown_async(&cx);
    assert!(futures::executor::block_on(asynchronous).is_ok());
}

#[test]
fn many_may_shut_down_at_once_and_again_and_are_told_the_same() {
    let pool = pool(2, 8);
    let (job, begun, go) = deaf();
    pool.execute(job).unwrap();
    begun.recv().unwrap();
    let jobs: Vec<_> = (0..4).map(|n| pool.submit(move || n).unwrap()).collect();
    let callers: Vec<_> = (0..4)
        .map(|_| {
            let pool = pool.clone();
            std::thread::spawn(move || lines(&pool.shutdown(&Context::background()).unwrap()))
        })
        .collect();
    let in_time = Context::background().with_timeout(Duration::from_millis(1));
    assert!(pool.stop().drain(Drain::ToTheEnd).wait(&in_time).is_err()); // one of them is impatient
    drop(go);
    let told: Vec<_> = callers.into_iter().map(|caller| caller.join().unwrap()).collect();
    assert!(told.iter().all(|lines| *lines == told[0] && lines.1 == 0), "{told:?}");
    assert_eq!(lines(&pool.shutdown(&for_ever()).unwrap()), told[0]);
    jobs.into_iter().enumerate().for_each(|(n, job)| assert_eq!(job.join().unwrap(), n));
}

#[test]
fn a_shutdown_from_a_worker_or_an_observer_waits_for_nothing() {
    let there: Arc<Mutex<Option<Pool>>> = Arc::default();
    let inside = there.clone();
    let (tell, told) = channel();
    let observer = event::from_fn(move |e| {
        if let (Event::Panicked { .. }, Some(pool)) = (e, inside.lock().unwrap().take()) {
            tell.send(pool.shutdown(&Context::background()).unwrap_err().why).unwrap();
        }
    });
    let pool = Pool::builder("inside").threads(1).queue(4).observer(observer).build().unwrap();
    *there.lock().unwrap() = Some(pool.clone());
    assert!(pool.submit(|| panic!("on purpose")).unwrap().join().is_err());
    assert_eq!(told.recv().unwrap(), None);
    assert_eq!(pool.submit(|| ()).unwrap_err().reason, RejectReason::ShuttingDown);
    pool.shutdown(&for_ever()).unwrap();
}

#[test]
fn a_stuck_job_does_not_hold_up_the_process() {
    const CHILD: &str = "WATERTIGHT_STUCK";
    if std::env::var_os(CHILD).is_some() {
        let pool = pool(1, 1);
        let (job, begun, go) = deaf();
        pool.execute(job).unwrap();
        begun.recv().unwrap();
        std::mem::forget(go);
        drop(pool);
        std::process::exit(7);
    }
    let me = std::env::current_exe().unwrap();
    let child = std::process::Command::new(me)
        .args(["--exact", "a_stuck_job_does_not_hold_up_the_process"])
        .env(CHILD, "1")
        .status()
        .unwrap();
    assert_eq!(child.code(), Some(7));
}
