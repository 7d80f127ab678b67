//! What a breaker says of itself: [`BreakerState`], [`BreakerCause`], [`Counts`].

use std::fmt;

/// The state of a circuit breaker.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[non_exhaustive]
pub enum BreakerState {
    /// Calls pass and are counted.
    Closed,
    /// Calls are refused until the open interval is over.
    Open,
    /// A bounded number of probes passes; the rest is refused.
    HalfOpen,
    /// Calls are refused until somebody says otherwise.
    ForcedOpen,
    /// Calls pass and nothing is counted, until somebody says otherwise: switched off.
    ForcedClosed,
    /// Calls pass and are counted, and nothing opens it, until somebody says otherwise.
    MetricsOnly,
}

impl BreakerState {
    /// Whether every call is refused: open or forced open.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Open | Self::ForcedOpen)
    }
}

impl fmt::Display for BreakerState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half-open",
            Self::ForcedOpen => "forced open",
            Self::ForcedClosed => "forced closed",
            Self::MetricsOnly => "metrics only",
        })
    }
}

/// Why a breaker changed its state.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[non_exhaustive]
pub enum BreakerCause {
    /// So many failures in a row: it opened.
    ConsecutiveFailures,
    /// Too large a share of the calls in the window failed: it opened.
    FailureRate,
    /// Too large a share of the calls in the window was slow: it opened.
    SlowRate,
    /// The user's own rule said so: it opened.
    OwnRule,
    /// The open interval is over: half-open.
    IntervalOver,
    /// The probes succeeded: it closed.
    ProbesSucceeded,
    /// Too many probes failed: it opened again.
    ProbesFailed,
    /// Too many probes were slow: it opened again.
    ProbesSlow,
    /// Somebody forced it open or closed, or told it to count only.
    Forced,
    /// Somebody reset it.
    Reset,
}

impl fmt::Display for BreakerCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ConsecutiveFailures => "failures in a row",
            Self::FailureRate => "failure rate",
            Self::SlowRate => "slow-call rate",
            Self::OwnRule => "a rule of the user's own",
            Self::IntervalOver => "the open interval is over",
            Self::ProbesSucceeded => "probes succeeded",
            Self::ProbesFailed => "probes failed",
            Self::ProbesSlow => "probes were slow",
            Self::Forced => "by hand",
            Self::Reset => "reset",
        })
    }
}

/// What a breaker has counted: while closed, what is in its window; while half-open, the probes of this round that have
/// come back. Without a window ([`Trip::consecutive`](crate::Trip::consecutive)), the failures in a row are all there is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Hash)]
#[non_exhaustive]
pub struct Counts {
    /// Calls that were recorded, and not ignored.
    pub calls: u64,
    /// Those of them that failed.
    pub failures: u64,
    /// Those of them that were slow, whether they failed or not.
    pub slow: u64,
    /// Failures since the last success.
    pub consecutive_failures: u64,
}

impl Counts {
    /// The share of calls that failed; 0 without a call.
    pub fn failure_rate(&self) -> f64 {
        share(self.failures, self.calls)
    }

    /// The share of calls that were slow; 0 without a call.
    pub fn slow_rate(&self) -> f64 {
        share(self.slow, self.calls)
    }
}

/// A quotient, not a product: 7.0 / 100.0 is the very number that the literal 0.07 is, 0.07 * 100.0 is a little more than 7.
fn share(part: u64, of: u64) -> f64 {
    if of == 0 { 0.0 } else { part as f64 / of as f64 }
}
