//! Sections that are not to be torn by a cancellation, and work that is to outlive its caller.

use super::{Context, Inner, Token};
use crate::cancel::CancelToken;
use crate::deadline::{Deadline, Extendable};
use crate::error::Interrupted;
use std::future::Future;
use std::time::Duration;

impl Context {
    /// Runs `f` shielded: neither the cancellation of this context nor its deadline is seen by the context that `f` is
    /// given, which is also the ambient one, until `f` has ended. For the section that must not be torn: both halves of a
    /// commit, and no more.
    ///
    /// What bounds it is `limit`, from now on: the shielded context has that deadline. What arrived meanwhile is deferred,
    /// not lost: this context's next [`check`](Self::check) says it, and so does the shielded one from the end of `f` on, to
    /// jobs that `f` has left behind. Those are also told of a later cancellation; of a deadline of this context that passes
    /// later they hear when somebody else notices it, and `limit` bounds them in any case. The values of the context stay.
    ///
    /// # Cancellation
    ///
    /// Deferred, as above. A panic in `f` ends the shield and passes on.
    ///
    /// # Errors
    ///
    /// If this context has ended already: `f` is not run. Once it has begun, its value is returned, whatever has come.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use watertight::{CancelToken, Context};
    ///
    /// let token = CancelToken::new();
    /// let cx = Context::background().with_token(&token);
    /// let committed = cx.shield(Duration::from_secs(1), |cx| {
    ///     token.cancel(); // the client hangs up between the two halves
    ///     cx.check().is_ok()
    /// });
    /// assert_eq!(committed, Ok(true));
    /// assert!(cx.check().is_err(), "deferred, not lost");
    /// ```
    pub fn shield<T>(&self, limit: Duration, f: impl FnOnce(&Context) -> T) -> Result<T, Interrupted> {
        self.check()?;
        let (shielded, lifted_at_the_end) = self.shielded(limit);
        let value = shielded.in_scope(|| f(&shielded));
        drop(lifted_at_the_end);
        self.expired();
        Ok(value)
    }

    /// [`shield`](Self::shield) for a future: `f` makes it from the shielded context, which is the ambient one whenever it
    /// is polled.
    ///
    /// # Cancellation
    ///
    /// No shield holds against being dropped: spawn what must be finished, and await its handle.
    ///
    /// # Errors
    ///
    /// If this context has ended before the first poll: `f` is not called.
    pub fn shield_async<F, Fut>(
        &self,
        limit: Duration,
        f: F,
    ) -> impl Future<Output = Result<Fut::Output, Interrupted>> + use<F, Fut>
    where
        F: FnOnce(Context) -> Fut,
        Fut: Future,
    {
        let cx = self.clone();
        async move {
            cx.check()?;
            let (shielded, lifted_at_the_end) = cx.shielded(limit);
            let work = shielded.in_scope(|| f(shielded.clone()));
            let value = shielded.wrap(work).await;
            drop(lifted_at_the_end);
            cx.expired();
            Ok(value)
        }
    }

    fn shielded(&self, limit: Duration) -> (Self, crate::cancel::Shield) {
        let (token, shield) = self.token().shielded();
        let deadline = Extendable::from(Deadline::after(self.now(), limit));
        let shielded = self.with(|inner| {
            inner.token = Token::inherited(token);
            inner.deadline = deadline;
        });
        (shielded, shield)
    }

    /// A context for work that is to outlive its caller: the values and the clock of this one, and neither its deadline nor
    /// its token. A pool tells its observer of every job that is submitted detached
    /// ([`Event::Detached`](crate::event::Event::Detached)), so that such work is seen.
    ///
    /// Nothing waits for detached work, so bound it: give it a time-out and a token of its own. It also counts as being
    /// outside of the compartment it was made in: whoever is still inside must not wait for it.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use watertight::{Context, Pool};
    ///
    /// let pool = Pool::builder("audit").threads(1).build()?;
    /// let request = Context::current().with_timeout(Duration::from_millis(50));
    /// let audit = request.detached().with_timeout(Duration::from_secs(30));
    /// pool.job().context(&audit).execute(|| { /* written though the caller has gone */ })?;
    /// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
    /// ```
    #[must_use]
    pub fn detached(&self) -> Self {
        self.with(|inner: &mut Inner| {
            inner.token = Token::inherited(CancelToken::never());
            inner.deadline = Extendable::default();
            inner.inside = None;
            inner.detached = true;
        })
    }

    /// Whether it was [detached](Self::detached), or made from one that was.
    pub fn is_detached(&self) -> bool {
        self.0.as_ref().is_some_and(|inner| inner.detached)
    }
}
