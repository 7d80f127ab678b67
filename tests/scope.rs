//! Jobs that borrow from the stack that submits them.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::yield_now;
use std::time::Duration;
use watertight::pool::Scope;
use watertight::{CancelCause, CancelToken, Context, Interrupted, JobError, JobHandle, ManualClock, Pool};

const SECOND: Duration = Duration::from_secs(1);

fn pool(threads: usize, queue: usize) -> Pool {
    Pool::builder("scope").threads(threads).queue(queue).build().unwrap()
}

fn until(condition: impl Fn() -> bool) {
    while !condition() {
        yield_now();
    }
}

/// Keeps the pool's only worker, until it is dropped.
struct Stuck {
    _let_go: Sender<()>,
}

impl Stuck {
    fn on(pool: &Pool) -> Self {
        let ((begun, has_begun), (let_go, gate)) = (channel(), channel::<()>());
        let job = move || {
            begun.send(()).unwrap();
            let _ = gate.recv();
        };
        pool.execute(job).unwrap();
        has_begun.recv().unwrap();
        Self { _let_go: let_go }
    }
}

/// The pool is as it was: nothing in flight, and it stops.
fn ends(pool: Pool) {
    until(|| pool.stats().in_flight == 0);
    let stats = pool.stats();
    assert_eq!(stats.accepted, stats.finished + stats.panicked + stats.shed, "{stats:?}");
    pool.shutdown(&Context::background()).unwrap();
}

fn message(panic: &(dyn std::any::Any + Send)) -> &str {
    panic.downcast_ref::<&str>().unwrap()
}

fn panics<R>(f: impl FnOnce() -> R) -> String {
    match catch_unwind(AssertUnwindSafe(f)) {
        Ok(_) => panic!("it must panic"),
        Err(payload) => message(&*payload).to_owned(),
    }
}

#[test]
fn jobs_borrow_what_lasts_longer_and_the_scope_itself() {
    let pool = pool(2, 4);
    let text = String::from("a few words");
    let mut lengths = [0; 3];
    let longest = pool.scope(|s| {
        for (word, length) in text.split(' ').zip(&mut lengths) {
            drop(s.submit(move || *length = word.len()));
        }
        let longest: JobHandle<&str> = s.submit(|| {
            let words = text.split(' ').map(|word| s.submit(move || word)).collect::<Vec<_>>();
            words.into_iter().map(|word| word.join().unwrap()).max_by_key(|word| word.len()).unwrap()
        });
        longest.join().unwrap()
    });
    assert_eq!((lengths, longest), ([1, 3, 5], "words"));
    ends(pool);
}

#[test]
fn a_scope_ends_when_all_its_jobs_are_over_joined_or_not() {
    let pool = pool(3, 4);
    let done = AtomicUsize::new(0);
    for round in 0..200 {
        pool.scope(|s| {
            for n in 0..8 {
                let handle = s.submit(|| {
                    yield_now();
                    done.fetch_add(1, SeqCst)
                });
                match (n + round) % 4 {
                    0 => drop(handle),
                    1 => std::mem::forget(handle),
                    2 => _ = handle.join().unwrap(),
                    _ => _ = s.submit(move || handle.join().unwrap()),
                }
            }
        });
        let jobs = done.swap(0, SeqCst);
        assert_eq!(jobs, 8);
    }
    ends(pool);
}

/// What is submitted from a job after the scope's closure has returned is waited for too.
#[test]
fn jobs_submitted_by_jobs_are_waited_for() {
    fn tree<'s>(s: &'s Scope<'s, '_>, depth: u32, leaves: &'s AtomicUsize) {
        if depth == 0 {
            leaves.fetch_add(1, SeqCst);
            return;
        }
        for _ in 0..2 {
            drop(s.submit(move || tree(s, depth - 1, leaves)));
        }
    }
    for (threads, queue) in [(1, 0), (1, 2), (2, 64), (3, 1)] {
        let pool = pool(threads, queue);
        let leaves = AtomicUsize::new(0);
        pool.scope(|s| tree(s, 8, &leaves));
        assert_eq!(leaves.swap(0, SeqCst), 256);
        let (inner, leaves) = (pool.clone(), Arc::new(leaves));
        let counts = leaves.clone();
        pool.submit(move || inner.scope(|s| tree(s, 8, &counts))).unwrap().join().unwrap();
        assert_eq!(leaves.load(SeqCst), 256);
        until(|| pool.stats().in_flight == 0);
        pool.shutdown(&Context::background()).unwrap();
    }
}

fn nested(pool: &Pool, depth: u32, join: bool) -> u32 {
    if depth == 0 {
        return 1;
    }
    let mut below = 0;
    pool.scope(|s| {
        let job = s.submit(|| below = nested(pool, depth - 1, join));
        if join {
            job.join().unwrap();
        }
    });
    below + 1
}

/// tokio #5889 and rayon #446: a job waits for its children in its own full pool.
#[test]
fn scopes_nest_in_their_own_pool_to_depth_64_on_one_worker() {
    for queue in [0, 1, 64] {
        for join in [true, false] {
            let pool = pool(1, queue);
            let inner = pool.clone();
            assert_eq!(pool.submit(move || nested(&inner, 64, join)).unwrap().join().unwrap(), 65);
            until(|| pool.stats().in_flight == 0);
            pool.shutdown(&Context::background()).unwrap();
        }
    }
}

#[test]
fn a_job_nobody_joined_panics_the_scope_at_its_end() {
    let pool = pool(2, 4);
    let done = AtomicUsize::new(0);
    let said = panics(|| {
        pool.scope(|s| {
            drop(s.submit(|| panic!("nobody joined")));
            drop(s.submit(|| done.fetch_add(1, SeqCst)));
        });
    });
    assert_eq!((said.as_str(), done.load(SeqCst)), ("nobody joined", 1));
    // The handle is dropped after the job has ended.
    let said = panics(|| {
        pool.scope(|s| {
            let handle = s.submit(|| panic!("dropped late"));
            until(|| handle.is_finished());
        });
    });
    assert_eq!(said, "dropped late");
    let joined: Result<(), _> = pool.scope(|s| s.submit(|| panic!("joined")).join());
    assert!(matches!(joined, Err(JobError::Panicked(_))));
    // Who keeps the handle beyond the scope keeps the panic.
    let kept: JobHandle<()> = pool.scope(|s| s.submit(|| panic!("kept")));
    assert!(matches!(kept.join(), Err(JobError::Panicked(_))));
    ends(pool);
}

#[test]
fn a_panic_in_the_closure_cancels_the_rest_waits_for_it_and_goes_on() {
    let pool = pool(1, 8);
    let (tell, told) = channel();
    let (alive, ran) = (Arc::new(()), AtomicUsize::new(0));
    let over = AtomicUsize::new(0);
    let said = panics(|| {
        pool.scope(|s| {
            let (begun, has_begun) = channel();
            drop(s.submit(move || {
                begun.send(()).unwrap();
                tell.send(Context::current().token().wait(&Context::background()).unwrap()).unwrap();
            }));
            has_begun.recv().unwrap();
            for _ in 0..3 {
                let (alive, ran) = (alive.clone(), &ran);
                drop(s.submit(move || {
                    ran.fetch_add(1, SeqCst);
                    drop(alive);
                }));
            }
            drop(s.submit(|| over.fetch_add(1, SeqCst)));
            panic!("in the closure");
        });
    });
    assert_eq!(said, "in the closure");
    assert_eq!(
        told.recv().unwrap(),
        Interrupted::Cancelled(CancelCause::Because("the scope that submitted it panicked"))
    );
    assert_eq!((ran.load(SeqCst), over.load(SeqCst), Arc::strong_count(&alive)), (0, 0, 1));
    assert_eq!(pool.stats().shed, 4);
    ends(pool);
}

#[test]
fn a_cancelled_scope_ends_though_the_only_worker_is_stuck() {
    let pool = pool(1, 4);
    let stuck = Stuck::on(&pool);
    let shed = pool.scope(|s| {
        let handles: Vec<_> = (0..3).map(|n| s.submit(move || n)).collect();
        s.cancel();
        let late = s.submit(|| 9);
        handles
            .into_iter()
            .chain([late])
            .filter(|h| h.is_finished())
            .map(JobHandle::join)
            .filter(Result::is_err)
            .count()
    });
    assert_eq!(shed, 4);
    drop(stuck);
    ends(pool);
}

#[test]
fn a_deadline_sheds_what_is_queued_and_the_scope_ends() {
    let (pool, time) = (pool(1, 4), ManualClock::new());
    let stuck = Stuck::on(&pool);
    let cx = Context::background().with_clock(&time.clock()).with_timeout(SECOND);
    let ran = AtomicUsize::new(0);
    std::thread::scope(|threads| {
        let ends = threads.spawn(|| {
            cx.in_scope(|| {
                pool.scope(|s| {
                    for _ in 0..3 {
                        drop(s.submit(|| ran.fetch_add(1, SeqCst)));
                    }
                });
            });
        });
        until(|| pool.stats().queued == 3);
        time.advance(SECOND);
        ends.join().unwrap();
    });
    assert_eq!((ran.load(SeqCst), pool.stats().shed), (0, 3));
    drop(stuck);
    ends(pool);
}

#[test]
fn a_scoped_job_is_cancelled_alone() {
    let pool = pool(1, 4);
    let stuck = Stuck::on(&pool);
    let outcome = pool.scope(|s| {
        let (first, second) = (s.submit(|| 1), s.submit(|| 2));
        first.cancel();
        drop(stuck);
        (first.join().is_err(), second.join().unwrap())
    });
    assert_eq!(outcome, (true, 2));
    ends(pool);
}

#[test]
fn a_scope_waits_for_places_and_is_never_refused() {
    for (threads, queue) in [(1, 0), (2, 1)] {
        let pool = pool(threads, queue);
        let done = AtomicUsize::new(0);
        pool.scope(|s| {
            for _ in 0..100 {
                drop(s.submit(|| done.fetch_add(1, SeqCst)));
            }
        });
        assert_eq!(done.load(SeqCst), 100);
        let stats = pool.stats();
        assert_eq!((stats.refused_full, stats.accepted), (0, 100));
        // A pool that is shut down has its scopes' jobs run by those who submit them.
        pool.shutdown(&Context::background()).unwrap();
        let here = std::thread::current().id();
        assert!(pool.scope(|s| s.submit(move || std::thread::current().id() == here).join().unwrap()));
        let said = panics(|| pool.scope(|s| drop(s.submit(|| panic!("here")))));
        assert_eq!(said, "here");
    }
}

#[test]
fn a_scope_in_an_ended_context_runs_nothing() {
    let (pool, token) = (pool(1, 4), CancelToken::new());
    token.cancel();
    let cx = Context::background().with_token(&token);
    let shed = cx.in_scope(|| pool.scope(|s| s.submit(|| 1).join()));
    assert!(matches!(shed, Err(JobError::Shed(Interrupted::Cancelled(CancelCause::Requested)))));
    assert_eq!((pool.stats().refused_ended, pool.stats().accepted), (1, 0));
    ends(pool);
}

/// Counts how many there are, and borrows.
struct Alive<'a>(&'a AtomicUsize);

impl<'a> Alive<'a> {
    fn one(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, SeqCst);
        Self(count)
    }
}

impl Drop for Alive<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

/// Whatever becomes of a handle, closure and result are gone when the scope ends: both borrow.
#[test]
fn nothing_borrowed_is_left_when_the_scope_ends() {
    let pool = pool(2, 4);
    for round in 0..500_usize {
        let alive = AtomicUsize::new(0);
        let kept = Mutex::new(Vec::new());
        pool.scope(|s| {
            for n in 0..4 {
                let (captured, alive) = (Alive::one(&alive), &alive);
                let handle = s.submit(move || {
                    drop(captured);
                    Alive::one(alive)
                });
                match (round + n) % 6 {
                    0 => drop(handle),
                    1 => drop(handle.cancel_on_drop()),
                    2 => drop(handle.join()),
                    3 => _ = s.submit(move || drop(handle)),
                    4 => kept.lock().unwrap().push(handle),
                    _ => s.cancel(),
                }
            }
        });
        let left = kept.into_inner().unwrap();
        let with_handle = left.len();
        assert!(alive.load(SeqCst) <= with_handle, "what a handle keeps is there, and nothing else");
        drop(left);
        assert_eq!(alive.load(SeqCst), 0);
    }
    ends(pool);
}

/// The queue's entry of a job that was claimed or shed outlives the scope: it must hold nothing.
#[test]
fn what_the_queue_keeps_of_a_scope_that_is_over_is_empty() {
    let pool = pool(1, 8);
    let inner = pool.clone();
    let job = move || {
        let count = Box::new(AtomicUsize::new(0));
        inner.scope(|s| {
            for n in 0..4 {
                let captured = Alive::one(&count);
                let handle = s.submit(move || captured);
                if n % 2 == 0 {
                    handle.cancel();
                }
            }
        });
        assert_eq!(count.load(SeqCst), 0);
        drop(count); // and then this worker comes to the entries
    };
    pool.submit(job).unwrap().join().unwrap();
    ends(pool);
}

#[test]
fn a_scoped_map_borrows_and_keeps_the_order() {
    let pool = pool(2, 4);
    let words = ["so", "much", "text"].map(String::from);
    let offset = 10;
    let lengths: Vec<usize> =
        pool.scope(|s| s.map(&words, |word| word.len() + offset).collect::<Result<_, _>>().unwrap());
    assert_eq!(lengths, [12, 14, 14]);
    let first = pool.scope(|s| s.map(0..1000, |n| n + offset).next().unwrap().unwrap());
    assert_eq!(first, 10);
    let failed = pool.scope(|s| s.map([1, 2, 3], |n| assert_ne!(n, 2)).filter(Result::is_err).count());
    assert_eq!(failed, 1);
    let inner = pool.clone();
    let sum = move || inner.scope(|s| s.map(0..50, |n| n + offset).map(Result::unwrap).sum::<usize>());
    assert_eq!(pool.submit(sum).unwrap().join().unwrap(), (0..50).map(|n| n + 10).sum());
    until(|| pool.stats().in_flight == 0);
    pool.shutdown(&Context::background()).unwrap();
}

#[test]
fn scopes_of_two_pools_nest() {
    let (outer, inner) = (pool(1, 2), pool(1, 2));
    let sum = AtomicUsize::new(0);
    outer.scope(|a| {
        for n in 0..10 {
            let (inner, sum) = (&inner, &sum);
            drop(a.submit(move || inner.scope(|b| drop(b.submit(|| sum.fetch_add(n, SeqCst))))));
        }
    });
    assert_eq!(sum.load(SeqCst), 45);
    ends(outer);
    ends(inner);
}

#[test]
fn a_scope_against_a_shutdown_loses_no_job() {
    for _ in 0..100 {
        let pool = pool(2, 2);
        let done = AtomicUsize::new(0);
        std::thread::scope(|threads| {
            let (begun, has_begun): (Sender<()>, Receiver<()>) = channel();
            let (pool, done) = (&pool, &done);
            threads.spawn(move || {
                begun.send(()).unwrap();
                pool.scope(|s| (0..20).for_each(|_| drop(s.submit(|| done.fetch_add(1, SeqCst)))));
            });
            has_begun.recv().unwrap();
            pool.shutdown(&Context::background()).unwrap();
        });
        assert_eq!(done.load(SeqCst), 20);
        assert_eq!(pool.stats().in_flight, 0);
    }
}
