//! Other people's pool bugs, as our tests: each is named after what went wrong elsewhere, and says where. Those that other
//! tests hold already are in the table of `docs::conformance`.

use futures::executor::block_on;
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::task::{Context as Task, Poll, Waker};
use std::time::Duration;
use watertight::pool::{Partial, Spin, Wake};
use watertight::{CancelToken, Context, JobError, ManualClock, Pool, RejectReason};

fn pool(threads: usize, queue: usize) -> Pool {
    Pool::builder("conformance").threads(threads).queue(queue).build().unwrap()
}

/// A job that says when it has begun and ends when it is let go.
fn gated() -> (impl FnOnce() + Send + 'static, Receiver<()>, Sender<()>) {
    let ((begun, has_begun), (let_go, gate)) = (channel(), channel::<()>());
    let job = move || {
        let _ = begun.send(());
        let _ = gate.recv();
    };
    (job, has_begun, let_go)
}

fn poll<F: Future>(f: Pin<&mut F>) -> Poll<F::Output> {
    f.poll(&mut Task::from_waker(Waker::noop()))
}

fn shut(pool: &Pool) {
    pool.shutdown(&Context::background()).unwrap();
    let s = pool.stats();
    assert_eq!((s.in_flight, s.running, s.queued, s.alive), (0, 0, 0, 0));
    assert_eq!(s.accepted, s.finished + s.panicked + s.shed);
}

/// Counts who is inside, and how many there were at most.
#[derive(Clone, Default)]
struct Inside(Arc<(AtomicUsize, AtomicUsize)>);

impl Inside {
    fn visit(&self, stay: impl FnOnce()) {
        let (now, peak) = &*self.0;
        peak.fetch_max(now.fetch_add(1, SeqCst) + 1, SeqCst);
        stay();
        now.fetch_sub(1, SeqCst);
    }

    fn peak(&self) -> usize {
        self.0.1.load(SeqCst)
    }
}

/// solana-private-channels #247: the caller drops, its permit is freed, the work still runs; so every caller that gives up
/// adds one to what runs.
#[test]
fn callers_that_give_up_by_the_hundred_never_make_room_for_more_work_than_there_are_threads() {
    let (pool, inside) = (pool(2, 1), Inside::default());
    let (mut left, mut refused) = (0, 0);
    for n in 0..2_000 {
        let inside = inside.clone();
        let work = move || inside.visit(std::thread::yield_now);
        match n % 3 {
            // Awaited and dropped, waited for in vain, and submitted and forgotten.
            0 => {
                let mut call = pin!(pool.call_async(work));
                left += usize::from(poll(call.as_mut()).is_pending());
            }
            1 => match pool.try_submit(work) {
                Ok(mut handle) => {
                    left +=
                        usize::from(handle.join_within(&Context::background().with_timeout(Duration::ZERO)).is_none());
                }
                Err(_) => refused += 1,
            },
            _ => drop(pool.try_submit(work)),
        }
        assert!(pool.stats().in_flight <= 3);
    }
    shut(&pool);
    assert!(inside.peak() <= 2, "{} at once on two threads", inside.peak());
    assert!(left > 0, "nobody gave up ({refused} were refused)");
}

/// A way for a job to wait for a child of its own.
type Way = fn(&Pool, Box<dyn FnOnce() + Send>);

/// movement-network/aptos-core #422, rayon #592: whoever waits for its own job "steals" another meanwhile, on top of its own
/// stack, and that one wants the lock it holds. nearcore #9441: the stolen job then runs in the wrong span.
#[test]
fn who_waits_never_runs_foreign_work_on_its_own_stack_under_its_own_lock() {
    struct Tag;
    let ways: [(&str, Way); 8] = [
        ("join", |pool, child| pool.submit(child).unwrap().join().unwrap()),
        ("an awaited handle", |pool, child| block_on(pool.submit(child).unwrap()).unwrap()),
        ("a join within a context", |pool, child| {
            let cx = Context::background().with_timeout(Duration::from_secs(3_600));
            pool.submit(child).unwrap().join_within(&cx).unwrap().unwrap();
        }),
        ("a call", |pool, child| pool.call(child).unwrap()),
        ("a batch", |pool, child| {
            let mut batch = pool.batch();
            batch.submit(child).unwrap();
            assert_eq!(batch.join_all().unwrap().len(), 1);
        }),
        ("a scope", |pool, child| pool.scope(|s| s.submit(child).join().unwrap())),
        ("a map", |pool, child| {
            let done: Vec<_> = pool.map(Some(child), |child| child()).collect();
            assert!(done.iter().all(Result::is_ok) && done.len() == 1);
        }),
        ("a join of branches", |pool, child| {
            let handle = pool.submit(child).unwrap();
            let joined = Partial::new().mandatory(handle).join(&Context::background());
            assert!(joined.is_ok());
        }),
    ];
    for (name, way) in ways {
        let pool = pool(1, 8);
        let (lock, ran_child) = (Arc::new(Mutex::new(())), Arc::new(AtomicUsize::new(0)));
        let (begun, has_begun) = channel();
        let (go, gate) = channel::<()>();
        let waits = {
            let (inner, lock, ran) = (pool.clone(), lock.clone(), ran_child.clone());
            move || {
                let _held = lock.lock().unwrap();
                begun.send(()).unwrap();
                gate.recv().unwrap_err();
                let child = Box::new(move || {
                    assert!(Context::current().value::<Tag>().is_some(), "the child is in its submitter's context");
                    ran.fetch_add(1, SeqCst);
                });
                way(&inner, child);
            }
        };
        let mine = Context::background().with_value(Tag);
        let waits = pool.job().context(&mine).submit(waits).unwrap();
        has_begun.recv().unwrap();
        // Before the child in the queue, and all of them want the lock.
        let foreign: Vec<_> = (0..4)
            .map(|_| {
                let lock = lock.clone();
                let alone = move || lock.try_lock().is_ok() && Context::current().value::<Tag>().is_none();
                pool.submit(alone).unwrap()
            })
            .collect();
        drop(go);
        waits.join().unwrap();
        assert_eq!(ran_child.load(SeqCst), 1, "{name}");
        for job in foreign {
            assert!(job.join().unwrap(), "{name}: a foreign job ran on the waiting stack");
        }
        shut(&pool);
    }
}

/// astral-sh/ruff #10399: the queue was as long as there were threads, and with one thread the overflow was a panic.
#[test]
fn with_one_thread_the_queue_has_a_floor_and_an_overflow_is_a_value() {
    let one = Pool::builder("one").threads(1).build().unwrap();
    assert_eq!(one.stats().queue, 1_024);
    shut(&one);
    for queue in [0, 1, 2] {
        let pool = pool(1, queue);
        let (job, begun, go) = gated();
        pool.execute(job).unwrap();
        begun.recv().unwrap();
        let mut full = 0;
        for n in 0..100 {
            match pool.try_submit(move || n) {
                Ok(handle) => drop(handle),
                Err(refused) => {
                    assert_eq!(refused.reason, RejectReason::Full { limit: 1, waiting: queue });
                    assert_eq!(refused.into_work()(), n);
                    full += 1;
                }
            }
        }
        assert_eq!(full, 100 - queue);
        drop(go);
        shut(&pool);
    }
}

/// tokio #7261, rayon #1020, rust-threadpool #102, ephpm #301: a queue without a bound, which grows as long as there is
/// memory. What a flood leaves in here is what the queue may hold.
#[test]
fn a_flood_leaves_no_more_behind_than_the_queue_may_hold() {
    struct Captured(Arc<AtomicUsize>);
    impl Drop for Captured {
        fn drop(&mut self) {
            self.0.fetch_sub(1, SeqCst);
        }
    }
    let pool = pool(1, 16);
    let (job, begun, go) = gated();
    pool.execute(job).unwrap();
    begun.recv().unwrap();
    let alive = Arc::new(AtomicUsize::new(0));
    let mut accepted = 0;
    for _ in 0..10_000 {
        alive.fetch_add(1, SeqCst);
        let captured = Captured(alive.clone());
        accepted += usize::from(pool.try_execute(move || drop(captured)).is_ok());
        assert!(alive.load(SeqCst) <= 16, "more than the queue may hold are alive");
    }
    assert_eq!((accepted, pool.stats().queued, pool.stats().refused_full), (16, 16, 10_000 - 16));
    drop(go);
    shut(&pool);
    assert_eq!(alive.load(SeqCst), 0);
}

/// conc #107, nifty #152, impress #1663, scheduled-thread-pool #13: nobody who waits for a worker can be called back.
#[test]
fn a_submit_that_waits_for_a_place_ends_with_its_context_and_returns_the_work() {
    let pool = pool(1, 0);
    let (job, begun, go) = gated();
    pool.execute(job).unwrap();
    begun.recv().unwrap();
    let time = ManualClock::new();
    let token = CancelToken::new();
    let by_time = Context::background().with_clock(&time.clock()).with_timeout(Duration::from_secs(1));
    let by_token =
        Context::background().with_clock(&time.clock()).with_token(&token).with_timeout(Duration::from_secs(9));
    std::thread::scope(|s| {
        let waits = |cx: &Context, n: u8| {
            let (pool, cx) = (pool.clone(), cx.clone());
            s.spawn(move || pool.job().context(&cx).submit(move || n).unwrap_err())
        };
        let (late, unwanted) = (waits(&by_time, 1), waits(&by_token, 2));
        while time.waiting() < 2 {
            std::thread::yield_now();
        }
        time.advance(Duration::from_secs(1));
        let late = late.join().unwrap();
        assert_eq!((late.reason, late.into_work()()), (RejectReason::DeadlinePassed, 1));
        token.cancel();
        let unwanted = unwanted.join().unwrap();
        assert!(matches!(unwanted.reason, RejectReason::Cancelled(_)));
        assert_eq!(unwanted.into_work()(), 2);
    });
    drop(go);
    shut(&pool);
    assert_eq!((pool.stats().accepted, pool.stats().refused_ended), (1, 2));
}

/// pond #108, #115, OPA control plane #368: a shutdown and a submitter that waits for room in a bounded queue lock each other
/// up.
#[test]
fn submitters_that_wait_for_room_hear_of_a_shutdown_though_the_only_worker_is_stuck() {
    let pool = pool(1, 1);
    let (job, begun, go) = gated();
    pool.execute(job).unwrap();
    begun.recv().unwrap();
    let queued = pool.submit(|| 1).unwrap();
    let mut awaits = pool.submit_async(|| 2);
    assert!(poll(Pin::new(&mut awaits)).is_pending());
    let time = ManualClock::new(); // which stands still, and shows who waits
    let cx = Context::background().with_clock(&time.clock()).with_timeout(Duration::from_secs(1));
    std::thread::scope(|s| {
        let submit = || pool.job().context(&cx).submit(|| 3).map(drop).unwrap_err().reason;
        let waiters: Vec<_> = (0..3).map(|_| s.spawn(submit)).collect();
        while time.waiting() < 3 {
            std::thread::yield_now();
        }
        let mut stopping = pin!(pool.shutdown_async(&Context::background()));
        assert!(poll(stopping.as_mut()).is_pending());
        for waiter in waiters {
            assert_eq!(waiter.join().unwrap(), RejectReason::ShuttingDown);
        }
        let Poll::Ready(Err(refused)) = poll(Pin::new(&mut awaits)) else { panic!("it was sent away") };
        assert_eq!(refused.reason, RejectReason::ShuttingDown);
        drop(go);
        block_on(stopping).unwrap();
    });
    assert_eq!(queued.join().unwrap(), 1, "what was accepted is done");
}

/// rayon #688, tokio #7501: a shutdown that waits for ever for a job that has begun and does not listen.
#[test]
fn a_shutdown_never_outlasts_its_deadline_whatever_a_job_does() {
    let pool = pool(1, 1);
    let (job, begun, go) = gated();
    let stuck = pool.job().name("deaf").submit(job).unwrap();
    begun.recv().unwrap();
    let time = ManualClock::new();
    let cx = Context::background().with_clock(&time.clock()).with_timeout(Duration::from_secs(4));
    std::thread::scope(|s| {
        let stopping = s.spawn(|| pool.shutdown(&cx).unwrap_err().report);
        while !stopping.is_finished() {
            // Each stage waits on the clock; nothing but time moves it on.
            if time.waiting() > 0 {
                time.advance(Duration::from_secs(1));
            }
            std::thread::yield_now();
        }
        let report = stopping.join().unwrap();
        assert_eq!(report.running[0].name.as_deref(), Some("deaf"));
    });
    assert!(matches!(stuck.join(), Err(JobError::Abandoned)));
    drop(go);
    shut(&pool);
}

/// puma #3067, #1196: a worker idles while others have a backlog. Here there is one queue.
#[test]
fn no_worker_idles_beside_a_backlog_of_another() {
    let pool = pool(2, 64);
    let (job, begun, go) = gated();
    pool.execute(job).unwrap();
    begun.recv().unwrap();
    let jobs: Vec<_> = (0..64).map(|n| pool.submit(move || n).unwrap()).collect();
    for (n, job) in jobs.into_iter().enumerate() {
        assert_eq!(job.join().unwrap(), n); // by the other worker, though the first is stuck
    }
    drop(go);
    shut(&pool);
}

/// vector #26457: permits taken when somebody might call, and hoarded by those who do not.
#[test]
fn a_thousand_idle_clones_and_unpolled_futures_hold_no_place() {
    let pool = pool(1, 1);
    let clones: Vec<Pool> = (0..1_000).map(|_| pool.clone()).collect();
    let unpolled: Vec<_> = clones.iter().map(|pool| (pool.submit_async(|| ()), pool.call_async(|| ()))).collect();
    let reserving: Vec<_> = clones.iter().map(Pool::reserve_async).collect();
    assert_eq!(pool.stats().in_flight, 0);
    assert_eq!(pool.try_submit(|| 7).unwrap().join().unwrap(), 7);
    drop((unpolled, reserving));
    assert_eq!(pool.stats().in_flight, 0);
    shut(&pool);
}

/// apollographql/router #9034: an executor's cooperative budget that is used up reads as overload, and is answered with 429.
#[test]
fn a_task_that_has_used_up_its_executors_budget_finds_a_free_place_all_the_same() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let task = async {
            let (send, mut receive) = tokio::sync::mpsc::unbounded_channel();
            (0..10_000).for_each(|n| send.send(n).unwrap());
            // Until tokio's own primitives pretend that nothing is there.
            while futures::poll!(pin!(receive.recv())).is_ready() {}
            assert!(!receive.is_empty(), "its budget is used up");
            let pool = pool(1, 1);
            let reserved = futures::poll!(&mut pool.reserve_async());
            let Poll::Ready(Ok(slot)) = reserved else { panic!("a free place, and {reserved:?}") };
            drop(slot);
            let submitted = futures::poll!(&mut pool.submit_async(|| 7));
            let Poll::Ready(Ok(handle)) = submitted else { panic!("a free place, and it was not given") };
            while !handle.is_finished() {
                std::thread::yield_now();
            }
            assert!(matches!(futures::poll!(handle), Poll::Ready(Ok(7))));
            shut(&pool);
        };
        tokio::spawn(task).await.unwrap();
    });
}

/// Hystrix #1540: taking a cancelled job out of the queue costs as much as the queue is long, and the queue stays full of
/// them. Here it costs nothing, its closure goes at once, and the worker passes over what is left of it.
#[test]
fn cancelled_jobs_let_go_of_what_they_hold_at_once_and_are_passed_over() {
    let pool = pool(1, 1_000);
    let (job, begun, go) = gated();
    pool.execute(job).unwrap();
    begun.recv().unwrap();
    let held = Arc::new(());
    let jobs: Vec<_> = (0..1_000)
        .map(|_| {
            let held = held.clone();
            pool.submit(move || drop(held)).unwrap()
        })
        .collect();
    jobs.iter().for_each(watertight::JobHandle::cancel);
    assert_eq!(Arc::strong_count(&held), 1);
    assert_eq!(pool.stats().shed, 1_000);
    drop(go);
    shut(&pool);
    assert_eq!(pool.stats().finished, 1);
}

/// getsentry/relay #3840, tokio #2143: a pool for blocking work that grows with its backlog, to hundreds of threads, and keeps
/// them.
#[cfg(target_os = "linux")]
#[test]
fn no_backlog_makes_more_threads_than_there_were_at_the_start() {
    const JOBS: usize = if cfg!(debug_assertions) { 50_000 } else { 1_000_000 };
    /// The names of this pool's threads, as the kernel has them.
    fn threads() -> Vec<String> {
        let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
        let names = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok());
        let mut names: Vec<_> = names.map(|name| name.trim().to_owned()).filter(|n| n.starts_with("grows-")).collect();
        names.sort();
        names
    }
    let expected = ["grows-0", "grows-1", "grows-2"];
    let pool = Pool::builder("grows").threads(3).queue(64).build().unwrap();
    pool.ready(&Context::background()).unwrap();
    let mut looks = 0;
    for n in 0..JOBS {
        match pool.try_execute(move || _ = std::hint::black_box(n)) {
            Ok(()) => {}
            Err(full) => {
                looks += 1;
                if looks % 64 == 1 {
                    assert_eq!(threads(), expected);
                }
                full.into_work()();
            }
        }
    }
    // Panicking ones and blocked ones change nothing either.
    for _ in 0..100 {
        let panics = pool.submit(|| std::panic::resume_unwind(Box::new("on purpose"))).unwrap();
        assert!(matches!(panics.join(), Err::<(), _>(JobError::Panicked(_))));
    }
    let (job, begun, go) = gated();
    pool.execute(job).unwrap();
    begun.recv().unwrap();
    assert_eq!(threads(), expected);
    drop(go);
    shut(&pool);
}

/// Threads without a name in a backtrace, and a stack that overflows: what is asked of every pool sooner or later.
#[test]
fn threads_have_their_pools_name_and_the_stack_that_was_asked_for() {
    fn deep(left: usize) -> usize {
        let page = std::hint::black_box([left as u8; 4096]);
        if left == 0 { 0 } else { deep(left - 1) + usize::from(page[7] == left as u8) }
    }
    let pool = Pool::builder("deep").threads(1).queue(1).stack_size(64 << 20).build().unwrap();
    let name = pool.submit(|| std::thread::current().name().map(str::to_owned)).unwrap().join().unwrap();
    assert_eq!(name.as_deref(), Some("deep-0"));
    // Sixteen megabytes and more: the default of two would not do.
    assert_eq!(pool.submit(|| deep(4_096)).unwrap().join().unwrap(), 4_096);
    shut(&pool);
}

/// rayon #642, crossbeam, Go's pools: little work goes round all workers in turn, and every stack and cache is cold. The last to
/// lie down is woken first.
#[test]
fn little_work_stays_with_few_workers_unless_it_is_to_go_round() {
    let share_of_three = |wake| {
        let pool = Pool::builder("warm").threads(16).queue(4).spin(Spin::Never).wake(wake).build().unwrap();
        pool.ready(&Context::background()).unwrap();
        for n in 0..4_000 {
            assert_eq!(pool.submit(move || n).unwrap().join().unwrap(), n);
        }
        let mut shares = pool.jobs_per_worker();
        shares.sort_unstable();
        let most: u64 = shares.iter().rev().take(3).sum();
        assert_eq!(shares.iter().sum::<u64>(), 4_000);
        shut(&pool);
        most
    };
    let (warm, fair) = (share_of_three(Wake::Lifo), share_of_three(Wake::Fifo));
    assert!(warm > 4_000 * 7 / 10, "three workers did {warm} of 4,000");
    assert!(fair < warm, "in turn, three of sixteen did {fair}");
}
