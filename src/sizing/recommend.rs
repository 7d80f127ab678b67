//! [`recommend`]: threads and queue for a workload, each with the arithmetic that led to it.
//!
//! **Invariants.** 1. Never more threads than any ceiling allows, and at least one. 2. The last in a full queue is in time,
//! or the queue is 0. 3. What [`Display`](fmt::Display) shows is computed by the same functions as the result.

use super::workload::{Checked, Workload};
use super::{ErlangC, MAX_QUEUE, MAX_THREADS, capacity, in_flight, little, queue_bound, square_root_staffing};
use super::{show, wait_in_queue};
use crate::error::BuildError;
use crate::pool::PoolStats;
use std::fmt;
use std::time::Duration;

/// Room for bunches, in square roots of the load: about one job in ten then waits.
const BETA: f64 = 1.5;
/// The share of the jobs whose wait must fit.
const QUANTILE: f64 = 0.99;

/// What keeps the throughput from being higher.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
#[non_exhaustive]
pub enum Bottleneck {
    /// The processors: more threads would only share them.
    Cpu,
    /// The dependency: more threads would only wait there.
    Dependency,
    /// The threads get in each other's way: by the [measured curve](super::Usl) more of them do less.
    Contention,
    /// The threads: all are busy before anything else is. More threads do more.
    Threads,
}

impl fmt::Display for Bottleneck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cpu => "the CPU",
            Self::Dependency => "the dependency",
            Self::Contention => "contention between the threads",
            Self::Threads => "the number of threads",
        })
    }
}

/// How many threads and places in the queue, and why. `Display` shows the arithmetic, a formula with its numbers a line.
#[derive(Clone, Copy, PartialEq, Debug)]
#[non_exhaustive]
pub struct Recommendation {
    /// For [`PoolBuilder::threads`](crate::pool::PoolBuilder::threads).
    pub threads: usize,
    /// For [`PoolBuilder::queue`](crate::pool::PoolBuilder::queue).
    pub queue: usize,
    /// What bounds the throughput with these threads.
    pub limit: Bottleneck,
    /// What bounds it with the threads that the pool has now.
    pub limit_now: Bottleneck,
    /// Jobs a second that can be done with these threads.
    pub capacity: f64,
    /// The same with the threads that the pool has now.
    pub capacity_now: f64,
    /// The share of the arrivals that must be refused even with these threads, 0 to 1. Not 0: only another resource, or
    /// cheaper jobs, help.
    pub shortfall: f64,
    workload: Workload,
    checked: Checked,
    stats: PoolStats,
}

/// Threads and queue for `workload`, next to what the pool of `stats` has now.
///
/// The threads are as many as are needed for both of these, but no more than CPU, dependency and contention allow:
///
/// - `⌈R + 1.5·√R⌉` with R = rate × p99, so that there is room even while every job is as slow as the slowest hundredth
///   (the rule of Hystrix, with its room by square-root staffing);
/// - by [Erlang-C](ErlangC), 99 of 100 jobs wait at most the budget less the p99 service time.
///
/// The queue is the [longest that keeps the budget](queue_bound). Nothing is read but the arguments.
///
/// # Errors
///
/// [`BuildError::OutOfRange`] for a number that makes no sense, naming its setter and the range, and
/// [`BuildError::Conflict`] for one that is missing.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use watertight::sizing::{Bottleneck, Workload, recommend};
/// use watertight::Pool;
///
/// let ms = Duration::from_millis;
/// let pool = Pool::builder("payments").threads(2).queue(1_024).build()?;
/// let load = Workload::per_second(30.0).service(ms(100), ms(200)).wait_budget(ms(1_000));
/// let size = recommend(&pool.stats(), &load)?;
/// assert_eq!((size.threads, size.queue), (10, 80));
/// assert_eq!(size.limit_now, Bottleneck::Threads); // 2 of them do 20 a second, and 30 arrive
/// println!("{size}");
/// # Ok::<(), watertight::BuildError>(())
/// ```
pub fn recommend(stats: &PoolStats, workload: &Workload) -> Result<Recommendation, BuildError> {
    let checked = workload.check()?;
    let Checked { rate, mean, p99, budget } = checked;
    let ceiling = ceilings(workload, mean).into_iter().flatten().map(|(_, threads, _)| threads).min();
    let wanted = for_bunches(&checked).max(for_waits(workload, &checked)?.map_or(MAX_THREADS, |e| e.servers()));
    let threads = wanted.min(ceiling.unwrap_or(MAX_THREADS)).clamp(1, MAX_THREADS);
    let (limit, capacity) = bound(workload, mean, threads);
    let (limit_now, capacity_now) = bound(workload, mean, stats.threads);
    Ok(Recommendation {
        threads,
        queue: queue_bound(threads, budget, mean, p99).min(MAX_QUEUE),
        limit,
        limit_now,
        capacity,
        capacity_now,
        shortfall: if rate > capacity { 1.0 - capacity / rate } else { 0.0 },
        workload: *workload,
        checked,
        stats: *stats,
    })
}

/// Each known ceiling but the threads themselves: what it is, from how many threads on more do not help, and the jobs a
/// second that it lets through.
fn ceilings(workload: &Workload, mean: Duration) -> [Option<(Bottleneck, usize, f64)>; 3] {
    let seconds = mean.as_secs_f64();
    let cpu = workload.cpu.filter(|(per_job, _)| !per_job.is_zero()).map(|(per_job, cpus)| {
        let rate = cpus / per_job.as_secs_f64();
        (Bottleneck::Cpu, little::ceil(rate * seconds).max(1), rate)
    });
    let calls = workload.dependency.map(|calls| (Bottleneck::Dependency, calls, capacity(calls, mean)));
    let scaling = workload.scaling.and_then(|law| law.peak().map(|n| (Bottleneck::Contention, n, law.ceiling())));
    [cpu, calls, scaling]
}

/// What bounds the throughput of `threads`, and to what. Of equals the threads come last: more of them would not help.
fn bound(workload: &Workload, mean: Duration, threads: usize) -> (Bottleneck, f64) {
    let of_threads = (Bottleneck::Threads, capacity(threads, mean));
    let others = ceilings(workload, mean).into_iter().flatten().map(|(what, _, rate)| (what, rate));
    others.fold(of_threads, |least, other| {
        let lower = other.1 < least.1 || other.1 == least.1 && least.0 == Bottleneck::Threads;
        if lower { other } else { least }
    })
}

fn for_bunches(of: &Checked) -> usize {
    square_root_staffing(in_flight(of.rate, of.p99), BETA).min(MAX_THREADS)
}

fn for_waits(workload: &Workload, of: &Checked) -> Result<Option<ErlangC>, BuildError> {
    let left = of.budget.saturating_sub(of.p99);
    ErlangC::fewest(of.rate, of.mean, workload.variation, QUANTILE, left)
}

impl Recommendation {
    /// The waits to be expected with the recommended threads, if nothing is refused.
    pub fn waits(&self) -> ErlangC {
        let Checked { rate, mean, .. } = self.checked;
        let waits =
            ErlangC::new(self.threads, rate, mean).expect("the workload was checked and the threads are in range");
        waits.variation(self.workload.variation)
    }

    fn demand(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Checked { rate, mean, p99, budget } = self.checked;
        let (r, s, s99, t) = (show::rate(rate), show::time(mean), show::time(p99), show::time(budget));
        let busy = in_flight(rate, mean);
        writeln!(f, "  busy        λ·S = {r} × {s} = {busy:.2} threads (Little's law)")?;
        let (peak, room) = (in_flight(rate, p99), BETA * in_flight(rate, p99).sqrt());
        let threads = for_bunches(&self.checked);
        writeln!(
            f,
            "  bunches     R = λ·S_p99 = {r} × {s99} = {peak:.2}; ⌈R + {BETA}·√R⌉ = ⌈{peak:.2} + {room:.2}⌉ = {threads} \
             threads (Hystrix's rule, square-root staffing)"
        )?;
        if p99 < budget {
            write!(f, "  waits       p99 wait ≤ T − S_p99 = {t} − {s99} = {}: ", show::time(budget - p99))?;
        } else {
            write!(f, "  waits       S_p99 = {s99} is all of T = {t}, so 99 of 100 must not wait: ")?;
        }
        match for_waits(&self.workload, &self.checked) {
            Ok(Some(e)) => {
                let wait = show::time(e.wait_at(QUANTILE).unwrap_or(Duration::MAX));
                writeln!(f, "from {} threads on, {wait} (Erlang-C)", e.servers())
            }
            _ => writeln!(f, "not with {MAX_THREADS} threads (Erlang-C)"),
        }
    }

    fn supply(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mean = self.checked.mean;
        for (what, threads, rate) in ceilings(&self.workload, mean).into_iter().flatten() {
            let (s, top) = (show::time(mean), show::rate(rate));
            match (what, self.workload.cpu) {
                (Bottleneck::Cpu, Some((per_job, cpus))) => {
                    let cpu = show::time(per_job);
                    writeln!(f, "  CPU         cpus·S/S_cpu = {cpus:.2} × {s} / {cpu} → {threads} threads, {top}")?;
                }
                (Bottleneck::Dependency, _) => {
                    writeln!(f, "  dependency  {threads} calls at once: {threads} / {s} = {top}")?;
                }
                _ => writeln!(
                    f,
                    "  contention  n* = √((1 − σ)/κ) = {threads} threads, {top} (Universal Scalability Law)"
                )?,
            }
        }
        Ok(())
    }

    fn result(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Checked { rate, mean, p99, budget } = self.checked;
        let (c, s, s99, t) = (self.threads, show::time(mean), show::time(p99), show::time(budget));
        if budget <= p99 {
            writeln!(
                f,
                "  queue       0, because S_p99 = {s99} is all of T = {t}: only what starts at once is in time"
            )?;
        } else {
            let q = self.queue;
            writeln!(f, "  queue       ⌊c·(T − S_p99)/S⌋ = ⌊{c} × ({t} − {s99}) / {s}⌋ = {q}")?;
        }
        let (top, waits) = (show::rate(self.capacity), self.waits());
        let used = rate / self.capacity;
        write!(f, "  then        capacity {top}, used {:.0} %; ", used * 100.0)?;
        match (waits.mean_wait(), waits.wait_at(QUANTILE)) {
            _ if used >= 1.0 => {
                writeln!(f, "unstable: the queue stays full, and at least {:.0} % are refused", self.shortfall * 100.0)
            }
            (Some(mean), Some(p99)) => {
                let share = waits.waiting_probability() * 100.0;
                let (mean, p99) = (show::time(mean), show::time(p99));
                writeln!(f, "{share:.1} % wait, on average {mean}, p99 {p99} (Erlang-C)")
            }
            _ => writeln!(f, "unstable: the queue stays full"),
        }
    }

    fn present(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let now = &self.stats;
        let wait = show::time(wait_in_queue(now.queue, now.threads, self.checked.mean));
        let (rate, top) = (show::rate(self.checked.rate), show::rate(self.capacity_now));
        writeln!(
            f,
            "  now         threads {}, queue {}: capacity {top} for {rate}, limit: {}; a full queue is {wait} long",
            now.threads, now.queue, self.limit_now
        )?;
        let asked = now.accepted as f64 + now.refused_full as f64;
        let refused = if asked > 0.0 { now.refused_full as f64 / asked * 100.0 } else { 0.0 };
        write!(
            f,
            "  so far      {} accepted, {} refused as full ({refused:.1} %); {} running, {} queued",
            now.accepted, now.refused_full, now.running, now.queued
        )
    }
}

impl fmt::Display for Recommendation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "threads {}, queue {}; the limit is {}", self.threads, self.queue, self.limit)?;
        self.demand(f)?;
        self.supply(f)?;
        self.result(f)?;
        self.present(f)
    }
}
