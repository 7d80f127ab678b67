//! `CancelToken` beside tokio-util's `CancellationToken`, stop-token and a bare `Arc<AtomicBool>`.
//!
//! Each round measures every contender, one after the other, so that whatever else the machine does hits all of them;
//! a ratio is taken within a round. Printed are medians of the rounds and, in brackets, their quartiles. With `--test`
//! everything runs once and briefly; another argument is part of the titles of those to run.

use std::future::Future;
use std::hint::black_box;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};
use std::task::{Context, Waker};
use std::time::Instant;
use tokio_util::sync::CancellationToken;
use watertight::CancelToken;

type Contender<'a> = (&'a str, Box<dyn FnMut() -> f64 + 'a>);

/// How much to do: rounds, and calls within a round.
#[derive(Clone, Copy)]
struct Effort {
    rounds: usize,
    calls: u32,
}

/// Nanoseconds per call.
fn alone(calls: u32, mut f: impl FnMut()) -> f64 {
    let begun = Instant::now();
    for _ in 0..calls {
        f();
    }
    begun.elapsed().as_nanos() as f64 / f64::from(calls)
}

/// The same when two threads do it at once: the mean of what each sees. Each has a core of its own, if there are two: left
/// to themselves they often share one on a busy machine, take turns, and never meet.
fn together(calls: u32, f: impl Fn() + Sync) -> f64 {
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

fn quartiles(values: impl Iterator<Item = f64>) -> String {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    let at = |share: f64| values[((values.len() - 1) as f64 * share).round() as usize];
    format!("{:9.2} ({:.2}..{:.2})", at(0.5), at(0.25), at(0.75))
}

/// Measures all and prints them, with ours against each.
fn compare(title: &str, effort: Effort, mut contenders: Vec<Contender<'_>>) {
    if std::env::args().skip(1).any(|wanted| !wanted.starts_with("--") && !title.contains(&wanted)) {
        return;
    }
    let rounds: Vec<Vec<f64>> =
        (0..effort.rounds).map(|_| contenders.iter_mut().map(|(_, measure)| measure()).collect()).collect();
    println!("{title}");
    for (i, (name, _)) in contenders.iter().enumerate() {
        let ns = quartiles(rounds.iter().map(|round| round[i]));
        let ratio = quartiles(rounds.iter().map(|round| round[0] / round[i]));
        println!("  {name:28} {ns:32} ns   ours is {ratio} of it");
    }
}

fn poll_once<F: Future>(future: F) -> bool {
    pin!(future).poll(&mut Context::from_waker(Waker::noop())).is_ready()
}

fn looks(effort: Effort) {
    let n = effort.calls;
    let few = n / 50 + 1; // of what takes a thousand times as long
    let (ours, tokio, bare) = (CancelToken::new(), CancellationToken::new(), Arc::new(AtomicBool::new(false)));
    let source = stop_token::StopSource::new();
    let stop = source.token();
    let deep = (0..16).fold(ours.clone(), |token, _| token.child());
    let look = |token: &CancelToken| {
        black_box(black_box(token).is_cancelled());
    };
    let tokio = || {
        black_box(black_box(&tokio).is_cancelled());
    };
    let bare = || {
        black_box(black_box(&bare).load(Ordering::Acquire));
    };
    let stop = || {
        black_box(poll_once(black_box(&stop).clone()));
    };
    compare(
        "is_cancelled",
        effort,
        vec![
            ("watertight", Box::new(|| alone(n, || look(&ours)))),
            ("watertight, 16 levels down", Box::new(|| alone(n, || look(&deep)))),
            ("bare Arc<AtomicBool>", Box::new(|| alone(n, bare))),
            ("tokio-util", Box::new(|| alone(n, tokio))),
            ("stop-token, polled once", Box::new(|| alone(few, stop))),
        ],
    );
    compare(
        "is_cancelled, two threads",
        effort,
        vec![
            ("watertight", Box::new(|| together(n, || look(&ours)))),
            ("bare Arc<AtomicBool>", Box::new(|| together(n, bare))),
            ("tokio-util", Box::new(|| together(n, tokio))),
            ("stop-token, polled once", Box::new(|| together(few, stop))),
        ],
    );
}

fn children(effort: Effort) {
    let n = effort.calls;
    let (ours, tokio) = (CancelToken::new(), CancellationToken::new());
    let our_child = || drop(black_box(ours.child()));
    let tokio_child = || drop(black_box(tokio.child_token()));
    let compare_both = |title: &str| {
        compare(
            title,
            effort,
            vec![("watertight", Box::new(|| alone(n, our_child))), ("tokio-util", Box::new(|| alone(n, tokio_child)))],
        );
    };
    compare_both("child, made and dropped");
    compare(
        "child, made and dropped, two threads on one parent",
        effort,
        vec![
            ("watertight", Box::new(|| together(n, our_child))),
            ("tokio-util", Box::new(|| together(n, tokio_child))),
        ],
    );
    let crowd: Vec<_> = (0..10_000).map(|_| (ours.child(), tokio.child_token())).collect();
    compare_both("child, made and dropped, among 10,000");
    drop(crowd);
}

/// How long `cancel` takes, of a tree that `make` makes and that is dropped untimed.
fn cancel<T>(make: impl Fn() -> T, cancel: impl Fn(&T)) -> f64 {
    let tree = make();
    let begun = Instant::now();
    cancel(&tree);
    begun.elapsed().as_nanos() as f64
}

fn cancels(effort: Effort, width: usize) {
    let ours = || {
        let root = CancelToken::new();
        let children: Vec<_> = (0..width).map(|_| root.child()).collect();
        (root, children)
    };
    let tokio = || {
        let root = CancellationToken::new();
        let children: Vec<_> = (0..width).map(|_| root.child_token()).collect();
        (root, children)
    };
    compare(
        &format!("cancel over {width} bare children"),
        effort,
        vec![
            ("watertight", Box::new(|| cancel(ours, |(root, _)| root.cancel()))),
            ("tokio-util", Box::new(|| cancel(tokio, |(root, _)| root.cancel()))),
            (
                "bare store loop",
                Box::new(|| {
                    let flags = || (0..width).map(|_| Arc::new(AtomicBool::new(false))).collect::<Vec<_>>();
                    cancel(flags, |flags| flags.iter().for_each(|flag| flag.store(true, Ordering::Release)))
                }),
            ),
        ],
    );
    compare(
        &format!("cancel over {width} children with a child each"),
        effort,
        vec![
            (
                "watertight",
                Box::new(|| {
                    let make = || {
                        let (root, children) = ours();
                        let below: Vec<_> = children.iter().map(CancelToken::child).collect();
                        (root, children, below)
                    };
                    cancel(make, |(root, ..)| root.cancel())
                }),
            ),
            (
                "tokio-util",
                Box::new(|| {
                    let make = || {
                        let (root, children) = tokio();
                        let below: Vec<_> = children.iter().map(CancellationToken::child_token).collect();
                        (root, children, below)
                    };
                    cancel(make, |(root, ..)| root.cancel())
                }),
            ),
        ],
    );
    let polled = |mut waiting: Pin<Box<dyn Future<Output = ()>>>| {
        assert!(waiting.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        waiting
    };
    compare(
        &format!("cancel over {width} children with a waiter each"),
        effort,
        vec![
            (
                "watertight",
                Box::new(|| {
                    let make = || {
                        let (root, children) = ours();
                        let wait = |child: &CancelToken| {
                            let wait = child.cancelled();
                            polled(Box::pin(async { _ = wait.await }))
                        };
                        let waits: Vec<_> = children.iter().map(wait).collect();
                        (root, children, waits)
                    };
                    cancel(make, |(root, ..)| root.cancel())
                }),
            ),
            (
                "tokio-util",
                Box::new(|| {
                    let make = || {
                        let (root, children) = tokio();
                        let wait = |child: &CancellationToken| polled(Box::pin(child.clone().cancelled_owned()));
                        let waits: Vec<_> = children.iter().map(wait).collect();
                        (root, children, waits)
                    };
                    cancel(make, |(root, ..)| root.cancel())
                }),
            ),
        ],
    );
}

fn main() {
    let test = std::env::args().any(|argument| argument == "--test");
    let effort = |rounds, calls| if test { Effort { rounds: 1, calls: 10 } } else { Effort { rounds, calls } };
    looks(effort(31, 2_000_000));
    children(effort(31, 200_000));
    cancels(effort(31, 0), if test { 10 } else { 10_000 });
}
