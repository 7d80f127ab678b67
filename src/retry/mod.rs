//! [`Retry`]: how often to try again, how long to pause between attempts, and how much of it all callers together may do.
//!
//! Three parts that know nothing of each other: `schedule.rs` says how long to pause (pure), `budget.rs` whether the
//! retry may be made at all (one atomic word), and this file is the description of both. Nothing here waits and nothing
//! here runs the work: the bulkhead does, or the user's own loop.
//!
//! **Locking.** None.

mod budget;
mod schedule;

#[cfg(all(test, watertight_loom, not(watertight_shuttle)))]
mod loom_tests;

pub use budget::Budget;
pub use schedule::{Jitter, Schedule};

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
/// | [`exponential`](Self::exponential) | – | above 0, at most one day |
/// | [`constant`](Self::constant) | – | at most one day |
/// | [`max`](Self::max) | 30 s, or the base if that is longer | the base to one day; with `exponential` only |
/// | [`attempts`](Self::attempts) | 3, the first included | 1 to 1,000 |
/// | [`jitter`](Self::jitter) | [`Jitter::Full`] | |
/// | [`budget`](Self::budget) | none: give it one | see [`Budget`] |
///
/// # Examples
///
/// By hand, with the parts as they are:
///
/// ```
/// use std::time::Duration;
/// use watertight::{Budget, Retry};
///
/// fn call(budget: &Budget, retry: &Retry) -> Result<u32, &'static str> {
///     # let mut failures = 1;
///     # let mut ask = || if failures > 0 { failures -= 1; Err("busy") } else { Ok(7) };
///     let mut pauses = retry.schedule();
///     budget.deposit();
///     loop {
///         let failed = match ask() {
///             Ok(answer) => return Ok(answer),
///             Err(e) => e,
///         };
///         match pauses.next() {
///             Some(pause) if budget.try_withdraw() => std::thread::sleep(pause),
///             _ => return Err(failed),
///         }
///     }
/// }
///
/// let budget = Budget::percent(100);
/// let retry = Retry::exponential(Duration::from_millis(1)).attempts(3).budget(budget.clone());
/// retry.validate()?;
/// assert_eq!(call(&budget, &retry), Ok(7));
/// # Ok::<(), watertight::BuildError>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "a description of retries retries nothing"]
pub struct Retry {
    rhythm: Rhythm,
    attempts: u32,
    jitter: Jitter,
    budget: Option<Budget>,
    seed: Option<u64>,
}

#[derive(Clone, Copy, Debug)]
enum Rhythm {
    Exponential {
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
        Self { rhythm, attempts: 3, jitter: Jitter::default(), budget: None, seed: None }
    }

    /// Pauses that double: at most `base` before the first retry, at most `2 * base` before the second, and so on up to
    /// [`max`](Self::max).
    pub fn exponential(base: Duration) -> Self {
        Self::with(Rhythm::Exponential { base, max: None })
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

    /// No pause of an [`exponential`](Self::exponential) is longer than this. Default 30 s, or the base if that is
    /// longer.
    pub fn max(mut self, d: Duration) -> Self {
        match &mut self.rhythm {
            Rhythm::Exponential { max, .. } => *max = Some(d),
            Rhythm::Constant { capped, .. } => *capped = true,
        }
        self
    }

    /// How pauses are spread. Default [`Jitter::Full`].
    pub fn jitter(mut self, jitter: Jitter) -> Self {
        self.jitter = jitter;
        self
    }

    /// The account that retries are paid from. Default none: only [`attempts`](Self::attempts) bounds them, and an
    /// outage multiplies the traffic by that number.
    pub fn budget(mut self, budget: Budget) -> Self {
        self.budget = Some(budget);
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
        let (base, cap) = match self.rhythm {
            Rhythm::Exponential { base, max } => (base, max.unwrap_or(DEFAULT_CAP.max(base))),
            Rhythm::Constant { pause, .. } => (pause, pause),
        };
        let seed = self.seed.unwrap_or_else(seed);
        Schedule::new(base, cap, self.attempts.saturating_sub(1), self.jitter, seed)
    }

    /// Checks every number. A bulkhead does it when it is built; by hand it is yours to call.
    ///
    /// # Errors
    ///
    /// - [`BuildError::OutOfRange`]: a number outside the table above, or outside [`Budget`]'s.
    /// - [`BuildError::Conflict`]: a `max` for [`constant`](Self::constant), which does not grow.
    pub fn validate(&self) -> Result<(), BuildError> {
        let long = |d: Duration| d > MAX_PAUSE;
        let refuse = |field, d: Duration, allowed| Err(BuildError::out_of_range(field, format!("{d:?}"), allowed));
        match self.rhythm {
            Rhythm::Exponential { base, .. } if base.is_zero() || long(base) => {
                return refuse("exponential", base, "above 0 and at most one day");
            }
            Rhythm::Exponential { base, max: Some(max) } if max < base || long(max) => {
                return refuse("max", max, "from the base to one day");
            }
            Rhythm::Constant { pause, .. } if long(pause) => return refuse("constant", pause, "at most one day"),
            Rhythm::Constant { capped: true, .. } => {
                return Err(BuildError::Conflict("max belongs to Retry::exponential, not to Retry::constant"));
            }
            Rhythm::Exponential { .. } | Rhythm::Constant { .. } => {}
        }
        if self.attempts == 0 || self.attempts > MAX_ATTEMPTS {
            return Err(BuildError::out_of_range("attempts", self.attempts, "1 to 1000"));
        }
        self.budget.as_ref().map_or(Ok(()), Budget::validate)
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
        assert_eq!(plain.jitter, Jitter::Full);
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
        assert_eq!(field(base().attempts(0)), "attempts");
        assert_eq!(field(base().attempts(1_001)), "attempts");
        assert_eq!(field(base().attempts(1_000)), "fine");
        assert_eq!(field(base().budget(Budget::percent(f64::NAN))), "percent");
        assert_eq!(field(base().budget(Budget::percent(20).burst(0))), "burst");
    }

    #[test]
    fn what_was_never_validated_still_ends_and_overflows_nowhere() {
        assert_eq!(Retry::constant(Duration::MAX).attempts(0).schedule().next(), None);
        assert_eq!(Retry::exponential(Duration::MAX).attempts(u32::MAX).schedule().take(5).count(), 5);
    }
}
