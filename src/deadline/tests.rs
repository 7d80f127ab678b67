//! The algebra, as properties.

use super::*;
use proptest::prelude::*;

proptest! {
    #[test]
    fn a_child_never_outlives_its_parent(ms in 0u64..20_000, now_ms in 0u64..20_000, extra in any::<u64>()) {
        let base = Instant::now();
        let now = base + Duration::from_millis(now_ms);
        let parent = Deadline::after(base, Duration::from_millis(ms));
        for d in [Duration::from_millis(extra % 30_000), Duration::from_secs(extra), Duration::MAX] {
            let child = parent.child(now, d);
            prop_assert!(child <= parent);
            prop_assert!(child.remaining(now) <= parent.remaining(now));
            prop_assert!(!parent.is_past(now) || child.is_past(now));
        }
    }

    #[test]
    fn the_order_is_total_and_never_is_last(a in prop::option::of(0u64..100), b in prop::option::of(0u64..100)) {
        let base = Instant::now();
        let make = |ms: Option<u64>| ms.map_or(Deadline::NEVER, |ms| Deadline::after(base, Duration::from_millis(ms)));
        let (x, y) = (make(a), make(b));
        prop_assert_eq!(x.min(y), y.min(x));
        prop_assert_eq!(x.cmp(&y), y.cmp(&x).reverse());
        prop_assert_eq!(x == y, a == b);
        prop_assert!(x <= Deadline::NEVER);
    }
}

#[test]
fn overflow_is_never_and_past_stays_past() {
    let now = Instant::now();
    assert_eq!(Deadline::after(now, Duration::MAX), Deadline::NEVER);
    let past = Deadline::at(now);
    assert!(past.is_past(now));
    assert_eq!(past.remaining(now + Duration::from_secs(1)), Some(Duration::ZERO));
    assert_eq!(past.child(now, Duration::MAX), past);
    assert_eq!(Deadline::NEVER.remaining(now), None);
    assert!(!Deadline::NEVER.is_past(now));
}

/// Durations of every size, the extremes among them.
fn durations() -> impl Strategy<Value = Duration> {
    prop_oneof![
        4 => (0u64..20_000).prop_map(Duration::from_millis),
        2 => (any::<u64>(), 0u32..1_000_000_000).prop_map(|(secs, nanos)| Duration::new(secs, nanos)),
        1 => any::<u64>().prop_map(Duration::from_nanos),
        1 => Just(Duration::MAX),
        1 => Just(Duration::ZERO),
    ]
}

fn deadlines(base: Instant) -> impl Strategy<Value = Deadline> {
    prop_oneof![
        8 => durations().prop_map(move |d| Deadline::after(base, d)),
        1 => durations().prop_map(move |d| Deadline::at(base).minus(d)),
        1 => Just(Deadline::NEVER),
    ]
}

proptest! {
    #[test]
    fn a_margin_only_tightens_and_more_of_it_tightens_more(
        (base, at) in Just(Instant::now()).prop_flat_map(|base| (Just(base), deadlines(base))),
        a in durations(), b in durations(), now in 0u64..20_000,
    ) {
        let now = base + Duration::from_millis(now);
        prop_assert!(at.minus(a) <= at);
        prop_assert_eq!(at.minus(a).is_never(), at.is_never());
        prop_assert!(at.minus(a.max(b)) <= at.minus(a.min(b)));
        prop_assert!(!at.is_past(now) || at.minus(a).is_past(now));
        prop_assert!(at.is_never() || at.minus(Duration::MAX).is_past(base));
        prop_assert!(at.minus(a).minus(b) <= at.minus(a));
        if let (Some(left), Some(less)) = (at.remaining(now), at.minus(a).remaining(now)) {
            prop_assert_eq!(less, left.saturating_sub(a));
        }
    }

    #[test]
    fn stages_never_go_back_and_the_last_is_the_whole(
        (base, whole) in Just(Instant::now()).prop_flat_map(|base| (Just(base), deadlines(base))),
        weights in prop::collection::vec(prop_oneof![Just(0u32), 1u32..10, any::<u32>()], 0..8), now in 0u64..20_000,
    ) {
        let now = base + Duration::from_millis(now);
        let stages: Vec<_> = whole.split(now, &weights).collect();
        prop_assert_eq!(stages.len(), weights.len());
        prop_assert_eq!(whole.split(now, &weights).len(), weights.len());
        prop_assert!(stages.windows(2).all(|w| w[0] <= w[1]), "{:?}", stages);
        prop_assert!(stages.iter().all(|stage| *stage <= whole));
        prop_assert!(stages.last().is_none_or(|last| *last == whole));
        let Some(left) = whole.remaining(now) else {
            prop_assert!(stages.iter().all(|stage| stage.is_never()));
            return Ok(());
        };
        prop_assert!(!whole.is_past(now) || stages.iter().all(|stage| *stage == whole));
        // Each share is the exact one, rounded down. Eight weights leave room for the plain product in 128 bits.
        let weights: Vec<u128> = if weights.iter().all(|w| *w == 0) { vec![1; weights.len()] } else {
            weights.iter().map(|w| u128::from(*w)).collect()
        };
        let total: u128 = weights.iter().sum();
        let mut so_far = 0;
        for (weight, stage) in weights.iter().zip(&stages) {
            so_far += weight;
            if let Some(product) = left.as_nanos().checked_mul(so_far) {
                prop_assert_eq!(stage.remaining(now).unwrap().as_nanos(), product / total);
            }
        }
    }

    #[test]
    fn an_extension_never_passes_the_ceiling_nor_revives_the_past(
        (base, at, ceiling) in Just(Instant::now()).prop_flat_map(|base| (Just(base), deadlines(base), deadlines(base))),
        steps in prop::collection::vec((durations(), 0u64..20_000, prop::bool::ANY), 0..8),
    ) {
        let mut moved = at.extendable_to(ceiling);
        prop_assert_eq!(moved.deadline(), at.min(ceiling));
        for (by, now, tighten) in steps {
            let (before, now) = (moved, base + Duration::from_millis(now));
            moved = if tighten { moved.tighten(Deadline::after(now, by)) } else { moved.extend(now, by) };
            prop_assert!(moved.deadline() <= moved.ceiling());
            prop_assert!(moved.ceiling() <= before.ceiling());
            prop_assert!(!before.deadline().is_past(now) || moved.deadline().is_past(now));
            if tighten {
                prop_assert_eq!(moved.deadline(), before.deadline().min(Deadline::after(now, by)));
            } else {
                prop_assert!(moved.deadline() >= before.deadline());
                prop_assert_eq!(moved.ceiling(), before.ceiling());
                prop_assert!(before.extend(now, Duration::MAX).deadline() >= moved.deadline());
            }
        }
    }
}

#[test]
fn a_margin_beyond_all_instants_is_the_earliest_of_them() {
    let earliest = Deadline::at(Instant::now()).minus(Duration::MAX);
    assert!(earliest.instant().is_some_and(|at| at.checked_sub(Duration::from_nanos(1)).is_none()));
    assert_eq!(earliest.minus(Duration::MAX), earliest);
}

#[test]
fn stages_of_weight_nought_get_nothing_unless_all_are() {
    let now = Instant::now();
    let whole = Deadline::after(now, Duration::from_millis(90));
    let left = |weights: &[u32]| -> Vec<u128> {
        whole.split(now, weights).map(|stage| stage.remaining(now).unwrap().as_millis()).collect()
    };
    assert_eq!(left(&[0, 2, 0, 1]), [0, 60, 60, 90]);
    assert_eq!(left(&[0, 0, 0]), [30, 60, 90]);
    assert_eq!(left(&[1, 0]), [90, 90]);
    assert_eq!(left(&[u32::MAX; 3]), [30, 60, 90]);
    assert_eq!(left(&[]), [0u128; 0]);
}
