//! Nothing leaks from a compartment, and `started()` is exact, over every form of a call and every way to leave it.

use proptest::prelude::*;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::{Context as Task, Poll, Waker};
use std::time::Duration;
use watertight::breaker::BreakerState;
use watertight::retry::RetryCap;
use watertight::{
    Budget, Bulkhead, CallError, CancelToken, Context, Isolation, ManualClock, Recovery, RejectReason, Retry, Trip,
};

const SEC: Duration = Duration::from_secs(1);

fn until_idle(it: &Bulkhead) {
    while it.state().running + it.state().queued > 0 {
        std::thread::yield_now();
    }
}

/// Polls so often and then drops the future, or until it is ready.
fn polled<F: Future>(future: F, drop_after: Option<u8>) -> Option<F::Output> {
    let Some(polls) = drop_after else { return Some(futures::executor::block_on(future)) };
    let mut future = pin!(future);
    for _ in 0..polls {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Task::from_waker(Waker::noop())) {
            return Some(output);
        }
        std::thread::yield_now();
    }
    None
}

/// One call: its form, what was the matter before, what each attempt does, and after how many polls its future is dropped.
#[derive(Clone, Debug)]
struct Move {
    form: u8,
    before: u8,
    does: [u8; 3],
    drop_after: Option<u8>,
}

fn a_move() -> impl Strategy<Value = Move> {
    (0_u8..10, 0_u8..8, [0_u8..7, 0..7, 0..7], prop::option::weighted(0.3, 0_u8..3))
        .prop_map(|(form, before, does, drop_after)| Move { form, before, does, drop_after })
}

struct World {
    it: Bulkhead,
    time: ManualClock,
    entered: Arc<AtomicU64>,
}

impl World {
    /// An attempt, counted the moment it is entered.
    fn attempt(
        &self,
        mine: &Arc<AtomicU64>,
        does: [u8; 3],
        token: &CancelToken,
    ) -> impl FnMut() -> Result<u8, u8> + use<> {
        let (it, time, entered) = (self.it.clone(), self.time.clone(), self.entered.clone());
        let (mine, token) = (mine.clone(), token.clone());
        move || {
            entered.fetch_add(1, SeqCst);
            let n = mine.fetch_add(1, SeqCst);
            match does[n as usize % 3] {
                0 => return Ok(1),
                1 => resume_unwind(Box::new("on purpose")),
                2 => time.advance(SEC), // too late for whoever waits
                3 => token.cancel(),
                4 => it.breaker().unwrap().force_open(), // the next attempt will be refused
                _ => {}
            }
            Err(2)
        }
    }

    /// Whether it says that it was started; `None` if nobody was left to hear it.
    fn run(&self, m: &Move, mine: &Arc<AtomicU64>) -> Option<bool> {
        let (token, it) = (CancelToken::new(), &self.it);
        let cx = Context::background().with_clock(&self.time.clock()).with_token(&token);
        it.breaker().unwrap().reset();
        let mut held = Vec::new();
        match m.before {
            0 => token.cancel(),
            1 => it.breaker().unwrap().force_open(),
            2 => held.extend((0..3).map_while(|_| it.try_admit(&cx).ok())), // full
            _ => {}
        }
        self.entered.fetch_add(held.len() as u64, SeqCst); // an admission is an attempt, too
        let (mut f, idempotent, drop_after) = (self.attempt(mine, m.does, &token), it.idempotent(), m.drop_after);
        let form = AssertUnwindSafe(|| match m.form {
            0 => Some(it.call(&cx, move |_| f())),
            1 => Some(it.call_here(&cx, |_| f())),
            2 => polled(it.call_blocking(&cx, move |_| f()), drop_after),
            3 => polled(it.call_async(&cx, async move |_cx| f()), drop_after),
            4 => Some(idempotent.call(&cx, move |_| f())),
            5 => Some(idempotent.call_here(&cx, |_| f())),
            6 => polled(idempotent.call_blocking(&cx, move |_| f()), drop_after),
            7 => polled(
                idempotent.call_async(&cx, move |_cx| {
                    let out = catch_unwind(AssertUnwindSafe(&mut f));
                    async move { out.unwrap_or_else(|panic| resume_unwind(panic)) }
                }),
                drop_after,
            ),
            8 => it
                .submit(&cx, move |_| f())
                .map_or_else(|refused| Some(Err(refused.into())), |handle| polled(handle, drop_after)),
            _ => Some(match it.submit(&cx, move |_| f()) {
                Ok(handle) => handle.join(),
                Err(refused) => Err(refused.into()),
            }),
        });
        match catch_unwind(form) {
            Ok(result) => result.map(|result| result.as_ref().map_or_else(CallError::started, |_| true)),
            Err(_panic) => Some(true),
        }
    }
}

proptest! {
    #[test]
    fn started_is_true_exactly_if_the_work_was_entered(moves in prop::collection::vec(a_move(), 1..20)) {
        let time = ManualClock::new();
        let it = Bulkhead::builder("exact", Isolation::Threads(1))
            .breaker(Trip::consecutive(2), Recovery::after(SEC))
            .retry(Retry::constant(Duration::ZERO).attempts(3))
            .timeout(SEC)
            .clock(&time.clock())
            .build()
            .unwrap();
        let world = World { it, time, entered: Arc::default() };
        for m in &moves {
            let mine = Arc::default();
            let said = world.run(m, &mine);
            until_idle(&world.it); // whatever was still to come has come
            let entered = mine.load(SeqCst) > 0;
            if let Some(started) = said {
                prop_assert_eq!(started, entered, "{:?}", m);
            }
        }
        let state = world.it.state();
        prop_assert_eq!(state.attempts, world.entered.load(SeqCst));
        let refused = state.refused_full + state.refused_open + state.refused_ended + state.refused_other;
        prop_assert_eq!(state.requests, state.succeeded + state.failed + state.interrupted + refused);
    }
}

struct SplitMix(u64);

impl SplitMix {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % n
    }
}

const CALLS: u64 = if cfg!(debug_assertions) { 100_000 } else { 1_000_000 };
const CALLERS: usize = 4;
const CAP: u32 = u32::MAX / 2;

/// What was seen to happen.
#[derive(Default, Debug)]
struct Seen {
    retries: AtomicU64,
    left: AtomicU64,
    panics: AtomicU64,
    too_late: AtomicU64,
    cancelled: AtomicU64,
    probes: AtomicU64,
    full: AtomicU64,
    open: AtomicU64,
}

struct Storm {
    it: Bulkhead,
    time: ManualClock,
    cap: RetryCap,
    /// What each caller's call can be cancelled by.
    tokens: Mutex<Vec<CancelToken>>,
    seen: Seen,
}

fn count(n: &AtomicU64) {
    n.fetch_add(1, SeqCst);
}

impl Storm {
    fn work(&self, random: &mut SplitMix) -> impl FnMut() -> Result<(), ()> + use<> {
        let (does, waits) = (random.below(100), random.below(4));
        move || {
            for _ in 0..waits {
                std::thread::yield_now();
            }
            match does {
                0..5 => resume_unwind(Box::new("storm")),
                5..50 => Err(()),
                _ => Ok(()),
            }
        }
    }

    fn context(&self, me: usize, random: &mut SplitMix) -> Context {
        let token = CancelToken::new();
        let other = {
            let mut tokens = self.tokens.lock().unwrap();
            tokens[me] = token.clone();
            tokens[random.below(CALLERS as u64) as usize].clone()
        };
        if random.below(8) == 0 {
            other.cancel();
        }
        let cx = Context::background().with_token(&token).with_value(self.cap.clone());
        if random.below(4) == 0 { cx.with_timeout(Duration::from_micros(random.below(60))) } else { cx }
    }

    fn one(&self, me: usize, random: &mut SplitMix) {
        let (it, cx) = (&self.it, self.context(me, random));
        let (mut f, idempotent) = (self.work(random), it.idempotent());
        let drop_after = (random.below(2) == 0).then(|| random.below(4) as u8);
        if random.below(16) == 0 {
            self.time.advance(SEC / 4);
        }
        let mut tries = 0_u64;
        let form = random.below(10);
        let called = catch_unwind(AssertUnwindSafe(|| match form {
            0 => Some(it.call(&cx, move |_| f())),
            1 => Some(it.call_here(&cx, |_| f())),
            2 => polled(it.call_blocking(&cx, move |_| f()), drop_after),
            3 => polled(
                it.call_async(&cx, async move |cx| {
                    cx.sleep_async(Duration::ZERO).await.map_err(drop).and_then(|()| f())
                }),
                drop_after,
            ),
            4 => Some(idempotent.call(&cx, move |_| f())),
            5 => Some(idempotent.call_here(&cx, |_| {
                tries += 1;
                f()
            })),
            6 => polled(idempotent.call_blocking(&cx, move |_| f()), drop_after),
            7 => it.submit(&cx, move |_| f()).map_or_else(|no| Some(Err(no.into())), |call| polled(call, drop_after)),
            8 => Some(it.admit(&cx).map_err(CallError::from).and_then(|admission| {
                if admission.is_probe() {
                    count(&self.seen.probes);
                }
                let result = f();
                admission.record(&result);
                result.map_err(CallError::Failed)
            })),
            _ => polled(it.admit_async(&cx), drop_after).map(|got| got.map(drop).map_err(CallError::from)),
        }));
        if tries > 1 {
            count(&self.seen.retries);
        }
        match called {
            Err(_) | Ok(Some(Err(CallError::Panicked(_)))) => count(&self.seen.panics),
            Ok(None) => count(&self.seen.left),
            Ok(Some(Err(CallError::Interrupted(watertight::Interrupted::DeadlinePassed)))) => {
                count(&self.seen.too_late)
            }
            Ok(Some(Err(CallError::Interrupted(_)))) => count(&self.seen.cancelled),
            Ok(Some(Err(CallError::Rejected(RejectReason::Full { .. })))) => count(&self.seen.full),
            Ok(Some(Err(CallError::Rejected(RejectReason::CircuitOpen { .. })))) => count(&self.seen.open),
            Ok(Some(Err(e))) if random.below(4) == 0 => _ = it.fallback(e, |_| if form < 3 { Ok(()) } else { Err(()) }),
            Ok(Some(_)) => {}
        }
    }

    fn met(&self) -> bool {
        let Seen { retries, left, panics, too_late, cancelled, probes, full, open } = &self.seen;
        [retries, left, panics, too_late, cancelled, probes, full, open].iter().all(|n| n.load(SeqCst) > 0)
    }
}

#[test]
fn after_a_storm_every_count_is_back_at_its_start() {
    let (time, budget) = (ManualClock::new(), Budget::percent(20));
    let it = Bulkhead::builder("storm", Isolation::Threads(2))
        .queue(1)
        .breaker(Trip::consecutive(4), Recovery::after(SEC).growth(1.0).probes(2))
        .retry(Retry::constant(Duration::ZERO).attempts(3).budget(budget.clone()))
        .timeout(SEC * 60)
        .clock(&time.clock())
        .build()
        .unwrap();
    let tokens = Mutex::new(vec![CancelToken::never(); CALLERS]);
    let storm = Storm { it, time, cap: RetryCap::new(CAP), tokens, seen: Seen::default() };
    for round in 0..20_u64 {
        if round > 0 && storm.met() {
            break;
        }
        std::thread::scope(|s| {
            for me in 0..CALLERS {
                let storm = &storm;
                s.spawn(move || {
                    let mut random = SplitMix(round * CALLERS as u64 + me as u64);
                    (0..CALLS / CALLERS as u64).for_each(|_| storm.one(me, &mut random));
                });
            }
        });
    }
    assert!(storm.met(), "a race did not happen: {:?}", storm.seen);
    let Storm { it, time, cap, .. } = &storm;
    until_idle(it);
    // Permits and places, all of them at once.
    let (state, cx) = (it.state(), Context::background());
    assert_eq!((state.running, state.queued, state.falling_back), (0, 0, 0));
    let refused = state.refused_full + state.refused_open + state.refused_ended + state.refused_other;
    assert_eq!(state.requests, state.succeeded + state.failed + state.interrupted + refused);
    it.breaker().unwrap().reset();
    let all: Vec<_> = (0..3).map_while(|_| it.try_admit(&cx).ok()).collect();
    assert_eq!(all.len(), 2);
    drop(all);
    // Probes: exactly so many, as at the start.
    (0..4).for_each(|_| it.admit(&cx).unwrap().failure());
    assert_eq!(it.state().breaker, Some(BreakerState::Open));
    time.advance(SEC * 2);
    let breaker = it.breaker().unwrap();
    let probes: Vec<_> = (0..3).map_while(|_| breaker.admit().ok()).collect();
    assert_eq!((probes.len(), breaker.state()), (2, BreakerState::HalfOpen));
    // The cap of the request has paid for what the budget has paid for, and what was not used went back to both.
    let retries = budget.stats().retries;
    assert_eq!(u64::from(CAP - cap.left()), retries);
    let firsts = budget.stats().firsts;
    assert!(retries * 5 <= firsts, "{retries} retries of {firsts}");
}
