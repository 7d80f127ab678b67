//! Wakers replaced, wakers that misbehave, registrations that must not stay.

use crate::{CancelToken, Context, Limit, ManualClock, Pool};
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, panic_any};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::{Context as Task, Poll, Wake, Waker};
use std::time::Duration;

struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

fn counting() -> (Waker, Arc<Count>) {
    let count = Arc::new(Count(AtomicUsize::new(0)));
    (count.clone().into(), count)
}

fn poll<F: Future + Unpin>(f: &mut F, waker: &Waker) -> Poll<F::Output> {
    Pin::new(f).poll(&mut Task::from_waker(waker))
}

/// Polled by one task and then by another, a future wakes the other, and gives its output.
fn the_last_waker_is_woken<F: Future + Unpin>(mut f: F, happens: impl FnOnce()) {
    let ((first, stale), (second, live)) = (counting(), counting());
    assert!(poll(&mut f, &first).is_pending());
    assert!(poll(&mut f, &second).is_pending());
    happens();
    assert_eq!((stale.0.load(SeqCst), live.0.load(SeqCst)), (0, 1));
    assert!(poll(&mut f, &second).is_ready());
}

#[test]
fn whoever_polled_last_is_woken() {
    let cx = Context::background();
    let limit = Limit::new(1);
    let held = limit.try_acquire().unwrap();
    the_last_waker_is_woken(limit.acquire_async(&cx), || drop(held));

    let token = CancelToken::new();
    the_last_waker_is_woken(token.cancelled(), || token.cancel());

    let time = ManualClock::new();
    let sleep = cx.with_clock(&time.clock()).sleep_async(Duration::from_secs(1));
    the_last_waker_is_woken(sleep, || time.advance(Duration::from_secs(1)));
    assert_eq!(time.waiting(), 0);

    let pool = Pool::builder("wakers").threads(1).build().unwrap();
    let (go, gate) = std::sync::mpsc::channel::<()>();
    let handle = pool.submit(move || gate.recv().is_err()).unwrap();
    the_last_waker_is_woken(handle, || {
        drop(go);
        while pool.stats().in_flight > 0 {
            std::thread::yield_now();
        }
        pool.shutdown(&Context::background()).unwrap(); // the worker has completed the handle before it leaves
    });
}

#[test]
fn a_wait_that_got_what_it_wanted_leaves_nothing_on_its_token() {
    let token = CancelToken::new();
    let cx = Context::background().with_token(&token);
    let limit = Limit::new(1);
    let held = limit.try_acquire().unwrap();
    let (waker, _) = counting();
    let mut acquire = limit.acquire_async(&cx);
    assert!(poll(&mut acquire, &waker).is_pending());
    assert_eq!(token.registrations(), 1);
    drop(held);
    let Poll::Ready(Ok(_permit)) = poll(&mut acquire, &waker) else { panic!("it is its turn") };
    assert_eq!(token.registrations(), 0);
    let mut given_up = limit.acquire_async(&cx);
    assert!(poll(&mut given_up, &waker).is_pending());
    drop(given_up);
    assert_eq!(token.registrations(), 0);
}

/// Panics when it is woken, with a payload that panics when it is dropped.
struct Hostile;

impl Wake for Hostile {
    fn wake(self: Arc<Self>) {
        panic_any(Payload);
    }
}

struct Payload;

impl Drop for Payload {
    fn drop(&mut self) {
        panic!("the payload's own drop");
    }
}

#[test]
fn a_hostile_waker_harms_only_itself() {
    let hostile: Waker = Arc::new(Hostile).into();

    // Others that wait for the same token are woken.
    let token = CancelToken::new();
    let mut first = token.cancelled();
    assert!(poll(&mut first, &hostile).is_pending());
    the_last_waker_is_woken(token.cancelled(), || token.cancel());

    // A place that a job gives back goes to it, and the job's own handle is completed all the same.
    let pool = Pool::builder("hostile").threads(1).queue(0).build().unwrap();
    let (go, gate) = std::sync::mpsc::channel::<()>();
    let handle = pool.submit(move || gate.recv().is_err()).unwrap();
    let mut next = pool.submit_async(|| ());
    assert!(poll(&mut next, &hostile).is_pending());
    drop(go);
    assert!(handle.join().unwrap());
    assert!(poll(&mut next, &hostile).is_ready());

    // The process's timer lives on.
    let cx = Context::background();
    let mut sleeps: Vec<_> = (0..3).map(|_| cx.sleep_async(Duration::from_millis(1))).collect();
    for sleep in &mut sleeps {
        let _ = poll(sleep, &hostile);
    }
    assert_eq!(futures::executor::block_on(cx.sleep_async(Duration::from_millis(20))), Ok(()));
}

#[test]
fn a_future_polled_after_it_was_ready_panics() {
    let token = CancelToken::new();
    token.cancel();
    let limit = Limit::new(1);
    let (waker, _) = counting();
    let mut refused = limit.acquire_async(&Context::background().with_token(&token));
    assert!(matches!(poll(&mut refused, &waker), Poll::Ready(Err(_))));
    assert!(catch_unwind(AssertUnwindSafe(|| poll(&mut refused, &waker))).is_err());
    assert_eq!(limit.in_flight(), 0);
}
