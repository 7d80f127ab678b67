//! The pauses between attempts, as an iterator. Pure: randomness comes from a seed.

use std::iter::FusedIterator;
use std::time::Duration;

/// How a pause is spread, so that callers who failed together do not come back together.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash, Default)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum Jitter {
    /// Exactly the pause. For tests, or for a caller who is alone.
    None,
    /// Anything from zero to the pause, each length as likely as any other: full jitter, `U(0, min(cap, base * 2^n))`
    /// (M. Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015). The default.
    #[default]
    Full,
    /// Half the pause and anything up to as much again: never so soon as with [`Full`](Self::Full), and less spread.
    Equal,
}

/// The pauses between attempts, one fewer than attempts. From [`Retry::schedule`](super::Retry::schedule).
///
/// A plain iterator: it reads no clock and does not wait. `Clone` repeats the rest of it exactly.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use watertight::{Jitter, Retry};
///
/// let ms = Duration::from_millis;
/// let retry = Retry::exponential(ms(100)).max(ms(300)).attempts(5).jitter(Jitter::None);
/// assert!(retry.schedule().eq([ms(100), ms(200), ms(300), ms(300)]));
/// ```
#[derive(Clone, Debug)]
#[must_use = "a schedule pauses nobody by itself"]
pub struct Schedule {
    ceiling: Duration,
    cap: Duration,
    spread: Spread,
    random: SplitMix,
    left: u32,
}

/// How one pause follows from those before.
#[derive(Clone, Copy, Debug)]
enum Spread {
    /// Ceilings that double, and the jitter below them.
    Below(Jitter),
    /// Anything from the base to three times the pause before, which `ceiling` holds: AWS's decorrelated jitter,
    /// `min(cap, U(base, 3 * before))`.
    Decorrelated { base: Duration },
}

impl Schedule {
    /// `pauses` of them, the first at most `base`, each twice the one before, none above `cap`. A constant pause is one
    /// whose cap is its base.
    pub(super) fn new(base: Duration, cap: Duration, pauses: u32, jitter: Jitter, seed: u64) -> Self {
        Self { ceiling: base.min(cap), cap, spread: Spread::Below(jitter), random: SplitMix(seed), left: pauses }
    }

    /// `pauses` of them, each from `base` to three times the one before, none above `cap`.
    pub(super) fn decorrelated(base: Duration, cap: Duration, pauses: u32, seed: u64) -> Self {
        let base = base.min(cap);
        Self { ceiling: base, cap, spread: Spread::Decorrelated { base }, random: SplitMix(seed), left: pauses }
    }
}

impl Iterator for Schedule {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        self.left = self.left.checked_sub(1)?;
        let ceiling = self.ceiling;
        let jitter = match self.spread {
            Spread::Below(jitter) => jitter,
            Spread::Decorrelated { base } => {
                let above = ceiling.saturating_mul(3).saturating_sub(base);
                self.ceiling = base.saturating_add(self.random.up_to(above)).min(self.cap);
                return Some(self.ceiling);
            }
        };
        // Doubling under a cap instead of `base * 2^n`: there is no n at which this overflows.
        self.ceiling = ceiling.saturating_mul(2).min(self.cap);
        Some(match jitter {
            Jitter::None => ceiling,
            Jitter::Full => self.random.up_to(ceiling),
            Jitter::Equal => ceiling - self.random.up_to(ceiling / 2),
        })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.left as usize;
        (left, Some(left))
    }
}

impl ExactSizeIterator for Schedule {}
impl FusedIterator for Schedule {}

/// SplitMix64 (Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014): any seed is good, the
/// state is one word, and nobody's security hangs on a pause.
#[derive(Clone, Debug)]
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Anything from zero to `ceiling`, both included: the high word of a 128-bit product. A ceiling beyond 584 years
    /// counts as that.
    fn up_to(&mut self, ceiling: Duration) -> Duration {
        let nanos = u64::try_from(ceiling.as_nanos()).unwrap_or(u64::MAX);
        let product = u128::from(self.next()) * (u128::from(nanos) + 1);
        Duration::from_nanos((product >> u64::BITS) as u64)
    }
}

#[cfg(all(test, not(watertight_loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const DAY: Duration = Duration::from_secs(86_400);

    fn duration() -> impl Strategy<Value = Duration> {
        prop_oneof![
            (0_u64..1_000_000_000).prop_map(Duration::from_nanos),
            any::<u64>().prop_map(Duration::from_nanos),
            any::<u64>().prop_map(Duration::from_secs),
            Just(Duration::MAX),
        ]
    }

    proptest! {
        #[test]
        fn full_jitter_stays_below_its_ceiling_and_repeats_by_seed(
            base in duration(), cap in duration(), pauses in 0_u32..200, seed in any::<u64>(),
        ) {
            let ceilings: Vec<_> = Schedule::new(base, cap, pauses, Jitter::None, seed).collect();
            let jittered: Vec<_> = Schedule::new(base, cap, pauses, Jitter::Full, seed).collect();
            prop_assert_eq!(ceilings.len(), pauses as usize);
            prop_assert_eq!(jittered.len(), pauses as usize);
            for (n, (ceiling, pause)) in ceilings.iter().zip(&jittered).enumerate() {
                // base * 2^n in 128 bits where that fits, and beyond the cap where it does not.
                let exact = base.as_nanos().checked_mul(1_u128.checked_shl(n as u32).unwrap_or(0));
                let beyond = n >= 100 && !base.is_zero();
                let want = match exact {
                    Some(nanos) if !beyond && nanos < cap.as_nanos() => nanos,
                    _ => if base.is_zero() { 0 } else { cap.as_nanos() },
                };
                prop_assert_eq!(ceiling.as_nanos(), want, "pause {}", n);
                prop_assert!(pause <= ceiling && *pause <= cap);
            }
            let again: Vec<_> = Schedule::new(base, cap, pauses, Jitter::Full, seed).collect();
            prop_assert_eq!(jittered, again);
        }
    }

    proptest! {
        #[test]
        fn equal_jitter_stays_in_the_upper_half(
            base in duration(), cap in duration(), pauses in 0_u32..200, seed in any::<u64>(),
        ) {
            let ceilings = Schedule::new(base, cap, pauses, Jitter::None, seed);
            let jittered = Schedule::new(base, cap, pauses, Jitter::Equal, seed);
            for (ceiling, pause) in ceilings.zip(jittered) {
                prop_assert!(pause <= ceiling && pause >= ceiling - ceiling / 2);
            }
        }

        #[test]
        fn decorrelated_pauses_stay_between_the_base_and_three_times_the_one_before(
            base in duration(), cap in duration(), pauses in 0_u32..200, seed in any::<u64>(),
        ) {
            let all: Vec<_> = Schedule::decorrelated(base, cap, pauses, seed).collect();
            prop_assert_eq!(all.len(), pauses as usize);
            let mut before = base.min(cap);
            for pause in &all {
                prop_assert!(*pause >= base.min(cap) && *pause <= cap && *pause <= before.saturating_mul(3));
                before = *pause;
            }
            prop_assert!(all.into_iter().eq(Schedule::decorrelated(base, cap, pauses, seed)));
        }
    }

    #[test]
    fn decorrelated_pauses_grow_spread_and_reach_the_cap() {
        let (base, cap) = (Duration::from_millis(10), Duration::from_secs(1));
        let all: Vec<_> = Schedule::decorrelated(base, cap, 10_000, 3).collect();
        assert!(all.iter().filter(|pause| **pause == cap).count() > 1_000);
        assert!(all.iter().filter(|pause| **pause < cap / 4).count() > 1_000);
    }

    #[test]
    fn the_largest_schedule_ends_without_overflow() {
        let mut all = Schedule::new(Duration::from_nanos(1), DAY, 100_000, Jitter::None, 0);
        assert_eq!(all.len(), 100_000);
        assert_eq!(all.nth(46), Some(Duration::from_nanos(1 << 46)));
        assert_eq!(all.next(), Some(DAY));
        assert_eq!(all.by_ref().last(), Some(DAY));
        assert_eq!((all.next(), all.len()), (None, 0));
        assert_eq!(Schedule::new(DAY, Duration::MAX, u32::MAX, Jitter::None, 0).nth(5_000), Some(Duration::MAX));
    }

    #[test]
    fn splitmix_gives_the_published_numbers() {
        // The reference implementation's first outputs for the seed 1234567.
        let mut random = SplitMix(1_234_567);
        let got = [(); 5].map(|()| random.next());
        let want = [
            6_457_827_717_110_365_317,
            3_203_168_211_198_807_973,
            9_817_491_932_198_370_423,
            4_593_380_528_125_082_431,
            16_408_922_859_458_223_821,
        ];
        assert_eq!(got, want);
    }

    #[test]
    fn full_jitter_is_spread_evenly_and_reaches_both_ends() {
        let ceiling = Duration::from_nanos(9);
        let mut seen = [0_u32; 10];
        for pause in Schedule::new(ceiling, ceiling, 100_000, Jitter::Full, 7) {
            seen[pause.as_nanos() as usize] += 1;
        }
        // 10,000 each; six standard deviations are 570.
        assert!(seen.iter().all(|n| n.abs_diff(10_000) < 570), "{seen:?}");
    }
}
