//! The public limit, one thread, futures polled by hand, against lists: who is out, who waits. Weights, both orders,
//! oversize, a bound on who waits, resizes, give-ups; what is granted is checked one operation later than what is decided.

#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context as Task, Poll, Waker};
use watertight::permit::{Acquire, Order, Oversize};
use watertight::{Context, Limit, Permit, RejectReason};

#[derive(Arbitrary, Debug)]
struct Script {
    limit: u8,
    queue: u8,
    newest_first: bool,
    alone: bool,
    ops: Vec<Op>,
}

#[derive(Arbitrary, Debug)]
enum Op {
    Try(u8),
    Ask(u8),
    AskFor(usize),
    Look(u8),
    GiveUp(u8),
    Release(u8),
    Resize(u8),
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Answer {
    Yes,
    Wait,
    Full,
    TooLarge,
}

#[derive(Default)]
struct Model {
    limit: usize,
    queue: usize,
    newest_first: bool,
    alone: bool,
    out: usize,
    line: Vec<(usize, usize)>, // name and weight, in order of arrival
    served: Vec<(usize, usize)>,
    away: Vec<usize>,
}

impl Model {
    fn fits(&self, n: usize) -> bool {
        self.out + n <= self.limit || (self.alone && n > self.limit && self.out == 0)
    }

    fn too_large(&self, n: usize) -> bool {
        n > Limit::MAX || (!self.alone && n > self.limit)
    }

    fn ask(&mut self, name: usize, n: usize, waits: bool) -> Answer {
        if n == 0 {
            return Answer::Yes;
        }
        if self.too_large(n) {
            return Answer::TooLarge;
        }
        let may = self.line.is_empty() || (waits && self.newest_first && self.line.len() < self.queue);
        if may && self.fits(n) {
            self.out += n;
            return Answer::Yes;
        }
        if !waits || self.line.len() >= self.queue {
            return Answer::Full;
        }
        self.line.push((name, n));
        Answer::Wait
    }

    fn serve(&mut self) {
        while !self.line.is_empty() {
            let at = if self.newest_first { self.line.len() - 1 } else { 0 };
            if !self.fits(self.line[at].1) {
                break;
            }
            self.out += self.line[at].1;
            self.served.push(self.line.remove(at));
        }
    }

    fn resize(&mut self, limit: usize) {
        self.limit = limit;
        let (alone, line) = (self.alone, std::mem::take(&mut self.line));
        let (away, line): (Vec<_>, Vec<_>) = line.into_iter().partition(|(_, n)| !alone && *n > limit);
        self.away.extend(away.into_iter().map(|(name, _)| name));
        self.line = line;
        self.serve();
    }
}

fn poll(ask: &mut Acquire) -> Poll<Result<Permit, RejectReason>> {
    Pin::new(ask).poll(&mut Task::from_waker(Waker::noop()))
}

fn said(refused: RejectReason) -> Answer {
    match refused {
        RejectReason::Full { .. } => Answer::Full,
        RejectReason::TooLarge { .. } => Answer::TooLarge,
        other => panic!("{other:?}"),
    }
}

fuzz_target!(|script: Script| {
    let limit = usize::from(script.limit);
    let built = Limit::builder(limit)
        .queue(script.queue.into())
        .order(if script.newest_first { Order::Lifo } else { Order::Fifo })
        .oversize(if script.alone { Oversize::Alone } else { Oversize::Refuse })
        .build();
    assert_eq!(built.is_ok(), limit > 0);
    let Ok(ours) = built else { return };
    let (queue, newest_first, alone) = (script.queue.into(), script.newest_first, script.alone);
    let mut model = Model { limit, queue, newest_first, alone, ..Model::default() };
    let cx = Context::background();
    let (mut held, mut asking) = (Vec::<Permit>::new(), Vec::<(usize, usize, Acquire)>::new());
    for (name, op) in script.ops.into_iter().enumerate() {
        match op {
            Op::Try(n) => {
                let answer = match ours.try_acquire_many(n.into()) {
                    Ok(permit) => {
                        held.push(permit);
                        Answer::Yes
                    }
                    Err(e) => said(e),
                };
                assert_eq!(answer, model.ask(name, n.into(), false));
            }
            Op::Ask(_) | Op::AskFor(_) => {
                let n = if let Op::Ask(n) = op {
                    n.into()
                } else if let Op::AskFor(n) = op {
                    n
                } else {
                    0
                };
                let mut ask = ours.acquire_many_async(n, &cx);
                let answer = match poll(&mut ask) {
                    Poll::Ready(Ok(permit)) => {
                        held.push(permit);
                        Answer::Yes
                    }
                    Poll::Ready(Err(e)) => said(e),
                    Poll::Pending => {
                        asking.push((name, n, ask));
                        Answer::Wait
                    }
                };
                assert_eq!(answer, model.ask(name, n, true));
            }
            Op::Look(i) if !asking.is_empty() => {
                let i = usize::from(i) % asking.len();
                let (name, n) = (asking[i].0, asking[i].1);
                match poll(&mut asking[i].2) {
                    Poll::Pending => assert!(model.line.contains(&(name, n))),
                    Poll::Ready(Ok(permit)) => {
                        assert!(model.served.contains(&(name, n)));
                        held.push(permit);
                        asking.swap_remove(i);
                    }
                    Poll::Ready(Err(e)) => {
                        assert_eq!(said(e), Answer::TooLarge);
                        assert!(model.away.contains(&name));
                        asking.swap_remove(i);
                    }
                }
            }
            Op::GiveUp(i) if !asking.is_empty() => {
                let (name, n, _) = asking.swap_remove(usize::from(i) % asking.len());
                if model.served.contains(&(name, n)) {
                    model.out -= n;
                }
                model.line.retain(|(other, _)| *other != name);
                model.serve();
            }
            Op::Release(i) if !held.is_empty() => {
                let permit = held.swap_remove(usize::from(i) % held.len());
                model.out -= permit.weight();
                drop(permit);
                model.serve();
            }
            Op::Resize(n) => {
                assert_eq!(ours.resize(n.into()).is_ok(), n > 0);
                if n > 0 {
                    model.resize(n.into());
                }
            }
            _ => {}
        }
        assert_eq!((ours.in_flight(), ours.waiting(), ours.permits()), (model.out, model.line.len(), model.limit));
    }
    drop((held, asking));
    assert_eq!((ours.in_flight(), ours.waiting()), (0, 0));
    assert!(ours.try_acquire_many(ours.permits()).is_ok());
});
