//! [`Bulkhead::fallback`]: what to do instead, outside the saturated compartment and under a cap of its own.
//!
//! **Invariants.** 1. A fallback never waits and holds nothing of the compartment. 2. What became of the work stays
//! known: an error comes back as it was, whether there was no place or the fallback failed too. **Locking.** None.

use super::state::Figure;
use super::{Bulkhead, Inner};
use crate::error::CallError;

/// Counts a fallback that ended without a value, a panic included.
struct InVain<'a>(Option<&'a Inner>);

impl Drop for InVain<'_> {
    fn drop(&mut self) {
        if let Some(inner) = self.0 {
            inner.figures.add(Figure::FallbackFailed);
        }
    }
}

impl Bulkhead {
    /// What to do instead of a call that failed or was refused: runs `f` on this thread, outside the compartment, if
    /// fewer than [so many](super::BulkheadBuilder::fallbacks) run (10 unless it says otherwise). A saturated compartment
    /// therefore does not keep its fallbacks from running, and a fallback that turns slow cannot take every thread.
    ///
    /// `f` may look at the error. Do not call another dependency in it without a compartment of *its* own. The figures are in
    /// [`state`](Self::state).
    ///
    /// # Errors
    ///
    /// The error of the call itself, `e`, if there is no place for another fallback, or if `f` fails: then
    /// [`started`](CallError::started) still says what became of the work. What `f` failed with is dropped.
    ///
    /// # Panics
    ///
    /// A panic of `f` passes through; it is counted, and its place is given back.
    ///
    /// # Examples
    ///
    /// ```
    /// use watertight::{Bulkhead, CallError, Context, Isolation, RejectReason};
    ///
    /// let recommendations = Bulkhead::builder("recommendations", Isolation::Permits(1)).no_timeout().build()?;
    /// let cx = Context::current();
    /// let shown = recommendations
    ///     .call_here(&cx, |_cx| Err::<[u32; 2], _>("timed out"))
    ///     .or_else(|e| recommendations.fallback(e, |_e| Ok([1, 2]))); // what everybody likes
    /// assert_eq!(shown.unwrap(), [1, 2]);
    /// assert_eq!(recommendations.state().fallbacks, 1);
    ///
    /// // Only for refusals: whatever else it was stays an error.
    /// let failed: CallError<&str> = CallError::Failed("no such customer");
    /// let shown = recommendations.fallback(failed, |e| if e.started() { Err("as it was") } else { Ok([1, 2]) });
    /// assert!(matches!(shown, Err(CallError::Failed("no such customer"))));
    /// # Ok::<(), watertight::BuildError>(())
    /// ```
    pub fn fallback<T, E>(
        &self,
        e: CallError<E>,
        f: impl FnOnce(&CallError<E>) -> Result<T, E>,
    ) -> Result<T, CallError<E>> {
        let inner = &*self.0;
        let Ok(_place) = inner.fallbacks.try_acquire_ref() else {
            inner.figures.add(Figure::FallbackRefused);
            return Err(e);
        };
        inner.figures.add(Figure::Fallbacks);
        let mut in_vain = InVain(Some(inner));
        match f(&e) {
            Ok(instead) => {
                in_vain.0 = None;
                Ok(instead)
            }
            Err(_) => Err(e),
        }
    }
}
