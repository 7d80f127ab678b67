//! What tokens take from the heap, `CancelToken` beside tokio-util's `CancellationToken`: bytes each, their own handle
//! included, and what a parent keeps of children that are gone.

use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::alloc::System;
use tokio_util::sync::CancellationToken;
use watertight::CancelToken;

#[global_allocator]
static HEAP: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// The bytes that what `make` makes keeps, and those left after it is gone.
fn kept<T>(make: impl FnOnce() -> T) -> (isize, isize) {
    let region = Region::new(HEAP);
    let net = || {
        let change = region.change();
        // stats_alloc counts what a block grew by among the allocated bytes, and what it shrank by among the freed.
        change.bytes_allocated as isize - change.bytes_deallocated as isize
    };
    let made = make();
    let with = net();
    drop(made);
    (with, net())
}

fn row(title: &str, each: usize, (with, after): (isize, isize)) {
    println!("  {title:40} {:8.1} bytes each, {after} left", with as f64 / each as f64);
}

fn main() {
    let width = if std::env::args().any(|argument| argument == "--test") { 10 } else { 10_000 };
    println!("watertight");
    row("a root", 1, kept(CancelToken::new));
    let root = CancelToken::new();
    let child = || (0..width).map(|_| root.child());
    row("a child of one root, handle included", width, kept(|| child().collect::<Vec<_>>()));
    let chain = || {
        let mut all = vec![CancelToken::new()];
        (1..width).for_each(|i| all.push(all[i - 1].child()));
        all
    };
    row("a link of a chain, handle included", width, kept(chain));
    println!("tokio-util");
    row("a root", 1, kept(CancellationToken::new));
    let root = CancellationToken::new();
    let child = || (0..width).map(|_| root.child_token());
    row("a child of one root, handle included", width, kept(|| child().collect::<Vec<_>>()));
    let chain = || {
        let mut all = vec![CancellationToken::new()];
        (1..width).for_each(|i| all.push(all[i - 1].child_token()));
        all
    };
    row("a link of a chain, handle included", width, kept(chain));
}
