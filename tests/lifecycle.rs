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
fn what_is_submitted_into_a_held_place_while_the_shutdown_cancels_never_runs() {
    let pool = pool(1, 2);
    let time = ManualClock::new();
    let cx = Context::background().with_clock(&time.clock()).with_timeout(Duration::from_secs(10));
    let (job, begun, go) = deaf();
    pool.execute(job).unwrap();
    begun.recv().unwrap();
    let slot = pool.reserve().unwrap();
    let mut stopping = now(&pool).hand_back().wait_async(&cx);
    let mut look = || futures::executor::block_on(async { futures::poll!(&mut stopping) });
    assert!(look().is_pending()); // what was queued has been cleared away
    slot.execute(|| ());
    assert!(look().is_pending());
    time.advance(Duration::from_secs(10));
    let std::task::Poll::Ready(Err(left)) = look() else { panic!("the time is over") };
    assert_eq!((lines(&left.report), left.report.unrun.len()), ((0, 0, 1, 0, 1), 1));
    drop(go);
    assert_eq!(lines(&pool.shutdown(&for_ever()).unwrap()), (0, 1, 1, 0, 0));
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
fn a_batch_whose_jobs_are_abandoned_ends() {
    let pool = pool(2, 2);
    let mut batch = pool.batch();
    let mut gates = Vec::new();
    for _ in 0..2 {
        let (job, begun, go) = deaf();
        batch.submit(job).unwrap();
        begun.recv().unwrap();
        gates.push(go);
    }
    batch.submit(|| ()).unwrap();
    let ends = std::thread::spawn(move || batch.collect::<Vec<_>>());
    assert!(now(&pool).wait(&at_once()).is_err());
    let ended = ends.join().unwrap();
    assert_eq!(ended.len(), 3);
    assert_eq!(ended.iter().filter(|e| matches!(e, Err(JobError::Abandoned))).count(), 2, "{ended:?}");
    drop(gates);
    pool.shutdown(&for_ever()).unwrap();
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

#[test]
fn a_paused_pool_begins_nothing_and_a_resumed_one_does_it_all() {
    let pool = pool(3, 16);
    let (job, begun, go) = deaf();
    let running = pool.submit(job).unwrap();
    begun.recv().unwrap();
    pool.pause();
    // Whoever was just taking a job when it was paused has none to take: nothing was queued.
    let jobs: Vec<_> = (0..8).map(|n| pool.submit(move || n).unwrap()).collect();
    drop(go);
    running.join().unwrap(); // what runs is finished
    assert!(pool.is_paused());
    (0..1000).for_each(|_| std::thread::yield_now());
    assert!(jobs.iter().all(|job| !job.is_finished()) && pool.stats().running == 0);
    pool.resume();
    assert!(!pool.is_paused());
    jobs.into_iter().enumerate().for_each(|(n, job)| assert_eq!(job.join().unwrap(), n));
}

#[test]
fn a_running_job_of_a_paused_pool_may_join_its_own_jobs() {
    let pool = pool(1, 4);
    let inner = pool.clone();
    let sum = pool.submit(move || {
        inner.pause();
        inner.submit(|| 20).unwrap().join().unwrap() + 22
    });
    assert_eq!(sum.unwrap().join().unwrap(), 42);
}

#[test]
fn a_paused_pool_can_be_shut_down_and_what_is_queued_is_done() {
    let pool = pool(2, 8);
    pool.pause();
    let jobs: Vec<_> = (0..8).map(|n| pool.submit(move || n).unwrap()).collect();
    pool.shutdown(&for_ever()).unwrap();
    pool.pause(); // too late
    assert!(!pool.is_paused());
    jobs.into_iter().enumerate().for_each(|(n, job)| assert_eq!(job.join().unwrap(), n));
}

#[test]
fn pauses_and_resumes_under_load_lose_no_job() {
    let pool = pool(3, 32);
    let toggler = {
        let pool = pool.clone();
        std::thread::spawn(move || {
            for _ in 0..500 {
                pool.pause();
                (0..3).for_each(|_| std::thread::yield_now());
                pool.resume();
                std::thread::yield_now();
            }
        })
    };
    let ran = Arc::new(AtomicUsize::new(0));
    for _ in 0..10_000 {
        let ran = ran.clone();
        pool.execute(move || _ = ran.fetch_add(1, Ordering::Relaxed)).unwrap();
    }
    toggler.join().unwrap();
    pool.shutdown(&for_ever()).unwrap();
    assert_eq!(ran.load(Ordering::Relaxed), 10_000);
}

#[test]
fn random_sizes_under_load_strand_nobody_and_make_no_place_from_nothing() {
    // OpenSearch#21817, Risuko#44: a resize that counts twice or strands waiters.
    const MOST: usize = 6;
    let pool = Pool::builder("elastic").threads(2).queue(2).resizable(MOST, 8).build().unwrap();
    let (now, peak, ran) =
        (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let submitters: Vec<_> = (0..3)
        .map(|_| {
            let (pool, now, peak, ran) = (pool.clone(), now.clone(), peak.clone(), ran.clone());
            std::thread::spawn(move || {
                for _ in 0..2_000 {
                    let (now, peak, ran) = (now.clone(), peak.clone(), ran.clone());
                    pool.execute(move || {
                        peak.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        std::thread::yield_now();
                        ran.fetch_add(1, Ordering::SeqCst);
                        now.fetch_sub(1, Ordering::SeqCst);
                    })
                    .unwrap();
                    assert!(pool.stats().in_flight <= MOST + 8);
                }
            })
        })
        .collect();
    let mut seed = 0x9e37_79b9_u64;
    for _ in 0..300 {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        pool.resize(1 + (seed >> 33) as usize % MOST, (seed >> 50) as usize % 9).unwrap();
        std::thread::yield_now();
    }
    pool.resize(2, 1).unwrap();
    submitters.into_iter().for_each(|submitter| submitter.join().unwrap());
    assert!(peak.load(Ordering::SeqCst) <= MOST);
    // It settles at what was asked for last: three places, neither more nor fewer.
    while pool.stats().in_flight > 0 || pool.stats().alive != 2 {
        std::thread::yield_now();
    }
    let slots: Vec<_> = std::iter::from_fn(|| pool.try_reserve().ok()).collect();
    assert_eq!(slots.len(), 3);
    drop(slots);
    pool.shutdown(&for_ever()).unwrap();
    assert_eq!((ran.load(Ordering::SeqCst), pool.stats().alive), (6_000, 0));
}

#[test]
fn a_larger_pool_serves_who_waits_and_a_smaller_one_drops_nothing() {
    let pool = Pool::builder("elastic").threads(1).queue(0).resizable(2, 4).build().unwrap();
    let (job, begun, go) = deaf();
    let first = pool.submit(job).unwrap();
    begun.recv().unwrap();
    let waits = {
        let pool = pool.clone();
        std::thread::spawn(move || pool.submit(|| 2).unwrap().join().unwrap())
    };
    pool.resize(2, 4).unwrap();
    assert_eq!(waits.join().unwrap(), 2);
    let (other, other_begun, other_go) = deaf();
    pool.execute(other).unwrap();
    other_begun.recv().unwrap();
    let queued: Vec<_> = (0..4).map(|n| pool.submit(move || n).unwrap()).collect();
    pool.resize(1, 0).unwrap();
    assert!(pool.try_submit(|| ()).is_err());
    drop((go, other_go));
    first.join().unwrap();
    queued.into_iter().enumerate().for_each(|(n, job)| assert_eq!(job.join().unwrap(), n));
}

#[test]
fn a_full_pool_that_is_made_smaller_twice_owes_both() {
    let pool = Pool::builder("shrinks").threads(1).queue(3).resizable(1, 3).build().unwrap();
    let all = pool.reserve_many(4).unwrap();
    pool.resize(1, 2).unwrap();
    pool.resize(1, 1).unwrap();
    drop(all);
    let left: Vec<_> = std::iter::from_fn(|| pool.try_reserve().ok()).collect();
    assert_eq!(left.len(), 2);
}

#[test]
fn sizes_that_make_no_sense_name_their_range() {
    // pubky-nexus#999: a limit of 0 from a configuration that silently refuses everything.
    let said = |e: watertight::BuildError| e.to_string();
    let pool = Pool::builder("x").threads(2).queue(1).resizable(3, 5).build().unwrap();
    assert_eq!(said(pool.resize(0, 1).unwrap_err()), "threads is 0, must be 1 to 3");
    assert_eq!(said(pool.resize(1, 6).unwrap_err()), "queue is 6, must be 0 to 5");
    let e = Pool::builder("x").threads(4).resizable(3, 2000).build().unwrap_err();
    assert_eq!(said(e), "resizable threads is 3, must be 4 to 16384");
    let e = Pool::builder("x").threads(4).queue(9).resizable(4, 8).build().unwrap_err();
    assert_eq!(said(e), "resizable queue is 8, must be 9 to 1048576");
    let e = Pool::builder("x").threads(1).retire_after(0).build().unwrap_err();
    assert_eq!(said(e), "retire_after is 0, must be 1 or more jobs");
    pool.shutdown(&for_ever()).unwrap();
    assert_eq!(said(pool.resize(2, 2).unwrap_err()), "the pool is being shut down");
}

#[test]
fn workers_are_replaced_after_their_term_with_all_their_thread_locals() {
    struct Gone(Arc<AtomicUsize>);
    impl Drop for Gone {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    thread_local! {
        static LEFT: std::cell::RefCell<Option<Gone>> = const { std::cell::RefCell::new(None) };
    }
    let (started, gone) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let counts = started.clone();
    let hooks = watertight::pool::Hooks::new().on_start(move |_| _ = counts.fetch_add(1, Ordering::SeqCst));
    let pool = Pool::builder("terms").threads(3).queue(8).retire_after(20).hooks(hooks).build().unwrap();
    for n in 0..2_000 {
        let gone = gone.clone();
        let job = move || {
            LEFT.with_borrow_mut(|left| *left = left.take().or(Some(Gone(gone))));
            n
        };
        assert_eq!(pool.submit(job).unwrap().join().unwrap(), n);
        assert!(pool.stats().alive == 3);
    }
    pool.shutdown(&for_ever()).unwrap();
    let started = started.load(Ordering::SeqCst);
    assert!((10..=3 + 2_000 / 18).contains(&started), "{started}"); // later where the next thread is slow to come
    while gone.load(Ordering::SeqCst) < started - 3 {
        std::thread::yield_now(); // a thread's locals go after the last of it that the pool sees
    }
}

#[test]
fn a_replaced_workers_thread_is_no_worker_any_more_when_it_stops() {
    use watertight::pool::{Hooks, retire_worker};
    let (tell, told) = channel();
    let hooks = Hooks::new().on_stop(move |_| tell.send(retire_worker()).unwrap());
    let pool = Pool::builder("replaced").threads(1).hooks(hooks).build().unwrap();
    assert!(pool.submit(retire_worker).unwrap().join().unwrap());
    assert_eq!(told.recv(), Ok(false)); // its number is another's by now
    pool.shutdown(&for_ever()).unwrap();
    assert_eq!(told.recv(), Ok(false));
}

#[test]
fn hooks_are_called_in_order_and_their_panics_go_nowhere() {
    use watertight::pool::{AtHook, Hooks};
    let (tell, told) = channel();
    let hook = |what: &'static str, tell: &Sender<(String, bool)>| {
        let tell = tell.clone();
        move |at: &AtHook<'_>| {
            assert_eq!((at.pool, at.worker), ("hooked", Some(0)));
            let _ = tell.send((format!("{what} {}", at.job.unwrap_or("-")), at.panicked));
            std::panic::resume_unwind(Box::new("on purpose"));
        }
    };
    let hooks = Hooks::new()
        .on_start(hook("start", &tell))
        .on_stop(hook("stop", &tell))
        .before(hook("before", &tell))
        .after(hook("after", &tell));
    let pool = Pool::builder("hooked").threads(1).queue(4).hooks(hooks).build().unwrap();
    pool.job().name("a").submit(|| ()).unwrap().join().unwrap();
    let panics = pool.job().name("b").submit(|| std::panic::resume_unwind(Box::new("it, too")));
    assert!(matches!(panics.unwrap().join(), Err(JobError::Panicked(payload)) if payload.message() == Some("it, too")));
    pool.execute(|| ()).unwrap();
    pool.shutdown(&for_ever()).unwrap();
    drop((tell, pool));
    let told: Vec<_> = told.try_iter().collect();
    let told: Vec<_> = told.iter().map(|(what, panicked)| (what.as_str(), *panicked)).collect();
    let jobs = [("before a", false), ("after a", false), ("before b", false), ("after b", true)];
    assert_eq!(told[0], ("start -", false));
    assert_eq!(told[1..5], jobs);
    assert_eq!(told[5..], [("before -", false), ("after -", false), ("stop -", false)]);
}

#[test]
fn one_worker_at_a_time_is_idle_and_jobs_do_not_wait_for_it() {
    use watertight::pool::Hooks;
    let (inside, most, calls) =
        (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (hold, held) = channel::<()>();
    let held = Mutex::new(held);
    let hooks = {
        let (inside, most, calls) = (inside.clone(), most.clone(), calls.clone());
        Hooks::new().idle(move |_| {
            most.fetch_max(inside.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            if calls.fetch_add(1, Ordering::SeqCst) == 0 {
                let _ = held.lock().unwrap().recv(); // the first one takes long
            }
            inside.fetch_sub(1, Ordering::SeqCst);
        })
    };
    let pool = Pool::builder("idle").threads(3).queue(4).hooks(hooks).build().unwrap();
    while calls.load(Ordering::SeqCst) == 0 {
        std::thread::yield_now();
    }
    for n in 0..100 {
        assert_eq!(pool.submit(move || n).unwrap().join().unwrap(), n);
    }
    assert_eq!(calls.load(Ordering::SeqCst), 1);
    drop(hold);
    for n in 0..100 {
        assert_eq!(pool.submit(move || n).unwrap().join().unwrap(), n);
    }
    pool.shutdown(&for_ever()).unwrap();
    assert_eq!(most.load(Ordering::SeqCst), 1);
}

#[test]
fn a_pool_is_ready_when_all_are_warm_and_not_if_one_cannot_be() {
    use watertight::pool::{Hooks, NotReady};
    let (go, wait) = channel::<()>();
    let wait = Mutex::new(wait);
    let hooks = Hooks::new().warm_up(move |at| {
        if at.worker == Some(1) {
            let _ = wait.lock().unwrap().recv();
        }
    });
    let pool = Pool::builder("cold").threads(2).queue(4).hooks(hooks).build().unwrap();
    assert!(matches!(pool.ready(&at_once()), Err(NotReady::Interrupted(_))));
    let mut ready = pool.ready_async(&for_ever());
    assert!(futures::executor::block_on(async { futures::poll!(&mut ready) }).is_pending());
    assert_eq!(pool.submit(|| 1).unwrap().join().unwrap(), 1); // the warm one works
    drop(go);
    assert_eq!(futures::executor::block_on(ready), Ok(()));
    assert_eq!(pool.ready(&for_ever()), Ok(()));

    let (tell, told) = channel();
    let observer = event::from_fn(move |e| {
        if let Event::WarmUpPanicked { message, .. } = e {
            tell.send(message.map(str::to_string)).unwrap();
        }
    });
    let hooks = Hooks::new().warm_up(|_| std::panic::resume_unwind(Box::new("no connection")));
    let pool = Pool::builder("cold").threads(1).queue(4).observer(observer).hooks(hooks).build().unwrap();
    assert_eq!(pool.ready(&for_ever()), Err(NotReady::WarmUpPanicked));
    assert_eq!(told.recv().unwrap().as_deref(), Some("no connection"));
    assert_eq!(pool.submit(|| 1).unwrap().join().unwrap(), 1);
}

#[test]
fn a_fifo_wake_gives_every_worker_its_share() {
    let pool = Pool::builder("fair").threads(4).queue(4).wake(watertight::pool::Wake::Fifo).build().unwrap();
    for n in 0..1_000_000 {
        assert_eq!(pool.submit(move || n).unwrap().join().unwrap(), n);
        let shares = pool.jobs_per_worker();
        if shares.iter().all(|share| *share > 0) {
            assert_eq!(shares.iter().sum::<u64>(), n + 1);
            return;
        }
    }
    panic!("{:?}", pool.jobs_per_worker());
}

#[test]
fn panicking_jobs_in_masses_leave_every_thread_in_its_place() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            if !std::thread::panicking() {
                std::panic::resume_unwind(Box::new("dropped"));
            }
        }
    }
    const JOBS: u64 = if cfg!(debug_assertions) { 100_000 } else { 1_000_000 };
    let threads = Arc::new(Mutex::new(std::collections::HashSet::new()));
    let pool = pool(2, 64);
    for n in 0..JOBS {
        let threads = threads.clone();
        pool.execute(move || {
            let _bomb = (n % 5 == 0).then_some(Bomb);
            if n % 1000 == 0 {
                threads.lock().unwrap().insert(std::thread::current().id());
            }
            if n % 5 != 0 {
                std::panic::resume_unwind(Box::new(n));
            }
        })
        .unwrap();
    }
    drop(pool.submit(|| Bomb).unwrap()); // a result that panics in its drop
    let report = pool.shutdown(&for_ever()).unwrap();
    let stats = pool.stats();
    assert_eq!((stats.panicked, stats.finished, stats.accepted), (JOBS, 1, JOBS + 1));
    assert!(report.finished <= JOBS + 1 && threads.lock().unwrap().len() <= 2);
}

#[test]
fn a_panic_says_which_job_it_was_and_where_it_began_to_waiter_and_observer() {
    watertight::pool::record_backtraces();
    watertight::pool::record_backtraces(); // wraps once
    let (tell, told) = channel();
    let observer = event::from_fn(move |e| {
        if let Event::Panicked { job, message, backtrace, .. } = e {
            tell.send((job.map(str::to_string), message.map(str::to_string), backtrace.is_some())).unwrap();
        }
    });
    let pool = Pool::builder("traced").threads(1).queue(4).observer(observer).build().unwrap();
    let panicked = |name: &'static str, job: fn()| match pool.job().name(name).submit(job).unwrap().join() {
        Err(JobError::Panicked(payload)) => payload,
        other => panic!("{other:?}"),
    };
    let payload = panicked("traced job", || panic!("on purpose, {}", 1));
    assert_eq!((payload.job(), payload.message()), (Some("traced job"), Some("on purpose, 1")));
    assert!(payload.backtrace().unwrap().to_string().contains("panicking"));
    // One that the hook does not see is given no other's.
    let payload = panicked("unseen", || {
        let _ = std::panic::catch_unwind(|| panic!("caught"));
        std::panic::resume_unwind(Box::new("thrown"));
    });
    assert!(payload.message() == Some("thrown") && payload.backtrace().is_none());
    // Nor do two without a text, unless they are alike.
    let payload = panicked("unlike", || {
        let _ = std::panic::catch_unwind(|| std::panic::panic_any(1_u8));
        std::panic::resume_unwind(Box::new(1_i32));
    });
    assert!(payload.message().is_none() && payload.backtrace().is_none());
    let payload = panicked("textless", || std::panic::panic_any(1_u8));
    assert!(payload.message().is_none() && payload.backtrace().is_some());
    let told: Vec<_> = (0..2).map(|_| told.recv().unwrap()).collect();
    assert_eq!(told[0], (Some("traced job".to_string()), Some("on purpose, 1".to_string()), true));
    assert_eq!(told[1], (Some("unseen".to_string()), Some("thrown".to_string()), false));
}
