//! One set of checks for the queue and the lock, run against both sides of this room.
//!
//! The model must allow at least what the real one allows. Each check is generic over nothing: it uses the names that
//! `sync` exports, so the same body is a stress test with real threads on one side and a loom model on the other.

use super::channel::bounded;
use super::{Arc, Mutex, thread};

fn spawn<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> impl FnOnce() -> T {
    let handle = thread::Builder::new().spawn(f).expect("a thread for a test");
    move || handle.join().expect("the thread ended well")
}

/// A full queue gives the item back and holds exactly its capacity.
fn full_gives_the_item_back() {
    let (tx, rx) = bounded(2);
    assert!(tx.try_send(1).is_ok());
    assert!(tx.try_send(2).is_ok());
    assert_eq!(rx.len(), 2);
    assert_eq!(tx.try_send(3).unwrap_err().into_inner(), 3);
    assert_eq!(rx.recv().ok(), Some(1));
    assert!(tx.try_send(3).is_ok());
    assert_eq!((rx.recv().ok(), rx.try_recv().ok()), (Some(2), Some(3)));
    assert!(rx.try_recv().is_err());
}

/// Two receivers, one sender: every item is received once, and each receiver sees the sender's order.
fn each_item_is_received_once_and_in_order(items: usize) {
    let (tx, rx) = bounded(items);
    let (tx, rx) = (Arc::new(tx), Arc::new(rx));
    let take = |n: usize| {
        let rx = rx.clone();
        spawn(move || (0..n).map(|_| rx.recv().unwrap()).collect::<Vec<usize>>())
    };
    let (a, b) = (take(items / 2), take(items - items / 2));
    for i in 0..items {
        assert!(tx.try_send(i).is_ok());
    }
    let (a, b) = (a(), b());
    assert!(a.is_sorted() && b.is_sorted());
    let mut all = [a, b].concat();
    all.sort_unstable();
    assert_eq!(all, (0..items).collect::<Vec<_>>());
}

/// Two senders: the items of each arrive in its order.
fn fifo_per_producer(items: usize) {
    let (tx, rx) = bounded(2 * items);
    let tx = Arc::new(tx);
    let send = |base: usize| {
        let tx = tx.clone();
        spawn(move || (0..items).for_each(|i| assert!(tx.try_send(base + i).is_ok())))
    };
    let (a, b) = (send(0), send(1000));
    let got: Vec<usize> = (0..2 * items).map(|_| rx.recv().unwrap()).collect();
    a();
    b();
    assert!(got.iter().filter(|i| **i < 1000).is_sorted());
    assert!(got.iter().filter(|i| **i >= 1000).is_sorted());
}

/// The lock excludes.
fn the_lock_excludes(rounds: usize) {
    let count = Arc::new(Mutex::new(0));
    let other = count.clone();
    let add = spawn(move || (0..rounds).for_each(|_| *other.lock() += 1));
    (0..rounds).for_each(|_| *count.lock() += 1);
    add();
    assert_eq!(*count.lock(), 2 * rounds);
}

#[cfg(not(watertight_loom))]
mod real {
    #[test]
    fn the_real_side_keeps_the_contract() {
        super::full_gives_the_item_back();
        for _ in 0..50 {
            super::each_item_is_received_once_and_in_order(1000);
            super::fifo_per_producer(500);
        }
        super::the_lock_excludes(100_000);
    }
}

#[cfg(watertight_loom)]
mod modelled {
    use crate::sync::model::model;

    #[test]
    fn loom_the_model_keeps_the_contract() {
        loom::model(super::full_gives_the_item_back);
        model("contract: each item is received once and in order", || {
            super::each_item_is_received_once_and_in_order(2);
        });
        model("contract: fifo per producer", || super::fifo_per_producer(2));
        model("contract: the lock excludes", || super::the_lock_excludes(2));
    }
}
