//! What a compartment does beside plain calls: judged results, fallbacks, handles, admissions, refusals.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;
use watertight::breaker::BreakerState;
use watertight::bulkhead::{BulkheadBuilder, Classified};
use watertight::{
    Bulkhead, CallError, CancelToken, Class, Context, Interrupted, Isolation, Jitter, ManualClock, Recovery, Retry,
    Trip,
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
        let e = CallError::from(watertight::RejectReason::ShuttingDown);
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
