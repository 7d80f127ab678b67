//! Load on a pool: all it can take, or Poisson arrivals at a rate, whether or not the answers come (an open loop).
//!
//! A loop that waits for answers sends less while the pool is slow, and so leaves out the very moments that are to be seen
//! (coordinated omission). Here every job has an intended arrival, and its latency is counted from that.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;
use rand_distr::{Distribution, Exp};
use serde::Serialize;
use watertight::{BuildError, Context, Pool};

use crate::system::{Used, thread_cpu};
use crate::work::{Scales, Work};

/// One job, as its worker saw it.
#[derive(Clone, Copy, Debug)]
struct Sample {
    wait: Duration,
    service: Duration,
    cpu: Duration,
    done: Instant,
}

#[derive(Debug, Default)]
struct Samples(Mutex<Vec<Sample>>);

impl Samples {
    /// Runs one job that was to start at `intended`.
    fn take(&self, work: &Work, scale: f64, intended: Instant) {
        let (start, cpu) = (Instant::now(), thread_cpu());
        work.run(scale);
        let (cpu, done) = (thread_cpu().saturating_sub(cpu), Instant::now());
        let wait = start.saturating_duration_since(intended);
        let sample = Sample { wait, service: done - start, cpu, done };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(sample);
    }

    fn all(&self) -> Vec<Sample> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// Service times: what a job takes once it runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Service {
    pub(crate) jobs: usize,
    pub(crate) mean_s: f64,
    pub(crate) p99_s: f64,
    /// Standard deviation divided by the mean.
    pub(crate) cv: f64,
    pub(crate) cpu_s: f64,
}

impl Service {
    /// Of (service, processor time) in seconds.
    pub(crate) fn of(times: &[(f64, f64)]) -> Self {
        let jobs = times.len();
        if jobs == 0 {
            return Self::default();
        }
        let mean = |of: &dyn Fn(&(f64, f64)) -> f64| times.iter().map(of).sum::<f64>() / jobs as f64;
        let mean_s = mean(&|t| t.0);
        let cv = if mean_s > 0.0 { mean(&|t| (t.0 - mean_s).powi(2)).sqrt() / mean_s } else { 0.0 };
        let mut sorted: Vec<f64> = times.iter().map(|t| t.0).collect();
        sorted.sort_by(f64::total_cmp);
        let p99_s = sorted[(jobs * 99).div_ceil(100) - 1];
        Self { jobs, mean_s, p99_s: p99_s.max(mean_s), cv, cpu_s: mean(&|t| t.1) }
    }
}

/// What a pool does that always has more to do.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Saturated {
    pub(crate) threads: usize,
    /// Jobs a second.
    pub(crate) throughput: f64,
    pub(crate) cpus_used: f64,
    pub(crate) cpus_wanted: f64,
    pub(crate) service: Service,
    #[serde(skip)]
    pub(crate) times: Vec<(f64, f64)>,
}

impl Saturated {
    /// The median round by throughput, with the service times of all.
    pub(crate) fn median(mut rounds: Vec<Self>) -> Option<Self> {
        rounds.sort_by(|a, b| a.throughput.total_cmp(&b.throughput));
        let times: Vec<_> = rounds.iter().flat_map(|r| r.times.iter().copied()).collect();
        let middle = rounds.len() / 2;
        rounds.into_iter().nth(middle).map(|m| Self { service: Service::of(&times), times, ..m })
    }
}

/// Feeds `threads` threads as fast as they take jobs, for `time` after a start of a fifth of that.
pub(crate) fn saturate(
    work: &Arc<Work>,
    threads: usize,
    mut scales: Scales,
    time: Duration,
) -> Result<Saturated, BuildError> {
    let pool = Pool::builder("saturated").threads(threads).queue(2 * threads + 2).build()?;
    let (samples, over) = (Arc::new(Samples::default()), Arc::new(AtomicBool::new(false)));
    let mut feed = |until: Instant| {
        while Instant::now() < until {
            let (work, samples, over, scale) = (work.clone(), samples.clone(), over.clone(), scales.next());
            let job = move || {
                if !over.load(Ordering::Relaxed) {
                    samples.take(&work, scale, Instant::now());
                }
            };
            assert!(pool.execute(job).is_ok(), "nothing ends the wait and nobody shuts the pool down");
        }
        (Instant::now(), Used::now())
    };
    let (from, before) = feed(Instant::now() + time / 5);
    let (to, after) = feed(from + time);
    over.store(true, Ordering::Relaxed);
    assert!(pool.shutdown(&Context::background()).is_ok(), "the background never ends");
    let counted: Vec<_> = samples.all().into_iter().filter(|s| s.done > from && s.done <= to).collect();
    let times: Vec<_> = counted.iter().map(|s| (s.service.as_secs_f64(), s.cpu.as_secs_f64())).collect();
    let (cpus_used, cpus_wanted) = after.cpus_since(&before);
    let throughput = counted.len() as f64 / (to - from).as_secs_f64();
    Ok(Saturated { threads, throughput, cpus_used, cpus_wanted, service: Service::of(&times), times })
}

/// What a pool of a size does with arrivals at a rate. Times in seconds; latencies from the intended arrival to the end.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Open {
    pub(crate) threads: usize,
    pub(crate) queue: usize,
    pub(crate) arrived: usize,
    pub(crate) refused: usize,
    /// Arrivals a second.
    pub(crate) rate: f64,
    /// Done a second, until the last was done.
    pub(crate) throughput: f64,
    pub(crate) p50_s: Option<f64>,
    pub(crate) p99_s: Option<f64>,
    pub(crate) p999_s: Option<f64>,
    pub(crate) mean_wait_s: Option<f64>,
    pub(crate) p99_wait_s: Option<f64>,
    /// Jobs in the pool, queued and running, as the arrivals found it: those that come by chance find the mean over time.
    pub(crate) inside: Option<f64>,
    pub(crate) mean_latency_s: Option<f64>,
    /// How late the arrivals themselves were. It is part of every wait, so it should be small beside them.
    pub(crate) p99_late_s: Option<f64>,
    pub(crate) service: Service,
    #[serde(skip)]
    pub(crate) stats: Option<watertight::pool::PoolStats>,
}

impl Open {
    pub(crate) fn refused_share(&self) -> f64 {
        if self.arrived == 0 { 0.0 } else { self.refused as f64 / self.arrived as f64 }
    }

    /// By Little's law, how many jobs are inside: those accepted a second × the mean time that they stay. What is late in
    /// arriving is not inside yet, so this is a little more than was found.
    pub(crate) fn little(&self) -> Option<f64> {
        let accepted = self.rate * (1.0 - self.refused_share());
        let stay = Duration::try_from_secs_f64(self.mean_latency_s?).ok()?;
        Some(watertight::sizing::in_flight(accepted, stay))
    }
}

/// When jobs arrive after the start: gaps are exponential, so that arrivals know nothing of each other.
pub(crate) fn arrivals(rate: f64, time: Duration, seed: u64) -> Vec<Duration> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let Ok(gap) = Exp::new(rate) else { return Vec::new() };
    let mut at = 0.0;
    std::iter::from_fn(|| {
        at += gap.sample(&mut rng);
        Duration::try_from_secs_f64(at).ok().filter(|at| *at < time)
    })
    .collect()
}

/// A pool of `threads` and `queue` under `rate` arrivals a second for `time`; what does not fit is refused at once.
pub(crate) fn open_loop(
    work: &Arc<Work>,
    (threads, queue): (usize, usize),
    rate: f64,
    time: Duration,
    (mut scales, seed): (Scales, u64),
) -> Result<Open, BuildError> {
    let arrivals = arrivals(rate, time, seed);
    let pool = Pool::builder("open").threads(threads).queue(queue).build()?;
    let samples = Arc::new(Samples::default());
    let start = Instant::now();
    let (mut refused, mut inside, mut late) = (0, 0, Vec::with_capacity(arrivals.len()));
    for at in &arrivals {
        let intended = start + *at;
        // No wait if it is late: the next jobs follow at once, each with its own intended arrival.
        thread::sleep(intended.saturating_duration_since(Instant::now()));
        late.push(intended.elapsed());
        inside += pool.stats().in_flight;
        let (work, samples, scale) = (work.clone(), samples.clone(), scales.next());
        if pool.try_execute(move || samples.take(&work, scale, intended)).is_err() {
            refused += 1;
        }
    }
    assert!(pool.shutdown(&Context::background()).is_ok(), "the background never ends");
    let done = samples.all();
    let last = done.iter().map(|s| s.done).max().unwrap_or(start).max(start + time);
    let (latency, wait) = (histogram(done.iter().map(|s| s.wait + s.service)), histogram(done.iter().map(|s| s.wait)));
    let times: Vec<_> = done.iter().map(|s| (s.service.as_secs_f64(), s.cpu.as_secs_f64())).collect();
    let jobs = done.len() as f64;
    let mean = |of: fn(&Sample) -> Duration| {
        (jobs > 0.0).then(|| done.iter().map(|s| of(s).as_secs_f64()).sum::<f64>() / jobs)
    };
    Ok(Open {
        threads,
        queue,
        arrived: arrivals.len(),
        refused,
        rate: arrivals.len() as f64 / time.as_secs_f64(),
        throughput: jobs / (last - start).as_secs_f64(),
        p50_s: quantile(&latency, 0.5),
        p99_s: quantile(&latency, 0.99),
        p999_s: quantile(&latency, 0.999),
        mean_wait_s: mean(|s| s.wait),
        inside: (!arrivals.is_empty()).then(|| inside as f64 / arrivals.len() as f64),
        mean_latency_s: mean(|s| s.wait + s.service),
        p99_wait_s: quantile(&wait, 0.99),
        p99_late_s: quantile(&histogram(late.into_iter()), 0.99),
        service: Service::of(&times),
        stats: Some(pool.stats()),
    })
}

/// Microseconds, up to two minutes, three digits.
fn histogram(times: impl Iterator<Item = Duration>) -> Histogram<u64> {
    let mut all = Histogram::new_with_bounds(1, 120_000_000, 3).expect("the bounds are constants");
    times.for_each(|t| all.saturating_record(u64::try_from(t.as_micros()).unwrap_or(u64::MAX).max(1)));
    all
}

/// In seconds. `None` if too few were recorded to have such a quantile: the p99.9 needs a thousand.
fn quantile(times: &Histogram<u64>, q: f64) -> Option<f64> {
    (times.len() as f64 * (1.0 - q) >= 1.0 - 1e-9).then(|| times.value_at_quantile(q) as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::work::{Kind, Spread};

    #[test]
    fn arrivals_are_poisson_and_the_same_for_one_seed() {
        let times = arrivals(1_000.0, Duration::from_secs(100), 3);
        assert_eq!(times, arrivals(1_000.0, Duration::from_secs(100), 3));
        assert!(times.is_sorted() && (98_000..102_000).contains(&times.len()), "{}", times.len());
        // Exponential gaps: the standard deviation is the mean.
        let gaps: Vec<_> = times.windows(2).map(|w| ((w[1] - w[0]).as_secs_f64(), 0.0)).collect();
        assert!((Service::of(&gaps).cv - 1.0).abs() < 0.02);
        assert!(arrivals(0.0, Duration::from_secs(1), 3).is_empty());
    }

    #[test]
    fn a_quantile_needs_enough_values() {
        let of = |n: u64, q| quantile(&histogram((1..=n).map(Duration::from_millis)), q);
        assert_eq!((of(0, 0.5), of(99, 0.99), of(999, 0.999)), (None, None, None));
        assert!(of(100, 0.99).is_some() && of(1_000, 0.999).is_some());
    }

    #[test]
    fn service_times_are_summed_up() {
        let of = Service::of(&[(1.0, 0.5), (3.0, 1.5)]);
        assert_eq!(of, Service { jobs: 2, mean_s: 2.0, p99_s: 3.0, cv: 0.5, cpu_s: 1.0 });
        assert_eq!(Service::of(&[]), Service::default());
    }

    /// Met by construction: the only worker is held by a job much longer than the whole load.
    #[test]
    fn every_arrival_is_done_or_refused() {
        let work = Arc::new(Work::new(Kind::Sleep, Duration::from_millis(50), 1).unwrap());
        let scales = Scales::even(Spread::Constant, 0);
        let open = open_loop(&work, (1, 1), 2_000.0, Duration::from_millis(20), (scales, 1)).unwrap();
        assert!(open.arrived > open.refused && open.arrived == open.refused + open.service.jobs);
        let figures = open.stats.unwrap();
        assert_eq!((figures.finished as usize, figures.refused_full as usize), (open.service.jobs, open.refused));
    }

    #[test]
    fn of_rounds_the_median_counts_and_the_service_times_of_all() {
        let of = |throughput, s: f64| {
            let (service, times) = (Service::of(&[(s, 0.0)]), vec![(s, 0.0)]);
            Saturated { threads: 1, throughput, cpus_used: throughput, cpus_wanted: 0.0, service, times }
        };
        let median = Saturated::median(vec![of(9.0, 1.0), of(1.0, 2.0), of(8.0, 3.0)]).unwrap();
        assert_eq!(
            (median.throughput, median.cpus_used, median.service.mean_s, median.times.len()),
            (8.0, 8.0, 2.0, 3)
        );
        assert!(Saturated::median(Vec::new()).is_none());
    }

    #[test]
    fn a_saturated_pool_works() {
        let work = Arc::new(Work::new(Kind::Sleep, Duration::from_micros(100), 1).unwrap());
        // Until the machine lets a job end in the time it is watched for.
        let found = (0..).map(|i| {
            let time = Duration::from_millis(50 << i);
            saturate(&work, 2, Scales::even(Spread::Constant, 0), time).unwrap()
        });
        let found = found.take(10).find(|p| p.throughput > 0.0).unwrap();
        assert!(found.service.mean_s >= 100e-6);
    }
}
