//! What the pool promises, through its public face.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use watertight::event::{self, Event};
use watertight::pool::{Drain, Hooks};
use watertight::{
    BuildError, CallError, CancelCause, CancelToken, Context, Interrupted, JobError, ManualClock, Pool, RejectReason,
};

fn pool(threads: usize, queue: usize) -> Pool {
    Pool::builder("test").threads(threads).queue(queue).build().unwrap()
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

/// Counts its drops.
struct Dropped(Arc<AtomicUsize>);
impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.fetch_add(1, SeqCst);
    }
}

fn shut(pool: &Pool) {
    pool.shutdown(&Context::background()).unwrap();
    let s = pool.stats();
    assert_eq!((s.in_flight, s.running, s.queued, s.alive), (0, 0, 0, 0));
    assert_eq!(s.accepted, s.finished + s.panicked + s.shed);
}

#[test]
fn the_place_belongs_to_the_running_job_not_to_the_caller() {
    // solana-private-channels#247: caller drops, permit freed, work still runs.
    let pool = pool(2, 0);
    let time = ManualClock::new();
    let cx = Context::background().with_clock(&time.clock()).with_timeout(Duration::from_millis(50));
    let (a, a_begun, a_go) = gated();
    let (b, b_begun, b_go) = gated();
    let mut timed_out = pool.job().context(&cx).submit(a).unwrap();
    let dropped = pool.submit(b).unwrap();
    a_begun.recv().unwrap();
    b_begun.recv().unwrap();
    time.advance(Duration::from_secs(1));
    assert!(timed_out.join_within(&cx).is_none());
    drop((timed_out, dropped));
    // Nobody waits for them any more, and both places are still taken.
    let refused = pool.try_submit(|| ()).unwrap_err();
    assert_eq!(refused.reason, RejectReason::Full { limit: 2, waiting: 0 });
    assert_eq!((pool.stats().in_flight, pool.stats().running), (2, 2));
    drop((a_go, b_go));
    shut(&pool);
}

#[test]
fn a_refused_closure_comes_back_whole_and_is_dropped_once() {
    let pool = pool(1, 0);
    let (job, begun, go) = gated();
    let busy = pool.submit(job).unwrap();
    begun.recv().unwrap();
    let drops = Arc::new(AtomicUsize::new(0));
    let held = Dropped(drops.clone());
    let refused = pool
        .try_submit(move || {
            let _held = &held;
            7
        })
        .unwrap_err();
    assert_eq!(drops.load(SeqCst), 0);
    assert_eq!(refused.into_work()(), 7);
    assert_eq!(drops.load(SeqCst), 1);
    drop(go);
    busy.join().unwrap();
    shut(&pool);
}

#[test]
fn a_panic_ends_the_job_and_not_the_worker() {
    // ants#146, pond#137: a panic strands the waiter or shrinks the pool.
    let pool = pool(1, 4);
    let here = pool.submit(|| std::thread::current().id()).unwrap().join().unwrap();
    for _ in 0..100 {
        match pool.submit(|| -> u8 { panic!("on purpose") }).unwrap().join() {
            Err(JobError::Panicked(payload)) => assert_eq!(payload.message(), Some("on purpose")),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(pool.submit(|| std::thread::current().id()).unwrap().join().unwrap(), here);
    assert_eq!(pool.stats().panicked, 100);
    shut(&pool);
}

struct DropBomb;
impl Drop for DropBomb {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            panic!("bomb");
        }
    }
}

#[test]
fn panics_in_drops_and_observers_harm_nobody() {
    let pool = Pool::builder("hostile").threads(1).queue(8).observer(event::from_fn(|_| panic!("observer"))).build();
    let pool = pool.unwrap();
    // The closure's captures panic in their drop, run and unrun; the result does, wanted by nobody; the payload does.
    let bomb = DropBomb;
    assert!(pool.submit(move || drop(bomb)).unwrap().join().is_err());
    drop(pool.submit(|| DropBomb).unwrap());
    let finished = pool.submit(|| DropBomb).unwrap();
    assert_eq!(pool.submit(|| 4).unwrap().join().unwrap(), 4);
    assert!(finished.is_finished());
    drop(finished); // on this thread
    pool.execute(|| std::panic::panic_any(DropBomb)).unwrap();
    let (job, begun, go) = gated();
    pool.execute(job).unwrap();
    begun.recv().unwrap();
    let bomb = DropBomb;
    let cancelled = pool.submit(move || drop(bomb)).unwrap();
    cancelled.cancel();
    assert!(matches!(cancelled.join(), Err(JobError::Shed(Interrupted::Cancelled(CancelCause::Requested)))));
    drop(go);
    assert_eq!(pool.submit(|| 5).unwrap().join().unwrap(), 5);
    shut(&pool);
}

#[test]
fn a_job_that_joins_its_own_jobs_completes_on_one_worker_to_depth_64() {
    // tokio#5889, rayon#446, ants#197: a job that waits for a child on its own full pool.
    fn dive(pool: &Pool, depth: u32) -> u32 {
        if depth == 0 {
            return 0;
        }
        let inner = pool.clone();
        match pool.submit(move || dive(&inner, depth - 1)) {
            Ok(handle) => 1 + handle.join().unwrap(),
            Err(full) => 1000 + full.into_work()(),
        }
    }
    let deep = pool(1, 64);
    let inner = deep.clone();
    assert_eq!(deep.submit(move || dive(&inner, 64)).unwrap().join().unwrap(), 64);
    shut(&deep);
    // With no room the closure comes back instead of a deadlock.
    let shallow = pool(1, 0);
    let inner = shallow.clone();
    assert_eq!(shallow.submit(move || dive(&inner, 1)).unwrap().join().unwrap(), 1000);
    shut(&shallow);
}

#[test]
fn a_queued_job_resolves_at_its_deadline_even_if_every_worker_is_stuck() {
    let pool = pool(1, 2);
    let (job, begun, go) = gated();
    pool.execute(job).unwrap();
    begun.recv().unwrap();
    let time = ManualClock::new();
    let cx = Context::background().with_clock(&time.clock()).with_timeout(Duration::from_secs(1));
    let drops = Arc::new(AtomicUsize::new(0));
    let held = Dropped(drops.clone());
    let handle = pool.job().context(&cx).submit(move || drop(held)).unwrap();
    let waiter = std::thread::spawn(move || handle.join());
    while time.waiting() == 0 {
        std::thread::yield_now();
    }
    time.advance(Duration::from_secs(1));
    assert!(matches!(waiter.join().unwrap(), Err(JobError::Shed(Interrupted::DeadlinePassed))));
    assert_eq!(drops.load(SeqCst), 1); // by the waiter: the worker is still stuck
    assert_eq!(pool.stats().in_flight, 2); // the husk keeps its place until it is popped
    drop(go);
    shut(&pool);
}

#[test]
fn expired_and_cancelled_jobs_never_run() {
    let pool = pool(1, 8);
    let (job, begun, go) = gated();
    pool.execute(job).unwrap();
    begun.recv().unwrap();
    let time = ManualClock::new();
    let token = CancelToken::new();
    let base = Context::background().with_clock(&time.clock());
    let ran = Arc::new(AtomicUsize::new(0));
    let count = |ran: &Arc<AtomicUsize>| {
        let ran = ran.clone();
        move || {
            ran.fetch_add(1, SeqCst);
        }
    };
    let late = pool.job().context(&base.with_timeout(Duration::from_secs(1))).submit(count(&ran)).unwrap();
    pool.job().context(&base.with_timeout(Duration::from_secs(1))).execute(count(&ran)).unwrap();
    let unwanted = pool.job().context(&base.with_token(&token)).submit(count(&ran)).unwrap();
    let dropped = pool.submit(count(&ran)).unwrap().cancel_on_drop();
    time.advance(Duration::from_secs(2));
    token.cancel();
    drop(dropped);
    drop(go);
    assert!(matches!(late.join(), Err(JobError::Shed(Interrupted::DeadlinePassed))));
    assert!(matches!(unwanted.join(), Err(JobError::Shed(Interrupted::Cancelled(_)))));
    shut(&pool);
    assert_eq!((ran.load(SeqCst), pool.stats().shed), (0, 4));
}

#[test]
fn no_wake_is_lost_when_a_job_submits_while_workers_lie_down() {
    // affinitypool#45, tokio#8067: a wake-up lost on self-submit, or when the idle worker is mid-park.
    let pool = pool(2, 2);
    let (done, all) = channel();
    for round in 0..5_000 {
        let (inner, done) = (pool.clone(), done.clone());
        pool.execute(move || inner.execute(move || done.send(round).unwrap()).unwrap()).unwrap();
        assert_eq!(all.recv(), Ok(round)); // whoever is idle by now may be about to lie down
    }
    shut(&pool);
}

#[test]
fn jobs_begin_in_the_order_of_their_admission() {
    let pool = pool(1, 64);
    let (done, all) = channel();
    std::thread::scope(|s| {
        for producer in 0..3 {
            let (pool, done) = (&pool, done.clone());
            s.spawn(move || {
                for n in 0..2_000 {
                    let done = done.clone();
                    pool.execute(move || done.send((producer, n)).unwrap()).unwrap();
                }
            });
        }
    });
    drop(done);
    shut(&pool);
    let all: Vec<(u8, u32)> = all.iter().collect();
    assert_eq!(all.len(), 6_000);
    for producer in 0..3 {
        assert!(all.iter().filter(|(from, _)| *from == producer).is_sorted());
    }
}

#[test]
fn no_more_than_its_places_are_ever_in_use() {
    let pool = pool(2, 1);
    let inside = Arc::new(AtomicUsize::new(0));
    let full = AtomicUsize::new(0);
    std::thread::scope(|s| {
        for _ in 0..3 {
            s.spawn(|| {
                // Twenty thousand rounds, and as many more as it takes until they were in each other's way.
                for round in 0..2_000_000 {
                    if round >= 20_000 && full.load(SeqCst) > 0 {
                        break;
                    }
                    let within = inside.clone();
                    let counted = move || {
                        assert!(within.fetch_add(1, SeqCst) < 2, "more jobs run than there are threads");
                        within.fetch_sub(1, SeqCst);
                    };
                    match pool.try_execute(counted) {
                        Ok(()) => {}
                        Err(refused) => {
                            assert_eq!(refused.reason, RejectReason::Full { limit: 2, waiting: 1 });
                            full.fetch_add(1, SeqCst);
                        }
                    }
                    assert!(pool.stats().in_flight <= 3);
                }
            });
        }
    });
    assert!(full.load(SeqCst) > 0, "the race did not happen");
    shut(&pool);
    assert_eq!(pool.stats().panicked, 0);
}

#[test]
fn an_ended_context_submits_nothing() {
    let pool = pool(1, 1);
    let past = Context::background().with_timeout(Duration::ZERO);
    assert_eq!(pool.job().context(&past).submit(|| ()).unwrap_err().reason, RejectReason::DeadlinePassed);
    assert_eq!(past.in_scope(|| pool.try_execute(|| ())).unwrap_err().reason, RejectReason::DeadlinePassed);
    let refused = futures::executor::block_on(past.in_scope(|| pool.submit_async(|| ()))).unwrap_err();
    assert_eq!(refused.reason, RejectReason::DeadlinePassed);
    assert_eq!(pool.stats().refused_ended, 3);
    shut(&pool);
}

#[test]
fn the_job_sees_the_context_of_its_submitter_and_its_own_cancel() {
    let pool = pool(1, 1);
    let cx = Context::background().with_timeout(Duration::from_secs(3600));
    let inside = cx.in_scope(|| pool.submit(|| Context::current().deadline())).unwrap().join().unwrap();
    assert_eq!(inside, cx.deadline());
    let (begun, has_begun) = channel();
    let running = pool
        .submit(move || {
            begun.send(()).unwrap();
            Context::current().token().wait(&Context::background())
        })
        .unwrap();
    has_begun.recv().unwrap();
    running.cancel();
    assert_eq!(running.join().unwrap(), Some(Interrupted::Cancelled(CancelCause::Requested)));
    shut(&pool);
}

#[test]
fn shutdown_reports_what_is_left_and_may_be_asked_again() {
    let pool = pool(1, 4);
    let (job, begun, go) = gated();
    pool.execute(job).unwrap();
    begun.recv().unwrap();
    let queued = pool.submit(|| 1).unwrap();
    let token = CancelToken::new();
    token.cancel();
    let ended = Context::background().with_token(&token);
    let left = pool.stop().drain(Drain::ToTheEnd).wait(&ended).unwrap_err().report;
    assert_eq!((left.running.len(), left.queued), (1, 1));
    let late = pool.submit(|| 2).unwrap_err();
    assert_eq!(late.reason, RejectReason::ShuttingDown);
    drop(go);
    shut(&pool);
    assert_eq!(queued.join().unwrap(), 1); // what was admitted is done
    shut(&pool);
}

#[test]
fn shutdown_on_an_own_worker_does_not_wait_for_itself() {
    let pool = pool(1, 1);
    let inner = pool.clone();
    let left = pool.submit(move || inner.shutdown(&Context::background())).unwrap().join().unwrap().unwrap_err();
    assert_eq!((left.why, left.report.running.len()), (None, 1));
    shut(&pool);
}

#[test]
fn an_idle_shutdown_needs_no_time() {
    // trailbase#73: drain sleeps its full timeout when idle. The clock stands still: only what needs no time passes.
    let pool = pool(4, 4);
    let time = ManualClock::new();
    let cx = Context::background().with_clock(&time.clock()).with_timeout(Duration::from_secs(3600));
    assert!(pool.shutdown(&cx).is_ok());
    let token = CancelToken::new();
    token.cancel();
    assert!(pool.shutdown(&Context::background().with_token(&token)).is_ok());
}

#[test]
fn a_grant_that_nobody_polls_for_does_not_hold_up_a_shutdown() {
    let pool = pool(1, 0);
    let (job, begun, go) = gated();
    let first = pool.submit(job).unwrap();
    begun.recv().unwrap();
    let mut forgotten = Box::pin(pool.submit_async(|| ()));
    let mut task = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(forgotten.as_mut().poll(&mut task).is_pending());
    drop(go);
    first.join().unwrap(); // its place is granted to the future that is not polled any more
    shut(&pool);
    let std::task::Poll::Ready(Err(refused)) = forgotten.as_mut().poll(&mut task) else { panic!("it was sent away") };
    assert_eq!(refused.reason, RejectReason::ShuttingDown);
}

#[test]
fn async_forms_on_an_own_worker_do_not_wait_for_themselves() {
    // tokio#5889, awaited: a job of a one-thread pool that awaits a job of the same pool.
    let pool = pool(1, 1);
    let inner = pool.clone();
    let nested = pool.submit(move || {
        let called = futures::executor::block_on(inner.call_async(|| 5)).unwrap();
        let full = futures::executor::block_on(inner.submit_async(|| 6)).unwrap_err(); // the called job's empty entry
        (called, full.reason, full.into_work()())
    });
    let full = RejectReason::Full { limit: 1, waiting: 1 };
    assert_eq!(nested.unwrap().join().unwrap(), (5, full, 6));
    shut(&pool);
}

#[test]
fn a_join_within_a_context_of_another_clock_ends_by_either() {
    let pool = pool(1, 2);
    let (job, begun, go) = gated();
    pool.execute(job).unwrap();
    begun.recv().unwrap();
    let time = ManualClock::new();
    let cx = Context::background().with_clock(&time.clock()).with_timeout(Duration::from_secs(1));
    let mut shed = pool.job().context(&cx).submit(|| ()).unwrap();
    let waiter = std::thread::spawn(move || shed.join_within(&Context::background()));
    while time.waiting() == 0 {
        std::thread::yield_now();
    }
    time.advance(Duration::from_secs(1));
    assert!(matches!(waiter.join().unwrap(), Some(Err(JobError::Shed(Interrupted::DeadlinePassed)))));
    let later = Context::background().with_clock(&time.clock()).with_timeout(Duration::from_secs(1));
    let mut waits = pool.job().context(&later).submit(|| ()).unwrap();
    assert!(waits.join_within(&Context::background().with_timeout(Duration::from_millis(1))).is_none());
    drop(go);
    waits.join().unwrap();
    shut(&pool);
}

#[test]
fn dropping_a_result_nobody_wants_is_part_of_the_job() {
    struct Slow(Receiver<()>, Sender<()>);
    impl Drop for Slow {
        fn drop(&mut self) {
            self.1.send(()).unwrap();
            let _ = self.0.recv();
        }
    }
    let pool = pool(1, 0);
    let ((go, gate), (dropping, is_dropping)) = (channel::<()>(), channel());
    let (started, has_started) = channel::<()>();
    let result = Slow(gate, dropping);
    let handle = pool.submit(move || {
        has_started.recv().unwrap();
        result
    });
    drop(handle.unwrap());
    started.send(()).unwrap();
    is_dropping.recv().unwrap();
    assert!(pool.try_submit(|| ()).is_err(), "its place is taken until the drop has ended");
    drop(go);
    shut(&pool);
}

#[test]
fn dropping_the_last_handle_does_what_was_admitted() {
    let (done, all) = channel();
    let pool = pool(1, 100);
    for i in 0..100 {
        let done = done.clone();
        pool.execute(move || done.send(i).unwrap()).unwrap();
    }
    drop((pool, done));
    assert_eq!(all.iter().collect::<Vec<_>>(), (0..100).collect::<Vec<_>>()); // ends when the last sender is dropped
}

#[test]
fn submit_waits_for_a_place_and_every_handle_resolves_when_submits_race_a_shutdown() {
    // agenticos#1089: a job submitted during drain is missed.
    let (mut accepted, mut refused) = (0u64, 0u64);
    for _ in 0..200 {
        let pool = pool(2, 2);
        let counts = std::thread::scope(|s| {
            let submitters: Vec<_> = (0..4)
                .map(|_| {
                    s.spawn(|| {
                        // Until it is refused: so the shutdown always meets submitters.
                        let mut counts = (0u64, 0u64);
                        while counts.1 == 0 {
                            match pool.submit(|| 1u64) {
                                Ok(handle) => counts.0 += handle.join().unwrap(),
                                Err(refused) => {
                                    assert_eq!(refused.reason, RejectReason::ShuttingDown);
                                    counts.1 += refused.into_work()();
                                }
                            }
                        }
                        counts
                    })
                })
                .collect();
            while pool.stats().accepted < 20 {
                std::thread::yield_now();
            }
            shut(&pool);
            submitters.into_iter().map(|t| t.join().unwrap()).fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1))
        });
        assert_eq!((pool.stats().finished, pool.stats().refused_shutdown), counts);
        accepted += counts.0;
        refused += counts.1;
    }
    assert!(accepted >= 200 * 20 && refused == 200 * 4, "{accepted} accepted, {refused} refused");
}

#[test]
fn worker_canceller_and_joiner_race_for_queued_jobs() {
    let pool = pool(2, 64);
    let (mut ran, mut shed) = (0, 0);
    // Five thousand rounds, and as many more as it takes until both have won.
    for round in 0..200_000 {
        if round >= 5_000 && ran > 0 && shed > 0 {
            break;
        }
        let drops = Arc::new(AtomicUsize::new(0));
        let held = Dropped(drops.clone());
        let token = CancelToken::new();
        let cx = Context::background().with_token(&token);
        let handle = pool.job().context(&cx).submit(move || drop(held)).unwrap();
        let result = std::thread::scope(|s| {
            s.spawn(|| token.cancel());
            handle.join()
        });
        match result {
            Ok(()) => ran += 1,
            Err(JobError::Shed(_)) => shed += 1,
            Err(e) => panic!("{e}"),
        }
        assert_eq!(drops.load(SeqCst), 1);
    }
    assert!(ran > 0 && shed > 0, "the race did not happen: {ran} ran, {shed} shed");
    shut(&pool);
}

#[test]
fn async_submits_wait_their_turn_under_any_executor() {
    let pool = pool(2, 2);
    let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
    let sum: u64 = tokio.block_on(async {
        let calls: Vec<_> = (0..200u64).map(|i| tokio::spawn(pool.call_async(move || i))).collect();
        let mut sum = 0;
        for call in calls {
            sum += call.await.unwrap().unwrap();
        }
        sum
    });
    assert_eq!(sum, 199 * 200 / 2);
    let joined = futures::executor::block_on(async {
        let all = futures::future::join_all((0..50u64).map(|i| pool.call_async(move || i)));
        all.await.into_iter().map(Result::unwrap).sum::<u64>()
    });
    assert_eq!(joined, 49 * 50 / 2);
    shut(&pool);
}

#[test]
fn a_dropped_call_async_cancels_and_a_dropped_submit_async_leaves_the_line() {
    let pool = pool(1, 1);
    let (job, begun, go) = gated();
    pool.execute(job).unwrap();
    begun.recv().unwrap();
    let noop = std::task::Waker::noop();
    let mut task = std::task::Context::from_waker(noop);
    let ran = Arc::new(AtomicUsize::new(0));
    let seen = ran.clone();
    let mut queued = Box::pin(pool.call_async(move || seen.fetch_add(1, SeqCst)));
    assert!(queued.as_mut().poll(&mut task).is_pending());
    let mut waiting = Box::pin(pool.call_async(|| ()));
    assert!(waiting.as_mut().poll(&mut task).is_pending());
    drop(waiting);
    drop(queued);
    drop(go);
    shut(&pool);
    assert_eq!((ran.load(SeqCst), pool.stats().shed, pool.stats().accepted), (0, 1, 2));
}

#[test]
fn a_polled_handle_may_be_joined_and_a_deadline_ends_an_async_wait() {
    let pool = pool(1, 1);
    let (job, begun, go) = gated();
    let mut handle = pool.submit(job).unwrap();
    begun.recv().unwrap();
    let mut task = std::task::Context::from_waker(std::task::Waker::noop());
    assert!(std::pin::Pin::new(&mut handle).poll(&mut task).is_pending());
    assert!(handle.try_join().is_none());
    let cx = Context::background().with_timeout(Duration::from_millis(5));
    let queued = pool.job().context(&cx).submit(|| ()).unwrap();
    let shed = futures::executor::block_on(queued); // woken by the system clock's alarm: the only worker is stuck
    assert!(matches!(shed, Err(JobError::Shed(Interrupted::DeadlinePassed))));
    drop(go);
    handle.join().unwrap();
    shut(&pool);
}

use std::future::Future;

#[test]
fn nonsense_fails_in_build_and_names_the_field() {
    let field = |e: BuildError| match e {
        BuildError::OutOfRange { field, .. } => field,
        other => panic!("{other}"),
    };
    assert_eq!(field(Pool::builder("x").threads(0).build().unwrap_err()), "threads");
    assert_eq!(field(Pool::builder("x").threads(usize::MAX).build().unwrap_err()), "threads");
    assert_eq!(field(Pool::builder("x").threads(1).queue(usize::MAX).build().unwrap_err()), "queue");
    assert_eq!(field(Pool::builder("x").threads(1).stack_size(1 << 14).build().unwrap_err()), "stack_size");
    for name in [String::new(), "a\0b".into(), "n".repeat(65)] {
        assert!(matches!(Pool::builder(name).threads(1).build(), Err(BuildError::Name { .. })));
    }
    let longest = "n".repeat(64);
    assert_eq!(Pool::builder(longest.clone()).threads(1).build().unwrap().name(), longest);
}

#[test]
fn events_tell_refusals_sheds_and_panics_with_the_jobs_name() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let log = told.clone();
    let pool = Pool::builder("told")
        .threads(1)
        .queue(1)
        .observer(event::from_fn(move |e| {
            log.lock().unwrap().push(match e {
                Event::Rejected { name, reason } => format!("{name} refused: {reason}"),
                Event::Shed { job, cause, .. } => format!("{} shed: {cause}", job.unwrap_or("?")),
                Event::Panicked { job, message, .. } => {
                    format!("{} panicked: {}", job.unwrap_or("?"), message.unwrap())
                }
                other => format!("{other:?}"),
            });
        }))
        .build()
        .unwrap();
    let (job, begun, go) = gated();
    pool.execute(job).unwrap();
    begun.recv().unwrap();
    pool.job().name("second").submit(|| ()).unwrap().cancel();
    assert!(pool.try_submit(|| ()).is_err());
    drop(go);
    while pool.stats().in_flight > 0 {
        std::thread::yield_now();
    }
    assert!(pool.job().name("third").submit(|| panic!("ouch")).unwrap().join().is_err());
    shut(&pool);
    assert!(pool.try_execute(|| ()).is_err());
    let told = told.lock().unwrap();
    assert_eq!(
        *told,
        [
            "second shed: cancelled: requested",
            "told refused: no free place: limit 1, 1 waiting",
            "third panicked: ouch",
            "told refused: shutting down",
        ]
    );
}

#[test]
fn errors_go_through_question_marks() {
    fn boxed(pool: &Pool) -> Result<u8, Box<dyn std::error::Error + Send + Sync>> {
        Ok(pool.submit(|| 1)?.join()?)
    }
    fn call(pool: &Pool) -> Result<u8, CallError> {
        Ok(pool.submit(|| 1)?.join()?)
    }
    let pool = pool(1, 1);
    assert_eq!((boxed(&pool).unwrap(), call(&pool).unwrap()), (1, 1));
    shut(&pool);
    assert!(!call(&pool).unwrap_err().started());
}

#[test]
fn handles_go_through_catch_unwind_as_they_are() {
    fn unwind_safe<T: std::panic::UnwindSafe + std::panic::RefUnwindSafe>() {}
    unwind_safe::<Pool>();
    unwind_safe::<Context>();
    unwind_safe::<CancelToken>();
    unwind_safe::<watertight::Limit>();
    unwind_safe::<watertight::Breaker>();
    unwind_safe::<watertight::Bulkhead>();
}

#[test]
fn a_grant_is_taken_also_where_the_future_is_polled_on_an_own_worker() {
    use std::task::{Context as Task, Poll, Waker};
    let pool = pool(1, 1);
    let (gate, _begun, release) = gated();
    let first = pool.submit(gate).unwrap();
    let (give, take) = channel();
    let inner = pool.clone();
    let polls = pool
        .submit(move || {
            let mut waits: watertight::pool::Submit<fn() -> u8, u8> = take.recv().unwrap();
            let again = std::pin::Pin::new(&mut waits).poll(&mut Task::from_waker(Waker::noop()));
            let Poll::Ready(Ok(handle)) = again else { panic!("refused beside its own grant: {again:?}") };
            assert_eq!(inner.stats().in_flight, 2);
            handle.join().unwrap()
        })
        .unwrap();
    let mut waits = pool.submit_async((|| 7) as fn() -> u8);
    assert!(std::pin::Pin::new(&mut waits).poll(&mut Task::from_waker(Waker::noop())).is_pending());
    drop(release);
    first.join().unwrap(); // its place is the one that waits' now
    give.send(waits).unwrap();
    assert_eq!(polls.join().unwrap(), 7);
    shut(&pool);
}

/// What the drops of a context's values do is the job's doing, where the job is the last to hold the context.
#[test]
fn a_place_is_kept_while_the_values_of_a_jobs_context_are_dropped() {
    struct Slow(Sender<()>, Mutex<Receiver<()>>);
    impl Drop for Slow {
        fn drop(&mut self) {
            self.0.send(()).unwrap();
            assert!(self.1.get_mut().unwrap().recv().is_err());
        }
    }
    let pool = pool(1, 0);
    let (gate, _begun, release) = gated();
    let ((dropping, is_dropping), (go_on, waits)) = (channel(), channel::<()>());
    let cx = Context::background().with_value(Slow(dropping, Mutex::new(waits)));
    pool.job().context(&cx).execute(gate).unwrap();
    drop(cx);
    drop(release);
    is_dropping.recv().unwrap();
    assert_eq!(pool.stats().in_flight, 1);
    assert!(pool.try_submit(|| ()).is_err());
    drop(go_on);
    shut(&pool);
}

#[test]
fn no_two_jobs_of_the_process_have_one_id() {
    let ids: Vec<_> = std::thread::scope(|s| {
        let threads: Vec<_> = (0..4)
            .map(|_| {
                s.spawn(|| {
                    let pool = pool(1, 8);
                    let id = |_| pool.submit(|| ()).unwrap().id();
                    let ids: Vec<_> = (0..5_000).map(id).collect();
                    shut(&pool);
                    ids
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let unlike: std::collections::HashSet<_> = ids.iter().map(|id| id.get()).collect();
    assert_eq!((unlike.len(), ids.len()), (20_000, 20_000));
}

#[test]
fn a_job_is_told_of_by_the_id_and_name_of_its_handle() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let (events, before) = (told.clone(), told.clone());
    let pool = Pool::builder("ids")
        .threads(1)
        .queue(4)
        .hooks(Hooks::new().before(move |at| before.lock().unwrap().push(("before", at.id, at.job.map(String::from)))))
        .observer(event::from_fn(move |e| {
            let (what, id, job) = match e {
                Event::Shed { id, job, .. } => ("shed", *id, *job),
                Event::Panicked { id, job, .. } => ("panicked", *id, *job),
                Event::Detached { id, job, .. } => ("detached", *id, *job),
                other => panic!("{other:?}"),
            };
            events.lock().unwrap().push((what, id, job.map(String::from)));
        }))
        .build()
        .unwrap();
    let (job, begun, go) = gated();
    let detached = pool.job().context(&Context::background().detached()).name("first").submit(job).unwrap();
    begun.recv().unwrap();
    let shed = pool.job().name("second").submit(|| ()).unwrap();
    let panics = pool.submit(|| panic!("ouch")).unwrap();
    pool.execute(|| ()).unwrap(); // no handle, no id
    shed.cancel();
    let left =
        pool.stop().drain(Drain::ToTheEnd).wait(&Context::background().with_timeout(Duration::ZERO)).unwrap_err();
    let running = &left.report.running[0];
    assert_eq!((running.id, running.name.as_deref()), (Some(detached.id()), detached.name()));
    let (first, second, third) = (detached.id(), shed.id(), panics.id());
    assert_eq!((detached.name(), shed.name(), panics.name()), (Some("first"), Some("second"), None));
    assert!(format!("{panics:?}").contains(&format!("id: JobId({third}), name: None")));
    drop(go);
    let Err(JobError::Panicked(payload)) = panics.join() else { panic!("it panics") };
    assert_eq!(payload.job_id(), Some(third));
    shut(&pool);
    let name = |name: &str| Some(name.to_string());
    assert_eq!(
        *told.lock().unwrap(),
        [
            ("detached", Some(first), name("first")),
            ("before", Some(first), name("first")),
            ("shed", Some(second), name("second")),
            ("before", Some(third), None),
            ("panicked", Some(third), None),
            ("before", None, None),
        ]
    );
}
