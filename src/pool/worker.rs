//! The worker's loop. No panic crosses into it: user code is caught where it runs, and what is left of a panic that came
//! from anywhere else is caught here, so the same thread goes on.

use super::shared::Shared;
use super::stop::Unrun;
use crate::context::Home;
use crate::error::Interrupted;
use crate::sync::{Arc, quietly, thread};
use std::cell::{Cell, RefCell};
use std::io;

/// The bytes of a thread's name that the kernel keeps.
const KERNEL_KEEPS: usize = 15;

/// `<pool>-<n>` within what the kernel keeps: the pool's name is cut, the number never.
pub(super) fn thread_name(pool: &str, index: usize) -> String {
    let number = format!("-{index}");
    let mut cut = pool.len().min(KERNEL_KEEPS - number.len());
    while !pool.is_char_boundary(cut) {
        cut -= 1;
    }
    format!("{}{number}", &pool[..cut])
}

pub(super) fn start(shared: Arc<Shared>, index: usize, stack_size: Option<usize>) -> io::Result<()> {
    let mut builder = thread::Builder::new().name(thread_name(&shared.name, index));
    if let Some(bytes) = stack_size {
        builder = builder.stack_size(bytes);
    }
    builder.spawn(move || work(shared, index)).map(drop)
}

/// What a job learns of the worker that runs it.
pub(super) struct Worker {
    pub(super) shared: Arc<Shared>,
    /// Its number, from 0.
    pub(super) number: usize,
    /// It does not work: it takes a job out of the queue to drop it.
    pub(super) evicts: Option<Evicts>,
}

/// Why a job is dropped unrun, whether there was one, and whether its place stays with whoever takes it out of the queue.
pub(super) struct Evicts {
    pub(super) cause: Interrupted,
    pub(super) dropped: Cell<bool>,
    pub(super) kept: Cell<bool>,
    /// Where jobs without a handle go that are to be handed back.
    pub(super) unrun: Option<RefCell<Vec<Unrun>>>,
}

impl Evicts {
    pub(super) fn new(cause: Interrupted) -> Self {
        Self { cause, dropped: Cell::new(false), kept: Cell::new(false), unrun: None }
    }
}

fn work(shared: Arc<Shared>, number: usize) {
    shared.mark_this_thread(number);
    let worker = Worker { shared, number, evicts: None };
    let mut home = Home::new(&worker.shared.cancelled);
    let mut seat = worker.shared.queue.seat();
    while let Some(job) = worker.shared.queue.pop(&mut seat) {
        quietly(|| job.run(&worker));
        home = home.tidied();
    }
    worker.shared.worker_left();
}

#[cfg(all(test, not(watertight_loom)))]
mod tests {
    use super::thread_name;

    #[test]
    fn names_fit_the_kernel_and_keep_their_number() {
        assert_eq!(thread_name("payments", 3), "payments-3");
        assert_eq!(thread_name("recommendations", 12), "recommendati-12");
        assert_eq!(thread_name("ääääääää", 1), "ääääää-1");
        assert!(thread_name("recommendations", 16_383).len() <= 15);
    }
}
