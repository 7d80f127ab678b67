//! The same futures under executors that know nothing of each other: they need no runtime, follow whoever polled them
//! last, and leave no waker behind.

use async_executor::Executor;
use futures::channel::oneshot;
use futures::executor::LocalPool;
use futures::future::{BoxFuture, FutureExt};
use std::any::Any;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::{Sender, channel};
use std::task::{self, Poll, Wake, Waker};
use std::thread::{self, yield_now};
use std::time::Duration;
use watertight::{
    Bulkhead, CancelCause, CancelToken, Context, Interrupted, Isolation, Limit, ManualClock, Pool, RejectReason,
};

const HOUR: Duration = Duration::from_secs(3600);
const REQUESTED: Interrupted = Interrupted::Cancelled(CancelCause::Requested);

/// A future that waits, and what ends its wait.
struct Case {
    future: BoxFuture<'static, ()>,
    ends: Box<dyn FnOnce() + Send>,
    time: ManualClock,
    /// What both need and do not own.
    _keep: Box<dyn Any>,
}

/// A context with all there is to be registered at: a token, and a deadline by a clock that stands still.
fn context() -> (Context, CancelToken, ManualClock) {
    let (token, time) = (CancelToken::new(), ManualClock::new());
    let cx = Context::background().with_clock(&time.clock()).with_token(&token).with_timeout(HOUR);
    (cx, token, time)
}

fn case(
    future: impl Future<Output = ()> + Send + 'static,
    ends: impl FnOnce() + Send + 'static,
    time: ManualClock,
    keep: impl Any,
) -> Case {
    Case { future: future.boxed(), ends: Box::new(ends), time, _keep: Box::new(keep) }
}

/// A pool whose only place is taken until the sender is dropped.
fn busy_pool() -> (Pool, Sender<()>) {
    let pool = Pool::builder("busy").threads(1).queue(0).build().unwrap();
    let ((let_go, gate), (begun, has_begun)) = (channel::<()>(), channel());
    pool.execute(move || {
        begun.send(()).unwrap();
        let _ = gate.recv();
    })
    .unwrap();
    has_begun.recv().unwrap();
    (pool, let_go)
}

fn cancelled() -> Case {
    let (_, token, time) = context();
    let future = token.cancelled();
    case(async { assert_eq!(future.await, REQUESTED) }, move || token.cancel(), time, ())
}

fn ended_by_its_token() -> Case {
    let (cx, token, time) = context();
    let future = cx.ended();
    case(async { assert_eq!(future.await, REQUESTED) }, move || token.cancel(), time, cx)
}

fn ended_by_its_deadline() -> Case {
    let (cx, _, time) = context();
    let (future, moves) = (cx.ended(), time.clone());
    case(async { assert_eq!(future.await, Interrupted::DeadlinePassed) }, move || moves.advance(HOUR), time, cx)
}

fn slept() -> Case {
    let (cx, _, time) = context();
    let (future, moves) = (cx.sleep_async(HOUR / 2), time.clone());
    case(async { assert_eq!(future.await, Ok(())) }, move || moves.advance(HOUR / 2), time, cx)
}

fn slept_too_long() -> Case {
    let (cx, token, time) = context();
    let future = cx.sleep_async(HOUR / 2);
    case(async { assert_eq!(future.await, Err(REQUESTED)) }, move || token.cancel(), time, cx)
}

fn ran_to_its_end() -> Case {
    let (cx, _, time) = context();
    let (send, receive) = oneshot::channel();
    let future = cx.run(receive);
    case(async { assert_eq!(future.await, Ok(Ok(7))) }, move || send.send(7).unwrap(), time, cx)
}

fn ran_out_of_time() -> Case {
    let (cx, _, time) = context();
    let (future, moves) = (cx.run(std::future::pending::<()>()), time.clone());
    case(async { assert_eq!(future.await, Err(Interrupted::DeadlinePassed)) }, move || moves.advance(HOUR), time, cx)
}

fn joined() -> Case {
    let (cx, _, time) = context();
    let pool = Pool::builder("joined").threads(1).build().unwrap();
    let ((let_go, gate), (begun, has_begun)) = (channel::<()>(), channel());
    let job = move || {
        begun.send(()).unwrap();
        gate.recv().is_err()
    };
    let future = pool.job().context(&cx).submit(job).unwrap();
    has_begun.recv().unwrap();
    case(async { assert!(future.await.unwrap()) }, move || drop(let_go), time, (cx, pool))
}

fn submitted() -> Case {
    let (cx, _, time) = context();
    let (pool, let_go) = busy_pool();
    let future = pool.job().context(&cx).submit_async(|| 7);
    case(async { drop(future.await.unwrap()) }, move || drop(let_go), time, (cx, pool))
}

fn acquired() -> Case {
    let (cx, _, time) = context();
    let limit = Limit::new(1);
    let (held, future) = (limit.try_acquire().unwrap(), limit.acquire_async(&cx));
    case(async { drop(future.await.unwrap()) }, move || drop(held), time, (cx, limit))
}

fn acquired_too_late() -> Case {
    let (cx, _, time) = context();
    let limit = Limit::new(1);
    let (held, future, moves) = (limit.try_acquire().unwrap(), limit.acquire_async(&cx), time.clone());
    let late = async { assert_eq!(future.await.unwrap_err(), RejectReason::DeadlinePassed) };
    case(late, move || moves.advance(HOUR), time, (cx, limit, held))
}

/// Waits for its permit.
fn called() -> Case {
    let (cx, _, time) = context();
    let permits = Bulkhead::builder("permits", Isolation::Permits(1)).queue(1).no_timeout().build().unwrap();
    let pending = async |_| std::future::pending::<Result<(), ()>>().await;
    let mut held = permits.call_async(&Context::background(), pending).boxed();
    assert!(held.as_mut().poll(&mut task::Context::from_waker(Waker::noop())).is_pending());
    let future = permits.call_async(&cx, async |_| Ok::<_, ()>(7));
    case(async { assert_eq!(future.await.unwrap(), 7) }, move || drop(held), time, (cx, permits))
}

/// Waits within its attempt.
fn called_and_waiting() -> Case {
    let (cx, _, time) = context();
    let permits = Bulkhead::builder("permits", Isolation::Permits(1)).timeout(HOUR).build().unwrap();
    let (send, receive) = oneshot::channel();
    let future = permits.call_async(&cx, async |_| receive.await);
    case(async { assert_eq!(future.await.unwrap(), 7) }, move || send.send(7).unwrap(), time, (cx, permits))
}

type Make = fn() -> Case;

const CASES: [(&str, Make); 13] = [
    ("cancelled", cancelled),
    ("ended by its token", ended_by_its_token),
    ("ended by its deadline", ended_by_its_deadline),
    ("slept", slept),
    ("slept too long", slept_too_long),
    ("ran to its end", ran_to_its_end),
    ("ran out of time", ran_out_of_time),
    ("joined", joined),
    ("submitted", submitted),
    ("acquired", acquired),
    ("acquired too late", acquired_too_late),
    ("called", called),
    ("called and waiting", called_and_waiting),
];

fn on_tokio(future: BoxFuture<'static, ()>, runtime: &mut tokio::runtime::Builder) {
    let runtime = runtime.build().unwrap();
    runtime.block_on(async { tokio::spawn(future).await.unwrap() });
}

/// The executor of smol, driven by two threads.
fn on_smol(future: BoxFuture<'static, ()>) {
    let executor = Executor::new();
    let task = executor.spawn(future);
    let (stop, stopped) = oneshot::channel::<()>();
    thread::scope(|s| {
        s.spawn(|| futures::executor::block_on(executor.run(stopped)));
        futures::executor::block_on(executor.run(task));
        drop(stop);
    });
}

type Run = fn(BoxFuture<'static, ()>);

const EXECUTORS: [(&str, Run); 5] = [
    ("tokio, many threads", |f| on_tokio(f, tokio::runtime::Builder::new_multi_thread().worker_threads(2))),
    ("tokio, one thread", |f| on_tokio(f, &mut tokio::runtime::Builder::new_current_thread())),
    ("smol", on_smol),
    ("futures, block_on", futures::executor::block_on),
    ("futures, a local pool", |f| LocalPool::new().run_until(f)),
];

/// Says once that the future has been polled and waits.
fn announced(mut future: BoxFuture<'static, ()>, waits: Sender<()>) -> BoxFuture<'static, ()> {
    let mut waits = Some(waits);
    poll_fn(move |task| {
        let polled = future.as_mut().poll(task);
        if let (Poll::Pending, Some(waits)) = (polled, waits.take()) {
            waits.send(()).unwrap();
        }
        polled
    })
    .boxed()
}

#[test]
fn every_future_ends_under_every_executor() {
    for (name, make) in CASES {
        for (executor, run) in EXECUTORS {
            println!("{name} under {executor}");
            let Case { future, ends, time, _keep } = make();
            let (waits, it_waits) = channel();
            let other = thread::spawn(move || {
                it_waits.recv().expect("it waits first");
                ends();
            });
            run(announced(future, waits));
            other.join().unwrap();
            assert_eq!(time.waiting(), 0, "{name} under {executor}");
        }
    }
}

/// Without the manual clock the crate's own thread keeps the time: no executor's timer is asked.
#[test]
fn a_sleep_needs_no_executors_timer() {
    for (_, run) in EXECUTORS {
        run(async {
            let cx = Context::background().with_timeout(HOUR);
            assert_eq!(cx.sleep_async(Duration::from_millis(1)).await, Ok(()));
            let brief = cx.with_timeout(Duration::from_millis(1));
            assert_eq!(brief.ended().await, Interrupted::DeadlinePassed);
            assert!(brief.run(std::future::pending::<()>()).await.is_err());
        }
        .boxed());
    }
}

/// A future that began under one executor and goes on under another is woken there.
#[test]
fn a_future_may_move_from_one_executor_to_another() {
    for (name, make) in CASES {
        for (from, to) in [(0, 3), (3, 0), (2, 1), (1, 2), (4, 2)] {
            let (from, (executor, run)) = (EXECUTORS[from], EXECUTORS[to]);
            println!("{name} from {} to {executor}", from.0);
            let Case { mut future, ends, time, _keep } = make();
            let (back, came_back) = channel();
            // Polled once there, on whatever thread that has, and given back while it waits.
            (from.1)(
                async move {
                    let polled = poll_fn(|task| Poll::Ready(future.as_mut().poll(task))).await;
                    assert!(polled.is_pending());
                    back.send(future).unwrap();
                }
                .boxed(),
            );
            let (waits, it_waits) = channel();
            let other = thread::spawn(move || {
                it_waits.recv().expect("it waits first");
                ends();
            });
            run(announced(came_back.recv().unwrap(), waits));
            other.join().unwrap();
            assert_eq!(time.waiting(), 0, "{name} from {} to {executor}", from.0);
        }
    }
}

/// A waker that counts how often it was woken, and by its reference count who has it.
#[derive(Default)]
struct Counted(Arc<AtomicUsize>);

impl Wake for Counted {
    fn wake(self: Arc<Self>) {
        let woken = self.0.clone();
        drop(self); // whoever sees the count sees that it was let go
        woken.fetch_add(1, SeqCst);
    }
}

fn poll_by(future: &mut BoxFuture<'static, ()>, waker: &Arc<Counted>) -> Poll<()> {
    future.as_mut().poll(&mut task::Context::from_waker(&waker.clone().into()))
}

/// Nobody has it but the test.
fn let_go(waker: &Arc<Counted>) -> bool {
    Arc::strong_count(waker) == 1
}

#[test]
fn polling_again_registers_nothing_more_and_dropping_takes_it_back() {
    for (name, make) in CASES {
        let Case { mut future, ends: _ends, time, _keep } = make();
        let waker = Arc::new(Counted::default());
        assert!(poll_by(&mut future, &waker).is_pending(), "{name}");
        let registered = (Arc::strong_count(&waker), time.waiting());
        assert!(registered.0 > 1, "{name}");
        for _ in 0..100 {
            assert!(poll_by(&mut future, &waker).is_pending(), "{name}");
            assert_eq!((Arc::strong_count(&waker), time.waiting()), registered, "{name}");
        }
        drop(future);
        assert!(let_go(&waker) && time.waiting() == 0, "{name}");
        assert_eq!(waker.0.load(SeqCst), 0, "{name}");
    }
}

#[test]
fn another_waker_takes_the_place_of_the_one_before() {
    for (name, make) in CASES {
        let Case { mut future, ends: _ends, time, _keep } = make();
        let mut before = Arc::new(Counted::default());
        assert!(poll_by(&mut future, &before).is_pending(), "{name}");
        let registered = (Arc::strong_count(&before), time.waiting());
        for _ in 0..100 {
            let waker = Arc::new(Counted::default());
            assert!(poll_by(&mut future, &waker).is_pending(), "{name}");
            assert!(let_go(&before), "{name}: {} left", Arc::strong_count(&before) - 1);
            assert_eq!((Arc::strong_count(&waker), time.waiting()), registered, "{name}");
            before = waker;
        }
        drop(future);
        assert!(let_go(&before) && time.waiting() == 0, "{name}");
    }
}

/// Only the last one is woken, and once it is ready nothing is kept, even if the future is.
#[test]
fn whoever_polled_last_is_woken_and_nothing_is_left_when_it_is_ready() {
    for (name, make) in CASES {
        let Case { mut future, ends, time, _keep } = make();
        let [first, second] = [(); 2].map(|()| Arc::new(Counted::default()));
        assert!(poll_by(&mut future, &first).is_pending(), "{name}");
        assert!(poll_by(&mut future, &second).is_pending(), "{name}");
        ends();
        while second.0.load(SeqCst) == 0 {
            yield_now(); // a worker has yet to come to it
        }
        assert!(poll_by(&mut future, &second).is_ready(), "{name}");
        assert_eq!(first.0.load(SeqCst), 0, "{name}");
        assert!(let_go(&first) && let_go(&second) && time.waiting() == 0, "{name}");
        drop(future);
    }
}

/// Dropped when it was woken and not yet polled: what it was granted goes on, and nothing is kept.
#[test]
fn dropped_between_its_wake_up_and_its_poll_it_keeps_nothing() {
    for (name, make) in CASES {
        let Case { mut future, ends, time, _keep } = make();
        let waker = Arc::new(Counted::default());
        assert!(poll_by(&mut future, &waker).is_pending(), "{name}");
        ends();
        while waker.0.load(SeqCst) == 0 {
            yield_now();
        }
        drop(future);
        assert!(let_go(&waker) && time.waiting() == 0, "{name}");
    }
}
