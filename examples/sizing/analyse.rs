//! From measured points to a knee, a limit and how it is known.

use std::fmt;
use std::time::Duration;

use serde::Serialize;
use watertight::BuildError;
use watertight::sizing::{Bottleneck, ErlangC, Usl, Workload};

use crate::load::{Open, Saturated, Service};

/// The knee is where this share of the best throughput is reached.
pub(crate) const KNEE: f64 = 0.95;
/// From this share of the CPUs on they are the limit; the rest goes to the program itself and to waking up.
const CPU_FULL: f64 = 0.85;
/// Doubling the threads from the last point but one would have to do at least `2^SCALES` times as much, if they are the limit.
const SCALES: f64 = 0.75;
/// Threads that are ready for this part of their time and have no CPU are short of CPUs.
const READY: f64 = 0.5;
/// A curve further off than this is shown and not believed.
const FITS: f64 = 0.05;
/// Throughput that ends below this share of the best has passed its peak.
const FALLS: f64 = 0.9;
/// A curve of fewer points is met by chance.
const ENOUGH: usize = 6;
/// A mean service time within this of the least one is not stretched by waiting.
const UNSTRETCHED: f64 = 1.15;

/// Why the throughput is not higher, and the figures that say so.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Verdict {
    #[serde(serialize_with = "by_name")]
    pub(crate) limit: Bottleneck,
    /// Of the point with the best throughput.
    pub(crate) threads: usize,
    pub(crate) best: f64,
    pub(crate) cpus: f64,
    pub(crate) cpus_used: f64,
    pub(crate) cpus_wanted: f64,
    /// log of the last gain in throughput by log of the gain in threads: 1 if each thread does as much as the one before.
    pub(crate) last_gain: f64,
    /// The part of the time of the last threads added in which they were ready to run and had no CPU.
    pub(crate) last_ready: f64,
    /// Calls at once that the dependency takes, by Little's law, if it is the limit.
    pub(crate) calls: Option<usize>,
    /// Fewest threads measured that reach `KNEE` of the best.
    pub(crate) knee: usize,
}

fn by_name<S: serde::Serializer>(limit: &Bottleneck, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(limit)
}

impl Verdict {
    /// `None` without points. They are by threads, ascending.
    pub(crate) fn of(points: &[Saturated], cpus: f64) -> Option<Self> {
        let best = points.iter().max_by(|a, b| a.throughput.total_cmp(&b.throughput))?;
        let (last_gain, last_ready) = match points {
            [.., before, last] if before.throughput > 0.0 && last.throughput > 0.0 => {
                let added = last.threads as f64 - before.threads as f64;
                let gain =
                    (last.throughput / before.throughput).ln() / (last.threads as f64 / before.threads as f64).ln();
                (gain, (last.cpus_wanted - before.cpus_wanted) / added)
            }
            _ => (1.0, 0.0),
        };
        let limit = if best.cpus_used >= CPU_FULL * cpus {
            Bottleneck::Cpu
        } else if last_gain >= SCALES {
            Bottleneck::Threads
        } else if last_ready >= READY {
            Bottleneck::Cpu // and somebody else on this machine uses part of it
        } else {
            Bottleneck::Dependency
        };
        let calls = (best.throughput * unstretched(points).mean_s).round().max(1.0) as usize;
        let knee = points.iter().find(|p| p.throughput >= KNEE * best.throughput).map_or(best.threads, |p| p.threads);
        Some(Self {
            limit,
            threads: best.threads,
            best: best.throughput,
            cpus,
            cpus_used: best.cpus_used,
            cpus_wanted: best.cpus_wanted,
            last_gain,
            last_ready,
            calls: (limit == Bottleneck::Dependency).then_some(calls),
            knee,
        })
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { limit, threads, best, cpus, cpus_used, last_gain, last_ready, calls, knee, .. } = self;
        writeln!(
            f,
            "The limit is {limit}: at best {best:.0} jobs/s with {threads} threads; knee: {knee} threads do 95 % of that."
        )?;
        let (used, wanted) = (self.cpus_used, self.cpus_wanted);
        if used < CPU_FULL * cpus && wanted > *cpus {
            writeln!(f, "Other programs used this machine meanwhile: on a quiet one all figures are better.")?;
        }
        let cpu = format!("{cpus_used:.2} of {cpus:.0} CPUs used");
        match (limit, calls) {
            (Bottleneck::Cpu, _) => write!(
                f,
                "How it is known: {cpu}; the last threads added {:.0} % of what threads add that wait for nobody, and were \
                 ready without a CPU for {:.0} % of their time.",
                last_gain.max(0.0) * 100.0,
                last_ready.clamp(0.0, 1.0) * 100.0
            ),
            (Bottleneck::Threads, _) => write!(
                f,
                "How it is known: {cpu}, and the last threads added still did {:.0} % of what threads add that wait for nobody.",
                last_gain.max(0.0) * 100.0
            ),
            (_, Some(calls)) => write!(
                f,
                "How it is known: {cpu}, and yet the last threads added nearly nothing ({:.0} %): they wait for something \
                 that takes about {calls} at once (Little's law: best throughput × service time without that wait).",
                last_gain.max(0.0) * 100.0
            ),
            _ => write!(f, "How it is known: {cpu}."),
        }
    }
}

/// The service time where nobody waits for anybody: of the points whose mean is near the least.
pub(crate) fn unstretched(points: &[Saturated]) -> Service {
    let means = points.iter().filter(|p| p.service.jobs > 0).map(|p| p.service.mean_s);
    let least = means.fold(f64::INFINITY, f64::min);
    let near = points.iter().filter(|p| p.service.mean_s <= UNSTRETCHED * least);
    Service::of(&near.flat_map(|p| p.times.iter().copied()).collect::<Vec<_>>())
}

/// The law of the saturated points; `None` if there are too few.
pub(crate) fn law(points: &[Saturated]) -> Option<Usl> {
    Usl::fit(points.iter().map(|p| (p.threads, p.throughput))).ok()
}

/// What `watertight::sizing` is to be asked.
pub(crate) fn workload(points: &[Saturated], verdict: &Verdict, rate: f64, budget: Duration) -> Workload {
    let service = unstretched(points);
    let seconds = |s: f64| Duration::try_from_secs_f64(s).unwrap_or_default().max(Duration::from_nanos(1));
    let mut asked = Workload::per_second(rate)
        .service(seconds(service.mean_s), seconds(service.p99_s))
        .variation(service.cv)
        .wait_budget(budget);
    if let Some(calls) = verdict.calls {
        asked = asked.dependency(calls);
    }
    // Not those that are there: those that were got, on a machine shared with others.
    let cpus = if verdict.limit == Bottleneck::Cpu { verdict.cpus_used } else { verdict.cpus };
    let cpus = cpus.clamp(0.01, verdict.cpus.max(0.01));
    asked = asked.cpu(Duration::try_from_secs_f64(service.cpu_s).unwrap_or_default(), cpus);
    // A curve that only bends says no more than the limit above; one that falls says that more threads do harm. And what
    // it says beyond the last point is a guess.
    let last = points.last().map_or((0, 0.0), |p| (p.threads, p.throughput));
    let falls = verdict.limit == Bottleneck::Dependency && last.1 < FALLS * verdict.best;
    let within = |law: &Usl| law.residual() < FITS && law.peak().is_some_and(|n| n <= last.0);
    if let Some(law) = law(points).filter(|law| falls && points.len() >= ENOUGH && within(law)) {
        asked = asked.scaling(law);
    }
    asked
}

/// What Erlang-C says of the waits of a point, from its own rate and service times: mean and p99 in seconds. `None` where
/// it does not apply: where it is unstable, or the queue was too short for all to wait who would have.
pub(crate) fn predicted(open: &Open) -> Option<(f64, f64)> {
    if open.refused_share() > 0.01 {
        return None;
    }
    let waits = erlang(open).ok()?;
    Some((waits.mean_wait()?.as_secs_f64(), waits.wait_at(0.99)?.as_secs_f64()))
}

fn erlang(open: &Open) -> Result<ErlangC, BuildError> {
    let mean = Duration::try_from_secs_f64(open.service.mean_s).unwrap_or_default();
    Ok(ErlangC::new(open.threads, open.rate, mean)?.variation(open.service.cv))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(threads: usize, throughput: f64, cpus: f64) -> Saturated {
        let mean_s = (threads as f64 / throughput).max(0.01);
        let service = Service { jobs: 10, mean_s, p99_s: mean_s, cv: 0.0, cpu_s: cpus / throughput };
        Saturated { threads, throughput, cpus_used: cpus, cpus_wanted: cpus, service, times: vec![(mean_s, 0.0); 10] }
    }

    fn limited(most: f64, cpus: impl Fn(f64) -> f64) -> Vec<Saturated> {
        let of = |n: usize| point(n, (100.0 * n as f64).min(most), cpus((100.0 * n as f64).min(most)));
        [1, 2, 4, 8, 16].map(of).into()
    }

    #[test]
    fn what_fills_the_cpus_is_limited_by_them() {
        let verdict = Verdict::of(&limited(200.0, |x| x / 100.0), 2.0).unwrap();
        assert_eq!((verdict.limit, verdict.knee, verdict.calls), (Bottleneck::Cpu, 2, None));
        assert!(verdict.to_string().contains("2.00 of 2 CPUs used"), "{verdict}");
        // Shared with others: half of the time its threads are ready and do not run.
        let mut shared = limited(200.0, |x| x / 200.0);
        shared.iter_mut().for_each(|p| p.cpus_wanted = p.threads as f64);
        assert_eq!(Verdict::of(&shared, 2.0).unwrap().limit, Bottleneck::Cpu);
    }

    #[test]
    fn what_still_scales_is_limited_by_its_threads() {
        let verdict = Verdict::of(&limited(f64::INFINITY, |_| 0.1), 2.0).unwrap();
        assert_eq!((verdict.limit, verdict.knee, verdict.threads), (Bottleneck::Threads, 16, 16));
        assert!((verdict.last_gain - 1.0).abs() < 1e-9);
    }

    #[test]
    fn what_stops_scaling_with_idle_cpus_waits_for_something_and_little_says_how_wide_it_is() {
        let verdict = Verdict::of(&limited(600.0, |_| 0.1), 2.0).unwrap();
        assert_eq!((verdict.limit, verdict.calls), (Bottleneck::Dependency, Some(6)));
        assert!(verdict.to_string().contains("takes about 6 at once"), "{verdict}");
        // Also if the last doubling began below and ended above what it takes.
        assert_eq!(Verdict::of(&limited(600.0, |_| 0.1)[..4], 2.0).unwrap().calls, Some(6));
    }

    #[test]
    fn a_peak_counts_if_it_was_passed_and_not_if_it_is_a_guess() {
        let law = Usl::new(100.0, 0.02, 0.01).unwrap();
        let asked = |threads: &[usize]| {
            let points: Vec<_> = threads.iter().map(|n| point(*n, law.throughput(*n as f64), 0.1)).collect();
            let verdict = Verdict::of(&points, 2.0).unwrap();
            let workload = workload(&points, &verdict, 10_000.0, Duration::from_secs(1));
            let pool = watertight::Pool::builder("asked").threads(1).build().unwrap();
            watertight::sizing::recommend(&pool.stats(), &workload).unwrap().to_string()
        };
        assert!(asked(&[1, 2, 4, 8, 16, 32]).contains("n* = √((1 − σ)/κ) = 10 threads"));
        assert!(!asked(&[1, 2, 3, 4, 5, 6]).contains("n*"));
        assert!(!asked(&[1, 16, 32]).contains("n*"));
    }

    #[test]
    fn no_points_are_no_verdict_and_silence_is_none() {
        assert_eq!(Verdict::of(&[], 2.0), None);
        assert!(Verdict::of(&[point(1, 0.0, 0.0), point(2, 0.0, 0.0)], 2.0).unwrap().last_gain.is_finite());
    }

    #[test]
    fn only_what_did_not_wait_counts_as_service() {
        let service = unstretched(&limited(200.0, |_| 0.1));
        assert_eq!(service.jobs, 20);
        assert!((service.mean_s - 0.01).abs() < 1e-9);
    }
}
