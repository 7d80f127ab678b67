//! Leave to be one of those that run: a place and a permit, and who waits for them.
//!
//! **Invariants.** 1. One count per compartment. Whoever comes takes a place, of which there are as many as may run and
//! wait; whatever runs holds a permit, of which there are as many as may run, else the dependency would see the threads'
//! calls and the others' calls at once. 2. *Nesting.* A call from inside the compartment's own work never waits for a
//! worker or a permit, which may be those of its own ancestors: it runs on the thread it is made on, under the permit that
//! this thread holds or else one that is free now, or it is refused. 3. A refusal holds no place when it counts who waits.
//! **Locking.** None of its own.

use super::Inner;
use super::drive::Bounds;
use crate::context::Context;
use crate::error::RejectReason;
use crate::permit::Permit;
use crate::pool::Slot;
use crate::sync::thread_local;
use std::cell::RefCell;
use std::future::Future;

thread_local! {
    /// The compartments, by number, whose permits this thread holds at this moment, the innermost last.
    #[allow(clippy::missing_const_for_thread_local, reason = "loom's macro takes no const")]
    static HOLDS: RefCell<Vec<u64>> = RefCell::new(Vec::new());
}

/// Says that this thread runs work under a permit of the compartment.
pub(super) struct Holding;

impl Holding {
    pub(super) fn of(inner: &Inner) -> Self {
        // A thread that is going away has no record any more, and then nothing nests there.
        let _ = HOLDS.try_with(|holds| holds.borrow_mut().push(inner.inside.compartment));
        Self
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        let _ = HOLDS.try_with(|holds| holds.borrow_mut().pop());
    }
}

/// A place in the compartment, of threads or of permits.
pub(super) enum Place {
    OnThreads(Slot),
    Here(#[expect(dead_code, reason = "held, not read")] Permit),
    /// Nested in work that has one.
    Nested,
}

/// Leave to be one of those that run: a place, and a permit unless a worker is to take it.
pub(super) struct Running {
    // Given back in this order: whoever sees a free place finds a free permit.
    #[expect(dead_code, reason = "held, not read")]
    permit: Option<Permit>,
    place: Place,
}

impl Running {
    pub(super) fn new(place: Place, permit: Permit) -> Self {
        Self { permit: Some(permit), place }
    }

    /// Where a job goes: it has a place on threads.
    pub(super) fn into_slot(self) -> Slot {
        let Place::OnThreads(slot) = self.place else { unreachable!("a job has a place on threads") };
        slot
    }
}

impl Inner {
    /// Whether this thread runs work of this compartment right now (invariant 2).
    pub(super) fn holds_already(&self) -> bool {
        HOLDS.try_with(|holds| holds.borrow().contains(&self.inside.compartment)).unwrap_or(false)
    }

    /// Whether a call is made from inside work of this compartment, wherever that runs (invariant 2).
    pub(super) fn is_nested(&self, cx: &Context) -> bool {
        let here = self.inside.compartment;
        self.holds_already() || cx.is_within(here) || Context::current_is_within(here)
    }

    /// One of as many places as may run and wait: the pool's, or the compartment's own where it has no threads.
    pub(super) fn place(&self) -> Result<Place, RejectReason> {
        match &self.pool {
            Some(pool) => pool.try_reserve().map(Place::OnThreads),
            None => self.place_here().map(Place::Here).map_err(|_| self.full()),
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

    /// A place among the compartment's threads and its queue, now or not at all. Its worker takes the permit.
    pub(super) fn on_threads(&self) -> Result<Running, RejectReason> {
        match self.pool {
            Some(_) => Ok(Running { permit: None, place: self.place()? }),
            None => Err(RejectReason::NoThreads),
        }
    }

    /// A place and a permit for the caller's own thread; the permit is waited for in line, but not from inside.
    pub(super) fn here(&self, bounds: &mut Bounds<'_>) -> Result<Running, RejectReason> {
        if self.holds_already() {
            return Ok(Running { permit: None, place: Place::Nested });
        }
        let place = self.place()?;
        let permit = match self.permit_at_once() {
            Ok(permit) => permit,
            Err(_) if self.is_nested(bounds.outer()) => {
                drop(place); // not one of those that wait
                return Err(self.full_now());
            }
            Err(_) => self.permit(bounds.cx())?,
        };
        Ok(Running { permit: Some(permit), place })
    }

    /// The same, awaited. A future may move between threads, so it never borrows its thread's permit.
    pub(super) fn awaited(
        &self,
        bounds: &mut Bounds<'_>,
    ) -> impl Future<Output = Result<Running, RejectReason>> + Send + use<> {
        let place = self.place();
        let now = if place.is_ok() { self.permit_at_once() } else { Err(self.full()) };
        let nested = now.is_err() && self.is_nested(bounds.outer());
        let (place, now) = match place {
            Ok(place) if nested => {
                drop(place); // not one of those that wait
                (Err(self.full_now()), now)
            }
            place => (place, now),
        };
        let waits = place.is_ok() && now.is_err();
        let turn = waits.then(|| self.permit_async(bounds.cx()));
        async move {
            let place = place?;
            let permit = match turn {
                Some(turn) => turn.await?,
                None => now?,
            };
            Ok(Running::new(place, permit))
        }
    }
}
