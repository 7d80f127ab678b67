//! Idempotency keys: the same key for every attempt, and nothing is done again that is known to be done.

use futures::executor::block_on;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use watertight::breaker::BreakerState;
use watertight::bulkhead::{Hedge, Idempotent};
use watertight::retry::IdempotencyKey;
use watertight::{Budget, Bulkhead, CallError, Context, Isolation, Recovery, RejectReason, Retry, Trip};

const SEC: Duration = Duration::from_secs(1);

fn compartment(budget: &Budget) -> Bulkhead {
    Bulkhead::builder("keyed", Isolation::Threads(2))
        .breaker(Trip::rate(0.9).min_calls(100), Recovery::after(SEC))
        .retry(Retry::constant(Duration::ZERO).attempts(3).budget(budget.clone()))
        .timeout(SEC * 60)
        .build()
        .unwrap()
}

/// What the dependency has done, by key.
#[derive(Clone, Default)]
struct Ledger(Arc<Mutex<Vec<(String, u32)>>>);

impl Ledger {
    /// Once per key; the answers with these numbers, from 0, are lost.
    fn work(
        &self,
        lost: &'static [usize],
    ) -> impl Fn(&Context) -> Result<u32, &'static str> + Send + Sync + Clone + 'static {
        let (it, asked) = (self.clone(), Arc::new(AtomicUsize::new(0)));
        move |cx| {
            let key = IdempotencyKey::of(cx).ok_or("no key")?.to_string();
            let mut done = it.0.lock().unwrap();
            let receipt = match done.iter().find(|(there, _)| *there == key) {
                Some((_, receipt)) => *receipt,
                None => {
                    let receipt = done.len() as u32;
                    done.push((key, receipt));
                    receipt
                }
            };
            if lost.contains(&asked.fetch_add(1, SeqCst)) { Err("no answer") } else { Ok(receipt) }
        }
    }

    fn get(&self, key: &IdempotencyKey) -> Option<u32> {
        self.0.lock().unwrap().iter().find(|(there, _)| there == key.as_str()).map(|(_, receipt)| *receipt)
    }

    fn len(&self) -> usize {
        self.0.lock().unwrap().len()
    }
}

/// Every form of a call by this face.
fn in_every_form<W>(
    calls: &Idempotent<u32, &'static str>,
    work: impl Fn() -> W,
) -> Vec<Result<u32, CallError<&'static str>>>
where
    W: Fn(&Context) -> Result<u32, &'static str> + Send + Sync + 'static,
{
    let (cx, awaited) = (Context::background(), work());
    vec![
        calls.clone().with_key("a").call(&cx, work()),
        calls.clone().with_key("b").call_here(&cx, work()),
        block_on(calls.clone().with_key("c").call_blocking(&cx, work())),
        block_on(calls.clone().with_key("d").call_async(&cx, move |cx| std::future::ready(awaited(&cx)))),
    ]
}

#[test]
fn every_attempt_carries_the_key_in_every_form_and_the_thing_is_done_once() {
    let (it, ledger) = (compartment(&Budget::percent(100)), Ledger::default());
    let receipts = in_every_form(&it.idempotent(), || ledger.work(&[0]));
    assert_eq!(receipts.into_iter().map(Result::unwrap).collect::<Vec<_>>(), [0, 1, 2, 3]);
    let state = it.state();
    assert_eq!((ledger.len(), state.requests, state.attempts, state.retries), (4, 4, 8, 4));
    assert_eq!(state.amplification(), 2.0);
    // Beside a slow first attempt too: both have the key.
    let both = ledger.work(&[]);
    let slow = move |cx: &Context| {
        cx.sleep(Duration::from_millis(1)).map_err(|_| "cancelled")?;
        both(cx)
    };
    assert!(
        it.idempotent().with_key("e").call_hedged(&Context::background(), &Hedge::after(Duration::ZERO), slow).is_ok()
    );
    assert_eq!(ledger.len(), 5);
    while it.state().running + it.state().queued > 0 {
        std::thread::yield_now(); // the loser keeps its place until it has ended
    }
    // Without a key there is none; with one from a layer above there is that.
    let work = ledger.work(&[]);
    assert!(matches!(it.idempotent().call_here(&Context::background(), &work), Err(CallError::Failed("no key"))));
    let above = Context::background().with_value(IdempotencyKey::new("a"));
    assert_eq!(it.call_here(&above, &work).unwrap(), 0);
    assert_eq!(it.idempotent().with_key(IdempotencyKey::new("a").child(2)).call_here(&above, work).unwrap(), 5);
}

#[test]
fn what_is_known_before_the_first_attempt_is_not_sent_even_through_an_open_circuit() {
    let (budget, ledger) = (Budget::percent(100), Ledger::default());
    let it = compartment(&budget);
    assert!(in_every_form(&it.idempotent(), || ledger.work(&[])).iter().all(Result::is_ok));
    let memory = ledger.clone();
    let calls = it.idempotent().unless_known(move |key| memory.get(key));
    it.breaker().unwrap().force_open();
    let known = in_every_form(&calls, || |_: &Context| unreachable!("it is known"));
    assert_eq!(known.into_iter().map(Result::unwrap).collect::<Vec<_>>(), [0, 1, 2, 3]);
    let hedged =
        calls.clone().with_key("a").call_hedged(&Context::background(), &Hedge::after(SEC), |_| unreachable!());
    assert_eq!(hedged.unwrap(), 0);
    let (cx, never) = (Context::background(), |_| async { unreachable!("it is known") });
    let hedged = calls.clone().with_key("b").call_hedged_async(&cx, &Hedge::after(SEC), never);
    assert_eq!(block_on(hedged).unwrap(), 1);
    let state = it.state();
    assert_eq!((state.requests, state.attempts, state.succeeded, state.deduplicated), (10, 4, 10, 6));
    assert_eq!((budget.stats().firsts, state.amplification()), (4, 1.0));
    // What is not known is refused like any other, and without a key nobody is asked.
    let unknown = calls.clone().with_key("z").call_here(&Context::background(), ledger.work(&[])).unwrap_err();
    assert!(matches!(unknown, CallError::Rejected(RejectReason::CircuitOpen { .. })));
    let nobody = it.idempotent::<u32, &str>().unless_known(|_| unreachable!("there is no key"));
    assert!(nobody.call_here(&Context::background(), |_| Ok(1)).is_err());
}

#[test]
fn what_becomes_known_after_a_failure_is_not_tried_again_and_its_token_goes_back() {
    let (budget, ledger) = (Budget::percent(100), Ledger::default());
    let it = compartment(&budget);
    let memory = ledger.clone();
    let calls = it.idempotent().unless_known(move |key| memory.get(key));
    // The first answers are lost, and the work was done all the same: the memory knows, and no second attempt is made.
    let receipts = in_every_form(&calls, || ledger.work(&[0]));
    assert_eq!(receipts.into_iter().map(Result::unwrap).collect::<Vec<_>>(), [0, 1, 2, 3]);
    let (state, stats, counts) = (it.state(), budget.stats(), it.breaker().unwrap().snapshot().counts);
    assert_eq!((state.attempts, state.retries, state.deduplicated, state.succeeded), (4, 0, 4, 4));
    assert_eq!((stats.firsts, stats.retries, stats.available), (4, 0, 4));
    assert_eq!((counts.calls, counts.failures), (4, 4), "what is remembered says nothing about the dependency");
    assert_eq!((state.running, state.queued), (0, 0));
}

#[test]
fn what_is_remembered_closes_no_circuit() {
    let it = Bulkhead::builder("probed", Isolation::Permits(1))
        .breaker(Trip::consecutive(1), Recovery::after(SEC))
        .retry(Retry::constant(Duration::ZERO).attempts(2))
        .no_timeout()
        .build()
        .unwrap();
    let asked = AtomicUsize::new(0);
    let calls = it.idempotent().unless_known(move |_| (asked.fetch_add(1, SeqCst) > 0).then_some(7)).with_key("k");
    // The first attempt fails and opens it; nobody pays for a retry that would be refused.
    assert!(calls.call_here(&Context::background(), |_| Err("no")).is_err());
    assert_eq!(it.state().breaker, Some(BreakerState::Open));
    assert_eq!(calls.call_here(&Context::background(), |_| Err("no")).unwrap(), 7);
    assert_eq!(it.state().breaker, Some(BreakerState::Open));
}

#[test]
fn a_memory_that_panics_is_its_callers_panic_and_nothing_leaks() {
    let budget = Budget::percent(100);
    let it = compartment(&budget);
    for panics_at in [0, 1] {
        let asked = AtomicUsize::new(0);
        let calls = it.idempotent::<u32, &str>().with_key("k").unless_known(move |_| {
            if asked.fetch_add(1, SeqCst) == panics_at {
                resume_unwind(Box::new("no memory"));
            }
            None
        });
        let forms: [&dyn Fn() -> bool; 4] = [
            &|| calls.call(&Context::background(), |_| Err("no")).is_ok(),
            &|| calls.call_here(&Context::background(), |_| Err("no")).is_ok(),
            &|| block_on(calls.call_blocking(&Context::background(), |_| Err("no"))).is_ok(),
            &|| block_on(calls.call_async(&Context::background(), |_cx| std::future::ready(Err("no")))).is_ok(),
        ];
        let form = forms[panics_at * 2];
        assert!(catch_unwind(AssertUnwindSafe(form)).is_err());
        assert!(catch_unwind(AssertUnwindSafe(forms[panics_at * 2 + 1])).is_ok(), "asked again, it does not");
    }
    while it.state().running + it.state().queued > 0 {
        std::thread::yield_now();
    }
    let state = it.state();
    assert_eq!(it.breaker().unwrap().snapshot().counts.calls, state.attempts);
    let refused = state.refused_full + state.refused_open + state.refused_ended + state.refused_other;
    assert_eq!(state.requests, state.succeeded + state.failed + state.interrupted + refused, "{state:?}");
    let slots: Vec<_> = (0..3).map_while(|_| it.try_admit(&Context::background()).ok()).collect();
    assert_eq!(slots.len(), 2);
}

/// Also a memory that is itself behind the compartment: it is asked while the call holds nothing of it.
#[test]
fn a_memory_may_ask_through_the_same_compartment() {
    let it = Bulkhead::builder("self", Isolation::Permits(1))
        .retry(Retry::constant(Duration::ZERO).attempts(2))
        .no_timeout()
        .build()
        .unwrap();
    let (asked, inner) = (AtomicUsize::new(0), it.clone());
    let calls = it.idempotent().with_key("k").unless_known(move |_| {
        assert_eq!(inner.state().running, 0);
        let known = || (asked.fetch_add(1, SeqCst) > 0).then_some(7).ok_or(());
        inner.call_here(&Context::background(), |_| known()).ok()
    });
    assert_eq!(calls.call_here(&Context::background(), |_| Err("lost")).unwrap(), 7);
    assert_eq!(it.state().deduplicated, 1);
}

#[test]
fn two_parts_of_two_wholes_have_two_keys() {
    let key = |whole: &str, part: &str| IdempotencyKey::new(whole).child(part);
    assert_ne!(IdempotencyKey::new("a").child("b").child("c"), key("a", "b/c"));
    assert_ne!(key("a", "b/c"), key("a", "b%2Fc"));
    assert_eq!(key("a", "b"), key("a", "b"));
}
