//! A compartment with partitions: what is lent, what is kept, in every form of a call, and whose figures are whose.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::task::{Context as Task, Poll, Waker};
use std::time::Duration;
use watertight::bulkhead::{BulkheadBuilder, Hedge};
use watertight::permit::Share;
use watertight::{
    Admission, Budget, Bulkhead, CallError, Context, Isolation, ManualClock, Recovery, Registry, RejectReason, Retry,
    Trip,
};

const SEC: Duration = Duration::from_secs(1);

fn of_ten(live: Share, batch: Share) -> BulkheadBuilder {
    Bulkhead::builder("search", Isolation::Permits(10))
        .partition("live", live)
        .partition("batch", batch)
        .timeout(SEC * 3_600)
}

fn parts(it: &Bulkhead) -> (Bulkhead, Bulkhead) {
    (it.partition("live").unwrap(), it.partition("batch").unwrap())
}

fn all(it: &Bulkhead) -> Vec<Admission> {
    std::iter::from_fn(|| it.try_admit(&Context::background()).ok()).collect()
}

fn poll<F: Future>(f: Pin<&mut F>) -> Poll<F::Output> {
    f.poll(&mut Task::from_waker(Waker::noop()))
}

#[test]
fn who_is_left_nothing_hears_that_it_will_never_be_served() {
    let it = of_ten(Share::Kept(0.9), Share::Kept(0.1)).build().unwrap();
    let never = RejectReason::TooLarge { asked: 1, limit: 0 };
    assert_eq!(it.try_admit(&Context::background()).map(drop).unwrap_err(), never);
    let (live, batch) = parts(&it);
    assert_eq!((all(&live).len(), all(&batch).len()), (9, 1));
}

#[test]
fn what_is_idle_is_lent_and_comes_back_to_its_owner_first() {
    let it = of_ten(Share::Lent(0.9), Share::Lent(0.1)).queue(10).build().unwrap();
    let (live, batch) = parts(&it);
    let cx = Context::background();
    let mut night = all(&batch);
    assert_eq!(night.len(), 10);
    assert_eq!(it.try_admit(&cx).unwrap_err(), RejectReason::Full { limit: 10, waiting: 0 });
    // Whoever is first in line wants more than its own; the owner, behind it, does not.
    let (mut more, mut own) = (batch.admit_async(&cx), live.admit_async(&cx));
    assert!(poll(pin!(&mut more)).is_pending() && poll(pin!(&mut own)).is_pending());
    assert_eq!((it.state().queued, batch.state().queued, live.state().queued), (2, 1, 1));
    night.pop();
    assert!(poll(pin!(&mut more)).is_pending());
    assert!(poll(pin!(&mut own)).is_ready());
    assert_eq!(
        (live.state().running, batch.state().running, it.state().running),
        (0, 10, 10),
        "let go at once, and lent again"
    );
    assert!(poll(pin!(&mut more)).is_ready());
}

#[test]
fn what_is_kept_is_there_for_every_form_of_a_call_however_much_the_others_want() {
    let retry = Retry::constant(Duration::ZERO).budget(Budget::percent(100));
    let it = of_ten(Share::Kept(0.2), Share::Lent(0.8)).retry(retry).build().unwrap();
    let (live, batch) = parts(&it);
    let cx = Context::background();
    let flood = all(&batch);
    assert_eq!((flood.len(), all(&it).len()), (8, 0), "nobody gets what is kept");
    let block_on = |out| assert_eq!(out, 7);
    block_on(live.call_here(&cx, |_| Ok::<_, ()>(7)).unwrap());
    block_on(futures::executor::block_on(live.call_async(&cx, async |_| Ok::<_, ()>(7))).unwrap());
    block_on(live.idempotent().call_here(&cx, |_| Ok::<_, ()>(7)).unwrap());
    block_on(live.classify(|_: Result<&u8, &()>| watertight::Class::Success).call_here(&cx, |_| Ok(7)).unwrap().into());
    let hedged = live.idempotent().call_hedged_async(&cx, &Hedge::after(SEC), async |_| Ok::<_, ()>(7));
    block_on(futures::executor::block_on(hedged).unwrap());
    live.admit(&cx).unwrap().success();
    futures::executor::block_on(live.admit_async(&cx)).unwrap().success();
    assert_eq!(all(&live).len(), 2);
    let full = batch.call_here(&cx, |_| Ok::<_, ()>(())).unwrap_err();
    assert!(matches!(full, CallError::Rejected(RejectReason::Full { limit: 10, waiting: 0 })));
    drop(flood);
    let day = all(&live);
    assert_eq!(day.len(), 10, "and it may have what is idle of theirs");
}

#[test]
fn a_part_has_its_own_figures_and_the_whole_has_the_sum() {
    let it = of_ten(Share::Lent(0.7), Share::Kept(0.3)).queue(10).build().unwrap();
    let (live, batch) = parts(&it);
    let cx = Context::background();
    let work = |ok: bool| move |_: &Context| if ok { Ok(()) } else { Err(()) };
    for (part, calls) in [(&live, 5), (&batch, 3), (&it, 2)] {
        for n in 0..calls {
            _ = part.call_here(&cx, work(n % 2 == 0));
        }
        _ = part.fallback(CallError::Failed(()), |_| Ok(()));
    }
    let told = |it: &Bulkhead| {
        let s = it.state();
        [s.requests, s.attempts, s.succeeded, s.failed, s.fallbacks]
    };
    assert_eq!([told(&live), told(&batch), told(&it)], [[5, 5, 3, 2, 1], [3, 3, 2, 1, 1], [10, 10, 6, 4, 3]]);
    let sizes = |it: &Bulkhead| (it.state().limit, it.state().queue);
    assert_eq!([sizes(&live), sizes(&batch), sizes(&it)], [(7, 7), (3, 3), (10, 10)]);
    it.resize(20, 0).unwrap();
    assert_eq!([sizes(&live), sizes(&batch), sizes(&it)], [(14, 0), (6, 0), (20, 0)]);
    live.resize(10, 10).unwrap(); // there is one compartment
    assert_eq!([sizes(&live), sizes(&it)], [(7, 7), (10, 10)]);
    assert!(it.partition("night").is_none() && live.partition("live").is_none());
}

#[test]
fn the_dependency_is_one_and_so_are_its_breaker_its_budget_and_nesting() {
    let (time, budget) = (ManualClock::new(), Budget::percent(100));
    let it = of_ten(Share::Kept(0.5), Share::Kept(0.5))
        .breaker(Trip::consecutive(1), Recovery::after(SEC))
        .retry(Retry::constant(Duration::ZERO).budget(budget.clone()))
        .clock(&time.clock())
        .build()
        .unwrap();
    let (live, batch) = parts(&it);
    let cx = Context::background();
    live.call_here(&cx, |_| Ok::<_, ()>(())).unwrap();
    assert_eq!(budget.stats().firsts, 1);
    // From inside one part the other runs under the permit that this thread has.
    let inner = batch.clone();
    let nested = live.call_here(&cx, |cx| inner.call_here(cx, |_| Ok::<_, ()>(inner.state().running)).map_err(drop));
    assert_eq!((nested.unwrap(), it.state().running), (0, 0));
    live.call_here(&cx, |_| Err::<(), _>("down")).unwrap_err();
    let refused = batch.call_here(&cx, |_| Ok::<_, ()>(())).unwrap_err();
    assert!(matches!(refused, CallError::Rejected(RejectReason::CircuitOpen { .. })));
}

#[test]
fn what_makes_no_sense_is_refused() {
    let said = |builder: BulkheadBuilder| {
        let said = builder.check().unwrap_err().to_string();
        assert_eq!(builder.build().unwrap_err().to_string(), said);
        said
    };
    let threads = Bulkhead::builder("b", Isolation::Threads(4)).partition("live", Share::Lent(0.5)).no_timeout();
    assert_eq!(said(threads), "partition is for permits: put a Limit with partitions before threads");
    assert_eq!(said(of_ten(Share::Lent(0.6), Share::Lent(0.6))), "sum of shares is 1.2, must be at most 1");
    let less = said(of_ten(Share::Lent(0.9), Share::Kept(0.05)));
    assert_eq!(less, "share is Kept(0.05) of \"batch\", must be 0 to 1, and enough to own a permit");
    assert_eq!(
        said(of_ten(Share::Lent(0.5), Share::Lent(0.1)).partition("live", Share::Lent(0.1))),
        "two partitions of one name"
    );
}

/// A registry must not throw away a compartment one part of which is in use.
#[test]
fn who_holds_a_part_holds_the_compartment() {
    let time = ManualClock::new();
    let hosts = Registry::with(1, SEC, &time.clock(), |_: &u8| of_ten(Share::Lent(0.5), Share::Lent(0.5)).build());
    let live = hosts.get(&1).unwrap().partition("live").unwrap();
    let held = live.try_admit(&Context::background()).unwrap();
    time.advance(SEC * 2);
    assert!(hosts.get(&2).is_err());
    drop(live);
    assert!(hosts.get(&2).is_err(), "a call of it runs");
    drop(held);
    assert!(hosts.get(&2).is_ok());
}

/// A flood of one part: what the other keeps it always finds, and there are never more than the limit.
#[test]
fn a_flood_of_one_part_refuses_nobody_of_the_other() {
    const CALLS: usize = 2_000;
    let it = of_ten(Share::Kept(0.2), Share::Lent(0.8)).build().unwrap();
    let (live, batch) = parts(&it);
    let (now, most, over, refused) =
        (AtomicUsize::new(0), AtomicUsize::new(0), AtomicBool::new(false), AtomicUsize::new(0));
    let work = || {
        most.fetch_max(now.fetch_add(1, SeqCst) + 1, SeqCst);
        std::thread::yield_now();
        now.fetch_sub(1, SeqCst);
        Ok::<_, ()>(())
    };
    std::thread::scope(|s| {
        for _ in 0..3 {
            s.spawn(|| {
                let cx = Context::background();
                let mut held = Vec::new();
                while !over.load(SeqCst) {
                    match batch.try_admit(&cx) {
                        Ok(admission) => held.push(admission),
                        Err(_) => {
                            refused.fetch_add(1, SeqCst);
                            held.clear();
                        }
                    }
                    _ = batch.call_here(&cx, |_| work());
                }
            });
        }
        let callers: Vec<_> = (0..2)
            .map(|_| {
                s.spawn(|| {
                    let cx = Context::background();
                    (0..CALLS).for_each(|_| live.call_here(&cx, |_| work()).unwrap());
                })
            })
            .collect();
        let lived: Vec<_> = callers.into_iter().map(|caller| caller.join()).collect();
        while refused.load(SeqCst) == 0 {
            std::thread::yield_now();
        }
        over.store(true, SeqCst);
        lived.into_iter().for_each(|caller| caller.unwrap());
    });
    assert!(most.load(SeqCst) <= 10);
    let state = it.state();
    assert_eq!((live.state().succeeded, live.state().refused_full), (2 * CALLS as u64, 0));
    assert_eq!((state.running, state.queued), (0, 0));
    assert_eq!(all(&it).len(), 8);
}
