use super::*;
use crate::BuildError;
use crate::sync::thread::Builder;
use std::io;

#[test]
fn a_thread_the_system_refuses_fails_the_build_and_lets_the_others_go() {
    // tokio#8406, #2309: a job orphaned when the system refuses a thread.
    let left = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let seen = left.clone();
    let failed = Pool::builder("refused").threads(3).build_with(move |shared, index, _| {
        if index == 2 {
            return Err(io::Error::from(io::ErrorKind::WouldBlock));
        }
        let seen = seen.clone();
        Builder::new()
            .spawn(move || {
                let mut seat = shared.queue.seat();
                while shared.queue.pop(&mut seat).is_some() {}
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
