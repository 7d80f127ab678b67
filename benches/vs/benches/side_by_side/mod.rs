//! How contenders are measured beside each other.

use std::future::Future;
use std::pin::pin;
use std::sync::Barrier;
use std::task::{Context, Waker};
use std::time::Instant;

pub type Contender<'a> = (&'a str, Box<dyn FnMut() -> f64 + 'a>);

/// How much to do: rounds, and calls within a round.
#[derive(Clone, Copy)]
pub struct Effort {
    pub rounds: usize,
    pub calls: u32,
}

/// Whether everything is to run once and briefly.
#[derive(Clone, Copy)]
pub struct Test(bool);

impl Test {
    pub fn asked_for() -> Self {
        Self(std::env::args().any(|argument| argument == "--test"))
    }

    pub fn effort(self, rounds: usize, calls: u32) -> Effort {
        if self.0 { Effort { rounds: 1, calls: 10 } } else { Effort { rounds, calls } }
    }
}

/// Nanoseconds per call.
#[inline(always)]
pub fn alone(calls: u32, mut f: impl FnMut()) -> f64 {
    let begun = Instant::now();
    for _ in 0..calls {
        f();
    }
    begun.elapsed().as_nanos() as f64 / f64::from(calls)
}

/// The same when two threads do it at once: the mean of what each sees. Each has a core of its own, if there are two: left
/// to themselves they often share one on a busy machine, take turns, and never meet.
pub fn together(calls: u32, f: impl Fn() + Sync) -> f64 {
    let start = Barrier::new(2);
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    let (start, f) = (&start, &f);
    std::thread::scope(|s| {
        let both = [0, 1].map(|which| {
            let core = cores.get(which).copied();
            s.spawn(move || {
                core.map(core_affinity::set_for_current);
                start.wait();
                alone(calls, f)
            })
        });
        both.into_iter().map(|one| one.join().unwrap()).sum::<f64>() / 2.0
    })
}

/// One of those that are measured, on one thread or on two at once.
pub fn contender<'a>(name: &'a str, calls: u32, two: bool, f: impl Fn() + Sync + 'a) -> Contender<'a> {
    (name, Box::new(move || if two { together(calls, &f) } else { alone(calls, &f) }))
}

fn quartiles(values: impl Iterator<Item = f64>) -> String {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    let at = |share: f64| values[((values.len() - 1) as f64 * share).round() as usize];
    format!("{:9.2} ({:.2}..{:.2})", at(0.5), at(0.25), at(0.75))
}

/// Measures all and prints them, with the first against each.
pub fn compare(title: &str, effort: Effort, mut contenders: Vec<Contender<'_>>) {
    if std::env::args().skip(1).any(|wanted| !wanted.starts_with("--") && !title.contains(&wanted)) {
        return;
    }
    let rounds: Vec<Vec<f64>> =
        (0..effort.rounds).map(|_| contenders.iter_mut().map(|(_, measure)| measure()).collect()).collect();
    println!("{title}");
    for (i, (name, _)) in contenders.iter().enumerate() {
        let ns = quartiles(rounds.iter().map(|round| round[i]));
        let ratio = quartiles(rounds.iter().map(|round| round[0] / round[i]));
        println!("  {name:28} {ns:32} ns   the first is {ratio} of it");
    }
}

#[allow(dead_code, reason = "not every bench awaits")]
pub fn poll_once<F: Future>(future: F) -> bool {
    pin!(future).poll(&mut Context::from_waker(Waker::noop())).is_ready()
}
