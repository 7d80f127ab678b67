//! What a compartment does beside plain calls: judged results, fallbacks, handles, admissions, refusals.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::channel;
use std::time::Duration;
use watertight::breaker::BreakerState;
use watertight::bulkhead::{BulkheadBuilder, Classified, Hedge};
use watertight::event::{Event, from_fn};
use watertight::{
    Budget, Bulkhead, CallError, CancelCause, CancelToken, Class, Context, Interrupted, Isolation, Jitter, ManualClock,
    Recovery, RejectReason, Retry, Trip,
};

const SEC: Duration = Duration::from_secs(1);

fn plain(isolation: Isolation) -> BulkheadBuilder {
    Bulkhead::builder("test", isolation).timeout(SEC * 60)
}

/// A result that is judged by what it says.
fn by_itself(it: &Bulkhead) -> Classified<Class, Class> {
    it.classify(|result: Result<&Class, &Class>| match result {
        Ok(class) | Err(class) => *class,
    })
}

#[test]
fn the_class_decides_what_the_breaker_counts_in_every_form() {
    let it = plain(Isolation::Threads(1)).breaker(Trip::rate(0.9), Recovery::after(SEC)).build().unwrap();
    let (calls, cx) = (by_itself(&it), Context::background());
    let classes = [Class::Success, Class::Slow, Class::Failure, Class::Final, Class::RetryAfter(SEC), Class::Ignore];
    let expected = [(0, 1), (0, 1), (1, 1), (1, 1), (1, 1), (0, 0)];
    for (class, (failures, counted)) in classes.into_iter().zip(expected) {
        for result in [Ok(class), Err(class)] {
            let forms: [&dyn Fn() -> Result<Class, CallError<Class>>; 4] = [
                &|| calls.call(&cx, move |_| result),
                &|| calls.call_here(&cx, |_| result),
                &|| futures::executor::block_on(calls.call_blocking(&cx, move |_| result)),
                &|| futures::executor::block_on(calls.call_async(&cx, async |_cx| result)),
            ];
            for form in forms {
                let breaker = it.breaker().unwrap();
                breaker.reset();
                // The caller gets the work's own result, whatever it was judged to be.
                assert_eq!(form().map_err(|e| e.into_failed().unwrap()), result);
                let counts = breaker.snapshot().counts;
                assert_eq!((counts.failures, counts.calls), (failures, counted), "{result:?}");
            }
        }
    }
    let state = it.state();
    assert_eq!((state.succeeded, state.failed), (24, 24));
}

#[test]
fn the_class_decides_what_is_tried_again() {
    let it = plain(Isolation::Threads(1)).retry(Retry::constant(Duration::ZERO).attempts(3)).build().unwrap();
    let (calls, cx) = (by_itself(&it).idempotent(), Context::background());
    let after = Class::RetryAfter(Duration::from_nanos(1));
    for (class, attempts) in
        [(Class::Failure, 3), (after, 3), (Class::Final, 1), (Class::Ignore, 1), (Class::Success, 1), (Class::Slow, 1)]
    {
        for result in [Ok(class), Err(class)] {
            let before = it.state().attempts;
            assert_eq!(calls.call(&cx, move |_| result).map_err(|e| e.into_failed().unwrap()), result);
            assert_eq!(it.state().attempts - before, attempts, "{result:?}");
        }
    }
}

#[test]
fn a_retry_after_is_waited_for_and_not_beyond_the_deadline() {
    let time = ManualClock::new();
    let cx = Context::background().with_clock(&time.clock());
    let it = plain(Isolation::Permits(1)).retry(Retry::constant(SEC).jitter(Jitter::None)).build().unwrap();
    let calls = by_itself(&it).idempotent();
    let asked = |d: Duration| {
        let mut first = true;
        move |_cx| {
            let answer = if std::mem::replace(&mut first, false) { Class::RetryAfter(d) } else { Class::Success };
            std::future::ready(Ok(answer))
        }
    };
    // Asked for less than the pause, for more, and for longer than there is time.
    for (wants, waits) in [(SEC / 2, SEC), (SEC * 7, SEC * 7)] {
        let mut call = Box::pin(calls.call_async(&cx, asked(wants)));
        let mut task = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(call.as_mut().poll(&mut task).is_pending());
        time.advance(waits - Duration::from_nanos(1));
        assert!(call.as_mut().poll(&mut task).is_pending());
        time.advance(Duration::from_nanos(1));
        assert!(matches!(call.as_mut().poll(&mut task), std::task::Poll::Ready(Ok(Class::Success))));
    }
    // An answer that there was no time to ask for again is still the answer.
    let late = futures::executor::block_on(calls.call_async(&cx, asked(SEC * 60)));
    assert_eq!(late.unwrap(), Class::RetryAfter(SEC * 60));
    assert_eq!(time.waiting(), 0);
}

#[test]
fn a_retried_answer_is_kept_when_the_next_attempt_is_refused() {
    let it = plain(Isolation::Permits(1))
        .breaker(Trip::consecutive(1), Recovery::after(SEC))
        .retry(Retry::constant(Duration::ZERO))
        .build()
        .unwrap();
    let answer = by_itself(&it).idempotent().call_here(&Context::background(), |_| Ok(Class::Failure));
    assert_eq!(answer.unwrap(), Class::Failure);
    assert_eq!((it.state().attempts, it.state().breaker), (1, Some(BreakerState::Open)));
}

#[test]
fn a_judgement_that_panics_is_a_panic_of_the_work() {
    let it = plain(Isolation::Threads(1)).breaker(Trip::consecutive(1), Recovery::after(SEC)).build().unwrap();
    let calls = it.classify(|_: Result<&u8, &u8>| -> Class { std::panic::resume_unwind(Box::new("no verdict")) });
    let (cx, opened) = (Context::background(), || {
        let breaker = it.breaker().unwrap();
        assert_eq!(breaker.state(), BreakerState::Open);
        breaker.reset();
    });
    let by_thread = calls.call(&cx, |_| Ok(1)).unwrap_err();
    assert!(matches!(&by_thread, CallError::Panicked(p) if p.message() == Some("no verdict")));
    opened();
    assert!(catch_unwind(AssertUnwindSafe(|| calls.call_here(&cx, |_| Ok(1)))).is_err());
    opened();
    let awaited = calls.call_async(&cx, async |_cx| Ok(1));
    assert!(catch_unwind(AssertUnwindSafe(|| futures::executor::block_on(awaited))).is_err());
    opened();
    assert_eq!((it.state().failed, it.state().running), (3, 0));
}

#[test]
fn after_the_callers_cancellation_a_failure_says_nothing_and_a_success_does() {
    let it = plain(Isolation::Permits(1)).breaker(Trip::rate(0.9), Recovery::after(SEC)).build().unwrap();
    let calls = by_itself(&it);
    for (class, counted) in [(Class::Failure, 0), (Class::Final, 0), (Class::Success, 1)] {
        let token = CancelToken::new();
        let cx = Context::background().with_token(&token);
        calls
            .call_here(&cx, |_| {
                token.cancel();
                Ok(class)
            })
            .unwrap();
        assert_eq!(it.breaker().unwrap().snapshot().counts.calls, counted);
    }
}

#[test]
fn a_failure_after_the_deadline_is_the_dependencys_though_the_work_has_looked() {
    let time = ManualClock::new();
    let it = Bulkhead::builder("late", Isolation::Permits(1))
        .breaker(Trip::consecutive(1), Recovery::after(SEC))
        .timeout(SEC)
        .clock(&time.clock())
        .build()
        .unwrap();
    let cx = Context::background().with_clock(&time.clock());
    let late = it.call_here(&cx, |cx| {
        time.advance(SEC);
        cx.check() // this cancels its token: for the deadline, and not by the caller
    });
    assert!(matches!(late, Err(CallError::Failed(Interrupted::DeadlinePassed))));
    assert_eq!(it.state().breaker, Some(BreakerState::Open));
}

#[test]
fn fallbacks_run_beside_a_full_compartment_and_under_their_own_cap() {
    let it = plain(Isolation::Permits(1)).fallbacks(2).build().unwrap();
    let cx = Context::background();
    let refused = |depth: usize| it.call_here(&cx, |_| Ok::<_, &str>(depth));
    let nested = AtomicUsize::new(0);
    fn deeper(it: &Bulkhead, nested: &AtomicUsize, depth: usize) -> Result<usize, CallError<&'static str>> {
        let e = CallError::from(RejectReason::ShuttingDown);
        it.fallback(e, |e| {
            assert!(!e.started());
            nested.fetch_max(it.state().falling_back, SeqCst);
            if depth == 0 { Ok(0) } else { deeper(it, nested, depth - 1).map_err(|_| "no place") }
        })
    }
    assert_eq!(refused(3).unwrap(), 3);
    let held = it.call_here(&cx, |_| {
        assert!(!std::thread::scope(|s| s.spawn(|| refused(1)).join().unwrap()).unwrap_err().started());
        assert_eq!(deeper(&it, &nested, 1).unwrap(), 0);
        // The third at once has no place: its own error comes back, and so does that of whoever needed it.
        assert!(matches!(deeper(&it, &nested, 2), Err(CallError::Rejected(_))));
        Ok::<_, &str>(())
    });
    held.unwrap();
    let state = it.state();
    assert_eq!((nested.load(SeqCst), state.falling_back), (2, 0));
    assert_eq!((state.fallbacks, state.fallback_failed, state.fallback_refused), (4, 2, 1));
    let panics = || it.fallback::<(), _>(CallError::Failed("x"), |_| std::panic::resume_unwind(Box::new("y")));
    assert!(catch_unwind(AssertUnwindSafe(panics)).is_err());
    assert_eq!((it.state().falling_back, it.state().fallback_failed), (0, 3));
    // Ten, unless it is said otherwise.
    let ten = plain(Isolation::Permits(1)).build().unwrap();
    assert!(deeper(&ten, &nested, 9).is_ok() && deeper(&ten, &nested, 10).is_err());
    assert!(plain(Isolation::Permits(1)).fallbacks(0).build().is_err());
}

fn poll<F: Future>(f: std::pin::Pin<&mut F>) -> std::task::Poll<F::Output> {
    f.poll(&mut std::task::Context::from_waker(std::task::Waker::noop()))
}

fn until_idle(it: &Bulkhead) {
    while it.state().running + it.state().queued > 0 {
        std::thread::yield_now();
    }
}

#[test]
fn a_submitted_call_is_joined_awaited_or_left() {
    let it = plain(Isolation::Threads(1)).queue(2).build().unwrap();
    let cx = Context::background();
    assert_eq!(it.submit(&cx, |_| Ok::<_, ()>(1)).unwrap().join().unwrap(), 1);
    assert_eq!(
        futures::executor::block_on(it.submit(&cx, |_| Err::<(), _>(2)).unwrap()).unwrap_err().into_failed().unwrap(),
        2
    );
    let panicked = it.submit(&cx, |_| -> Result<(), ()> { std::panic::resume_unwind(Box::new("x")) }).unwrap().join();
    assert!(matches!(panicked, Err(CallError::Panicked(_))));

    let (let_go, gate) = channel::<()>();
    let (begun, has_begun) = channel();
    let mut running = it
        .submit(&cx, move |cx| {
            begun.send(()).unwrap();
            gate.recv().unwrap_err();
            Ok::<_, ()>(cx.token().cause())
        })
        .unwrap();
    has_begun.recv().unwrap();
    // Queued and cancelled, or queued and dropped: neither ever runs, and both give their places back.
    let queued = it.submit(&cx, |_| -> Result<(), ()> { unreachable!("cancelled") }).unwrap();
    queued.cancel();
    assert!(matches!(queued.join(), Err(CallError::Rejected(RejectReason::Cancelled(CancelCause::Requested)))));
    drop(it.submit(&cx, |_| -> Result<(), ()> { unreachable!("dropped") }).unwrap());
    // Waited for in vain, by a context of one's own: the handle is still there.
    let brief = cx.with_timeout(Duration::from_millis(1));
    assert!(running.join_within(&brief).is_none() && !running.is_finished());
    assert!(poll(std::pin::Pin::new(&mut running)).is_pending());
    running.cancel();
    drop(let_go);
    assert_eq!(running.join().unwrap(), Some(Interrupted::Cancelled(CancelCause::Requested)));
    until_idle(&it);
    let state = it.state();
    assert_eq!((state.requests, state.attempts, state.succeeded, state.failed, state.refused_ended), (6, 4, 2, 2, 2));
}

#[test]
fn a_submitted_call_ends_by_its_deadline_and_its_work_is_told_so() {
    let time = ManualClock::new();
    let it = Bulkhead::builder("slow", Isolation::Threads(1))
        .breaker(Trip::consecutive(1), Recovery::after(SEC))
        .timeout(SEC)
        .clock(&time.clock())
        .build()
        .unwrap();
    let cx = Context::background().with_clock(&time.clock());
    let (let_go, gate) = channel::<()>();
    let (begun, has_begun) = channel();
    let call = it
        .submit(&cx, move |_| {
            begun.send(()).unwrap();
            Ok::<_, ()>(gate.recv().is_ok())
        })
        .unwrap();
    has_begun.recv().unwrap();
    std::thread::scope(|s| {
        let call = s.spawn(|| call.join());
        while time.waiting() == 0 {
            std::thread::yield_now();
        }
        time.advance(SEC);
        assert!(matches!(call.join().unwrap(), Err(CallError::Interrupted(Interrupted::DeadlinePassed))));
    });
    assert_eq!((it.state().running, it.state().breaker), (1, Some(BreakerState::Open)));
    let refused = it.submit(&cx, |_| Ok::<_, ()>(7)).unwrap_err();
    assert_eq!(refused.reason, RejectReason::CircuitOpen { retry_after: SEC });
    assert_eq!(refused.into_work()(&cx), Ok(7)); // it came back whole
    drop(let_go);
    until_idle(&it);
}

#[test]
fn a_call_submitted_from_inside_runs_before_submit_returns() {
    let it = plain(Isolation::Threads(1)).build().unwrap();
    let inner = it.clone();
    let around = it.call(&Context::background(), move |cx| {
        let handle = inner.submit(cx, |_| Ok::<_, ()>(5)).unwrap();
        assert!(handle.is_finished());
        handle.join().map_err(drop)
    });
    assert_eq!(around.unwrap(), 5);
    assert_eq!((it.state().attempts, it.state().succeeded), (2, 2));
}

#[test]
fn an_admission_is_one_of_those_that_run_until_it_is_gone() {
    let time = ManualClock::new();
    let cx = Context::background().with_clock(&time.clock());
    for isolation in [Isolation::Threads(1), Isolation::Permits(1)] {
        let it = Bulkhead::builder("admits", isolation)
            .queue(1)
            .breaker(Trip::rate(0.9), Recovery::after(SEC))
            .timeout(SEC)
            .clock(&time.clock())
            .build()
            .unwrap();
        let calls = || it.breaker().unwrap().snapshot().counts;
        let first = it.try_admit(&cx).unwrap();
        assert_eq!((first.context().remaining(), it.state().running), (Some(SEC), 1));
        let full = RejectReason::Full { limit: 1, waiting: 0 };
        assert_eq!(it.try_admit(&cx).unwrap_err(), full); // there is a place to wait, and it does not
        let mut waiting = Box::pin(it.admit_async(&cx));
        assert!(poll(waiting.as_mut()).is_pending());
        let full = RejectReason::Full { limit: 1, waiting: 1 };
        assert_eq!(it.admit(&cx).unwrap_err(), full);
        first.record(&Err::<(), _>("no"));
        let std::task::Poll::Ready(Ok(second)) = poll(waiting.as_mut()) else { panic!("there is a permit") };
        assert_eq!((calls().failures, calls().calls), (1, 1));
        second.record_as(Class::Slow);
        // Dropped without a word it says nothing; dropped by its own panic it is a failure.
        drop(it.admit(&cx).unwrap());
        assert_eq!(calls().calls, 2);
        let panics = || {
            let _admission = it.admit(&cx).unwrap();
            std::panic::resume_unwind(Box::new("x"))
        };
        assert!(catch_unwind(AssertUnwindSafe(panics)).is_err());
        assert_eq!((calls().failures, calls().calls), (2, 3));
        // Its context ends while it waits in line, on a thread or awaited, or before.
        let held = it.admit(&cx).unwrap();
        let mut waiting = Box::pin(it.admit_async(&cx));
        assert!(poll(waiting.as_mut()).is_pending());
        time.advance(SEC);
        let late = poll(waiting.as_mut());
        assert!(matches!(late, std::task::Poll::Ready(Err(RejectReason::DeadlinePassed))));
        assert_eq!(held.context().check(), Err(Interrupted::DeadlinePassed));
        held.failure();
        assert_eq!(calls().failures, 3);
        let mut left = Box::pin(it.admit_async(&cx));
        let held = it.admit(&cx).unwrap();
        assert!(poll(left.as_mut()).is_pending());
        drop(left);
        held.success();
        let state = it.state();
        assert_eq!((state.running, state.queued), (0, 0));
        assert_eq!((state.attempts, state.succeeded, state.failed, state.interrupted), (6, 2, 3, 1));
        assert_eq!((state.refused_full, state.refused_ended), (2, 2));
        assert_eq!(state.requests, 10);
    }
}

#[test]
fn an_admission_never_borrows_the_permit_of_the_work_it_was_asked_for_in() {
    let it = plain(Isolation::Permits(1)).queue(1).build().unwrap();
    let cx = Context::background();
    let inside = it.call_here(&cx, |cx| {
        // Nor does it wait for it: the permit may be its own ancestor's. Nobody else waits, and the refusal says so.
        let full = RejectReason::Full { limit: 1, waiting: 0 };
        assert_eq!(it.admit(cx).unwrap_err(), full);
        assert_eq!(poll(Box::pin(it.admit_async(cx)).as_mut()).map(Result::unwrap_err), std::task::Poll::Ready(full));
        let awaited = it.call_async(cx, async |_cx| Ok::<_, ()>(()));
        let refused = futures::executor::block_on(awaited).unwrap_err();
        assert!(matches!(refused, CallError::Rejected(reason) if reason == full));
        Ok::<_, ()>(())
    });
    inside.unwrap();
    let two = plain(Isolation::Permits(2)).build().unwrap();
    let out = two.call_here(&cx, |cx| Ok::<_, ()>(two.admit(cx).unwrap()));
    let admission = out.unwrap(); // it has outlived the work around it
    assert_eq!(two.state().running, 1);
    drop(admission);
    assert_eq!(two.state().running, 0);
}

#[test]
fn refusals_map_to_http() {
    let of = |reason: RejectReason| reason.http_status();
    assert_eq!(of(RejectReason::TooLarge { asked: 3, limit: 2 }), 429);
    assert_eq!([RejectReason::ShuttingDown, RejectReason::DeadlinePassed].map(of), [503; 2]);
    assert_eq!(of(RejectReason::NoThreads), 500);
}

/// Threads, a budget that pays for one retry a call, and a second attempt after a second.
fn hedging(threads: usize) -> (Bulkhead, ManualClock, Context, Budget, Hedge) {
    let (time, budget) = (ManualClock::new(), Budget::percent(100));
    let it = Bulkhead::builder("hedged", Isolation::Threads(threads))
        .queue(4)
        .breaker(Trip::rate(0.9), Recovery::after(SEC))
        .retry(Retry::constant(Duration::ZERO).budget(budget.clone()))
        .timeout(SEC * 10)
        .clock(&time.clock())
        .build()
        .unwrap();
    let cx = Context::background().with_clock(&time.clock());
    (it, time, cx, budget, Hedge::after(SEC))
}

/// The first attempt stays until its token is cancelled, or fails then; the second does as it is told.
fn slow_first(
    second: Result<u8, &'static str>,
) -> impl Fn(&Context) -> Result<u8, &'static str> + Send + Sync + 'static {
    let number = AtomicUsize::new(0);
    move |cx| match number.fetch_add(1, SeqCst) {
        0 => {
            cx.token().wait(&Context::background());
            Err("cancelled")
        }
        _ => second,
    }
}

/// Moves the time a second once the call waits for its first attempt.
fn after_the_delay<T: Send>(it: &Bulkhead, time: &ManualClock, by: &Budget, call: impl FnOnce() -> T + Send) -> T {
    let firsts = by.stats().firsts;
    std::thread::scope(|s| {
        let call = s.spawn(call);
        // The first attempt runs, and has brought what the second costs: one that waits would keep the second away.
        while time.waiting() == 0 || it.state().running == 0 || by.stats().firsts == firsts {
            std::thread::yield_now();
        }
        time.advance(SEC);
        call.join().unwrap()
    })
}

#[test]
fn a_second_attempt_wins_and_the_loser_is_cancelled_and_says_nothing() {
    let (it, time, cx, budget, hedge) = hedging(2);
    let won = after_the_delay(&it, &time, &budget, || it.idempotent().call_hedged(&cx, &hedge, slow_first(Ok(7))));
    assert_eq!(won.unwrap(), 7);
    until_idle(&it);
    let (state, counts) = (it.state(), it.breaker().unwrap().snapshot().counts);
    assert_eq!((state.requests, state.attempts, state.hedges, state.succeeded), (1, 2, 1, 1));
    assert_eq!((counts.calls, counts.failures, budget.stats().retries), (1, 0, 1));
}

#[test]
fn no_second_attempt_beside_what_ends_in_time_or_without_money_room_or_leave() {
    let (it, time, cx, budget, hedge) = hedging(2);
    let fast = it.idempotent().call_hedged(&cx, &hedge, |_| Ok::<_, ()>(1));
    assert_eq!(fast.unwrap(), 1);
    let failed = it.idempotent().call_hedged(&cx, &hedge, |_| Err::<(), _>("no"));
    assert!(matches!(failed, Err(CallError::Failed("no")))); // and it is not tried again
    assert_eq!((it.state().attempts, it.state().hedges), (2, 0));
    let alone = |why: &str| {
        let (begun, has_begun) = channel();
        let (let_go, gate) = channel::<()>();
        let gate = std::sync::Mutex::new(gate);
        let out = std::thread::scope(|s| {
            let call = s.spawn(|| {
                it.idempotent().call_hedged(&cx, &hedge, move |_| {
                    begun.send(()).unwrap();
                    Ok::<_, ()>(gate.lock().unwrap().recv().is_err())
                })
            });
            has_begun.recv().unwrap();
            while time.waiting() == 0 {
                std::thread::yield_now();
            }
            time.advance(SEC);
            // The delay is over when it waits for the whole call again, or has decided; either way it sees what is below.
            while time.waiting() == 0 {
                std::thread::yield_now();
            }
            drop(let_go);
            call.join().unwrap()
        });
        assert!(out.unwrap());
        assert_eq!(it.state().hedges, 0, "{why}");
    };
    let other = it.admit(&cx).unwrap();
    alone("no permit is free");
    drop(other);
    until_idle(&it);
    // The request as a whole has had its retries.
    let cx = cx.with_value(watertight::retry::RetryCap::new(0));
    let alone_too = after_the_delay(&it, &time, &budget, || {
        let (moved, ticks) = (time.clone(), time.clock().now());
        it.idempotent().call_hedged(&cx, &hedge, move |_| {
            // Until the delay is over and the call waits for its end.
            while moved.clock().now() == ticks || moved.waiting() == 0 {
                std::thread::yield_now();
            }
            Ok::<_, ()>(1)
        })
    });
    assert_eq!((alone_too.unwrap(), it.state().hedges, budget.stats().retries), (1, 0, 0));
}

/// The leave for the second attempt changes the breaker, and who hears of that cancels the call before anybody enters it.
#[test]
fn a_second_attempt_that_is_not_entered_is_neither_counted_nor_paid_for() {
    let (token, time, budget) = (CancelToken::new(), ManualClock::new(), Budget::percent(100));
    let canceller = token.clone();
    let it = Bulkhead::builder("hedged", Isolation::Threads(2))
        .breaker(Trip::consecutive(1), Recovery::after(SEC / 2))
        .retry(Retry::constant(Duration::ZERO).budget(budget.clone()))
        .timeout(SEC * 10)
        .clock(&time.clock())
        .observer(from_fn(move |e| {
            if matches!(e, Event::BreakerChanged { to: BreakerState::HalfOpen, .. }) {
                canceller.cancel();
            }
        }))
        .build()
        .unwrap();
    let cx = Context::background().with_clock(&time.clock()).with_token(&token);
    let (begun, has_begun) = channel();
    let out = std::thread::scope(|s| {
        let call = s.spawn(|| {
            it.idempotent().call_hedged(&cx, &Hedge::after(SEC), move |cx| {
                begun.send(()).unwrap();
                cx.token().wait(&Context::background());
                Err::<(), _>("cancelled")
            })
        });
        has_begun.recv().unwrap();
        it.breaker().unwrap().admit().unwrap().failure(); // somebody else's
        while time.waiting() == 0 {
            std::thread::yield_now();
        }
        time.advance(SEC);
        call.join().unwrap()
    });
    assert!(out.unwrap_err().started());
    until_idle(&it);
    let (state, account) = (it.state(), budget.stats());
    assert_eq!((state.attempts, state.hedges, account.retries, account.available), (1, 0, 0, 1));
}

#[test]
fn when_both_fail_or_time_is_up_it_says_so() {
    let (it, time, cx, budget, _) = hedging(2);
    let hedge = Hedge::after(SEC);
    let number = Arc::new(AtomicUsize::new(0));
    let seen = number.clone();
    let both = after_the_delay(&it, &time, &budget, || {
        it.idempotent().call_hedged(&cx, &hedge, move |_| {
            // Neither ends before both have begun.
            let mine = seen.fetch_add(1, SeqCst);
            while seen.load(SeqCst) < 2 {
                std::thread::yield_now();
            }
            Err::<(), _>(mine)
        })
    });
    assert!(matches!(both, Err(CallError::Failed(0 | 1))));
    assert_eq!((number.load(SeqCst), it.breaker().unwrap().snapshot().counts.failures), (2, 2));
    let late = std::thread::scope(|s| {
        let call = s.spawn(|| {
            it.idempotent().call_hedged(&cx, &hedge, |cx| {
                cx.token().wait(&Context::background());
                Err::<(), _>("too late")
            })
        });
        while !call.is_finished() {
            if time.waiting() > 0 {
                time.advance(SEC);
            }
            std::thread::yield_now();
        }
        call.join().unwrap()
    });
    assert!(
        matches!(late, Err(CallError::Interrupted(Interrupted::DeadlinePassed)))
            || matches!(late, Err(CallError::Rejected(RejectReason::DeadlinePassed)))
            || matches!(late, Err(CallError::Failed(_)))
    );
    until_idle(&it);
    assert_eq!((it.state().running, it.state().requests), (0, 2));
}

#[test]
fn a_hedged_call_that_is_refused_or_nested_is_a_call_like_any_other() {
    let (it, _, cx, _, hedge) = hedging(1);
    it.breaker().unwrap().force_open();
    let refused = it.idempotent().call_hedged(&cx, &hedge, |_| Ok::<_, ()>(1)).unwrap_err();
    assert!(!refused.started());
    it.breaker().unwrap().reset();
    let inner = it.clone();
    let nested = it
        .call(&cx, move |cx| inner.idempotent().call_hedged(cx, &Hedge::after(SEC), |_| Ok::<_, ()>(5)).map_err(drop));
    assert_eq!(nested.unwrap(), 5);
    let permits = plain(Isolation::Permits(1)).build().unwrap();
    let refused = permits.idempotent().call_hedged(&cx, &hedge, |_| Ok::<_, ()>(1)).unwrap_err();
    assert!(matches!(refused, CallError::Rejected(RejectReason::NoThreads)));
}

#[test]
fn who_has_waited_too_long_is_refused_as_full_and_has_time_left() {
    let time = ManualClock::new();
    let it = plain(Isolation::Permits(1)).queue(2).max_wait(SEC).clock(&time.clock()).build().unwrap();
    let cx = Context::background().with_clock(&time.clock());
    let held = it.admit(&cx).unwrap();
    let out = std::thread::scope(|s| {
        let call = s.spawn(|| it.call_here(&cx, |_| Ok::<_, ()>(())));
        while time.waiting() == 0 {
            std::thread::yield_now();
        }
        time.advance(SEC);
        call.join().unwrap()
    });
    assert!(matches!(out, Err(CallError::Rejected(RejectReason::Full { limit: 1, .. }))), "{out:?}");
    let hurried = cx.with_timeout(SEC / 2); // has its own way
    let late = std::thread::scope(|s| {
        let call = s.spawn(|| it.admit(&hurried).map(drop));
        while time.waiting() == 0 {
            std::thread::yield_now();
        }
        time.advance(SEC / 2);
        call.join().unwrap()
    });
    assert_eq!(late, Err(RejectReason::DeadlinePassed));
    held.success();
    assert!(it.call_here(&cx, |_| Ok::<_, ()>(())).is_ok());
    let said = |builder: BulkheadBuilder| builder.check().unwrap_err().to_string();
    let threads = said(plain(Isolation::Threads(1)).max_wait(SEC));
    assert_eq!(threads, "max_wait is for permits: in a queue of threads the call's timeout bounds the wait");
    let none = said(plain(Isolation::Permits(1)).max_wait(Duration::ZERO));
    assert_eq!(none, "max_wait is 0ns, must be above 0 and at most one day");
}
