//! Work that lies on the stack of a caller who waits for it, so that it may borrow and costs no allocation.
//!
//! The queue must hold nothing that points to a stack: whoever lent the work may take it back and leave while its entry is
//! still queued. So the entry is a [`Ticket`]: it names a *desk*, which outlives both, and the turn at it. The desk has the
//! pointer for as long as the work lies there.
//!
//! **States** of a turn: lent → running → done, or lent → withdrawn (by the lender), or lent → refused (by the drop of the
//! ticket). **Invariants.** 1. The desk holds the pointer only while the turn is lent; taking it out, under the lock, is
//! the claim: lender and worker race for it and one wins. 2. `lend` returns, or unwinds, only when the turn is withdrawn,
//! refused or done: so whoever claimed the pointer may use it until it says done, and nobody after that. 3. A ticket of
//! an earlier turn finds nothing. 4. `over` says which turn ended last: written under the lock, after the last use of that
//! turn's frame; so who reads its own turn there needs no lock to go on. **Locking.** The desk's lock; never held while the
//! work runs.

use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{Arc, Mutex, MutexGuard, OnStack, Parker, UnsafeCell, Waiter, broken};
use std::task::Poll;

/// Where work is lent, one turn after the other.
pub(crate) struct Desk {
    state: Mutex<State>,
    over: Over,
}

/// The last turn that is over, written under the lock. On cache lines of its own: a lender that looks on and on takes nothing
/// away from who works.
#[repr(align(128))]
struct Over(AtomicU64);

struct State {
    turn: u64,
    now: Now,
    waiter: Option<Waiter>,
}

enum Now {
    /// Nobody's turn, or it is over.
    Over,
    Lent(Erased),
    Running,
}

/// A frame on somebody's stack, its type forgotten.
struct Erased {
    frame: *const (),
    /// Takes the work out of the frame, runs it there and leaves its result.
    run: unsafe fn(*const ()),
}

// SAFETY: it points to a `Frame` of `Send` work and a `Send` result, and one thread at a time uses it (invariants 1 and 2).
unsafe impl Send for Erased {}

/// What lies on the lender's stack.
struct Frame<F, T> {
    work: Option<F>,
    result: Option<T>,
}

/// What came of lent work.
pub(crate) enum Returned<F, T> {
    Done(T),
    /// Nobody ran it and nobody will.
    Unrun(F),
}

/// What the queue holds of it.
pub(crate) struct Ticket {
    /// None once it was used.
    desk: Option<Arc<Desk>>,
    turn: u64,
}

/// The lender's side while it waits.
pub(crate) struct Lent<'a> {
    desk: &'a Arc<Desk>,
    turn: u64,
}

impl Desk {
    pub(crate) fn new() -> Self {
        Self { state: Mutex::new(State { turn: 0, now: Now::Over, waiter: None }), over: Over(AtomicU64::new(0)) }
    }

    /// Lends `work` to whoever gets the ticket that `wait` is to make and queue. When `wait` returns the work is taken back,
    /// unless it is running: that is waited for, whatever it takes. One turn at a time: a desk serves one thread.
    pub(crate) fn lend<F, T>(this: &Arc<Self>, work: F, wait: impl FnOnce(&Lent<'_>)) -> Returned<F, T>
    where
        F: FnOnce() -> T + Send,
        T: Send,
    {
        let frame = OnStack::new(UnsafeCell::new(Frame { work: Some(work), result: None }));
        let erased = Erased { frame: (&raw const *frame).cast(), run: run::<F, T> };
        let turn = this.begin(erased);
        // Dropped, also by a panic in `wait`, before the frame is: invariant 2.
        let back = TakeBack(Lent { desk: this, turn });
        wait(&back.0);
        drop(back);
        let left = frame.with_mut(|frame| {
            // SAFETY: nobody else uses it any more (invariant 2), and this reference ends here.
            let Frame { work, result } = unsafe { &mut *frame };
            (result.take(), work.take())
        });
        match left {
            (Some(result), _) => Returned::Done(result),
            (None, Some(work)) => Returned::Unrun(work),
            (None, None) => panic!("lent work panicked"), // its lender has to catch that
        }
    }

    fn begin(&self, erased: Erased) -> u64 {
        let mut state = self.state.lock();
        state.turn += 1;
        state.now = Now::Lent(erased);
        state.turn
    }

    fn end(&self) {
        self.tell_over(self.state.lock());
    }

    fn tell_over(&self, mut state: MutexGuard<'_, State>) {
        state.now = Now::Over;
        // Release: who sees it uses the frame again. Who goes on before this unlocks waits for it when the next turn begins.
        self.over.0.swap(state.turn, Ordering::Release);
        let waiter = state.waiter.take();
        drop(state);
        if !broken("frame: a lender is not woken") {
            waiter.into_iter().for_each(Waiter::wake);
        }
    }

    /// Ends the turn if nobody has claimed it. False: somebody has.
    fn end_if_lent(&self, turn: u64) -> bool {
        let state = self.state.lock();
        if broken("frame: who takes work back looks first and takes it later") {
            let there = state.turn == turn && matches!(state.now, Now::Lent(_));
            drop(state);
            if there {
                self.end();
            }
            return there;
        }
        if state.turn != turn || !matches!(state.now, Now::Lent(_)) {
            return false;
        }
        self.tell_over(state);
        true
    }
}

/// Runs the work of a frame where it lies.
///
/// # Safety
///
/// `frame` points to an `UnsafeCell<Frame<F, T>>` that is there, and that nobody else uses, until this returns.
unsafe fn run<F: FnOnce() -> T, T>(frame: *const ()) {
    // SAFETY: the caller's promise.
    let frame = unsafe { &*frame.cast::<UnsafeCell<Frame<F, T>>>() };
    let work = frame.with_mut(|frame| {
        // SAFETY: nobody else uses it, and this reference ends here.
        unsafe { (*frame).work.take() }
    });
    let Some(work) = work else { return };
    let result = work();
    frame.with_mut(|frame| {
        // SAFETY: as above; there is no result yet, so nothing is dropped.
        unsafe { (*frame).result = Some(result) }
    });
}

impl Ticket {
    /// Runs the work, unless it has been taken back. `last`, which is told whether it ran, is done after it, also after a
    /// panic, and before the lender can go on.
    pub(crate) fn run(mut self, last: impl FnOnce(bool)) {
        let Some(desk) = self.desk.take() else { return last(false) };
        let mut state = desk.state.lock();
        if state.turn != self.turn || !matches!(state.now, Now::Lent(_)) {
            drop(state);
            return last(false);
        }
        let Now::Lent(erased) = std::mem::replace(&mut state.now, Now::Running) else { unreachable!("just seen") };
        drop(state);
        let done = Done { desk: &desk, last: Some(last) };
        if broken("frame: the lender is told before the work is done") {
            desk.end();
        }
        // SAFETY: claimed, and not yet said done: the frame is there and ours (invariants 1 and 2).
        unsafe { (erased.run)(erased.frame) };
        drop(done);
    }
}

impl Ticket {
    /// Says that nobody will run it. False: it had been taken back before.
    pub(crate) fn refuse(mut self) -> bool {
        self.desk.take().is_some_and(|desk| desk.end_if_lent(self.turn))
    }
}

/// Unused, nobody will run it.
impl Drop for Ticket {
    fn drop(&mut self) {
        if let Some(desk) = &self.desk {
            desk.end_if_lent(self.turn);
        }
    }
}

/// Says that the work is done when it is dropped, after whatever comes last.
struct Done<'a, L: FnOnce(bool)> {
    desk: &'a Desk,
    last: Option<L>,
}

impl<L: FnOnce(bool)> Drop for Done<'_, L> {
    fn drop(&mut self) {
        if let Some(last) = self.last.take() {
            last(true);
        }
        self.desk.end();
    }
}

impl Lent<'_> {
    /// What is to be queued, once.
    pub(crate) fn ticket(&self) -> Ticket {
        Ticket { desk: Some(self.desk.clone()), turn: self.turn }
    }

    /// Whether the work is done or refused.
    pub(crate) fn is_over(&self) -> bool {
        self.desk.over.0.load(Ordering::Acquire) == self.turn
    }

    /// The same; if not, `w` is woken when it is.
    pub(crate) fn poll_over(&self, w: &Waiter) -> Poll<()> {
        let mine = w.clone(); // cloning and dropping a waker is the executor's code: not under our lock
        let mut state = self.desk.state.lock();
        let (over, spare) = match &state.now {
            Now::Over => (Poll::Ready(()), Some(mine)),
            _ => (Poll::Pending, state.waiter.replace(mine)),
        };
        drop(state);
        drop(spare);
        over
    }

    /// Takes the work back if nobody has begun it.
    pub(crate) fn withdraw(&self) -> bool {
        self.desk.end_if_lent(self.turn)
    }
}

/// Takes the work back when it is dropped, or waits until it is done.
struct TakeBack<'a>(Lent<'a>);

impl Drop for TakeBack<'_> {
    fn drop(&mut self) {
        if self.0.is_over() || self.0.withdraw() || broken("frame: a lender leaves while its work runs") {
            return;
        }
        let parker = Parker::new();
        let waiter = Waiter::thread(&parker);
        while self.0.poll_over(&waiter).is_pending() {
            parker.park();
        }
    }
}
