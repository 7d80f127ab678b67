//! [`Extendable`]: a deadline that may be moved, up to a ceiling that may not.
//!
//! **Invariants.** 1. The deadline is never later than the ceiling. 2. The ceiling only ever comes sooner. 3. A deadline
//! that has passed stays: others may have acted on it.

use super::Deadline;
use std::time::{Duration, Instant};

/// A deadline and the latest it may ever be extended to. Made by [`Deadline::extendable_to`]; carried by a context that is
/// made by [`Context::with_extendable`](crate::Context::with_extendable).
///
/// # Examples
///
/// ```
/// use std::time::{Duration, Instant};
/// use watertight::Deadline;
///
/// let now = Instant::now();
/// let second = Duration::from_secs(1);
/// let upload = Deadline::after(now, second).extendable_to(Deadline::after(now, 5 * second));
/// assert_eq!(upload.extend(now, second).deadline().remaining(now), Some(2 * second));
/// assert_eq!(upload.extend(now, 60 * second).deadline(), upload.ceiling());
/// // Too late is too late.
/// assert_eq!(upload.extend(now + second, second), upload);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Extendable {
    deadline: Deadline,
    ceiling: Deadline,
}

impl Extendable {
    pub(super) fn new(deadline: Deadline, ceiling: Deadline) -> Self {
        Self { deadline: deadline.min(ceiling), ceiling }
    }

    /// The deadline as it is now.
    pub const fn deadline(self) -> Deadline {
        self.deadline
    }

    /// The latest it can become.
    pub const fn ceiling(self) -> Deadline {
        self.ceiling
    }

    /// The deadline moved on by `by`, to the ceiling at most. One that has passed at `now` stays where it is.
    #[must_use]
    pub fn extend(self, now: Instant, by: Duration) -> Self {
        match self.deadline.instant() {
            Some(at) if at > now => Self::new(Deadline::after(at, by), self.ceiling),
            _ => self,
        }
    }

    /// The sooner of both, deadline and ceiling each: it only tightens. A plain [`Deadline`] leaves nothing to extend
    /// beyond it.
    #[must_use]
    pub fn tighten(self, other: impl Into<Self>) -> Self {
        let other = other.into();
        Self::new(self.deadline.min(other.deadline), self.ceiling.min(other.ceiling))
    }
}

/// One that cannot be extended: its ceiling is itself.
impl From<Deadline> for Extendable {
    fn from(deadline: Deadline) -> Self {
        Self { deadline, ceiling: deadline }
    }
}
