//! [`Admission`]: the breaker's leave, a place and a permit in one value, for streams, callbacks and adapters.
//!
//! **Invariants.** 1. Every admission that is asked for is counted once as a request and once at its end, dropped ones
//! included. 2. It owns its permit: it never borrows that of the thread it was asked for on, because it may leave it.
//! 3. None is given after the end of its context. **Locking.** None.

use super::attempt::{Leave, given_up};
use super::drive::Bounds;
use super::place::{Place, Running};
use super::state::Figure;
use super::{Bulkhead, Inner};
use crate::breaker::Admitted;
use crate::context::Context;
use crate::error::RejectReason;
use crate::event::Class;
use crate::permit::{Acquire, Permit};
use crate::sync::{Arc, thread};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{self, Poll};

/// Leave to make one call in a compartment, from [`Bulkhead::admit`] and its kin: for work that is not one closure, such
/// as a stream that is read by and by, or a callback. It counts as running until it is gone.
///
/// Say how the call ended: [`success`](Self::success), [`failure`](Self::failure), [`record`](Self::record). Dropping it
/// without a word says nothing about the dependency, but dropping it because the thread unwinds from a panic that began
/// after the admission is a failure.
///
/// Nobody ends the work at its deadline: keep to its [`context`](Self::context).
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use watertight::{Bulkhead, Context, Isolation};
///
/// let feed = Bulkhead::builder("feed", Isolation::Permits(4)).timeout(Duration::from_secs(5)).build()?;
/// let admission = feed.admit(&Context::current())?;
/// let mut lines = ["one", "two"].into_iter();
/// std::thread::spawn(move || { // it moves to whoever knows how the call ends
///     while let Some(_line) = lines.next() {
///         if admission.context().check().is_err() {
///             return admission.failure(); // too slow
///         }
///     }
///     admission.success();
/// }).join().unwrap();
/// assert_eq!((feed.state().succeeded, feed.state().running), (1, 0));
/// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
/// ```
#[must_use = "the permit is given back when it is dropped, and dropping it records neither success nor failure"]
pub struct Admission {
    // In this order: whoever sees a free place knows what the breaker was told.
    admitted: Option<Admitted<'static>>,
    running: Option<Running<'static>>,
    cx: Context,
    inner: Arc<Inner>,
    /// The thread was unwinding already when this was made.
    unwinding: bool,
}

/// How it ended, for the figures.
#[derive(Clone, Copy)]
enum How {
    Well,
    Badly,
    Unsaid,
}

impl Admission {
    fn new(inner: &Arc<Inner>, leave: Leave, running: Running<'static>, cx: Context) -> Self {
        inner.entered(1);
        Self {
            admitted: leave.into_admitted(),
            running: Some(running),
            cx,
            inner: inner.clone(),
            unwinding: thread::panicking(),
        }
    }

    /// The context of the call: that of whoever asked, with the compartment's time-out, or with that of a probe.
    pub fn context(&self) -> &Context {
        &self.cx
    }

    /// Whether this call is a probe of a half-open breaker.
    pub fn is_probe(&self) -> bool {
        self.admitted.as_ref().is_some_and(Admitted::is_probe)
    }

    /// The dependency did its part.
    pub fn success(self) {
        self.record_as(Class::Success);
    }

    /// The dependency failed: no answer, no answer in time, or an error of its own.
    pub fn failure(self) {
        self.record_as(Class::Failure);
    }

    /// Says nothing about the dependency.
    pub fn ignore(self) {
        self.record_as(Class::Ignore);
    }

    /// [`success`](Self::success) for `Ok`, [`failure`](Self::failure) for `Err`.
    pub fn record<T, E>(self, result: &Result<T, E>) {
        self.record_as(if result.is_ok() { Class::Success } else { Class::Failure });
    }

    /// What somebody who knows has made of the result. A failure after the caller's own cancellation is not told to the
    /// breaker.
    pub fn record_as(mut self, class: Class) {
        let how = match class {
            Class::Success | Class::Slow => How::Well,
            Class::Failure | Class::Final | Class::RetryAfter(_) => How::Badly,
            Class::Ignore => How::Unsaid,
        };
        let told = if matches!(how, How::Badly) && given_up(&self.cx) { Class::Ignore } else { class };
        if let Some(admitted) = self.admitted.take() {
            admitted.record_as(told);
        }
        self.end(how);
    }

    fn end(&mut self, how: How) {
        // Whoever sees the permit come back sees the call counted.
        if let Some(running) = self.running.take() {
            match how {
                How::Well => self.inner.figures.add(Figure::Succeeded),
                How::Badly => self.inner.figures.add(Figure::Failed),
                How::Unsaid => self.inner.figures.left(true),
            }
            drop(running);
        }
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        let panicked = thread::panicking() && !self.unwinding;
        drop(self.admitted.take()); // it sees a panic by itself
        self.end(if panicked { How::Badly } else { How::Unsaid });
    }
}

impl Bulkhead {
    /// The breaker's leave and a permit, if there is one now. Never waits.
    ///
    /// # Errors
    ///
    /// Why there is none: nothing was begun.
    pub fn try_admit(&self, cx: &Context) -> Result<Admission, RejectReason> {
        let inner = &self.0;
        inner.figures.add(Figure::Requests);
        match inner.begin(cx) {
            Ok(Begun { leave, place, permit: Some(permit), cx }) => {
                Ok(Admission::new(inner, leave, Running::new(place, permit), cx))
            }
            Ok(without) => {
                drop(without); // not one of those that wait
                Err(inner.refused(inner.full_now()))
            }
            Err(reason) => Err(inner.refused(reason)),
        }
    }

    /// The breaker's leave and a permit, waited for in the compartment's [queue](super::BulkheadBuilder::queue) if there
    /// is one.
    ///
    /// # Blocking
    ///
    /// Blocks this thread until there is a permit or the deadline passes or the token of `cx` is cancelled; not at all
    /// from inside the compartment's own work, which may hold the permit it would wait for.
    ///
    /// # Errors
    ///
    /// Why there is none: nothing was begun.
    ///
    /// # Fairness
    ///
    /// First come, first served, in one line with [`call_here`](Self::call_here), [`call_async`](Self::call_async) and the
    /// compartment's threads.
    pub fn admit(&self, cx: &Context) -> Result<Admission, RejectReason> {
        let inner = &self.0;
        inner.figures.add(Figure::Requests);
        let waited = inner.begin(cx).and_then(|begun| {
            let permit = match begun.permit {
                Some(permit) => permit,
                None => inner.permit(&begun.cx)?,
            };
            begun.cx.check()?;
            Ok(Admission::new(inner, begun.leave, Running::new(begun.place, permit), begun.cx))
        });
        waited.map_err(|reason| inner.refused(reason))
    }

    /// [`admit`](Self::admit) as a future. Nothing happens before the first poll.
    ///
    /// # Cancellation
    ///
    /// Dropping it leaves the line.
    ///
    /// # Examples
    ///
    /// ```
    /// # async fn example(feed: watertight::Bulkhead) -> Result<(), watertight::RejectReason> {
    /// use watertight::Context;
    ///
    /// let admission = feed.admit_async(&Context::current()).await?;
    /// let answer = admission.context().run(async { Ok::<_, ()>(7) }).await;
    /// match &answer {
    ///     Ok(result) => admission.record(result),
    ///     Err(_too_late) => admission.failure(),
    /// }
    /// # assert_eq!(feed.state().succeeded, 1);
    /// # Ok(())
    /// # }
    /// # use watertight::{Bulkhead, Isolation};
    /// # let feed = Bulkhead::builder("feed", Isolation::Permits(1)).no_timeout().build().unwrap();
    /// # futures::executor::block_on(example(feed)).unwrap();
    /// ```
    pub fn admit_async(&self, cx: &Context) -> Admit {
        Admit { inner: self.0.clone(), stage: Stage::Begin(cx.clone()) }
    }
}

/// What an admission has before it has a permit, or with it if one was free.
struct Begun {
    leave: Leave,
    place: Place,
    permit: Option<Permit>,
    cx: Context,
}

impl Inner {
    /// All that is decided without waiting. A refusal makes no context.
    fn begin(&self, cx: &Context) -> Result<Begun, RejectReason> {
        cx.check()?;
        let leave = self.admit()?;
        let mut place = self.place()?;
        let permit = self.permit_at_once().ok();
        if permit.is_none() {
            self.may_wait(&mut place, cx)?;
        }
        let cx = Bounds::new(self, cx).into_attempt(&leave).kept();
        Ok(Begun { leave, place, permit, cx })
    }
}

/// The future of [`Bulkhead::admit_async`].
///
/// # Panics
///
/// When polled after it was ready.
#[must_use = "futures do nothing unless polled"]
pub struct Admit {
    inner: Arc<Inner>,
    stage: Stage,
}

#[allow(clippy::large_enum_variant, reason = "the largest is the one that waits; a box would be an allocation for it")]
enum Stage {
    Begin(Context),
    InLine { leave: Leave, place: Place, turn: Acquire, cx: Context },
    Done,
}

impl Admit {
    fn begin(&mut self, cx: &Context) -> Result<Admission, Option<RejectReason>> {
        let inner = self.inner.clone();
        inner.figures.add(Figure::Requests);
        let Begun { leave, place, permit, cx } = inner.begin(cx).map_err(Some)?;
        match permit {
            Some(permit) => Ok(Admission::new(&inner, leave, Running::new(place, permit), cx)),
            None => {
                self.stage = Stage::InLine { leave, place, turn: inner.permit_async(&cx), cx };
                Err(None)
            }
        }
    }
}

impl Future for Admit {
    type Output = Result<Admission, RejectReason>;

    fn poll(mut self: Pin<&mut Self>, task: &mut task::Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if let Stage::Begin(cx) = &this.stage {
            let cx = cx.clone();
            this.stage = Stage::Done;
            match this.begin(&cx) {
                Ok(admission) => return Poll::Ready(Ok(admission)),
                Err(Some(reason)) => return Poll::Ready(Err(this.inner.refused(reason))),
                Err(None) => {}
            }
        }
        let Stage::InLine { turn, .. } = &mut this.stage else { panic!("polled after it was ready") };
        let Poll::Ready(turn) = Pin::new(turn).poll(task) else { return Poll::Pending };
        let Stage::InLine { leave, place, cx, .. } = std::mem::replace(&mut this.stage, Stage::Done) else {
            unreachable!("it was in line just now")
        };
        let permit = turn.and_then(|permit| Ok(cx.check().map(|()| permit)?));
        Poll::Ready(match permit {
            Ok(permit) => Ok(Admission::new(&this.inner, leave, Running::new(place, permit), cx)),
            Err(reason) => Err(this.inner.refused(reason)),
        })
    }
}

impl Drop for Admit {
    fn drop(&mut self) {
        if let Stage::InLine { .. } = self.stage {
            self.inner.figures.left(false);
        }
    }
}

impl fmt::Debug for Admission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let probe = self.is_probe();
        f.debug_struct("Admission").field("bulkhead", &self.inner.name).field("probe", &probe).finish_non_exhaustive()
    }
}

impl fmt::Debug for Admit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admit").field("bulkhead", &self.inner.name).finish_non_exhaustive()
    }
}
