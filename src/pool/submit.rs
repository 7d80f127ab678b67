//! Giving work to a pool: [`JobBuilder`] with the submitting verbs, and the future of the asynchronous one.

use super::Pool;
use super::handle::JobHandle;
use super::job::{self, submit_into};
use super::shared::Shared;
use super::slot::{Slot, SlotWait, Taken};
use crate::context::{Context, ContextWait};
use crate::error::{RejectReason, Rejected};
use crate::sync::{Arc, look_again};
use crate::wait::{Waiting, block_on};
use std::borrow::Cow;
use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{self, Poll};

type Name = Option<Cow<'static, str>>;

/// A job about to be submitted by hand: with another context than the ambient one. Made by [`Pool::job`].
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
    pool: &'a Pool,
    cx: Context,
    name: Name,
}

impl<'a> JobBuilder<'a> {
    pub(super) fn new(pool: &'a Pool) -> Self {
        Self { pool, cx: Context::current(), name: None }
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
    /// # Errors
    ///
    /// As there.
    pub fn submit<F, T>(self, f: F) -> Result<JobHandle<T>, Rejected<F>>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let shared = &self.pool.owner.shared;
        match self.place() {
            Ok(taken) => Ok(submit_into(Slot::new(taken, shared.clone()), f, &self.cx.captured(), self.name)),
            Err(reason) => Err(refuse(shared, reason, f)),
        }
    }

    /// As [`Pool::submit_async`].
    pub fn submit_async<F, T>(self, f: F) -> Submit<F, T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let shared = self.pool.owner.shared.clone();
        let waiting = Waiting::new(SlotWait::new(&shared), &self.cx);
        // What a hook carries is taken now, as the ambient context is: who polls may have gone on to something else.
        let cx = self.cx.captured();
        Submit { work: Some(f), waiting, begun: false, cx, name: self.name, shared, result: PhantomData }
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
        let place = self.try_place();
        self.execute_into(place, f)
    }

    /// As [`Pool::execute`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn execute<F>(self, f: F) -> Result<(), Rejected<F>>
    where
        F: FnOnce() + Send + 'static,
    {
        let place = self.place();
        self.execute_into(place, f)
    }

    fn execute_into<F>(&self, place: Result<Taken<'a>, RejectReason>, f: F) -> Result<(), Rejected<F>>
    where
        F: FnOnce() + Send + 'static,
    {
        let shared = &self.pool.owner.shared;
        match place {
            Ok(taken) => {
                shared.accepted(&self.cx, self.name.as_deref());
                let job = job::fire_and_forget(f, self.cx.clone().captured(), self.name.clone());
                taken.hand_over();
                shared.queue.push(job);
                Ok(())
            }
            Err(reason) => Err(refuse(shared, reason, f)),
        }
    }

    pub(super) fn try_place(&self) -> Result<Taken<'a>, RejectReason> {
        self.cx.check()?;
        self.pool.owner.shared.try_place()
    }

    /// A place, waited for until the context ends; never on one of the pool's own workers, which would wait for itself.
    pub(super) fn place(&self) -> Result<Taken<'a>, RejectReason> {
        let shared = &self.pool.owner.shared;
        match self.try_place() {
            Err(RejectReason::Full { .. }) if !shared.is_own_worker() => {
                // Under load a place is free in less time than it takes to sleep and be woken.
                let mut looks = 0;
                while look_again(&mut looks) {
                    match shared.try_place() {
                        Err(RejectReason::Full { .. }) => {}
                        decided => return decided,
                    }
                }
                let slot = block_on(SlotWait::new(shared), &self.cx)?.map_err(|reason| shared.reason(reason))?;
                slot.hand_over();
                Ok(Taken::new(shared))
            }
            decided => decided,
        }
    }
}

pub(super) fn refuse<F>(shared: &Shared, reason: RejectReason, work: F) -> Rejected<F> {
    shared.refused(reason);
    Rejected::new(reason, work)
}

impl Slot {
    /// Submits into this admitted place, in `cx`: nothing here can fail.
    pub(crate) fn submit<F, T>(self, f: F, cx: &Context) -> JobHandle<T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        submit_into(self, f, cx, None)
    }
}

/// The future of [`Pool::submit_async`].
///
/// # Cancellation
///
/// Dropping it leaves the line and drops the closure; nothing was submitted.
///
/// # Panics
///
/// When polled after it was ready.
#[must_use = "futures do nothing unless polled"]
pub struct Submit<F, T> {
    work: Option<F>,
    waiting: Waiting<SlotWait, ContextWait>,
    begun: bool,
    cx: Context,
    name: Name,
    shared: Arc<Shared>,
    result: PhantomData<fn() -> T>,
}

// Nothing in it is pinned: the closure is moved out, never polled.
impl<F, T> Unpin for Submit<F, T> {}

impl<F, T> Future for Submit<F, T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    type Output = Result<JobHandle<T>, Rejected<F>>;

    fn poll(mut self: Pin<&mut Self>, task: &mut task::Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let in_line = std::mem::replace(&mut this.begun, true);
        let ended = if in_line { Ok(()) } else { this.cx.check() };
        // On one of the pool's own workers it would wait for itself.
        let own = this.shared.is_own_worker();
        let at_once = || this.shared.try_place().map(|taken| Slot::new(taken, this.shared.clone()));
        let place = match ended {
            Err(why) => Err(why.into()),
            Ok(()) if own && !in_line => at_once(),
            // Polled elsewhere before, it may have been granted a place since.
            Ok(()) => match Pin::new(&mut this.waiting).poll(task) {
                Poll::Pending if own => at_once(),
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(place)) => place.map_err(|reason| this.shared.reason(reason)),
                Poll::Ready(Err(why)) => Err(why.into()),
            },
        };
        let work = this.work.take().expect("polled after it was ready");
        Poll::Ready(match place {
            Ok(slot) => Ok(submit_into(slot, work, &this.cx, this.name.take())),
            Err(reason) => Err(refuse(&this.shared, reason, work)),
        })
    }
}

impl<F, T> fmt::Debug for Submit<F, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Submit").field("pool", &self.shared.name).finish_non_exhaustive()
    }
}
