//! What joins tokio's tokens and ours is given back: by ours when it is dropped, by either when it is cancelled.
//!
//! One test, in a program of its own: the counter is the whole process's.

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::alloc::System;
use tokio_util::sync::CancellationToken;
use watertight::CancelToken;

#[global_allocator]
static HEAP: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const TIMES: usize = 1_000;

/// How many blocks are left of doing it many times. What is kept of the first time may be kept for the next.
fn left_of(mut f: impl FnMut()) -> isize {
    f();
    let once = || {
        let region = Region::new(HEAP);
        (0..TIMES).for_each(|_| f());
        let change = region.change();
        change.allocations as isize - change.deallocations as isize
    };
    // The test's own harness may allocate on its thread at the same time.
    std::iter::repeat_with(once).take(5).min_by_key(|left| left.abs()).unwrap()
}

#[test]
fn a_bridge_leaves_nothing() {
    assert_eq!(left_of(|| std::mem::forget(Box::new(1))), TIMES as isize, "the counter counts");
    let (ours, theirs) = (CancelToken::new(), CancellationToken::new());

    assert_eq!(left_of(|| drop(CancelToken::from_tokio(&theirs))), 0);
    assert_eq!(left_of(|| drop(CancelToken::from_tokio(&theirs.child_token()))), 0);
    assert_eq!(left_of(|| drop(CancelToken::from_tokio(&theirs).child())), 0);
    assert_eq!(left_of(|| drop(ours.child().to_tokio())), 0);
    assert_eq!(left_of(|| drop(ours.to_tokio())), 0, "one pair, however often it is asked for");
    let of_both = |cancels: fn(&CancelToken, &CancellationToken)| {
        left_of(|| {
            let ours = CancelToken::new();
            let theirs = ours.to_tokio();
            let bridged = CancelToken::from_tokio(&theirs.child_token());
            let (below, back) = (ours.child(), bridged.child().to_tokio());
            cancels(&bridged, &back);
            cancels(&ours, &theirs);
            drop((theirs, below, back));
        })
    };
    assert_eq!(of_both(|_, _| {}), 0);
    assert_eq!(of_both(|ours, _| ours.cancel()), 0);
    assert_eq!(of_both(|_, theirs| theirs.cancel()), 0);
    // tokio's dropped first, and ours dropped first.
    assert_eq!(
        left_of(|| {
            let (ours, theirs) = (CancelToken::new(), CancellationToken::new());
            let bridged = CancelToken::from_tokio(&theirs);
            drop(theirs);
            drop(bridged);
            let theirs = ours.to_tokio();
            drop(ours);
            drop(theirs);
        }),
        0
    );
    assert!(!ours.is_cancelled() && !theirs.is_cancelled());
}
