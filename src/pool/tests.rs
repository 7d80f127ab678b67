use super::*;
use crate::BuildError;
use crate::event::{Event, from_fn};
use crate::sync::thread::Builder;
use std::io;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Release};

#[test]
fn a_thread_the_system_refuses_fails_the_build_and_lets_the_others_go() {
    // tokio#8406, #2309: a job orphaned when the system refuses a thread.
    let left = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let seen = left.clone();
    let failed = Pool::builder("refused").threads(3).build_with(move |shared, index| {
        if index == 2 {
            return Err(io::Error::from(io::ErrorKind::WouldBlock));
        }
        let seen = seen.clone();
        Builder::new()
            .spawn(move || {
                let mut seat = shared.queue.seat();
                while shared.queue.pop(&mut seat, None).is_some() {}
                seen.fetch_add(1, std::sync::atomic::Ordering::Release);
            })
            .map(drop)
    });
    match failed {
        Err(BuildError::Spawn { index: 3, wanted: 3, source }) => assert_eq!(source.kind(), io::ErrorKind::WouldBlock),
        other => panic!("{other:?}"),
    }
    while left.load(std::sync::atomic::Ordering::Acquire) < 2 {
        std::thread::yield_now();
    }
}

#[test]
fn a_claimed_job_keeps_its_place_until_its_entry_leaves_the_queue() {
    let pool = Pool::builder("husk").threads(1).queue(1).build().unwrap();
    let inner = pool.clone();
    let (during, after) = pool
        .submit(move || {
            let child = inner.submit(|| 1).unwrap();
            child.join().unwrap();
            let during = inner.stats().in_flight; // this job and the husk
            (during, inner.try_submit(|| 2).is_err())
        })
        .unwrap()
        .join()
        .unwrap();
    assert_eq!((during, after), (2, true));
    pool.shutdown(&Context::background()).unwrap();
    assert_eq!(pool.stats().in_flight, 0);
}

#[test]
fn a_job_that_submits_its_successor_keeps_nothing_of_the_past() {
    fn next(pool: &Pool, left: u32, done: &std::sync::mpsc::Sender<usize>) {
        let (inner, done) = (pool.clone(), done.clone());
        let job = move || {
            done.send(Context::current().token().depth()).unwrap();
            if left > 0 {
                next(&inner, left - 1, &done);
            }
        };
        drop(pool.submit(job).unwrap());
    }
    let pool = Pool::builder("successors").threads(1).queue(1).build().unwrap();
    let (done, depths) = std::sync::mpsc::channel();
    next(&pool, 10_000, &done);
    drop(done);
    let (jobs, deepest) = depths.iter().fold((0, 0), |(n, max), depth| (n + 1, depth.max(max)));
    assert!(jobs == 10_001 && deepest <= 4, "{jobs} jobs, a chain of {deepest}");
}

#[test]
fn an_entry_dropped_in_the_queue_completes_its_handle() {
    let pool = Pool::builder("dropped").threads(1).queue(1).build().unwrap();
    let job = job::cell_of(pool.try_reserve().unwrap(), || 1, &Context::background(), None);
    drop(job::entry(job.clone()));
    assert!(matches!(job.latch().take(), Some(Err(crate::JobError::Shed(_)))));
    drop(job);
    assert_eq!(pool.stats().in_flight, 0);
}

/// A pool whose next threads the system refuses while `refuse` says so.
fn refusing(builder: PoolBuilder, refuse: &std::sync::Arc<std::sync::atomic::AtomicUsize>) -> Pool {
    let (refuse, start) = (refuse.clone(), worker::threads(None));
    let start = move |shared, number| {
        let refused = refuse.fetch_update(AcqRel, Acquire, |left| left.checked_sub(1));
        if refused.is_ok() { Err(io::Error::from(io::ErrorKind::WouldBlock)) } else { start(shared, number) }
    };
    builder.build_with(start).unwrap()
}

#[test]
fn a_thread_the_system_refuses_when_a_pool_grows_is_an_error_with_its_reason() {
    let refuse = std::sync::Arc::default();
    let pool = refusing(Pool::builder("grows").threads(1).queue(0).resizable(4, 0), &refuse);
    pool.ready(&Context::background()).unwrap();
    refuse.store(1, Release);
    match pool.resize(4, 0) {
        Err(BuildError::Spawn { index: 1, wanted: 3, source }) => assert_eq!(source.kind(), io::ErrorKind::WouldBlock),
        other => panic!("{other:?}"),
    }
    assert_eq!((pool.stats().threads, pool.stats().alive), (1, 1));
    let jobs: Vec<_> = (0..2).map(|_| pool.try_reserve()).collect();
    assert!(jobs[0].is_ok() && jobs[1].is_err(), "places only for the threads there are");
    drop(jobs);
    pool.resize(4, 0).unwrap();
    assert_eq!((pool.stats().threads, pool.stats().alive), (4, 4));
    pool.shutdown(&Context::background()).unwrap();
}

#[test]
fn a_worker_that_cannot_be_replaced_stays_and_is_replaced_later() {
    let refuse = std::sync::Arc::default();
    let (tell, told) = std::sync::mpsc::channel();
    let observer = from_fn(move |event| {
        if let Event::WorkerRefused { error, .. } = event {
            tell.send(error.kind()).unwrap();
        }
    });
    let pool = refusing(Pool::builder("stays").threads(1).queue(4).observer(observer), &refuse);
    pool.ready(&Context::background()).unwrap();
    refuse.store(2, Release);
    let thread = || std::thread::current().id();
    let asks = move || {
        assert!(retire_worker());
        thread()
    };
    let first = pool.submit(asks).unwrap().join().unwrap();
    // Refused after this job and after the next; then after two more.
    let ran_on: Vec<_> = (0..4).map(|_| pool.submit(thread).unwrap().join().unwrap()).collect();
    assert_eq!(ran_on[..3], [first; 3]);
    assert_ne!(ran_on[3], first);
    assert_eq!(told.try_iter().collect::<Vec<_>>(), [io::ErrorKind::WouldBlock; 2]);
    assert_eq!(pool.stats().alive, 1);
    pool.shutdown(&Context::background()).unwrap();
}
