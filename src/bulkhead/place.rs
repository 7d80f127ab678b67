//! Leave to be one of those that run: a place and a permit, and who waits for them.
//!
//! **Invariants.** 1. One count per compartment. Whatever runs holds a permit, of which there are as many as may run, else the
//! dependency would see the threads' calls and the others' calls at once. With threads, whoever comes takes a place first, of
//! which there are as many as may run and wait, and so does whoever comes to a compartment with parts, each of which has its
//! share of them; otherwise who waits is counted by the line for permits itself. 2. *Nesting.* A call from inside the
//! compartment's own work never waits for a worker or a permit, which may be those of its own ancestors: it runs on the
//! thread it is made on, under the permit that this thread holds or else one that is free now, or it is refused. 3. A refusal
//! holds no place when it counts who waits. **Locking.** None of its own.

use super::Inner;
use super::drive::Bounds;
use crate::context::Context;
use crate::error::RejectReason;
use crate::permit::{Acquire, Permit, PermitRef};
use crate::pool::Slot;
use crate::sync::thread_local;
use std::cell::RefCell;

thread_local! {
    /// The compartments, by number, whose permits this thread holds at this moment, the innermost last.
    #[allow(clippy::missing_const_for_thread_local, reason = "loom's macro takes no const")]
    static HOLDS: RefCell<Vec<u64>> = RefCell::new(Vec::new());
}

/// Says that this thread runs work under a permit of the compartment.
pub(super) struct Holding;

impl Holding {
    #[inline]
    pub(super) fn of(inner: &Inner) -> Self {
        // A thread that is going away has no record any more, and then nothing nests there.
        let _ = HOLDS.try_with(|holds| holds.borrow_mut().push(inner.inside.compartment));
        Self
    }
}

impl Drop for Holding {
    #[inline]
    fn drop(&mut self) {
        let _ = HOLDS.try_with(|holds| holds.borrow_mut().pop());
    }
}

/// A place in the compartment.
pub(super) enum Place {
    OnThreads(Slot),
    /// Of a compartment with parts.
    Counted(#[expect(dead_code, reason = "held, not read")] Permit),
    /// The permit is all there is to it; or this is nested in work that has one.
    Here,
}

/// A permit that stays with the call, or one that may go elsewhere.
#[expect(dead_code, reason = "held, not read")]
enum Held<'a> {
    Borrowed(PermitRef<'a>),
    Counted(Permit),
}

/// Leave to be one of those that run: a place, and a permit unless a worker is to take it.
pub(super) struct Running<'a> {
    // Given back in this order: whoever sees a free place finds a free permit.
    #[expect(dead_code, reason = "held, not read")]
    permit: Option<Held<'a>>,
    place: Place,
}

impl<'a> Running<'a> {
    pub(super) fn new(place: Place, permit: Permit) -> Self {
        Self { permit: Some(Held::Counted(permit)), place }
    }

    #[inline]
    pub(super) fn here(place: Place, permit: PermitRef<'a>) -> Self {
        Self { permit: Some(Held::Borrowed(permit)), place }
    }

    /// Where a job goes: it has a place on threads.
    pub(super) fn into_slot(self) -> Slot {
        let Place::OnThreads(slot) = self.place else { unreachable!("a job has a place on threads") };
        slot
    }
}

impl Inner {
    /// Whether this thread runs work of this compartment right now (invariant 2).
    #[inline]
    pub(super) fn holds_already(&self) -> bool {
        HOLDS.try_with(|holds| holds.borrow().contains(&self.inside.compartment)).unwrap_or(false)
    }

    /// Whether a call is made from inside work of this compartment, wherever that runs (invariant 2).
    pub(super) fn is_nested(&self, cx: &Context) -> bool {
        let here = self.inside.compartment;
        self.holds_already() || cx.is_within(here) || Context::current_is_within(here)
    }

    /// One of as many places as may run and wait, where a pool counts them.
    #[inline]
    pub(super) fn place(&self) -> Result<Place, RejectReason> {
        match &self.pool {
            Some(pool) => pool.try_reserve().map(Place::OnThreads),
            None => match &self.places {
                Some(places) => places.try_acquire_in(self.part).map(Place::Counted).map_err(|reason| match reason {
                    RejectReason::TooLarge { .. } => reason, // all is kept for others: it will never be served
                    _ => self.full(),
                }),
                None => Ok(Place::Here),
            },
        }
    }

    fn full(&self) -> RejectReason {
        // Of one whole, all places are taken; a part may be refused what others keep.
        let waiting = if self.part == 0 && self.parts.is_empty() { self.size.queue() } else { self.queued() };
        RejectReason::Full { limit: self.limit.permits(), waiting }
    }

    /// Refused for want of a permit, with places left: as many wait as wait.
    pub(super) fn full_now(&self) -> RejectReason {
        RejectReason::Full { limit: self.limit.permits(), waiting: self.queued() }
    }

    /// A permit at once; with a reason that names this compartment.
    pub(super) fn permit_at_once(&self) -> Result<Permit, RejectReason> {
        self.try_permit().map_err(|_| self.full())
    }

    /// Whether somebody who found no permit may wait for one. `place`: its place, if it has one that counts; it is given
    /// back with a refusal that says how many wait (invariant 3).
    #[cold]
    pub(super) fn may_wait(&self, place: &mut Place, cx: &Context) -> Result<(), RejectReason> {
        if matches!(place, Place::Here) && self.limit.in_line() >= self.size.queue() {
            return Err(self.full_now()); // without a lock; whoever else is to be turned away the line itself refuses
        }
        if self.is_nested(cx) {
            *place = Place::Here; // not one of those that wait
            return Err(self.full_now());
        }
        Ok(())
    }

    /// A place among the compartment's threads and its queue, now or not at all. Its worker takes the permit.
    pub(super) fn on_threads(&self) -> Result<Running<'static>, RejectReason> {
        match self.pool {
            Some(_) => Ok(Running { permit: None, place: self.place()? }),
            None => Err(RejectReason::NoThreads),
        }
    }

    /// A place and a permit for the caller's own thread; the permit is waited for in line, but not from inside.
    #[inline]
    pub(super) fn here<'a>(&'a self, bounds: &mut Bounds<'_>) -> Result<Running<'a>, RejectReason> {
        if self.holds_already() {
            return Ok(Running { permit: None, place: Place::Here });
        }
        let place = self.place()?;
        match self.permit_ref() {
            Ok(permit) => Ok(Running::here(place, permit)),
            Err(_) => self.here_in_line(place, bounds),
        }
    }

    /// The same where there is no pool: all it takes is a permit, unless this is nested in work that has one.
    #[inline]
    pub(super) fn here_by_permit<'a>(&'a self, bounds: &mut Bounds<'_>) -> Result<Option<PermitRef<'a>>, RejectReason> {
        if self.holds_already() {
            return Ok(None);
        }
        match self.permit_ref() {
            Ok(permit) => Ok(Some(permit)),
            Err(_) => self.permit_in_line(bounds).map(Some),
        }
    }

    #[cold]
    fn permit_in_line<'a>(&'a self, bounds: &mut Bounds<'_>) -> Result<PermitRef<'a>, RejectReason> {
        self.may_wait(&mut Place::Here, bounds.outer())?;
        self.limit.acquire_ref_in(self.part, bounds.cx())
    }

    #[cold]
    fn here_in_line<'a>(&'a self, mut place: Place, bounds: &mut Bounds<'_>) -> Result<Running<'a>, RejectReason> {
        self.may_wait(&mut place, bounds.outer())?;
        Ok(Running::here(place, self.limit.acquire_ref_in(self.part, bounds.cx())?))
    }

    /// The same for a future, which may move between threads and so never borrows its thread's permit.
    pub(super) async fn awaited<'a>(&'a self, bounds: &mut Bounds<'_>) -> Result<Running<'a>, RejectReason> {
        let mut place = self.place()?;
        let permit = match self.permit_ref() {
            Ok(permit) => permit,
            Err(_) => self.limit.stays(self.line(&mut place, bounds)?.await?),
        };
        Ok(Running::here(place, permit))
    }

    /// The line for a permit, for a future.
    #[cold]
    pub(super) fn line(&self, place: &mut Place, bounds: &mut Bounds<'_>) -> Result<Acquire, RejectReason> {
        self.may_wait(place, bounds.outer())?;
        Ok(self.limit.acquire_async_in(self.part, bounds.cx()))
    }
}

#[cfg(all(test, not(watertight_loom)))]
mod tests {
    use crate::bulkhead::{Bulkhead, Isolation};
    use crate::context::Context;
    use crate::error::{CallError, RejectReason};
    use std::future::Future;
    use std::pin::Pin;
    use std::task::{Context as Task, Poll, Waker};

    type Call = Pin<Box<dyn Future<Output = Result<u8, CallError<()>>>>>;

    fn call(of: &Bulkhead) -> Call {
        Box::pin(of.call_async(&Context::background(), async |_cx| Ok(1)))
    }

    fn poll(call: &mut Call) -> Poll<Result<u8, CallError<()>>> {
        call.as_mut().poll(&mut Task::from_waker(Waker::noop()))
    }

    #[test]
    fn without_threads_as_many_wait_as_may_and_no_more_while_that_changes_too() {
        let it = Bulkhead::builder("line", Isolation::Permits(1)).queue(2).no_timeout().build().unwrap();
        let full = |waiting| {
            let refused = poll(&mut call(&it));
            let full = RejectReason::Full { limit: 1, waiting };
            assert!(matches!(refused, Poll::Ready(Err(CallError::Rejected(reason))) if reason == full), "{refused:?}");
            assert_eq!((it.state().running, it.state().queued), (1, waiting));
        };
        let held = it.try_admit(&Context::background()).unwrap();
        let mut waiting: Vec<Call> = (0..2).map(|_| call(&it)).collect();
        assert!(waiting.iter_mut().all(|call| poll(call).is_pending()));
        full(2);
        it.resize(1, 3).unwrap();
        waiting.push(call(&it));
        assert!(poll(&mut waiting[2]).is_pending());
        full(3);
        it.resize(1, 0).unwrap(); // who waits stays
        full(3);
        drop(waiting.remove(1));
        full(2);
        drop(held);
        assert!(waiting.iter_mut().all(|call| matches!(poll(call), Poll::Ready(Ok(1)))));
        let state = it.state();
        assert_eq!((state.running, state.queued, state.succeeded), (0, 0, 2));
        assert_eq!((state.refused_full, state.refused_ended, state.requests), (4, 1, 8));
    }
}
