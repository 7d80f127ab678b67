//! The limit against itself said naively: a list of who is out, a list of who waits, and the rules as they are written for
//! users. Orders, weights, oversize, partitions, resizes, give-ups; every step compared.

use super::*;
use crate::sync::Waiter;
use proptest::prelude::*;
use std::future::Future;
use std::pin::Pin;
use std::task::{self, Poll};

fn poll<F: Future + Unpin>(f: &mut F) -> Poll<F::Output> {
    Pin::new(f).poll(&mut task::Context::from_waker(task::Waker::noop()))
}

/// Who waits or is out: a name, a part (0 is nobody's), a weight.
#[derive(Clone, Debug, PartialEq)]
struct One {
    name: usize,
    part: usize,
    n: usize,
}

struct Naive {
    limit: usize,
    max_waiting: usize,
    newest_first: bool,
    alone: bool,
    /// In tenths, and whether it is kept.
    shares: Vec<(usize, bool)>,
    out: Vec<One>,
    line: Vec<One>, // in order of arrival
    served: Vec<One>,
    away: Vec<One>,
}

#[derive(Debug, PartialEq)]
enum Answer {
    Yes,
    Wait,
    Full,
    TooLarge,
}

impl Naive {
    fn owns(&self, part: usize) -> usize {
        if part == 0 { 0 } else { self.shares[part - 1].0 * self.limit / 10 }
    }

    fn all(&self) -> impl Iterator<Item = &One> {
        self.out.iter().chain(&self.served)
    }

    fn total(&self) -> usize {
        self.all().map(|one| one.n).sum()
    }

    fn has(&self, part: usize) -> usize {
        self.all().filter(|one| one.part == part).map(|one| one.n).sum()
    }

    /// Kept by others and idle.
    fn kept_from(&self, part: usize, idle: bool) -> usize {
        let kept = (1..=self.shares.len()).filter(|p| *p != part && self.shares[*p - 1].1);
        kept.map(|p| self.owns(p).saturating_sub(if idle { self.has(p) } else { 0 })).sum()
    }

    fn fits(&self, one: &One) -> bool {
        let alone = self.alone && one.n > self.limit && self.total() == 0;
        alone || self.total() + one.n + self.kept_from(one.part, true) <= self.limit
    }

    fn too_large(&self, one: &One) -> bool {
        !self.alone && one.n + self.kept_from(one.part, false) > self.limit
    }

    fn is_own(&self, one: &One) -> bool {
        self.has(one.part) + one.n <= self.owns(one.part)
    }

    fn ask(&mut self, one: One, waits: bool) -> Answer {
        if self.too_large(&one) {
            return Answer::TooLarge;
        }
        let of_its_own = |line: &[One]| line.iter().any(|other| other.part == one.part);
        let behind = if self.is_own(&one) { of_its_own(&self.line) } else { !self.line.is_empty() };
        if !behind && self.fits(&one) {
            self.out.push(one);
            return Answer::Yes;
        }
        if !waits || self.line.len() >= self.max_waiting {
            return Answer::Full;
        }
        let name = one.name;
        self.line.push(one);
        self.serve();
        if let Some(at) = self.served.iter().position(|one| one.name == name) {
            let one = self.served.remove(at);
            self.out.push(one);
            return Answer::Yes;
        }
        Answer::Wait
    }

    fn serve(&mut self) {
        loop {
            // The heads of all parts, the next of them first.
            let mut heads: Vec<One> = Vec::new();
            let line: Vec<_> =
                if self.newest_first { self.line.iter().rev().collect() } else { self.line.iter().collect() };
            for one in line {
                if !heads.iter().any(|head| head.part == one.part) {
                    heads.push(one.clone());
                }
            }
            let (own, beyond): (Vec<_>, Vec<_>) = heads.into_iter().partition(|head| self.is_own(head));
            let next = if own.is_empty() {
                beyond.into_iter().next().filter(|head| self.fits(head))
            } else {
                own.into_iter().find(|head| self.fits(head))
            };
            let Some(next) = next else { break };
            self.line.retain(|one| *one != next);
            self.served.push(next);
        }
    }

    fn resize(&mut self, limit: usize) {
        self.limit = limit;
        let (away, line) = self.line.drain(..).partition(|one| {
            let kept: usize = (1..=self.shares.len())
                .filter(|p| *p != one.part && self.shares[*p - 1].1)
                .map(|p| self.shares[p - 1].0 * limit / 10)
                .sum();
            !self.alone && one.n + kept > limit
        });
        self.away.extend::<Vec<One>>(away);
        self.line = line;
        self.serve();
    }
}

#[derive(Clone, Debug)]
enum Op {
    Try(usize, usize),
    Ask(usize, usize),
    Look(prop::sample::Index),
    GiveUp(prop::sample::Index),
    Release(prop::sample::Index),
    Resize(usize),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        2 => (0_usize..3, 0_usize..14).prop_map(|(part, n)| Op::Try(part, n)),
        4 => (0_usize..3, 1_usize..14).prop_map(|(part, n)| Op::Ask(part, n)),
        2 => any::<prop::sample::Index>().prop_map(Op::Look),
        1 => any::<prop::sample::Index>().prop_map(Op::GiveUp),
        4 => any::<prop::sample::Index>().prop_map(Op::Release),
        1 => (5_usize..14).prop_map(Op::Resize),
    ]
}

/// A limit, the parts of it, and the same said naively.
fn both(newest_first: bool, alone: bool, shares: &[(usize, bool)], max_waiting: usize) -> (Limit, Naive) {
    let mut builder = Limit::builder(10).queue(max_waiting);
    builder = builder.order(if newest_first { Order::Lifo } else { Order::Fifo });
    builder = builder.oversize(if alone { Oversize::Alone } else { Oversize::Refuse });
    for (name, (tenths, kept)) in ["a", "b"].into_iter().zip(shares) {
        let of = *tenths as f64 / 10.0;
        builder = builder.partition(name, if *kept { Share::Kept(of) } else { Share::Lent(of) });
    }
    let naive = Naive {
        limit: 10,
        max_waiting,
        newest_first,
        alone,
        shares: shares.to_vec(),
        out: Vec::new(),
        line: Vec::new(),
        served: Vec::new(),
        away: Vec::new(),
    };
    (builder.build().unwrap(), naive)
}

fn said(refused: RejectReason) -> Answer {
    match refused {
        RejectReason::Full { .. } => Answer::Full,
        RejectReason::TooLarge { .. } => Answer::TooLarge,
        other => panic!("{other:?}"),
    }
}

fn run(limit: &Limit, mut naive: Naive, ops: Vec<Op>) -> Result<(), TestCaseError> {
    let cx = Context::background();
    let (mut held, mut asking) = (Vec::<(usize, Permit)>::new(), Vec::<(One, Acquire)>::new());
    for (name, op) in ops.into_iter().enumerate() {
        match op {
            Op::Try(part, n) => {
                let one = One { name, part: part.min(naive.shares.len()), n };
                let answer = match limit.try_acquire_of(one.part, n) {
                    Ok(permit) => {
                        held.push((name, permit));
                        Answer::Yes
                    }
                    Err(e) => said(e),
                };
                if n == 0 {
                    prop_assert_eq!(answer, Answer::Yes);
                    naive.out.push(one);
                } else {
                    prop_assert_eq!(answer, naive.ask(one, false));
                }
            }
            Op::Ask(part, n) => {
                let one = One { name, part: part.min(naive.shares.len()), n };
                let mut ask = Acquire::new(limit, one.part, n as u64, &cx);
                let answer = match poll(&mut ask) {
                    Poll::Ready(Ok(permit)) => {
                        held.push((name, permit));
                        Answer::Yes
                    }
                    Poll::Ready(Err(e)) => said(e),
                    Poll::Pending => {
                        asking.push((one.clone(), ask));
                        Answer::Wait
                    }
                };
                prop_assert_eq!(answer, naive.ask(one, true));
            }
            Op::Look(i) if !asking.is_empty() => {
                let i = i.index(asking.len());
                match poll(&mut asking[i].1) {
                    Poll::Ready(Ok(permit)) => {
                        let one = asking.swap_remove(i).0;
                        let at = naive.served.iter().position(|served| *served == one);
                        prop_assert!(at.is_some(), "{:?} was not served", one);
                        held.push((one.name, permit));
                        naive.out.push(naive.served.remove(at.unwrap()));
                    }
                    Poll::Ready(Err(e)) => {
                        prop_assert_eq!(said(e), Answer::TooLarge);
                        let one = asking.swap_remove(i).0;
                        prop_assert!(naive.away.contains(&one));
                    }
                    Poll::Pending => prop_assert!(naive.line.contains(&asking[i].0)),
                }
            }
            Op::GiveUp(i) if !asking.is_empty() => {
                let one = asking.swap_remove(i.index(asking.len())).0;
                naive.line.retain(|other| *other != one);
                naive.served.retain(|other| *other != one);
                naive.serve();
            }
            Op::Release(i) if !held.is_empty() => {
                let name = held.swap_remove(i.index(held.len())).0;
                naive.out.retain(|one| one.name != name);
                naive.serve();
            }
            Op::Resize(n) => {
                limit.resize(n).unwrap();
                naive.resize(n);
            }
            _ => {}
        }
        prop_assert_eq!(limit.in_flight(), naive.total());
        prop_assert_eq!(limit.waiting(), naive.line.len());
        for (i, partition) in ["a", "b"].iter().filter_map(|name| limit.partition(name)).enumerate() {
            prop_assert_eq!((partition.in_flight(), partition.owned()), (naive.has(i + 1), naive.owns(i + 1)));
        }
    }
    drop((held, asking));
    prop_assert_eq!((limit.in_flight(), limit.waiting()), (0, 0));
    let free = naive.kept_from(0, false) < naive.limit;
    prop_assert_eq!(limit.try_acquire().is_ok(), free, "nothing bars the way when all is over");
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn it_does_what_the_naive_model_does(
        newest_first in any::<bool>(),
        alone in any::<bool>(),
        max_waiting in prop_oneof![Just(0_usize), Just(2), Just(1_000)],
        ops in prop::collection::vec(op(), 1..80),
    ) {
        let (limit, naive) = both(newest_first, alone, &[], max_waiting);
        run(&limit, naive, ops)?;
    }

    #[test]
    fn its_partitions_do_what_the_naive_model_does(
        newest_first in any::<bool>(),
        kept in any::<(bool, bool)>(),
        shares in prop_oneof![Just((5_usize, 3_usize)), Just((6, 4)), Just((2, 2))],
        max_waiting in prop_oneof![Just(0_usize), Just(2), Just(1_000)],
        ops in prop::collection::vec(op(), 1..80),
    ) {
        let shares = [(shares.0, kept.0), (shares.1, kept.1)];
        let (limit, naive) = both(newest_first, false, &shares, max_waiting);
        run(&limit, naive, ops)?;
    }
}

/// An early wake finds it waiting still, and the newest waker is the one that is woken.
#[test]
fn a_wait_that_looks_twice_keeps_its_place() {
    let limit = Limit::new(1);
    let held = limit.try_acquire().unwrap();
    let mut wait = limit.turn(0, 1);
    let waiter = Waiter::task(task::Waker::noop());
    for _ in 0..3 {
        assert!(crate::wait::Wait::poll_wait(&mut wait, &waiter).is_pending());
    }
    assert_eq!(limit.waiting(), 1);
    drop(held);
    assert!(crate::wait::Wait::poll_wait(&mut wait, &waiter).is_ready());
    limit.0.give_back(0, 1);
    assert_eq!((limit.in_flight(), limit.waiting()), (0, 0));
}
