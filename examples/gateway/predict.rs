//! The arithmetic: what Little's law (busy = rate x time) says each architecture must show, before anything is measured.

use crate::plan::{ATTEMPTS, PATIENCE, RATE, Route, SERVICE, SICK, shared_threads};

/// What is to be expected at a given scale. Rates are per second, times in seconds.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize)]
pub(crate) struct Prediction {
    /// Requests per second over all routes.
    pub(crate) rate: f64,
    /// Threads of the shared pool of (b) and (c).
    pub(crate) pool: f64,
    /// Threads busy while all is well.
    pub(crate) busy: f64,
    /// What the pool carries while all is well.
    pub(crate) capacity: f64,
    /// What the pool would carry if every call were sick.
    pub(crate) capacity_all_sick: f64,
    /// (a): threads held once the sick calls have piled up.
    pub(crate) threads_per_request: f64,
    /// (b): from the fault until no thread of the pool is free.
    pub(crate) exhaustion: f64,
    /// (b): requests per second while sick.
    pub(crate) throughput_sick: f64,
    /// (b): by how much the backlog grows in a second.
    pub(crate) backlog_growth: f64,
    /// (b): open requests when the fault ends.
    pub(crate) open_at_heal: f64,
    /// (b): from healing until the backlog is gone, at most.
    pub(crate) recovery: f64,
    /// (c): attempts for one request on the sick route.
    pub(crate) attempts: f64,
    /// (c): jobs whose callers have left, at the worst moment.
    pub(crate) stale_jobs: f64,
    /// (c): from healing until the stale jobs are gone.
    pub(crate) dead_for: f64,
    /// (c): from this rate on the retries alone keep the pool full, for ever.
    pub(crate) never_recovers_from: f64,
    /// (d): threads in all compartments.
    pub(crate) compartments: f64,
    /// (d): from the fault until the breaker opens.
    pub(crate) breaker_opens: f64,
}

impl Prediction {
    /// For a fault of `fault_s` seconds at `scale` times the rates and the shared pool.
    pub(crate) fn new(scale: f64, fault_s: f64) -> Self {
        let (service, sick, patience) = (SERVICE.as_secs_f64(), SICK.as_secs_f64(), PATIENCE.as_secs_f64());
        let rate = RATE * scale;
        let pool = shared_threads(scale) as f64;
        let share = Route::SICK.share();
        let sick_rate = rate * share;
        let healthy_busy = rate * (1.0 - share) * service;
        let capacity = pool / service;

        let exhaustion = (pool - healthy_busy) / sick_rate;
        let mean = share * sick + (1.0 - share) * service;
        let throughput_sick = pool / mean;
        let backlog_growth = rate - throughput_sick;
        let open_at_heal = (fault_s - exhaustion).max(0.0) * backlog_growth;

        // (c). The wait passes the callers' patience when the backlog is what the sick pool carries in that time; from
        // then on each request is offered again after one patience and once more after two: on average all the
        // retries are there one and a half later.
        let attempts = f64::from(ATTEMPTS);
        let offered = attempts * rate;
        let impatient = exhaustion + patience * throughput_sick / backlog_growth;
        let ramp = patience * attempts / 2.0;
        let at_heal = backlog_growth * (impatient - exhaustion + ramp)
            + (offered - throughput_sick) * (fault_s - impatient - ramp).max(0.0);
        // After healing the threads that hold sick calls come back evenly over the time such a call takes.
        let blocked = pool * share * sick / mean;
        let back_per_s = blocked / sick / service;
        let short = offered - (pool - blocked) / service;
        let stale_jobs = at_heal + short * short / (2.0 * back_per_s);
        let dead_for = short / back_per_s + stale_jobs / (capacity - offered).max(f64::MIN_POSITIVE);

        let compartment = Route::SICK.compartment();
        Self {
            rate,
            pool,
            busy: rate * service,
            capacity,
            capacity_all_sick: pool / sick,
            threads_per_request: sick_rate * sick + healthy_busy,
            exhaustion,
            throughput_sick,
            backlog_growth,
            open_at_heal,
            recovery: open_at_heal / (capacity - rate) + sick,
            attempts,
            stale_jobs,
            dead_for,
            never_recovers_from: capacity / attempts,
            compartments: Route::ALL.iter().map(|r| r.compartment().threads as f64).sum(),
            breaker_opens: compartment.threads as f64 / sick_rate + compartment.deadline.as_secs_f64(),
        }
    }

    /// What the arithmetic says beyond what one run can show.
    pub(crate) fn sentence(&self) -> String {
        format!(
            "By arithmetic alone: the pool carries {:.0}/s, and {:.0}/s if every call were sick; (c) is left with about \
             {:.0} stale jobs, and from {:.0}/s on it never recovers.",
            self.capacity, self.capacity_all_sick, self.stale_jobs, self.never_recovers_from
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(measured: f64, expected: f64, part: f64) {
        assert!((measured - expected).abs() <= expected * part, "{measured} is not {expected}");
    }

    /// The figures as published with the story, each of which can be checked by hand.
    #[test]
    fn the_published_figures() {
        let p = Prediction::new(1.0, 8.0);
        near(p.busy, 50.0, 0.0001);
        near(p.capacity, 4_000.0, 0.0001);
        near(p.capacity_all_sick, 40.0, 0.0001);
        near(p.threads_per_request, 545.0, 0.0001);
        near(p.exhaustion, 1.55, 0.0001);
        near(p.throughput_sick, 367.0, 0.001);
        near(p.backlog_growth, 633.0, 0.001);
        near(p.open_at_heal, 4_080.0, 0.002);
        near(p.recovery, 6.36, 0.001);
        near(p.attempts, 3.0, 0.0001);
        near(p.stale_jobs, 20_000.0, 0.15);
        near(p.dead_for, 20.0, 0.10);
        near(p.never_recovers_from, 1_334.0, 0.001);
        near(p.compartments, 70.0, 0.0001);
        near(p.breaker_opens, 0.35, 0.0001);
    }

    /// Rates and pool go together, so the times stay and the counts follow.
    #[test]
    fn scaling_keeps_the_times() {
        let (one, half) = (Prediction::new(1.0, 8.0), Prediction::new(0.5, 8.0));
        near(half.exhaustion, one.exhaustion, 0.0001);
        near(half.recovery, one.recovery, 0.0001);
        near(half.throughput_sick, one.throughput_sick / 2.0, 0.0001);
        near(half.open_at_heal, one.open_at_heal / 2.0, 0.0001);
        near(half.threads_per_request, one.threads_per_request / 2.0, 0.0001);
        near(half.compartments, one.compartments, 0.0001);
        near(half.breaker_opens, 0.45, 0.0001);
    }
}
