//! [`Budget`]: retries as a share of first attempts, and a floor of so many a second. Two accounts, one atomic word each
//! for what was spent; the arithmetic is pure.
//!
//! **The account of shares.** First attempts are only counted, by an addition. What was earned is that count times the share; the
//! other word says how much of it is spent, in the same unit. A withdrawal brings `spent` up to what was earned less the
//! burst, because more than that was never saved, and then takes a token, all in one exchange. So a deposit decides nothing
//! and costs one addition, however full the account is.
//!
//! **The floor** is the same with time in place of first attempts: what was earned is the time since the beginning, a token
//! is the time between two retries of the floor, and a second's worth is saved at most.
//!
//! **Invariants.** 1. `spent` never exceeds what was earned: so withdrawals are at most the share of the first attempts, or
//! the floor's rate and a second's worth, for every prefix of every interleaving. 2. No first attempt is lost. 3. The words
//! are changed by read-modify-write only. 4. Both accounts count modulo 2^64. `spent` is brought along every 2^28 first
//! attempts, so that it never lags half of that behind. **Locking.** None.

use crate::clock::Clock;
use crate::error::BuildError;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{Arc, Count, broken};
use std::fmt;
use std::panic::{RefUnwindSafe, UnwindSafe};
use std::time::Instant;

/// One token, in the account's unit: a thousand-millionth. Fine enough for 0.0000001 % to be exact.
const TOKEN: u64 = 1_000_000_000;
const PER_PERCENT: f64 = (TOKEN / 100) as f64;
const MAX_BURST: u32 = 1_000_000;
const MAX_FLOOR: u32 = 1_000_000;
const DEFAULT_BURST: u32 = 10;
/// How often, in first attempts, what was spent is brought along.
const LAP: u64 = 1 << 28;

/// What is spent, brought up to what was earned less the most that can be saved.
fn brought_along(spent: u64, earned: u64, most: u64) -> u64 {
    if earned.wrapping_sub(spent) > most { earned.wrapping_sub(most) } else { spent }
}

/// What is spent after one more token, or `None` if there is none.
fn withdrawn(spent: u64, earned: u64, most: u64, token: u64) -> Option<u64> {
    let spent = brought_along(spent, earned, most);
    (earned.wrapping_sub(spent) >= token).then(|| spent.wrapping_add(token))
}

/// Lets retries be a fixed share of first attempts, and no more: every first attempt earns that share of a token, every
/// retry takes a whole one.
///
/// However many callers fail at once, a dependency in trouble gets at most `1 + percent / 100` times the traffic it
/// would get without retries, where a plain limit of three attempts gives it three times as much exactly when it can
/// bear it least. A cheap handle: clones share the account. Give one budget to everything that calls the same
/// dependency.
///
/// The account starts empty: for every prefix of every interleaving, retries are at most the share of the first attempts
/// so far. Those who call rarely hence retry rarely; 10 % means the first retry comes after ten calls. A
/// [`floor`](Self::floor) lets them retry so many times a second whatever the share. (The idea is Finagle's `RetryBudget`,
/// whose default is `Budget::percent(20).floor(10)`, and chapter 21 of Google's SRE book; theirs may overdraw under
/// concurrency, this one does not.)
///
/// | | Default | Allowed |
/// |---|---|---|
/// | [`percent`](Self::percent) | none: it must be given | 0 to 100 |
/// | [`burst`](Self::burst) | 10 | 1 to 1,000,000 |
/// | [`floor`](Self::floor) | 0 | 0 to 1,000,000 a second |
///
/// # Performance
///
/// A deposit is one addition to a shared word, however long the account was idle. A withdrawal is one exchange; with a floor
/// it reads a clock when the share does not pay. Nothing allocates.
///
/// # Examples
///
/// ```
/// use watertight::Budget;
///
/// let budget = Budget::percent(20);
/// for _first_attempt in 0..5 {
///     assert!(!budget.try_withdraw());
///     budget.deposit();
/// }
/// assert!(budget.try_withdraw()); // one retry for five calls
/// assert!(!budget.try_withdraw());
/// assert_eq!(budget.stats().amplification(), 1.2);
/// ```
#[derive(Clone)]
pub struct Budget {
    account: Arc<Account>,
    settings: Settings,
}

#[derive(Clone)]
struct Settings {
    percent: f64,
    burst: u32,
    floor: u32,
    clock: Clock,
}

struct Account {
    /// First attempts.
    firsts: AtomicU64,
    /// What was spent of the share that they earned.
    spent: AtomicU64,
    /// What was spent of the floor, in nanoseconds since `begun`.
    spent_time: AtomicU64,
    begun: Instant,
    withdrawn: Count,
    refused: Count,
    refunded: Count,
}

/// Who paid for a retry: to whom it goes back, if the retry is not made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Payer {
    Share,
    Floor,
}

/// What a [`Budget`] has seen. The numbers are read one after the other: while many come and go they may be apart by those
/// under way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct BudgetStats {
    /// First attempts.
    pub firsts: u64,
    /// Retries that were paid for and not given back.
    pub retries: u64,
    /// Retries that were refused for want of a token.
    pub refused: u64,
    /// How many retries it would allow now, its floor apart.
    pub available: u32,
}

impl BudgetStats {
    /// Attempts for each first attempt: 1 is no retry at all. Of no first attempts it is 1.
    pub fn amplification(&self) -> f64 {
        if self.firsts == 0 { 1.0 } else { (self.firsts + self.retries) as f64 / self.firsts as f64 }
    }
}

impl Settings {
    fn account(&self) -> Arc<Account> {
        Arc::new(Account {
            firsts: AtomicU64::new(0),
            spent: AtomicU64::new(0),
            spent_time: AtomicU64::new(0),
            begun: self.clock.now(),
            withdrawn: Count::new(0),
            refused: Count::new(0),
            refunded: Count::new(0),
        })
    }

    fn is_sound(&self) -> bool {
        (0.0..=100.0).contains(&self.percent) // NaN is not
    }

    /// What a first attempt earns.
    fn share(&self) -> u64 {
        if self.is_sound() { (self.percent * PER_PERCENT).round() as u64 } else { 0 }
    }

    fn most(&self) -> u64 {
        u64::from(self.burst) * TOKEN
    }
}

impl Budget {
    fn with(settings: Settings) -> Self {
        Self { account: settings.account(), settings }
    }

    /// Retries up to this share of first attempts, in per cent: 20 is one retry for five calls. Fractions are fine; the
    /// share is kept to a thousand-millionth of a token.
    ///
    /// What is not a number from 0 to 100 is refused when a bulkhead is built with it, and by
    /// [`Retry::validate`](super::Retry::validate); until then such a budget allows no retry but its floor.
    pub fn percent(percent: impl Into<f64>) -> Self {
        Self::with(Settings { percent: percent.into(), burst: DEFAULT_BURST, floor: 0, clock: Clock::system() })
    }

    /// How many unused retries the account can hold: what a quiet time may save up for a bad one. Default 10.
    ///
    /// Makes a new, empty account: clones taken before do not share it.
    #[must_use = "this is a new budget"]
    pub fn burst(self, tokens: u32) -> Self {
        Self::with(Settings { burst: tokens, ..self.settings })
    }

    /// So many retries a second are allowed whatever the share, and no more than that are saved up: for those who call so
    /// rarely that their share never makes a whole retry. Default 0.
    ///
    /// For every stretch of time it adds at most its rate times that, and one second's worth. Those too start to be earned
    /// when the account is made. It makes a new, empty account.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use watertight::{Budget, ManualClock};
    ///
    /// let time = ManualClock::new();
    /// let budget = Budget::percent(20).floor(10).clock(&time.clock());
    /// assert!(!budget.try_withdraw());
    /// time.advance(Duration::from_millis(100));
    /// assert!(budget.try_withdraw());
    /// assert!(!budget.try_withdraw());
    /// ```
    #[must_use = "this is a new budget"]
    pub fn floor(self, per_second: u32) -> Self {
        Self::with(Settings { floor: per_second, ..self.settings })
    }

    /// Where the floor reads the time. Default the system's clock. Makes a new, empty account.
    #[must_use = "this is a new budget"]
    pub fn clock(self, clock: &Clock) -> Self {
        Self::with(Settings { clock: clock.clone(), ..self.settings })
    }

    /// Counts a first attempt.
    #[inline]
    pub fn deposit(&self) {
        if broken("budget-lost-deposit") {
            let seen = self.account.firsts.load(Ordering::Acquire);
            self.account.firsts.swap(seen + 1, Ordering::AcqRel);
            return;
        }
        let before = self.account.firsts.fetch_add(1, Ordering::Relaxed);
        if before % LAP == LAP - 1 {
            self.bring_along(); // invariant 4
        }
    }

    #[cold]
    fn bring_along(&self) {
        let most = self.settings.most();
        let spent = |spent| Some(brought_along(spent, self.earned(), most));
        let _ = self.account.spent.fetch_update(Ordering::AcqRel, Ordering::Acquire, spent);
    }

    /// What first attempts have earned. Looked at after `spent`, it is never less than what was earned when that was spent.
    fn earned(&self) -> u64 {
        self.account.firsts.load(Ordering::Relaxed).wrapping_mul(self.settings.share())
    }

    /// Takes the token for one retry; `false` if there is none, and then do not retry.
    #[must_use = "without a token there must be no retry"]
    pub fn try_withdraw(&self) -> bool {
        self.withdraw().is_some()
    }

    pub(super) fn withdraw(&self) -> Option<Payer> {
        let payer = if self.share_pays() {
            Some(Payer::Share)
        } else if self.floor_pays() {
            Some(Payer::Floor)
        } else {
            None
        };
        let count = if payer.is_some() { &self.account.withdrawn } else { &self.account.refused };
        count.fetch_add(1, Ordering::Relaxed);
        payer
    }

    fn share_pays(&self) -> bool {
        let (spent, most) = (&self.account.spent, self.settings.most());
        let after = |spent| withdrawn(spent, self.earned(), most, TOKEN);
        if broken("budget-check-then-take") {
            let enough = after(spent.load(Ordering::Acquire)).is_some();
            if enough {
                spent.fetch_add(TOKEN, Ordering::AcqRel);
            }
            return enough;
        }
        spent.fetch_update(Ordering::AcqRel, Ordering::Acquire, after).is_ok()
    }

    fn floor_pays(&self) -> bool {
        let Some(token) = self.floor_token() else { return false };
        let earned = self.settings.clock.now().saturating_duration_since(self.account.begun);
        let earned = u64::try_from(earned.as_nanos()).unwrap_or(u64::MAX);
        // Somebody whose clock reading is older may find more spent than it sees earned: then there is nothing for it.
        let after = |spent: u64| if spent > earned { None } else { withdrawn(spent, earned, TOKEN, token) };
        self.account.spent_time.fetch_update(Ordering::AcqRel, Ordering::Acquire, after).is_ok()
    }

    /// The time between two retries of the floor, in nanoseconds. A token of the other account is a second of this one.
    fn floor_token(&self) -> Option<u64> {
        TOKEN.checked_div(u64::from(self.settings.floor)).filter(|token| *token > 0)
    }

    /// Gives back a token that was withdrawn for a retry that was never made.
    pub(super) fn refund(&self, payer: Payer) {
        match payer {
            Payer::Share => {
                let token = if broken("budget: a refund is two tokens") { 2 * TOKEN } else { TOKEN };
                self.account.spent.fetch_sub(token, Ordering::AcqRel);
            }
            Payer::Floor => {
                let token = self.floor_token().unwrap_or(0);
                self.account.spent_time.fetch_sub(token, Ordering::AcqRel);
            }
        }
        self.account.refunded.fetch_add(1, Ordering::Relaxed);
    }

    /// How many retries it would allow now, its floor apart. Out of date as soon as it is read: for figures, not for
    /// decisions.
    pub fn available(&self) -> u32 {
        let spent = self.account.spent.load(Ordering::Acquire);
        let saved = self.earned().wrapping_sub(spent).min(self.settings.most());
        u32::try_from(saved / TOKEN).unwrap_or(u32::MAX)
    }

    /// What it has seen: first attempts, retries, refusals, and so the measured amplification.
    pub fn stats(&self) -> BudgetStats {
        let read = |count: &Count| count.load(Ordering::Relaxed);
        let refunded = read(&self.account.refunded);
        BudgetStats {
            retries: read(&self.account.withdrawn).saturating_sub(refunded),
            refused: read(&self.account.refused),
            available: self.available(),
            firsts: self.account.firsts.load(Ordering::Relaxed),
        }
    }

    pub(super) fn validate(&self) -> Result<(), BuildError> {
        let Settings { percent, burst, floor, .. } = self.settings;
        if !self.settings.is_sound() {
            return Err(BuildError::out_of_range("percent", percent, "0 to 100"));
        }
        if burst == 0 || burst > MAX_BURST {
            return Err(BuildError::out_of_range("burst", burst, "1 to 1000000"));
        }
        if floor > MAX_FLOOR {
            return Err(BuildError::out_of_range("floor", floor, "0 to 1000000"));
        }
        Ok(())
    }
}

// No user code runs here, so a panic leaves nothing half done.
impl UnwindSafe for Budget {}
impl RefUnwindSafe for Budget {}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Budget")
            .field("percent", &self.settings.percent)
            .field("burst", &self.settings.burst)
            .field("floor", &self.settings.floor)
            .field("available", &self.available())
            .finish()
    }
}

#[cfg(all(test, not(watertight_loom)))]
#[path = "budget_tests.rs"]
mod tests;
