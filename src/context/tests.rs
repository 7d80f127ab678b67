use super::*;
use crate::{CancelCause, ManualClock};
use std::task;

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
