//! A compartment that is resized while it is in use.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::channel;
use std::task::{Context as Task, Poll, Wake, Waker};
use std::time::Duration;
use watertight::bulkhead::BulkheadBuilder;
use watertight::permit::Quota;
use watertight::{Bulkhead, CallError, Context, Isolation, Limit, Pool, RejectReason};

fn plain(isolation: Isolation) -> BulkheadBuilder {
    Bulkhead::builder("resized", isolation).timeout(Duration::from_secs(3_600))
}

/// May grow as far as the tests do.
fn growing(isolation: Isolation, at_once: usize, queue: usize) -> BulkheadBuilder {
    let threads = matches!(isolation, Isolation::Threads(_));
    if threads { plain(isolation).resizable(at_once, queue) } else { plain(isolation) }
}

fn poll<F: Future + Unpin>(f: &mut F) -> Poll<F::Output> {
    Pin::new(f).poll(&mut Task::from_waker(Waker::noop()))
}

#[test]
fn a_larger_compartment_serves_who_waits_and_a_smaller_one_takes_nothing_away() {
    for isolation in [Isolation::Threads(1), Isolation::Permits(1)] {
        let it = growing(isolation, 4, 8).queue(2).build().unwrap();
        let cx = Context::background();
        let first = it.admit(&cx).unwrap();
        let mut waiting = [it.admit_async(&cx), it.admit_async(&cx)];
        assert!(waiting.iter_mut().all(|wait| poll(wait).is_pending()));
        assert_eq!(it.try_admit(&cx).unwrap_err(), RejectReason::Full { limit: 1, waiting: 2 });
        it.resize(3, 1).unwrap();
        let served: Vec<_> = waiting
            .iter_mut()
            .map(|wait| match poll(wait) {
                Poll::Ready(admission) => admission.unwrap(),
                Poll::Pending => panic!("there is a permit for it"),
            })
            .collect();
        assert_eq!((it.state().limit, it.state().queue, it.state().running), (3, 1, 3));
        it.resize(1, 0).unwrap();
        assert_eq!((it.state().limit, it.state().running), (1, 3), "what runs goes on");
        drop(served);
        assert!(it.call_here(&cx, |_| Ok::<_, ()>(())).is_err(), "one still runs, and that is as many as may");
        drop(first);
        assert!(it.call_here(&cx, |_| Ok::<_, ()>(())).is_ok());
        let held = it.admit(&cx).unwrap();
        assert_eq!(it.try_admit(&cx).unwrap_err(), RejectReason::Full { limit: 1, waiting: 0 });
        drop(held);
    }
}

#[test]
fn sizes_that_make_no_sense_name_their_range_and_change_nothing() {
    let said = |e: watertight::BuildError| e.to_string();
    let threads = plain(Isolation::Threads(2)).queue(1).resizable(3, 4).build().unwrap();
    assert_eq!(said(threads.resize(0, 1).unwrap_err()), "at_once is 0, must be 1 to 3");
    assert_eq!(said(threads.resize(4, 1).unwrap_err()), "at_once is 4, must be 1 to 3");
    assert_eq!(said(threads.resize(2, 5).unwrap_err()), "queue is 5, must be 0 to 4");
    let fixed = plain(Isolation::Threads(2)).build().unwrap();
    assert_eq!(said(fixed.resize(3, 0).unwrap_err()), "at_once is 3, must be 1 to 2");
    let permits = plain(Isolation::Permits(2)).queue(1).build().unwrap();
    assert!(said(permits.resize(0, 1).unwrap_err()).starts_with("at_once is 0, must be 1 to 2147483647"));
    assert!(said(permits.resize(1, usize::MAX).unwrap_err()).starts_with("queue is"));
    for it in [threads, permits] {
        assert_eq!((it.state().limit, it.state().queue), (2, 1));
    }
    let less = plain(Isolation::Threads(4)).resizable(3, 0).build().unwrap_err();
    assert_eq!(said(less), "resizable threads is 3, must be 4 to 16384");
    let permits = plain(Isolation::Permits(4)).resizable(8, 0);
    let never_looked_at = "resizable is for threads: a compartment of permits takes any size";
    assert_eq!([said(permits.check().unwrap_err()), said(permits.build().unwrap_err())], [never_looked_at; 2]);
}

/// Random sizes while calls of every form come in: never more at once than the largest, nothing is stranded, and in the end
/// it is as large as was said last.
#[test]
fn random_sizes_under_load_strand_nobody_and_the_dependency_never_sees_more_than_the_largest() {
    const MOST: usize = 4;
    for isolation in [Isolation::Threads(1), Isolation::Permits(1)] {
        let it = growing(isolation.clone(), MOST, 8).queue(8).build().unwrap();
        let (now, peak) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (done, is_done) = channel::<()>();
        std::thread::scope(|s| {
            for thread in 0..4 {
                let (it, now, peak, done, by_thread) =
                    (&it, &now, &peak, done.clone(), matches!(isolation, Isolation::Threads(_)));
                s.spawn(move || {
                    let cx = Context::background();
                    for n in 0..1_500 {
                        let (now, peak) = (now.clone(), peak.clone());
                        let work = move |_: &Context| {
                            peak.fetch_max(now.fetch_add(1, SeqCst) + 1, SeqCst);
                            std::thread::yield_now();
                            now.fetch_sub(1, SeqCst);
                            Ok::<_, ()>(())
                        };
                        let out = match (thread + n) % 3 {
                            0 if by_thread => it.call(&cx, work),
                            1 => futures::executor::block_on(it.call_async(&cx, |cx| std::future::ready(work(&cx)))),
                            _ => it.call_here(&cx, work),
                        };
                        assert!(matches!(out, Ok(()) | Err(CallError::Rejected(RejectReason::Full { .. }))), "{out:?}");
                    }
                    drop(done);
                });
            }
            drop(done);
            let mut seed = 9_u64;
            while is_done.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                it.resize(1 + (seed >> 33) as usize % MOST, (seed >> 50) as usize % 9).unwrap();
                std::thread::yield_now();
            }
        });
        assert!(peak.load(SeqCst) <= MOST);
        it.resize(2, 1).unwrap();
        while it.state().running + it.state().queued > 0 {
            std::thread::yield_now();
        }
        let cx = Context::background();
        let all: Vec<_> = std::iter::from_fn(|| it.try_admit(&cx).ok()).collect();
        let mut line: Vec<_> = (0..3).map(|_| it.admit_async(&cx)).collect();
        assert_eq!(
            (all.len(), line.iter_mut().filter_map(|wait| poll(wait).is_pending().then_some(())).count()),
            (2, 1)
        );
    }
}

#[test]
fn a_compartment_follows_a_quota_of_registered_workers() {
    let quota = Quota::new(0.5, Limit::new(1)).unwrap();
    let it = plain(Isolation::Permits(1)).build().unwrap();
    let mut workers = Vec::new();
    for permits in [1, 1, 2, 2, 3] {
        workers.push(quota.register());
        it.resize(quota.permits(), 0).unwrap();
        assert_eq!(it.state().limit, permits);
    }
}

/// A waker is the executor's code: it may call what has woken it.
#[test]
fn a_waker_may_resize() {
    struct Resizes<F: Fn()>(F, AtomicUsize);
    impl<F: Fn() + Send + Sync> Wake for Resizes<F> {
        fn wake(self: Arc<Self>) {
            (self.0)();
            self.1.fetch_add(1, SeqCst);
        }
    }
    let it = plain(Isolation::Permits(1)).queue(2).build().unwrap();
    let cx = Context::background();
    let held = it.admit(&cx).unwrap();
    let again = it.clone();
    let waker = Arc::new(Resizes(move || again.resize(3, 2).unwrap(), AtomicUsize::new(0)));
    let mut wait = it.admit_async(&cx);
    assert!(Pin::new(&mut wait).poll(&mut Task::from_waker(&waker.clone().into())).is_pending());
    it.resize(2, 2).unwrap();
    assert_eq!((waker.1.load(SeqCst), it.state().limit), (1, 3));
    drop((held, wait));

    let pool = Pool::builder("resized").threads(1).queue(0).resizable(2, 4).build().unwrap();
    let held = pool.reserve().unwrap();
    let again = pool.clone();
    let waker = Arc::new(Resizes(move || again.resize(1, 4).unwrap(), AtomicUsize::new(0)));
    let mut wait = pool.reserve_async();
    assert!(Pin::new(&mut wait).poll(&mut Task::from_waker(&waker.clone().into())).is_pending());
    pool.resize(1, 1).unwrap();
    assert_eq!((waker.1.load(SeqCst), pool.stats().queue), (1, 4));
    drop((held, wait));
}
