//! [`Pool::call`]: submits, and waits for the end of the job on this thread. So the closure may borrow, and nothing is
//! allocated: closure and result lie on the caller's stack (`queue/frame.rs`).
//!
//! **States** of a call: queued → running → done, or withdrawn while queued, by the end of its context, or displaced.
//! **Invariants.** 1. The entry in the queue holds the place and gives it back when it is popped, also if the call was
//! withdrawn; and before the caller is told that its job is done. What became of the call is counted before that. 2. A call on
//! one of the pool's own workers runs where it is made: it waits for nobody. **Locking.** The desk's lock, see there.

use super::Pool;
use super::on_full::{Admitted, DISPLACED};
use super::shared::Shared;
use super::slot::Taken;
use super::stats::add;
use super::submit::JobBuilder;
use super::told::Told;
use super::worker::Worker;
use crate::context::Context;
use crate::error::{CallError, CancelCause, Interrupted, PanicPayload, RejectReason};
use crate::queue::InlineJob;
use crate::queue::frame::{Desk, Lent, Returned, Ticket};
use crate::sync::{Arc, Waiter, broken, drop_quietly, thread_local};
use crate::wait::{Wait, block_on};
use std::cell::Cell;
use std::task::Poll;

impl Pool {
    /// Runs `f` on a worker and waits for its end: a function call that is bounded by the pool. `f` may borrow, since the
    /// call does not return while it runs; nothing is allocated.
    ///
    /// On one of the pool's own workers `f` runs right here, so calls may be nested to any depth.
    ///
    /// # Blocking
    ///
    /// Blocks this thread until `f` has ended. While there is no place the pool's [`OnFull`](super::OnFull) decides.
    ///
    /// # Cancellation
    ///
    /// When the ambient context ends while the call waits for a place or for a worker, `f` never runs. Once it runs it sees the
    /// context, and the call waits for it, whatever the context says.
    ///
    /// # Errors
    ///
    /// [`Rejected`](CallError::Rejected) if `f` never ran, [`Panicked`](CallError::Panicked) if it panicked.
    ///
    /// # Examples
    ///
    /// ```
    /// use watertight::Pool;
    ///
    /// let pool = Pool::builder("sums").threads(2).build()?;
    /// let parts = vec![1, 2, 3];
    /// let sum = pool.call(|| parts.iter().sum::<i32>())?; // borrows
    /// assert_eq!(sum, 6);
    /// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
    /// ```
    pub fn call<F, T>(&self, f: F) -> Result<T, CallError>
    where
        F: FnOnce() -> T + Send,
        T: Send,
    {
        self.job().call(f)
    }
}

impl JobBuilder<'_> {
    /// As [`Pool::call`].
    ///
    /// # Blocking
    ///
    /// As there.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn call<F, T>(self, f: F) -> Result<T, CallError>
    where
        F: FnOnce() -> T + Send,
        T: Send,
    {
        let shared = &self.pool.owner.shared;
        // On an own worker nothing is waited for, and so nothing is refused for want of a place.
        let admitted = match self.try_place() {
            Err(RejectReason::Full { .. }) if shared.is_own_worker() => Ok(Admitted::Here),
            Err(full @ RejectReason::Full { .. }) => self.when_full(full),
            decided => decided.map(Admitted::Place),
        };
        let admitted = admitted.inspect_err(|reason| shared.refused(*reason))?;
        let cx = self.cx.captured();
        let name = self.name.as_deref();
        shared.accepted(&cx, name);
        let told = Told { shared, cx: &cx, who: name.into() };
        match admitted {
            Admitted::Place(taken) if !shared.is_own_worker() => call_there(told, shared, taken, f),
            Admitted::Place(_) | Admitted::Here => {
                add(&shared.counters.ran_by_caller);
                told.run_caught(shared.own_seat(), f).map_err(CallError::Panicked)
            }
            Admitted::Dropped => {
                add(&shared.counters.dropped_newest);
                told.drop_unrun(f, DISPLACED);
                Err(CallError::Rejected(DISPLACED.into()))
            }
        }
    }
}

/// How the work of a call ended on a worker.
enum Ended<F, T> {
    Ran(Result<T, PanicPayload>),
    /// Its context had ended.
    Shed(F, Interrupted),
}

/// Has `f` run by a worker.
fn call_there<F, T>(told: Told<'_>, shared: &Arc<Shared>, taken: Taken<'_>, f: F) -> Result<T, CallError>
where
    F: FnOnce() -> T + Send,
    T: Send,
{
    let work = move || match told.check() {
        Ok(()) => Ended::Ran(told.run_caught(told.shared.own_seat(), f)),
        Err(why) => {
            add(&told.shared.counters.shed); // before the place is back, as every end is
            Ended::Shed(f, why)
        }
    };
    let desk = desk();
    let mut withdrawn = None;
    let returned = Desk::lend(&desk, work, |lent| {
        let ticket = lent.ticket();
        taken.hand_over();
        shared.queue.push(InlineJob::new(move |worker: &Worker| at_work(worker, ticket)));
        withdrawn = wait(lent, told.cx, shared);
    });
    keep(desk);
    let (unrun, why) = match returned {
        Returned::Done(Ended::Ran(ran)) => return ran.map_err(CallError::Panicked),
        Returned::Done(Ended::Shed(f, why)) => {
            told.cx.in_scope(|| {
                drop_quietly(f);
                shared.tell_shed(told.who, why);
            });
            return Err(CallError::Rejected(why.into()));
        }
        Returned::Unrun(work) => (work, withdrawn.or_else(|| shared.cancelled.cause()).unwrap_or(DISPLACED)),
    };
    told.cx.in_scope(|| {
        drop_quietly(unrun);
        shared.tell_shed(told.who, why);
    });
    Err(CallError::Rejected(why.into()))
}

/// A worker's part of a call.
fn at_work(worker: &Worker, ticket: Ticket) {
    if let Some(evicts) = &worker.evicts {
        evicts.dropped.set(ticket.refuse()); // its caller drops the closure
        add(&worker.shared.counters.shed);
        return evicts.kept.set(true);
    }
    let place = Taken::new(&worker.shared).by(worker.number);
    if broken("call: the place is back after the caller is told") {
        ticket.run(|_| {});
        return drop(place);
    }
    ticket.run(|ran| {
        if !ran {
            add(&worker.shared.counters.shed); // counted by who has the place, told by the caller
        }
        drop(place);
    });
}

/// Waits until the work is done, or its context ends before it has begun: why, then.
fn wait(lent: &Lent<'_>, cx: &Context, shared: &Shared) -> Option<Interrupted> {
    // Short work is done in less time than it takes to sleep and be woken.
    let patience = &shared.patience;
    let mut looks = patience.looks();
    while looks.again(patience, true) {
        if lent.is_over() {
            patience.found(&looks);
            return None;
        }
    }
    if shared.is_forked() && lent.withdraw() {
        return Some(Interrupted::Cancelled(CancelCause::Shutdown)); // no worker is here to run it
    }
    match block_on(Over(lent), cx) {
        Ok(()) => {
            patience.woken(&looks);
            None
        }
        Err(why) if lent.withdraw() => Some(why),
        // It runs: `lend` waits for that.
        Err(_) => None,
    }
}

/// The wait for the end of lent work.
struct Over<'a>(&'a Lent<'a>);

impl Wait for Over<'_> {
    type Output = ();

    fn poll_wait(&mut self, w: &Waiter) -> Poll<()> {
        self.0.poll_over(w)
    }

    fn give_up(&mut self) {}
}

thread_local! {
    /// The desk of this thread's calls, while none is under way: a call makes one only if there is none.
    #[allow(clippy::missing_const_for_thread_local, reason = "loom's macro takes no const")]
    static DESK: Cell<Option<Arc<Desk>>> = Cell::new(None);
}

fn desk() -> Arc<Desk> {
    DESK.try_with(Cell::take).ok().flatten().unwrap_or_else(|| Arc::new(Desk::new()))
}

fn keep(desk: Arc<Desk>) {
    let before = DESK.try_with(|kept| kept.replace(Some(desk)));
    drop(before);
}
