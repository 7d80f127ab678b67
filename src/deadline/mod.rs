//! [`Deadline`]: an instant by which something must have ended, or never. A plain value; it holds no clock.
//!
//! [`Split`] divides what is left of one among stages; [`Extendable`] is one that may be moved, up to a ceiling.
//!
//! **Invariants.** 1. Only [`Extendable::extend`] loosens, and never beyond the ceiling; everything else only tightens.
//! 2. No arithmetic here panics: what would overflow is never, what is past stays past. 3. Nothing here allocates.

mod extend;
mod split;
#[cfg(all(test, not(watertight_loom)))]
mod tests;

pub use extend::Extendable;
pub use split::Split;

use std::cmp::Ordering;
use std::fmt;
use std::time::{Duration, Instant};

/// The instant by which work must have ended, or [`NEVER`](Deadline::NEVER).
///
/// It is a value: `now` is always an argument, so the same code runs under the system clock and a
/// [`ManualClock`](crate::ManualClock). Deadlines order by time, never being the greatest, so `a.min(b)` is the sooner.
///
/// # Examples
///
/// ```
/// use std::time::{Duration, Instant};
/// use watertight::Deadline;
///
/// let now = Instant::now();
/// let request = Deadline::after(now, Duration::from_millis(200));
/// // A callee may ask for more than its caller has; it gets what is left.
/// let call = request.child(now, Duration::from_secs(5));
/// assert_eq!(call, request);
/// assert_eq!(call.remaining(now), Some(Duration::from_millis(200)));
/// assert!(Deadline::NEVER > call);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Deadline(Option<Instant>);

impl Deadline {
    /// No deadline. Also the default.
    pub const NEVER: Self = Self(None);

    /// The deadline at `t`.
    pub const fn at(t: Instant) -> Self {
        Self(Some(t))
    }

    /// The deadline `d` after `now`. What a clock cannot express is [`NEVER`](Self::NEVER), not a panic.
    pub fn after(now: Instant, d: Duration) -> Self {
        Self(now.checked_add(d))
    }

    /// The sooner of this deadline and `d` after `now`: it only ever tightens.
    #[must_use]
    pub fn child(self, now: Instant, d: Duration) -> Self {
        self.min(Self::after(now, d))
    }

    /// This deadline less a margin: what to tell whoever is `margin` away, so that the answer is back in time.
    ///
    /// Never stays never, and past stays past. A margin that leads to before all that a clock can express gives the
    /// earliest instant it can, which is past whatever the time.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    /// use watertight::Deadline;
    ///
    /// let now = Instant::now();
    /// let ours = Deadline::after(now, Duration::from_millis(200));
    /// let theirs = ours.minus(Duration::from_millis(15)); // the network's share
    /// assert_eq!(theirs.remaining(now), Some(Duration::from_millis(185)));
    /// assert!(ours.minus(Duration::from_secs(1)).is_past(now));
    /// assert_eq!(Deadline::NEVER.minus(Duration::MAX), Deadline::NEVER);
    /// ```
    #[must_use]
    pub fn minus(self, margin: Duration) -> Self {
        Self(self.0.map(|at| at.checked_sub(margin).unwrap_or_else(|| earliest(at, margin))))
    }

    /// The deadlines of stages that follow one another, each with a share of what is left in proportion to its weight.
    ///
    /// They count from `now` and add up: what an early stage leaves over, those after it have. The last one is this
    /// deadline itself, exactly. A stage of weight 0 gets no time of its own; if all weights are 0, the shares are equal.
    /// Of never every stage gets never, and of what is past nothing.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::{Duration, Instant};
    /// use watertight::Deadline;
    ///
    /// let now = Instant::now();
    /// let request = Deadline::after(now, Duration::from_millis(100));
    /// let [look_up, render, send] = <[_; 3]>::try_from(request.split(now, &[6, 3, 1]).collect::<Vec<_>>()).unwrap();
    /// assert_eq!(look_up.remaining(now), Some(Duration::from_millis(60)));
    /// assert_eq!(render.remaining(now), Some(Duration::from_millis(90)));
    /// assert_eq!(send, request);
    /// ```
    pub fn split(self, now: Instant, weights: &[u32]) -> Split<'_> {
        Split::new(self, now, weights)
    }

    /// This deadline, to be extended up to `ceiling` at most. A ceiling that is sooner tightens it at once.
    pub fn extendable_to(self, ceiling: impl Into<Self>) -> Extendable {
        Extendable::new(self, ceiling.into())
    }

    /// The instant, or `None` for never.
    pub const fn instant(self) -> Option<Instant> {
        self.0
    }

    /// The time left at `now`: `None` for never, zero once it has passed.
    pub fn remaining(self, now: Instant) -> Option<Duration> {
        self.0.map(|at| at.saturating_duration_since(now))
    }

    /// Whether it has passed at `now`. The instant itself counts as passed.
    pub fn is_past(self, now: Instant) -> bool {
        self.0.is_some_and(|at| at <= now)
    }

    /// Whether there is no deadline.
    pub const fn is_never(self) -> bool {
        self.0.is_none()
    }
}

/// The earliest instant that can be had by going back from `at` by at most `margin`, which is too far.
///
/// Each step that still fits is taken and each that does not is halved, so after some hundred of them not a nanosecond is
/// left to go.
#[cold]
fn earliest(mut at: Instant, margin: Duration) -> Instant {
    let mut step = margin;
    while !step.is_zero() {
        match at.checked_sub(step) {
            Some(before) => at = before,
            None => step /= 2,
        }
    }
    at
}

impl Ord for Deadline {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self.0, other.0) {
            (Some(a), Some(b)) => a.cmp(&b),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => Ordering::Equal,
        }
    }
}

impl PartialOrd for Deadline {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl From<Instant> for Deadline {
    fn from(t: Instant) -> Self {
        Self::at(t)
    }
}

impl fmt::Debug for Deadline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(at) => write!(f, "Deadline({at:?})"),
            None => f.write_str("Deadline(never)"),
        }
    }
}
