//! Other people's bugs in bulkheads, limits, retries and their budgets, as our tests: each is named after what went wrong
//! elsewhere, and says where. Those that other tests hold already are in the table of `docs::conformance`.

use futures::executor::block_on;
use std::collections::VecDeque;
use std::future::{Future, pending};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::channel;
use std::sync::{Arc, Barrier};
use std::task::{Context as Task, Poll, Waker};
use std::time::Duration;
use watertight::breaker::BreakerState::{self, Closed, HalfOpen, Open};
use watertight::bulkhead::{BulkheadBuilder, Hedge};
use watertight::event::{Event, from_fn};
use watertight::permit::{Oversize, Share};
use watertight::retry::RetryCap;
use watertight::{
    Budget, BuildError, Bulkhead, CallError, CancelToken, Class, Context, Isolation, Limit, ManualClock, Recovery,
    Registry, RejectReason, Retry, Trip,
};

const SEC: Duration = Duration::from_secs(1);

fn plain(isolation: Isolation) -> BulkheadBuilder {
    Bulkhead::builder("conformance", isolation).timeout(SEC * 3_600)
}

fn poll<F: Future>(f: Pin<&mut F>) -> Poll<F::Output> {
    f.poll(&mut Task::from_waker(Waker::noop()))
}

fn until_idle(it: &Bulkhead) {
    while it.state().running + it.state().queued > 0 {
        std::thread::yield_now();
    }
}

/// Counts who is inside, and how many there were at most.
#[derive(Clone, Default)]
struct Inside(Arc<(AtomicUsize, AtomicUsize)>);

struct Visit(Inside);

impl Inside {
    fn enter(&self) -> Visit {
        let (now, peak) = &*self.0;
        peak.fetch_max(now.fetch_add(1, SeqCst) + 1, SeqCst);
        Visit(self.clone())
    }

    fn now(&self) -> usize {
        self.0.0.load(SeqCst)
    }

    fn peak(&self) -> usize {
        self.0.1.load(SeqCst)
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        (self.0).0.0.fetch_sub(1, SeqCst);
    }
}

struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

/// solana-private-channels #247, Hystrix #1562: the caller drops or times out, its permit is freed, the work still runs. So
/// a dependency that hangs is sent one more call for every caller that gives up.
#[test]
fn callers_that_give_up_never_free_a_permit_that_work_still_uses() {
    let (it, inside) = (plain(Isolation::Threads(2)).queue(1).build().unwrap(), Inside::default());
    let (let_go, gate) = channel::<()>();
    let gate = Arc::new(std::sync::Mutex::new(gate));
    let work = || {
        let (inside, gate) = (inside.clone(), gate.clone());
        move |_: &Context| {
            let _visit = inside.enter();
            let _ = gate.lock().unwrap().recv();
            Ok::<_, ()>(())
        }
    };
    let cx = Context::background();
    let past = cx.with_timeout(Duration::ZERO);
    let token = CancelToken::new();
    let (mut given_up, mut full) = (0, 0);
    // Two reach the dependency and are left; a place to wait is free, and no permit.
    for running in 1..=2 {
        let handle = it.submit(&cx, work()).unwrap();
        while inside.now() < running {
            std::thread::yield_now();
        }
        drop(handle);
        given_up += 1;
    }
    assert_eq!(it.try_admit(&cx).unwrap_err(), RejectReason::Full { limit: 2, waiting: 0 });
    assert_eq!((it.state().running, it.state().queued), (2, 0));
    for n in 0..300 {
        match n % 3 {
            0 => {
                let mut dropped = pin!(it.call_blocking(&cx, work()));
                if poll(dropped.as_mut()).is_pending() { given_up += 1 } else { full += 1 }
            }
            1 => match it.submit(&cx.with_token(&token), work()) {
                Ok(mut handle) => given_up += usize::from(handle.join_within(&past).is_none()),
                Err(_) => full += 1,
            },
            _ => match it.submit(&cx, work()) {
                Ok(handle) => given_up += usize::from(poll(pin!(handle)).is_pending()),
                Err(_) => full += 1,
            },
        }
        if let Ok(admission) = it.try_admit(&cx) {
            let _visit = inside.enter(); // in another form, and the dependency still sees no more than two
            admission.ignore();
        }
        let state = it.state();
        assert!(state.running <= 2 && state.running + state.queued <= 3, "{state:?}");
    }
    assert!(given_up > 2 && full > 0, "{given_up} gave up, {full} found it full");
    assert!(inside.peak() <= 2);
    drop(let_go);
    until_idle(&it);
}

/// tower-resilience #365: every clone sees the room that one of them has just taken, and a future that is dropped leaves its
/// count behind.
#[test]
fn clones_never_see_room_that_is_taken_and_dropped_futures_leave_no_count_behind() {
    const THREADS: usize = 4;
    let limit = Limit::new(3);
    let it = plain(Isolation::Permits(3)).queue(4).build().unwrap();
    let (of_limit, of_compartment, dropped) = (Inside::default(), Inside::default(), AtomicUsize::new(0));
    for round in 0..50_u64 {
        if round > 0 && dropped.load(SeqCst) > 0 && of_limit.peak() == 3 && of_compartment.peak() == 3 {
            break;
        }
        let start = Barrier::new(THREADS);
        std::thread::scope(|s| {
            for thread in 0..THREADS as u64 {
                let (limit, it) = (limit.clone(), it.clone()); // clones, one of each per thread and below per call
                let (of_limit, of_compartment) = (of_limit.clone(), of_compartment.clone());
                let (start, dropped, cx) = (&start, &dropped, Context::background());
                s.spawn(move || {
                    let mut dice = Dice(round * 31 + thread);
                    start.wait();
                    for _ in 0..500 {
                        let mut acquire = pin!(async {
                            let _permit = limit.clone().acquire_async(&cx).await.unwrap();
                            let _visit = of_limit.enter(); // over before the permit is back
                            futures::pending!(); // an await while it is held
                        });
                        let visits = of_compartment.clone();
                        let mut call = pin!(it.clone().call_async(&cx, async move |_cx| {
                            let _visit = visits.enter();
                            futures::pending!();
                            Ok::<_, ()>(())
                        }));
                        for _ in 0..dice.below(4) {
                            let ready = [poll(acquire.as_mut()).is_ready(), poll(call.as_mut()).is_ready()];
                            std::thread::yield_now();
                            if ready.contains(&true) {
                                break;
                            }
                        }
                        dropped.fetch_add(1, SeqCst); // at whichever await they are
                    }
                });
            }
        });
    }
    assert_eq!((of_limit.peak(), of_compartment.peak()), (3, 3), "the limit was reached and not exceeded");
    assert_eq!((of_limit.now(), of_compartment.now()), (0, 0));
    assert_eq!((limit.in_flight(), limit.waiting(), it.state().running, it.state().queued), (0, 0, 0, 0));
    let all: Vec<_> = std::iter::from_fn(|| limit.try_acquire().ok()).collect();
    assert_eq!(all.len(), 3, "as many as at the start");
}

/// `resilient` 0.1: eight at once with a limit of two, because what a failed acquire says is not looked at; others lose the
/// permit of work that panics.
#[test]
fn a_limit_of_two_holds_under_eight_threads_and_panics_give_their_permits_back() {
    let (limit, inside) = (Limit::new(2), Inside::default());
    let it = plain(Isolation::Permits(2)).build().unwrap();
    let (refused, start) = (AtomicUsize::new(0), Barrier::new(8));
    std::thread::scope(|s| {
        for thread in 0..8 {
            let (limit, it, inside, refused, start) = (&limit, &it, &inside, &refused, &start);
            s.spawn(move || {
                for round in 0..200 {
                    start.wait();
                    let visit = || {
                        let _visit = inside.enter();
                        std::thread::yield_now();
                        if (thread + round) % 3 == 0 {
                            resume_unwind(Box::new("inside"));
                        }
                        Ok::<_, ()>(())
                    };
                    let by_hand = || limit.try_acquire().is_ok_and(|_permit| visit().is_ok());
                    let by_call =
                        || !matches!(it.call_here(&Context::background(), |_| visit()), Err(CallError::Rejected(_)));
                    let entered = catch_unwind(AssertUnwindSafe(|| if round % 2 == 0 { by_hand() } else { by_call() }));
                    refused.fetch_add(usize::from(matches!(entered, Ok(false))), SeqCst);
                }
            });
        }
    });
    assert!(inside.peak() <= 2, "{} at once", inside.peak());
    assert!(refused.load(SeqCst) > 0);
    assert_eq!((inside.now(), limit.in_flight(), it.state().running), (0, 0, 0));
}

/// tower #793, tower-resilience #168 and #170: "reject when full" is a time-out of zero, which waits for a timer's tick.
#[test]
fn a_refusal_is_there_at_the_first_poll_and_asks_no_timer() {
    let time = ManualClock::new();
    let cx = Context::background().with_clock(&time.clock()).with_timeout(SEC);
    let limit = Limit::builder(1).queue(0).build().unwrap();
    for isolation in [Isolation::Threads(1), Isolation::Permits(1)] {
        let it = plain(isolation).build().unwrap();
        let _held = (limit.try_acquire().unwrap(), it.try_admit(&cx).unwrap());
        assert!(matches!(poll(pin!(limit.acquire_async(&cx))), Poll::Ready(Err(RejectReason::Full { .. }))));
        assert!(matches!(poll(pin!(it.admit_async(&cx))), Poll::Ready(Err(RejectReason::Full { .. }))));
        let called = poll(pin!(it.call_async(&cx, async |_cx| Ok::<_, ()>(()))));
        assert!(matches!(called, Poll::Ready(Err(CallError::Rejected(RejectReason::Full { .. })))));
        assert_eq!(time.waiting(), 0);
    }
}

/// bazel-remote #908: one item larger than the budget waits for ever.
#[test]
fn one_item_larger_than_the_budget_is_refused_or_runs_alone_and_never_waits_for_ever() {
    let cx = Context::background();
    let refuses = Limit::new(4);
    assert_eq!(refuses.acquire_many(5, &cx).unwrap_err(), RejectReason::TooLarge { asked: 5, limit: 4 });
    let alone = Limit::builder(4).oversize(Oversize::Alone).build().unwrap();
    let small = alone.try_acquire().unwrap();
    let mut large = pin!(alone.acquire_many_async(5, &cx));
    assert!(poll(large.as_mut()).is_pending());
    drop(small);
    let Poll::Ready(Ok(large)) = poll(large.as_mut()) else { panic!("nobody is there any more") };
    assert!(alone.try_acquire().is_err(), "and nobody beside it");
    drop(large);
    assert_eq!(alone.in_flight(), 0);
}

/// pubky-nexus #999: a limit of 0 from a configuration, which silently refuses everything.
#[test]
fn a_limit_of_zero_is_refused_when_it_is_built_and_says_so() {
    let said = |e: BuildError| e.to_string();
    let zero = "permits is 0, must be 1 to 2147483647: a limit of 0 would refuse everything";
    assert_eq!(said(Limit::builder(0).build().unwrap_err()), zero);
    assert_eq!(said(Limit::new(1).resize(0).unwrap_err()), zero);
    assert_eq!(said(plain(Isolation::Permits(0)).build().unwrap_err()), zero);
    assert_eq!(said(plain(Isolation::Threads(0)).build().unwrap_err()), "threads is 0, must be 1 to 16384");
    assert!(said(plain(Isolation::Permits(1)).fallbacks(0).build().unwrap_err()).starts_with("fallbacks is 0"));
    let none = plain(Isolation::Permits(1)).retry(Retry::constant(SEC).attempts(0)).build();
    assert!(said(none.unwrap_err()).starts_with("attempts is 0"));
    assert!(plain(Isolation::Permits(1)).breaker(Trip::consecutive(0), Recovery::after(SEC)).build().is_err());
    assert!(
        plain(Isolation::Permits(1)).breaker(Trip::consecutive(1), Recovery::after(SEC).probes(0)).build().is_err()
    );
}

/// vector #26457: permits taken when somebody might call, and hoarded by connections that do not.
#[test]
fn a_thousand_idle_clones_and_unpolled_futures_hold_no_permit() {
    let (limit, cx) = (Limit::new(1), Context::background());
    let it = plain(Isolation::Threads(1)).breaker(Trip::consecutive(1), Recovery::after(SEC)).build().unwrap();
    let clones: Vec<_> = (0..1_000).map(|_| (limit.clone(), it.clone())).collect();
    let acquiring: Vec<_> = clones.iter().map(|(limit, _)| limit.acquire_async(&cx)).collect();
    let admitting: Vec<_> = clones.iter().map(|(_, it)| it.admit_async(&cx)).collect();
    let calling: Vec<_> = clones
        .iter()
        .map(|(_, it)| {
            let on_thread = it.call_blocking(&cx, |_| Ok::<_, ()>(()));
            (on_thread, it.call_async(&cx, async |_cx| Ok::<_, ()>(())), it.idempotent::<(), ()>())
        })
        .collect();
    assert_eq!((limit.in_flight(), limit.waiting(), it.state().running, it.state().requests), (0, 0, 0, 0));
    drop(limit.try_acquire().unwrap());
    assert_eq!(it.call(&cx, |_| Ok::<_, ()>(7)).unwrap(), 7);
    drop((acquiring, admitting, calling));
    assert_eq!((limit.in_flight(), it.state().requests), (0, 1));
}

/// apollographql/router #9034: an executor's cooperative budget that is used up reads as overload, and is answered with 429.
#[test]
fn a_task_that_has_used_up_its_executors_budget_is_not_refused() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let call = |used_up: bool| async move {
        if used_up {
            let (send, mut receive) = tokio::sync::mpsc::unbounded_channel();
            (0..10_000).for_each(|n| send.send(n).unwrap());
            while futures::poll!(pin!(receive.recv())).is_ready() {}
            assert!(!receive.is_empty(), "its budget is used up");
        }
        let (limit, cx) = (Limit::new(1), Context::background());
        assert!(matches!(futures::poll!(limit.acquire_async(&cx)), Poll::Ready(Ok(_))));
        let it = plain(Isolation::Permits(1)).build().unwrap();
        assert!(matches!(futures::poll!(it.admit_async(&cx)), Poll::Ready(Ok(_))));
        for _ in 0..1_000 {
            let call = pin!(it.call_async(&cx, async |_cx| Ok::<_, ()>(())));
            assert!(matches!(futures::poll!(call), Poll::Ready(Ok(()))));
        }
    };
    runtime.block_on(async {
        tokio::spawn(call(true)).await.unwrap();
        tokio::spawn(tokio::task::unconstrained(call(false))).await.unwrap();
        tokio::spawn(call(false)).await.unwrap();
    });
}

/// gradient #111: one tenant floods, and a quiet one starves.
#[test]
fn a_flood_of_one_part_starves_no_quiet_one() {
    for share in [Share::Lent, Share::Kept] {
        let limit = Limit::builder(10).partition("quiet", share(0.1)).partition("flood", share(0.9)).build().unwrap();
        let (quiet, flood) = (limit.partition("quiet").unwrap(), limit.partition("flood").unwrap());
        let cx = Context::background();
        // A thousand to one: ten of the flood run, or nine, and all others wait.
        let mut crowd: VecDeque<_> = (0..1_000).map(|_| flood.acquire_async(&cx)).collect();
        let mut running = Vec::new();
        crowd.retain_mut(|one| match poll(Pin::new(one)) {
            Poll::Ready(permit) => {
                running.push(permit.unwrap());
                false
            }
            Poll::Pending => true,
        });
        assert!(running.len() >= 9 && limit.waiting() >= 990);
        for _ in 0..200 {
            let (mut one, mut came_back) = (quiet.acquire_async(&cx), 0);
            let permit = loop {
                let Poll::Ready(permit) = poll(Pin::new(&mut one)) else {
                    running.pop();
                    came_back += 1;
                    continue;
                };
                break permit.unwrap();
            };
            // What the quiet one owns is the next to be served.
            assert!(came_back <= 1, "{came_back} of the flood had to end first");
            drop(permit); // lent again, or kept
            while let Some(Poll::Ready(permit)) = crowd.front_mut().map(|one| poll(Pin::new(one))) {
                running.push(permit.unwrap());
                crowd.pop_front();
            }
        }
        assert!(running.len() >= 9, "and the flood goes on");
    }
}

/// Semian #227, Hystrix: a compartment that is full counts as a failure of the dependency, and opens its circuit.
#[test]
fn a_full_compartment_and_an_ended_context_are_no_failures_of_the_dependency() {
    let it = plain(Isolation::Threads(1))
        .breaker(Trip::rate(0.1).last(10).min_calls(1), Recovery::after(SEC))
        .build()
        .unwrap();
    let (cx, ended) = (Context::background(), Context::background().with_timeout(Duration::ZERO));
    let held = it.admit(&cx).unwrap();
    for _ in 0..100 {
        assert!(it.call(&cx, |_| Ok::<_, ()>(())).is_err());
        assert!(it.call_here(&cx, |_| Ok::<_, ()>(())).is_err());
        assert!(block_on(it.call_async(&cx, async |_cx| Ok::<_, ()>(()))).is_err());
        assert!(it.try_admit(&cx).is_err() && it.call_here(&ended, |_| Ok::<_, ()>(())).is_err());
    }
    held.success();
    let counts = it.breaker().unwrap().snapshot().counts;
    assert_eq!((it.state().breaker, counts.calls, counts.failures), (Some(Closed), 1, 0));
    // Nor are the refusals of a compartment inside another's work, if its result is judged by what it is.
    let around = it.classify(|result: Result<&(), &CallError>| match result {
        Ok(()) => Class::Success,
        Err(CallError::Rejected(_)) => Class::Ignore,
        Err(_) => Class::Failure,
    });
    let inner = plain(Isolation::Permits(1)).build().unwrap();
    let _held = inner.admit(&cx).unwrap();
    let refused = around.call_here(&cx, |cx| inner.admit(cx).map(drop).map_err(CallError::Rejected));
    assert!(matches!(refused, Err(CallError::Failed(CallError::Rejected(_)))));
    assert_eq!(it.breaker().unwrap().snapshot().counts.calls, 1);
}

/// `resilient` 0.1 (`Pipeline::run`): an open circuit runs the work all the same.
#[test]
fn an_open_circuit_enters_the_work_in_no_form() {
    let it = plain(Isolation::Threads(1))
        .breaker(Trip::consecutive(1), Recovery::after(SEC * 3_600))
        .retry(Retry::constant(Duration::ZERO).attempts(3))
        .build()
        .unwrap();
    it.breaker().unwrap().force_open();
    let (cx, entered) = (Context::background(), Arc::new(AtomicUsize::new(0)));
    let work = || {
        let entered = entered.clone();
        move |_: &Context| Ok::<_, ()>(entered.fetch_add(1, SeqCst))
    };
    let awaited = || {
        let f = work();
        move |cx: Context| std::future::ready(f(&cx))
    };
    let again = it.idempotent();
    let refused = [
        it.call(&cx, work()).is_err(),
        it.call_here(&cx, work()).is_err(),
        block_on(it.call_blocking(&cx, work())).is_err(),
        block_on(it.call_async(&cx, awaited())).is_err(),
        it.submit(&cx, work()).is_err(),
        it.admit(&cx).is_err(),
        it.try_admit(&cx).is_err(),
        block_on(it.admit_async(&cx)).is_err(),
        again.call(&cx, work()).is_err(),
        again.call_here(&cx, work()).is_err(),
        block_on(again.call_blocking(&cx, work())).is_err(),
        block_on(again.call_async(&cx, awaited())).is_err(),
        again.call_hedged(&cx, &Hedge::after(Duration::ZERO), work()).is_err(),
    ];
    assert_eq!(refused, [true; 13]);
    let state = it.state();
    assert_eq!((entered.load(SeqCst), state.attempts, state.refused_open), (0, 0, 13));
}

/// A compartment whose breaker is due for its one probe.
fn due(isolation: Isolation) -> (Bulkhead, ManualClock, Context) {
    let time = ManualClock::new();
    let it = Bulkhead::builder("due", isolation)
        .queue(1)
        .breaker(Trip::consecutive(1), Recovery::after(SEC).growth(1.0))
        .timeout(SEC * 60)
        .clock(&time.clock())
        .build()
        .unwrap();
    let cx = Context::background().with_clock(&time.clock());
    it.admit(&cx).unwrap().failure();
    time.advance(SEC);
    assert_eq!(it.state().breaker, Some(HalfOpen));
    (it, time, cx)
}

/// tower-resilience #382, jac #7909, AirMCP #249, rezilience #522, circuitbreaker-rs as measured: a probe that is cancelled,
/// dropped or never sent takes its place with it, and the circuit refuses for ever.
#[test]
fn a_probe_that_is_dropped_cancelled_or_never_entered_leaves_its_place_to_the_next() {
    let hang = |cx: &Context| {
        cx.token().wait(&Context::background());
        Err::<(), ()>(())
    };
    let then_well = |it: &Bulkhead, cx: &Context, how: &str| {
        until_idle(it);
        assert_eq!(it.state().breaker, Some(HalfOpen), "{how}");
        assert!(it.call_here(cx, |_| Ok::<_, ()>(())).is_ok(), "{how}: the place is gone");
        assert_eq!(it.state().breaker, Some(Closed), "{how}");
    };
    for isolation in [Isolation::Threads(1), Isolation::Permits(1)] {
        let (it, _, cx) = due(isolation.clone());
        let mut call = Box::pin(it.call_async(&cx, async |_cx| pending::<Result<(), ()>>().await));
        assert!(poll(call.as_mut()).is_pending());
        assert!(it.try_admit(&cx).is_err(), "its only probe is out");
        drop(call);
        then_well(&it, &cx, "an awaited call, dropped");

        let (it, _, cx) = due(isolation.clone());
        drop(it.admit(&cx).unwrap());
        then_well(&it, &cx, "an admission, dropped");

        // A probe that waits in line, because the only permit is somebody else's: dropped there, or its context ends.
        for ends in [false, true] {
            let (it, time, cx) = due(isolation.clone());
            it.breaker().unwrap().reset();
            let holds = it.admit(&cx).unwrap();
            it.breaker().unwrap().admit().unwrap().failure();
            time.advance(SEC);
            let token = CancelToken::new();
            let mut waits = Box::pin(it.admit_async(&cx.with_token(&token)));
            assert!(poll(waits.as_mut()).is_pending());
            assert!(it.breaker().unwrap().admit().is_err(), "its only probe is the one in line");
            if ends {
                token.cancel();
                assert!(poll(waits.as_mut()).is_ready());
            }
            drop((waits, holds));
            then_well(&it, &cx, "a probe that waited in line");
        }
    }
    let (it, _, cx) = due(Isolation::Threads(1));
    let mut call = Box::pin(it.call_blocking(&cx, hang));
    assert!(poll(call.as_mut()).is_pending());
    drop(call);
    then_well(&it, &cx, "a call on a thread, awaited and dropped");

    let (it, _, cx) = due(Isolation::Threads(1));
    drop(it.submit(&cx, hang).unwrap());
    then_well(&it, &cx, "a submitted call, dropped");

    let (it, _, cx) = due(Isolation::Threads(1));
    let token = CancelToken::new();
    let mine = cx.with_token(&token);
    let cancelled = it.call_here(&mine, |_| {
        token.cancel();
        Err::<(), ()>(())
    });
    assert!(cancelled.is_err());
    then_well(&it, &cx, "a call that its own caller cancelled");

    let (it, _, cx) = due(Isolation::Threads(1));
    let ended = cx.with_timeout(Duration::ZERO);
    assert!(it.call_here(&ended, |_| Ok::<_, ()>(())).is_err());
    then_well(&it, &cx, "a call that was over before it began");
}

/// The same, and it is the dependency's fault: a probe that panics or is too late opens the circuit again, and is not lost.
#[test]
fn a_probe_that_panics_or_is_late_opens_it_again_and_leaves_its_place_to_the_next() {
    let (it, time, cx) = due(Isolation::Threads(1));
    let panicked = it.call(&cx, |_| -> Result<(), ()> { resume_unwind(Box::new("probe")) });
    assert!(matches!(panicked, Err(CallError::Panicked(_))));
    assert_eq!(it.state().breaker, Some(Open));
    time.advance(SEC);
    let mut late = Box::pin(it.call_async(&cx, async |_cx| pending::<Result<(), ()>>().await));
    assert!(poll(late.as_mut()).is_pending());
    time.advance(SEC * 60);
    assert!(poll(late.as_mut()).is_ready());
    assert_eq!(it.state().breaker, Some(Open));
    time.advance(SEC);
    assert!(it.call_here(&cx, |_| Ok::<_, ()>(())).is_ok());
    assert_eq!(it.state().breaker, Some(Closed));
}

/// resilience4j, Polly and most hand-made loops: a full bulkhead or an open breaker is an error like any other, and is tried
/// again at once.
#[test]
fn a_refusal_of_ones_own_is_never_tried_again_and_costs_no_token() {
    let (budget, retries) = (Budget::percent(100), Arc::new(AtomicUsize::new(0)));
    let told = retries.clone();
    let it = plain(Isolation::Threads(1))
        .observer(from_fn(move |e| {
            if let Event::Retrying { .. } = e {
                told.fetch_add(1, SeqCst);
            }
        }))
        .breaker(Trip::consecutive(9), Recovery::after(SEC))
        .retry(Retry::constant(Duration::ZERO).attempts(5).budget(budget.clone()))
        .build()
        .unwrap();
    let cx = Context::background();
    for _ in 0..5 {
        it.call_here(&cx, |_| Ok::<_, ()>(())).unwrap(); // saves up for five retries
    }
    let again = it.idempotent::<(), ()>();
    let held = it.admit(&cx).unwrap();
    let full = [again.call(&cx, |_| Err(())), again.call_here(&cx, |_| Err(()))];
    assert!(full.iter().all(|out| matches!(out, Err(CallError::Rejected(RejectReason::Full { .. })))));
    held.ignore();
    it.breaker().unwrap().force_open();
    let open = [again.call(&cx, |_| Err(())), again.call_here(&cx, |_| Err(()))];
    assert!(open.iter().all(|out| matches!(out, Err(CallError::Rejected(RejectReason::CircuitOpen { .. })))));
    let ended = again.call_here(&cx.with_timeout(Duration::ZERO), |_| Err(()));
    assert!(matches!(ended, Err(CallError::Rejected(RejectReason::DeadlinePassed))));
    let stats = budget.stats();
    assert_eq!((it.state().requests - 6, it.state().attempts - 6), (5, 0));
    assert_eq!((stats.retries, stats.refused, retries.load(SeqCst)), (0, 0, 0));
}

/// Four layers of three attempts are 81 for one request; safe-client-gateway #3442 saw seventeen. With budgets they are 1.1
/// to the fourth; with the request's own cap, as many as that says.
#[test]
fn retries_in_four_layers_do_not_multiply() {
    fn call(layers: &[Bulkhead], cx: &Context, bottom: &AtomicUsize) -> Result<(), CallError<()>> {
        let Some((layer, below)) = layers.split_first() else {
            bottom.fetch_add(1, SeqCst);
            return Err(CallError::Failed(()));
        };
        layer.idempotent().call_here(cx, |cx| call(below, cx, bottom).map_err(drop))
    }
    let layers = |budget: fn() -> Retry| -> Vec<_> {
        (0..4).map(|_| plain(Isolation::Permits(1)).retry(budget()).build().unwrap()).collect()
    };
    let (naive, bottom) = (layers(|| Retry::constant(Duration::ZERO)), AtomicUsize::new(0));
    assert!(call(&naive, &Context::background(), &bottom).is_err());
    assert_eq!(bottom.swap(0, SeqCst), 81);
    assert!(call(&naive, &Context::background().with_value(RetryCap::new(2)), &bottom).is_err());
    assert_eq!(bottom.swap(0, SeqCst), 3);
    let careful = layers(|| Retry::constant(Duration::ZERO).budget(Budget::percent(10)));
    const REQUESTS: usize = 10_000;
    for _ in 0..REQUESTS {
        assert!(call(&careful, &Context::background(), &bottom).is_err());
    }
    let amplification = bottom.into_inner() as f64 / REQUESTS as f64;
    assert!((1.0..=1.1_f64.powi(4)).contains(&amplification), "{amplification}");
    assert!(amplification > 1.4, "{amplification}: the budgets were used");
}

/// Semian #93, tens of thousands of hosts: what is kept per key is kept for ever.
#[test]
fn a_million_hosts_are_as_many_compartments_as_the_registry_may_hold() {
    const HOSTS: u32 = if cfg!(debug_assertions) { 20_000 } else { 1_000_000 };
    let (time, alive) = (ManualClock::new(), Arc::new(()));
    let kept = alive.clone();
    let hosts = Registry::with(500, SEC * 300, &time.clock(), move |host: &u32| {
        let with_it = kept.clone(); // as many as there are compartments
        Bulkhead::builder(format!("host {host}"), Isolation::Permits(8))
            .breaker(Trip::consecutive(5), Recovery::after(SEC))
            .observer(from_fn(move |_| _ = &with_it))
            .timeout(SEC)
            .build()
    });
    let busy = hosts.get(&u32::MAX).unwrap();
    busy.breaker().unwrap().force_open();
    for host in 0..HOSTS {
        time.advance(SEC);
        let it = hosts.get(&host).unwrap();
        it.call_here(&Context::background(), |_| Ok::<_, ()>(())).unwrap();
        assert!(Arc::strong_count(&alive) <= 2 + 500, "more compartments than there may be keys");
    }
    assert_eq!((hosts.len(), Arc::strong_count(&alive)), (500, 2 + 500));
    // The one in use was never forgotten, and what its breaker knows is known still.
    assert_eq!(hosts.get(&u32::MAX).unwrap().state().breaker, Some(BreakerState::ForcedOpen));
}

/// Hedging is an amplifier itself: without a budget a dependency that has become slow gets twice the traffic.
#[test]
fn second_attempts_are_paid_from_the_budget_of_retries() {
    const CALLS: u64 = 60;
    let (time, budget) = (ManualClock::new(), Budget::percent(10));
    let it = plain(Isolation::Threads(4)).retry(Retry::constant(SEC).budget(budget.clone())).build().unwrap();
    let cx = Context::background().with_clock(&time.clock());
    for _ in 0..CALLS {
        let (attempts, is_over) = (AtomicUsize::new(0), Arc::new(AtomicBool::new(false)));
        let (over, before) = (is_over.clone(), budget.stats().retries);
        // The first attempt hangs until it has lost, or until it is clear that there will be no second.
        let hangs = move |cx: &Context| {
            if attempts.fetch_add(1, SeqCst) == 0 {
                while !over.load(SeqCst) && !cx.token().is_cancelled() {
                    std::thread::yield_now();
                }
            }
            Ok::<_, ()>(())
        };
        std::thread::scope(|s| {
            let call = s.spawn(|| it.idempotent().call_hedged(&cx, &Hedge::after(SEC), hangs));
            while time.waiting() == 0 || it.state().running == 0 {
                std::thread::yield_now();
            }
            time.advance(SEC);
            while time.waiting() == 0 && !call.is_finished() {
                std::thread::yield_now();
            }
            // A second attempt is paid for and wins, or there is none.
            is_over.store(budget.stats().retries == before, SeqCst);
            call.join().unwrap().unwrap();
        });
        until_idle(&it);
    }
    let (state, stats) = (it.state(), budget.stats());
    assert_eq!((state.requests, stats.firsts), (CALLS, CALLS));
    assert_eq!((state.hedges, stats.retries, stats.refused), (CALLS / 10, CALLS / 10, CALLS - CALLS / 10));
    assert_eq!(state.amplification(), 1.1);
}

/// The loop that everybody writes tries again though the caller will have left before an answer can be there.
#[test]
fn no_attempt_is_begun_that_the_deadline_does_not_leave_time_for() {
    let time = ManualClock::new();
    let cx = Context::background().with_clock(&time.clock());
    for (takes, attempts) in [(SEC * 2, 3), (SEC * 5, 2), (SEC * 11, 1)] {
        let it = Bulkhead::builder("short of time", Isolation::Permits(1))
            .retry(Retry::constant(Duration::ZERO).attempts(5).expect(takes))
            .timeout(SEC * 10)
            .clock(&time.clock())
            .build()
            .unwrap();
        let failed = it.idempotent().call_here(&cx, |_| {
            time.advance(SEC * 3);
            Err::<(), _>("busy")
        });
        assert!(matches!(failed, Err(CallError::Failed("busy"))));
        assert_eq!(it.state().attempts, attempts, "of {takes:?} each");
    }
}
