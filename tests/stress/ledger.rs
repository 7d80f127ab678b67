//! What became of everything that a stress run gave to pools: counts, and values that count themselves.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use watertight::{CancelCause, Context, Interrupted, JobError, RejectReason, pool};

/// On cache lines of its own.
#[repr(align(128))]
struct Line(AtomicU64);

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(usize)]
pub(crate) enum Kind {
    // Closures, and the sums of their numbers: a leak beside a double drop would cancel out in a count.
    Made,
    MadeSum,
    Dropped,
    DroppedSum,
    Begun,
    // Results.
    Given,
    GivenSum,
    Taken,
    TakenSum,
    // What came back, and what was in it.
    RefusedSlots,
    RefusedBeyondOne,
    LeftInLine,
    // What jobs did.
    Panicked,
    // What the observer was told.
    ToldShed,
    ToldRejected,
    ToldPanicked,
    // Workers, by the hooks.
    Started,
    Stopped,
    // Kinds of endings, of which each has to be seen.
    Ok,
    JoinedPanic,
    BombInCaptures,
    BombInResult,
    BombInPayload,
    CancelledRunning,
    ShedRequested,
    ShedDropped,
    ShedDeadline,
    ShedDisplaced,
    ShedShutdown,
    ShedBatchFailed,
    Abandoned,
    HandedBack,
    BegunHandedBack,
    CallRejected,
    CallPanicked,
    ScopePanicked,
    Full,
    Ended,
    ShuttingDown,
    Nested,
    RetiredByJob,
    Resized,
    Paused,
    PartialLate,
    RacingShutdown,
    ShutdownOnWorker,
    LastHandleInJob,
    Idle,
    // By the pools' own accounts.
    RanByCaller,
    Displaced,
    DroppedNewest,
    Replaced,
}

const KINDS: usize = Kind::Replaced as usize + 1;
const FIRST_ENDING: usize = Kind::Ok as usize;

static LINES: [Line; KINDS] = [const { Line(AtomicU64::new(0)) }; KINDS];

pub(crate) fn add(kind: Kind, n: u64) {
    LINES[kind as usize].0.fetch_add(n, Relaxed);
}

pub(crate) fn count(kind: Kind) {
    add(kind, 1);
}

pub(crate) fn read(kind: Kind) -> u64 {
    LINES[kind as usize].0.load(Relaxed)
}

/// The least seen of all kinds of endings.
pub(crate) fn least() -> u64 {
    LINES[FIRST_ENDING..].iter().map(|line| line.0.load(Relaxed)).min().unwrap()
}

/// Their names are taken from `Debug`, in the order of the list.
pub(crate) fn endings() -> Vec<(Kind, u64)> {
    use Kind::*;
    let kinds = [
        Ok,
        JoinedPanic,
        BombInCaptures,
        BombInResult,
        BombInPayload,
        CancelledRunning,
        ShedRequested,
        ShedDropped,
        ShedDeadline,
        ShedDisplaced,
        ShedShutdown,
        ShedBatchFailed,
        Abandoned,
        HandedBack,
        BegunHandedBack,
        CallRejected,
        CallPanicked,
        ScopePanicked,
        Full,
        Ended,
        ShuttingDown,
        Nested,
        RetiredByJob,
        Resized,
        Paused,
        PartialLate,
        RacingShutdown,
        ShutdownOnWorker,
        LastHandleInJob,
        Idle,
        RanByCaller,
        Displaced,
        DroppedNewest,
        Replaced,
    ];
    assert_eq!(kinds.len(), KINDS - FIRST_ENDING);
    kinds.into_iter().map(|kind| (kind, read(kind))).collect()
}

/// Spreads numbers, so that sums of them tell which are missing.
fn spread(id: u64) -> u64 {
    (id ^ (id >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9)
}

/// What panics on purpose, and without the hook, which would print it.
const ON_PURPOSE: &str = "stress";

pub(crate) fn panic_on_purpose() -> ! {
    resume_unwind(Box::new(ON_PURPOSE));
}

/// Calls `f`, in which only what panics on purpose panics: whether it did.
pub(crate) fn quietly(f: impl FnOnce()) -> bool {
    match catch_unwind(AssertUnwindSafe(f)) {
        Ok(()) => false,
        Err(payload) if payload.is::<Bomb>() => catch_unwind(AssertUnwindSafe(|| drop(payload))).is_err(),
        Err(payload) if payload.downcast_ref::<&str>() == Some(&ON_PURPOSE) => true,
        Err(payload) => resume_unwind(payload),
    }
}

/// What a job does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Does {
    Nothing,
    Yields,
    Panics,
    /// Its payload panics when it is dropped.
    PanicsWithABomb,
    /// What it captures panics when it is dropped.
    CapturesABomb,
    /// Its result panics when it is dropped.
    GivesABomb,
    /// Until it is cancelled, or for so many looks.
    Listens,
    /// Leaves something in a thread-local, and has its worker replaced.
    Retires,
}

/// In every closure: dropped once, whether it ran or not.
pub(crate) struct Held {
    pub(crate) id: u64,
    pub(crate) does: Does,
}

impl Held {
    pub(crate) fn new(id: u64, does: Does) -> Self {
        count(Kind::Made);
        add(Kind::MadeSum, spread(id));
        Self { id, does }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        count(Kind::Dropped);
        add(Kind::DroppedSum, spread(self.id));
        if self.does == Does::CapturesABomb && !std::thread::panicking() {
            count(Kind::BombInCaptures);
            panic_on_purpose();
        }
    }
}

/// The result of a job.
pub(crate) struct Given {
    pub(crate) id: u64,
    bomb: bool,
}

impl Given {
    fn new(id: u64, bomb: bool) -> Self {
        count(Kind::Given);
        add(Kind::GivenSum, spread(id));
        Self { id, bomb }
    }

    /// Takes it without harm.
    pub(crate) fn take(mut self) -> u64 {
        self.bomb = false;
        self.id
    }
}

impl Drop for Given {
    fn drop(&mut self) {
        count(Kind::Taken);
        add(Kind::TakenSum, spread(self.id));
        if self.bomb && !std::thread::panicking() {
            count(Kind::BombInResult);
            panic_on_purpose();
        }
    }
}

struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        count(Kind::BombInPayload);
        panic_on_purpose();
    }
}

thread_local! {
    static LEFT_BEHIND: Cell<Option<Given>> = const { Cell::new(None) };
    /// What runs here was handed back by a pool: it is none of its jobs.
    static HANDED_BACK: Cell<bool> = const { Cell::new(false) };
}

pub(crate) fn run_handed_back(unrun: pool::Unrun) {
    count(Kind::HandedBack);
    HANDED_BACK.set(true);
    quietly(|| unrun.run());
    HANDED_BACK.set(false);
}

/// The work of a job that borrows what it holds.
pub(crate) fn work(held: &Held) -> Given {
    let a_job = !HANDED_BACK.get();
    count(if a_job { Kind::Begun } else { Kind::BegunHandedBack });
    let panics = matches!(held.does, Does::Panics | Does::PanicsWithABomb | Does::CapturesABomb);
    if a_job && panics {
        count(Kind::Panicked);
    }
    match held.does {
        Does::Nothing | Does::GivesABomb | Does::CapturesABomb => {}
        Does::Yields => std::thread::yield_now(),
        Does::Panics => panic_on_purpose(),
        Does::PanicsWithABomb => resume_unwind(Box::new(Bomb)),
        Does::Listens => {
            let cx = Context::current();
            for _ in 0..100 {
                if cx.check().is_err() {
                    count(Kind::CancelledRunning);
                    break;
                }
                std::thread::yield_now();
            }
        }
        Does::Retires => {
            LEFT_BEHIND.set(Some(Given::new(held.id, false)));
            if pool::retire_worker() {
                count(Kind::RetiredByJob);
            }
        }
    }
    Given::new(held.id, held.does == Does::GivesABomb)
}

/// The work of a job.
pub(crate) fn run(held: Held) -> Given {
    let given = work(&held);
    if held.does == Does::CapturesABomb {
        given.take(); // what becomes of a result that is written before its closure's captures panic is the compiler's business
        drop(held);
        unreachable!("its drop panics");
    }
    given
}

/// The same for one without a result.
pub(crate) fn fire(held: Held) {
    run(held).take();
}

/// What became of a job whose handle was joined.
pub(crate) fn note(id: u64, result: Result<Given, JobError>) {
    match result {
        Ok(given) => {
            assert_eq!(given.take(), id, "another job's result");
            count(Kind::Ok);
        }
        Err(JobError::Panicked(payload)) => {
            assert_eq!(payload.message(), Some(ON_PURPOSE));
            count(Kind::JoinedPanic);
        }
        Err(JobError::Abandoned) => count(Kind::Abandoned),
        Err(JobError::Shed(_)) => {}
        Err(other) => panic!("{other}"),
    }
}

/// The observer is told why each was dropped unrun.
pub(crate) fn shed(why: Interrupted) {
    count(Kind::ToldShed);
    count(match why {
        Interrupted::DeadlinePassed => Kind::ShedDeadline,
        Interrupted::Cancelled(CancelCause::Requested) => Kind::ShedRequested,
        Interrupted::Cancelled(CancelCause::Dropped) => Kind::ShedDropped,
        Interrupted::Cancelled(CancelCause::Displaced) => Kind::ShedDisplaced,
        Interrupted::Cancelled(CancelCause::Shutdown) => Kind::ShedShutdown,
        Interrupted::Cancelled(CancelCause::Because(_)) => Kind::ShedBatchFailed,
        other => panic!("{other}"),
    });
}

/// So many closures came back in one refusal.
pub(crate) fn refused<R>(reason: RejectReason, back: R, closures: u64) {
    count(match reason {
        RejectReason::Full { .. } | RejectReason::TooLarge { .. } => Kind::Full,
        RejectReason::ShuttingDown => Kind::ShuttingDown,
        RejectReason::Cancelled(_) | RejectReason::DeadlinePassed => Kind::Ended,
        other => panic!("{other}"),
    });
    add(Kind::RefusedBeyondOne, closures - 1);
    quietly(move || drop(back));
}
