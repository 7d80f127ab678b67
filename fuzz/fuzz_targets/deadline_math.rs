//! `Deadline` against whole nanoseconds in 128 bits: never panics, loosens only up to a ceiling, never is last, overflow is
//! never.

#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use std::sync::OnceLock;
use std::time::{Duration, Instant};
use watertight::Deadline;

#[derive(Arbitrary, Debug)]
struct Script {
    now: Duration,
    ops: Vec<Op>,
}

#[derive(Arbitrary, Debug)]
enum Op {
    After(Duration),
    At(Duration),
    Never,
    Child(Duration),
    /// The sooner of the deadline and another one.
    Min(Option<Duration>),
    /// Time goes on, or back: a deadline is a value and must not mind.
    Now(Duration),
    /// A margin off, which may lead to before all that the model counts from.
    Minus(Duration),
    /// Stages with a weight each.
    Split(Vec<u32>),
    /// Up to a ceiling, moved on by a step.
    Extend(Option<Duration>, Duration),
}

/// All instants are counted from one, in nanoseconds; the system decides how far they reach.
fn instant(nanos: u128) -> Option<Instant> {
    static BASE: OnceLock<Instant> = OnceLock::new();
    let secs = u64::try_from(nanos / 1_000_000_000).ok()?;
    BASE.get_or_init(Instant::now).checked_add(Duration::new(secs, (nanos % 1_000_000_000) as u32))
}

/// The model's arithmetic: a sum that no instant can express is never.
fn after(now: u128, d: Duration) -> Option<u128> {
    Some(now + d.as_nanos()).filter(|sum| instant(*sum).is_some())
}

fn sooner(a: Option<u128>, b: Option<u128>) -> Option<u128> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (one, other) => one.or(other),
    }
}

fn check(real: Deadline, model: Option<u128>, now: u128) {
    let at = instant(now).unwrap();
    assert_eq!(real.instant(), model.map(|nanos| instant(nanos).unwrap()));
    assert_eq!(real.is_never(), model.is_none());
    assert_eq!(real.is_past(at), model.is_some_and(|nanos| nanos <= now));
    assert_eq!(real.remaining(at).map(|d| d.as_nanos()), model.map(|nanos| nanos.saturating_sub(now)));
    assert!(real <= Deadline::NEVER && real.min(Deadline::NEVER) == real);
    assert!(!format!("{real:?}").is_empty());
}

fuzz_target!(|script: Script| {
    let mut now = script.now.as_nanos();
    let Some(mut at) = instant(now) else { return };
    let (mut real, mut model) = (Deadline::default(), None);
    for op in script.ops {
        let (before, was) = (real, model);
        match op {
            Op::After(d) => (real, model) = (Deadline::after(at, d), after(now, d)),
            Op::At(d) => {
                let Some(t) = instant(d.as_nanos()) else { continue };
                (real, model) = (Deadline::at(t), Some(d.as_nanos()));
                assert_eq!(real, Deadline::from(t));
            }
            Op::Never => (real, model) = (Deadline::NEVER, None),
            Op::Child(d) => {
                (real, model) = (real.child(at, d), sooner(model, after(now, d)));
                assert!(real <= before, "a child only tightens");
                assert!(!before.is_past(at) || real.is_past(at));
                assert_eq!(real.child(at, d), real, "and once is enough");
            }
            Op::Min(other) => {
                let other = other.map(|d| d.as_nanos()).filter(|nanos| instant(*nanos).is_some());
                let built = other.map_or(Deadline::NEVER, |nanos| Deadline::at(instant(nanos).unwrap()));
                // The order of deadlines is the order of their nanoseconds, with never as the greatest.
                let key = |m: Option<u128>| m.unwrap_or(u128::MAX);
                assert_eq!(real.cmp(&built), key(model).cmp(&key(other)));
                assert_eq!(real.cmp(&built), built.cmp(&real).reverse());
                (real, model) = (real.min(built), sooner(model, other));
            }
            Op::Now(d) => {
                let Some(t) = instant(d.as_nanos()) else { continue };
                (now, at) = (d.as_nanos(), t);
            }
            Op::Minus(d) => {
                let less = real.minus(d);
                assert!(less <= real && less.is_never() == real.is_never());
                assert_eq!(less.remaining(at), real.remaining(at).map(|left| left.saturating_sub(d)));
                assert!(!real.is_past(at) || less.is_past(at));
            }
            Op::Split(weights) => {
                let (mut count, mut latest, mut so_far) = (0, None, 0);
                let equal = weights.iter().all(|w| *w == 0);
                let weight = |w: u32| if equal { 1 } else { u128::from(w) };
                let total: u128 = weights.iter().map(|w| weight(*w)).sum();
                for stage in real.split(at, &weights) {
                    so_far += weight(weights[count]);
                    count += 1;
                    assert!(latest.is_none_or(|latest| latest <= stage) && stage <= real);
                    latest = Some(stage);
                    let product = real.remaining(at).and_then(|left| left.as_nanos().checked_mul(so_far));
                    if let Some(product) = product {
                        assert_eq!(stage.remaining(at).unwrap().as_nanos(), product / total);
                    }
                }
                assert_eq!(count, weights.len());
                assert!(latest.is_none_or(|last| last == real), "the last stage ends with the whole");
            }
            Op::Extend(ceiling, by) => {
                let ceiling = ceiling.map_or(Deadline::NEVER, |d| Deadline::after(at, d));
                let before = real.extendable_to(ceiling);
                let moved = before.extend(at, by);
                assert_eq!((before.deadline(), moved.ceiling()), (real.min(ceiling), ceiling));
                assert!(before.deadline() <= moved.deadline() && moved.deadline() <= ceiling);
                if before.deadline().is_past(at) || before.deadline().is_never() {
                    assert_eq!(moved, before, "what has passed stays, and so does never");
                } else {
                    let sum = before.deadline().instant().and_then(|t| t.checked_add(by));
                    assert_eq!(moved.deadline(), sum.map_or(Deadline::NEVER, Deadline::at).min(ceiling));
                }
            }
        }
        check(before, was, now);
        check(real, model, now);
    }
});
