//! The worker's loop. No panic crosses into it: user code is caught where it runs, and what is left of a panic that came
//! from anywhere else is caught here, so the same thread goes on.

use super::report::Unrun;
use super::shared::{Shared, is_any_worker};
use super::size::Pinned;
use crate::context::Home;
use crate::error::Interrupted;
use crate::event::Event;
use crate::queue::Seat;
use crate::sync::{Arc, broken, quietly, seed, thread, thread_local};
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

/// How a pool starts the thread of the worker of a number; it begins by [`work`].
pub(super) type Start = crate::sync::Shared<dyn Fn(Arc<Shared>, usize) -> io::Result<()> + Send + Sync>;

/// On threads of the system, with stacks of so many bytes.
pub(super) fn threads(stack_size: Option<usize>) -> impl Fn(Arc<Shared>, usize) -> io::Result<()> + Send + Sync {
    move |shared, number| {
        let mut builder = thread::Builder::new().name(thread_name(&shared.name, number));
        if let Some(bytes) = stack_size {
            builder = builder.stack_size(bytes);
        }
        builder.spawn(move || work(shared, number)).map(drop)
    }
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

thread_local! {
    /// A job wants this thread to be replaced.
    #[allow(clippy::missing_const_for_thread_local, reason = "loom's macro takes no const")]
    static RETIRE: Cell<bool> = Cell::new(false);
}

/// Asks that the worker which runs this job be retired: it takes no further job, its thread ends, with all that the job has
/// left in its thread-locals, and another takes its place. For state that cannot be cleaned: a poisoned thread-local, a
/// library that leaks by thread. False on a thread that is no pool's worker.
///
/// At most one in ten of a pool's workers is replaced at once, but one; until its turn comes the worker goes on. If the system
/// refuses the new thread, the worker stays, the observer is told ([`Event::WorkerRefused`]), and it is tried again after some
/// jobs, fewer at first.
///
/// # Examples
///
/// ```
/// use watertight::pool::{self, Pool};
///
/// let pool = Pool::builder("legacy").threads(1).build()?;
/// let thread = || std::thread::current().id();
/// let first = pool.submit(move || {
///     assert!(pool::retire_worker());
///     thread()
/// })?;
/// assert_ne!(first.join()?, pool.submit(thread)?.join()?);
/// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
/// ```
pub fn retire_worker() -> bool {
    is_any_worker() && RETIRE.try_with(|retire| retire.set(true)).is_ok()
}

/// When a worker is to be replaced, counted in jobs.
struct Term {
    left: Option<u64>,
    /// So many jobs until it is tried again.
    pause: u64,
}

impl Term {
    /// Within a tenth of what was asked for, so that not all are replaced at the same time.
    fn new(after: Option<u64>) -> Self {
        let jitter = |after: u64| (after - after / 10).saturating_add(seed() % (after / 5 + 1));
        Self { left: after.map(jitter), pause: 1 }
    }

    /// A job has ended: whether the worker is to be replaced now.
    fn is_over(&mut self) -> bool {
        let asked = RETIRE.try_with(Cell::take).unwrap_or(false);
        match &mut self.left {
            _ if asked => true,
            None => false,
            Some(left) => {
                *left = left.saturating_sub(1);
                *left == 0
            }
        }
    }

    /// Not yet.
    fn later(&mut self, refused: bool) {
        self.left = Some(self.pause);
        self.pause = if refused { (self.pause * 2).min(1024) } else { 1 };
    }
}

fn work(shared: Arc<Shared>, number: usize) {
    shared.mark_this_thread(number);
    let mut home = Home::new(&shared.cancelled);
    shared.begins(number);
    let idle = shared.hooks.before_sleep(&shared, number);
    let mut term = Term::new(shared.retire_after);
    let worker = Worker { shared, number, evicts: None };
    let shared = &worker.shared;
    let pinned = Pinned::new(&worker);
    let mut seat = shared.queue.seat();
    while let Some(job) = shared.queue.pop(&mut seat, idle.as_deref()) {
        quietly(|| job.run(&worker));
        home = home.tidied();
        if term.is_over() {
            seat = match replaced(&worker, seat, &mut term) {
                None if broken("worker: who is replaced leaves like one who is dismissed") => {
                    return worker.shared.worker_left();
                }
                None => return,
                Some(seat) => seat,
            };
        }
    }
    drop((pinned, home));
    shared.queue.leave(seat);
    shared.unmark_this_thread();
    shared.life.lock().vacate(number);
    shared.hooks.stops(shared, number);
    drop(idle);
    worker.shared.worker_left();
}

/// Starts another thread in this worker's place: then nothing of it is left but its thread. If that cannot be now, the worker
/// goes on in another seat.
fn replaced(worker: &Worker, seat: Seat, term: &mut Term) -> Option<Seat> {
    let Worker { shared, number, .. } = worker;
    if !shared.life.lock().may_retire(*number, shared.size.threads()) {
        term.later(false);
        return Some(seat);
    }
    shared.queue.leave(seat);
    shared.unmark_this_thread(); // from now on the number is the other's
    match (shared.start)(shared.clone(), *number) {
        Ok(()) => {
            shared.hooks.stops(shared, *number);
            None
        }
        Err(error) => {
            shared.mark_this_thread(*number);
            shared.life.lock().begun(*number);
            shared.observed.tell(Event::WorkerRefused { name: &shared.name, error: &error });
            term.later(true);
            Some(shared.queue.seat())
        }
    }
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
