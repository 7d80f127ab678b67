//! [`Budget`]: retries as a share of first attempts. The arithmetic is pure; one atomic word holds the balance.
//!
//! **Invariants.** 1. The balance never goes below zero and never above the burst, in any interleaving: a withdrawal
//! looks and takes in one compare-and-swap. 2. No deposit is lost except what goes over the burst. 3. The word is
//! changed by read-modify-write only.

use crate::error::BuildError;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{Arc, broken};
use std::fmt;

/// One token, in the account's unit: a thousand-millionth. Fine enough for 0.0000001 % to be exact.
const TOKEN: u64 = 1_000_000_000;
const PER_PERCENT: f64 = (TOKEN / 100) as f64;
const MAX_BURST: u32 = 1_000_000;
const DEFAULT_BURST: u32 = 10;

/// The balance after a deposit, or `None` if the account is full.
fn deposited(balance: u64, deposit: u64, burst: u64) -> Option<u64> {
    (balance < burst && deposit > 0).then(|| balance.saturating_add(deposit).min(burst))
}

/// The balance after a withdrawal of one token, or `None` if there is none.
fn withdrawn(balance: u64) -> Option<u64> {
    balance.checked_sub(TOKEN)
}

/// Lets retries be a fixed share of first attempts, and no more: every first attempt deposits that share of a token,
/// every retry takes a whole one.
///
/// However many callers fail at once, a dependency in trouble gets at most `1 + percent / 100` times the traffic it
/// would get without retries, where a plain limit of three attempts gives it three times as much exactly when it can
/// bear it least. A cheap handle: clones share the account. Give one budget to everything that calls the same
/// dependency.
///
/// The account starts empty and has no floor: for every prefix of every interleaving, retries are at most the share of
/// the first attempts so far. Those who call rarely hence retry rarely; 10 % means the first retry comes after ten
/// calls. (The idea is Finagle's `RetryBudget`, and chapter 21 of Google's SRE book; theirs may overdraw under
/// concurrency or add a number of retries per second, this one does neither.)
///
/// | | Default | Allowed |
/// |---|---|---|
/// | [`percent`](Self::percent) | none: it must be given | 0 to 100 |
/// | [`burst`](Self::burst) | 10 | 1 to 1,000,000 |
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
/// ```
#[derive(Clone)]
pub struct Budget {
    balance: Arc<AtomicU64>,
    percent: f64,
    burst: u32,
}

impl Budget {
    /// Retries up to this share of first attempts, in per cent: 20 is one retry for five calls. Fractions are fine; the
    /// share is kept to a thousand-millionth of a token.
    ///
    /// What is not a number from 0 to 100 is refused when a bulkhead is built with it, and by
    /// [`Retry::validate`](super::Retry::validate); until then such a budget allows no retry.
    pub fn percent(percent: impl Into<f64>) -> Self {
        Self { balance: Arc::new(AtomicU64::new(0)), percent: percent.into(), burst: DEFAULT_BURST }
    }

    /// How many unused retries the account can hold: what a quiet time may save up for a bad one. Default 10.
    ///
    /// Makes a new, empty account: clones taken before do not share it.
    #[must_use = "this is a new budget"]
    pub fn burst(self, tokens: u32) -> Self {
        Self { balance: Arc::new(AtomicU64::new(0)), burst: tokens, ..self }
    }

    /// Counts a first attempt. A full account takes no more.
    pub fn deposit(&self) {
        let (share, burst) = (self.share(), u64::from(self.burst) * TOKEN);
        if broken("budget-lost-deposit") {
            let seen = self.balance.load(Ordering::Acquire);
            if let Some(new) = deposited(seen, share, burst) {
                self.balance.swap(new, Ordering::AcqRel);
            }
            return;
        }
        let _full =
            self.balance.fetch_update(Ordering::AcqRel, Ordering::Acquire, |balance| deposited(balance, share, burst));
    }

    /// Takes the token for one retry; `false` if there is none, and then do not retry.
    #[must_use = "without a token there must be no retry"]
    pub fn try_withdraw(&self) -> bool {
        if broken("budget-check-then-take") {
            let enough = withdrawn(self.balance.load(Ordering::Acquire)).is_some();
            if enough {
                self.balance.fetch_sub(TOKEN, Ordering::AcqRel);
            }
            return enough;
        }
        self.balance.fetch_update(Ordering::AcqRel, Ordering::Acquire, withdrawn).is_ok()
    }

    /// Gives back a token that was withdrawn for a retry that was never made.
    pub(crate) fn refund(&self) {
        let burst = u64::from(self.burst) * TOKEN;
        let _full =
            self.balance.fetch_update(Ordering::AcqRel, Ordering::Acquire, |balance| deposited(balance, TOKEN, burst));
    }

    /// How many retries it would allow now. Out of date as soon as it is read: for figures, not for decisions.
    pub fn available(&self) -> u32 {
        u32::try_from(self.balance.load(Ordering::Acquire) / TOKEN).unwrap_or(u32::MAX)
    }

    /// What a first attempt deposits.
    fn share(&self) -> u64 {
        if self.is_sound() { (self.percent * PER_PERCENT).round() as u64 } else { 0 }
    }

    fn is_sound(&self) -> bool {
        (0.0..=100.0).contains(&self.percent) // NaN is not
    }

    pub(super) fn validate(&self) -> Result<(), BuildError> {
        if !self.is_sound() {
            return Err(BuildError::out_of_range("percent", self.percent, "0 to 100"));
        }
        if self.burst == 0 || self.burst > MAX_BURST {
            return Err(BuildError::out_of_range("burst", self.burst, "1 to 1000000"));
        }
        Ok(())
    }
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Budget")
            .field("percent", &self.percent)
            .field("burst", &self.burst)
            .field("available", &self.available())
            .finish()
    }
}

#[cfg(all(test, not(watertight_loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Against exact 128-bit arithmetic in millionths of a per cent, for every prefix.
        #[test]
        fn every_prefix_keeps_within_the_share(
            millionths in 0_u32..=100_000_000, // of a per cent
            burst in 1_u32..20,
            ops in prop::collection::vec(any::<bool>(), 0..400),
        ) {
            let budget = Budget::percent(f64::from(millionths) / 1e6).burst(burst);
            prop_assert!(budget.validate().is_ok());
            let token = 100_000_000_u128; // in the same unit
            let (mut balance, mut firsts, mut retries) = (0_u128, 0_u128, 0_u128);
            for first in ops {
                if first {
                    budget.deposit();
                    firsts += 1;
                    balance = (balance + u128::from(millionths)).min(u128::from(burst) * token);
                } else {
                    let took = budget.try_withdraw();
                    prop_assert_eq!(took, balance >= token);
                    if took {
                        retries += 1;
                        balance -= token;
                    }
                }
                prop_assert!(retries * token <= firsts * u128::from(millionths));
                prop_assert_eq!(u128::from(budget.available()), balance / token);
            }
        }
    }

    #[test]
    fn the_ratio_is_exact_to_a_thousandth_from_0_001_to_1() {
        for thousandths in 1..=1000_u32 {
            let budget = Budget::percent(f64::from(thousandths) / 10.0);
            let mut retries = 0;
            for _ in 0..10_000 {
                budget.deposit();
                retries += u32::from(budget.try_withdraw());
            }
            assert_eq!(retries, thousandths * 10, "{thousandths} thousandths");
        }
    }

    #[test]
    fn a_decimal_share_is_not_rounded_down() {
        // 0.043 * 10,000,000.0 is a little less than 430,000.
        for thousandths in 0..=100_000_u32 {
            let budget = Budget::percent(f64::from(thousandths) / 1e3);
            assert_eq!(budget.share(), u64::from(thousandths) * 10_000, "{thousandths} thousandths of a per cent");
        }
    }

    #[test]
    fn a_full_account_takes_no_more_and_clones_share_it() {
        let budget = Budget::percent(100).burst(2);
        let other = budget.clone();
        (0..10).for_each(|_| other.deposit());
        assert_eq!(budget.available(), 2);
        assert_eq!([(); 3].map(|()| budget.try_withdraw()), [true, true, false]);
        assert_eq!(format!("{other:?}"), "Budget { percent: 100.0, burst: 2, available: 0 }");
    }

    #[test]
    fn a_budget_of_nonsense_allows_nothing_and_does_not_validate() {
        for bad in [f64::NAN, -0.1, 100.1, f64::INFINITY] {
            let budget = Budget::percent(bad);
            (0..1000).for_each(|_| budget.deposit());
            assert!(!budget.try_withdraw());
            assert!(matches!(budget.validate(), Err(BuildError::OutOfRange { field: "percent", .. })));
        }
        for bad in [0, MAX_BURST + 1, u32::MAX] {
            let budget = Budget::percent(100).burst(bad);
            budget.deposit();
            assert!(matches!(budget.validate(), Err(BuildError::OutOfRange { field: "burst", .. })));
        }
        assert!(Budget::percent(0).burst(MAX_BURST).validate().is_ok());
    }
}
