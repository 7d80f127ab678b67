//! The budget on real threads and by its sums.

use super::*;
use proptest::prelude::*;
use std::time::Duration;

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

/// What can be done to a budget.
#[derive(Clone, Debug)]
enum Op {
    First,
    Retry,
    /// A retry that was paid for and never made.
    Refund(prop::sample::Index),
    Pass(u64),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        6 => Just(Op::First),
        6 => Just(Op::Retry),
        2 => any::<prop::sample::Index>().prop_map(Op::Refund),
        3 => (0_u64..300_000_000).prop_map(Op::Pass),
        1 => (0_u64..1 << 50).prop_map(Op::Pass),
    ]
}

/// A budget said naively: two buckets, one filled by first attempts and one by time, each with a brim.
struct Naive {
    share: u128, // of a thousand-millionth of a token, to a first attempt
    brim: u128,
    saved: u128,
    /// Nanoseconds that make a token, if there is a floor; and those that are saved, of a second at most.
    token: Option<u128>,
    time: u128,
}

impl Naive {
    fn withdraw(&mut self) -> Option<Payer> {
        if self.saved >= 1_000_000_000 {
            self.saved -= 1_000_000_000;
            return Some(Payer::Share);
        }
        let token = self.token.filter(|token| self.time >= *token)?;
        self.time -= token;
        Some(Payer::Floor)
    }

    fn refund(&mut self, payer: Payer) {
        match payer {
            Payer::Share => self.saved = (self.saved + 1_000_000_000).min(self.brim),
            Payer::Floor => self.time = (self.time + self.token.unwrap()).min(1_000_000_000),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn it_does_what_two_buckets_do(
        percent in 0_u32..=100,
        burst in 1_u32..6,
        floor in prop_oneof![Just(0_u32), 1_u32..12, Just(1_000_000)],
        ops in prop::collection::vec(op(), 0..300),
    ) {
        let time = crate::ManualClock::new();
        let budget = Budget::percent(percent).burst(burst).floor(floor).clock(&time.clock());
        let clone = budget.clone();
        let mut naive = Naive {
            share: u128::from(percent) * 10_000_000,
            brim: u128::from(burst) * 1_000_000_000,
            saved: 0,
            token: (floor > 0).then(|| 1_000_000_000 / u128::from(floor)),
            time: 0,
        };
        let (mut paid, mut firsts, mut refused) = (Vec::new(), 0, 0);
        for (n, op) in ops.into_iter().enumerate() {
            let either = if n % 2 == 0 { &budget } else { &clone };
            match op {
                Op::First => {
                    either.deposit();
                    firsts += 1;
                    naive.saved = (naive.saved + naive.share).min(naive.brim);
                }
                Op::Retry => {
                    let payer = either.withdraw();
                    prop_assert_eq!(payer, naive.withdraw());
                    refused += u64::from(payer.is_none());
                    paid.extend(payer);
                }
                Op::Refund(_) if paid.is_empty() => {}
                Op::Refund(which) => {
                    let payer = paid.swap_remove(which.index(paid.len()));
                    either.refund(payer);
                    naive.refund(payer);
                }
                Op::Pass(nanos) => {
                    time.advance(Duration::from_nanos(nanos));
                    naive.time = (naive.time + u128::from(nanos)).min(1_000_000_000);
                }
            }
            let stats = either.stats();
            prop_assert_eq!((stats.firsts, stats.retries, stats.refused), (firsts, paid.len() as u64, refused));
            prop_assert_eq!(u128::from(stats.available), naive.saved / 1_000_000_000);
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
        assert_eq!(budget.settings.share(), u64::from(thousandths) * 10_000, "{thousandths} thousandths of a per cent");
    }
}

#[test]
fn a_full_account_takes_no_more_and_clones_share_it() {
    let budget = Budget::percent(100).burst(2);
    let other = budget.clone();
    (0..10).for_each(|_| other.deposit());
    assert_eq!(budget.available(), 2);
    assert_eq!([(); 3].map(|()| budget.try_withdraw()), [true, true, false]);
    assert_eq!(format!("{other:?}"), "Budget { percent: 100.0, burst: 2, floor: 0, available: 0 }");
}

#[test]
fn what_was_idle_for_ever_costs_nothing_and_counts_modulo() {
    let budget = Budget::percent(100).burst(3);
    // As if there had been so many calls and never a failure: the sums have gone around many times.
    for firsts in [LAP * 40 - 1, u64::MAX / 2, u64::MAX - 1] {
        budget.account.firsts.swap(firsts, Ordering::Relaxed);
        let lag = 5 * TOKEN;
        budget.account.spent.swap(firsts.wrapping_mul(TOKEN).wrapping_sub(lag), Ordering::Relaxed);
        budget.deposit();
        assert_eq!(budget.available(), 3);
        assert_eq!([(); 4].map(|()| budget.try_withdraw()), [true, true, true, false], "{firsts}");
    }
}

#[test]
fn spent_is_brought_along_before_it_lags_too_far_behind() {
    let budget = Budget::percent(100).burst(1);
    for _ in 0..100 {
        budget.account.firsts.fetch_add(LAP - 1, Ordering::Relaxed); // all but one of a lap at once
        budget.deposit();
        let lag = budget.earned().wrapping_sub(budget.account.spent.load(Ordering::Relaxed));
        assert_eq!(lag, TOKEN);
    }
    assert!(budget.try_withdraw());
    assert!(!budget.try_withdraw());
}

#[test]
fn a_floor_lets_those_retry_who_call_rarely_and_no_more_often() {
    let time = crate::ManualClock::new();
    let budget = Budget::percent(1).floor(4).clock(&time.clock());
    let retries = || std::iter::from_fn(|| budget.try_withdraw().then_some(())).count();
    assert_eq!(retries(), 0);
    time.advance(Duration::from_millis(250));
    assert_eq!(retries(), 1);
    time.advance(Duration::from_secs(3_600));
    assert_eq!(retries(), 4); // a second's worth is saved, no more
    (0..100).for_each(|_| budget.deposit());
    assert_eq!(retries(), 1); // the share's
    time.advance(Duration::from_millis(500));
    assert_eq!(budget.withdraw(), Some(Payer::Floor));
    budget.refund(Payer::Floor);
    assert_eq!(retries(), 2);
    let stats = budget.stats();
    assert_eq!((stats.firsts, stats.retries, stats.available), (100, 8, 0));
    assert!(stats.refused > 0);
    assert!((stats.amplification() - 1.08).abs() < 1e-9);
}

#[test]
fn a_refund_is_there_again_and_nothing_goes_over_the_brim() {
    let budget = Budget::percent(50).burst(1);
    (0..10).for_each(|_| budget.deposit());
    let payer = budget.withdraw().unwrap();
    assert!(!budget.try_withdraw());
    (0..10).for_each(|_| budget.deposit());
    budget.refund(payer);
    assert_eq!(budget.available(), 1);
    assert_eq!([(); 2].map(|()| budget.try_withdraw()), [true, false]);
    assert_eq!(budget.stats().retries, 1);
}

/// Retry budgets elsewhere look, compare and then add: so many at once overdraw them.
#[test]
fn no_crowd_overdraws_it_and_the_crowd_was_there() {
    use std::sync::atomic::AtomicU64;
    let budget = Budget::percent(10).burst(MAX_BURST);
    let (took, refused) = (AtomicU64::new(0), AtomicU64::new(0));
    let start = std::sync::Barrier::new(4);
    std::thread::scope(|s| {
        for _ in 0..4 {
            s.spawn(|| {
                start.wait();
                for _ in 0..50_000 {
                    budget.deposit();
                    let count = if budget.try_withdraw() { &took } else { &refused };
                    count.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    let (took, refused) = (took.into_inner(), refused.into_inner());
    assert_eq!(took + u64::from(budget.available()), 20_000);
    assert!(took > 0 && refused > 0);
    let stats = budget.stats();
    assert_eq!((stats.firsts, stats.retries, stats.refused), (200_000, took, refused));
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
    assert!(matches!(
        Budget::percent(1).floor(MAX_FLOOR + 1).validate(),
        Err(BuildError::OutOfRange { field: "floor", .. })
    ));
    assert!(Budget::percent(0).burst(MAX_BURST).floor(MAX_FLOOR).validate().is_ok());
}
