//! The ring and its jobs on real threads.

use super::job::InlineJob;
use super::ring::{Empty, Ring};
use super::{Queue, Wake};
use crate::sync::Spin;
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

/// Counts its drops.
struct Dropped(Arc<AtomicUsize>);
impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.fetch_add(1, SeqCst);
    }
}

fn counted() -> (Dropped, Arc<AtomicUsize>) {
    let drops = Arc::new(AtomicUsize::new(0));
    (Dropped(drops.clone()), drops)
}

#[repr(align(64))]
#[derive(Clone, Copy, PartialEq, Debug)]
struct Aligned(u8);

/// A closure with these captures, run and not run, beside something that counts its drops.
fn run_and_dropped_once<T: Copy + PartialEq + std::fmt::Debug + Send + 'static>(captured: T) {
    let make = |held: Dropped| {
        InlineJob::new(move |seen: &Cell<Option<T>>| {
            let _held = &held;
            assert_eq!((&raw const captured).addr() % align_of::<T>(), 0);
            seen.set(Some(captured));
        })
    };
    let (held, drops) = counted();
    let job = make(held);
    assert_eq!(drops.load(SeqCst), 0);
    let seen = Cell::new(None);
    job.run(&seen);
    assert_eq!((seen.get(), drops.load(SeqCst)), (Some(captured), 1));
    let (held, drops) = counted();
    drop(make(held));
    assert_eq!(drops.load(SeqCst), 1);
}

#[test]
fn closures_of_any_size_and_alignment_run_or_drop_once() {
    run_and_dropped_once(());
    run_and_dropped_once(1_u8);
    run_and_dropped_once([2_u64; 5]); // with the counter's pointer, 48 bytes
    run_and_dropped_once([3_u64; 6]);
    run_and_dropped_once([4_u64; 100]);
    run_and_dropped_once(Aligned(5));
    run_and_dropped_once(6_u128);
}

#[test]
fn what_is_kept_in_place_is_48_bytes_and_a_word_aligned() {
    assert_eq!(size_of::<InlineJob<()>>(), 56);
}

#[test]
fn a_panic_in_a_job_or_in_its_drop_takes_nothing_else_along() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            if !std::thread::panicking() {
                panic!("bomb");
            }
        }
    }
    let (held, drops) = counted();
    let job = InlineJob::new(move |(): &()| {
        let _held = held;
        panic!("on purpose");
    });
    assert!(catch_unwind(AssertUnwindSafe(|| job.run(&()))).is_err());
    assert_eq!(drops.load(SeqCst), 1);
    let ring = Ring::<()>::new(2);
    let (held, drops) = counted();
    let bomb = Bomb;
    assert!(ring.push(InlineJob::new(move |()| drop(bomb))).is_ok());
    assert!(ring.push(InlineJob::new(move |()| drop(held))).is_ok());
    drop(ring);
    assert_eq!(drops.load(SeqCst), 1);
}

/// Pops everything and tells the numbers in their order.
fn drained(ring: &Ring<Cell<usize>>) -> Vec<usize> {
    let told = Cell::new(0);
    let pops = std::iter::from_fn(|| {
        ring.pop().ok().map(|job| {
            job.run(&told);
            told.get()
        })
    });
    pops.collect()
}

#[test]
fn a_ring_of_any_size_holds_so_many_and_keeps_their_order_over_many_laps() {
    for cells in [1, 2, 3, 4, 5, 7, 8, 9] {
        let ring = Ring::new(cells);
        for round in 0..50 {
            for n in 0..cells {
                assert!(ring.push(InlineJob::new(move |told: &Cell<usize>| told.set(round + n))).is_ok());
            }
            let (held, drops) = counted();
            let refused = ring.push(InlineJob::new(move |_: &Cell<usize>| drop(held)));
            assert_eq!(drops.load(SeqCst), 0, "it came back whole");
            drop(refused.unwrap_err());
            assert_eq!(drops.load(SeqCst), 1);
            assert!(ring.has_work());
            assert_eq!(drained(&ring), (round..round + cells).collect::<Vec<_>>());
            assert!(!ring.has_work());
            // Out of step with the cells, so that every cell is first once.
            if cells > 1 {
                assert!(ring.push(InlineJob::new(|told: &Cell<usize>| told.set(7))).is_ok());
                assert_eq!(drained(&ring), [7]);
            }
        }
        ring.close();
        assert!(ring.push(InlineJob::new(|_: &Cell<usize>| ())).is_err());
        assert_eq!(ring.pop().unwrap_err(), Empty { closed: true });
    }
}

type Log = RefCell<Vec<(usize, usize)>>;

/// Two producers push `jobs` each while two workers take them; what each worker took, in its order.
fn rush(queue: &Queue<Log>, places: usize, jobs: usize) -> Vec<Vec<(usize, usize)>> {
    let taken = AtomicUsize::new(0);
    let pushed = AtomicUsize::new(0);
    let produce = |producer: usize| {
        for n in 0..jobs {
            while taken.fetch_update(SeqCst, SeqCst, |held| (held < places).then_some(held + 1)).is_err() {
                std::thread::yield_now();
            }
            queue.push(InlineJob::new(move |log: &Log| log.borrow_mut().push((producer, n))));
        }
        if pushed.fetch_add(1, SeqCst) == 1 {
            queue.close();
        }
    };
    let consume = || {
        let (log, mut seat) = (Log::default(), queue.seat());
        while let Some(job) = queue.pop(&mut seat, None) {
            job.run(&log);
            taken.fetch_sub(1, SeqCst);
        }
        log.into_inner()
    };
    std::thread::scope(|s| {
        let consumers = [s.spawn(consume), s.spawn(consume)];
        s.spawn(|| produce(0));
        s.spawn(|| produce(1));
        consumers.map(|c| c.join().unwrap()).into()
    })
}

#[test]
fn jobs_of_each_producer_come_in_its_order_and_each_comes_once() {
    const JOBS: usize = 2_000;
    // So few cells that laps are many and workers sleep all the time; then so many that they seldom do.
    for places in [1, 2, 3, 64] {
        let mut met = false;
        // Once, and as often again as it takes until both workers were in it.
        for _ in 0..1_000 {
            let logs = rush(&Queue::new(places, Spin::Brief, Wake::Lifo), places, JOBS);
            for log in &logs {
                for producer in 0..2 {
                    assert!(log.iter().filter(|(from, _)| *from == producer).is_sorted());
                }
            }
            met = logs.iter().all(|log| log.len() > JOBS / 10);
            let mut all = logs.concat();
            all.sort_unstable();
            let each = (0..2).flat_map(|producer| (0..JOBS).map(move |n| (producer, n)));
            assert!(all.into_iter().eq(each));
            if met {
                break;
            }
        }
        assert!(met, "with {places} places the race did not happen");
    }
}
