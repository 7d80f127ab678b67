//! [`Retry`]: how often to try again, how long to pause between attempts, and how much of it all callers together may do.
//!
//! Parts that know nothing of each other: `schedule.rs` says how long to pause (pure), `budget.rs` whether the retry may be
//! paid for, `cap.rs` whether the request as a whole may have another, `expected.rs` how long an attempt takes, `key.rs` by
//! what an attempt is known to be the same again; this file is the description of all. `attempts.rs` drives them for a loop of the user's own; in a compartment the bulkhead does. Nothing
//! here runs the work.
//!
//! **Locking.** None.

mod attempts;
mod budget;
mod cap;
mod expected;
mod key;
mod schedule;

#[cfg(all(test, watertight_loom, not(watertight_shuttle)))]
mod loom_tests;

pub(crate) use attempts::Paid;
pub use attempts::{Attempts, GaveUp, Pause};
pub use budget::{Budget, BudgetStats};
pub use cap::RetryCap;
pub use expected::Expected;
pub use key::IdempotencyKey;
pub use schedule::{Jitter, Schedule};

use crate::context::Context;
use crate::error::BuildError;
use crate::sync::seed;
use std::time::Duration;

const MAX_ATTEMPTS: u32 = 1_000;
const MAX_PAUSE: Duration = Duration::from_secs(24 * 60 * 60);
const DEFAULT_CAP: Duration = Duration::from_secs(30);

/// How a failed call is tried again: pauses, number of attempts, budget.
///
/// Only work that may run twice should: in a bulkhead retries take effect for calls that are declared idempotent.
///
/// | | Default | Allowed |
/// |---|---|---|
/// | [`exponential`](Self::exponential), [`decorrelated`](Self::decorrelated) | – | above 0, at most one day |
/// | [`constant`](Self::constant) | – | at most one day |
/// | [`max`](Self::max) | 30 s, or the base if that is longer | the base to one day; not with `constant` |
/// | [`attempts`](Self::attempts) | 3, the first included | 1 to 1,000 |
/// | [`jitter`](Self::jitter) | [`Jitter::Full`] | not with `decorrelated` |
/// | [`budget`](Self::budget) | none: give it one | see [`Budget`] |
/// | [`expect`](Self::expect) | nothing | at most one day |
///
/// # Examples
///
/// In a loop of one's own, within a context:
///
/// ```
/// use std::time::Duration;
/// use watertight::{Budget, Context, Retry};
///
/// # let mut busy = 1;
/// # let mut ask = |_left: Option<Duration>| if busy > 0 { busy -= 1; Err("busy") } else { Ok(7) };
/// let retry = Retry::exponential(Duration::from_millis(1)).attempts(3).budget(Budget::percent(100));
/// let cx = Context::current().with_timeout(Duration::from_secs(1));
///
/// let mut attempts = retry.attempts_within(&cx);
/// let answer = loop {
///     match ask(cx.remaining()) {
///         Err(_) if attempts.pause().is_ok() => {} // once more
///         last => break last,
///     }
/// };
/// assert_eq!(answer, Ok(7));
/// # Ok::<(), watertight::BuildError>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "a description of retries retries nothing"]
pub struct Retry {
    rhythm: Rhythm,
    attempts: u32,
    jitter: Option<Jitter>,
    budget: Option<Budget>,
    expected: Expected,
    seed: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
enum Rhythm {
    Exponential {
        base: Duration,
        max: Option<Duration>,
    },
    Decorrelated {
        base: Duration,
        max: Option<Duration>,
    },
    /// `capped` remembers that a setter of the other kind was called: refused by `validate`.
    Constant {
        pause: Duration,
        capped: bool,
    },
}

impl Retry {
    fn with(rhythm: Rhythm) -> Self {
        Self { rhythm, attempts: 3, jitter: None, budget: None, expected: Expected::nothing(), seed: None }
    }

    /// Pauses that double: at most `base` before the first retry, at most `2 * base` before the second, and so on up to
    /// [`max`](Self::max).
    pub fn exponential(base: Duration) -> Self {
        Self::with(Rhythm::Exponential { base, max: None })
    }

    /// Pauses that are each drawn from `base` to three times the one before, up to [`max`](Self::max): AWS's decorrelated
    /// jitter. It is spread already, so it takes no other [`jitter`](Self::jitter).
    pub fn decorrelated(base: Duration) -> Self {
        Self::with(Rhythm::Decorrelated { base, max: None })
    }

    /// Pauses of at most `pause`, or of exactly that with [`Jitter::None`]. Zero tries again at once.
    pub fn constant(pause: Duration) -> Self {
        Self::with(Rhythm::Constant { pause, capped: false })
    }

    /// How many attempts in all, the first included; 1 means no retry. Default 3.
    pub fn attempts(mut self, n: u32) -> Self {
        self.attempts = n;
        self
    }

    /// No pause that grows is longer than this. Default 30 s, or the base if that is
    /// longer.
    pub fn max(mut self, d: Duration) -> Self {
        match &mut self.rhythm {
            Rhythm::Exponential { max, .. } | Rhythm::Decorrelated { max, .. } => *max = Some(d),
            Rhythm::Constant { capped, .. } => *capped = true,
        }
        self
    }

    /// How pauses are spread. Default [`Jitter::Full`].
    pub fn jitter(mut self, jitter: Jitter) -> Self {
        self.jitter = Some(jitter);
        self
    }

    /// The account that retries are paid from. Default none: only [`attempts`](Self::attempts) bounds them, and an
    /// outage multiplies the traffic by that number.
    pub fn budget(mut self, budget: Budget) -> Self {
        self.budget = Some(budget);
        self
    }

    /// How long an attempt takes: no retry is made that would not have so much time left after its pause. Default nothing:
    /// then the pause alone must fit.
    ///
    /// ```
    /// use std::time::Duration;
    /// use watertight::retry::Expected;
    /// use watertight::Retry;
    ///
    /// let retry = Retry::exponential(Duration::from_millis(20)).expect(Duration::from_millis(150));
    /// let learning = Retry::exponential(Duration::from_millis(20)).expect(Expected::learnt());
    /// ```
    pub fn expect(mut self, attempt: impl Into<Expected>) -> Self {
        self.expected = attempt.into();
        self
    }

    /// Makes every [`schedule`](Self::schedule) the same, for tests. Without it each is seeded anew; that is the point of
    /// jitter.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// The pauses of one call: one fewer than attempts.
    pub fn schedule(&self) -> Schedule {
        let (pauses, seed) = (self.attempts.saturating_sub(1), self.seed.unwrap_or_else(seed));
        let cap = |base: Duration, max: Option<Duration>| max.unwrap_or(DEFAULT_CAP.max(base));
        let jitter = self.jitter.unwrap_or_default();
        match self.rhythm {
            Rhythm::Exponential { base, max } => Schedule::new(base, cap(base, max), pauses, jitter, seed),
            Rhythm::Decorrelated { base, max } => Schedule::decorrelated(base, cap(base, max), pauses, seed),
            Rhythm::Constant { pause, .. } => Schedule::new(pause, pause, pauses, jitter, seed),
        }
    }

    /// Checks every number. A bulkhead does it when it is built; by hand it is yours to call.
    ///
    /// # Errors
    ///
    /// - [`BuildError::OutOfRange`]: a number outside the table above, or outside [`Budget`]'s.
    /// - [`BuildError::Conflict`]: a `max` for [`constant`](Self::constant), which does not grow; a `jitter` for
    ///   [`decorrelated`](Self::decorrelated), which has its own.
    pub fn validate(&self) -> Result<(), BuildError> {
        let long = |d: Duration| d > MAX_PAUSE;
        let refuse = |field, d: Duration, allowed| Err(BuildError::out_of_range(field, format!("{d:?}"), allowed));
        let (field, base, max) = match self.rhythm {
            Rhythm::Exponential { base, max } => ("exponential", base, max),
            Rhythm::Decorrelated { base, max } => ("decorrelated", base, max),
            Rhythm::Constant { pause, .. } if long(pause) => return refuse("constant", pause, "at most one day"),
            Rhythm::Constant { capped: true, .. } => {
                return Err(BuildError::Conflict("max belongs to pauses that grow, not to Retry::constant"));
            }
            Rhythm::Constant { .. } => ("constant", Duration::from_nanos(1), None),
        };
        if base.is_zero() || long(base) {
            return refuse(field, base, "above 0 and at most one day");
        }
        if let Some(max) = max.filter(|max| *max < base || long(*max)) {
            return refuse("max", max, "from the base to one day");
        }
        if matches!(self.rhythm, Rhythm::Decorrelated { .. }) && self.jitter.is_some() {
            return Err(BuildError::Conflict("decorrelated pauses are spread already: they take no jitter"));
        }
        if long(self.expected()) {
            return refuse("expect", self.expected(), "at most one day");
        }
        if self.attempts == 0 || self.attempts > MAX_ATTEMPTS {
            return Err(BuildError::out_of_range("attempts", self.attempts, "1 to 1000"));
        }
        self.budget.as_ref().map_or(Ok(()), Budget::validate)
    }

    /// The attempts of one call, for a loop of one's own. Counts the first one in the [budget](Self::budget).
    pub fn attempts_within(&self, cx: &Context) -> Attempts {
        Attempts::new(self, cx)
    }

    /// How long another attempt is expected to take.
    pub(crate) fn expected(&self) -> Duration {
        self.expected.get()
    }

    /// The account, for whoever drives the attempts.
    pub(crate) fn account(&self) -> Option<&Budget> {
        self.budget.as_ref()
    }
}

#[cfg(all(test, not(watertight_loom)))]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn defaults_are_what_the_table_says() {
        let plain = Retry::exponential(MS * 100);
        assert_eq!(plain.schedule().len(), 2);
        assert!(plain.account().is_none());
        assert_eq!((plain.jitter, Jitter::default()), (None, Jitter::Full));
        let ceilings = |r: Retry| r.jitter(Jitter::None).attempts(20).schedule().last().unwrap();
        assert_eq!(ceilings(plain), Duration::from_secs(30));
        assert_eq!(ceilings(Retry::exponential(MS * 40_000)), MS * 40_000);
        assert_eq!(ceilings(Retry::constant(MS * 7)), MS * 7);
    }

    #[test]
    fn a_seed_repeats_and_no_seed_does_not() {
        let retry = Retry::exponential(MS * 1000).attempts(20);
        let all = |r: &Retry| r.schedule().collect::<Vec<_>>();
        assert_ne!(all(&retry), all(&retry));
        let seeded = retry.clone().seed(5);
        assert_eq!(all(&seeded), all(&seeded.clone()));
        assert_ne!(all(&seeded), all(&retry.seed(6)));
    }

    #[test]
    fn absurd_retries_are_refused_by_name() {
        let field = |r: Retry| match r.validate() {
            Err(BuildError::OutOfRange { field, .. }) => field,
            Err(BuildError::Conflict(_)) => "conflict",
            Err(_) => "other",
            Ok(()) => "fine",
        };
        let day = Duration::from_secs(86_400);
        let base = || Retry::exponential(MS);
        assert_eq!(field(Retry::exponential(Duration::ZERO)), "exponential");
        assert_eq!(field(Retry::exponential(day + MS)), "exponential");
        assert_eq!(field(Retry::exponential(day)), "fine");
        assert_eq!(field(base().max(MS / 2)), "max");
        assert_eq!(field(base().max(day + MS)), "max");
        assert_eq!(field(base().max(MS)), "fine");
        assert_eq!(field(Retry::constant(day + MS)), "constant");
        assert_eq!(field(Retry::constant(Duration::ZERO)), "fine");
        assert_eq!(field(Retry::constant(MS).max(MS)), "conflict");
        assert_eq!(field(Retry::decorrelated(Duration::ZERO)), "decorrelated");
        assert_eq!(field(Retry::decorrelated(MS).max(MS / 2)), "max");
        assert_eq!(field(Retry::decorrelated(MS).max(day)), "fine");
        assert_eq!(field(Retry::decorrelated(MS).jitter(Jitter::Full)), "conflict");
        assert_eq!(field(base().jitter(Jitter::Equal)), "fine");
        assert_eq!(field(base().expect(day + MS)), "expect");
        assert_eq!(field(base().attempts(0)), "attempts");
        assert_eq!(field(base().attempts(1_001)), "attempts");
        assert_eq!(field(base().attempts(1_000)), "fine");
        assert_eq!(field(base().budget(Budget::percent(f64::NAN))), "percent");
        assert_eq!(field(base().budget(Budget::percent(20).burst(0))), "burst");
    }

    #[test]
    fn what_was_never_validated_still_ends_and_overflows_nowhere() {
        assert_eq!(Retry::constant(Duration::MAX).attempts(0).schedule().next(), None);
        for retry in [Retry::exponential(Duration::MAX), Retry::decorrelated(Duration::MAX)] {
            assert_eq!(retry.attempts(u32::MAX).schedule().take(5).count(), 5);
        }
    }
}
