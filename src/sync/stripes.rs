//! [`Striped`]: counts that many threads add to and few ever read, each thread on a line of its own.
//!
//! A thread takes one of a few *seats* when it first counts, and leaves it when it ends. In the stripes of that seat nobody
//! else writes, so a count there is a load and a store, where one that is shared would be a locked instruction on a line
//! that every other thread wants. Who comes when the seats are taken counts in one of some stripes that are shared.
//!
//! **Invariants.** 1. A seat is one thread's at a time, and what it has written there is seen by the next: the seat is handed
//! on under a lock. 2. No count is lost: a stripe is written by stores, or shared and written by additions, never both.
//! **Locking.** One lock for the seats, held to take or leave one, by nobody who holds another.
//!
//! Models share one stripe: a model that branched at every count would see nothing more for it.

use super::Count;
use ::std::cell::Cell;
use ::std::sync::OnceLock;
use ::std::sync::atomic::Ordering;
use parking_lot::Mutex;

/// On lines of its own: processors fetch them in pairs.
#[derive(Debug)]
#[repr(align(128))]
struct Stripe<const N: usize>([Count; N]);

/// `N` counts.
#[derive(Debug)]
pub(crate) struct Striped<const N: usize> {
    /// One for each seat, then those that are shared.
    stripes: Box<[Stripe<N>]>,
}

impl<const N: usize> Striped<N> {
    pub(crate) fn new() -> Self {
        let all = 0..seats() + shared();
        Self { stripes: all.map(|_| Stripe([const { Count::new(0) }; N])).collect() }
    }

    /// One more of what has that number.
    #[inline]
    pub(crate) fn add(&self, which: usize) {
        match self.stripes.get(MINE.get()) {
            Some(Stripe(counts)) => {
                // Invariant 2.
                counts[which].store(counts[which].load(Ordering::Relaxed).wrapping_add(1), Ordering::Relaxed);
            }
            None => self.add_without(which),
        }
    }

    /// For who has no seat, or none yet.
    #[cold]
    fn add_without(&self, which: usize) {
        if MINE.get() == UNASKED {
            sit_down();
            return self.add(which);
        }
        let one = seats() + MINE.get() % shared();
        self.stripes[one].0[which].fetch_add(1, Ordering::Relaxed);
    }

    /// How many there are, of all threads.
    pub(crate) fn sum(&self, which: usize) -> u64 {
        self.stripes.iter().fold(0, |sum, Stripe(counts)| sum.wrapping_add(counts[which].load(Ordering::Relaxed)))
    }
}

/// Nobody's seat.
const UNASKED: usize = usize::MAX;
/// From here on they are numbers of those who have none, and no stripe's.
const STANDING: usize = usize::MAX / 2;

::std::thread_local! {
    /// This thread's seat.
    static MINE: Cell<usize> = const { Cell::new(UNASKED) };
    static SITTING: Sitting = const { Sitting };
}

/// Gives the seat back at the end of the thread.
struct Sitting;

impl Drop for Sitting {
    fn drop(&mut self) {
        // What other thread-locals still count when they go is counted without a seat.
        let seat = MINE.replace(STANDING);
        if seat < seats() {
            TAKEN.lock().left.push(seat);
        }
    }
}

/// Who sits where.
struct Taken {
    /// So many seats have been taken for the first time.
    ever: usize,
    /// And these have been left since.
    left: Vec<usize>,
    /// So many came when there was none.
    standing: usize,
}

static TAKEN: Mutex<Taken> = Mutex::new(Taken { ever: 0, left: Vec::new(), standing: 0 });

fn sit_down() {
    if SITTING.try_with(|_| ()).is_err() {
        return MINE.set(STANDING); // the thread is going away
    }
    let mut taken = TAKEN.lock();
    let fresh = (taken.ever < seats()).then_some(taken.ever);
    let seat = taken.left.pop().or(fresh);
    match seat {
        Some(seat) if Some(seat) == fresh => taken.ever += 1,
        Some(_) => {}
        None => taken.standing += 1,
    }
    MINE.set(seat.unwrap_or(STANDING + taken.standing % shared()));
}

/// As many threads as are likely to count at once; not more, for each compartment and each of its parts has a line for each.
fn seats() -> usize {
    if cfg!(watertight_loom) { 0 } else { cores().clamp(4, 8) }
}

fn shared() -> usize {
    if cfg!(watertight_loom) { 1 } else { (cores() / 4).clamp(1, 4) }
}

fn cores() -> usize {
    static CORES: OnceLock<usize> = OnceLock::new();
    *CORES.get_or_init(|| ::std::thread::available_parallelism().map_or(1, usize::from))
}

#[cfg(all(test, not(watertight_loom)))]
mod tests {
    use super::*;
    use ::std::sync::Barrier;

    #[test]
    fn no_count_is_lost_with_or_without_a_seat() {
        let (counts, threads) = (Striped::<2>::new(), seats() + 3 * shared());
        let (all_here, rounds) = (Barrier::new(threads), 3);
        for round in 1..=rounds {
            ::std::thread::scope(|s| {
                for _ in 0..threads {
                    s.spawn(|| {
                        counts.add(1);
                        all_here.wait(); // so all have come before any leaves
                        (0..1_000).for_each(|_| counts.add(0));
                    });
                }
            });
            assert_eq!((counts.sum(0), counts.sum(1)), (round * threads as u64 * 1_000, round * threads as u64));
        }
    }

    /// A thread-local of the user's may count when it goes, before or after the seat does.
    #[test]
    fn who_is_going_away_still_counts() {
        struct Last(::std::sync::Arc<Striped<1>>);
        impl Drop for Last {
            fn drop(&mut self) {
                self.0.add(0);
            }
        }
        ::std::thread_local!(static LAST: ::std::cell::RefCell<Option<Last>> = const { ::std::cell::RefCell::new(None) });
        let counts = ::std::sync::Arc::new(Striped::<1>::new());
        for first in [false, true] {
            let mine = counts.clone();
            let thread = ::std::thread::spawn(move || {
                if first {
                    mine.add(0);
                }
                LAST.set(Some(Last(mine.clone())));
                mine.add(0);
            });
            thread.join().unwrap();
        }
        assert_eq!(counts.sum(0), 5);
    }
}
