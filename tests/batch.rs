//! Results taken together: batches, and maps over iterators.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Barrier};
use std::task::{self, Poll, Wake, Waker};
use std::thread::yield_now;
use std::time::Duration;
use watertight::{
    Batch, CancelCause, CancelToken, Context, Interrupted, JobError, ManualClock, Pool, RejectReason, Rejected,
};

const SECOND: Duration = Duration::from_secs(1);

fn pool(threads: usize, queue: usize) -> Pool {
    Pool::builder("batch").threads(threads).queue(queue).build().unwrap()
}

fn until(condition: impl Fn() -> bool) {
    while !condition() {
        yield_now();
    }
}

/// A job that ends when it is let go.
fn gated<T: Send + 'static>(value: T) -> (impl FnOnce() -> T + Send + 'static, Receiver<()>, Sender<()>) {
    let ((begun, has_begun), (let_go, gate)) = (channel(), channel::<()>());
    let job = move || {
        begun.send(()).unwrap();
        let _ = gate.recv();
        value
    };
    (job, has_begun, let_go)
}

/// Keeps the pool's only worker, until it is dropped.
struct Stuck {
    _let_go: Sender<()>,
}

impl Stuck {
    fn on(pool: &Pool) -> Self {
        let (job, begun, let_go) = gated(());
        pool.execute(job).unwrap();
        begun.recv().unwrap();
        Self { _let_go: let_go }
    }
}

/// Counts how many there are.
struct Alive(Arc<AtomicUsize>);

impl Alive {
    fn one(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, SeqCst);
        Self(count.clone())
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

/// The pool is as it was: nothing in flight, and it stops.
fn ends(pool: Pool) {
    until(|| pool.stats().in_flight == 0);
    let stats = pool.stats();
    assert_eq!(stats.accepted, stats.finished + stats.panicked + stats.shed, "{stats:?}");
    pool.shutdown(&Context::background()).unwrap();
}

#[test]
fn values_come_in_the_order_of_submission() {
    let pool = pool(2, 64);
    let mut batch = pool.batch();
    (0..50).for_each(|n| batch.submit(move || n).unwrap());
    assert_eq!(batch.len(), 50);
    assert_eq!(batch.join_all().unwrap(), (0..50).collect::<Vec<_>>());
    ends(pool);
}

#[test]
fn an_empty_batch_has_no_results() {
    let pool = pool(1, 1);
    assert_eq!(pool.batch::<u8>().next().map(drop), None);
    assert_eq!(pool.batch::<u8>().join_all().unwrap(), []);
    assert!(pool.batch::<u8>().join_each().is_empty());
    assert!(pool.batch::<u8>().is_empty());
}

#[test]
fn results_come_as_they_complete() {
    let pool = pool(2, 8);
    let (slow, begun, let_go) = gated(1);
    let mut batch = pool.batch();
    batch.submit(slow).unwrap();
    begun.recv().unwrap();
    batch.submit(|| 2).unwrap();
    batch.submit(|| 3).unwrap();
    assert_eq!(batch.next().unwrap().unwrap(), 2);
    assert_eq!(batch.next().unwrap().unwrap(), 3);
    assert_eq!(batch.size_hint(), (1, Some(1)));
    drop(let_go);
    assert_eq!(batch.next().unwrap().unwrap(), 1);
    assert!(batch.next().is_none());
    batch.submit(|| 4).unwrap(); // it goes on after its end
    assert_eq!(batch.next().unwrap().unwrap(), 4);
    ends(pool);
}

#[test]
fn the_first_error_cancels_the_rest() {
    let pool = pool(2, 8);
    let (told, hears) = channel();
    let (begun, has_begun) = channel();
    let never = Arc::new(AtomicUsize::new(0));
    let (fails, fails_begun, let_it_fail) = gated(());
    let mut batch = pool.batch();
    batch
        .submit(move || {
            begun.send(()).unwrap();
            let why = Context::current().token().wait(&Context::background()).unwrap();
            told.send(why).unwrap();
        })
        .unwrap();
    batch
        .submit(|| {
            fails();
            panic!("one fails")
        })
        .unwrap();
    has_begun.recv().unwrap();
    fails_begun.recv().unwrap();
    for _ in 0..4 {
        let never = never.clone();
        batch.submit(move || _ = never.fetch_add(1, SeqCst)).unwrap();
    }
    drop(let_it_fail);
    let failed = batch.join_all().unwrap_err();
    assert!(matches!(&failed, JobError::Panicked(p) if p.message() == Some("one fails")), "{failed}");
    let why = hears.recv().unwrap();
    assert_eq!(why, Interrupted::Cancelled(CancelCause::Because("another job of its batch failed")));
    until(|| pool.stats().in_flight == 0);
    // The worker that is freed by the failure may have begun the next before the batch has heard of it.
    assert!(never.load(SeqCst) as u64 + pool.stats().shed == 4);
    ends(pool);
}

#[test]
fn join_each_tells_what_became_of_each() {
    let pool = pool(2, 8);
    let mut batch = pool.batch();
    batch.submit(|| 1).unwrap();
    batch.submit(|| panic!("two")).unwrap();
    batch.submit(|| 3).unwrap();
    let each = batch.join_each();
    assert!(matches!(&each[..], [Ok(1), Err(JobError::Panicked(_)), Ok(3)]), "{each:?}");
    ends(pool);
}

/// pond #61 and #138: cancelled with work in its queue, the group never ended.
#[test]
fn a_cancel_while_the_queue_is_not_empty_ends_the_batch() {
    let pool = pool(1, 8);
    let stuck = Stuck::on(&pool);
    let alive = Arc::new(AtomicUsize::new(0));
    let mut batch = pool.batch();
    for _ in 0..8 {
        let captured = Alive::one(&alive);
        batch.submit(move || drop(captured)).unwrap();
    }
    assert_eq!(alive.load(SeqCst), 8);
    batch.cancel();
    assert_eq!(alive.load(SeqCst), 0, "dropped here and now, though the only worker is stuck");
    let cancelled = JobError::Shed(Interrupted::Cancelled(CancelCause::Requested)).to_string();
    assert!(batch.by_ref().all(|result| result.unwrap_err().to_string() == cancelled));
    let refused = batch.try_submit(|| ()).unwrap_err();
    assert_eq!(refused.reason, RejectReason::Cancelled(CancelCause::Requested));
    assert!(batch.join_all().is_ok(), "no results are left");
    drop(stuck);
    ends(pool);
}

#[test]
fn dropping_a_batch_cancels_and_detaching_it_does_not() {
    let pool = pool(1, 8);
    let ran = Arc::new(AtomicUsize::new(0));
    let fill = |batch: &mut Batch<()>| {
        for _ in 0..4 {
            let ran = ran.clone();
            batch.submit(move || _ = ran.fetch_add(1, SeqCst)).unwrap();
        }
    };
    let stuck = Stuck::on(&pool);
    let mut dropped = pool.batch();
    fill(&mut dropped);
    drop(dropped);
    let mut detached = pool.batch();
    drop(stuck);
    fill(&mut detached);
    detached.detach();
    until(|| pool.stats().in_flight == 0);
    assert_eq!((ran.load(SeqCst), pool.stats().shed), (4, 4));
    ends(pool);
}

#[test]
fn results_that_nobody_takes_are_dropped_once() {
    let alive = Arc::new(AtomicUsize::new(0));
    let pool = pool(2, 8);
    for round in 0..50 {
        let mut batch = pool.batch();
        for _ in 0..4 {
            let alive = alive.clone();
            batch.submit(move || Alive::one(&alive)).unwrap();
        }
        match round % 4 {
            0 => drop(batch),
            1 => drop(batch.next()),
            2 => batch.detach(),
            _ => drop(batch.join_all()),
        }
    }
    until(|| pool.stats().in_flight == 0);
    pool.shutdown(&Context::background()).unwrap();
    assert_eq!(alive.load(SeqCst), 0);
}

#[test]
fn a_deadline_sheds_what_is_queued_though_the_worker_is_stuck() {
    let (pool, time) = (pool(1, 8), ManualClock::new());
    let stuck = Stuck::on(&pool);
    let cx = Context::background().with_clock(&time.clock()).with_timeout(SECOND);
    let mut batch = cx.in_scope(|| pool.batch());
    batch.submit(|| 1).unwrap();
    batch.submit(|| 2).unwrap();
    let mover = std::thread::spawn(move || time.advance(SECOND));
    assert!(matches!(batch.join_all(), Err(JobError::Shed(Interrupted::DeadlinePassed))));
    mover.join().unwrap();
    drop(stuck);
    ends(pool);
}

#[test]
fn what_runs_when_the_deadline_passes_is_waited_for() {
    let (pool, time) = (pool(1, 8), ManualClock::new());
    let cx = Context::background().with_clock(&time.clock()).with_timeout(SECOND);
    let mut batch = cx.in_scope(|| pool.batch());
    let (job, begun, let_go) = gated(7);
    batch.submit(job).unwrap();
    batch.submit(|| 8).unwrap();
    begun.recv().unwrap();
    time.advance(SECOND);
    assert!(matches!(batch.next(), Some(Err(JobError::Shed(Interrupted::DeadlinePassed)))));
    drop(let_go);
    assert_eq!(batch.next().unwrap().unwrap(), 7);
    assert!(batch.next().is_none());
    ends(pool);
}

#[test]
fn no_more_are_in_flight_than_the_bound_allows() {
    let pool = pool(4, 64);
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let mut batch = pool.batch().in_flight(2);
    for _ in 0..200 {
        let (running, most) = (running.clone(), most.clone());
        batch
            .submit(move || {
                most.fetch_max(running.fetch_add(1, SeqCst) + 1, SeqCst);
                yield_now();
                running.fetch_sub(1, SeqCst);
            })
            .unwrap();
        assert!(pool.stats().in_flight <= 2);
    }
    assert_eq!(batch.join_all().unwrap().len(), 200);
    assert!(most.load(SeqCst) <= 2);
    ends(pool);
}

#[test]
fn beyond_the_bound_a_batch_refuses_at_once_or_waits() {
    let pool = pool(2, 8);
    let (job, begun, let_go) = gated(1);
    let mut batch = pool.batch().in_flight(0);
    batch.submit(job).unwrap();
    begun.recv().unwrap();
    let refused = batch.try_submit(|| 2).unwrap_err();
    assert_eq!(refused.reason, RejectReason::Full { limit: 1, waiting: 0 });
    assert_eq!(refused.into_work()(), 2);
    drop(let_go);
    batch.submit(|| 3).unwrap();
    assert_eq!(batch.join_all().unwrap(), [1, 3]);
    ends(pool);
}

#[test]
fn a_full_pool_hands_the_closure_back() {
    let pool = pool(1, 0);
    let _stuck = Stuck::on(&pool);
    let mut batch = pool.batch();
    let refused: Rejected<_> = batch.try_submit(|| 9).unwrap_err();
    assert!(matches!(refused.reason, RejectReason::Full { .. }));
    assert_eq!(refused.into_work()(), 9);
    assert_eq!(pool.stats().refused_full, 1);
}

#[test]
fn a_batch_on_the_pools_own_worker_never_waits_for_a_place() {
    let pool = pool(1, 2);
    let inner = pool.clone();
    let outcome = pool
        .submit(move || {
            let mut batch = inner.batch();
            let mut refused = 0;
            for n in 0..5_u32 {
                if let Err(full) = batch.submit(move || n) {
                    refused += 1;
                    full.into_work()();
                }
            }
            (refused, batch.join_all().unwrap())
        })
        .unwrap()
        .join()
        .unwrap();
    assert_eq!(outcome, (3, vec![0, 1])); // two places in the queue
    let inner = pool.clone();
    let bounded = pool
        .submit(move || {
            let mut batch = inner.batch().in_flight(1);
            let refused = (0..2_u32)
                .filter(|n| {
                    batch
                        .submit({
                            let n = *n;
                            move || n
                        })
                        .is_err()
                })
                .count();
            (refused, batch.join_all().unwrap())
        })
        .unwrap()
        .join()
        .unwrap();
    assert_eq!(bounded, (0, vec![0, 1]), "it runs the first to make room for the second");
    ends(pool);
}

fn nested(pool: &Pool, depth: u32) -> u32 {
    if depth == 0 {
        return 1;
    }
    let inner = pool.clone();
    let mut batch = pool.batch();
    batch.submit(move || nested(&inner, depth - 1)).unwrap();
    let as_they_complete = depth % 2 == 0;
    let below = if as_they_complete { batch.next().unwrap().unwrap() } else { batch.join_all().unwrap()[0] };
    below + 1
}

/// tokio #5889 and rayon #446: a job waits for its children in its own full pool.
#[test]
fn batches_nest_in_their_own_pool_to_depth_64_on_one_worker() {
    let pool = pool(1, 64);
    let inner = pool.clone();
    assert_eq!(pool.submit(move || nested(&inner, 64)).unwrap().join().unwrap(), 65);
    ends(pool);
}

struct Woken(AtomicUsize);
impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, SeqCst);
    }
}

#[test]
fn a_task_is_woken_for_the_next_result_and_loses_nothing_when_it_looks_away() {
    let pool = pool(1, 8);
    let (job, begun, let_go) = gated(5);
    let mut batch = pool.batch();
    batch.submit(job).unwrap();
    begun.recv().unwrap();
    let woken = Arc::new(Woken(AtomicUsize::new(0)));
    let waker = Waker::from(woken.clone());
    let mut task = task::Context::from_waker(&waker);
    assert!(pin!(batch.next_async()).poll(&mut task).is_pending()); // and is dropped
    drop(let_go);
    until(|| woken.0.load(SeqCst) > 0);
    match batch.poll_next(&mut task) {
        Poll::Ready(Some(Ok(5))) => {}
        other => panic!("{other:?}"),
    }
    assert!(matches!(batch.poll_next(&mut task), Poll::Ready(None)));
    ends(pool);
}

#[test]
fn a_batch_is_awaited_on_an_executor() {
    let pool = pool(2, 64);
    let outcome = futures::executor::block_on(async {
        let mut batch = pool.batch();
        (0..40_u32).for_each(|n| batch.submit(move || n).unwrap());
        let mut seen = BTreeSet::new();
        for _ in 0..10 {
            seen.insert(batch.next_async().await.unwrap().unwrap());
        }
        seen.extend(batch.join_all_async().await.unwrap());
        seen
    });
    assert_eq!(outcome, (0..40).collect());
    ends(pool);
}

#[test]
fn dropping_the_future_of_all_cancels_them() {
    let pool = pool(1, 8);
    let stuck = Stuck::on(&pool);
    let mut batch = pool.batch();
    batch.submit(|| ()).unwrap();
    {
        let mut all = pin!(batch.join_all_async());
        assert!(all.as_mut().poll(&mut task::Context::from_waker(Waker::noop())).is_pending());
    }
    assert_eq!(pool.stats().shed, 1);
    drop(stuck);
    ends(pool);
}

#[test]
fn a_deadline_wakes_a_task_that_waits_for_a_batch() {
    let (pool, time) = (pool(1, 8), ManualClock::new());
    let stuck = Stuck::on(&pool);
    let cx = Context::background().with_clock(&time.clock()).with_timeout(SECOND);
    let mut batch = cx.in_scope(|| pool.batch());
    batch.submit(|| ()).unwrap();
    let woken = Arc::new(Woken(AtomicUsize::new(0)));
    let waker = Waker::from(woken.clone());
    let mut task = task::Context::from_waker(&waker);
    assert!(batch.poll_next(&mut task).is_pending());
    time.advance(SECOND);
    assert_eq!(woken.0.load(SeqCst), 1);
    assert!(matches!(batch.poll_next(&mut task), Poll::Ready(Some(Err(JobError::Shed(Interrupted::DeadlinePassed))))));
    assert_eq!(time.waiting(), 0);
    drop(stuck);
    ends(pool);
}

#[test]
fn batches_stay_small_however_many_pass_a_slow_one() {
    let pool = pool(2, 8);
    let (slow, begun, let_go) = gated(u32::MAX);
    let mut batch = pool.batch();
    batch.submit(slow).unwrap();
    begun.recv().unwrap();
    for n in 0..1000 {
        batch.submit(move || n).unwrap();
        assert_eq!(batch.next().unwrap().unwrap(), n);
    }
    drop(let_go);
    assert_eq!(batch.join_all().unwrap(), [u32::MAX]);
    ends(pool);
}

#[test]
fn a_map_keeps_the_order_of_its_input() {
    let pool = pool(3, 8);
    let doubled: Vec<u32> = pool.map(0..500, |n| n * 2).collect::<Result<_, _>>().unwrap();
    assert_eq!(doubled, (0..500).map(|n| n * 2).collect::<Vec<_>>());
    let seen: BTreeSet<u32> = pool.map_unordered(0..500, |n| n * 2).map(Result::unwrap).collect();
    assert_eq!(seen, (0..500).map(|n| n * 2).collect());
    assert_eq!(pool.map(0..0, |n: u32| n).count(), 0);
    assert_eq!(pool.map(0..7, |n: u32| n).size_hint(), (7, Some(7)));
    ends(pool);
}

/// Counts what is pulled from it; it never ends.
fn endless() -> (impl Iterator<Item = usize>, Rc<Cell<usize>>) {
    let pulled = Rc::new(Cell::new(0));
    let count = pulled.clone();
    let input = std::iter::from_fn(move || {
        count.set(count.get() + 1);
        Some(count.get())
    });
    (input, pulled)
}

#[test]
fn a_consumer_that_stops_pulling_stops_the_input() {
    let pool = pool(2, 64);
    let (input, pulled) = endless();
    let mut map = pool.map(input, |n| n);
    assert_eq!(pulled.get(), 0, "nothing happens before the first result is asked for");
    assert_eq!(map.next().unwrap().unwrap(), 1);
    assert_eq!(pulled.get(), 8, "four for each thread");
    assert_eq!(map.next().unwrap().unwrap(), 2);
    assert_eq!(pulled.get(), 9);
    let (input, pulled) = endless();
    let mut map = pool.map(input, |n| n).in_flight(3);
    assert_eq!(map.next().unwrap().unwrap(), 1);
    assert_eq!(pulled.get(), 3);
    let (input, pulled) = endless();
    let mut map = pool.map_unordered(input, |n| n).in_flight(3);
    map.next().unwrap().unwrap();
    assert_eq!(pulled.get(), 3);
}

#[test]
fn the_input_is_pulled_no_further_than_places_allow() {
    let pool = pool(1, 2);
    let (job, begun, let_go) = gated(());
    pool.execute(job).unwrap();
    begun.recv().unwrap();
    let pulled = Arc::new(AtomicUsize::new(0));
    let count = pulled.clone();
    let input = std::iter::repeat_with(move || count.fetch_add(1, SeqCst) + 1);
    let mut map = pool.map(input, |n| n).in_flight(100);
    let freed = std::thread::spawn(move || {
        until(|| pulled.load(SeqCst) >= 3);
        (0..1_000).for_each(|_| std::thread::yield_now());
        let pulled = pulled.load(SeqCst);
        drop(let_go);
        pulled
    });
    assert_eq!(map.next().unwrap().unwrap(), 1);
    assert_eq!(freed.join().unwrap(), 3, "two places and one beyond, until one comes free");
    drop(map);
    ends(pool);
}

#[test]
fn a_panic_is_the_item_in_its_place() {
    let pool = pool(2, 8);
    let results: Vec<_> = pool.map(0..4, |n| if n == 2 { panic!("two") } else { n }).collect();
    assert!(matches!(&results[..], [Ok(0), Ok(1), Err(JobError::Panicked(_)), Ok(3)]), "{results:?}");
    let failed = pool.map_unordered(0..4, |n| if n == 2 { panic!("two") } else { n }).filter(Result::is_err).count();
    assert_eq!(failed, 1);
    ends(pool);
}

#[test]
fn every_item_gives_one_result_also_when_the_context_ends() {
    for ordered in [true, false] {
        let (pool, token) = (pool(1, 8), CancelToken::new());
        let cx = Context::background().with_token(&token);
        let mut results: Box<dyn Iterator<Item = Result<u32, JobError>>> = cx.in_scope(|| match ordered {
            true => Box::new(pool.map(0..20_u32, |n| n)) as _,
            false => Box::new(pool.map_unordered(0..20_u32, |n| n)) as _,
        });
        assert_eq!(results.next().unwrap().unwrap(), 0);
        token.cancel();
        let rest: Vec<_> = results.collect();
        assert_eq!(rest.len(), 19);
        let shed = rest.iter().filter(|r| matches!(r, Err(JobError::Shed(_)))).count();
        assert!(shed >= 19 - 4, "{shed}");
        ends(pool);
    }
}

#[test]
fn a_pool_that_shuts_down_sheds_the_rest_of_a_map() {
    let pool = pool(1, 8);
    let mut map = pool.map(0..20, |n| n);
    assert_eq!(map.next().unwrap().unwrap(), 0);
    pool.shutdown(&Context::background()).unwrap();
    let (done, shed): (Vec<_>, Vec<_>) = map.partition(Result::is_ok);
    assert_eq!(done.len() + shed.len(), 19);
    let shutdown =
        |r: &Result<i32, JobError>| matches!(r, Err(JobError::Shed(Interrupted::Cancelled(CancelCause::Shutdown))));
    assert!(shed.iter().all(shutdown), "{shed:?}");
}

#[test]
fn an_item_of_a_map_that_is_refused_may_panic_when_it_is_dropped() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("dropped, as planned");
        }
    }
    let pool = pool(1, 8);
    let input = || std::iter::repeat_with(|| Bomb).take(3);
    let (ordered, unordered) = (pool.map(input(), drop), pool.map_unordered(input(), drop));
    pool.shutdown(&Context::background()).unwrap();
    assert_eq!(ordered.filter(Result::is_err).count(), 3);
    assert_eq!(unordered.filter(Result::is_err).count(), 3);
    assert_eq!(pool.stats().refused_shutdown, 6);
}

#[test]
fn dropping_a_map_cancels_what_is_queued_and_what_runs() {
    for ordered in [true, false] {
        let pool = pool(1, 8);
        let (tell, told) = channel();
        let f = move |n: u32| {
            if n == 1 {
                tell.send(Context::current().token().wait(&Context::background()).unwrap()).unwrap();
            }
        };
        let mut results: Box<dyn Iterator<Item = Result<(), JobError>>> = match ordered {
            true => Box::new(pool.map(0..9, f).in_flight(5)) as _,
            false => Box::new(pool.map_unordered(0..9, f).in_flight(5)) as _,
        };
        results.next().unwrap().unwrap();
        until(|| pool.stats().running == 1);
        drop(results);
        assert_eq!(told.recv().unwrap(), Interrupted::Cancelled(CancelCause::Dropped));
        until(|| pool.stats().in_flight == 0);
        assert_eq!(pool.stats().shed, 3, "the first was taken, the second ran");
        ends(pool);
    }
}

#[test]
fn maps_of_one_pool_may_feed_one_another() {
    let pool = pool(1, 0); // one place for both
    let chained = pool.map(pool.map(0..50, |n: u32| n + 1), |n| n.unwrap() * 2);
    let sum: u32 = chained.map(Result::unwrap).sum();
    assert_eq!(sum, (0..50).map(|n| (n + 1) * 2).sum());
    ends(pool);
}

#[test]
fn a_map_on_the_pools_own_worker_completes_with_one_thread() {
    for queue in [0, 1, 8] {
        let pool = pool(1, queue);
        let inner = pool.clone();
        let sums = pool
            .submit(move || {
                let ordered: Vec<u32> = inner.map(0..20, |n| n).map(Result::unwrap).collect();
                let unordered: u32 = inner.map_unordered(0..20, |n| n).map(Result::unwrap).sum();
                (ordered, unordered)
            })
            .unwrap();
        assert_eq!(sums.join().unwrap(), ((0..20).collect(), 190));
        until(|| pool.stats().in_flight == 0);
        pool.shutdown(&Context::background()).unwrap();
    }
}

#[test]
fn what_is_dropped_at_any_moment_leaves_nothing() {
    let alive = Arc::new(AtomicUsize::new(0));
    let pool = pool(2, 4);
    for round in 0..300_usize {
        let items = (0..6).map(|_| Alive::one(&alive)).collect::<Vec<_>>();
        let take = round % 7;
        match round % 3 {
            0 => drop(pool.map(items, |item| item).take(take).collect::<Vec<_>>()),
            1 => drop(pool.map_unordered(items, |item| item).take(take).collect::<Vec<_>>()),
            _ => {
                let mut batch = pool.batch().in_flight(1 + round % 4);
                items.into_iter().for_each(|item| batch.submit(move || item).unwrap());
                drop(batch.by_ref().take(take).collect::<Vec<_>>());
            }
        }
    }
    ends(pool);
    assert_eq!(alive.load(SeqCst), 0);
}

#[test]
fn threads_that_fill_and_drop_batches_against_a_shutdown_end() {
    for _ in 0..50 {
        let pool = pool(2, 4);
        let start = Arc::new(Barrier::new(3));
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let (pool, start) = (pool.clone(), start.clone());
                std::thread::spawn(move || {
                    start.wait();
                    let mut batch = pool.batch();
                    let accepted = (0..20).filter(|_| batch.submit(|| ()).is_ok()).count();
                    assert_eq!(batch.join_each().iter().filter(|r| r.is_ok()).count(), accepted);
                })
            })
            .collect();
        start.wait();
        pool.shutdown(&Context::background()).unwrap();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(pool.stats().in_flight, 0);
    }
}
