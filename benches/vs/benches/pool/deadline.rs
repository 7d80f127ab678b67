//! The same overload with a long queue and a deadline for each job, which only ours is told of: a job whose deadline has
//! passed when a worker takes it out of the queue is not run. Counted are the jobs that began in time, and how late the
//! first instruction of a job was that ours ran: the clock is read before, so it may be late by what lies between.

use crate::overload::arrivals;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use vs::peers::{Peer, Raw, warm};
use vs::table::{Contender, Figure, Ratio, compare, effort, is_picked};
use vs::work::{lasting, steps};
use watertight::{Context, Pool};

const LENGTH: Duration = Duration::from_micros(500);
const DEADLINE: Duration = Duration::from_millis(100);
const BOUND: usize = 1024;

/// What the jobs of the one worker say of themselves. Nanoseconds are since `begun`.
struct Seen {
    begun: Instant,
    over: AtomicBool,
    ran: AtomicU64,
    began_in_time: AtomicU64,
    ended_in_time: AtomicU64,
    /// When the last job ended: what was taken out of the queue next was stamped after that.
    last_ended: AtomicU64,
    /// Ran although its deadline had passed when the job before it ended, so certainly before the stamp.
    ran_dead: AtomicU64,
    late: Lateness,
}

/// How many first instructions were not late, late by less than each of `BELOW`, and by more.
#[derive(Default)]
struct Lateness([AtomicU64; 6]);

const BELOW: [(u64, &str); 4] = [(1_000, "1 us"), (10_000, "10 us"), (100_000, "100 us"), (1_000_000, "1 ms")];

impl Lateness {
    fn add(&self, ns: u64) {
        let bucket = if ns == 0 { 0 } else { 1 + BELOW.iter().take_while(|(below, _)| ns >= *below).count() };
        self.0[bucket].fetch_add(1, Ordering::Relaxed);
    }

    fn add_all(&self, other: &Self) {
        for (sum, more) in self.0.iter().zip(&other.0) {
            sum.fetch_add(more.load(Ordering::Relaxed), Ordering::Relaxed);
        }
    }

    fn print(&self) {
        let [in_time, late @ .., most] = self.0.each_ref().map(|n| n.load(Ordering::Relaxed));
        println!(" the first instructions of the jobs that ours ran");
        println!("  not late: {in_time}");
        for ((_, below), n) in BELOW.iter().zip(late) {
            println!("  late by less than {below}: {n}");
        }
        println!("  later: {most}");
    }
}

impl Seen {
    fn new() -> &'static Self {
        Box::leak(Box::new(Self {
            begun: Instant::now(),
            over: AtomicBool::new(false),
            ran: AtomicU64::new(0),
            began_in_time: AtomicU64::new(0),
            ended_in_time: AtomicU64::new(0),
            last_ended: AtomicU64::new(0),
            ran_dead: AtomicU64::new(0),
            late: Lateness::default(),
        }))
    }

    fn now(&self) -> u64 {
        self.begun.elapsed().as_nanos() as u64
    }

    /// The job. `looks` itself at its deadline if nobody else does.
    fn job(&self, deadline: u64, work: u64, looks: bool) {
        let first = self.now();
        if self.over.load(Ordering::Relaxed) || looks && first > deadline {
            return;
        }
        let add = |counter: &AtomicU64, so: bool| counter.fetch_add(u64::from(so), Ordering::Relaxed);
        self.late.add(first.saturating_sub(deadline));
        add(&self.ran_dead, deadline < self.last_ended.load(Ordering::Relaxed));
        add(&self.ran, true);
        add(&self.began_in_time, first <= deadline);
        steps(work);
        let ended = self.now();
        add(&self.ended_in_time, ended <= deadline);
        self.last_ended.store(ended, Ordering::Relaxed);
    }
}

struct Deadlines {
    steps: u64,
    window: Duration,
    late: Mutex<Lateness>,
}

impl Deadlines {
    /// `submit` says whether the job was taken.
    fn run(&self, submit: impl Fn(&'static Seen, Instant)) -> (Vec<f64>, &'static Seen) {
        let seen = Seen::new();
        let took = arrivals(LENGTH / 2, self.window, |due| submit(seen, due + DEADLINE));
        let share = |n: &AtomicU64| n.load(Ordering::Relaxed) as f64 * LENGTH.as_secs_f64() / took.as_secs_f64();
        let dead = seen.ran_dead.load(Ordering::Relaxed) as f64;
        let values = vec![share(&seen.began_in_time), share(&seen.ended_in_time), share(&seen.ran), dead];
        seen.over.store(true, Ordering::Relaxed);
        (values, seen)
    }

    fn ours(&self) -> Vec<f64> {
        let pool = <Pool as Peer>::new(1, BOUND);
        warm(&pool, 1);
        let work = self.steps;
        let (values, seen) = self.run(|seen, deadline| {
            let cx = Context::background().with_deadline(deadline);
            let deadline = (deadline - seen.begun).as_nanos() as u64;
            drop(pool.job().context(&cx).try_execute(move || seen.job(deadline, work, false)));
        });
        pool.shutdown(&Context::background()).unwrap();
        let stats = pool.stats();
        assert_eq!(stats.accepted, stats.finished + stats.shed, "every job ended once");
        assert_eq!(seen.ran_dead.load(Ordering::Relaxed), 0, "no job was run whose deadline had passed");
        self.late.lock().unwrap().add_all(&seen.late);
        values
    }

    fn raw(&self, looks: bool) -> Vec<f64> {
        let pool = Raw::new(1, BOUND);
        warm(&pool, 1);
        let work = self.steps;
        let (values, _) = self.run(|seen, deadline| {
            let deadline = (deadline - seen.begun).as_nanos() as u64;
            drop(pool.try_execute(move || seen.job(deadline, work, looks)));
        });
        pool.end();
        values
    }
}

pub fn all() {
    let title = "overload: twice the capacity of 1 worker, jobs of 500 us, a bound of 1,024, a deadline of 100 ms";
    if !is_picked(title) {
        return;
    }
    let window = effort(Duration::from_secs(2), Duration::from_millis(250));
    let deadlines = Deadlines { steps: lasting(LENGTH), window, late: Mutex::default() };
    let contenders: [Contender<'_>; 3] = [
        (Pool::NAME, Box::new(|| deadlines.ours())),
        (Raw::NAME, Box::new(|| deadlines.raw(false))),
        ("  whose jobs look first", Box::new(|| deadlines.raw(true))),
    ];
    compare(
        title,
        effort(7, 1),
        &[
            Figure::new("jobs begun by their deadline, as a share of the capacity", Ratio::OfIt),
            Figure::new("jobs ended by their deadline, as a share of the capacity", Ratio::None),
            Figure::new("jobs done, as a share of the capacity", Ratio::None),
            Figure::new("jobs begun that were past their deadline when the one before them ended", Ratio::None),
        ],
        &contenders,
    );
    deadlines.late.lock().unwrap().print();
}
