//! An admitted place, held by hand or by a job, and the wait for one or several.
//!
//! **Invariants.** 1. A place is given back exactly once: by the drop of what holds it, or, where a job took it over, when
//! the job has ended. 2. Whoever gives back the last place of a draining pool closes the queue.

use super::fire::fire_and_forget;
use super::handle::JobHandle;
use super::job::submit_into;
use super::shared::{FORKED, Shared};
use crate::context::Context;
use crate::error::RejectReason;
use crate::sync::{Arc, Waiter};
use crate::wait::Wait;
use crate::wait::line::Place;
use std::fmt;
use std::mem::ManuallyDrop;
use std::task::Poll;

/// A place held on one thread: between its taking and the job that takes it over, and while a worker is at the job.
pub(super) struct Taken<'a> {
    shared: &'a Shared,
    seat: Option<usize>,
}

impl<'a> Taken<'a> {
    pub(super) fn new(shared: &'a Shared) -> Self {
        Self { shared, seat: None }
    }

    /// The worker of this number holds it.
    pub(super) fn by(self, seat: usize) -> Self {
        Self { seat: Some(seat), ..*ManuallyDrop::new(self) }
    }

    /// A job has taken it over.
    pub(super) fn hand_over(self) {
        let _ = ManuallyDrop::new(self);
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.shared.give_back(self.seat.unwrap_or_else(|| self.shared.own_seat()));
    }
}

/// A place held in a pool: a job submitted into it is not refused. Made by [`Pool::reserve`](super::Pool::reserve) and its
/// kin.
///
/// It counts as in flight, like a job, from the moment it is made. Dropped unused it goes back; a pool that shuts down
/// waits for it and still takes its job, while it drains; after that the job is shed.
///
/// # Examples
///
/// ```
/// use watertight::Pool;
///
/// let pool = Pool::builder("orders").threads(1).queue(1).build()?;
/// let slot = pool.reserve()?; // before anything is taken from the customer
/// let receipt = slot.submit(|| "sent").join()?;
/// assert_eq!(receipt, "sent");
/// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
/// ```
#[must_use = "the place is given back when it is dropped"]
pub struct Slot {
    shared: Option<Arc<Shared>>,
}

impl Slot {
    pub(super) fn new(taken: Taken<'_>, shared: Arc<Shared>) -> Self {
        taken.hand_over();
        Self { shared: Some(shared) }
    }

    /// A job takes the place over: it is given back by hand.
    pub(super) fn hand_over(mut self) -> Arc<Shared> {
        self.shared.take().expect("there until it is dropped or handed over")
    }

    /// Submits `f` into the place, in the ambient context. Never waits, and cannot be refused.
    ///
    /// # Cancellation
    ///
    /// As with [`Pool::submit`](super::Pool::submit): should the context end before a worker gets to it, the job is shed.
    pub fn submit<F, T>(self, f: F) -> JobHandle<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let cx = self.shared.as_ref().map_or_else(Context::current, |shared| shared.submitters_context());
        self.submit_in(f, &cx.captured())
    }

    /// The same in a context that has been captured where it was made, perhaps some time ago.
    pub(crate) fn submit_in<F, T>(self, f: F, cx: &Context) -> JobHandle<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        submit_into(self, f, cx, None)
    }

    /// Submits work without a result into the place, in the ambient context. Never waits, and cannot be refused.
    pub fn execute<F>(self, f: F)
    where
        F: FnOnce() + Send + 'static,
    {
        let shared = self.hand_over();
        let cx = shared.submitters_context().captured();
        shared.accepted(&cx, None);
        shared.queue.push(fire_and_forget(f, cx, None));
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.take() {
            shared.give_back(shared.own_seat());
        }
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slot").field("pool", &self.shared.as_ref().map(|shared| &*shared.name)).finish()
    }
}

/// Several places, taken at once, to be handed out one by one: an iterator of [`Slot`]s. What is not asked for goes back
/// when it is dropped. Made by [`Pool::reserve_many`](super::Pool::reserve_many).
#[must_use = "the places are given back when it is dropped"]
pub struct Slots {
    shared: Arc<Shared>,
    left: usize,
}

impl Slots {
    pub(super) fn new(shared: Arc<Shared>, left: usize) -> Self {
        Self { shared, left }
    }

    /// The only one.
    pub(super) fn the_one(mut self) -> Slot {
        self.next().expect("one was taken")
    }

    /// Jobs have taken over all that are left.
    pub(super) fn hand_over(mut self) {
        self.left = 0;
    }
}

impl Iterator for Slots {
    type Item = Slot;

    fn next(&mut self) -> Option<Slot> {
        self.left = self.left.checked_sub(1)?;
        Some(Slot { shared: Some(self.shared.clone()) })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl ExactSizeIterator for Slots {}

impl Drop for Slots {
    fn drop(&mut self) {
        self.for_each(drop);
    }
}

impl fmt::Debug for Slots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slots").field("pool", &self.shared.name).field("left", &self.left).finish()
    }
}

/// The wait for places, all of them or none.
pub(super) struct SlotWait {
    shared: Arc<Shared>,
    places: usize,
    number: Option<Place>,
}

impl SlotWait {
    pub(super) fn new(shared: &Arc<Shared>, places: usize) -> Self {
        Self { shared: shared.clone(), places, number: None }
    }
}

impl Wait for SlotWait {
    type Output = Result<Slots, RejectReason>;

    fn poll_wait(&mut self, w: &Waiter) -> Poll<Self::Output> {
        let places = &self.shared.places;
        let decided = match self.number {
            Some(number) => places.look(number, w),
            None => match places.try_take(self.places) {
                Err(RejectReason::Full { .. }) if self.shared.is_forked() => {
                    Poll::Ready(Err(RejectReason::Cancelled(FORKED))) // nobody would ever give one back
                }
                Err(RejectReason::Full { .. }) if places.can_ever_take(self.places) => {
                    match places.join(self.places, w.clone()) {
                        Ok(Some(number)) => {
                            self.number = Some(number);
                            Poll::Pending
                        }
                        joined => Poll::Ready(joined.map(drop)),
                    }
                }
                decided => Poll::Ready(decided),
            },
        };
        decided.map(|taken| match taken {
            Ok(()) => Ok(Slots::new(self.shared.clone(), self.places)),
            Err(reason) => Err(self.shared.reason_for(self.places, reason)),
        })
    }

    fn give_up(&mut self) {
        if let Some(number) = self.number.take() {
            self.shared.places.leave(number);
        }
    }
}
