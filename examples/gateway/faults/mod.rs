//! What can be wrong with a downstream, and the proxy that makes it so. On its own but for tokio and serde, so that tests
//! of other things may use it too. A new fault is a variant here, and a line where `shape`, `proxy` or a downstream acts
//! on it.

pub(crate) mod proxy;
mod shape;

use serde::{Deserialize, Serialize};

/// What is wrong. All but `Down`, `DropFirst` and `Errors` strike answers, as their bytes pass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "fault", deny_unknown_fields)]
pub(crate) enum Fault {
    /// Nothing is wrong.
    #[default]
    None,
    /// Every piece of an answer is held back by this much.
    Latency {
        latency_ms: u64,
        #[serde(default)]
        jitter_ms: u64,
    },
    /// Answers trickle: so many thousand bytes a second on each connection.
    Bandwidth { kb_per_s: u64 },
    /// Answers come in slices of about so many bytes, each so much after the one before.
    Slicer {
        bytes: u64,
        #[serde(default)]
        variation: u64,
        #[serde(default)]
        delay_ms: u64,
    },
    /// A connection is closed when so many bytes of answers have passed, in the middle of one or not.
    Limit { bytes: u64 },
    /// Nothing passes; the connection is closed after this long, and with 0 only when the client leaves.
    Timeout {
        #[serde(default)]
        after_ms: u64,
    },
    /// In place of an answer, after this long, the connection is reset.
    Reset {
        #[serde(default)]
        after_ms: u64,
    },
    /// A connection that the downstream has closed stays open for this long.
    SlowClose { delay_ms: u64 },
    /// The first so many connections that are used from now on are closed before anything has passed.
    DropFirst { connections: u64 },
    /// The proxy's port refuses connections, and those that were open are cut.
    Down,
    /// The downstream itself answers 500.
    Errors,
}

/// A fault, and how much of the traffic it strikes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Setting {
    #[serde(flatten)]
    pub(crate) fault: Fault,
    /// The share of connections that are struck, from 0 to 1; of answers, for `Errors`. A port is down as a whole.
    #[serde(default = "all")]
    pub(crate) toxicity: f64,
    /// Counts settings: what counts connections or bytes begins anew with each.
    #[serde(skip)]
    pub(crate) serial: u64,
}

fn all() -> f64 {
    1.0
}

impl From<Fault> for Setting {
    fn from(fault: Fault) -> Self {
        Self { fault, toxicity: all(), serial: 0 }
    }
}

impl Default for Setting {
    fn default() -> Self {
        Fault::None.into()
    }
}

impl Setting {
    /// The fault as a connection with this lot, from 0 to less than 1, feels it.
    pub(crate) fn strikes(&self, lot: f64) -> Fault {
        if lot < self.toxicity { self.fault } else { Fault::None }
    }

    pub(crate) fn is_down(&self) -> bool {
        self.fault == Fault::Down
    }

    /// What is to hold from now on in the place of `self`.
    pub(crate) fn replaced_by(&self, next: Setting) -> Setting {
        Setting { serial: self.serial + 1, ..next }
    }
}

/// The lot of the `n`th connection. Lots are spread evenly rather than drawn, so that a share of a few connections is that
/// share: the golden ratio's multiples.
pub(crate) fn lot(n: u64) -> f64 {
    (n as f64 * 0.618_033_988_749_894_9).fract()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn speaks_json() {
        let read = |text: &str| serde_json::from_str::<Setting>(text);
        let slow = Fault::Latency { latency_ms: 300, jitter_ms: 0 };
        assert_eq!(read(r#"{"fault":"latency","latency_ms":300}"#).unwrap(), slow.into());
        let half = Setting { toxicity: 0.5, ..Fault::Reset { after_ms: 0 }.into() };
        assert_eq!(read(r#"{"fault":"reset","toxicity":0.5}"#).unwrap(), half);
        assert_eq!(serde_json::to_string(&Fault::Down).unwrap(), r#"{"fault":"down"}"#);
        assert!(read(r#"{"fault":"limit","bites":7}"#).is_err(), "an unknown figure is refused");
        assert!(read(r#"{"fault":"limit"}"#).is_err(), "a figure without a default has to be given");
    }

    #[test]
    fn a_share_of_a_few_connections_is_that_share() {
        for toxicity in [0.0, 0.1, 0.25, 0.5, 0.9, 1.0] {
            let setting = Setting { toxicity, ..Fault::Errors.into() };
            let struck = (0..20).filter(|n| setting.strikes(lot(*n)) == Fault::Errors).count();
            assert!((struck as f64 - 20.0 * toxicity).abs() <= 1.5, "{struck} of 20 at {toxicity}");
        }
    }
}
