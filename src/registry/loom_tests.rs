//! Models of getting a compartment while others come and go.

use super::shelf::{Kept, Shelf};
use crate::sync::model::{model, spawn, twin};
use crate::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// What a compartment is to the shelf: something counted.
#[derive(Clone)]
struct Thing(Arc<u32>);

impl Kept for Thing {
    fn is_held_elsewhere(&self) -> bool {
        Arc::strong_count(&self.0) > 1
    }
}

type Things = Arc<Mutex<Shelf<u32, Thing>>>;

/// As the registry does it: looks, builds outside the lock, and puts.
fn get(shelf: &Things, key: u32, now: Instant) -> Option<Thing> {
    if let Some(there) = shelf.lock().get(&key) {
        return Some(there);
    }
    let built = Thing(Arc::new(key));
    let put = shelf.lock().put(key, built, now);
    put.ok().map(|(there, gone)| {
        drop(gone);
        there
    })
}

/// Room for one: whoever has the first key keeps it, or finds the same again.
fn get_or_create_against_evict(now: Instant) {
    let shelf: Things = Arc::new(Mutex::new(Shelf::new(1, Duration::ZERO)));
    drop(get(&shelf, 1, now));
    let other = {
        let shelf = shelf.clone();
        spawn(move || drop(get(&shelf, 2, now)))
    };
    if let Some(mine) = get(&shelf, 1, now) {
        // While it is held nobody takes it away.
        let again = get(&shelf, 1, now).expect("what is in use is there");
        assert!(Arc::ptr_eq(&mine.0, &again.0), "two compartments for one key");
    }
    other.join().unwrap();
    assert!(shelf.lock().len() <= 1);
}

fn of_two_that_build_one_stays(now: Instant) {
    let shelf: Things = Arc::new(Mutex::new(Shelf::new(2, Duration::ZERO)));
    let other = {
        let shelf = shelf.clone();
        spawn(move || get(&shelf, 1, now).unwrap())
    };
    let mine = get(&shelf, 1, now).unwrap();
    let theirs = other.join().unwrap();
    assert!(Arc::ptr_eq(&mine.0, &theirs.0), "two compartments for one key");
}

#[test]
fn loom_what_is_in_use_is_never_evicted() {
    let now = Instant::now();
    model("registry: get-or-create against evict", move || get_or_create_against_evict(now));
    twin("registry: what is in use may go", move || get_or_create_against_evict(now));
}

#[test]
fn loom_one_key_has_one_compartment() {
    let now = Instant::now();
    model("registry: of two that build at once one stays", move || of_two_that_build_one_stays(now));
    twin("registry: who built later replaces who built first", move || of_two_that_build_one_stays(now));
}
