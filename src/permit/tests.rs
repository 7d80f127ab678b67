use super::*;
use crate::{CancelToken, ManualClock};
use proptest::prelude::*;
use std::future::Future;
use std::pin::Pin;
use std::task::{self, Poll};
use std::time::Duration;

fn poll<F: Future + Unpin>(f: &mut F) -> Poll<F::Output> {
    Pin::new(f).poll(&mut task::Context::from_waker(task::Waker::noop()))
}

#[test]
fn zero_is_refused_with_a_message_and_changes_nothing() {
    assert!(Limit::builder(0).build().unwrap_err().to_string().contains("permits is 0"));
    assert!(Limit::builder(usize::MAX).build().is_err());
    assert!(Limit::builder(1).queue(usize::MAX).build().is_err());
    let limit = Limit::new(3);
    assert!(limit.resize(0).is_err());
    assert_eq!(limit.permits(), 3);
    assert!(std::panic::catch_unwind(|| Limit::new(0)).is_err());
}

#[test]
fn the_line_is_served_in_order_and_nobody_overtakes() {
    let cx = Context::background();
    let limit = Limit::new(1);
    let held = limit.try_acquire().unwrap();
    let (mut a, mut b) = (limit.acquire_async(&cx), limit.acquire_async(&cx));
    assert!(poll(&mut a).is_pending() && poll(&mut b).is_pending());
    drop(held);
    assert!(limit.try_acquire().is_err()); // it is a's
    assert!(poll(&mut b).is_pending());
    let Poll::Ready(Ok(of_a)) = poll(&mut a) else { panic!("a is first") };
    assert!(poll(&mut b).is_pending());
    drop(of_a);
    assert!(matches!(poll(&mut b), Poll::Ready(Ok(_))));
    assert_eq!(limit.in_flight(), 0);
}

#[test]
fn waiting_is_bounded_and_refusals_say_by_what() {
    let limit = Limit::builder(1).queue(1).build().unwrap();
    let _held = limit.try_acquire().unwrap();
    let cx = Context::background();
    let mut a = limit.acquire_async(&cx);
    assert!(poll(&mut a).is_pending());
    let full = RejectReason::Full { limit: 1, waiting: 1 };
    assert_eq!(limit.acquire(&cx).unwrap_err(), full);
    assert!(matches!(poll(&mut limit.acquire_async(&cx)), Poll::Ready(Err(e)) if e == full));
}

#[test]
fn an_ended_context_gets_nothing_even_if_there_is_a_permit() {
    let token = CancelToken::new();
    token.cancel();
    let cx = Context::background().with_token(&token);
    let limit = Limit::new(1);
    assert!(matches!(limit.acquire(&cx), Err(RejectReason::Cancelled(_))));
    assert!(matches!(poll(&mut limit.acquire_async(&cx)), Poll::Ready(Err(RejectReason::Cancelled(_)))));
    let past = Context::background().with_timeout(Duration::ZERO);
    assert_eq!(limit.acquire(&past).unwrap_err(), RejectReason::DeadlinePassed);
    assert_eq!(limit.in_flight(), 0);
}

#[test]
fn a_wait_ends_at_its_deadline_by_the_manual_clock() {
    let time = ManualClock::new();
    let limit = Limit::new(1);
    let _held = limit.try_acquire().unwrap();
    let cx = Context::background().with_clock(&time.clock()).with_timeout(Duration::from_secs(1));
    let (other, waiter_cx) = (limit.clone(), cx.clone());
    let waiter = std::thread::spawn(move || other.acquire(&waiter_cx).unwrap_err());
    while time.waiting() == 0 {
        std::thread::yield_now();
    }
    time.advance(Duration::from_secs(1));
    assert_eq!(waiter.join().unwrap(), RejectReason::DeadlinePassed);
    assert_eq!(limit.waiting(), 0);
}

#[test]
fn a_shrunk_limit_takes_nothing_away_and_a_grown_one_serves() {
    let cx = Context::background();
    let limit = Limit::new(3);
    let permits: Vec<_> = (0..3).map(|_| limit.try_acquire().unwrap()).collect();
    limit.resize(1).unwrap();
    let mut waiting = limit.acquire_async(&cx);
    assert!(poll(&mut waiting).is_pending());
    let mut permits = permits.into_iter();
    drop(permits.next());
    drop(permits.next());
    assert!(poll(&mut waiting).is_pending());
    assert_eq!(limit.in_flight(), 1);
    limit.resize(2).unwrap();
    assert!(matches!(poll(&mut waiting), Poll::Ready(Ok(_))));
}

#[test]
fn clones_share_and_dropped_futures_leave_nothing_behind() {
    // tower-resilience#365: clones that each see spare capacity, and a dropped future that leaks a count.
    let limit = Limit::new(4);
    let peak = std::sync::atomic::AtomicUsize::new(0);
    let (refused, given_up) = (std::sync::atomic::AtomicUsize::new(0), std::sync::atomic::AtomicUsize::new(0));
    use std::sync::atomic::Ordering::Relaxed;
    // Five thousand rounds a thread, and as many again, a few times, until a grant has met a give-up.
    for round in 0..20 {
        if round > 0 && refused.load(Relaxed) > 0 && given_up.load(Relaxed) > 0 {
            break;
        }
        std::thread::scope(|s| {
            for t in 0..8usize {
                let (limit, peak, refused, given_up) = (limit.clone(), &peak, &refused, &given_up);
                s.spawn(move || {
                    for i in 0..5_000usize {
                        let mut acquire = limit.acquire_async(&Context::background());
                        match poll(&mut acquire) {
                            Poll::Ready(permit) => {
                                peak.fetch_max(limit.in_flight(), Relaxed);
                                if (i + t) % 3 == 0 {
                                    std::thread::yield_now();
                                }
                                drop(permit);
                            }
                            Poll::Pending => {
                                refused.fetch_add(1, Relaxed);
                                std::thread::yield_now();
                                given_up
                                    .fetch_add(usize::from(limit.0.with_turns(|turns| turns.grants()) > 0), Relaxed);
                                drop(acquire); // whether it was granted meanwhile or not
                            }
                        }
                    }
                });
            }
        });
    }
    assert!(peak.load(Relaxed) <= 4);
    assert!(refused.load(Relaxed) > 0 && given_up.load(Relaxed) > 0, "the race did not happen");
    assert_eq!((limit.in_flight(), limit.waiting()), (0, 0));
}

/// The limit said naively: permits out, a queue of names, names that were served.
#[derive(Default)]
struct Naive {
    limit: usize,
    out: usize,
    line: std::collections::VecDeque<usize>,
    served: Vec<usize>,
}

impl Naive {
    fn serve(&mut self) {
        while self.out < self.limit {
            let Some(next) = self.line.pop_front() else { break };
            self.out += 1;
            self.served.push(next);
        }
    }
}

#[derive(Clone, Debug)]
enum Op {
    Try,
    Ask,
    Look(prop::sample::Index),
    GiveUp(prop::sample::Index),
    Release,
    Resize(usize),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        Just(Op::Try),
        Just(Op::Ask),
        any::<prop::sample::Index>().prop_map(Op::Look),
        any::<prop::sample::Index>().prop_map(Op::GiveUp),
        Just(Op::Release),
        (1usize..6).prop_map(Op::Resize),
    ]
}

proptest! {
    #[test]
    fn it_does_what_the_naive_model_does(ops in prop::collection::vec(op(), 1..80)) {
        let cx = Context::background();
        let limit = Limit::new(2);
        let mut model = Naive { limit: 2, ..Naive::default() };
        let mut held = Vec::new();
        let mut asking: Vec<(usize, Acquire)> = Vec::new();
        for (name, op) in ops.into_iter().enumerate() {
            match op {
                Op::Try => {
                    let had = limit.try_acquire();
                    prop_assert_eq!(had.is_ok(), model.out < model.limit);
                    model.out += usize::from(had.is_ok());
                    held.extend(had);
                }
                Op::Ask => {
                    let mut ask = limit.acquire_async(&cx);
                    match poll(&mut ask) {
                        Poll::Ready(permit) => { model.out += 1; held.push(permit.unwrap()); }
                        Poll::Pending => { model.line.push_back(name); asking.push((name, ask)); }
                    }
                }
                Op::Look(i) if !asking.is_empty() => {
                    let i = i.index(asking.len());
                    let served = model.served.contains(&asking[i].0);
                    match poll(&mut asking[i].1) {
                        Poll::Ready(permit) => {
                            prop_assert!(served);
                            held.push(permit.unwrap());
                            let name = asking.swap_remove(i).0;
                            model.served.retain(|n| *n != name);
                        }
                        Poll::Pending => prop_assert!(!served),
                    }
                }
                Op::GiveUp(i) if !asking.is_empty() => {
                    let name = asking.swap_remove(i.index(asking.len())).0;
                    model.line.retain(|n| *n != name);
                    if model.served.contains(&name) {
                        model.served.retain(|n| *n != name);
                        model.out -= 1;
                        model.serve();
                    }
                }
                Op::Release if held.pop().is_some() => { model.out -= 1; model.serve(); }
                Op::Resize(n) => { limit.resize(n).unwrap(); model.limit = n; model.serve(); }
                _ => {}
            }
            prop_assert_eq!(limit.in_flight(), model.out);
            prop_assert_eq!(limit.waiting(), model.line.len());
        }
        drop((held, asking));
        prop_assert_eq!((limit.in_flight(), limit.waiting()), (0, 0));
    }
}
