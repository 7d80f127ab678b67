//! [`Workload`]: what a pool is sized for, checked in one place.

use super::{MAX_RATE, MAX_THREADS, Usl, check_duration, check_number};
use crate::error::BuildError;
use crate::pool::PoolStats;
use std::time::Duration;

/// What a pool's figures do not say and its size depends on. Nothing fails before it is used.
///
/// | setting | default | range |
/// |---|---|---|
/// | [`per_second`](Self::per_second): arrivals | | 0 to 10⁹ |
/// | [`service`](Self::service): a job's mean and p99 | must be given | 1 ns to 24 h, p99 not below the mean |
/// | [`wait_budget`](Self::wait_budget) | must be given | 1 ns to 24 h |
/// | [`variation`](Self::variation) of the service time | 1: exponential | 0 to 1,000 |
/// | [`cpu`](Self::cpu): processor time of a job, CPUs | no ceiling | 0 to 24 h; above 0, to 16,384 |
/// | [`dependency`](Self::dependency): calls at once | no ceiling | 1 to 16,384 |
/// | [`scaling`](Self::scaling): a measured curve | no ceiling | |
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use watertight::{Pool, sizing};
///
/// let ms = Duration::from_millis;
/// let pool = Pool::builder("thumbnails").threads(1).build()?;
/// let swapped = sizing::Workload::per_second(30.0).service(ms(200), ms(50)).wait_budget(ms(1_000));
/// let e = sizing::recommend(&pool.stats(), &swapped).unwrap_err();
/// assert_eq!(e.to_string(), "p99 is 50ms, must be at least the mean, to 24 hours");
/// # Ok::<(), watertight::BuildError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Debug)]
#[must_use = "a workload does nothing by itself: give it to recommend()"]
pub struct Workload {
    rate: f64,
    service: Option<(Duration, Duration)>,
    wait_budget: Option<Duration>,
    pub(super) variation: f64,
    pub(super) cpu: Option<(Duration, f64)>,
    pub(super) dependency: Option<usize>,
    pub(super) scaling: Option<Usl>,
}

/// The required part of a workload, found to make sense.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) struct Checked {
    pub(super) rate: f64,
    pub(super) mean: Duration,
    pub(super) p99: Duration,
    pub(super) budget: Duration,
}

impl Workload {
    /// So many jobs arrive a second, those that are refused included: at the busiest time of the day, not on average. From
    /// two looks at a pool: [`arrival_rate`].
    pub fn per_second(rate: f64) -> Self {
        Self { rate, service: None, wait_budget: None, variation: 1.0, cpu: None, dependency: None, scaling: None }
    }

    /// How long a job takes once it runs, waiting for its dependencies included and waiting in the queue not: on average,
    /// and at most for 99 of 100.
    ///
    /// If the mean is above the p99, less than one job in a hundred takes most of the time: give those a pool of their own.
    pub fn service(mut self, mean: Duration, p99: Duration) -> Self {
        self.service = Some((mean, p99));
        self
    }

    /// How long a caller waits for the result, from handing the job in: the time in the queue and the service together.
    pub fn wait_budget(mut self, budget: Duration) -> Self {
        self.wait_budget = Some(budget);
        self
    }

    /// How the service time varies: its standard deviation divided by its mean, see [`ErlangC::variation`].
    ///
    /// [`ErlangC::variation`]: super::ErlangC::variation
    pub fn variation(mut self, cv: f64) -> Self {
        self.variation = cv;
        self
    }

    /// A job's mean processor time, and how many CPUs the process may use, fractions included (a quota of 150 % is 1.5):
    /// [`cpus::granted`](crate::cpus::granted) tells.
    pub fn cpu(mut self, per_job: Duration, cpus: f64) -> Self {
        self.cpu = Some((per_job, cpus));
        self
    }

    /// How many calls at once the jobs' dependency can take: its connections, its own threads. More threads than that
    /// would only wait there instead of here.
    pub fn dependency(mut self, calls: usize) -> Self {
        self.dependency = Some(calls);
        self
    }

    /// What was measured of throughput against threads: no more threads than the curve's peak are recommended.
    /// Give it only if the peak is within what was measured: further out it is a guess.
    pub fn scaling(mut self, law: Usl) -> Self {
        self.scaling = Some(law);
        self
    }

    pub(super) fn check(&self) -> Result<Checked, BuildError> {
        check_number("per_second", self.rate, 0.0..=MAX_RATE, "0 to 1000000000")?;
        let (mean, p99) = self.service.ok_or(BuildError::Conflict("service(mean, p99) is missing"))?;
        let budget = self.wait_budget.ok_or(BuildError::Conflict("wait_budget is missing"))?;
        check_duration("mean", mean)?;
        if p99 < mean || p99 > super::MAX_TIME {
            return Err(BuildError::out_of_range("p99", format!("{p99:?}"), "at least the mean, to 24 hours"));
        }
        check_duration("wait_budget", budget)?;
        check_number("variation", self.variation, 0.0..=1000.0, "0 to 1000")?;
        if let Some((per_job, cpus)) = self.cpu {
            if per_job > super::MAX_TIME {
                return Err(BuildError::out_of_range("per_job", format!("{per_job:?}"), "0 to 24 hours"));
            }
            if !(cpus > 0.0 && cpus <= MAX_THREADS as f64) {
                return Err(BuildError::out_of_range("cpus", cpus, "above 0, to 16384"));
            }
        }
        match self.dependency {
            Some(calls) if !(1..=MAX_THREADS).contains(&calls) => {
                Err(BuildError::out_of_range("dependency", calls, "1 to 16384"))
            }
            _ => Ok(Checked { rate: self.rate, mean, p99, budget }),
        }
    }
}

/// How many jobs a second arrived between two looks at a pool: accepted, and refused for want of a place.
///
/// What was refused because its context had ended or because the pool was shut down does not count: more threads would not
/// have helped it.
///
/// # Errors
///
/// [`BuildError::OutOfRange`] if no time or more than 24 hours passed; [`BuildError::Conflict`] if the figures of
/// `later` are below those of `earlier`: they are swapped, or of two pools.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use watertight::{Pool, sizing};
///
/// let pool = Pool::builder("thumbnails").threads(1).build()?;
/// let earlier = pool.stats();
/// for _ in 0..30 {
///     pool.execute(|| ()).unwrap();
/// }
/// let rate = sizing::arrival_rate(&earlier, &pool.stats(), Duration::from_secs(10))?;
/// assert_eq!(rate, 3.0);
/// # Ok::<(), watertight::BuildError>(())
/// ```
pub fn arrival_rate(earlier: &PoolStats, later: &PoolStats, elapsed: Duration) -> Result<f64, BuildError> {
    check_duration("elapsed", elapsed)?;
    let accepted = later.accepted.checked_sub(earlier.accepted);
    let refused = later.refused_full.checked_sub(earlier.refused_full);
    let (Some(accepted), Some(refused)) = (accepted, refused) else {
        return Err(BuildError::Conflict("the later figures are below the earlier ones"));
    };
    Ok((accepted as f64 + refused as f64) / elapsed.as_secs_f64())
}
