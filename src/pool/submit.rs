//! Giving work to a pool: [`JobBuilder`] with the submitting verbs. Their asynchronous forms are in `submit_async.rs`.

use super::Pool;
use super::fire::fire_and_forget;
use super::handle::JobHandle;
use super::job::submit_into;
use super::on_full::{Admitted, OnFull};
use super::shared::Shared;
use super::slot::{Slot, SlotWait, Slots, Taken};
use super::submit_async::Submit;
use super::unqueued::{drop_here, execute_here, run_here};
use crate::context::Context;
use crate::error::{RejectReason, Rejected};
use crate::sync::{self, Arc, look_again, look_again_at_leisure};
use crate::wait::block_on;
use std::borrow::Cow;

/// So often somebody who waits for a place at leisure sleeps by the clock, before it stands in line.
const NAPS: u32 = 2;

pub(super) type Name = Option<Cow<'static, str>>;

/// A job about to be submitted by hand: with a name, another context than the ambient one, or another [`OnFull`] than the
/// pool's. Made by [`Pool::job`].
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use watertight::{Context, Pool};
///
/// let pool = Pool::builder("rows").threads(1).build()?;
/// let cx = Context::current().with_timeout(Duration::from_secs(1));
/// let rows = pool.job().context(&cx).submit(|| vec![1, 2, 3])?.join()?;
/// assert_eq!(rows.len(), 3);
/// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
/// ```
#[derive(Debug)]
#[must_use = "a job does nothing until it is submitted"]
pub struct JobBuilder<'a> {
    pub(super) pool: &'a Pool,
    pub(super) cx: Context,
    pub(super) name: Name,
    pub(super) on_full: Option<OnFull>,
}

impl<'a> JobBuilder<'a> {
    pub(super) fn new(pool: &'a Pool) -> Self {
        Self { pool, cx: pool.owner.shared.submitters_context(), name: None, on_full: None }
    }

    /// The context that bounds the wait for a place and then the job, in place of the ambient one.
    pub fn context(mut self, cx: &Context) -> Self {
        self.cx = cx.clone();
        self
    }

    /// What the job is called in events.
    pub fn name(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// What to do if there is no place, in place of the pool's own choice. The forms called `try_…` refuse all the same.
    pub fn on_full(mut self, on_full: OnFull) -> Self {
        self.on_full = Some(on_full);
        self
    }

    /// As [`Pool::try_submit`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn try_submit<F, T>(self, f: F) -> Result<JobHandle<T>, Rejected<F>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let shared = &self.pool.owner.shared;
        match self.try_place() {
            Ok(taken) => Ok(submit_into(Slot::new(taken, shared.clone()), f, &self.cx.captured(), self.name)),
            Err(reason) => Err(refuse(shared, reason, f)),
        }
    }

    /// As [`Pool::submit`].
    ///
    /// # Blocking
    ///
    /// As there, if the job's [`OnFull`] is [`Wait`](OnFull::Wait).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn submit<F, T>(self, f: F) -> Result<JobHandle<T>, Rejected<F>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let shared = &self.pool.owner.shared;
        match self.admit() {
            Ok(admitted) => Ok(submit_as(
                admitted.map(|taken| Slot::new(taken, shared.clone())),
                shared,
                f,
                &self.cx.captured(),
                self.name,
            )),
            Err(reason) => Err(refuse(shared, reason, f)),
        }
    }

    /// [`submit`](Self::submit), but with no place it runs the job here: as [`Pool::submit_or_run`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn submit_or_run<F, T>(self, f: F) -> Result<JobHandle<T>, Rejected<F>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        self.on_full(OnFull::CallerRuns).submit(f)
    }

    /// As [`Pool::submit_async`].
    pub fn submit_async<F, T>(self, f: F) -> Submit<F, T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        Submit::new(self, f)
    }

    /// As [`Pool::try_execute`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn try_execute<F>(self, f: F) -> Result<(), Rejected<F>>
    where
        F: FnOnce() + Send + 'static,
    {
        let admitted = self.try_place().map(Admitted::Place);
        self.execute_as(admitted, f)
    }

    /// As [`Pool::execute`].
    ///
    /// # Blocking
    ///
    /// As [`submit`](Self::submit).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn execute<F>(self, f: F) -> Result<(), Rejected<F>>
    where
        F: FnOnce() + Send + 'static,
    {
        let admitted = self.admit();
        self.execute_as(admitted, f)
    }

    fn execute_as<F>(&self, admitted: Result<Admitted<Taken<'a>>, RejectReason>, f: F) -> Result<(), Rejected<F>>
    where
        F: FnOnce() + Send + 'static,
    {
        let shared = &self.pool.owner.shared;
        match admitted {
            Ok(Admitted::Place(taken)) => {
                shared.accepted(&self.cx, self.name.as_deref());
                let job = fire_and_forget(f, self.cx.clone().captured(), self.name.clone());
                taken.hand_over();
                shared.queue.push(job);
            }
            Ok(Admitted::Here) => execute_here(shared, f, &self.cx.clone().captured(), self.name.as_deref(), true),
            Ok(Admitted::Dropped) => execute_here(shared, f, &self.cx, self.name.as_deref(), false),
            Err(reason) => return Err(refuse(shared, reason, f)),
        }
        Ok(())
    }

    pub(super) fn try_place(&self) -> Result<Taken<'a>, RejectReason> {
        self.cx.check()?;
        self.pool.owner.shared.try_place()
    }

    /// A place, waited for until the context ends, whatever the [`OnFull`]; never on one of the pool's own workers.
    pub(super) fn place(&self) -> Result<Taken<'a>, RejectReason> {
        match self.try_place() {
            Err(full @ RejectReason::Full { .. }) => self.wait_for_a_place(full),
            decided => decided,
        }
    }

    /// A place, or what is done without one.
    pub(super) fn admit(&self) -> Result<Admitted<Taken<'a>>, RejectReason> {
        match self.try_place() {
            Err(full @ RejectReason::Full { .. }) => self.when_full(full),
            decided => decided.map(Admitted::Place),
        }
    }

    pub(super) fn when_full(&self, full: RejectReason) -> Result<Admitted<Taken<'a>>, RejectReason> {
        let shared = &self.pool.owner.shared;
        match OnFull::choose(self.on_full.as_ref(), shared, self.name.as_deref(), full) {
            OnFull::Wait => self.wait_for_a_place(full).map(Admitted::Place),
            decided => Shared::without_waiting(shared, &decided, full),
        }
    }

    /// A place, waited for until the context ends; never on one of the pool's own workers, which would wait for itself.
    fn wait_for_a_place(&self, full: RejectReason) -> Result<Taken<'a>, RejectReason> {
        let shared = &self.pool.owner.shared;
        if shared.is_own_worker() {
            return Err(full);
        }
        // Under load a place is free in less time than it takes to sleep and be woken.
        let at_leisure = self.cx.deadline().is_never();
        let look = if at_leisure { look_again_at_leisure } else { look_again };
        let (mut looks, mut naps) = (0, if at_leisure { NAPS } else { 0 });
        while nap(shared, &mut naps) || look(&mut looks) {
            if at_leisure {
                self.cx.check()?; // a nap takes its time
            }
            if shared.places.has_eased() {
                match self.try_place() {
                    Err(RejectReason::Full { .. }) => {}
                    decided => return decided,
                }
            }
        }
        block_on(SlotWait::new(shared, 1), &self.cx)??.hand_over();
        Ok(Taken::new(shared))
    }

    /// So many places now, all of them or none.
    pub(super) fn try_places(&self, so_many: usize) -> Result<Slots, RejectReason> {
        self.cx.check()?;
        Shared::try_places(&self.pool.owner.shared, so_many)
    }

    /// So many places, all of them or none; waited for, unless this is one of the pool's own workers.
    pub(super) fn places(&self, so_many: usize) -> Result<Slots, RejectReason> {
        let shared = &self.pool.owner.shared;
        match self.try_places(so_many) {
            Err(RejectReason::Full { .. }) if !shared.is_own_worker() => {
                block_on(SlotWait::new(shared, so_many), &self.cx)?
            }
            decided => decided,
        }
    }
}

/// Sleeps by the clock where that is better than to look or to stand in line. Not again once it is not, and only so often.
fn nap(shared: &Shared, left: &mut u32) -> bool {
    let nap = if *left > 0 { shared.places.nap() } else { None };
    *left = if nap.is_some() { *left - 1 } else { 0 };
    nap.map(sync::nap).is_some()
}

/// Submits into the place, or does without one what was decided.
pub(super) fn submit_as<F, T>(
    admitted: Admitted<Slot>,
    shared: &Arc<Shared>,
    f: F,
    cx: &Context,
    name: Name,
) -> JobHandle<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    match admitted {
        Admitted::Place(slot) => submit_into(slot, f, cx, name),
        Admitted::Here => run_here(shared, f, cx, name),
        Admitted::Dropped => drop_here(shared, f, cx, name),
    }
}

pub(super) fn refuse<F>(shared: &Shared, reason: RejectReason, work: F) -> Rejected<F> {
    shared.refused(reason);
    Rejected::new(reason, work)
}
