//! What a pool does when it is full, places held by hand, batches, and calls.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::ThreadId;
use std::time::Duration;
use watertight::event::{self, Event};
use watertight::pool::{OnFull, Spin};
use watertight::{
    CallError, CancelCause, CancelToken, Context, Interrupted, JobError, ManualClock, Pool, RejectReason,
};

const DISPLACED: Interrupted = Interrupted::Cancelled(CancelCause::Displaced);

/// A pool of one worker, which is busy until the sender is dropped.
fn busy(queue: usize, on_full: OnFull) -> (Pool, Sender<()>) {
    let pool = Pool::builder("busy").threads(1).queue(queue).on_full(on_full).build().unwrap();
    let hold = occupy(&pool);
    (pool, hold)
}

fn occupy(pool: &Pool) -> Sender<()> {
    let (hold, held) = channel::<()>();
    let (begin, begun) = channel();
    pool.execute(move || {
        begin.send(()).unwrap();
        held.recv().ok();
    })
    .unwrap();
    begun.recv().unwrap();
    hold
}

fn here() -> ThreadId {
    std::thread::current().id()
}

struct Dropped(Arc<Mutex<Vec<ThreadId>>>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.lock().unwrap().push(here());
    }
}

#[test]
fn a_full_pool_does_what_it_was_told() {
    type Expected = fn(Result<Result<ThreadId, JobError>, RejectReason>);
    let table: [(OnFull, Expected); 4] = [
        (OnFull::Refuse, |ended| assert!(matches!(ended, Err(RejectReason::Full { limit: 1, waiting: 1 })))),
        (OnFull::CallerRuns, |ended| assert_eq!(ended.unwrap().unwrap(), here())),
        (OnFull::DropNewest, |ended| assert!(matches!(ended, Ok(Err(JobError::Shed(DISPLACED)))))),
        (OnFull::DropOldest, |ended| assert_ne!(ended.unwrap().unwrap(), here())),
    ];
    for (on_full, expected) in table {
        let (pool, hold) = busy(1, on_full.clone());
        let oldest = pool.submit(here).unwrap();
        let newest = pool.submit(here);
        // The forms that try refuse, whatever it was told.
        assert!(matches!(pool.try_submit(here).unwrap_err().reason, RejectReason::Full { .. }), "{on_full:?}");
        drop(hold);
        expected(newest.map(|handle| handle.join()).map_err(|refused| refused.reason));
        let displaced = matches!(oldest.join(), Err(JobError::Shed(DISPLACED)));
        assert_eq!(displaced, matches!(on_full, OnFull::DropOldest), "{on_full:?}");
        pool.shutdown(&Context::background()).unwrap();
        let stats = pool.stats();
        assert_eq!(stats.accepted, stats.finished + stats.panicked + stats.shed, "{stats:?}");
        assert_eq!(stats.in_flight, 0);
        let counted = [stats.ran_by_caller, stats.dropped_newest, stats.displaced, stats.refused_full - 1];
        let mut one = [0; 4];
        let which = match on_full {
            OnFull::CallerRuns => 0,
            OnFull::DropNewest => 1,
            OnFull::DropOldest => 2,
            _ => 3,
        };
        one[which] = 1;
        assert_eq!(counted, one, "{on_full:?}");
    }
}

#[test]
fn a_job_may_have_its_own_way_when_it_is_full() {
    let (pool, hold) = busy(0, OnFull::Refuse);
    let ran = pool.job().on_full(OnFull::CallerRuns).submit(here).unwrap();
    assert_eq!(ran.join().unwrap(), here());
    assert!(pool.submit(here).is_err());
    assert!(pool.job().on_full(OnFull::CallerRuns).try_submit(here).is_err(), "what tries refuses");
    let ran = Arc::new(AtomicUsize::new(0));
    let counts = ran.clone();
    pool.job().on_full(OnFull::CallerRuns).execute(move || _ = counts.fetch_add(1, Ordering::Relaxed)).unwrap();
    let counts = ran.clone();
    pool.job().on_full(OnFull::DropNewest).execute(move || _ = counts.fetch_add(1, Ordering::Relaxed)).unwrap();
    assert_eq!(ran.load(Ordering::Relaxed), 1);
    drop(hold);
}

#[test]
fn who_decides_is_told_of_the_job_and_a_panic_in_it_refuses() {
    let (pool, hold) = busy(
        0,
        OnFull::decide(|full| match full.job {
            Some("run") => {
                assert_eq!((full.pool, full.threads, full.waiting), ("busy", 1, 0));
                OnFull::CallerRuns
            }
            Some("drop") => OnFull::DropNewest,
            Some("again") => OnFull::decide(|_| OnFull::CallerRuns),
            _ => panic!("on purpose"),
        }),
    );
    assert!(pool.job().name("run").submit(here).unwrap().join().is_ok());
    assert!(matches!(pool.job().name("drop").submit(here).unwrap().join(), Err(JobError::Shed(DISPLACED))));
    assert!(pool.job().name("again").submit(here).is_err());
    assert!(matches!(pool.submit(here).unwrap_err().reason, RejectReason::Full { .. }));
    drop(hold);
}

#[test]
fn a_displaced_job_is_dropped_by_who_displaces_it_and_told() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let tells = told.clone();
    let pool = Pool::builder("busy")
        .threads(1)
        .queue(2)
        .on_full(OnFull::DropOldest)
        .observer(event::from_fn(move |e| {
            if let Event::Shed { job, cause, .. } = e {
                tells.lock().unwrap().push((job.map(String::from), *cause));
            }
        }))
        .build()
        .unwrap();
    let hold = occupy(&pool);
    let drops = Arc::new(Mutex::new(Vec::new()));
    let held = Dropped(drops.clone());
    pool.job().name("without a handle").execute(move || drop(held)).unwrap();
    let held = Dropped(drops.clone());
    let oldest = pool.job().name("with a handle").submit(move || drop(held)).unwrap();
    for _ in 0..2 {
        pool.execute(|| {}).unwrap();
    }
    assert_eq!(*drops.lock().unwrap(), [here(), here()]);
    let names = ["without a handle", "with a handle"].map(|name| (Some(String::from(name)), DISPLACED));
    assert_eq!(*told.lock().unwrap(), names);
    assert!(matches!(oldest.join(), Err(JobError::Shed(DISPLACED))));
    drop(hold);
}

/// The place of an empty entry is as good as that of a job.
#[test]
fn an_empty_entry_is_displaced_first() {
    let (pool, hold) = busy(1, OnFull::DropOldest);
    let cancelled = pool.submit(here).unwrap();
    cancelled.cancel();
    let newer = pool.submit(here).unwrap();
    assert_eq!((pool.stats().in_flight, pool.stats().displaced), (2, 0));
    drop(hold);
    assert!(newer.join().is_ok());
    assert!(matches!(cancelled.join(), Err(JobError::Shed(Interrupted::Cancelled(CancelCause::Requested)))));
}

#[test]
fn where_nobody_waits_nobody_is_displaced() {
    let (pool, hold) = busy(0, OnFull::DropOldest);
    assert!(matches!(pool.submit(here).unwrap_err().reason, RejectReason::Full { .. }));
    drop(hold);
}

#[test]
fn an_async_submit_follows_it_too() {
    let (pool, hold) = busy(0, OnFull::CallerRuns);
    let handle = futures::executor::block_on(pool.submit_async(here)).unwrap();
    assert_eq!(handle.join().unwrap(), here());
    let refused = futures::executor::block_on(pool.job().on_full(OnFull::Refuse).submit_async(here));
    assert!(refused.is_err());
    drop(hold);
}

#[test]
fn a_closed_pool_runs_nothing_here() {
    let pool = Pool::builder("closed").threads(1).on_full(OnFull::CallerRuns).build().unwrap();
    pool.shutdown(&Context::background()).unwrap();
    assert_eq!(pool.submit_or_run(here).unwrap_err().reason, RejectReason::ShuttingDown);
    assert!(matches!(pool.call(here), Err(CallError::Rejected(RejectReason::ShuttingDown))));
    assert_eq!(pool.try_reserve().unwrap_err(), RejectReason::ShuttingDown);
}

#[test]
fn a_place_is_held_and_given_back() {
    let pool = Pool::builder("places").threads(1).queue(2).build().unwrap();
    let mut slots = pool.reserve_many(3).unwrap();
    assert_eq!((slots.len(), pool.stats().in_flight), (3, 3));
    assert!(matches!(pool.try_reserve(), Err(RejectReason::Full { .. })));
    let one = slots.next().unwrap();
    drop(slots);
    assert_eq!(pool.stats().in_flight, 1);
    let (send, received) = channel();
    one.execute(move || send.send(7).unwrap());
    assert_eq!(received.recv().unwrap(), 7);
    assert_eq!(pool.reserve_many(4).unwrap_err(), RejectReason::TooLarge { asked: 4, limit: 3 });
    assert_eq!(pool.reserve_many(0).unwrap().len(), 0);
}

#[test]
fn a_pool_that_shuts_down_waits_for_a_held_place_and_takes_its_job() {
    let pool = Pool::builder("places").threads(1).queue(1).build().unwrap();
    let slot = pool.reserve().unwrap();
    let shuts = {
        let pool = pool.clone();
        std::thread::spawn(move || pool.shutdown(&Context::background()).unwrap())
    };
    while !matches!(pool.try_reserve(), Err(RejectReason::ShuttingDown)) {
        std::thread::yield_now();
    }
    assert_eq!(slot.submit(|| 7).join().unwrap(), 7);
    shuts.join().unwrap();
}

#[test]
fn what_is_submitted_into_a_held_place_after_the_shutdowns_time_is_shed() {
    let pool = Pool::builder("places").threads(1).queue(1).build().unwrap();
    let slot = pool.reserve().unwrap();
    let past = Context::background().with_timeout(Duration::ZERO);
    assert_eq!(pool.shutdown(&past).unwrap().running.len(), 0);
    let shed = slot.submit(|| 7).join();
    assert!(matches!(shed, Err(JobError::Shed(Interrupted::Cancelled(CancelCause::Shutdown)))));
}

#[test]
fn what_a_background_job_submits_into_a_held_place_is_not_cancelled_with_it() {
    let pool = Pool::builder("places").threads(1).queue(2).build().unwrap();
    let (inner, (tell, told)) = (pool.clone(), channel());
    pool.execute(move || {
        let [one, other] = [(); 2].map(|()| inner.try_reserve().unwrap());
        let handle = one.submit(|| 7);
        let ran = tell.clone();
        other.execute(move || ran.send(None).unwrap());
        Context::current().token().cancel();
        tell.send(Some(handle)).unwrap();
    })
    .unwrap();
    let handle = told.recv().unwrap().expect("it comes first");
    assert_eq!(handle.join().unwrap(), 7);
    assert!(told.recv().unwrap().is_none());
    pool.shutdown(&Context::background()).unwrap();
    assert_eq!(pool.stats().shed, 0);
}

#[test]
fn who_wants_many_places_is_not_overtaken() {
    let (pool, hold) = busy(1, OnFull::Wait);
    let (begin, begun) = channel();
    let wants = {
        let pool = pool.clone();
        std::thread::spawn(move || {
            begin.send(()).unwrap();
            pool.reserve_many(2).unwrap().len()
        })
    };
    begun.recv().unwrap();
    while !matches!(pool.try_reserve(), Err(RejectReason::Full { waiting: 2, .. })) {
        std::thread::yield_now(); // until it is in line, a place of two is free
    }
    drop(hold);
    assert_eq!(wants.join().unwrap(), 2);
}

#[test]
fn a_batch_is_taken_whole_or_comes_back_whole() {
    let (pool, hold) = busy(3, OnFull::Wait);
    let jobs = |n: usize| (0..n).map(|n| move || n).collect::<Vec<_>>();
    assert_eq!(pool.try_submit_batch(jobs(4)).unwrap_err().into_work().len(), 4);
    assert_eq!(pool.stats().in_flight, 1);
    let handles = pool.submit_batch(jobs(3)).unwrap();
    assert_eq!(pool.stats().queued, 3);
    drop(hold);
    let results: Vec<_> = handles.into_iter().map(|handle| handle.join().unwrap()).collect();
    assert_eq!(results, [0, 1, 2]);
    let (send, received) = channel();
    let sends = |n: usize| {
        (0..n)
            .map(|n| {
                let send = send.clone();
                move || send.send(n).unwrap()
            })
            .collect::<Vec<_>>()
    };
    pool.execute_batch(sends(4)).unwrap();
    let mut seen: Vec<_> = received.iter().take(4).collect();
    seen.sort_unstable();
    assert_eq!(seen, [0, 1, 2, 3]);
    pool.try_execute_batch(Vec::<fn()>::new()).unwrap();
    let too_large = pool.submit_batch(jobs(5)).unwrap_err().reason;
    assert_eq!(too_large.to_string(), "asks for 5 at once, more than there are to have of 4");
    assert_eq!(
        pool.try_execute_batch(vec![|| (); 6]).unwrap_err().reason,
        RejectReason::TooLarge { asked: 6, limit: 4 }
    );
}

#[test]
fn a_call_borrows_and_runs_on_a_worker() {
    let pool = Pool::builder("calls").threads(1).queue(0).build().unwrap();
    let mut count = 0;
    for n in 1..=100 {
        let ran_by = pool
            .call(|| {
                count += n;
                here()
            })
            .unwrap();
        assert_ne!(ran_by, here());
        assert_eq!(pool.stats().in_flight, 0, "its place is back before it returns");
    }
    assert_eq!(count, 5050);
}

#[test]
fn calls_nest_in_their_own_pool() {
    let pool = Pool::builder("calls").threads(1).queue(0).build().unwrap();
    fn depth(pool: &Pool, left: usize) -> usize {
        if left == 0 { 0 } else { pool.call(|| depth(pool, left - 1)).unwrap() + 1 }
    }
    assert_eq!(depth(&pool, 64), 64);
    let other = Pool::builder("other").threads(1).queue(0).build().unwrap();
    // And across pools, each call with a desk of its own.
    assert_eq!(pool.call(|| other.call(|| 1).unwrap() + 1).unwrap(), 2);
}

#[test]
fn a_panic_in_a_call_is_its_callers() {
    let pool = Pool::builder("calls").threads(1).build().unwrap();
    for _ in 0..10 {
        match pool.call(|| panic!("on purpose")) {
            Err(CallError::Panicked(payload)) => assert_eq!(payload.message(), Some("on purpose")),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(pool.call(|| 1).unwrap(), 1);
}

#[test]
fn a_queued_call_ends_with_its_context_and_a_running_one_does_not() {
    let (pool, hold) = busy(1, OnFull::Wait);
    let token = CancelToken::new();
    let cx = Context::background().with_token(&token);
    let drops = Arc::new(Mutex::new(Vec::new()));
    let calls = {
        let (pool, drops) = (pool.clone(), drops.clone());
        std::thread::spawn(move || {
            let held = Dropped(drops);
            let refused = pool.job().context(&cx).call(|| drop(held));
            (refused, here())
        })
    };
    while pool.stats().queued == 0 {
        std::thread::yield_now();
    }
    token.cancel();
    let (refused, caller) = calls.join().unwrap();
    assert!(matches!(refused, Err(CallError::Rejected(RejectReason::Cancelled(CancelCause::Requested)))));
    assert_eq!(*drops.lock().unwrap(), [caller], "its closure is dropped where it was made");
    drop(hold);

    let time = ManualClock::new();
    let cx = Context::background().with_clock(&time.clock()).with_timeout(Duration::from_secs(1));
    let outlives = pool.job().context(&cx).call(|| {
        time.advance(Duration::from_secs(2));
        Context::current().check()
    });
    assert_eq!(outlives.unwrap(), Err(Interrupted::DeadlinePassed));
    let stats = pool.stats();
    assert_eq!((stats.shed, stats.in_flight), (1, 0));
}

#[test]
fn a_call_that_a_shutdown_finds_in_the_queue_says_so() {
    let (pool, hold) = busy(1, OnFull::Wait);
    let calls = {
        let pool = pool.clone();
        std::thread::spawn(move || pool.call(|| ()))
    };
    while pool.stats().accepted < 2 {
        std::thread::yield_now();
    }
    let past = Context::background().with_timeout(Duration::ZERO);
    assert_eq!(pool.shutdown(&past).unwrap_err().report.never_ran, 1);
    let shed = calls.join().unwrap();
    assert!(matches!(shed, Err(CallError::Rejected(RejectReason::Cancelled(CancelCause::Shutdown)))), "{shed:?}");
    drop(hold);
    pool.shutdown(&Context::background()).unwrap();
}

#[test]
fn a_call_may_be_displaced() {
    let (pool, hold) = busy(1, OnFull::DropOldest);
    let calls = {
        let pool = pool.clone();
        std::thread::spawn(move || pool.call(|| ()))
    };
    while pool.stats().accepted < 2 {
        std::thread::yield_now();
    }
    let newer = pool.submit(here).unwrap();
    let displaced = calls.join().unwrap();
    assert!(matches!(displaced, Err(CallError::Rejected(RejectReason::Cancelled(CancelCause::Displaced)))));
    drop(hold);
    assert!(newer.join().is_ok());
    assert_eq!(pool.stats().displaced, 1);
}

/// Callers that leave, jobs that are displaced, and workers, all at once: whatever happens, everything is back.
#[test]
fn whoever_leaves_and_whoever_is_displaced_nothing_is_lost() {
    const EACH: usize = 2_000;
    let pool = Pool::builder("mixed").threads(2).queue(2).on_full(OnFull::DropOldest).build().unwrap();
    let (entered, ended) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|s| {
        for seed in 0..4_usize {
            let (pool, entered, ended) = (&pool, &entered, &ended);
            s.spawn(move || {
                for n in 0..EACH {
                    let token = CancelToken::new();
                    let cx = Context::background().with_token(&token);
                    let work = || _ = entered.fetch_add(1, Ordering::Relaxed);
                    let called = match (n + seed) % 3 {
                        0 => {
                            let cancels = token.clone();
                            pool.execute(move || cancels.cancel()).unwrap_or(());
                            pool.job().context(&cx).call(work)
                        }
                        1 => pool.job().context(&cx).on_full(OnFull::Wait).call(work),
                        _ => pool.job().context(&cx).on_full(OnFull::CallerRuns).call(work),
                    };
                    if called.is_ok() {
                        ended.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    pool.shutdown(&Context::background()).unwrap();
    assert_eq!(entered.load(Ordering::Relaxed), ended.load(Ordering::Relaxed));
    let stats = pool.stats();
    assert_eq!(stats.in_flight, 0);
    assert_eq!(stats.accepted, stats.finished + stats.panicked + stats.shed, "{stats:?}");
    assert!(stats.displaced > 0 && stats.ran_by_caller > 0, "{stats:?}");
}

#[test]
fn a_refusal_is_counted_and_told_in_every_form() {
    let (send, told): (_, Receiver<RejectReason>) = channel();
    let pool = Pool::builder("full")
        .threads(1)
        .queue(0)
        .on_full(OnFull::Refuse)
        .observer(event::from_fn(move |e| {
            if let Event::Rejected { reason, .. } = e {
                send.send(*reason).unwrap();
            }
        }))
        .build()
        .unwrap();
    let hold = occupy(&pool);
    assert!(pool.submit(here).is_err());
    assert!(pool.try_submit(here).is_err());
    assert!(pool.execute(|| ()).is_err());
    assert!(pool.call(here).is_err());
    assert!(pool.try_reserve().is_err());
    assert!(pool.try_execute_batch(vec![|| ()]).is_err());
    assert!(futures::executor::block_on(pool.submit_async(here)).is_err());
    assert_eq!(pool.stats().refused_full, 7);
    assert_eq!(told.try_iter().count(), 7);
    drop(hold);
}

/// However long those who wait look before they sleep, everything arrives.
#[test]
fn every_patience_serves_calls_and_jobs() {
    for spin in [Spin::Never, Spin::Brief, Spin::Adaptive] {
        let pool = Pool::builder("spin").threads(2).queue(64).spin(spin).build().unwrap();
        std::thread::scope(|s| {
            for _ in 0..2 {
                s.spawn(|| (0..500_u64).for_each(|n| assert_eq!(pool.call(|| n).unwrap(), n)));
            }
        });
        let handles: Vec<_> = (0..500_u64).map(|n| pool.submit(move || n).unwrap()).collect();
        let sum: u64 = handles.into_iter().map(|handle| handle.join().unwrap()).sum();
        assert_eq!(sum, 499 * 500 / 2);
        pool.shutdown(&Context::background()).unwrap();
        assert_eq!(pool.stats().finished, 1_500);
    }
}

#[test]
fn more_places_than_there_are_numbers_are_refused() {
    let pool = Pool::builder("places").threads(1).queue(2).build().unwrap();
    let held = pool.reserve().unwrap();
    for many in [4, usize::MAX, usize::MAX - 1, usize::MAX / 2] {
        assert_eq!(pool.reserve_many(many).unwrap_err(), RejectReason::TooLarge { asked: many, limit: 3 });
    }
    assert_eq!(pool.stats().in_flight, 1);
    drop(held);
}

#[test]
fn who_waits_for_more_places_than_are_left_after_a_resize_is_sent_away() {
    let pool = Pool::builder("places").threads(2).queue(8).resizable(2, 8).build().unwrap();
    let held = pool.reserve().unwrap();
    let waits = {
        let pool = pool.clone();
        std::thread::spawn(move || pool.reserve_many(10).map(|slots| slots.len()))
    };
    while pool.try_reserve().is_ok() {
        std::thread::yield_now(); // until it is in line
    }
    pool.resize(2, 4).unwrap();
    drop(held);
    assert_eq!(waits.join().unwrap(), Err(RejectReason::TooLarge { asked: 10, limit: 6 }));
    assert!(pool.submit(here).unwrap().join().is_ok());
}

#[test]
fn a_job_run_within_another_has_a_token_of_its_own() {
    let pool = Pool::builder("nested").threads(1).queue(0).on_full(OnFull::CallerRuns).build().unwrap();
    let (send, outcome) = channel();
    let inner = pool.clone();
    pool.execute(move || {
        inner.call(|| Context::current().token().cancel()).unwrap();
        inner.execute(|| Context::current().token().cancel()).unwrap();
        send.send(Context::current().check()).unwrap();
    })
    .unwrap();
    assert_eq!(outcome.recv().unwrap(), Ok(()));
}

#[test]
fn what_a_job_submits_is_cancelled_with_it() {
    let pool = Pool::builder("below").threads(2).queue(4).build().unwrap();
    let inner = pool.clone();
    let (begin, begun) = channel();
    let outer = pool
        .submit(move || {
            let below = inner.submit(move || {
                begin.send(()).unwrap();
                Context::current().token().wait(&Context::background())
            });
            below.unwrap().join().unwrap()
        })
        .unwrap();
    begun.recv().unwrap();
    outer.cancel();
    assert_eq!(outer.join().unwrap(), Some(Interrupted::Cancelled(CancelCause::Requested)));
    // And nothing of it is left to the next job.
    assert_eq!(pool.submit(|| Context::current().check()).unwrap().join().unwrap(), Ok(()));
}
