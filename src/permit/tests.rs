use super::*;
use crate::{CancelToken, ManualClock};
use std::future::Future;
use std::pin::Pin;
use std::task::{self, Poll};
use std::time::Duration;

fn poll<F: Future + Unpin>(f: &mut F) -> Poll<F::Output> {
    Pin::new(f).poll(&mut task::Context::from_waker(task::Waker::noop()))
}

#[test]
fn zero_is_refused_with_a_message_and_changes_nothing() {
    // pubky-nexus#999: a limit of 0 from a configuration silently refuses everything.
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

#[test]
fn where_all_is_kept_for_others_a_stranger_hears_that_it_will_never_be_served() {
    let limit = Limit::builder(5).partition("a", Share::Kept(0.6)).partition("b", Share::Kept(0.4)).build().unwrap();
    let never = RejectReason::TooLarge { asked: 1, limit: 0 };
    assert_eq!(limit.try_acquire().unwrap_err(), never, "while all are free");
    let _all = (
        limit.partition("a").unwrap().try_acquire_many(3).unwrap(),
        limit.partition("b").unwrap().try_acquire_many(2).unwrap(),
    );
    assert_eq!(limit.try_acquire().unwrap_err(), never, "and while none is");
}

#[test]
fn of_what_others_keep_for_themselves_a_refusal_does_not_speak() {
    let limit = Limit::builder(10).partition("a", Share::Kept(0.6)).partition("b", Share::Kept(0.2)).build().unwrap();
    let refused = limit.try_acquire_many(5).unwrap_err();
    assert_eq!(refused, RejectReason::TooLarge { asked: 5, limit: 2 }, "eight of ten are kept for others");
}

#[test]
fn one_item_larger_than_the_limit_is_refused_or_runs_alone() {
    // bazel-remote#908: one item larger than the byte budget waits for ever.
    let cx = Context::background();
    let limit = Limit::new(4);
    let too_large = RejectReason::TooLarge { asked: 5, limit: 4 };
    assert_eq!(limit.acquire_many(5, &cx).unwrap_err(), too_large);
    assert_eq!(limit.try_acquire_many(5).unwrap_err(), too_large);
    assert!(matches!(poll(&mut limit.acquire_many_async(5, &cx)), Poll::Ready(Err(e)) if e == too_large));
    for absurd in [Limit::MAX + 1, usize::MAX] {
        assert!(matches!(limit.try_acquire_many(absurd), Err(RejectReason::TooLarge { .. })));
    }
    // Also who waits already when the limit is made too small for it.
    let held = limit.try_acquire().unwrap();
    let mut waiting = limit.acquire_many_async(4, &cx);
    let mut behind = limit.acquire_async(&cx);
    assert!(poll(&mut waiting).is_pending() && poll(&mut behind).is_pending());
    limit.resize(3).unwrap();
    assert!(matches!(poll(&mut waiting), Poll::Ready(Err(RejectReason::TooLarge { asked: 4, limit: 3 }))));
    assert!(matches!(poll(&mut behind), Poll::Ready(Ok(_))));
    drop(held);

    let limit = Limit::builder(4).oversize(Oversize::Alone).build().unwrap();
    let held = limit.try_acquire().unwrap();
    let mut large = limit.acquire_many_async(9, &cx);
    assert!(poll(&mut large).is_pending());
    assert!(limit.try_acquire().is_err(), "nobody overtakes it");
    drop(held);
    let Poll::Ready(Ok(alone)) = poll(&mut large) else { panic!("it runs alone") };
    assert_eq!((alone.weight(), limit.in_flight()), (9, 9));
    assert!(limit.try_acquire().is_err());
    limit.resize(10).unwrap(); // now it is no longer too large, and others fit beside it
    let beside = limit.try_acquire().unwrap();
    assert!(limit.try_acquire().is_err());
    drop((alone, beside));
    assert_eq!(limit.in_flight(), 0);
    for absurd in [Limit::MAX + 1, usize::MAX] {
        assert!(matches!(limit.try_acquire_many(absurd), Err(RejectReason::TooLarge { .. })));
        assert!(matches!(limit.acquire_many(absurd, &cx), Err(RejectReason::TooLarge { .. })));
    }
    drop(limit.try_acquire_many(Limit::MAX).unwrap());
    assert_eq!(limit.in_flight(), 0);
}

#[test]
fn who_needs_many_does_not_starve_behind_those_who_need_few() {
    let cx = Context::background();
    let limit = Limit::new(4);
    let mut held: Vec<_> = (0..4).map(|_| limit.try_acquire().unwrap()).collect();
    let mut heavy = limit.acquire_many_async(3, &cx);
    assert!(poll(&mut heavy).is_pending());
    let mut light = limit.acquire_async(&cx);
    assert!(poll(&mut light).is_pending());
    held.truncate(2); // enough for the light one
    assert!(poll(&mut light).is_pending() && limit.try_acquire().is_err());
    held.truncate(1);
    let Poll::Ready(Ok(permits)) = poll(&mut heavy) else { panic!("its turn") };
    assert!(poll(&mut light).is_pending());
    drop(permits);
    assert!(poll(&mut light).is_ready());
}

#[test]
fn the_newest_is_first_in_lifo() {
    let cx = Context::background();
    let limit = Limit::builder(1).order(Order::Lifo).build().unwrap();
    let held = limit.try_acquire().unwrap();
    let mut all: Vec<_> = (0..3).map(|_| limit.acquire_async(&cx)).collect();
    assert!(all.iter_mut().all(|one| poll(one).is_pending()));
    drop(held);
    for i in [2, 1, 0] {
        for (j, other) in all.iter_mut().enumerate().take(i) {
            assert!(poll(other).is_pending(), "{j} is served before {i}");
        }
        let Poll::Ready(Ok(permit)) = poll(&mut all[i]) else { panic!("it is the turn of {i}") };
        drop(permit);
    }
}

#[test]
fn nobody_waits_longer_than_the_limit_says() {
    let time = ManualClock::new();
    let cx = Context::background().with_clock(&time.clock()).with_timeout(Duration::from_secs(10));
    let limit = Limit::builder(1).max_wait(Duration::from_secs(1)).build().unwrap();
    let _held = limit.try_acquire().unwrap();
    let mut late = limit.acquire_async(&cx);
    time.advance(Duration::from_secs(2)); // the wait begins with the first poll
    assert!(poll(&mut late).is_pending());
    time.advance(Duration::from_millis(999));
    assert!(poll(&mut late).is_pending());
    time.advance(Duration::from_millis(1));
    assert!(matches!(poll(&mut late), Poll::Ready(Err(RejectReason::Full { limit: 1, waiting: 0 }))));
    // A context that ends sooner has its way.
    let short = cx.with_timeout(Duration::from_millis(500));
    let mut late = limit.acquire_async(&short);
    assert!(poll(&mut late).is_pending());
    time.advance(Duration::from_millis(500));
    assert!(matches!(poll(&mut late), Poll::Ready(Err(RejectReason::DeadlinePassed))));
    // The same for a thread.
    let (other, waiter_cx) = (limit.clone(), cx.clone());
    let waiter = std::thread::spawn(move || other.acquire(&waiter_cx).unwrap_err());
    while time.waiting() == 0 {
        std::thread::yield_now();
    }
    time.advance(Duration::from_secs(1));
    assert_eq!(waiter.join().unwrap(), RejectReason::Full { limit: 1, waiting: 0 });
    let refused = |d| Limit::builder(1).max_wait(d).build().is_err();
    assert!(refused(Duration::ZERO) && refused(Duration::from_secs(86_401)));
}

#[test]
fn a_partition_that_wants_its_own_back_is_before_all_borrowers() {
    let cx = Context::background();
    let limit =
        Limit::builder(10).partition("live", Share::Lent(0.9)).partition("batch", Share::Lent(0.1)).build().unwrap();
    let (live, batch) = (limit.partition("live").unwrap(), limit.partition("batch").unwrap());
    assert!(limit.partition("other").is_none());
    assert_eq!((live.owned(), batch.owned(), batch.name()), (9, 1, "batch"));
    let mut borrowed: Vec<_> = (0..10).map(|_| batch.try_acquire().unwrap()).collect(); // the idle share is lent
    let mut more = batch.acquire_async(&cx);
    let mut own: Vec<_> = (0..9).map(|_| live.acquire_async(&cx)).collect();
    assert!(poll(&mut more).is_pending()); // it came first
    assert!(own.iter_mut().all(|one| poll(one).is_pending()));
    assert_eq!((live.waiting(), batch.waiting(), limit.waiting()), (9, 1, 10));
    let mut got = Vec::new();
    for one in &mut own {
        drop(borrowed.pop());
        let Poll::Ready(Ok(permit)) = poll(one) else { panic!("what comes back is the owner's") };
        got.push(permit);
    }
    assert!(poll(&mut more).is_pending());
    assert_eq!((live.in_flight(), batch.in_flight(), limit.in_flight()), (9, 1, 10));
    drop(borrowed);
    assert!(matches!(poll(&mut more), Poll::Ready(Ok(_))));
}

#[test]
fn partitions_that_make_no_sense_are_refused_by_name() {
    let of = |n, shares: &[(&'static str, Share)]| {
        let builder = shares.iter().fold(Limit::builder(n), |b, (name, share)| b.partition(*name, *share));
        builder.build().map(drop).map_err(|e| e.to_string())
    };
    assert!(of(10, &[("a", Share::Lent(0.9)), ("b", Share::Kept(0.1))]).is_ok());
    assert!(of(100, &[("a", Share::Lent(0.29))]).is_ok());
    let wrong = [
        of(10, &[("a", Share::Lent(0.9)), ("b", Share::Lent(0.2))]),
        of(9, &[("a", Share::Lent(0.1))]),
        of(9, &[("a", Share::Lent(f64::NAN))]),
        of(9, &[("a", Share::Kept(-1.0))]),
        of(9, &[("a", Share::Kept(1.1))]),
        of(9, &[("", Share::Kept(0.5))]),
        of(9, &[("a", Share::Kept(0.5)), ("a", Share::Kept(0.5))]),
    ];
    for (i, wrong) in wrong.into_iter().enumerate() {
        assert!(wrong.is_err(), "{i}");
    }
    let alone = Limit::builder(10).oversize(Oversize::Alone).partition("a", Share::Lent(0.5)).build();
    assert!(matches!(alone, Err(BuildError::Conflict(_))));
    let hundred = Limit::builder(100).partition("a", Share::Lent(0.29)).build().unwrap();
    assert_eq!(hundred.partition("a").unwrap().owned(), 29); // 0.29 * 100.0 is a little less
}

#[test]
fn resizes_under_load_neither_count_twice_nor_strand_who_waits() {
    // OpenSearch#21817, Risuko#44: resizing double-counts, or strands those who wait.
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
    let limit = Limit::new(4);
    let (inside, waited, lowered) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
    for round in 0..20 {
        if round > 0 && waited.load(Relaxed) > 0 && lowered.load(Relaxed) > 0 {
            break;
        }
        std::thread::scope(|s| {
            for t in 0..6_usize {
                let (limit, inside, waited) = (&limit, &inside, &waited);
                s.spawn(move || {
                    for i in 0..2_000_usize {
                        let n = 1 + (i + t) % 3;
                        waited.fetch_add(usize::from(limit.waiting() > 0), Relaxed);
                        let permit = match limit.acquire_many(n, &Context::background()) {
                            Ok(permit) => permit,
                            Err(RejectReason::TooLarge { asked: 3, limit: 2 }) => continue, // made smaller meanwhile
                            Err(e) => panic!("{e}"),
                        };
                        assert!(inside.fetch_add(n, Relaxed) + n <= 6, "more than the largest limit");
                        if i % 5 == 0 {
                            std::thread::yield_now();
                        }
                        inside.fetch_sub(n, Relaxed);
                        drop(permit);
                    }
                });
            }
            let (limit, lowered) = (&limit, &lowered);
            s.spawn(move || {
                for i in 0..2_000 {
                    limit.resize(2 + i % 5).unwrap();
                    lowered.fetch_add(usize::from(limit.in_flight() > limit.permits()), Relaxed);
                    std::thread::yield_now();
                }
            });
        });
    }
    assert!(waited.load(Relaxed) > 0 && lowered.load(Relaxed) > 0, "the race did not happen");
    assert_eq!((limit.in_flight(), limit.waiting()), (0, 0));
}
