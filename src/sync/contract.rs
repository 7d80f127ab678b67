//! What is checked of both sides of this room: so far the lock.
//!
//! The model must allow at least what the real one allows. Each check is generic over nothing: it uses the names that
//! `sync` exports, so the same body is a stress test with real threads on one side and a loom model on the other.

use super::{Arc, Mutex, thread};

fn spawn<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> impl FnOnce() -> T {
    let handle = thread::Builder::new().spawn(f).expect("a thread for a test");
    move || handle.join().expect("the thread ended well")
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
        super::the_lock_excludes(100_000);
    }
}

#[cfg(all(watertight_loom, not(watertight_shuttle)))]
mod modelled {
    use crate::sync::model::model;

    #[test]
    fn loom_the_model_keeps_the_contract() {
        model("contract: the lock excludes", || super::the_lock_excludes(2));
    }
}
