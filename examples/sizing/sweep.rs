//! What is tried: a plan, carried out in order.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use watertight::BuildError;
use watertight::cpus::{self, Granted};
use watertight::sizing::{Recommendation, Usl, queue_bound, recommend};

use crate::analyse::{self, Verdict};
use crate::load::{Open, Saturated, Service, open_loop, saturate};
use crate::work::{Scales, Spread, Work};

/// The share of the best throughput that arrives unless a rate is asked for.
const SHARE: f64 = 0.6;

/// What to measure, and for how long.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Plan {
    /// Its name.
    pub(crate) workload: String,
    pub(crate) spread: Spread,
    pub(crate) budget: Duration,
    pub(crate) seed: u64,
    pub(crate) rate: Option<f64>,
    pub(crate) threads: Vec<usize>,
    /// Of each saturated point, all turns together.
    pub(crate) saturated: Duration,
    /// Of each point of threads and queue.
    pub(crate) open: Duration,
    /// Of the recommendation.
    pub(crate) trial: Duration,
}

impl Plan {
    /// How long it takes if every queue is empty at the end.
    pub(crate) fn nominal(&self) -> Duration {
        let points = u32::try_from(self.threads.len()).unwrap_or(u32::MAX);
        self.saturated * 6 / 5 * points + self.open * QUEUES * points + self.trial
    }
}

/// Turns of the saturated points.
const ROUNDS: u8 = 3;
/// Queues of each number of threads: none, one a thread, four a thread, and the longest that the budget allows.
const QUEUES: u32 = 4;

fn queues(threads: usize, service: &Service, budget: Duration) -> Vec<usize> {
    let seconds = |s| Duration::try_from_secs_f64(s).unwrap_or_default().max(Duration::from_nanos(1));
    let longest = queue_bound(threads, budget, seconds(service.mean_s), seconds(service.p99_s)).min(4_096);
    let mut all = vec![0, threads, 4 * threads, longest];
    all.sort_unstable();
    all.dedup();
    all
}

/// The coefficients of the law, for whoever reads the JSON.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Law {
    pub(crate) lambda: f64,
    pub(crate) sigma: f64,
    pub(crate) kappa: f64,
    pub(crate) residual: f64,
    pub(crate) peak: Option<usize>,
    #[serde(skip)]
    pub(crate) law: Usl,
}

impl From<Usl> for Law {
    fn from(law: Usl) -> Self {
        let (lambda, sigma, kappa) = (law.lambda(), law.sigma(), law.kappa());
        Self { lambda, sigma, kappa, residual: law.residual(), peak: law.peak(), law }
    }
}

#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Advice {
    pub(crate) threads: usize,
    pub(crate) queue: usize,
    pub(crate) capacity: f64,
    pub(crate) shortfall: f64,
    #[serde(skip)]
    pub(crate) shown: Recommendation,
}

/// Everything measured, and what follows from it.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) plan: Plan,
    /// The CPUs that this process was granted, in words.
    pub(crate) granted: String,
    pub(crate) rate: f64,
    pub(crate) service: Service,
    pub(crate) saturated: Vec<Saturated>,
    pub(crate) law: Option<Law>,
    pub(crate) verdict: Verdict,
    pub(crate) open: Vec<Open>,
    pub(crate) advice: Advice,
    /// The recommendation, tried.
    pub(crate) trial: Open,
}

/// Carries out `plan` for `work`, with a line to `progress` for each step.
pub(crate) fn run(plan: &Plan, work: Work, progress: &mut dyn Write) -> Result<Report, Box<dyn std::error::Error>> {
    let work = Arc::new(work);
    let granted = cpus::granted();
    let mut tell = |text: String| drop(writeln!(progress, "{text}")); // nobody may be reading: no reason to stop
    // In turns, so that a disturbance meets every thread count and not one: then the median of the turns counts.
    let mut rounds = vec![Vec::new(); plan.threads.len()];
    for round in 0..ROUNDS {
        for (threads, of) in plan.threads.iter().zip(&mut rounds) {
            let point = saturate(&work, *threads, Scales::even(plan.spread, round), plan.saturated / ROUNDS.into())?;
            tell(format!("saturated, {threads} threads: {:.0}/s", point.throughput));
            of.push(point);
        }
    }
    let points: Vec<_> = rounds.into_iter().filter_map(Saturated::median).collect();
    let service = analyse::unstretched(&points);
    let verdict = Verdict::of(&points, time_of(&granted)).filter(|v| v.best > 0.0 && service.jobs > 0);
    let verdict = verdict.ok_or("no job ended in time: take shorter jobs, or --full")?;
    let rate = plan.rate.unwrap_or(SHARE * verdict.best);
    let mut open = Vec::new();
    for threads in &plan.threads {
        for queue in queues(*threads, &service, plan.budget) {
            let point = at(&work, plan, (*threads, queue), rate, plan.open)?;
            tell(format!("open loop at {rate:.0}/s, {threads} threads, queue {queue}: {:.0}/s", point.throughput));
            open.push(point);
        }
    }
    let asked = analyse::workload(&points, &verdict, rate, plan.budget);
    let at_knee = open.iter().filter(|p| p.threads == verdict.knee).max_by_key(|p| p.queue);
    let now = at_knee.and_then(|p| p.stats).ok_or("no point was measured")?;
    let shown = recommend(&now, &asked)?;
    let (threads, queue) = (shown.threads, shown.queue);
    tell(format!("trying what is recommended: {threads} threads, queue {queue}"));
    let trial = at(&work, plan, (threads, queue), rate, plan.trial)?;
    Ok(Report {
        plan: plan.clone(),
        granted: granted.to_string(),
        rate,
        service,
        law: analyse::law(&points).map(Law::from),
        saturated: points,
        verdict,
        open,
        advice: Advice { threads, queue, capacity: shown.capacity, shortfall: shown.shortfall, shown },
        trial,
    })
}

/// How much processor time there is, in CPUs: not rounded.
fn time_of(granted: &Granted) -> f64 {
    let cpus = granted.affinity as f64;
    granted.quota.map_or(cpus, |quota| quota.min(cpus))
}

fn at(work: &Arc<Work>, plan: &Plan, size: (usize, usize), rate: f64, time: Duration) -> Result<Open, BuildError> {
    // The same jobs at the same moments for every size: points then differ by the size and not by luck.
    open_loop(work, size, rate, time, (Scales::random(plan.spread, plan.seed ^ 1), plan.seed))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::work::Kind;

    fn tiny() -> Plan {
        Plan {
            workload: "tiny".into(),
            spread: Spread::Constant,
            budget: Duration::from_millis(50),
            seed: 1,
            rate: None,
            threads: vec![1, 2, 3],
            saturated: Duration::from_millis(40),
            open: Duration::from_millis(30),
            trial: Duration::from_millis(50),
        }
    }

    /// A report of short measurements, repeated until on this machine each saw a job end.
    pub(crate) fn measured(workload: Kind) -> Report {
        measured_of(|| Work::new(workload, Duration::from_millis(1), 2).unwrap())
    }

    fn measured_of(work: impl Fn() -> Work) -> Report {
        let mut plan = tiny();
        loop {
            match run(&plan, work(), &mut std::io::sink()) {
                Ok(report) if report.law.is_some() => return report,
                Err(e) if !e.to_string().contains("no job ended") => panic!("{e}"),
                _ => plan.saturated *= 2,
            }
        }
    }

    #[test]
    fn a_sweep_measures_every_point_and_tries_what_it_recommends() {
        for workload in [Kind::Cpu, Kind::Sleep, Kind::Dependency, Kind::Mixed] {
            let report = measured(workload);
            assert_eq!(report.saturated.len(), 3);
            assert!(report.open.len() >= 9);
            assert!(report.advice.threads >= 1);
            assert_eq!((report.trial.threads, report.trial.queue), (report.advice.threads, report.advice.queue));
            for point in &report.open {
                assert_eq!(point.arrived, point.refused + point.service.jobs, "each arrival ends once");
            }
        }
    }

    #[test]
    fn work_of_ones_own_is_measured_like_any_other() {
        let report = measured_of(|| Work::own(|| std::thread::sleep(Duration::from_millis(1))));
        assert!(report.service.mean_s >= 1e-3);
        assert!(report.open.iter().any(|p| p.service.jobs > 0));
    }

    #[test]
    fn the_time_of_a_quota_is_not_rounded() {
        let mut granted = cpus::granted();
        (granted.affinity, granted.quota) = (4, Some(1.5));
        assert_eq!(time_of(&granted), 1.5);
        granted.quota = Some(9.0);
        assert_eq!(time_of(&granted), 4.0);
        granted.quota = None;
        assert_eq!(time_of(&granted), 4.0);
    }

    #[test]
    fn the_longest_queue_is_among_those_tried() {
        let service = Service { jobs: 1, mean_s: 0.005, p99_s: 0.02, cv: 1.0, cpu_s: 0.0 };
        assert_eq!(queues(2, &service, Duration::from_millis(100)), [0, 2, 8, 32]);
        assert_eq!(queues(2, &service, Duration::from_millis(20)), [0, 2, 8]);
    }
}
