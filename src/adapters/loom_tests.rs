//! Models of the driver, with a future of the model's own in place of tokio's.

use super::drive::Driver;
use crate::sync::Shared;
use crate::sync::model::{model, spawn, twin};
use loom::alloc::Track;
use loom::sync::Mutex;
use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

/// What is waited for: as a token of tokio's is, by one.
struct Flag {
    set: AtomicBool,
    waits: Mutex<Option<Waker>>,
    dropped: AtomicUsize,
    done: AtomicUsize,
}

impl Flag {
    fn new() -> Shared<Self> {
        let (set, waits) = (AtomicBool::new(false), Mutex::new(None));
        Shared::new(Self { set, waits, dropped: AtomicUsize::new(0), done: AtomicUsize::new(0) })
    }

    fn wake(&self) {
        let waits = self.waits.lock().unwrap().clone();
        if let Some(waker) = waits {
            waker.wake();
        }
    }

    fn set(&self) {
        self.set.store(true, Ordering::Release);
        self.wake();
    }
}

/// Ready once the flag is set.
struct Waits(Shared<Flag>, #[expect(dead_code, reason = "loom misses it if it is not dropped")] Track<()>);

impl Future for Waits {
    type Output = ();

    fn poll(self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<()> {
        let before = self.0.waits.lock().unwrap().replace(task.waker().clone());
        drop(before);
        if self.0.set.load(Ordering::Acquire) { Poll::Ready(()) } else { Poll::Pending }
    }
}

impl Drop for Waits {
    fn drop(&mut self) {
        self.0.dropped.fetch_add(1, Ordering::Relaxed);
        self.0.waits.lock().unwrap().take();
    }
}

fn driven(flag: &Shared<Flag>) -> Driver<Waits, impl Fn() + Send + Sync + 'static> {
    let done = flag.clone();
    Driver::start(Waits(flag.clone(), Track::new(())), move || {
        done.done.fetch_add(1, Ordering::Relaxed);
    })
}

/// The first poll, the wake-up and a needless one meet.
fn woken_while_it_is_polled() {
    let flag = Flag::new();
    let setter = {
        let flag = flag.clone();
        spawn(move || flag.set())
    };
    let needless = {
        let flag = flag.clone();
        spawn(move || flag.wake())
    };
    let driver = driven(&flag);
    setter.join().unwrap();
    needless.join().unwrap();
    assert_eq!((flag.done.load(Ordering::Relaxed), flag.dropped.load(Ordering::Relaxed)), (1, 1));
    drop(driver);
}

#[test]
fn loom_a_future_that_is_woken_while_it_is_polled_is_polled_again_and_is_done_once() {
    let name = "a driven future that is woken while it is polled is polled again, and is done once";
    model(name, woken_while_it_is_polled);
    twin("driver: a wake-up while it is polled is forgotten", woken_while_it_is_polled);
}

/// Whoever wakes it polls it while it is called off.
fn called_off_while_it_is_polled() {
    let flag = Flag::new();
    let driver = driven(&flag);
    let needless = {
        let flag = flag.clone();
        spawn(move || flag.wake())
    };
    let setter = {
        let flag = flag.clone();
        spawn(move || flag.set())
    };
    drop(driver);
    let done = flag.done.load(Ordering::Relaxed);
    needless.join().unwrap();
    setter.join().unwrap();
    assert_eq!(flag.dropped.load(Ordering::Relaxed), 1, "dropped by one of them");
    assert!(done <= flag.done.load(Ordering::Relaxed) && flag.done.load(Ordering::Relaxed) <= 1);
}

#[test]
fn loom_a_future_that_is_called_off_while_it_is_polled_is_dropped_once() {
    let name = "a driven future that is called off while it is polled is dropped, once";
    model(name, called_off_while_it_is_polled);
    twin("driver: what is called off is put back", called_off_while_it_is_polled);
}
