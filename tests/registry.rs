//! A million keys through a registry with room for a few: their number is bounded at every moment, what is in use stays, and
//! memory stays flat.
//!
//! One test, in a program of its own: the counter is the whole process's.

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use std::alloc::System;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use watertight::registry::RegistryError;
use watertight::{Bulkhead, Clock, Context, Isolation, Recovery, Registry, Trip};

#[global_allocator]
static HEAP: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const ROOM: usize = 64;
const THREADS: u64 = 4;
/// What each thread keeps in use at any time: together less than there is room for.
const HELD: usize = 8;

fn live_bytes() -> usize {
    let stats = HEAP.stats();
    stats.bytes_allocated.wrapping_sub(stats.bytes_deallocated)
}

/// Calls every held compartment once, and finds it under its key with all its calls counted.
fn is_there(hosts: &Registry<u64>, held: &mut [(u64, u64, Bulkhead)]) {
    for (key, calls, bulkhead) in held {
        bulkhead.call_here(&Context::background(), |_| Ok::<_, ()>(())).unwrap();
        *calls += 1;
        let again = hosts.get(key).unwrap().state();
        assert_eq!((again.requests, again.succeeded), (*calls, *calls), "{key} was evicted while it was in use");
    }
}

/// `keys` new keys, from `next` on, some of which stay in use for a while.
fn ask(hosts: &Registry<u64>, next: &AtomicU64, keys: u64) {
    let mut held: Vec<(u64, u64, Bulkhead)> = Vec::with_capacity(HELD);
    for n in 0..keys {
        let key = next.fetch_add(1, Ordering::Relaxed);
        let bulkhead = hosts.get(&key).unwrap();
        assert!(hosts.len() <= ROOM);
        if n % 1_000 == 0 {
            is_there(hosts, &mut held);
            if held.len() == HELD {
                held.remove(0);
            }
            held.push((key, 0, bulkhead));
        }
    }
    is_there(hosts, &mut held);
}

fn ask_from_everywhere(hosts: &Registry<u64>, next: &AtomicU64, keys: u64) {
    std::thread::scope(|s| {
        (0..THREADS).for_each(|_| _ = s.spawn(|| ask(hosts, next, keys / THREADS)));
    });
}

#[test]
fn a_million_keys_are_a_few_at_a_time_in_flat_memory() {
    let hosts = Registry::with(ROOM, Duration::ZERO, &Clock::system(), |key: &u64| {
        Bulkhead::builder(format!("host-{key}"), Isolation::Permits(4))
            .breaker(Trip::rate(0.5), Recovery::after(Duration::from_secs(5)))
            .timeout(Duration::from_secs(60))
            .build()
    });
    let next = AtomicU64::new(0);
    ask_from_everywhere(&hosts, &next, 20_000);
    let before = live_bytes();
    ask_from_everywhere(&hosts, &next, 1_000_000);
    let grown = live_bytes().saturating_sub(before);
    assert_eq!((next.into_inner(), hosts.len()), (1_020_000, ROOM));
    assert!(grown < 16 << 10, "a million keys left {grown} bytes behind");

    // With all of them in use nobody else gets in, and each comes back as it was.
    let all: Vec<_> = (0..ROOM as u64).map(|key| hosts.get(&key).unwrap()).collect();
    assert!(matches!(hosts.get(&u64::MAX), Err(RegistryError::Full { limit: ROOM })));
    drop(all);
    assert!(hosts.get(&u64::MAX).is_ok());
}
