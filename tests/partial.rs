//! Partial results: what has arrived by the context's end is given, and the rest is cancelled.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::task::{self, Waker};
use std::thread::{scope, yield_now};
use std::time::Duration;
use watertight::pool::{BranchError, Incomplete, Partial};
use watertight::{CancelCause, CancelToken, Context, Interrupted, JobError, JobHandle, ManualClock, Pool};

const DROPPED: Interrupted = Interrupted::Cancelled(CancelCause::Dropped);

fn pool(threads: usize) -> Pool {
    Pool::builder("parts").threads(threads).queue(8).build().unwrap()
}

/// A job that says when it has begun, and ends when its token is cancelled or it is let go.
fn stuck() -> (impl FnOnce() -> u32 + Send + 'static, Receiver<()>, Receiver<Interrupted>) {
    let ((begun, has_begun), (tell, told)) = (channel(), channel());
    let job = move || {
        begun.send(()).unwrap();
        let why = Context::current().token().wait(&Context::background()).unwrap();
        tell.send(why).unwrap();
        99
    };
    (job, has_begun, told)
}

/// A job that ends when it is let go.
fn gated(value: u32) -> (impl FnOnce() -> u32 + Send + 'static, Receiver<()>, Sender<()>) {
    let ((begun, has_begun), (let_go, gate)) = (channel(), channel::<()>());
    let job = move || {
        begun.send(()).unwrap();
        let _ = gate.recv();
        value
    };
    (job, has_begun, let_go)
}

/// A job whose result is there.
fn ended(pool: &Pool, value: u32) -> JobHandle<u32> {
    let handle = pool.submit(move || value).unwrap();
    until(|| handle.is_finished());
    handle
}

/// Counts its drops.
struct Dropped(Arc<AtomicUsize>);
impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.fetch_add(1, SeqCst);
    }
}

fn until(condition: impl Fn() -> bool) {
    while !condition() {
        yield_now();
    }
}

fn shut(pool: &Pool) {
    pool.shutdown(&Context::background()).unwrap();
    let s = pool.stats();
    assert_eq!((s.in_flight, s.running, s.queued, s.alive), (0, 0, 0, 0));
}

#[test]
fn what_arrived_by_the_deadline_is_given_and_the_rest_is_cancelled() {
    let (pool, time) = (pool(3), ManualClock::new());
    let cx = Context::background().with_clock(&time.clock()).with_timeout(Duration::from_millis(50));
    let (late, begun, told) = stuck();
    let late = pool.submit(late).unwrap();
    begun.recv().unwrap();
    let [one, two, three] = [1, 2, 3].map(|n| ended(&pool, n));
    let parts = Partial::new().optional(late).mandatory(one).optional(two).mandatory(three);
    let arrived = scope(|s| {
        let joining = s.spawn(|| parts.join(&cx));
        until(|| time.waiting() == 1);
        assert!(told.try_recv().is_err(), "nothing is cancelled before the deadline");
        time.advance(Duration::from_millis(50));
        joining.join().unwrap().unwrap()
    });
    assert_eq!(arrived.mandatory, [1, 3]);
    assert!(matches!(arrived.optional[0], Err(BranchError::Late(Interrupted::DeadlinePassed))));
    assert!(matches!(arrived.optional[1], Ok(2)));
    assert_eq!(told.recv(), Ok(DROPPED));
    shut(&pool);
}

#[test]
fn what_has_arrived_is_given_even_if_the_deadline_has_passed() {
    let (pool, time) = (pool(1), ManualClock::new());
    let cx = Context::background().with_clock(&time.clock()).with_timeout(Duration::from_millis(50));
    let parts = Partial::new().mandatory(ended(&pool, 1)).optional(ended(&pool, 2));
    time.advance(Duration::from_millis(51));
    let arrived = parts.join(&cx).unwrap();
    assert_eq!((&arrived.mandatory[..], arrived.optional[0].as_ref().ok()), (&[1][..], Some(&2)));
    shut(&pool);
}

#[test]
fn a_mandatory_branch_that_is_late_fails_the_join_and_queued_branches_never_run() {
    let (pool, time) = (pool(1), ManualClock::new());
    let cx = Context::background().with_clock(&time.clock()).with_timeout(Duration::from_millis(50));
    let (late, begun, told) = stuck();
    let late = pool.submit(late).unwrap();
    begun.recv().unwrap();
    let drops = Arc::new(AtomicUsize::new(0));
    let held = Dropped(drops.clone());
    let queued = pool.submit(move || -> u32 { unreachable!("{:p}", &held) }).unwrap();
    let parts = Partial::new().mandatory(late).optional(queued);
    let failed = scope(|s| {
        let joining = s.spawn(|| parts.join(&cx));
        until(|| time.waiting() == 1);
        time.advance(Duration::from_millis(50));
        joining.join().unwrap().unwrap_err()
    });
    assert_eq!(drops.load(SeqCst), 1, "dropped before the join returned");
    assert!(matches!(failed, Incomplete { branch: 0, why: BranchError::Late(Interrupted::DeadlinePassed), .. }));
    assert_eq!(failed.to_string(), "mandatory branch 0 is missing");
    assert_eq!(told.recv(), Ok(DROPPED));
    shut(&pool);
    assert_eq!((pool.stats().shed, pool.stats().panicked), (1, 0));
}

#[test]
fn a_mandatory_branch_that_fails_ends_the_join_at_once() {
    let pool = pool(3);
    let ((first, first_begun, first_told), (other, other_begun, other_told)) = (stuck(), stuck());
    let (first, other) = (pool.submit(first).unwrap(), pool.submit(other).unwrap());
    first_begun.recv().unwrap();
    other_begun.recv().unwrap();
    let failing = pool.submit(|| panic!("on purpose")).unwrap();
    // No deadline: it ends because there can be no answer any more, though the branch before it is still running.
    let failed = Partial::new().mandatory(first).mandatory(failing).optional(other).join(&Context::background());
    match failed.unwrap_err() {
        Incomplete { branch: 1, why: BranchError::Failed(JobError::Panicked(payload)), .. } => {
            assert_eq!(payload.message(), Some("on purpose"));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!((first_told.recv(), other_told.recv()), (Ok(DROPPED), Ok(DROPPED)));
    shut(&pool);
}

#[test]
fn an_optional_branch_that_fails_leaves_a_hole() {
    let pool = pool(2);
    let cx = Context::background();
    let failing = pool.submit(|| panic!("on purpose")).unwrap();
    let arrived = Partial::new().optional(failing).mandatory(pool.submit(|| 1).unwrap()).join(&cx).unwrap();
    assert_eq!(arrived.mandatory, [1]);
    assert!(matches!(arrived.optional[..], [Err(BranchError::Failed(JobError::Panicked(_)))]));
    let nothing = Partial::<u32>::new().join(&cx).unwrap();
    assert!(nothing.mandatory.is_empty() && nothing.optional.is_empty());
    shut(&pool);
}

#[test]
fn a_queued_branch_ends_at_its_own_deadline_while_the_join_goes_on() {
    let (pool, time) = (pool(1), ManualClock::new());
    let cx = Context::background().with_clock(&time.clock());
    let (slow, begun, let_go) = gated(7);
    let slow = pool.submit(slow).unwrap();
    begun.recv().unwrap();
    let drops = Arc::new(AtomicUsize::new(0));
    let held = Dropped(drops.clone());
    let brief = cx.with_timeout(Duration::from_millis(10));
    let queued = pool.job().context(&brief).submit(move || -> u32 { unreachable!("{:p}", &held) }).unwrap();
    let parts = Partial::new().mandatory(slow).optional(queued);
    let arrived = scope(|s| {
        let joining = s.spawn(|| parts.join(&cx));
        until(|| time.waiting() == 1);
        time.advance(Duration::from_millis(10));
        until(|| drops.load(SeqCst) == 1);
        drop(let_go);
        joining.join().unwrap().unwrap()
    });
    assert_eq!(arrived.mandatory, [7]);
    let shed = Interrupted::DeadlinePassed;
    assert!(matches!(arrived.optional[..], [Err(BranchError::Failed(JobError::Shed(why)))] if why == shed));
    shut(&pool);
}

#[test]
fn a_cancelled_join_gives_what_has_arrived() {
    let pool = pool(2);
    let token = CancelToken::new();
    let cx = Context::background().with_token(&token);
    let (late, begun, told) = stuck();
    let late = pool.submit(late).unwrap();
    begun.recv().unwrap();
    let parts = Partial::new().optional(late).mandatory(ended(&pool, 1));
    token.cancel();
    let arrived = parts.join(&cx).unwrap();
    assert_eq!(arrived.mandatory, [1]);
    let requested = Interrupted::Cancelled(CancelCause::Requested);
    assert!(matches!(arrived.optional[..], [Err(BranchError::Late(why))] if why == requested));
    assert_eq!(told.recv(), Ok(DROPPED));
    shut(&pool);
}

#[test]
fn a_join_on_the_only_worker_runs_its_branches_there() {
    let pool = pool(1);
    let inner = pool.clone();
    let sum = pool.submit(move || {
        let parts = Partial::new().optional(inner.submit(|| 1).unwrap()).mandatory(inner.submit(|| 2).unwrap());
        let arrived = parts.join(&Context::current()).unwrap();
        arrived.mandatory[0] + arrived.optional[0].as_ref().unwrap()
    });
    assert_eq!(sum.unwrap().join().unwrap(), 3);
    shut(&pool);
}

#[test]
fn a_branch_is_not_begun_on_the_only_worker_once_the_time_is_over() {
    let (pool, time) = (pool(1), ManualClock::new());
    let cx = Context::background().with_clock(&time.clock()).with_timeout(Duration::from_millis(50));
    let inner = pool.clone();
    let arrived = pool.submit(move || {
        let slow = inner.submit(move || time.advance(Duration::from_millis(50))).unwrap();
        let after = inner.submit(|| unreachable!("it is too late")).unwrap();
        Partial::new().mandatory(slow).optional(after).join(&cx).unwrap()
    });
    let arrived = arrived.unwrap().join().unwrap();
    assert_eq!(arrived.mandatory.len(), 1);
    assert!(matches!(arrived.optional[..], [Err(BranchError::Late(Interrupted::DeadlinePassed))]));
    shut(&pool);
}

/// It was looked at, then it ended, then the time was over: it had ended in time.
#[test]
fn what_ends_after_it_was_looked_at_and_before_the_deadline_is_given() {
    let (pool, time) = (pool(2), ManualClock::new());
    let cx = Context::background().with_clock(&time.clock()).with_timeout(Duration::from_millis(50));
    let inner = pool.clone();
    let arrived = pool.submit(move || {
        let (first, begun, let_go) = gated(1);
        let (first, (told, it_ended)) = (inner.submit(first).unwrap(), channel());
        begun.recv().unwrap(); // on the other worker
        let second = inner.submit(move || {
            drop(let_go);
            it_ended.recv().unwrap();
            time.advance(Duration::from_millis(50));
            2
        });
        // The other worker comes to this when it has done the first.
        inner.execute(move || told.send(()).unwrap()).unwrap();
        Partial::new().mandatory(first).mandatory(second.unwrap()).join(&cx)
    });
    assert_eq!(arrived.unwrap().join().unwrap().unwrap().mandatory, [1, 2]);
    shut(&pool);
}

#[test]
fn it_is_a_future_on_any_executor_and_dropping_it_cancels() {
    let (pool, time) = (pool(3), ManualClock::new());
    let cx = Context::background().with_clock(&time.clock()).with_timeout(Duration::from_millis(50));
    let tokio = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let two = || Partial::new().mandatory(pool.submit(|| 1).unwrap()).optional(pool.submit(|| 2).unwrap());
    for on_tokio in [false, true] {
        let joined = two().join_async(&cx);
        let arrived = if on_tokio { tokio.block_on(joined) } else { futures::executor::block_on(joined) }.unwrap();
        assert_eq!((arrived.mandatory[0], arrived.optional[0].as_ref().ok()), (1, Some(&2)));

        let (late, begun, told) = stuck();
        let late = pool.submit(late).unwrap();
        begun.recv().unwrap();
        let joined = Partial::new().optional(late).join_async(&cx);
        let mut joined = Box::pin(joined);
        assert!(joined.as_mut().poll(&mut task::Context::from_waker(Waker::noop())).is_pending());
        assert_eq!(time.waiting(), 1);
        drop(joined);
        assert_eq!((told.recv(), time.waiting()), (Ok(DROPPED), 0));
    }
    // At the deadline it is woken by the clock.
    let (late, begun, told) = stuck();
    let late = pool.submit(late).unwrap();
    begun.recv().unwrap();
    let mut joined = pin!(Partial::new().optional(late).join_async(&cx));
    assert!(joined.as_mut().poll(&mut task::Context::from_waker(Waker::noop())).is_pending());
    time.advance(Duration::from_millis(50));
    let arrived = futures::executor::block_on(joined).unwrap();
    assert!(matches!(arrived.optional[..], [Err(BranchError::Late(Interrupted::DeadlinePassed))]));
    assert_eq!(told.recv(), Ok(DROPPED));
    shut(&pool);
}

#[test]
fn a_partial_that_is_never_joined_cancels_its_branches() {
    let pool = pool(1);
    let (late, begun, told) = stuck();
    let late = pool.submit(late).unwrap();
    begun.recv().unwrap();
    drop(Partial::new().mandatory(late));
    assert_eq!(told.recv(), Ok(DROPPED));
    shut(&pool);
}
