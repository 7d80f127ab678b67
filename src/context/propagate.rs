//! The hook by which something else's ambient state travels with ours: tracing's span, OpenTelemetry's context.
//!
//! **Invariants.** 1. The hook is set once for the process, before which nothing is captured. 2. What was captured for a
//! job is entered where the job's context is entered first, and not again inside: work there may have entered a span of its
//! own. 3. A panic in a hook costs what it carries and nothing else. **Locking.** None.

use super::Context;
use crate::sync::{Shared, drop_quietly, quietly};
use std::any::Any;
use std::fmt;

/// Carries some other library's ambient state from where a job is submitted to where it runs. Set once with
/// [`propagate`]; two are carried by a tuple.
///
/// # Examples
///
/// With the `tracing` crate it is `type Carried = Span`, `capture` is `Some(Span::current())` and `enter` is
/// `carried.clone().entered()`. The same with a thread-local of one's own:
///
/// ```
/// use std::cell::Cell;
/// use watertight::{Pool, context::{Propagate, propagate}};
///
/// thread_local!(static REQUEST: Cell<u64> = const { Cell::new(0) });
///
/// struct RequestId;
///
/// struct Back(u64);
/// impl Drop for Back {
///     fn drop(&mut self) {
///         REQUEST.set(self.0);
///     }
/// }
///
/// impl Propagate for RequestId {
///     type Carried = u64;
///     type Entered = Back;
///     fn capture(&self) -> Option<u64> {
///         Some(REQUEST.get())
///     }
///     fn enter(&self, carried: &u64) -> Back {
///         Back(REQUEST.replace(*carried))
///     }
/// }
///
/// assert!(propagate(RequestId).is_ok());
/// let pool = Pool::builder("work").threads(1).build()?;
/// REQUEST.set(42);
/// assert_eq!(pool.submit(|| REQUEST.get())?.join()?, 42);
/// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
/// ```
pub trait Propagate: Send + Sync + 'static {
    /// What is carried: taken on one thread, entered on others, perhaps on several at once.
    type Carried: Send + Sync + 'static;
    /// What leaves it again when dropped. Dropped on the thread it was made on, in the reverse order.
    type Entered: 'static;

    /// Takes this thread's state along, when a job is submitted. With `None` nothing is entered around the job, which then
    /// finds whatever its thread has: nothing on a worker, but a [join](crate::JobHandle::join) on one of the pool's own
    /// workers may run the job inside of another. Where that matters, carry the empty state. It should be quick.
    fn capture(&self) -> Option<Self::Carried>;

    /// Makes what is carried this thread's state, around a job.
    fn enter(&self, carried: &Self::Carried) -> Self::Entered;
}

impl<A: Propagate, B: Propagate> Propagate for (A, B) {
    type Carried = (Option<A::Carried>, Option<B::Carried>);
    type Entered = (Option<B::Entered>, Option<A::Entered>); // dropped in this order

    fn capture(&self) -> Option<Self::Carried> {
        let carried = (self.0.capture(), self.1.capture());
        if carried.0.is_none() && carried.1.is_none() { None } else { Some(carried) }
    }

    fn enter(&self, carried: &Self::Carried) -> Self::Entered {
        let a = carried.0.as_ref().map(|carried| self.0.enter(carried));
        let b = carried.1.as_ref().map(|carried| self.1.enter(carried));
        (b, a)
    }
}

/// Sets what travels with every job of this process from now on.
///
/// # Errors
///
/// If it has been set before: it stays as it is. It is for programs to set, not for libraries.
pub fn propagate(hook: impl Propagate) -> Result<(), AlreadySet> {
    #[cfg(not(watertight_loom))]
    return HOOK.set(Box::new(hook)).map_err(|_| AlreadySet(()));
    #[cfg(watertight_loom)]
    {
        drop(hook);
        Err(AlreadySet(()))
    }
}

/// [`propagate`] has been called before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("what travels with jobs has been set before")]
pub struct AlreadySet(());

#[cfg(not(watertight_loom))]
static HOOK: crate::sync::OnceLock<Box<dyn Hook>> = crate::sync::OnceLock::new();

/// A [`Propagate`] without its types.
trait Hook: Send + Sync {
    fn capture(&self) -> Option<Shared<dyn Any + Send + Sync>>;
    fn enter(&self, carried: &(dyn Any + Send + Sync)) -> Option<Box<dyn Any>>;
}

impl<P: Propagate> Hook for P {
    fn capture(&self) -> Option<Shared<dyn Any + Send + Sync>> {
        Propagate::capture(self).map(|carried| Shared::new(carried) as _)
    }

    fn enter(&self, carried: &(dyn Any + Send + Sync)) -> Option<Box<dyn Any>> {
        carried.downcast_ref().map(|carried| Box::new(Propagate::enter(self, carried)) as _)
    }
}

fn hook() -> Option<&'static dyn Hook> {
    #[cfg(not(watertight_loom))]
    return HOOK.get().map(|hook| &**hook);
    #[cfg(watertight_loom)]
    None
}

/// What a hook has taken along for a job.
#[derive(Clone)]
pub(super) struct Carried(Option<Shared<dyn Any + Send + Sync>>);

impl Drop for Carried {
    fn drop(&mut self) {
        if let Some(carried) = self.0.take() {
            drop_quietly(carried);
        }
    }
}

impl fmt::Debug for Carried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Carried")
    }
}

impl Carried {
    /// Takes this thread's state along, as far as the hook wants it.
    fn capture(hook: &dyn Hook) -> Option<Self> {
        let mut carried = None;
        quietly(|| carried = hook.capture());
        carried.map(|carried| Self(Some(carried)))
    }

    /// Makes it this thread's state.
    pub(super) fn enter(&self) -> Option<Box<dyn Any>> {
        let (hook, carried) = (hook()?, self.0.as_ref()?);
        let mut entered = None;
        quietly(|| entered = hook.enter(&**carried));
        entered
    }

    pub(super) fn is(&self, other: &Self) -> bool {
        matches!((&self.0, &other.0), (Some(a), Some(b)) if Shared::ptr_eq(a, b))
    }
}

impl Context {
    /// This context for a job that is submitted on this thread, now. What the context carried before was for another.
    pub(crate) fn captured(self) -> Self {
        let Some(hook) = hook() else { return self };
        match Carried::capture(hook) {
            None if self.carried().is_none() => self,
            carried => self.with(|inner| inner.carried = carried),
        }
    }

    pub(super) fn carried(&self) -> Option<&Carried> {
        self.0.as_ref().and_then(|inner| inner.carried.as_ref())
    }
}
