//! Many small jobs in, and all of them done: empty ones, and ones of 1 and 10 us against what the cores could do at best.

use std::hint::black_box;
use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::Thread;
use std::time::{Duration, Instant};
use vs::kernel;
use vs::ours::Adaptive;
use vs::peers::{Joins, Measure, MeasureJoins, Peer, QUEUE, everybody, everybody_joins, one, warm};
use vs::table::{Figure, Ratio, compare, effort};
use vs::work::{lasting, steps};

/// Counts the jobs down; the last one wakes who waits.
struct Left {
    jobs: AtomicUsize,
    waiting: Thread,
}

impl Left {
    fn one_less(&self) {
        if self.jobs.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.waiting.unpark();
        }
    }
}

struct Drain {
    producers: usize,
    threads: usize,
    jobs: usize,
    /// The work of each job, in steps.
    steps: u64,
}

/// From the first submit to the end of the last job.
struct Drained {
    ns_per_job: f64,
    /// Voluntary context switches per 1,000 jobs, of the pool's threads and of all.
    switches: [f64; 2],
}

impl Drain {
    fn run<P: Peer>(&self) -> Drained {
        let before_pool: Vec<_> = kernel::threads().iter().map(|counts| counts.thread).collect();
        let pool = P::new(self.threads, QUEUE);
        warm(&pool, self.threads);
        let of_pool: Vec<_> = kernel::threads().iter().map(|counts| counts.thread).collect();
        let before = kernel::threads();
        let (ns, kept) = self.produce(&pool);
        let since = kernel::since(&before);
        drop(kept);
        let switches = |of: &dyn Fn(u64) -> bool| {
            let of = since.iter().filter(|counts| of(counts.thread));
            of.map(|counts| counts.voluntary).sum::<u64>() as f64 * 1e3 / self.jobs as f64
        };
        let its = |thread| of_pool.contains(&thread) && !before_pool.contains(&thread);
        let switches = [switches(&its), switches(&|_| true)];
        pool.end();
        Drained { ns_per_job: ns / self.jobs as f64, switches }
    }

    /// Nanoseconds, and what must be kept until the end.
    fn produce<'p, P: Peer>(&self, pool: &'p P) -> (f64, impl Sized + use<'p, P>) {
        // Leaked, so that a job captures 24 bytes: a pointer and two numbers.
        let left: &'static Left =
            Box::leak(Box::new(Left { jobs: AtomicUsize::new(self.jobs), waiting: std::thread::current() }));
        let (start, share, work) = (Barrier::new(self.producers), self.jobs / self.producers, self.steps);
        let produce = || {
            let mut kept = Vec::with_capacity(share);
            start.wait();
            let begun = Instant::now();
            for n in 0..share {
                kept.push(pool.execute(move || {
                    black_box((n, work));
                    if work > 0 {
                        steps(work);
                    }
                    left.one_less();
                }));
            }
            (begun, kept)
        };
        let produced = std::thread::scope(|s| {
            let others: Vec<_> = (1..self.producers).map(|_| s.spawn(produce)).collect();
            let mut all = vec![produce()];
            all.extend(others.into_iter().map(|other| other.join().unwrap()));
            all
        });
        while left.jobs.load(Ordering::Acquire) > 0 {
            std::thread::park();
        }
        let ended = Instant::now();
        let begun = produced.iter().map(|(begun, _)| *begun).min().unwrap();
        ((ended - begun).as_nanos() as f64, produced)
    }
}

/// Empty jobs.
struct Empty(Drain);

impl Measure for Empty {
    fn of<P: Peer>(&self) -> Vec<f64> {
        let Drained { ns_per_job, switches: [its, all] } = self.0.run::<P>();
        vec![ns_per_job, its, all]
    }
}

/// Jobs of a known length: the share of what the cores could do at best.
struct Ideal(Drain, Duration);

impl Ideal {
    fn share(&self, ns_per_job: f64) -> f64 {
        self.1.as_nanos() as f64 / (ns_per_job * self.0.threads.min(kernel::cores()) as f64)
    }

    /// The same work with no pool: each thread does its part.
    fn without_a_pool(&self) -> Vec<f64> {
        let Drain { threads, jobs, steps: work, .. } = self.0;
        let start = Barrier::new(threads);
        let part = || {
            start.wait();
            let begun = Instant::now();
            (0..jobs / threads).for_each(|_| steps(work));
            begun.elapsed().as_nanos() as f64
        };
        let slowest = std::thread::scope(|s| {
            let all: Vec<_> = (0..threads).map(|_| s.spawn(part)).collect();
            all.into_iter().map(|one| one.join().unwrap()).fold(0.0, f64::max)
        });
        vec![self.share(slowest / jobs as f64)]
    }
}

impl Measure for Ideal {
    fn of<P: Peer>(&self) -> Vec<f64> {
        vec![self.share(self.0.run::<P>().ns_per_job)]
    }
}

pub fn all() {
    let rounds = effort(15, 1);
    let jobs = effort(500_000, 2_000);
    for (producers, threads) in [(1, 2), (2, 4)] {
        let drain = Empty(Drain { producers, threads, jobs, steps: 0 });
        let s = if producers == 1 { "" } else { "s" };
        let mut contenders = everybody(&drain);
        contenders.push(one::<Adaptive>(&drain));
        compare(
            &format!("drain: execute, {producers} producer{s}, {threads} workers, empty jobs"),
            rounds,
            &[
                Figure::new("ns per job", Ratio::TimesAsFast),
                Figure::new("voluntary context switches of the pool's threads per 1,000 jobs", Ratio::None),
                Figure::new("voluntary context switches of all threads per 1,000 jobs", Ratio::None),
            ],
            &contenders,
        );
    }
    for (us, jobs) in [(1, effort(100_000, 500)), (10, effort(20_000, 100))] {
        let title = format!("share of the ideal: execute, 1 producer, 2 workers, jobs of {us} us");
        if !vs::table::is_picked(&title) {
            continue;
        }
        let length = Duration::from_micros(us);
        let ideal = Ideal(Drain { producers: 1, threads: 2, jobs, steps: lasting(length) }, length);
        let mut contenders = everybody(&ideal);
        contenders.push(one::<Adaptive>(&ideal));
        contenders.push(("no pool, to compare", Box::new(|| ideal.without_a_pool())));
        compare(&title, rounds, &[Figure::new("of the ideal", Ratio::OfIt)], &contenders);
    }
}

struct Joined {
    threads: usize,
    jobs: usize,
}

impl MeasureJoins for Joined {
    /// Nanoseconds per job submitted with a handle that is joined when a thousand have been submitted.
    fn of<P: Joins>(&self) -> Vec<f64> {
        let pool = P::new(self.threads, QUEUE);
        warm(&pool, self.threads);
        let mut handles = Vec::with_capacity(1000);
        let mut sum = 0;
        let batches = self.jobs.div_ceil(1000) as u64;
        let begun = Instant::now();
        for batch in 0..batches {
            handles.extend((0..1000).map(|n| pool.submit(move || batch + n)));
            sum += handles.drain(..).map(|join| join()).sum::<u64>();
        }
        let ns = begun.elapsed().as_nanos() as f64 / (batches * 1000) as f64;
        black_box(sum);
        drop(handles);
        pool.end();
        vec![ns]
    }
}

pub fn joined() {
    let joined = Joined { threads: 2, jobs: effort(200_000, 2_000) };
    compare(
        "joined: submit with a handle joined later, 2 workers",
        effort(15, 1),
        &[Figure::new("ns per job", Ratio::TimesAsFast)],
        &everybody_joins(&joined),
    );
}
