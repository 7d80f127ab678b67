use super::*;
use crate::{CancelCause, ManualClock};
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{self, Poll};

#[test]
fn entering_puts_back_what_was_there() {
    let a = Context::background().with_timeout(Duration::from_secs(1));
    let b = a.with_timeout(Duration::from_millis(1));
    a.in_scope(|| {
        assert_eq!(Context::current().deadline(), a.deadline());
        b.in_scope(|| assert_eq!(Context::current().deadline(), b.deadline()));
        let unwound = std::panic::catch_unwind(|| b.in_scope(|| panic!("on purpose")));
        assert!(unwound.is_err());
        assert_eq!(Context::current().deadline(), a.deadline());
    });
    assert_eq!(Context::current().deadline(), Deadline::NEVER);
}

#[test]
fn a_sleep_ends_at_its_time_at_the_deadline_or_by_cancel() {
    let time = ManualClock::new();
    let cx = Context::background().with_clock(&time.clock());
    let token = CancelToken::new();
    let tight = cx.with_timeout(Duration::from_secs(5)).with_token(&token);
    std::thread::scope(|s| {
        let full = s.spawn(|| tight.sleep(Duration::from_secs(5)));
        let cut = s.spawn(|| tight.sleep(Duration::from_secs(6)));
        let long = s.spawn(|| cx.with_token(&token).sleep(Duration::from_secs(60)));
        while time.waiting() < 3 {
            std::thread::yield_now();
        }
        time.advance(Duration::from_secs(5));
        assert_eq!(full.join().unwrap(), Ok(()));
        assert_eq!(cut.join().unwrap(), Err(Interrupted::DeadlinePassed));
        token.cancel();
        assert_eq!(long.join().unwrap(), Err(Interrupted::Cancelled(CancelCause::Requested)));
    });
    assert_eq!(time.waiting(), 0);
}

#[test]
fn a_sleep_of_no_time_and_one_that_never_ends() {
    let time = ManualClock::new();
    let cx = Context::background().with_clock(&time.clock());
    assert_eq!(cx.sleep(Duration::ZERO), Ok(()));
    let mut never = cx.sleep_async(Duration::MAX);
    let mut task = task::Context::from_waker(task::Waker::noop());
    assert!(Pin::new(&mut never).poll(&mut task).is_pending());
    assert_eq!(time.waiting(), 0);
}

#[test]
fn run_ends_with_the_context_and_polls_nothing_after_the_end() {
    let time = ManualClock::new();
    let cx = Context::background().with_clock(&time.clock()).with_timeout(Duration::from_secs(1));
    let mut task = task::Context::from_waker(task::Waker::noop());
    let mut run = pin!(cx.run(std::future::pending::<()>()));
    assert!(run.as_mut().poll(&mut task).is_pending());
    time.advance(Duration::from_secs(1));
    assert_eq!(run.as_mut().poll(&mut task), Poll::Ready(Err(Interrupted::DeadlinePassed)));
    let mut late = pin!(cx.run(poll_fn(|_| -> Poll<()> { unreachable!("the context has ended") })));
    assert!(matches!(late.as_mut().poll(&mut task), Poll::Ready(Err(_))));
}

#[test]
fn it_works_under_two_executors() {
    let cx = Context::background();
    let nap = || cx.sleep_async(Duration::from_millis(1));
    assert_eq!(futures::executor::block_on(nap()), Ok(()));
    let tokio = tokio::runtime::Builder::new_current_thread().build().unwrap();
    assert_eq!(tokio.block_on(nap()), Ok(()));
}

#[test]
fn an_extension_stays_below_the_ceiling_and_below_what_was_tightened_since() {
    let time = ManualClock::new();
    let secs = Duration::from_secs;
    let at = |n| Deadline::after(time.now(), secs(n));
    let (two, ten) = (at(2), at(10));
    let plain = Context::background().with_clock(&time.clock()).with_deadline(ten);
    assert_eq!(plain.extend_deadline(secs(5)).deadline(), ten);
    assert!(Context::background().extend_deadline(secs(5)).deadline().is_never());
    // A ceiling beyond the context's own deadline is cut to it.
    let cx = plain.with_extendable(two.extendable_to(at(60)));
    assert_eq!(cx.deadline(), two);
    time.advance(secs(1));
    let moved = cx.extend_deadline(secs(3));
    assert_eq!((cx.deadline(), moved.remaining()), (two, Some(secs(4))));
    assert_eq!(moved.extend_deadline(Duration::MAX).deadline(), ten);
    assert_eq!(moved.with_timeout(secs(1)).extend_deadline(secs(3)).remaining(), Some(secs(1)));
    time.advance(secs(1));
    assert_eq!(cx.extend_deadline(secs(3)).check(), Err(Interrupted::DeadlinePassed), "too late is too late");
    assert_eq!(moved.check(), Ok(()));
}

#[test]
fn a_deadline_seen_to_pass_cancels_what_is_below_it_and_nothing_above() {
    let time = ManualClock::new();
    let user = CancelToken::new();
    let request =
        Context::background().with_clock(&time.clock()).with_token(&user).with_timeout(Duration::from_secs(5));
    let call = request.with_timeout(Duration::from_secs(1));
    let work = call.child();
    let below = work.token().clone();
    time.advance(Duration::from_secs(1));
    assert!(!call.token().is_cancelled(), "nobody has looked, and `is_cancelled` reads no clock");
    assert_eq!(call.check(), Err(Interrupted::DeadlinePassed));
    assert_eq!((call.token().cause(), below.cause()), (call.check().err(), Some(Interrupted::DeadlinePassed)));
    assert_eq!((request.check(), user.cause()), (Ok(()), None));
    // By another clock it is another deadline.
    let elsewhere = request.with_clock(&ManualClock::new().clock());
    time.advance(Duration::from_secs(4));
    assert!(request.check().is_err() && request.token().is_cancelled());
    assert!(elsewhere.check().is_err(), "it is below the one that has ended");
    let ahead = ManualClock::new();
    ahead.advance(Duration::from_secs(60));
    let behind = Context::background().with_clock(&time.clock()).with_timeout(Duration::from_secs(5));
    assert!(behind.with_clock(&ahead.clock()).check().is_err());
    assert_eq!(behind.token().cause(), None);
}

#[test]
fn cancelling_the_token_of_a_context_ends_what_was_made_from_it() {
    let user = CancelToken::new();
    let outer = Context::background().with_token(&user);
    let timed = outer.with_timeout(Duration::from_secs(3600));
    let made = [timed.with_timeout(Duration::from_secs(60)), timed.with_token(&CancelToken::new()), timed.child()];
    timed.token().cancel();
    assert!(made.iter().all(|cx| cx.check() == Err(Interrupted::Cancelled(CancelCause::Requested))));
    assert_eq!((outer.check(), user.is_cancelled()), (Ok(()), false));
}

#[test]
fn a_deadline_that_was_extended_ends_its_context_and_not_its_token() {
    let time = ManualClock::new();
    let secs = Duration::from_secs;
    let at = |n| Deadline::after(time.now(), secs(n));
    let short = Context::background().with_clock(&time.clock()).with_extendable(at(1).extendable_to(at(10)));
    let long = short.extend_deadline(secs(5));
    let (told, hears) = std::sync::mpsc::channel();
    let guard = short.on_end(move |why| told.send(why).unwrap()).unwrap();
    time.advance(secs(1));
    assert_eq!(hears.try_recv(), Ok(Interrupted::DeadlinePassed));
    assert_eq!(short.check(), Err(Interrupted::DeadlinePassed));
    assert_eq!((long.check(), long.token().cause()), (Ok(()), None));
    drop(guard);
    time.advance(secs(5));
    assert!(long.check().is_err() && !long.token().is_cancelled());
    time.advance(secs(4));
    assert!(long.check().is_err() && long.token().is_cancelled(), "the ceiling is the end of them all");
}

#[test]
fn whoever_waits_to_the_deadline_tells_those_below() {
    let time = ManualClock::new();
    let base = Context::background().with_clock(&time.clock());
    let cx = base.with_timeout(Duration::from_secs(1));
    let mut task = task::Context::from_waker(task::Waker::noop());
    let mut ended = cx.ended();
    assert!(Pin::new(&mut ended).poll(&mut task).is_pending());
    time.advance(Duration::from_secs(1));
    assert!(!cx.token().is_cancelled());
    assert_eq!(Pin::new(&mut ended).poll(&mut task), Poll::Ready(Interrupted::DeadlinePassed));
    assert!(cx.token().is_cancelled());
    let cx = base.with_timeout(Duration::from_secs(1));
    let token = cx.token().clone();
    std::thread::scope(|s| {
        let sleeper = s.spawn(|| cx.sleep(Duration::from_secs(2)));
        while time.waiting() == 0 {
            std::thread::yield_now();
        }
        time.advance(Duration::from_secs(1));
        assert_eq!(sleeper.join().unwrap(), Err(Interrupted::DeadlinePassed));
    });
    assert!(token.is_cancelled());
    assert!(!base.token().is_cancelled());
}

#[test]
fn an_end_is_told_once_and_not_after_it_was_taken_back() {
    let time = ManualClock::new();
    let cx = || Context::background().with_clock(&time.clock()).with_timeout(Duration::from_secs(1));
    let runs = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = || {
        let runs = runs.clone();
        move |_| {
            runs.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
    };
    let seen = || runs.load(std::sync::atomic::Ordering::Relaxed);
    let (first, second) = (cx(), cx());
    let (a, b) = (first.on_end(count()).unwrap(), second.on_end(count()).unwrap());
    assert_eq!((time.waiting(), first.token().registrations()), (2, 1));
    drop(b);
    assert_eq!((time.waiting(), second.token().registrations()), (1, 0));
    first.token().cancel();
    assert_eq!(seen(), 1);
    time.advance(Duration::from_secs(1));
    drop(a);
    assert_eq!((seen(), time.waiting()), (1, 0));
    drop(first.on_end(count()).unwrap()); // ended already: here and now
    assert_eq!(seen(), 2);
    drop(Context::background().on_end(count()).unwrap());
    assert_eq!(seen(), 2);
    let panics = cx();
    let guard = panics.on_end(|_| panic!("on purpose")).unwrap();
    time.advance(Duration::from_secs(1));
    drop(guard);
    assert_eq!(std::sync::Arc::strong_count(&runs), 1, "every callback is gone");
}

/// Not by which deadline happens to be the sooner: whoever asks for one has a token of its own.
#[test]
fn cancelling_the_token_of_a_context_made_with_a_deadline_ends_nobody_above() {
    let time = ManualClock::new();
    let base = Context::background().with_clock(&time.clock());
    let in_secs = |n| Deadline::after(time.now(), Duration::from_secs(n));
    let never = in_secs(1).extendable_to(Deadline::NEVER);
    for above in [base.clone(), base.with_timeout(Duration::from_secs(1)), base.with_extendable(never)] {
        let made = [
            above.with_timeout(Duration::from_secs(60)),
            above.with_timeout(Duration::from_millis(1)),
            above.with_deadline(Deadline::NEVER),
            above.with_extendable(never),
            above.with_timeout(Duration::from_secs(60)).extend_deadline(Duration::from_secs(1)),
        ];
        for cx in made {
            cx.token().cancel();
            assert_eq!(cx.check(), Err(Interrupted::Cancelled(CancelCause::Requested)));
            assert_eq!(above.check(), Ok(()));
        }
        let extended = above.extend_deadline(Duration::from_secs(1));
        if !above.deadline().is_never() {
            extended.token().cancel();
            assert!(extended.check().is_err() && above.check().is_ok());
        }
    }
}

#[test]
fn an_extended_deadline_that_is_waited_for_leaves_the_token_of_others_alone() {
    let time = ManualClock::new();
    let in_secs = |n| Deadline::after(time.now(), Duration::from_secs(n));
    let short = Context::background().with_clock(&time.clock()).with_extendable(in_secs(1).extendable_to(in_secs(10)));
    let long = short.extend_deadline(Duration::from_secs(5));
    let mut task = task::Context::from_waker(task::Waker::noop());
    let mut ended = short.ended();
    assert!(Pin::new(&mut ended).poll(&mut task).is_pending());
    time.advance(Duration::from_secs(1));
    assert_eq!(Pin::new(&mut ended).poll(&mut task), Poll::Ready(Interrupted::DeadlinePassed));
    assert_eq!((short.token().cause(), long.check()), (None, Ok(())));
}

#[test]
fn what_has_ended_is_told_here_and_now_and_an_end_is_told_to_all() {
    let token = CancelToken::new();
    token.cancel();
    for cx in [Context::background().with_timeout(Duration::ZERO), Context::background().with_token(&token)] {
        let (told, hears) = std::sync::mpsc::channel();
        let guard = cx.on_end(move |why| told.send(why).unwrap()).unwrap();
        assert_eq!(hears.try_recv().ok(), cx.check().err());
        drop(guard);
    }
    let time = ManualClock::new();
    let cx = Context::background().with_clock(&time.clock()).with_timeout(Duration::from_secs(1));
    let below = cx.token().child();
    let guard = cx.on_end(|_| ()).unwrap();
    time.advance(Duration::from_secs(1));
    assert_eq!(below.cause(), Some(Interrupted::DeadlinePassed), "whoever waits for the end tells those below");
    drop(guard);
}

#[test]
fn detached_work_is_outside_of_the_compartment() {
    let compartment = Shared::new(Inside { compartment: 7, outer: None });
    let inside = Context::background().within(&compartment, None);
    assert!(inside.is_within(7) && inside.with_timeout(Duration::ZERO).is_within(7));
    assert!(!inside.detached().is_within(7));
}
