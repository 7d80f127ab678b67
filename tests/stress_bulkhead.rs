//! Nothing leaks from a compartment, and `started()` is exact, over every form of a call and every way to leave it.

use proptest::prelude::*;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::pin;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::{Context as Task, Poll, Waker};
use std::time::Duration;
use watertight::breaker::BreakerState;
use watertight::bulkhead::Hedge;
use watertight::retry::{IdempotencyKey, RetryCap};
use watertight::{
    Admission, Budget, Bulkhead, CallError, CancelToken, Context, Interrupted, Isolation, ManualClock, Recovery,
    RejectReason, Retry, Trip,
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

/// A million in a build for release, fewer without; `STORM_CALLS` for another number.
fn calls() -> u64 {
    let default = if cfg!(debug_assertions) { 100_000 } else { 1_000_000 };
    std::env::var("STORM_CALLS").map_or(default, |n| n.parse().unwrap())
}

const CALLERS: usize = 4;
const FORMS: u64 = 14;
const CAP: u32 = u32::MAX / 2;
const BETWEEN: u8 = 2;

/// What was seen to happen: each must, or the storm was none.
#[derive(Default, Debug)]
struct Seen {
    retries: AtomicU64,
    panics: AtomicU64,
    too_late: AtomicU64,
    cancelled: AtomicU64,
    probes: AtomicU64,
    full: AtomicU64,
    open: AtomicU64,
    fell_back: AtomicU64,
    known: AtomicU64,
    hedged: AtomicU64,
    /// Futures that were dropped: before their first poll, in line for a permit, while their work was on a thread, inside the
    /// user's own future, in the pause before a retry.
    left: [AtomicU64; 5],
}

struct Storm {
    it: Bulkhead,
    time: ManualClock,
    cap: RetryCap,
    /// What each caller's call can be cancelled by.
    tokens: Mutex<Vec<CancelToken>>,
    /// How often work was really entered, admissions included.
    entered: Arc<AtomicU64>,
    seen: Seen,
}

fn count(n: &AtomicU64) {
    n.fetch_add(1, SeqCst);
}

/// Lets everybody else go first, so often.
async fn yields(times: u64) {
    for _ in 0..times {
        let mut gone = false;
        poll_fn(|task| {
            if std::mem::replace(&mut gone, true) {
                return Poll::Ready(());
            }
            task.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }
}

/// Where a call is: not entered yet, inside the work, or between two attempts.
#[derive(Clone, Default)]
struct At(Arc<AtomicU8>);

struct Inside(At);

impl At {
    fn enter(&self) -> Inside {
        self.0.store(1, SeqCst);
        Inside(self.clone())
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        (self.0).0.store(BETWEEN, SeqCst);
    }
}

impl Storm {
    fn work(&self, random: &mut SplitMix) -> impl Fn() -> Result<(), ()> + Clone + Send + Sync + use<> {
        let (does, waits) = (random.below(100), random.below(4));
        move || {
            for _ in 0..waits {
                std::thread::yield_now();
            }
            match does {
                0..5 => resume_unwind(Box::new("storm")),
                5..40 => Err(()),
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

    /// Polls so often and drops it then, noting where it was; or drives it to its end.
    fn polled<F: Future>(&self, future: F, polls: Option<u64>, at: &At, on_thread: bool) -> Option<F::Output> {
        let Some(polls) = polls else { return Some(futures::executor::block_on(future)) };
        let mut future = pin!(future);
        for _ in 0..polls {
            if let Poll::Ready(output) = future.as_mut().poll(&mut Task::from_waker(Waker::noop())) {
                return Some(output);
            }
            std::thread::yield_now();
        }
        count(
            &self.seen.left[match at.0.load(SeqCst) {
                _ if polls == 0 => 0,
                _ if on_thread => 2,
                0 => 1,
                BETWEEN => 4,
                _ => 3,
            }],
        );
        None
    }

    /// A call in one of its forms; `None`: its future was dropped.
    fn call(&self, form: u64, cx: &Context, random: &mut SplitMix) -> Option<Result<(), CallError<()>>> {
        let (it, does, at, entered) = (&self.it, self.work(random), At::default(), self.entered.clone());
        let (again, polls) = (it.idempotent(), (random.below(2) == 0).then(|| random.below(6)));
        let (waits, mut tries) = (random.below(3), 0_u64);
        let (delay, f) = (Duration::from_micros(random.below(3)), {
            let does = does.clone();
            move || {
                count(&entered);
                does()
            }
        });
        let by_hand = |admission: Admission| {
            if admission.is_probe() {
                count(&self.seen.probes);
            }
            let result = f(); // and this is what is counted as entered
            admission.record(&result);
            result.map_err(CallError::Failed)
        };
        let future = |at: &At| {
            count(&self.entered); // by the making of it: it may be dropped before its first poll
            let (inside, does) = (at.enter(), does.clone());
            async move {
                let _inside = inside;
                yields(waits).await;
                does()
            }
        };
        match form {
            0 => Some(it.call(cx, move |_| f())),
            1 => Some(it.call_here(cx, |_| f())),
            2 => self.polled(it.call_blocking(cx, move |_| f()), polls, &at, true),
            3 => self.polled(it.call_async(cx, |_cx| future(&at)), polls, &at, false),
            4 => Some(again.call(cx, move |_| f())),
            5 => {
                let called = again.call_here(cx, |_| {
                    tries += 1;
                    f()
                });
                if tries > 1 {
                    count(&self.seen.retries);
                }
                Some(called)
            }
            6 => self.polled(again.call_blocking(cx, move |_| f()), polls, &at, true),
            7 => self.polled(again.call_async(cx, |_cx| future(&at)), polls, &at, false),
            8 => match it.submit(cx, move |_| f()) {
                Ok(call) => self.polled(call, polls, &at, true),
                Err(refused) => Some(Err(refused.into())),
            },
            9 => Some(it.admit(cx).map_err(CallError::from).and_then(by_hand)),
            10 => {
                let admitted = self.polled(it.admit_async(cx), polls, &at, false)?;
                Some(admitted.map_err(CallError::from).and_then(by_hand))
            }
            11 => Some(again.call_hedged(cx, &Hedge::after(delay), move |_| f())),
            12 => {
                let call = again.call_hedged_blocking(cx, &Hedge::after(delay), move |_| f());
                self.polled(call, polls, &at, true)
            }
            _ => {
                let asked = AtomicU64::new(0);
                let known = move |_: &IdempotencyKey| (asked.fetch_add(1, SeqCst) == 1).then_some(()); // before the retry
                Some(again.with_key("storm").unless_known(known).call_here(cx, |_| f()))
            }
        }
    }

    fn one(&self, me: usize, random: &mut SplitMix) {
        let (form, cx) = (random.below(FORMS), self.context(me, random));
        let called = catch_unwind(AssertUnwindSafe(|| self.call(form, &cx, random)));
        match called {
            Err(_) | Ok(Some(Err(CallError::Panicked(_)))) => count(&self.seen.panics),
            Ok(None | Some(Ok(()))) => {}
            Ok(Some(Err(e))) => {
                // A refusal takes no time: the next caller is to find something else.
                if let CallError::Rejected(reason) = &e {
                    std::thread::yield_now();
                    self.time.advance(reason.retry_after().filter(|_| random.below(3) == 0).unwrap_or_default());
                }
                count(match &e {
                    CallError::Interrupted(Interrupted::DeadlinePassed) => &self.seen.too_late,
                    CallError::Interrupted(_) => &self.seen.cancelled,
                    CallError::Rejected(RejectReason::Full { .. }) => &self.seen.full,
                    CallError::Rejected(RejectReason::CircuitOpen { .. }) => &self.seen.open,
                    _ => return,
                });
                let falls_back = || self.it.fallback(e, |_| if random.below(2) == 0 { Ok(()) } else { Err(()) });
                _ = catch_unwind(AssertUnwindSafe(falls_back));
            }
        }
    }

    fn met(&self) -> bool {
        let state = self.it.state();
        for (seen, n) in [
            (&self.seen.fell_back, state.fallbacks),
            (&self.seen.known, state.deduplicated),
            (&self.seen.hedged, state.hedges),
        ] {
            seen.store(n, SeqCst);
        }
        let Seen { retries, panics, too_late, cancelled, probes, full, open, fell_back, known, hedged, left } =
            &self.seen;
        let all = [retries, panics, too_late, cancelled, probes, full, open, fell_back, known, hedged];
        all.into_iter().chain(left).all(|n| n.load(SeqCst) > 0)
    }
}

/// One call after the other on a breaker that is due: whatever becomes of it, what is not on record is free again.
fn no_call_takes_a_probes_place_with_it(storm: &Storm) {
    let (breaker, mut random, mut still_half_open) = (storm.it.breaker().unwrap(), SplitMix(42), 0);
    for _ in 0..5_000 {
        breaker.reset();
        (0..5).for_each(|_| breaker.admit().unwrap().failure());
        storm.time.advance(SEC);
        assert_eq!(breaker.state(), BreakerState::HalfOpen);
        storm.one(0, &mut random);
        until_idle(&storm.it);
        if breaker.state() == BreakerState::HalfOpen {
            still_half_open += 1;
            let free: Vec<_> = (0..3).map_while(|_| breaker.admit().ok()).collect();
            assert_eq!(free.len() as u64, 2 - breaker.snapshot().counts.calls, "a probe took its place with it");
        }
    }
    assert!(still_half_open > 1_000, "{still_half_open} calls left it half-open");
}

#[test]
fn after_a_storm_every_count_is_back_at_its_start() {
    let (time, budget, calls) = (ManualClock::new(), Budget::percent(5), calls());
    let it = Bulkhead::builder("storm", Isolation::Threads(3))
        .queue(2)
        .breaker(Trip::consecutive(5), Recovery::after(SEC).growth(1.0).probes(2))
        .retry(Retry::constant(Duration::from_micros(20)).attempts(3).budget(budget.clone()))
        .timeout(SEC * 60)
        .clock(&time.clock())
        .build()
        .unwrap();
    let tokens = Mutex::new(vec![CancelToken::never(); CALLERS]);
    let (cap, entered) = (RetryCap::new(CAP), Arc::default());
    let storm = Storm { it, time, cap, tokens, entered, seen: Seen::default() };
    for round in 0..20_u64 {
        if round > 0 && storm.met() {
            break;
        }
        std::thread::scope(|s| {
            for me in 0..CALLERS {
                let storm = &storm;
                s.spawn(move || {
                    let mut random = SplitMix(round * CALLERS as u64 + me as u64);
                    (0..calls / CALLERS as u64).for_each(|_| storm.one(me, &mut random));
                });
            }
        });
    }
    assert!(storm.met(), "a race did not happen: {:?}", storm.seen);
    until_idle(&storm.it);
    println!("{calls} calls a round: {:?}\n{:?}\n{:?}", storm.seen, storm.it.state(), budget.stats());
    let Storm { it, time, cap, entered, .. } = &storm;
    let (state, stats, cx) = (it.state(), budget.stats(), Context::background());
    // The account: every call in one line, every entry an attempt, every first attempt a deposit.
    let refused = state.refused_full + state.refused_open + state.refused_ended + state.refused_other;
    assert_eq!((state.running, state.queued, state.falling_back), (0, 0, 0));
    assert_eq!(state.requests, state.succeeded + state.failed + state.interrupted + refused);
    assert_eq!(state.attempts, entered.load(SeqCst));
    assert_eq!(stats.firsts, state.attempts - state.retries);
    // The budget: never overdrawn, and what was paid for and not used is back; the request's cap has paid for the same.
    assert!(stats.retries * 20 <= stats.firsts, "{} retries of {}", stats.retries, stats.firsts);
    assert!(state.retries <= stats.retries, "a retry that nobody paid for");
    assert_eq!(u64::from(CAP - cap.left()), stats.retries);
    no_call_takes_a_probes_place_with_it(&storm);
    // Permits and places, all of them at once.
    it.breaker().unwrap().reset();
    let all: Vec<_> = (0..4).map_while(|_| it.try_admit(&cx).ok()).collect();
    assert_eq!(all.len(), 3);
    let mut line: Vec<_> = (0..3).map(|_| Box::pin(it.admit_async(&cx))).collect();
    let polled = line.iter_mut().map(|wait| wait.as_mut().poll(&mut Task::from_waker(Waker::noop())));
    assert_eq!(polled.filter(Poll::is_pending).count(), 2, "as many wait as the queue has room for");
    drop((line, all));
    // Fallbacks, likewise: ten.
    fn nested(it: &Bulkhead, left: u32) -> Result<u32, CallError<()>> {
        let deeper = |_: &CallError<()>| if left == 0 { Ok(0) } else { nested(it, left - 1).map_err(drop) };
        it.fallback(CallError::Failed(()), deeper)
    }
    assert!(nested(it, 9).is_ok() && nested(it, 10).is_err());
    // Probes: exactly so many, as at the start.
    (0..5).for_each(|_| it.admit(&cx).unwrap().failure());
    assert_eq!(it.state().breaker, Some(BreakerState::Open));
    time.advance(SEC * 2);
    let breaker = it.breaker().unwrap();
    let probes: Vec<_> = (0..3).map_while(|_| breaker.admit().ok()).collect();
    assert_eq!((probes.len(), breaker.state()), (2, BreakerState::HalfOpen));
}
