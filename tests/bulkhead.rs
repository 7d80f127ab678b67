//! What the bulkhead promises, through its public face.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::task::{Context as Task, Waker};
use std::time::Duration;
use watertight::breaker::BreakerState;
use watertight::{
    Budget, BuildError, Bulkhead, CallError, CancelCause, CancelToken, Context, Interrupted, Isolation, Jitter,
    ManualClock, Recovery, RejectReason, Retry, Trip,
};

const SEC: Duration = Duration::from_secs(1);

struct Bench {
    time: ManualClock,
    bulkhead: Bulkhead,
}

/// Two threads, a queue of one, a breaker that opens after three failures in a row, a time-out of one second.
fn bench(isolation: Isolation) -> Bench {
    let time = ManualClock::new();
    let bulkhead = Bulkhead::builder("test", isolation)
        .queue(1)
        .breaker(Trip::consecutive(3), Recovery::after(SEC * 10))
        .retry(Retry::constant(SEC / 10).jitter(Jitter::None).attempts(3).budget(Budget::percent(100)))
        .timeout(SEC)
        .clock(&time.clock())
        .build()
        .unwrap();
    Bench { time, bulkhead }
}

impl Bench {
    fn cx(&self) -> Context {
        Context::background().with_clock(&self.time.clock())
    }

    /// Waits until `n` waits hang on the clock.
    fn until_waiting(&self, n: usize) {
        while self.time.waiting() < n {
            std::thread::yield_now();
        }
    }

    fn until_idle(&self) {
        while self.bulkhead.state().running + self.bulkhead.state().queued > 0 {
            std::thread::yield_now();
        }
    }
}

/// Work that says when it has begun and returns when it is let go, whatever its context says: a stuck dependency.
fn stuck() -> (impl FnOnce(&Context) -> Result<u8, &'static str> + Send + 'static, Receiver<()>, Sender<()>) {
    let ((begun, has_begun), (let_go, gate)) = (channel(), channel::<()>());
    let work = move |_: &Context| {
        let _ = begun.send(());
        let _ = gate.recv();
        Err("too late")
    };
    (work, has_begun, let_go)
}

#[test]
fn a_sick_dependency_holds_its_compartment_and_nothing_else() {
    let sick = bench(Isolation::Threads(2));
    let healthy = bench(Isolation::Threads(2));
    let (a, a_begun, a_go) = stuck();
    let (b, b_begun, b_go) = stuck();
    std::thread::scope(|s| {
        let call = |work| {
            let (cx, bulkhead) = (sick.cx(), sick.bulkhead.clone());
            move || bulkhead.call(&cx, work)
        };
        let first = s.spawn(call(a));
        let (cx, bulkhead) = (sick.cx(), sick.bulkhead.clone());
        let second = s.spawn(move || bulkhead.call(&cx, b));
        a_begun.recv().unwrap();
        b_begun.recv().unwrap();
        let (ran, seen) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let count = ran.clone();
        let (cx, bulkhead) = (sick.cx(), sick.bulkhead.clone());
        let queued = s.spawn(move || bulkhead.call(&cx, move |_| Ok::<_, ()>(count.fetch_add(1, SeqCst))));
        sick.until_waiting(3);
        // The queue is full: refused at once, by limit and load, and the caller knows that nothing ran.
        let refused = sick.bulkhead.call(&sick.cx(), |_| Ok::<_, ()>(())).unwrap_err();
        assert!(matches!(refused, CallError::Rejected(RejectReason::Full { limit: 2, waiting: 1 })));
        // The others go on.
        let count = seen.clone();
        healthy.bulkhead.call(&healthy.cx(), move |_| Ok::<_, ()>(count.fetch_add(1, SeqCst))).unwrap();
        assert_eq!(seen.load(SeqCst), 1);

        sick.time.advance(SEC);
        let outcome = [first.join().unwrap(), second.join().unwrap()];
        assert!(outcome.iter().all(|r| matches!(r, Err(CallError::Interrupted(Interrupted::DeadlinePassed)))));
        let queued = queued.join().unwrap().unwrap_err();
        assert!(matches!(queued, CallError::Rejected(RejectReason::DeadlinePassed)) && !queued.started());
        // The callers are gone and the places are still taken: a place belongs to the running work.
        assert_eq!(sick.bulkhead.state().running, 2);
        // The queued one left an empty entry: three places of three, so nobody gets in, here or there.
        let refused = sick.bulkhead.call_here(&sick.cx(), |_| Ok::<_, ()>(())).unwrap_err();
        assert!(matches!(refused, CallError::Rejected(RejectReason::Full { limit: 2, waiting: 1 })));
        drop((a_go, b_go));
        sick.until_idle();
        assert_eq!(ran.load(SeqCst), 0);
    });
    assert_eq!(sick.bulkhead.state().attempts, 2);
}

#[test]
fn time_outs_open_the_breaker_and_what_expired_in_the_queue_does_not() {
    let it = bench(Isolation::Threads(2));
    for round in 0..2 {
        let (a, a_begun, a_go) = stuck();
        let (b, b_begun, b_go) = stuck();
        std::thread::scope(|s| {
            let (cx, bulkhead) = (it.cx(), it.bulkhead.clone());
            let first = s.spawn(move || bulkhead.call(&cx, a));
            let (cx, bulkhead) = (it.cx(), it.bulkhead.clone());
            let second = s.spawn(move || bulkhead.call(&cx, b));
            a_begun.recv().unwrap();
            b_begun.recv().unwrap();
            let (cx, bulkhead) = (it.cx(), it.bulkhead.clone());
            let third = s.spawn(move || bulkhead.call(&cx, |_| Ok::<_, ()>(())));
            it.until_waiting(3);
            it.time.advance(SEC);
            assert!(first.join().unwrap().is_err() && second.join().unwrap().is_err());
            assert!(!third.join().unwrap().unwrap_err().started());
        });
        // Two failures by time-out in round 0; the expired one was ignored. The third failure comes in round 1.
        let expected = if round == 0 { BreakerState::Closed } else { BreakerState::Open };
        assert_eq!(it.bulkhead.state().breaker, Some(expected));
        drop((a_go, b_go));
        it.until_idle();
    }
    let open = it.bulkhead.call(&it.cx(), |_| Ok::<_, ()>(())).unwrap_err();
    assert_eq!(open.retry_after(), Some(SEC * 10));
    it.time.advance(SEC * 10);
    assert_eq!(it.bulkhead.state().breaker, Some(BreakerState::HalfOpen));
    it.bulkhead.call(&it.cx(), |_| Ok::<_, ()>(())).unwrap();
    assert_eq!(it.bulkhead.state().breaker, Some(BreakerState::Closed));
}

/// One permit, and a breaker that opens at the first failure.
fn touchy(isolation: Isolation) -> Bench {
    let time = ManualClock::new();
    let bulkhead = Bulkhead::builder("touchy", isolation)
        .queue(1)
        .breaker(Trip::consecutive(1), Recovery::after(SEC * 10))
        .timeout(SEC)
        .clock(&time.clock())
        .build()
        .unwrap();
    Bench { time, bulkhead }
}

#[test]
fn the_callers_change_of_mind_says_nothing_about_the_dependency() {
    let it = touchy(Isolation::Threads(1));
    let closed = |it: &Bench| assert_eq!(it.bulkhead.state().breaker, Some(BreakerState::Closed));
    let token = CancelToken::new();
    let cx = it.cx().with_token(&token);
    let (saw, has_seen) = channel();
    let (work, begun, go) = stuck();
    std::thread::scope(|s| {
        let (bulkhead, cx) = (it.bulkhead.clone(), cx.clone());
        let call = s.spawn(move || {
            bulkhead.call(&cx, move |cx| {
                let late = work(cx);
                saw.send(cx.token().cause()).unwrap();
                late
            })
        });
        begun.recv().unwrap();
        token.cancel();
        let cancelled = call.join().unwrap().unwrap_err();
        assert!(matches!(cancelled, CallError::Interrupted(Interrupted::Cancelled(CancelCause::Requested))));
    });
    drop(go);
    assert!(has_seen.recv().unwrap().is_some());
    it.until_idle();
    closed(&it);
    // The same for the other forms: an error of work that its caller has cancelled is not the dependency's.
    let cancel_and_fail = |cx: &Context, token: &CancelToken| {
        token.cancel();
        assert!(cx.check().is_err());
        Err::<(), _>("cancelled")
    };
    let token = CancelToken::new();
    let here = it.bulkhead.call_here(&it.cx().with_token(&token), |cx| cancel_and_fail(cx, &token));
    assert!(matches!(here, Err(CallError::Failed(_))));
    closed(&it);
    let token = CancelToken::new();
    let awaited = it.bulkhead.call_async(&it.cx().with_token(&token), async |_cx| {
        token.cancel();
        std::future::pending::<Result<(), ()>>().await
    });
    assert!(matches!(futures::executor::block_on(awaited), Err(CallError::Interrupted(_))));
    closed(&it);
}

#[test]
fn work_whose_caller_has_left_is_told_so() {
    let it = bench(Isolation::Threads(1));
    let (saw, has_seen) = channel();
    let (begun, has_begun) = channel();
    // It stays until its caller has left: a result that is there at the deadline is not lost.
    let (let_go, gate) = channel::<()>();
    std::thread::scope(|s| {
        let (bulkhead, cx) = (it.bulkhead.clone(), it.cx());
        let call = s.spawn(move || {
            bulkhead.call(&cx, move |cx| {
                begun.send(()).unwrap();
                saw.send(cx.token().wait(&Context::background())).unwrap();
                let _ = gate.recv();
                Ok::<_, ()>(())
            })
        });
        has_begun.recv().unwrap();
        it.until_waiting(1);
        it.time.advance(SEC);
        assert!(call.join().unwrap().is_err());
        drop(let_go);
    });
    assert_eq!(has_seen.recv().unwrap(), Some(Interrupted::DeadlinePassed));
    it.until_idle();
}

#[test]
fn what_never_reached_the_dependency_is_not_its_failure() {
    let mut task = Task::from_waker(Waker::noop());
    // A call that waits for its permit is dropped by a panic that has nothing to do with it.
    let it = touchy(Isolation::Permits(1));
    let mut holder = pin!(it.bulkhead.call_async(&it.cx(), async |_cx| std::future::pending::<Result<(), ()>>().await));
    assert!(holder.as_mut().poll(&mut task).is_pending());
    let unrelated = catch_unwind(AssertUnwindSafe(|| {
        let mut waiting = pin!(it.bulkhead.call_async(&it.cx(), async |_cx| Ok::<_, ()>(())));
        assert!(waiting.as_mut().poll(&mut Task::from_waker(Waker::noop())).is_pending());
        panic!("elsewhere");
    }));
    assert!(unrelated.is_err());
    assert_eq!(it.bulkhead.state().breaker, Some(BreakerState::Closed));

    // A permit that is granted in time but looked at after the deadline: nothing is entered.
    let mut late = pin!(it.bulkhead.call_async(&it.cx(), |_cx| {
        unreachable!("after its deadline");
        #[expect(unreachable_code)]
        async {
            Ok::<(), ()>(())
        }
    }));
    assert!(late.as_mut().poll(&mut task).is_pending());
    it.time.advance(SEC);
    let holder = holder.as_mut().poll(&mut task); // gives its permit back, with a failure of its own
    assert!(matches!(holder, std::task::Poll::Ready(Err(CallError::Interrupted(_)))));
    let std::task::Poll::Ready(Err(e)) = late.as_mut().poll(&mut task) else { panic!("its deadline has passed") };
    assert!(!e.started());
    assert_eq!(it.bulkhead.state().attempts, 1);
}

#[test]
fn captures_that_panic_when_dropped_do_not_make_unentered_work_look_started() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            if !std::thread::panicking() {
                panic!("bomb");
            }
        }
    }
    let it = bench(Isolation::Threads(1));
    let (let_go, gate) = channel::<()>();
    std::thread::scope(|s| {
        let (bulkhead, cx) = (it.bulkhead.clone(), it.cx());
        let holder = s.spawn(move || bulkhead.call_here(&cx, |_| gate.recv().map_err(drop)));
        while it.bulkhead.state().running == 0 {
            std::thread::yield_now();
        }
        let token = CancelToken::new();
        let (bulkhead, cx, bomb) = (it.bulkhead.clone(), it.cx().with_token(&token), Bomb);
        // Its worker waits for the permit that the other holds.
        let work = move |_: &Context| {
            drop(bomb);
            Ok::<_, ()>(())
        };
        let call = s.spawn(move || bulkhead.call(&cx, work));
        it.until_waiting(2);
        token.cancel();
        assert!(!call.join().unwrap().unwrap_err().started());
        drop(let_go);
        let _ = holder.join().unwrap();
    });
    it.until_idle();
    assert_eq!(it.bulkhead.state().attempts, 1);
}

#[test]
fn one_admission_bounds_what_runs_and_waits_in_every_form() {
    let mut task = Task::from_waker(Waker::noop());
    let no_queue = Bulkhead::builder("no queue", Isolation::Threads(1)).timeout(SEC * 60).build().unwrap();
    let cx = Context::background();
    let mut holder = pin!(no_queue.call_async(&cx, async |_cx| std::future::pending::<Result<(), ()>>().await));
    assert!(holder.as_mut().poll(&mut task).is_pending());
    let full = RejectReason::Full { limit: 1, waiting: 0 };
    let by_thread = no_queue.call(&cx, |_| Ok::<_, ()>(())).unwrap_err();
    assert!(matches!(by_thread, CallError::Rejected(reason) if reason == full));
    let here = no_queue.call_here(&cx, |_| Ok::<_, ()>(())).unwrap_err();
    assert!(matches!(here, CallError::Rejected(reason) if reason == full));

    for isolation in [Isolation::Threads(2), Isolation::Permits(2)] {
        let it = Bulkhead::builder("bounded", isolation).queue(1).timeout(SEC * 60).build().unwrap();
        let forever = || Box::pin(it.call_async(&cx, async |_cx| std::future::pending::<Result<(), ()>>().await));
        let mut calls: Vec<_> = (0..5).map(|_| forever()).collect();
        let polls = calls.iter_mut().map(|call| call.as_mut().poll(&mut task));
        let pending = polls.filter(std::task::Poll::is_pending).count();
        assert_eq!(pending, 3); // two run, one waits, two were refused
        assert_eq!((it.state().running, it.state().queued, it.state().refused_full), (2, 1, 2));
    }
}

#[test]
fn panics_are_failures_in_every_form() {
    let it = bench(Isolation::Threads(1));
    let by_thread = it.bulkhead.call(&it.cx(), |_| -> Result<(), ()> { panic!("one") }).unwrap_err();
    assert!(matches!(&by_thread, CallError::Panicked(p) if p.message() == Some("one")));
    let cx = it.cx();
    let here = || it.bulkhead.call_here(&cx, |_| -> Result<(), ()> { panic!("two") });
    assert!(catch_unwind(AssertUnwindSafe(here)).is_err());
    let awaited = || {
        let call = it.bulkhead.call_async(&cx, async |_cx| -> Result<(), ()> { panic!("three") });
        futures::executor::block_on(call)
    };
    assert!(catch_unwind(AssertUnwindSafe(awaited)).is_err());
    let state = it.bulkhead.state();
    assert_eq!((state.breaker, state.failed, state.running), (Some(BreakerState::Open), 3, 0));
}

#[test]
fn dropping_a_future_cancels_and_gives_everything_back() {
    let it = bench(Isolation::Threads(1));
    let mut task = Task::from_waker(Waker::noop());
    let (saw, has_seen) = channel();
    {
        let (begun, has_begun) = channel();
        let mut running = pin!(it.bulkhead.call_blocking(&it.cx(), move |cx| {
            begun.send(()).unwrap();
            saw.send(cx.token().wait(&Context::background())).unwrap();
            Err::<(), _>("cancelled")
        }));
        assert!(running.as_mut().poll(&mut task).is_pending());
        has_begun.recv().unwrap();
        let mut queued =
            pin!(it.bulkhead.call_blocking(&it.cx(), |_| -> Result<(), ()> { unreachable!("never runs") }));
        assert!(queued.as_mut().poll(&mut task).is_pending());
    }
    // The running one saw its token; its error after that is not the dependency's.
    assert_eq!(has_seen.recv().unwrap(), Some(Interrupted::Cancelled(CancelCause::Dropped)));
    it.until_idle();
    let state = it.bulkhead.state();
    assert_eq!((state.interrupted, state.refused_ended, state.attempts), (1, 1, 1));

    let dropped = Arc::new(AtomicUsize::new(0));
    struct Held(Arc<AtomicUsize>, Bulkhead);
    impl Drop for Held {
        fn drop(&mut self) {
            self.0.fetch_add(self.1.state().running, SeqCst); // the permit is still out while the future is dropped
        }
    }
    {
        let held = Held(dropped.clone(), it.bulkhead.clone());
        let mut future = pin!(it.bulkhead.call_async(&it.cx(), async move |_cx| {
            let _held = held;
            std::future::pending::<Result<(), ()>>().await
        }));
        assert!(future.as_mut().poll(&mut task).is_pending());
        assert_eq!(it.bulkhead.state().running, 1);
    }
    assert_eq!((dropped.load(SeqCst), it.bulkhead.state().running), (1, 0));
}

#[test]
fn a_deadline_ends_awaited_calls_and_is_the_dependencys_failure() {
    let it = bench(Isolation::Threads(1));
    let (work, begun, go) = stuck();
    let mut task = Task::from_waker(Waker::noop());
    let cx = it.cx();
    let mut on_thread = pin!(it.bulkhead.call_blocking(&cx, work));
    assert!(on_thread.as_mut().poll(&mut task).is_pending());
    begun.recv().unwrap();
    it.time.advance(SEC);
    let std::task::Poll::Ready(Err(e)) = on_thread.as_mut().poll(&mut task) else { panic!("the deadline has passed") };
    assert!(matches!(e, CallError::Interrupted(Interrupted::DeadlinePassed)));
    assert_eq!(it.bulkhead.state().running, 1);
    drop(go);
    it.until_idle();
    for _ in 0..2 {
        let mut future = pin!(it.bulkhead.call_async(&cx, async |_cx| std::future::pending::<Result<(), ()>>().await));
        assert!(future.as_mut().poll(&mut task).is_pending());
        it.time.advance(SEC);
        assert!(future.as_mut().poll(&mut task).is_ready());
    }
    assert_eq!(it.bulkhead.state().breaker, Some(BreakerState::Open));
}

#[test]
fn retries_are_for_idempotent_calls_only_and_paid_from_the_budget() {
    let it = bench(Isolation::Threads(1));
    let cx = Context::background(); // real pauses of 100 ms at most; nothing is asserted about time
    let failing = |_: &Context| Err::<u8, _>("no");
    assert!(matches!(it.bulkhead.call(&cx, failing), Err(CallError::Failed("no"))));
    assert_eq!(it.bulkhead.state().attempts, 1);
    // 100 %: two first attempts have paid for two retries; the third failure in a row opens the breaker meanwhile,
    // so the third attempt is refused and the second's own error stands.
    let out = it.bulkhead.idempotent().call(&cx, failing);
    assert!(matches!(out, Err(CallError::Failed("no"))));
    let state = it.bulkhead.state();
    assert_eq!((state.requests, state.attempts, state.breaker), (2, 3, Some(BreakerState::Open)));
    let refused = it.bulkhead.idempotent().call(&cx, failing).unwrap_err();
    assert!(!refused.started());
}

#[test]
fn every_idempotent_form_tries_again() {
    let calls = Arc::new(AtomicUsize::new(0));
    let it = Bulkhead::builder("again", Isolation::Threads(1))
        .retry(Retry::constant(Duration::ZERO).attempts(3))
        .timeout(SEC * 60)
        .build()
        .unwrap();
    let flaky = || {
        let calls = calls.clone();
        move || if calls.fetch_add(1, SeqCst) % 3 == 2 { Ok(7) } else { Err("busy") }
    };
    let cx = Context::background();
    let idempotent = it.idempotent();
    let f = flaky();
    assert_eq!(idempotent.call(&cx, move |_| f()).unwrap(), 7);
    let f = flaky();
    assert_eq!(idempotent.call_here(&cx, |_| f()).unwrap(), 7);
    let f = flaky();
    assert_eq!(futures::executor::block_on(idempotent.call_blocking(&cx, move |_| f())).unwrap(), 7);
    let f = flaky();
    let call = idempotent.call_async(&cx, |_cx| {
        let out = f();
        async move { out }
    });
    assert_eq!(futures::executor::block_on(call).unwrap(), 7);
    let state = it.state();
    assert_eq!((state.requests, state.attempts, state.succeeded, state.running), (4, 12, 4, 0));
}

#[test]
fn a_pause_that_does_not_fit_the_deadline_is_not_made() {
    let it = bench(Isolation::Permits(1));
    let cx = it.cx().with_timeout(SEC / 20); // the pause is a tenth of a second; the manual clock stands still
    let out = it.bulkhead.idempotent().call_here(&cx, |_| Err::<(), _>("no"));
    assert!(matches!(out, Err(CallError::Failed("no"))));
    assert_eq!((it.bulkhead.state().attempts, it.time.waiting()), (1, 0));
}

#[test]
fn a_budget_bounds_the_amplification_of_a_dead_dependency() {
    let it = Bulkhead::builder("dead", Isolation::Permits(4))
        .retry(Retry::constant(Duration::ZERO).attempts(3).budget(Budget::percent(10)))
        .timeout(SEC * 60)
        .build()
        .unwrap();
    for _ in 0..1000 {
        assert!(it.idempotent().call_here(&Context::background(), |_| Err::<(), _>("dead")).is_err());
    }
    assert_eq!((it.state().requests, it.state().attempts), (1000, 1100));
}

#[test]
fn permits_only_have_no_threads_and_say_so() {
    let it = bench(Isolation::Permits(2));
    let e = it.bulkhead.call(&it.cx(), |_| Ok::<_, ()>(())).unwrap_err();
    assert!(matches!(e, CallError::Rejected(RejectReason::NoThreads)));
    assert_eq!(it.bulkhead.call_here(&it.cx(), |_| Ok::<_, ()>(3)).unwrap(), 3);
}

#[test]
fn a_call_nested_in_its_own_compartment_runs_right_there_or_is_refused() {
    let it = bench(Isolation::Threads(1));
    let other = bench(Isolation::Threads(1));
    let me = || it.bulkhead.clone();
    let five = |_: &Context| Ok::<_, ()>(5);

    // On the same thread: under the permit that it holds, whatever the form.
    let inner = me();
    let call_in_call = it.bulkhead.call(&it.cx(), move |cx| {
        let deeper = inner.clone();
        let twice = inner.call(cx, move |cx| deeper.call_here(cx, five).map_err(drop)).map_err(drop)?;
        Ok::<_, ()>(twice + inner.call(cx, five).map_err(drop)?) // no empty entries in the queue's only place
    });
    assert_eq!(call_in_call.unwrap(), 10);
    assert_eq!(it.bulkhead.call_here(&it.cx(), |cx| me().call(cx, five).map_err(drop)).unwrap(), 5);
    let awaited =
        it.bulkhead.call_here(&it.cx(), |cx| futures::executor::block_on(me().call_blocking(cx, five)).map_err(drop));
    assert_eq!(awaited.unwrap(), 5);
    let in_future = it.bulkhead.call_async(&it.cx(), async |cx| me().call_here(&cx, five).map_err(drop));
    assert_eq!(futures::executor::block_on(in_future).unwrap(), 5);
    let between = it.bulkhead.call_here(&it.cx(), |cx| {
        other.bulkhead.call_here(cx, |cx| me().call_here(cx, five).map_err(drop)).map_err(drop)
    });
    assert_eq!(between.unwrap(), 5);

    // From another thread, or as a future that may move to one: never waits for a permit its ancestor may hold.
    let inner = me();
    let around = it.bulkhead.call_here(&it.cx(), |cx| {
        let refused = other.bulkhead.call(cx, move |cx| inner.call(cx, five).map_err(|e| e.started()));
        refused.map_err(|e| matches!(e, CallError::Failed(false)))
    });
    assert!(matches!(around, Err(CallError::Failed(true))));
    let refused = it.bulkhead.call_here(&it.cx(), |cx| {
        futures::executor::block_on(me().call_async(cx, async |_cx| Ok::<_, ()>(5))).map_err(|e| e.started())
    });
    assert!(matches!(refused, Err(CallError::Failed(false))));

    // A panic of nested work is a value of the nested call.
    let nested = it.bulkhead.call_here(&it.cx(), |cx| {
        let out = me().call(cx, |_| -> Result<(), ()> { panic!("nested") });
        Ok::<_, ()>(matches!(out, Err(CallError::Panicked(_))))
    });
    assert!(nested.unwrap());
    it.until_idle();
    other.until_idle();
}

#[test]
fn a_nested_call_finds_a_free_permit_from_another_thread() {
    let it = bench(Isolation::Threads(2));
    let other = bench(Isolation::Threads(1));
    let inner = it.bulkhead.clone();
    let around = it.bulkhead.call_here(&it.cx(), |cx| {
        other.bulkhead.call(cx, move |cx| inner.call(cx, |_| Ok::<_, ()>(5)).map_err(drop)).map_err(drop)
    });
    assert_eq!(around.unwrap(), 5);
    it.until_idle();
}

#[test]
fn a_panic_that_an_executor_catches_is_a_failure_all_the_same() {
    let it = touchy(Isolation::Permits(1));
    let mut call = Box::pin(it.bulkhead.call_async(&it.cx(), async |_cx| -> Result<(), ()> { panic!("in a poll") }));
    let mut task = Task::from_waker(Waker::noop());
    let polled = catch_unwind(AssertUnwindSafe(|| call.as_mut().poll(&mut task).is_ready()));
    assert!(polled.is_err());
    drop(call); // nothing unwinds any more
    let state = it.bulkhead.state();
    assert_eq!((state.breaker, state.failed, state.interrupted), (Some(BreakerState::Open), 1, 0));
}

#[test]
fn a_retry_that_was_entered_stays_paid_for_when_its_future_is_dropped() {
    let budget = Budget::percent(10);
    let it = Bulkhead::builder("dropped", Isolation::Permits(1))
        .retry(Retry::constant(Duration::ZERO).attempts(2).budget(budget.clone()))
        .timeout(SEC * 60)
        .build()
        .unwrap();
    let mut task = Task::from_waker(Waker::noop());
    for _ in 0..20 {
        let mut first = true;
        let idempotent = it.idempotent();
        let mut call = pin!(idempotent.call_async(&Context::background(), move |_cx| {
            let fails = std::mem::replace(&mut first, false);
            async move { if fails { Err::<(), _>("no") } else { std::future::pending().await } }
        }));
        let _ = call.as_mut().poll(&mut task);
    }
    let state = it.state();
    assert!(state.attempts - state.requests <= 2, "{} retries of {}", state.attempts - 20, state.requests);
    assert_eq!(state.requests, state.interrupted + state.failed);
}

#[test]
fn work_that_submits_its_successor_from_inside_makes_no_chain() {
    fn next(it: &Bulkhead, pool: &watertight::Pool, left: u32, done: &Sender<()>) {
        let (inner, again, done) = (it.clone(), pool.clone(), done.clone());
        let job = move || {
            let _ = inner.clone().call_here(&Context::current(), |_cx| {
                if left > 0 {
                    next(&inner, &again, left - 1, &done);
                }
                Ok::<_, ()>(())
            });
        };
        pool.execute(job).unwrap();
    }
    let it = Bulkhead::builder("inside", Isolation::Permits(4)).no_timeout().build().unwrap();
    let pool = watertight::Pool::builder("outside").threads(1).queue(2).build().unwrap();
    let (done, ended) = channel();
    next(&it, &pool, 50_000, &done); // a chain of that length would overflow the stack when it is dropped
    drop(done);
    assert!(ended.recv().is_err());
    pool.shutdown(&Context::background()).unwrap();
    assert_eq!(it.state().attempts, 50_001);
}

#[test]
fn no_retry_is_paid_for_that_is_not_made() {
    let budget = Budget::percent(100);
    let time = ManualClock::new();
    let it = Bulkhead::builder("thrifty", Isolation::Permits(1))
        .breaker(Trip::consecutive(2), Recovery::after(SEC * 10))
        .retry(Retry::constant(SEC).jitter(Jitter::None).attempts(2).budget(budget.clone()))
        .timeout(SEC * 60)
        .clock(&time.clock())
        .build()
        .unwrap();
    let cx = Context::background().with_clock(&time.clock());
    // The call's own first attempt pays for one; dropped in the pause, the call takes it back.
    let mut task = Task::from_waker(Waker::noop());
    {
        let mut pausing = pin!(it.idempotent().call_async(&cx, async |_cx| Err::<(), _>("no")));
        assert!(pausing.as_mut().poll(&mut task).is_pending());
        assert_eq!((time.waiting(), budget.available()), (1, 0));
    }
    assert_eq!(budget.available(), 1);
    // The second failure in a row opens the breaker: no token is spent and nobody sleeps towards a refusal.
    let out = it.idempotent().call_here(&cx, |_| Err::<(), _>("no"));
    assert!(matches!(out, Err(CallError::Failed("no"))));
    assert_eq!((budget.available(), time.waiting(), it.state().attempts), (2, 0, 2));
}

#[test]
fn the_work_sees_the_sooner_deadline_as_its_own_and_as_the_ambient_one() {
    let it = bench(Isolation::Threads(1));
    let seen = |cx: &Context| Ok::<_, ()>((cx.remaining(), Context::current().remaining()));
    assert_eq!(it.bulkhead.call(&it.cx(), seen).unwrap(), (Some(SEC), Some(SEC)));
    let tight = it.cx().with_timeout(SEC / 2);
    assert_eq!(it.bulkhead.call_here(&tight, seen).unwrap(), (Some(SEC / 2), Some(SEC / 2)));
    let awaited =
        it.bulkhead.call_async(&tight, async |cx| Ok::<_, ()>((cx.remaining(), Context::current().remaining())));
    assert_eq!(futures::executor::block_on(awaited).unwrap(), (Some(SEC / 2), Some(SEC / 2)));
}

#[test]
fn nonsense_fails_in_build_and_names_the_field() {
    let field = |e: BuildError| match e {
        BuildError::OutOfRange { field, .. } => field,
        BuildError::Conflict(_) => "conflict",
        BuildError::Name { .. } => "name",
        other => panic!("{other}"),
    };
    let of = |isolation| Bulkhead::builder("x", isolation).timeout(SEC);
    let threads = || of(Isolation::Threads(1));
    assert_eq!(field(Bulkhead::builder("x", Isolation::Threads(1)).build().unwrap_err()), "conflict");
    assert_eq!(field(of(Isolation::Threads(0)).build().unwrap_err()), "threads");
    assert_eq!(field(of(Isolation::Permits(0)).build().unwrap_err()), "permits");
    assert_eq!(field(threads().queue(usize::MAX).build().unwrap_err()), "queue");
    assert_eq!(field(threads().timeout(Duration::ZERO).build().unwrap_err()), "timeout");
    assert_eq!(field(threads().timeout(Duration::MAX).build().unwrap_err()), "timeout");
    assert_eq!(field(threads().retry(Retry::constant(SEC).attempts(0)).build().unwrap_err()), "attempts");
    let no_trip = threads().breaker(Trip::consecutive(0), Recovery::after(SEC)).build();
    assert!(no_trip.is_err());
    assert_eq!(field(Bulkhead::builder("a\0", Isolation::Permits(1)).timeout(SEC).build().unwrap_err()), "name");
    assert!(Bulkhead::builder("x", Isolation::Permits(1)).no_timeout().build().is_ok());
}

/// Twenty thousand calls on four threads, in every form, with panics, cancels and dropped futures.
#[test]
fn nothing_leaks_and_the_limit_holds_under_every_kind_of_call() {
    let it = Bulkhead::builder("storm", Isolation::Threads(3)).queue(2).timeout(SEC * 60).build().unwrap();
    let (inside, peak) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (refused, interrupted, panicked) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
    struct Inside(Arc<AtomicUsize>);
    impl Drop for Inside {
        fn drop(&mut self) {
            self.0.fetch_sub(1, SeqCst);
        }
    }
    // Five thousand calls a thread, and as many again, a few times, until every outcome has been seen.
    for round in 0..20u32 {
        let unseen = [&refused, &interrupted, &panicked].iter().any(|n| n.load(SeqCst) == 0);
        if round > 0 && !unseen {
            break;
        }
        std::thread::scope(|s| {
            for t in 0..4u32 {
                let (it, inside, peak) = (&it, &inside, &peak);
                let (refused, interrupted, panicked) = (&refused, &interrupted, &panicked);
                s.spawn(move || {
                    for i in 0..5_000u32 {
                        let kind = (i.wrapping_mul(2_654_435_761) >> 7).wrapping_add(t);
                        let (inside, peak) = (inside.clone(), peak.clone());
                        let work = move || {
                            peak.fetch_max(inside.fetch_add(1, SeqCst) + 1, SeqCst);
                            let _inside = Inside(inside);
                            std::thread::yield_now();
                            if kind % 97 == 0 {
                                std::panic::resume_unwind(Box::new("storm")); // a panic that prints nothing
                            }
                            if kind % 3 == 0 { Err(()) } else { Ok(()) }
                        };
                        let token = CancelToken::new();
                        let cx = Context::background().with_token(&token);
                        let outcome = match kind % 6 {
                            0 => it.call(&cx, move |_| work()),
                            1 => catch_unwind(AssertUnwindSafe(|| it.call_here(&cx, |_| work()))).unwrap_or(Ok(())),
                            2 => futures::executor::block_on(it.call_blocking(&cx, move |_| work())),
                            3 => {
                                let mut dropped = pin!(it.call_blocking(&cx, move |_| work()));
                                let _ = dropped.as_mut().poll(&mut Task::from_waker(Waker::noop()));
                                continue;
                            }
                            4 => {
                                let call = it.call_async(&cx, async move |_cx| work());
                                let run = || futures::executor::block_on(call);
                                catch_unwind(AssertUnwindSafe(run)).unwrap_or(Ok(()))
                            }
                            _ => std::thread::scope(|s| {
                                s.spawn(|| token.cancel());
                                it.call(&cx, move |_| work())
                            }),
                        };
                        match outcome {
                            Err(CallError::Rejected(_)) => refused.fetch_add(1, SeqCst),
                            Err(CallError::Interrupted(_)) => interrupted.fetch_add(1, SeqCst),
                            Err(CallError::Panicked(_)) => panicked.fetch_add(1, SeqCst),
                            _ => 0,
                        };
                    }
                });
            }
        });
    }
    while it.state().running + it.state().queued > 0 {
        std::thread::yield_now();
    }
    assert!(peak.load(SeqCst) <= 3, "the dependency saw {} at once", peak.load(SeqCst));
    assert_eq!(inside.load(SeqCst), 0);
    let state = it.state();
    let ended = state.succeeded + state.failed + state.interrupted;
    let refusals = state.refused_full + state.refused_open + state.refused_ended + state.refused_other;
    assert_eq!(state.requests, ended + refusals);
    for (what, n) in [("refused", &refused), ("interrupted", &interrupted), ("panicked", &panicked)] {
        assert!(n.load(SeqCst) > 0, "no call was {what}: the race did not happen");
    }
}
