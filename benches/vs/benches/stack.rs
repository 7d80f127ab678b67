//! Everything together around a call that succeeds at once: deadline, retries with a budget, breaker, limit. `Bulkhead` beside
//! its own parts put together by hand, the same of other crates, and the stacks of tower and tower-resilience.
//!
//! Each round measures every contender, one after the other, so that whatever else the machine does hits all of them; a ratio
//! is taken within a round. Printed are medians of the rounds and, in brackets, their quartiles. With `--test` everything runs
//! once and briefly; another argument is part of the titles of those to run.

mod side_by_side;

use backon::{BlockingRetryable, ExponentialBuilder, Retryable};
use side_by_side::{Contender, Effort, Test, alone, compare, contender};
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::hint::black_box;
use std::task::{Context as TaskContext, Poll};
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use tokio::sync::Semaphore;
use tower::limit::ConcurrencyLimit;
use tower::retry::Policy;
use tower::retry::budget::{Budget as _, TpsBudget};
use tower::{Service, ServiceBuilder, ServiceExt};
use tower_resilience_bulkhead::BulkheadLayer;
use tower_resilience_circuitbreaker::CircuitBreakerLayer;
use tower_resilience_retry::RetryLayer;
use tower_resilience_timelimiter::TimeLimiterLayer;
use watertight::{Breaker, Budget, Bulkhead, Context, Isolation, Limit, Recovery, Retry, Trip};

const PERMITS: usize = 64;
const TIMEOUT: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(50);
const FOR_EVER: Duration = Duration::from_secs(80_000);

fn good() -> Result<u64, ()> {
    Ok(black_box(1))
}

/// Ours as a whole.
fn compartment() -> Bulkhead {
    let compartment = Bulkhead::builder("bench", Isolation::Permits(PERMITS))
        .breaker(Trip::rate(0.5), Recovery::after(FOR_EVER))
        .retry(Retry::exponential(PAUSE).attempts(3).budget(Budget::percent(20)))
        .timeout(TIMEOUT)
        .build()
        .unwrap();
    let cx = Context::background();
    (0..200).for_each(|_| drop(compartment.call_here(&cx, |_| good()))); // a full, clean window
    compartment
}

/// Ours put together by hand.
struct Parts {
    budget: Budget,
    breaker: Breaker,
    limit: Limit,
}

impl Parts {
    fn new() -> Self {
        let breaker =
            Breaker::builder("bench").trip(Trip::rate(0.5)).recovery(Recovery::after(FOR_EVER)).build().unwrap();
        (0..200).for_each(|_| breaker.admit().unwrap().success());
        Self { budget: Budget::percent(20), breaker, limit: Limit::new(PERMITS) }
    }

    fn deadline(cx: &Context) {
        black_box(cx.with_timeout(TIMEOUT)).check().unwrap();
    }

    fn together(&self, cx: &Context) {
        let cx = cx.with_timeout(TIMEOUT);
        cx.check().unwrap();
        let _permit = self.limit.try_acquire().unwrap();
        self.budget.deposit();
        _ = black_box(self.breaker.call(good));
    }
}

/// Other crates put together by hand. No deadline but a look at the clock before and after.
struct ByHand {
    breaker: recloser::Recloser,
    permits: Semaphore,
}

impl ByHand {
    fn new() -> Self {
        let breaker = recloser::Recloser::custom().error_rate(0.5).closed_len(100).open_wait(FOR_EVER).build();
        Self { breaker, permits: Semaphore::new(PERMITS) }
    }

    fn call(&self) {
        let once = || {
            let _permit = self.permits.try_acquire().unwrap();
            self.breaker.call(good).map_err(drop)
        };
        _ = black_box(once.retry(ExponentialBuilder::default().with_jitter().with_max_times(2)).call());
    }

    fn call_timed(&self) {
        let begun = Instant::now();
        self.call();
        black_box(begun.elapsed() < TIMEOUT);
    }
}

fn synchronous(effort: Effort) {
    let n = effort.calls;
    let (whole, parts, by_hand, cx) = (compartment(), Parts::new(), ByHand::new(), Context::background());
    let calls = whole.idempotent::<u64, ()>();
    let sum = || {
        let deadline = alone(n, || Parts::deadline(&cx));
        let permit = alone(n, || drop(black_box(parts.limit.try_acquire())));
        let deposit = alone(n, || parts.budget.deposit());
        deadline + permit + deposit + alone(n, || _ = black_box(parts.breaker.call(good)))
    };
    compare(
        "synchronous, a success",
        effort,
        vec![
            ("watertight: call_here", Box::new(|| alone(n, || _ = black_box(whole.call_here(&cx, |_| good()))))),
            ("the same, to be retried", Box::new(|| alone(n, || _ = black_box(calls.call_here(&cx, |_| good()))))),
            ("the sum of its parts", Box::new(sum)),
            ("its parts by hand", Box::new(|| alone(n, || parts.together(&cx)))),
            ("backon, recloser, semaphore", Box::new(|| alone(n, || by_hand.call()))),
            ("the same, and two clock reads", Box::new(|| alone(n, || by_hand.call_timed()))),
        ],
    );
    compare(
        "synchronous, a success, two threads",
        effort,
        vec![
            contender("watertight: call_here", n, true, || _ = black_box(whole.call_here(&cx, |_| good()))),
            contender("its parts by hand", n, true, || parts.together(&cx)),
            contender("backon, recloser, semaphore", n, true, || by_hand.call()),
        ],
    );
}

/// A service that is ready at once.
#[derive(Clone)]
struct Instantly;

impl Service<()> for Instantly {
    type Response = u64;
    type Error = Infallible;
    type Future = Ready<Result<u64, Infallible>>;

    fn poll_ready(&mut self, _: &mut TaskContext<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, (): ()) -> Self::Future {
        ready(Ok(black_box(1)))
    }
}

/// tower's own retries, with its budget.
#[derive(Clone)]
struct Paid(std::sync::Arc<TpsBudget>);

impl<E> Policy<(), u64, E> for Paid {
    type Future = Ready<()>;

    fn retry(&mut self, (): &mut (), result: &mut Result<u64, E>) -> Option<Self::Future> {
        match result {
            Ok(_) => {
                self.0.deposit();
                None
            }
            Err(_) => self.0.withdraw().then(|| ready(())),
        }
    }

    fn clone_request(&mut self, (): &()) -> Option<()> {
        Some(())
    }
}

/// So many calls of a service on a runtime, one after the other.
fn towered<S: Service<(), Response = u64>>(runtime: &Runtime, calls: u32, service: &mut S) -> f64 {
    in_runtime(runtime, calls, async || {
        let called = service.ready().await.ok().unwrap().call(()).await;
        assert!(black_box(called).is_ok());
    })
}

fn in_runtime(runtime: &Runtime, calls: u32, mut call: impl AsyncFnMut()) -> f64 {
    runtime.block_on(async {
        let begun = Instant::now();
        for _ in 0..calls {
            call().await;
        }
        begun.elapsed().as_nanos() as f64 / f64::from(calls)
    })
}

fn resilience() -> impl Service<(), Response = u64> + use<> {
    let retry = RetryLayer::builder().max_attempts(3).exponential_backoff(PAUSE).build();
    let breaker = CircuitBreakerLayer::builder().failure_rate_threshold(0.5).sliding_window_size(100).build().unwrap();
    ServiceBuilder::new()
        .layer(retry)
        .layer(TimeLimiterLayer::builder().timeout_duration(TIMEOUT).build())
        .layer_fn(move |inner| breaker.layer_fn(inner))
        .layer(BulkheadLayer::builder().max_concurrent_calls(PERMITS).reject_when_full().build().unwrap())
        .service(Instantly)
}

fn asynchronous(effort: Effort) {
    let n = effort.calls;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let (whole, by_hand, cx) = (compartment(), ByHand::new(), Context::background());
    let calls = whole.idempotent::<u64, ()>();
    let mut tower = ServiceBuilder::new()
        .retry(Paid(TpsBudget::new(Duration::from_secs(10), 10, 0.2).into()))
        .timeout(TIMEOUT)
        .layer_fn(|inner| ConcurrencyLimit::new(inner, PERMITS))
        .service(Instantly);
    let mut resilience = resilience();
    let ours = || in_runtime(&runtime, n, async || _ = black_box(whole.call_async(&cx, |_| ready(good())).await));
    let retried = || in_runtime(&runtime, n, async || _ = black_box(calls.call_async(&cx, |_| ready(good())).await));
    let diy = || in_runtime(&runtime, n, async || by_hand_async(&by_hand).await);
    let contenders: Vec<Contender<'_>> = vec![
        ("watertight: call_async", Box::new(ours)),
        ("the same, to be retried", Box::new(retried)),
        ("backon, tokio, recloser", Box::new(diy)),
        ("tower, without a breaker", Box::new(|| towered(&runtime, n, &mut tower))),
        ("tower-resilience", Box::new(|| towered(&runtime, n / 4 + 1, &mut resilience))),
    ];
    compare("asynchronous, a success", effort, contenders);
}

async fn by_hand_async(by_hand: &ByHand) {
    let once = || async {
        let _permit = by_hand.permits.acquire().await.unwrap();
        by_hand.breaker.call(good).map_err(drop)
    };
    let retried = once.retry(ExponentialBuilder::default().with_jitter().with_max_times(2));
    let timed = tokio::time::timeout(TIMEOUT, retried.sleep(tokio::time::sleep)).await;
    assert!(black_box(timed).is_ok());
}

fn main() {
    let test = Test::asked_for();
    synchronous(test.effort(101, 20_000));
    asynchronous(test.effort(101, 20_000));
}
