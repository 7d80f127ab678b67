//! What is said to be free of allocations is: a look at a token, a checkpoint, a clone of a context, a deadline's sums,
//! a value that is received or sent without waiting, a permit, a breaker's calls and refusals, a retry's payment, a
//! compartment's call on the caller's thread, a job without a handle. And what is said to cost so many does.
//!
//! One test, in a program of its own: the counter is the whole process's.

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::alloc::System;
use std::hint::black_box;
use std::pin::Pin;
use std::task::Poll;
use std::time::{Duration, Instant};
use watertight::permit::Share;
use watertight::{
    Breaker, Budget, Bulkhead, CancelCause, CancelToken, Context, Deadline, Interrupted, Isolation, Limit, ManualClock,
    Pool, Recovery, RejectReason, Retry, Trip,
};

#[global_allocator]
static HEAP: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// How many blocks were asked for, grown or given back meanwhile. The test's own harness may allocate on its thread at
/// the same time, so the least of several tries counts.
fn blocks(f: impl FnMut()) -> usize {
    least_of(5, f)
}

/// The same of so many tries: where what was dropped before may still end on threads of its own.
fn least_of(tries: usize, mut f: impl FnMut()) -> usize {
    let once = || {
        let region = Region::new(HEAP);
        f();
        let change = region.change();
        change.allocations + change.reallocations + change.deallocations
    };
    std::iter::repeat_with(once).take(tries).min().unwrap()
}

#[test]
fn looks_checks_clones_and_deadlines_allocate_nothing() {
    assert_ne!(blocks(|| drop(black_box(Box::new(1)))), 0, "the counter counts");

    let (live, cancelled, because) = (CancelToken::new(), CancelToken::new(), CancelToken::new());
    cancelled.cancel();
    because.cancel_because(CancelCause::Because("of this"));
    let below = live.child();
    for token in [&live, &cancelled, &because, &below, &CancelToken::never()] {
        assert_eq!(
            blocks(|| {
                black_box(token.is_cancelled());
                black_box(token.cause());
                _ = black_box(token.check());
                drop(black_box(token.clone()));
            }),
            0,
            "{token:?}"
        );
    }

    let time = ManualClock::new();
    let plain = Context::background();
    let bound = plain.with_token(&live).with_timeout(Duration::from_secs(1));
    let ended = plain.with_token(&cancelled);
    let past = plain.with_clock(&time.clock()).with_timeout(Duration::ZERO);
    assert_eq!(past.check(), Err(Interrupted::DeadlinePassed));
    for cx in [&plain, &bound, &ended, &past] {
        assert_eq!(
            blocks(|| {
                _ = black_box(cx.check());
                drop(black_box(cx.clone()));
                black_box((cx.now(), cx.deadline(), cx.remaining(), cx.token().is_cancelled()));
                drop(black_box(cx.in_scope(Context::current)));
            }),
            0,
            "{cx:?}"
        );
    }

    let (send, receive) = crossbeam_channel::bounded(1);
    for cx in [&plain, &bound, &ended] {
        assert_eq!(
            blocks(|| {
                cx.send(&send, 1).unwrap();
                assert_eq!(cx.recv(&receive), Ok(1));
            }),
            0,
            "{cx:?}"
        );
    }

    // The check that sees the deadline pass cancels the token, asked for or not.
    for asked in [false, true] {
        let made = || {
            let cx = plain.with_clock(&time.clock()).with_timeout(Duration::ZERO);
            if asked {
                assert!(!cx.token().is_cancelled());
            }
            cx
        };
        let mut fresh: Vec<Context> = std::iter::repeat_with(made).take(5).collect();
        let mut seen = Vec::with_capacity(fresh.len());
        assert_eq!(
            blocks(|| {
                let cx = fresh.pop().unwrap();
                assert_eq!(cx.check(), Err(Interrupted::DeadlinePassed));
                assert!(cx.token().is_cancelled());
                seen.push(cx);
            }),
            0
        );
    }

    let now = Instant::now();
    for d in [Duration::ZERO, Duration::from_millis(5), Duration::MAX] {
        assert_eq!(
            blocks(|| {
                let deadline = black_box(Deadline::after(now, d).child(now, Duration::from_secs(1)));
                black_box((deadline.instant(), deadline.remaining(now), deadline.is_past(now), deadline.is_never()));
                black_box((deadline.min(Deadline::NEVER), deadline < Deadline::from(now)));
            }),
            0
        );
    }

    permits_and_budgets_allocate_nothing();
    breakers_allocate_nothing();
    refusals_of_compartments_allocate_nothing();
    calls_here_allocate_nothing();
    calls_on_threads_allocate_once_an_attempt();
    jobs_allocate_so_much();
}

fn permits_and_budgets_allocate_nothing() {
    let (limit, cx) = (Limit::new(2), Context::background());
    let shared = Limit::builder(10).partition("live", Share::Lent(0.5)).partition("batch", Share::Kept(0.5)).build();
    let shared = shared.unwrap();
    let live = shared.partition("live").unwrap();
    assert_eq!(
        blocks(|| {
            let first = black_box(limit.try_acquire().unwrap());
            let second = black_box(limit.acquire(&cx).unwrap());
            assert!(black_box(limit.try_acquire()).is_err());
            assert!(black_box(limit.try_acquire_many(2)).is_err());
            assert!(black_box(limit.try_acquire_many(3)).is_err());
            drop((first, second));
            drop(black_box(limit.acquire_many(2, &cx).unwrap()));
            drop(black_box(limit.acquire_ref(&cx).unwrap()));
            drop(black_box(live.try_acquire_many(5).unwrap()));
            assert!(black_box(live.try_acquire_many(6)).is_err());
            limit.resize(2).unwrap();
        }),
        0,
        "permits and refusals"
    );
    let budget = Budget::percent(50).floor(1);
    let retry = Retry::exponential(Duration::from_millis(1)).budget(budget.clone());
    assert_eq!(
        blocks(|| {
            (0..2).for_each(|_| budget.deposit());
            while black_box(budget.try_withdraw()) {}
            black_box(budget.stats());
            black_box(retry.schedule().sum::<Duration>());
            black_box(retry.attempts_within(&cx).number());
        }),
        0,
        "deposits, withdrawals and their refusals, pauses"
    );
}

/// Neither calls that pass nor refusals, in any state, on the front or behind it.
fn breakers_allocate_nothing() {
    let second = Duration::from_secs(1);
    let time = ManualClock::new();
    let trips = [
        Trip::consecutive(500),
        Trip::rate(0.9),
        Trip::rate(0.9).within(second).or_slow_rate(0.9, second).lump(second),
        Trip::own(|counts| counts.failures == u64::MAX),
    ];
    for trip in trips {
        let build = || Breaker::builder("counted").trip(trip.clone()).clock(&time.clock());
        let breaker = build().recovery(Recovery::after(second).growth(1.0)).build().unwrap();
        let calls = || {
            for _ in 0..150 {
                breaker.admit_here().unwrap().success();
                breaker.admit().unwrap().failure();
                breaker.admit().unwrap().ignore();
                breaker.call(|| Ok::<_, ()>(1)).unwrap();
                black_box((breaker.state(), breaker.snapshot()));
                breaker.admit().unwrap().success();
            }
        };
        assert_eq!(blocks(calls), 0, "{trip:?}");
        let refused = || {
            for _ in 0..10 {
                assert!(matches!(breaker.admit(), Err(RejectReason::CircuitOpen { .. })));
                assert!(breaker.admit_here().is_err() && breaker.call(|| Ok::<_, ()>(1)).is_err());
            }
        };
        breaker.force_open();
        assert_eq!(blocks(refused), 0);
        breaker.reset();
        breaker.reconfigure(Trip::consecutive(1), Recovery::after(second).growth(1.0)).unwrap();
        breaker.admit().unwrap().failure();
        assert_eq!(blocks(refused), 0, "open");
        time.advance(second);
        let probe = breaker.admit().unwrap();
        assert!(probe.is_probe());
        assert_eq!(blocks(refused), 0, "half-open, the probe is out");
    }
}

/// Whatever refuses and however it was asked.
fn refusals_of_compartments_allocate_nothing() {
    let minute = Duration::from_secs(60);
    let build = |isolation| {
        Bulkhead::builder("refuses", isolation).breaker(Trip::consecutive(9), Recovery::after(minute)).timeout(minute)
    };
    let full = build(Isolation::Threads(1)).build().unwrap();
    let held = full.admit(&Context::background()).unwrap();
    let open = build(Isolation::Threads(1)).build().unwrap();
    open.breaker().unwrap().force_open();
    let permits = build(Isolation::Permits(1)).build().unwrap();
    let time = ManualClock::new();
    let past = Context::background().with_clock(&time.clock()).with_timeout(Duration::ZERO);
    assert!(past.check().is_err());
    let other = Context::background();
    for (it, cx) in [(&full, &other), (&open, &other), (&permits, &past)] {
        let judged = it.classify(|_: Result<&(), &()>| watertight::Class::Success);
        let refused = || {
            assert!(!it.call(cx, |_| Ok::<_, ()>(())).unwrap_err().started());
            assert!(!it.call_here(cx, |_| Ok::<_, ()>(())).unwrap_err().started());
            assert!(!it.idempotent().call_here(cx, |_| Ok::<_, ()>(())).unwrap_err().started());
            assert!(!judged.call(cx, |_| Ok(())).unwrap_err().started());
            assert!(it.submit(cx, |_| Ok::<_, ()>(())).is_err());
            assert!(it.try_admit(cx).is_err() && it.admit(cx).is_err());
            let call = std::pin::pin!(it.call_async(cx, async |_cx| Ok::<_, ()>(())));
            let mut task = std::task::Context::from_waker(std::task::Waker::noop());
            assert!(std::future::Future::poll(call, &mut task).is_ready());
        };
        assert_eq!(blocks(refused), 0, "{it:?}");
    }
    let fallbacks = || _ = black_box(full.fallback(RejectReason::ShuttingDown.into(), |_| Ok::<_, ()>(1)));
    assert_eq!(blocks(fallbacks), 0);
    held.success();
}

/// Pending so many times.
struct Later(u8);

impl Future for Later {
    type Output = Result<(), ()>;
    fn poll(mut self: Pin<&mut Self>, _: &mut std::task::Context<'_>) -> Poll<Self::Output> {
        match self.0.checked_sub(1) {
            Some(left) => {
                self.0 = left;
                Poll::Pending
            }
            None => Poll::Ready(Ok(())),
        }
    }
}

/// Waits until both threads of the compartment are at work: starting them allocates, and takes its time.
fn both_are_there(it: &Bulkhead) {
    let met = std::sync::Arc::new(std::sync::Barrier::new(2));
    let handles = [met.clone(), met].map(|met| {
        let call = it.submit(&Context::background(), move |_| Ok::<_, ()>(met.wait().is_leader()));
        call.unwrap_or_else(|refused| panic!("{refused}"))
    });
    for handle in handles {
        handle.join().unwrap();
    }
}

/// Whatever the context, the isolation and the face, and however the work ends: the call's context lies in the memory of the
/// one before.
fn calls_here_allocate_nothing() {
    let (second, minute) = (Duration::from_secs(1), Duration::from_secs(60));
    let time = ManualClock::new();
    let plain = Context::background().with_clock(&time.clock());
    let token = CancelToken::new();
    let bound = plain.with_token(&token).with_timeout(minute * 10);
    for isolation in [Isolation::Permits(2), Isolation::Threads(2)] {
        let retry = Retry::constant(Duration::ZERO).attempts(2).budget(Budget::percent(100).burst(100));
        let recovery = Recovery::after(second).growth(1.0).probe_timeout(second);
        let build = || Bulkhead::builder("here", isolation.clone()).breaker(Trip::consecutive(50), recovery.clone());
        let it = build().clock(&time.clock()).timeout(minute).retry(retry).build().unwrap();
        if let Isolation::Threads(_) = isolation {
            both_are_there(&it);
        }
        let judged = it.classify(|_: Result<&u8, &u8>| watertight::Class::Ignore);
        for cx in [&Context::background(), &plain, &bound] {
            let here = || {
                assert_eq!(it.call_here(cx, |cx| Ok::<_, ()>(cx.check().is_ok())).ok(), Some(true));
                assert!(it.call_here(cx, |_| Err::<(), _>(1)).is_err());
                assert!(judged.call_here(cx, |_| Err(1)).is_err());
                let mut runs = 0;
                let again = it.idempotent().call_here(cx, |_| {
                    runs += 1;
                    if runs < 2 { Err(()) } else { Ok(()) }
                });
                assert!(again.is_ok());
                // Within another call, of itself.
                let nested = it.call_here(cx, |cx| it.call_here(cx, |_| Ok::<_, ()>(1)).map_err(drop));
                assert_eq!(nested.ok(), Some(1));
            };
            assert_eq!(least_of(200, here), 0, "{isolation:?}, {cx:?}");
            let ready = || {
                let call = std::pin::pin!(it.call_async(cx, async |_cx| Ok::<_, ()>(())));
                let mut task = std::task::Context::from_waker(std::task::Waker::noop());
                assert!(call.poll(&mut task).is_ready());
            };
            assert_eq!(least_of(200, ready), 0, "{isolation:?}, {cx:?}, awaited");
            // Two at once, which are pending for a while and end in the order of their beginning.
            let pending = || {
                let mut task = std::task::Context::from_waker(std::task::Waker::noop());
                let call = || it.call_async(cx, |_cx| Later(2));
                let (mut first, mut second) = (std::pin::pin!(call()), std::pin::pin!(call()));
                for polls in 1..=3 {
                    assert_eq!(first.as_mut().poll(&mut task).is_ready(), polls == 3);
                    assert_eq!(second.as_mut().poll(&mut task).is_ready(), polls == 3);
                }
            };
            assert_eq!(least_of(200, pending), 0, "{isolation:?}, {cx:?}, awaited and pending");
        }
        let probed = || {
            for _ in 0..50 {
                assert!(it.call_here(&plain, |_| Err::<(), _>(())).is_err());
            }
            time.advance(second);
            assert_eq!(it.call_here(&plain, |cx| Ok::<_, ()>(cx.remaining())).ok(), Some(Some(second)));
        };
        assert_eq!(blocks(probed), 2, "{isolation:?}: the half-open breaker's table of probes, made and dropped");
    }
}

/// The job's cell, with the closure and the result; for each attempt, retries included.
fn calls_on_threads_allocate_once_an_attempt() {
    const CALLS: usize = 200;
    let minute = Duration::from_secs(60);
    let retry = Retry::constant(Duration::ZERO).attempts(2);
    let build =
        Bulkhead::builder("threads", Isolation::Threads(2)).breaker(Trip::consecutive(50), Recovery::after(minute));
    let it = build.timeout(minute).retry(retry).build().unwrap();
    both_are_there(&it);
    let plain = Context::background();
    let bound = plain.with_token(&CancelToken::new()).with_timeout(minute);
    for cx in [&plain, &bound] {
        let called = asked_for(|| {
            (0..CALLS).for_each(|n| assert_eq!(it.call(cx, move |_| Ok::<_, ()>(n)).ok(), Some(n)));
        });
        assert_eq!(called, CALLS, "{cx:?}");
        let awaited = asked_for(|| {
            (0..CALLS).for_each(|n| {
                let call = it.call_blocking(cx, move |_| Ok::<_, ()>(n));
                assert_eq!(futures::executor::block_on(call).ok(), Some(n));
            });
        });
        assert_eq!(awaited, CALLS, "{cx:?}, awaited");
        let retried = asked_for(|| {
            (0..CALLS).for_each(|_| {
                let mut runs = 0;
                let call = it.idempotent().call(cx, move |_| {
                    runs += 1;
                    if runs < 2 { Err(()) } else { Ok(runs) }
                });
                assert_eq!(call.ok(), Some(2));
            });
        });
        assert_eq!(retried, 2 * CALLS, "{cx:?}, retried");
    }
}

/// How many blocks were asked for meanwhile, on any thread: the least of several tries.
fn asked_for(mut f: impl FnMut()) -> usize {
    let once = || {
        let region = Region::new(HEAP);
        f();
        let change = region.change();
        change.allocations + change.reallocations
    };
    std::iter::repeat_with(once).take(5).min().unwrap()
}

fn jobs_allocate_so_much() {
    const JOBS: usize = 500;
    let pool = Pool::builder("counted").threads(2).queue(JOBS).build().unwrap();
    let idle = || {
        while pool.stats().in_flight > 0 {
            std::thread::yield_now();
        }
    };
    let execute = |captured: [u64; 6]| {
        (0..JOBS).for_each(|_| pool.execute(move || _ = black_box(captured)).unwrap());
        idle();
    };
    assert_eq!(asked_for(|| execute([1; 6])), 0, "48 bytes lie in the queue");
    let cx = Context::background().with_token(&CancelToken::new());
    assert_eq!(asked_for(|| cx.in_scope(|| execute_24(&pool, JOBS, idle))), 0, "so do 24 and a context");
    let captured = [2_u64; 7];
    let boxed = asked_for(|| {
        (0..JOBS).for_each(|_| pool.execute(move || _ = black_box(captured)).unwrap());
        idle();
    });
    assert_eq!(boxed, JOBS, "what is larger has a box");
    let mut handles = Vec::with_capacity(JOBS);
    let joined = asked_for(|| {
        handles.extend((0..JOBS as u64).map(|n| pool.submit(move || n).unwrap()));
        idle();
        handles.drain(..).for_each(|handle| _ = black_box(handle.join().unwrap()));
    });
    assert_eq!(joined, JOBS, "a cell");
    let batched = asked_for(|| {
        let mut batch = pool.batch();
        (0..JOBS as u64).for_each(|n| batch.submit(move || n).unwrap());
        assert_eq!(batch.join_all().unwrap().len(), JOBS);
    });
    assert!((JOBS..JOBS + 50).contains(&batched), "a cell each, and lists that grow: {batched}");
    let mut sum = 0;
    let called = asked_for(|| (0..JOBS).for_each(|n| pool.call(|| sum += black_box(n)).unwrap()));
    assert_eq!(called, 0, "a call's closure and its result lie on the caller's stack");
    pool.shutdown(&Context::background()).unwrap();
}

fn execute_24(pool: &Pool, jobs: usize, idle: impl Fn()) {
    let captured = [3_u64; 3];
    (0..jobs).for_each(|_| pool.execute(move || _ = black_box(captured)).unwrap());
    idle();
}
