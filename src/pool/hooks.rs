//! [`Hooks`]: what a pool's user wants done at the turns of a worker's life, and the wait until all are warm.
//!
//! **Invariants.** 1. A panic in a hook goes nowhere: the job, the worker and the other hooks go on. 2. One worker at most is
//! at the idle hook, and it has given up its search first, so a job that comes wakes another. **Locking.** None while a hook
//! runs.

use super::Pool;
use super::shared::Shared;
use super::told::Who;
use crate::cancel::TokenWait;
use crate::context::{Context, ContextWait};
use crate::error::{CancelCause, Interrupted, JobId, PanicPayload};
use crate::event::Event;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{Arc, Shared as Counted, drop_quietly, quietly};
use crate::wait::{Waiting, block_on};
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, RefUnwindSafe, UnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{self, Poll};

/// What a hook is told.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct AtHook<'a> {
    /// The pool's name.
    pub pool: &'a str,
    /// The worker's number, from 0; `None` for a job that runs on the thread that submitted it.
    pub worker: Option<usize>,
    /// The job's name, if it is about a job and that has one.
    pub job: Option<&'a str>,
    /// Which job, if it is about one that has a handle or is one of several.
    pub id: Option<JobId>,
    /// Whether the job panicked: only told after it.
    pub panicked: bool,
}

type Hook = Counted<dyn Fn(&AtHook<'_>) + Send + Sync>;

/// What is called at the turns of a worker's life, each on the worker's own thread. None by default; set for a pool by
/// [`PoolBuilder::hooks`](super::PoolBuilder::hooks).
///
/// A panic in a hook goes nowhere. A pool without a hook pays nothing for it.
///
/// # Examples
///
/// ```
/// use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
/// use std::sync::Arc;
/// use watertight::pool::Hooks;
/// use watertight::{Context, Pool};
///
/// let connections = Arc::new(AtomicUsize::new(0));
/// let opened = connections.clone();
/// let hooks = Hooks::new().warm_up(move |_| _ = opened.fetch_add(1, Relaxed));
/// let pool = Pool::builder("reports").threads(3).hooks(hooks).build()?;
/// pool.ready(&Context::background())?; // before it is told to anybody that it serves
/// assert_eq!(connections.load(Relaxed), 3);
/// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
/// ```
#[derive(Clone, Default)]
#[must_use = "hooks are for PoolBuilder::hooks"]
pub struct Hooks {
    on_start: Option<Hook>,
    on_stop: Option<Hook>,
    before: Option<Hook>,
    after: Option<Hook>,
    idle: Option<Hook>,
    warm_up: Option<Hook>,
}

impl Hooks {
    /// None.
    pub fn new() -> Self {
        Self::default()
    }

    /// When a worker's thread begins, also one that replaces another.
    pub fn on_start(mut self, f: impl Fn(&AtHook<'_>) + Send + Sync + 'static) -> Self {
        self.on_start = Some(Counted::new(f));
        self
    }

    /// When it ends. A shutdown waits for it, but for that of a worker that was replaced.
    pub fn on_stop(mut self, f: impl Fn(&AtHook<'_>) + Send + Sync + 'static) -> Self {
        self.on_stop = Some(Counted::new(f));
        self
    }

    /// Before each job, in its context.
    pub fn before(mut self, f: impl Fn(&AtHook<'_>) + Send + Sync + 'static) -> Self {
        self.before = Some(Counted::new(f));
        self
    }

    /// After each job, in its context, whether it has ended well or by a panic.
    pub fn after(mut self, f: impl Fn(&AtHook<'_>) + Send + Sync + 'static) -> Self {
        self.after = Some(Counted::new(f));
        self
    }

    /// When a worker finds no job and is about to sleep; on one worker at a time. For upkeep out of band: a job that comes
    /// meanwhile is another worker's, or waits for the end of this if there is no other, so keep it short.
    pub fn idle(mut self, f: impl Fn(&AtHook<'_>) + Send + Sync + 'static) -> Self {
        self.idle = Some(Counted::new(f));
        self
    }

    /// Before a worker takes its first job, also one that replaces another: connections, caches, whatever the first job would
    /// else have to wait for. [`Pool::ready`] waits for those of the first workers. A worker whose warm-up panics is told of
    /// ([`Event::WarmUpPanicked`]) and works, but the pool is not ready.
    pub fn warm_up(mut self, f: impl Fn(&AtHook<'_>) + Send + Sync + 'static) -> Self {
        self.warm_up = Some(Counted::new(f));
        self
    }

    /// Around a job.
    pub(super) fn around<T>(&self, shared: &Shared, seat: usize, who: Who<'_>, run: impl FnOnce() -> T) -> T {
        let (Who { id, name: job }, worker) = (who, shared.worker_of(seat));
        let mut at = AtHook { pool: &shared.name, worker, job, id, panicked: false };
        call(&self.before, &at);
        let ran = catch_unwind(AssertUnwindSafe(run));
        at.panicked = ran.is_err();
        call(&self.after, &at);
        ran.unwrap_or_else(|payload| std::panic::resume_unwind(payload))
    }

    pub(super) fn has_any_around(&self) -> bool {
        self.before.is_some() || self.after.is_some()
    }

    pub(super) fn stops(&self, shared: &Shared, number: usize) {
        call(&self.on_stop, &shared.at_hook(number));
    }

    /// What the worker of this number does before it sleeps.
    pub(super) fn before_sleep(&self, shared: &Arc<Shared>, number: usize) -> Option<Box<dyn Fn()>> {
        let hook = self.idle.clone()?;
        let shared = shared.clone();
        Some(Box::new(move || {
            if shared.at_idle.0.swap(1, Ordering::AcqRel) == 0 {
                call(&Some(hook.clone()), &shared.at_hook(number));
                shared.at_idle.0.swap(0, Ordering::AcqRel);
            }
        }))
    }
}

/// Whether a worker is at the idle hook.
pub(super) struct AtIdle(AtomicU64);

impl AtIdle {
    pub(super) fn new() -> Self {
        Self(AtomicU64::new(0))
    }
}

fn call(hook: &Option<Hook>, at: &AtHook<'_>) {
    if let Some(hook) = hook {
        quietly(|| hook(at));
    }
}

impl Shared {
    fn worker_of(&self, seat: usize) -> Option<usize> {
        (seat < self.seats).then_some(seat)
    }

    fn at_hook(&self, number: usize) -> AtHook<'_> {
        AtHook { pool: &self.name, worker: Some(number), job: None, id: None, panicked: false }
    }

    /// A worker's thread begins: hooks and warm-up come before its first job.
    pub(super) fn begins(&self, number: usize) {
        let at = self.at_hook(number);
        call(&self.hooks.on_start, &at);
        if let Some(warm_up) = &self.hooks.warm_up {
            if let Err(payload) = catch_unwind(AssertUnwindSafe(|| warm_up(&at))) {
                let payload = PanicPayload::new(payload);
                let message = payload.message();
                self.observed.tell(Event::WarmUpPanicked { name: &self.name, worker: number, message });
                self.ready.cancel_because(NOT_WARM);
                drop_quietly(payload);
            }
        }
        let mut life = self.life.lock();
        let ready = life.begun(number);
        drop(life);
        if ready {
            self.ready.cancel();
        }
    }
}

const NOT_WARM: CancelCause = CancelCause::Because("a warm-up panicked");

/// Why a pool is not [ready](Pool::ready).
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NotReady {
    /// The context ended first.
    #[error("not ready yet")]
    Interrupted(#[source] Interrupted),
    /// A warm-up panicked. The observer was told which; the worker works all the same.
    #[error("a warm-up panicked")]
    WarmUpPanicked,
    /// The pool was shut down first.
    #[error("shut down before it was ready")]
    ShutDown,
}

fn ready(waited: Result<Interrupted, Interrupted>) -> Result<(), NotReady> {
    match waited {
        Ok(Interrupted::Cancelled(CancelCause::Requested)) => Ok(()),
        Ok(Interrupted::Cancelled(CancelCause::Shutdown)) => Err(NotReady::ShutDown),
        Ok(_) => Err(NotReady::WarmUpPanicked),
        Err(why) => Err(NotReady::Interrupted(why)),
    }
}

impl Pool {
    /// Waits until every worker the pool was built with is warm: its thread has begun and its [warm-up](Hooks::warm_up) has
    /// returned. Jobs may be submitted before that, and wait.
    ///
    /// # Blocking
    ///
    /// Blocks this thread until then, or until `cx` ends. Called in a warm-up, it waits for that warm-up itself.
    ///
    /// # Errors
    ///
    /// [`NotReady`]: `cx` ended, a warm-up panicked, or the pool was shut down.
    pub fn ready(&self, cx: &Context) -> Result<(), NotReady> {
        ready(block_on(self.owner.shared.ready.waiting(), cx))
    }

    /// [`ready`](Self::ready) as a future.
    ///
    /// # Cancellation
    ///
    /// Dropping it stops the waiting.
    pub fn ready_async(&self, cx: &Context) -> Ready {
        Ready(Waiting::new(self.owner.shared.ready.waiting(), cx))
    }
}

/// The future of [`Pool::ready_async`].
///
/// # Cancellation
///
/// Dropping it stops the waiting.
///
/// # Panics
///
/// When polled after it was ready.
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct Ready(Waiting<TokenWait, ContextWait>);

impl Future for Ready {
    type Output = Result<(), NotReady>;

    fn poll(mut self: Pin<&mut Self>, task: &mut task::Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(task).map(ready)
    }
}

// A panic in a hook is caught, and they are only ever shared.
impl UnwindSafe for Hooks {}
impl RefUnwindSafe for Hooks {}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hooks")
            .field("on_start", &self.on_start.is_some())
            .field("on_stop", &self.on_stop.is_some())
            .field("before", &self.before.is_some())
            .field("after", &self.after.is_some())
            .field("idle", &self.idle.is_some())
            .field("warm_up", &self.warm_up.is_some())
            .finish()
    }
}
