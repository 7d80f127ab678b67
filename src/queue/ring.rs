//! The bounded ring of jobs: many push, many pop, first in first out, no lock.
//!
//! Each cell has a stamp that says whose turn it is. A position counts cells within its lap in the low bits and laps
//! above them, so a lap may have any number of cells, one included, without a division. At position `p` a cell's stamp
//! is `p` when it is free for the push of `p`, `p + 1` when it holds the job of `p`, and `p` of the next lap when that
//! job has been taken out. The number of cells is below a lap, so these three never meet.
//!
//! The word of the tail carries two flags below the position. `WAKE`: a sleeper wants a wake; set by a worker that lies
//! down, taken by the push that will wake it. `CLOSED`: nothing is pushed any more. Because a push moves the tail by
//! exchanging this word, it sees both at no extra cost, and whoever sets a flag learns from the same exchange which
//! pushes came before it.
//!
//! **States** of a cell: free → claimed by a push → filled → claimed by a pop → free for the next lap. **Invariants.** 1. Who
//! moved the tail over a cell, and nobody else, may write it until it stamps it as filled. 2. Who moved the head over a
//! filled cell, and nobody else, may take the job out until it stamps the cell as free. 3. A filled cell holds exactly one
//! job; any other holds none. 4. Tail and head only grow, and are only written by read-modify-write. **Locking.** None.
//! Stamps are stored with release and read with acquire: the job travels with them. Who looks again after setting a flag
//! relies on the order of exchanges of the one tail word, which all threads agree on.

use super::job::InlineJob;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{UnsafeCell, broken, moment};
use std::mem::MaybeUninit;

const WAKE: u64 = 1;
const CLOSED: u64 = 2;
/// How many bits of the tail's word are flags.
const FLAGS: u32 = 2;

pub(super) struct Ring<C> {
    tail: Apart<AtomicU64>,
    head: Apart<AtomicU64>,
    cells: Box<[Cell<C>]>,
    /// A lap, in positions: a power of two above the number of cells.
    lap: u64,
}

/// On cache lines of its own, the neighbour that is fetched along included.
#[repr(align(128))]
struct Apart<T>(T);

#[repr(align(64))]
struct Cell<C> {
    stamp: AtomicU64,
    job: UnsafeCell<MaybeUninit<InlineJob<C>>>,
}

#[cfg(not(watertight_loom))]
const _: () = assert!(size_of::<Cell<()>>() == 64);

// SAFETY: a job may be sent (job.rs, invariant 3), and a cell's is touched by one thread at a time (invariants 1 and 2).
unsafe impl<C> Sync for Cell<C> {}

/// Nothing to pop. If `closed`, for ever.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Empty {
    pub(super) closed: bool,
}

impl<C> Ring<C> {
    pub(super) fn new(cells: usize) -> Self {
        assert!(cells > 0, "a ring has a cell");
        let cell = |at: usize| Cell { stamp: AtomicU64::new(at as u64), job: UnsafeCell::new(MaybeUninit::uninit()) };
        Self {
            tail: Apart(AtomicU64::new(0)),
            head: Apart(AtomicU64::new(0)),
            cells: (0..cells).map(cell).collect(),
            lap: (cells as u64 + 1).next_power_of_two(),
        }
    }

    fn index(&self, at: u64) -> usize {
        (at & (self.lap - 1)) as usize
    }

    fn after(&self, at: u64) -> u64 {
        if self.index(at) + 1 < self.cells.len() { at + 1 } else { (at & !(self.lap - 1)) + self.lap }
    }

    /// Queues the job behind all others; true if a sleeper wants a wake for it. Given back if the ring is closed or full.
    pub(super) fn push(&self, job: InlineJob<C>) -> Result<bool, InlineJob<C>> {
        // Acquire, each time: who sees where a later push has come to also sees the pops that made room for that.
        let order = if broken("ring: a push reads the tail relaxed") { Ordering::Relaxed } else { Ordering::Acquire };
        let mut tail = self.tail.0.load(order);
        let mut turn = 0;
        loop {
            if tail & CLOSED != 0 && !broken("ring: a closed one takes jobs") {
                return Err(job);
            }
            let at = tail >> FLAGS;
            let cell = &self.cells[self.index(at)];
            let stamp = cell.stamp.load(Ordering::Acquire);
            if stamp == at {
                let moved = (self.after(at) << FLAGS) | (tail & CLOSED);
                match self.tail.0.compare_exchange_weak(tail, moved, Ordering::AcqRel, order) {
                    Ok(_) => {
                        self.fill(cell, at, job);
                        return Ok(tail & WAKE != 0);
                    }
                    Err(now) => tail = now,
                }
                continue;
            }
            if stamp < at && self.head.0.load(Ordering::Acquire) + self.lap <= at {
                return Err(job);
            }
            // Another push was faster, or the job of a lap ago is just being taken out of this cell.
            moment(&mut turn);
            tail = self.tail.0.load(order);
        }
    }

    /// Writes the job into the cell over which this thread has moved the tail, and says so.
    fn fill(&self, cell: &Cell<C>, at: u64, job: InlineJob<C>) {
        if broken("ring: a cell is called filled before it is") {
            cell.stamp.store(at + 1, Ordering::Release);
        }
        cell.job.with_mut(|place| {
            // SAFETY: this thread alone may write the cell (invariant 1), and it holds no job (invariant 3).
            unsafe { place.write(MaybeUninit::new(job)) };
        });
        cell.stamp.store(at + 1, Ordering::Release);
    }

    /// The oldest job.
    pub(super) fn pop(&self) -> Result<InlineJob<C>, Empty> {
        let mut head = self.head.0.load(Ordering::Relaxed);
        let mut turn = 0;
        loop {
            let cell = &self.cells[self.index(head)];
            let stamp = cell.stamp.load(Ordering::Acquire);
            if stamp == head + 1 {
                match self.claim(head) {
                    Ok(()) => return Ok(self.take(cell, head)),
                    Err(now) => head = now,
                }
                continue;
            }
            if stamp <= head {
                let tail = self.tail.0.load(Ordering::Acquire);
                if tail >> FLAGS == head {
                    return Err(Empty { closed: tail & CLOSED != 0 });
                }
            }
            // Another pop was faster, or a push that has claimed this cell is just writing its job.
            moment(&mut turn);
            head = self.head.0.load(Ordering::Relaxed);
        }
    }

    /// The same for one who looks again and again, and then otherwise: of what a push writes it looks at one line only, the one
    /// that is written once. It may miss a job that others are after, and a close.
    pub(super) fn pop_if_ready(&self) -> Result<InlineJob<C>, Empty> {
        let head = self.head.0.load(Ordering::Relaxed);
        if self.cells[self.index(head)].stamp.load(Ordering::Acquire) == head + 1 {
            return self.pop();
        }
        Err(Empty { closed: false })
    }

    /// Moves the head over a filled cell.
    fn claim(&self, head: u64) -> Result<(), u64> {
        if broken("ring: a pop takes without claiming") {
            self.head.0.swap(self.after(head), Ordering::AcqRel);
            return Ok(());
        }
        let moved = self.after(head);
        self.head.0.compare_exchange_weak(head, moved, Ordering::AcqRel, Ordering::Relaxed).map(drop)
    }

    /// Takes the job out of the cell over which this thread has moved the head, and frees the cell for the next lap.
    fn take(&self, cell: &Cell<C>, at: u64) -> InlineJob<C> {
        if broken("ring: a cell is called free before it is") {
            cell.stamp.store(at + self.lap, Ordering::Release);
        }
        let job = cell.job.with_mut(|place| {
            // SAFETY: the cell holds a job (invariant 3), which this thread alone may take out, once (invariant 2).
            unsafe { place.cast::<InlineJob<C>>().read() }
        });
        cell.stamp.store(at + self.lap, Ordering::Release);
        job
    }

    /// How many jobs were pushed since the start.
    pub(super) fn pushed(&self) -> u64 {
        let at = self.tail.0.load(Ordering::Acquire) >> FLAGS;
        at / self.lap * self.cells.len() as u64 + self.index(at) as u64
    }

    /// Whether a job is queued or just being pushed.
    pub(super) fn has_work(&self) -> bool {
        self.tail.0.load(Ordering::Acquire) >> FLAGS != self.head.0.load(Ordering::Acquire)
    }

    /// Asks for a wake by the next push; true if some push came before and its job may still be there.
    pub(super) fn want_wake(&self) -> bool {
        let tail = self.tail.0.fetch_or(WAKE, Ordering::AcqRel);
        tail >> FLAGS != self.head.0.load(Ordering::Acquire) && !broken("park: who lies down does not look again")
    }

    /// Takes nothing any more.
    pub(super) fn close(&self) {
        self.tail.0.fetch_or(CLOSED, Ordering::AcqRel);
    }
}

impl<C> Drop for Ring<C> {
    fn drop(&mut self) {
        if broken("ring: what is left in it is forgotten") {
            return;
        }
        while let Ok(job) = self.pop() {
            crate::sync::drop_quietly(job);
        }
    }
}
