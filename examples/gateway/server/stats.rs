//! What the gateway says of itself on `/stats`: the story samples it ten times a second.

use serde::{Deserialize, Serialize};

use crate::hist::Latencies;
use crate::plan::{Phase, Route};

/// A breaker's state, as far as an onlooker is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Breaker {
    Closed,
    Open,
    HalfOpen,
}

impl Breaker {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Breaker::Closed => "closed",
            Breaker::Open => "open",
            Breaker::HalfOpen => "half-open",
        }
    }
}

/// One route, now; counts since the gateway's start.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct RouteStats {
    /// Requests inside the gateway.
    pub(crate) open: u64,
    /// Threads that are inside a downstream call, and the most there ever were.
    pub(crate) busy: u64,
    pub(crate) busy_peak: u64,
    /// Jobs that wait for a thread, where the architecture knows it by route.
    pub(crate) queued: u64,
    pub(crate) breaker: Option<Breaker>,
    /// By [`Phase::index`] of the request.
    pub(crate) requests: [u64; Phase::COUNT],
    /// Attempts that somebody asked for, and those that really went downstream.
    pub(crate) submitted: [u64; Phase::COUNT],
    pub(crate) started: [u64; Phase::COUNT],
    pub(crate) refused_open: u64,
    pub(crate) refused_full: u64,
    pub(crate) refused_late: u64,
    pub(crate) failed: u64,
}

/// Work whose caller left before it ended.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Orphans {
    pub(crate) jobs: u64,
    /// Time that threads spent on them after the callers had gone.
    pub(crate) thread_us: u64,
    /// By how much the worst of them ran past its socket timeout.
    pub(crate) overrun_us: u64,
}

/// Everything, now.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Stats {
    pub(crate) at_us: u64,
    pub(crate) routes: [RouteStats; Route::ALL.len()],
    /// Jobs that wait in a queue that all routes share.
    pub(crate) queued_shared: u64,
    pub(crate) orphans: Orphans,
}

impl Stats {
    pub(crate) fn route(&self, route: Route) -> &RouteStats {
        &self.routes[route.index()]
    }

    pub(crate) fn open(&self) -> u64 {
        self.routes.iter().map(|r| r.open).sum()
    }

    pub(crate) fn busy(&self) -> u64 {
        self.routes.iter().map(|r| r.busy).sum()
    }

    pub(crate) fn queued(&self) -> u64 {
        self.queued_shared + self.routes.iter().map(|r| r.queued).sum::<u64>()
    }
}

/// A breaker changed its state.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Transition {
    pub(crate) at_us: u64,
    pub(crate) route: Route,
    pub(crate) to: Breaker,
}

/// An attempt that went to the downstream that can fall sick.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Attempt {
    /// When its request came in.
    pub(crate) arrived_us: u64,
    pub(crate) started_us: u64,
    pub(crate) ended_us: u64,
}

/// What is too long to be sampled; asked for once, at the end.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Log {
    pub(crate) transitions: Vec<Transition>,
    pub(crate) attempts: Vec<Attempt>,
    /// From the call to its refusal by an open breaker, inside the process; in nanoseconds.
    pub(crate) refusal_ns: Latencies,
}
