//! Pools under everything at once: jobs of every kind given in every way, with panics, cancels, deadlines, displacements,
//! pauses, resizes, retirements and shutdowns mixed in. At the end of each pool every count is what it was at its start.
//!
//! `STRESS_JOBS` says how many jobs; a round is one pool, and as many are built and shut down as it takes. Nothing here
//! depends on time: the numbers are fixed, and what has to be seen is waited for by more rounds.
//!
//! One test, in a program of its own: it counts the process's threads and memory.
#![cfg(target_os = "linux")]

#[path = "stress/ledger.rs"]
mod ledger;
#[path = "stress/moves.rs"]
mod moves;

use ledger::{Does, Held, Kind, count, quietly, read};
use moves::Submitter;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use std::alloc::System;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};
use watertight::event::{self, Event};
use watertight::pool::{AtHook, Drain, Hooks, OnFull, ShutdownReport, Spin, StillRunning, Wake};
use watertight::{CancelToken, Context, ManualClock, Pool};

#[global_allocator]
static HEAP: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const SUBMITTERS: u64 = 3;
const MOST_THREADS: usize = 6;
const LONGEST: usize = 192;
const SEC: Duration = Duration::from_secs(1);

pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    pub(crate) fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// How a pool ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    /// After everything, by a shutdown that has nothing to do but wait.
    AfterAll,
    /// While everybody submits.
    Drained,
    /// While everybody submits, by two at once, of which one takes back what never ran.
    Cancelled,
    /// While everybody submits, by somebody without patience.
    Abandoned,
    /// By a deadline that others move.
    ByTheClock,
    /// By one of its own jobs.
    OnWorker,
    /// By a future that is dropped.
    ByATask,
    /// Nobody shuts it down.
    LastHandle,
}

const ENDS: [End; 8] = {
    use End::*;
    [AfterAll, Drained, Cancelled, Abandoned, ByTheClock, OnWorker, ByATask, LastHandle]
};

/// One pool's life.
pub(crate) struct Round {
    each: u64,
    end: End,
    /// Its pool is resized.
    pub(crate) is_elastic: bool,
    pub(crate) time: ManualClock,
    /// By which somebody's jobs are cancelled by somebody else.
    pub(crate) tokens: Mutex<Vec<CancelToken>>,
    closed: AtomicBool,
    /// What jobs are numbered by.
    ids: AtomicU64,
}

impl Round {
    pub(crate) fn id(&self) -> u64 {
        self.ids.fetch_add(1, Relaxed)
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Relaxed)
    }

    pub(crate) fn drops_its_handles(&self) -> bool {
        self.end == End::LastHandle
    }
}

fn observe(event: &Event<'_>) {
    match event {
        Event::Shed { cause, .. } => ledger::shed(*cause),
        Event::Rejected { .. } => count(Kind::ToldRejected),
        Event::Panicked { .. } => count(Kind::ToldPanicked),
        other => panic!("{other:?}"),
    }
    if read(Kind::ToldShed) % 64 == 0 {
        ledger::panic_on_purpose();
    }
}

fn hooks(random: &mut Random) -> Hooks {
    let hooks = Hooks::new().on_start(|_| count(Kind::Started)).on_stop(|_| count(Kind::Stopped));
    match random.below(4) {
        0 => {
            let jobs = AtomicU64::new(0);
            let every = move || jobs.fetch_add(1, Relaxed) % 128 == 0;
            let sometimes = move |_: &AtHook<'_>| {
                if every() {
                    ledger::panic_on_purpose();
                }
            };
            hooks.before(sometimes).idle(|_| ledger::panic_on_purpose())
        }
        1 => hooks.after(|at| assert!(at.worker.is_none_or(|worker| worker < MOST_THREADS))).warm_up(|_| ()),
        _ => hooks,
    }
}

fn on_full(random: &mut Random) -> OnFull {
    match random.below(8) {
        0 => OnFull::Refuse,
        1 => OnFull::CallerRuns,
        2 => OnFull::DropNewest,
        3 => OnFull::DropOldest,
        4 => OnFull::decide(|full| if full.waiting % 2 == 0 { OnFull::Wait } else { OnFull::DropOldest }),
        _ => OnFull::Wait,
    }
}

fn build(random: &mut Random) -> Pool {
    let threads = 1 + random.below(MOST_THREADS as u64) as usize;
    let queue = match random.below(4) {
        0 => random.below(4) as usize,
        _ => random.below(LONGEST as u64) as usize,
    };
    let spin = [Spin::Never, Spin::Brief, Spin::Brief, Spin::Adaptive][random.below(4) as usize];
    let wake = if random.one_in(4) { Wake::Fifo } else { Wake::Lifo };
    let pool = Pool::builder("stress")
        .threads(threads)
        .queue(queue)
        .resizable(MOST_THREADS, LONGEST)
        .on_full(on_full(random))
        .spin(spin)
        .wake(wake)
        .hooks(hooks(random))
        .observer(event::from_fn(observe));
    let pool = if random.one_in(4) { pool.retire_after(64 + random.below(4096)) } else { pool };
    pool.build().unwrap()
}

fn for_ever() -> Context {
    Context::background()
}

fn at_once() -> Context {
    let token = CancelToken::new();
    token.cancel();
    Context::background().with_token(&token)
}

fn report(outcome: Result<ShutdownReport, StillRunning>) -> ShutdownReport {
    outcome.unwrap_or_else(|left| left.report)
}

/// Ends the pool while others are at it, as the round says.
fn end(round: &Round, pool: &Pool) {
    count(Kind::RacingShutdown);
    match round.end {
        End::AfterAll | End::LastHandle => return,
        End::Drained => _ = pool.shutdown(&for_ever()).unwrap(),
        End::Cancelled => std::thread::scope(|s| {
            let now = || pool.stop().drain(Drain::For(Duration::ZERO));
            s.spawn(move || report(now().wait(&for_ever())));
            let left = report(now().hand_back().wait(&for_ever()));
            for (n, unrun) in left.unrun.into_iter().enumerate() {
                if n % 2 == 0 {
                    ledger::run_handed_back(unrun);
                } else {
                    quietly(move || drop(unrun));
                }
            }
        }),
        End::Abandoned => _ = report(pool.shutdown(&at_once())),
        End::ByTheClock => {
            let cx = for_ever().with_clock(&round.time.clock()).with_timeout(SEC * 4);
            let stopping = pool.shutdown_async(&cx);
            (0..4).for_each(|_| round.time.advance(SEC));
            _ = report(futures::executor::block_on(stopping));
        }
        End::OnWorker => {
            let (inner, held) = (pool.clone(), Held::new(round.id(), Does::Nothing));
            let id = held.id;
            let submitted = pool.submit_or_run(move || {
                if report(inner.shutdown(&for_ever())).running.iter().any(|job| job.worker.is_some()) {
                    count(Kind::ShutdownOnWorker);
                }
                ledger::run(held)
            });
            match submitted {
                Ok(handle) => ledger::note(id, handle.join()),
                Err(e) => ledger::refused(e.reason, e, 1),
            }
        }
        End::ByATask => {
            let mut stopping = pool.shutdown_async(&for_ever());
            let _ = futures::executor::block_on(async { futures::poll!(&mut stopping) });
        }
    }
    round.closed.store(true, Relaxed);
}

/// What has to be true of counts before and after.
struct Before {
    at: Vec<u64>,
    started: u64,
    threads: u64,
}

/// What the system says of this process, in one look: a list of its threads misses some while others go.
fn status(line: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|said| said.strip_prefix(line)).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap()
}

fn threads() -> u64 {
    status("Threads:")
}

fn live_bytes() -> isize {
    let now = HEAP.stats();
    now.bytes_allocated as isize - now.bytes_deallocated as isize
}

fn until(what: &str, met: impl Fn() -> bool) {
    for _ in 0..50_000_000_u64 {
        if met() {
            return;
        }
        std::thread::yield_now();
    }
    panic!("never: {what}");
}

const CHECKED: [Kind; 16] = {
    use Kind::*;
    [
        Made,
        MadeSum,
        Dropped,
        DroppedSum,
        Begun,
        Given,
        GivenSum,
        Taken,
        TakenSum,
        RefusedSlots,
        RefusedBeyondOne,
        LeftInLine,
        Panicked,
        ToldShed,
        ToldRejected,
        ToldPanicked,
    ]
};

impl Before {
    fn now() -> Self {
        Self { at: CHECKED.map(read).into(), started: read(Kind::Started), threads: threads() }
    }

    fn since(&self, kind: Kind) -> u64 {
        let at = CHECKED.iter().position(|checked| *checked == kind).unwrap();
        read(kind).wrapping_sub(self.at[at])
    }

    /// After the pool has stopped, by what it says of itself.
    fn check_stats(&self, pool: &Pool) {
        let s = pool.stats();
        assert_eq!((s.in_flight, s.running, s.queued, s.alive), (0, 0, 0, 0), "{s:?}");
        assert_eq!(s.accepted, s.finished + s.panicked + s.shed, "{s:?}");
        assert_eq!(s.finished + s.panicked, self.since(Kind::Begun), "{s:?}");
        assert_eq!(s.panicked, self.since(Kind::Panicked), "{s:?}");
        assert_eq!(s.panicked, self.since(Kind::ToldPanicked), "{s:?}");
        assert_eq!(s.shed, self.since(Kind::ToldShed), "{s:?}");
        let refused = s.refused_full + s.refused_ended + s.refused_shutdown;
        assert_eq!(refused, self.since(Kind::ToldRejected), "{s:?}");
        ledger::add(Kind::RanByCaller, s.ran_by_caller);
        ledger::add(Kind::Displaced, s.displaced);
        ledger::add(Kind::DroppedNewest, s.dropped_newest);
    }

    /// After every thread of the pool is gone.
    fn check_all(&self) {
        until("the pool's threads are gone", || threads() == self.threads);
        assert_eq!(read(Kind::Started), read(Kind::Stopped));
        for (made, gone) in [
            (Kind::Made, Kind::Dropped),
            (Kind::MadeSum, Kind::DroppedSum),
            (Kind::Given, Kind::Taken),
            (Kind::GivenSum, Kind::TakenSum),
        ] {
            assert_eq!(self.since(made), self.since(gone), "{made:?}");
        }
        // Whatever did not run was shed, or came back, or was never taken in.
        let never_ran = self.since(Kind::Made) - self.since(Kind::Begun);
        let refused = self.since(Kind::ToldRejected) - self.since(Kind::RefusedSlots);
        let back = refused + self.since(Kind::RefusedBeyondOne) + self.since(Kind::LeftInLine);
        assert_eq!(never_ran, self.since(Kind::ToldShed) + back, "{refused} refused");
    }
}

fn lines(report: &ShutdownReport) -> (u64, u64, u64) {
    assert_eq!((report.queued, report.running.len(), report.unrun.len()), (0, 0, 0), "{report:?}");
    (report.finished, report.cancelled, report.never_ran)
}

/// One pool, from its start to its end.
fn round(number: u64) {
    let before = Before::now();
    let mut random = Random(number);
    let pool = build(&mut random);
    let threads = pool.stats().threads as u64;
    let round = Round {
        each: 1 << (4 + random.below(13)),
        end: ENDS[(number % 8) as usize],
        is_elastic: !random.one_in(4),
        time: ManualClock::new(),
        tokens: Mutex::new((0..SUBMITTERS).map(|_| CancelToken::new()).collect()),
        closed: AtomicBool::new(false),
        ids: AtomicU64::new(number << 32),
    };
    let kept = (round.end != End::LastHandle).then(|| pool.clone());
    std::thread::scope(|s| {
        for me in 0..SUBMITTERS {
            let (round, pool) = (&round, pool.clone());
            s.spawn(move || {
                let mut submitter = Submitter::new(round, pool, Random(number * SUBMITTERS + me + 1));
                submitter.submit(round.each / 2);
                if me == 0 {
                    submitter.listeners();
                    end(round, submitter.pool());
                }
                submitter.submit(round.each);
                submitter.leave();
            });
        }
        drop(pool);
    });
    if let Some(pool) = kept {
        if round.end == End::AfterAll {
            pool.join().unwrap();
            count(Kind::Idle);
        }
        let first = lines(&pool.shutdown(&for_ever()).unwrap());
        assert_eq!(lines(&pool.shutdown(&for_ever()).unwrap()), first);
        before.check_stats(&pool);
    }
    before.check_all();
    if !round.is_elastic {
        ledger::add(Kind::Replaced, read(Kind::Started) - before.started - threads);
    }
}

fn wanted() -> u64 {
    let default = if cfg!(debug_assertions) { 3_000_000 } else { 8_000_000 };
    std::env::var("STRESS_JOBS").map_or(default, |n| n.replace('_', "").parse().expect("a number"))
}

/// So many rounds until what is allocated once, is.
const SETTLED: u64 = 64;

#[test]
fn after_any_number_of_jobs_every_count_is_back_at_its_start() {
    let (jobs, begun) = (wanted(), Instant::now());
    let each_ending = (jobs / 500_000).clamp(1, 100);
    let ran = || read(Kind::Begun);
    let (mut rounds, mut settled, mut told) = (0, 0, 0);
    while rounds < SETTLED || ran() < jobs || ledger::least() < each_ending {
        assert!(rounds < SETTLED * 8 || ran() < jobs * 8, "not seen: {:?}", ledger::endings());
        round(rounds);
        rounds += 1;
        if rounds == SETTLED {
            settled = live_bytes();
        }
        if ran() / (jobs / 20 + 1) > told {
            told = ran() / (jobs / 20 + 1);
            let rate = ran() as f64 / begun.elapsed().as_secs_f64();
            let (heap, resident) = (live_bytes(), status("VmRSS:"));
            println!("{} jobs, {rounds} pools, {rate:.0} a second, {heap} B of heap, {resident} KiB resident", ran());
        }
    }
    println!("{} jobs ran of {} in {rounds} pools: {:?}", ran(), read(Kind::Made), ledger::endings());
    // The harness keeps what is printed above, and takes 2 KiB when it says that a test runs long: some 6 KiB.
    let grown = live_bytes() - settled;
    assert!(grown.unsigned_abs() < 16_384, "{grown} bytes of heap more than after the first pools");
}
