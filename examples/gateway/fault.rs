//! What can be wrong with a downstream: the vocabulary of the control routes. A new fault is a variant here, and a line
//! where `proxy` or `downstream` acts on it.

use std::time::Duration;

use rand::{Rng, RngExt};
use serde::{Deserialize, Serialize};

use crate::plan::{SERVICE, SICK};

/// The state of one downstream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "fault")]
pub(crate) enum Fault {
    /// Nothing is wrong.
    #[default]
    None,
    /// The proxy holds back every piece of an answer by this much.
    Latency {
        latency_ms: u64,
        #[serde(default)]
        jitter_ms: u64,
    },
    /// The proxy's port refuses connections, and those that were open are cut.
    Down,
    /// The downstream itself answers 500.
    Errors,
}

/// More than any patience; keeps a mistyped figure from overflowing the clock.
const LONGEST_MS: u64 = 600_000;

impl Fault {
    /// By how much a piece of an answer is late.
    pub(crate) fn delay(self, rng: &mut impl Rng) -> Duration {
        let Fault::Latency { latency_ms, jitter_ms } = self else {
            return Duration::ZERO;
        };
        let (latency, jitter) = (latency_ms.min(LONGEST_MS), jitter_ms.min(LONGEST_MS));
        let late = latency + rng.random_range(0..=2 * jitter);
        Duration::from_millis(late.saturating_sub(jitter))
    }

    /// The story's sickness: with the service time it makes the 5 s.
    pub(crate) fn sick() -> Self {
        Fault::Latency { latency_ms: (SICK - SERVICE).as_millis() as u64, jitter_ms: 0 }
    }
}

/// The answer of a control route: since when the fault is on, on the machine's monotonic clock.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Since {
    pub(crate) at_us: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_are_within_the_jitter_and_never_overflow() {
        let mut rng = rand::rng();
        assert_eq!(Fault::None.delay(&mut rng), Duration::ZERO);
        assert_eq!(Fault::sick().delay(&mut rng), Duration::from_millis(4_950));
        for _ in 0..1_000 {
            let delay = Fault::Latency { latency_ms: 100, jitter_ms: 20 }.delay(&mut rng);
            assert!((80..=120).contains(&delay.as_millis()), "{delay:?}");
        }
        let absurd = Fault::Latency { latency_ms: u64::MAX, jitter_ms: u64::MAX }.delay(&mut rng);
        assert!(absurd <= Duration::from_millis(2 * LONGEST_MS));
    }

    #[test]
    fn speaks_json() {
        let text = r#"{"fault":"latency","latency_ms":300}"#;
        assert_eq!(serde_json::from_str::<Fault>(text).unwrap(), Fault::Latency { latency_ms: 300, jitter_ms: 0 });
        assert_eq!(serde_json::to_string(&Fault::Down).unwrap(), r#"{"fault":"down"}"#);
    }
}
