//! A context whose deadline may be moved on, within bounds that were fixed when it was made.

use super::Context;
use crate::deadline::Extendable;
use std::time::Duration;

impl Context {
    /// The same, ending at `deadline` at the latest, which [`extend_deadline`](Self::extend_deadline) may move up to its
    /// ceiling. Deadline and ceiling only tighten what this context has.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use watertight::{Context, Deadline, ManualClock};
    ///
    /// let time = ManualClock::new();
    /// let in_secs = |n| Deadline::after(time.now(), Duration::from_secs(n));
    /// let request = Context::background().with_clock(&time.clock()).with_extendable(in_secs(2).extendable_to(in_secs(10)));
    /// assert_eq!(request.remaining(), Some(Duration::from_secs(2)));
    ///
    /// let upload = request.extend_deadline(Duration::from_secs(60)); // it turned out to be a large one
    /// assert_eq!(upload.remaining(), Some(Duration::from_secs(10)));
    /// // Whoever is given a tighter deadline cannot get out of it.
    /// let call = upload.with_timeout(Duration::from_secs(1)).extend_deadline(Duration::from_secs(60));
    /// assert_eq!(call.remaining(), Some(Duration::from_secs(1)));
    /// ```
    #[must_use]
    pub fn with_extendable(&self, deadline: Extendable) -> Self {
        self.with(|inner| inner.tighten(deadline))
    }

    /// The same with its deadline moved on by `by`, to its ceiling at most; without a ceiling beyond it
    /// ([`with_extendable`](Self::with_extendable)), or once it has passed, the deadline stays.
    ///
    /// It is another context: whoever waits on this one, and jobs that were submitted with it, keep their end.
    #[must_use]
    pub fn extend_deadline(&self, by: Duration) -> Self {
        if self.deadline().is_never() {
            return self.clone();
        }
        let now = self.now();
        self.with(|inner| {
            inner.deadline = inner.deadline.extend(now, by);
            inner.own_token();
        })
    }
}
