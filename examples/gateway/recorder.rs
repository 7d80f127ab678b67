//! What the generator writes down of each request, and what it reports of them: by phase, and by quarter second for the
//! time lines. Everything is filed under the moment at which a request was meant to be sent.

use serde::{Deserialize, Serialize};

use crate::hist::Latencies;
use crate::plan::{Arrival, PATIENCE, Phase, Plan, Route};

/// The length of a slice of the time lines.
pub(crate) const SLICE_MS: u64 = 250;

/// What a request came to, as its client saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    Ok,
    /// Refused by the breaker.
    RefusedOpen,
    /// Refused for want of a place, or because the time was up before one was free.
    RefusedFull,
    /// Anything else: 500, 502, 504, a connection that broke.
    Failed,
}

/// One route in one phase.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Figures {
    pub(crate) sent: u64,
    pub(crate) ok: u64,
    /// Answered with success within a second of the moment it was meant to be sent.
    pub(crate) good: u64,
    pub(crate) refused_open: u64,
    pub(crate) refused_full: u64,
    pub(crate) failed: u64,
    /// Still open when the generator left.
    pub(crate) unanswered: u64,
    /// From the intended send. What was never answered is in it with the age it had reached.
    pub(crate) latency: Latencies,
    /// From the actual send.
    pub(crate) response: Latencies,
    /// From the actual send, refusals of the breaker only.
    pub(crate) refusal: Latencies,
}

impl Figures {
    pub(crate) fn refused(&self) -> u64 {
        self.refused_open + self.refused_full
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.sent += other.sent;
        self.ok += other.ok;
        self.good += other.good;
        self.refused_open += other.refused_open;
        self.refused_full += other.refused_full;
        self.failed += other.failed;
        self.unanswered += other.unanswered;
        self.latency.merge(&other.latency);
        self.response.merge(&other.response);
        self.refusal.merge(&other.refusal);
    }
}

/// One route in one slice.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct SliceFigures {
    pub(crate) sent: u64,
    pub(crate) ok: u64,
    pub(crate) good: u64,
    pub(crate) refused: u64,
    pub(crate) p50_us: u64,
    pub(crate) p99_us: u64,
    /// Successes that arrived in this slice, whenever they were asked for.
    pub(crate) arrived: u64,
}

/// A quarter of a second.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Slice {
    pub(crate) from_ms: u64,
    pub(crate) routes: [SliceFigures; Route::ALL.len()],
}

/// What the generator hands over at the end.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct GeneratorReport {
    /// By [`Phase::index`] and [`Route::index`].
    pub(crate) figures: [[Figures; Route::ALL.len()]; Phase::COUNT],
    /// How late requests were really sent, by phase.
    pub(crate) lateness: [Latencies; Phase::COUNT],
    pub(crate) slices: Vec<Slice>,
}

impl GeneratorReport {
    pub(crate) fn figures(&self, phase: Phase, route: Route) -> &Figures {
        &self.figures[phase.index()][route.index()]
    }

    /// All healthy routes of one phase together.
    pub(crate) fn healthy(&self, phase: Phase) -> Figures {
        let mut all = Figures::default();
        for route in Route::ALL.into_iter().filter(|r| r.is_healthy()) {
            all.merge(self.figures(phase, route));
        }
        all
    }
}

/// What one route did since the last look.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct RouteProgress {
    pub(crate) answered: u64,
    pub(crate) ok: u64,
    pub(crate) refused: u64,
    pub(crate) failed: u64,
    pub(crate) p99_us: u64,
}

/// What the generator tells while it runs.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Progress {
    pub(crate) over_ms: u64,
    pub(crate) routes: [RouteProgress; Route::ALL.len()],
}

/// Times of one request, in microseconds on the machine's clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    pub(crate) intended: u64,
    pub(crate) sent: u64,
    pub(crate) done: u64,
}

pub(crate) struct Recorder {
    start_us: u64,
    arrivals: Vec<Arrival>,
    answered: Vec<bool>,
    open: usize,
    report: GeneratorReport,
    /// Latencies of each slice and route, until the quantiles are taken.
    slices: Vec<[Vec<u64>; Route::ALL.len()]>,
    recent: [(RouteProgress, Vec<u64>); Route::ALL.len()],
    looked_us: u64,
}

impl Recorder {
    pub(crate) fn new(plan: &Plan, start_us: u64) -> Self {
        let arrivals = plan.arrivals();
        let slices = (plan.total().as_millis() as u64).div_ceil(SLICE_MS);
        let empty = |i| Slice { from_ms: i * SLICE_MS, ..Slice::default() };
        Self {
            start_us,
            answered: vec![false; arrivals.len()],
            open: arrivals.len(),
            arrivals,
            report: GeneratorReport {
                figures: Default::default(),
                lateness: Default::default(),
                slices: (0..slices).map(empty).collect(),
            },
            slices: vec![Default::default(); slices as usize],
            recent: Default::default(),
            looked_us: start_us,
        }
    }

    pub(crate) fn arrivals(&self) -> &[Arrival] {
        &self.arrivals
    }

    /// Requests that are not answered yet, those that are still to be sent included.
    pub(crate) fn open(&self) -> usize {
        self.open
    }

    pub(crate) fn answered(&mut self, index: usize, times: Times, class: Class) {
        let Arrival { route, phase, .. } = self.arrivals[index];
        self.answered[index] = true;
        self.open -= 1;
        let latency = times.done.saturating_sub(times.intended);
        let response = times.done.saturating_sub(times.sent);

        self.report.lateness[phase.index()].record(times.sent.saturating_sub(times.intended));
        let figures = &mut self.report.figures[phase.index()][route.index()];
        let good = class == Class::Ok && latency <= PATIENCE.as_micros() as u64;
        figures.sent += 1;
        figures.ok += u64::from(class == Class::Ok);
        figures.good += u64::from(good);
        figures.refused_open += u64::from(class == Class::RefusedOpen);
        figures.refused_full += u64::from(class == Class::RefusedFull);
        figures.failed += u64::from(class == Class::Failed);
        figures.latency.record(latency);
        figures.response.record(response);
        if class == Class::RefusedOpen {
            figures.refusal.record(response);
        }

        let refused = matches!(class, Class::RefusedOpen | Class::RefusedFull);
        let slice = self.slice(times.intended);
        self.slices[slice][route.index()].push(latency);
        let figures = &mut self.report.slices[slice].routes[route.index()];
        figures.sent += 1;
        figures.ok += u64::from(class == Class::Ok);
        figures.good += u64::from(good);
        figures.refused += u64::from(refused);
        let arrived = self.slice(times.done);
        self.report.slices[arrived].routes[route.index()].arrived += u64::from(class == Class::Ok);

        let (recent, latencies) = &mut self.recent[route.index()];
        recent.answered += 1;
        recent.ok += u64::from(class == Class::Ok);
        recent.refused += u64::from(refused);
        recent.failed += u64::from(class == Class::Failed);
        latencies.push(latency);
    }

    /// What was answered since the last call.
    pub(crate) fn progress(&mut self, now_us: u64) -> Progress {
        let over_ms = now_us.saturating_sub(self.looked_us) / 1_000;
        self.looked_us = now_us;
        let routes = std::mem::take(&mut self.recent).map(|(mut route, mut latencies)| {
            latencies.sort_unstable();
            route.p99_us = quantile(&latencies, 0.99);
            route
        });
        Progress { over_ms, routes }
    }

    /// Closes the books: what is open now counts as unanswered, with its age as its latency.
    pub(crate) fn finish(&mut self, now_us: u64) -> GeneratorReport {
        for index in 0..self.arrivals.len() {
            if self.answered[index] {
                continue;
            }
            let Arrival { at_us, route, phase } = self.arrivals[index];
            let intended = self.start_us + at_us;
            let age = now_us.saturating_sub(intended);
            let figures = &mut self.report.figures[phase.index()][route.index()];
            figures.sent += 1;
            figures.unanswered += 1;
            figures.latency.record(age);
            let slice = self.slice(intended);
            self.slices[slice][route.index()].push(age);
            self.report.slices[slice].routes[route.index()].sent += 1;
        }
        for (slice, latencies) in self.report.slices.iter_mut().zip(&mut self.slices) {
            for (figures, latencies) in slice.routes.iter_mut().zip(latencies) {
                latencies.sort_unstable();
                figures.p50_us = quantile(latencies, 0.5);
                figures.p99_us = quantile(latencies, 0.99);
            }
        }
        std::mem::take(&mut self.report)
    }

    /// The slice of a moment; what happens after the plan's end is put into the last one.
    fn slice(&self, at_us: u64) -> usize {
        let slice = at_us.saturating_sub(self.start_us) / 1_000 / SLICE_MS;
        (slice as usize).min(self.slices.len() - 1)
    }
}

/// The value at `q` of sorted values; zero when there are none.
fn quantile(sorted: &[u64], q: f64) -> u64 {
    let rank = (sorted.len() as f64 * q).ceil() as usize;
    sorted.get(rank.max(1) - 1).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Arch;

    #[test]
    fn quantiles_of_sorted_values() {
        assert_eq!(quantile(&[], 0.99), 0);
        assert_eq!(quantile(&[7], 0.5), 7);
        let hundred: Vec<u64> = (1..=100).collect();
        assert_eq!(quantile(&hundred, 0.5), 50);
        assert_eq!(quantile(&hundred, 0.99), 99);
    }

    #[test]
    fn measures_from_the_intended_send_and_keeps_what_was_never_answered() {
        let plan = Plan::full(Arch::D, 0.01);
        let start = 1_000_000;
        let mut recorder = Recorder::new(&plan, start);
        let all = recorder.arrivals().to_vec();
        let intended = start + all[0].at_us;
        let times = Times { intended, sent: intended + 30_000, done: intended + 80_000 };
        recorder.answered(0, times, Class::Ok);
        assert_eq!(recorder.open(), all.len() - 1);
        let end = start + plan.total().as_micros() as u64;
        let report = recorder.finish(end);

        let first = report.figures(all[0].phase, all[0].route);
        assert_eq!(first.good, 1);
        let (latency, response) = (first.latency.quantile(0.0).unwrap(), first.response.max().unwrap());
        assert!((80_000..80_100).contains(&latency), "from the intended send: {latency}");
        assert!((50_000..50_100).contains(&response), "from the actual send: {response}");
        let unanswered: u64 = report.figures.iter().flatten().map(|f| f.unanswered).sum();
        assert_eq!(unanswered, all.len() as u64 - 1);
        assert!(first.latency.max().unwrap() > 15_000_000, "an unanswered one counts with its age");
    }
}
