//! The compartment against a plain model of it: calls that overlap, as futures polled by hand and dropped anywhere,
//! admissions, calls on the spot, refusals of every kind, retries, sizes that change, a breaker with any rules, and time
//! that is moved by hand. After each operation the two are compared: every figure, every count, what every caller heard, and what
//! was told of the breaker.

#[allow(dead_code, reason = "what drives the breaker alone")]
#[path = "model/breaker.rs"]
mod breaker;
#[path = "model/compartment.rs"]
mod compartment;

use breaker::{Rules, Told};
use compartment::{End, Heard, Model, Settings};
use futures::channel::oneshot::{Sender, channel};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::task::{Context as Task, Poll, Waker};
use std::time::Duration;
use watertight::breaker::BreakerState;
use watertight::bulkhead::{Admit, BulkheadBuilder, BulkheadState, Classified};
use watertight::event::{self, Event};
use watertight::{
    Admission, Budget, Bulkhead, CallError, CancelToken, Class, Context, Interrupted, Isolation, Jitter, ManualClock,
    RejectReason, Retry,
};

const MS: u64 = 1_000_000;
/// A compartment of threads is built for no more.
const MOST: (usize, usize) = (4, 3);
const FALLBACKS: usize = 2;

#[derive(Clone, Debug)]
enum Op {
    /// A future, with retries or without; how long its caller's context has, if it does not outlast the call; cancelled before.
    Call {
        again: bool,
        within: Option<u64>,
        cancelled: bool,
    },
    Admit {
        within: Option<u64>,
        cancelled: bool,
    },
    /// On the spot, and how its attempts end.
    TryAdmit(End),
    Here {
        again: bool,
        ends: [End; 3],
    },
    /// Whichever runs, or is held.
    End(usize, End),
    Look(usize),
    Drop(usize),
    Cancel(usize),
    Pass(u64),
    Resize(usize, usize),
    Force(BreakerState),
    Reset,
    Fallback {
        depth: usize,
        well: bool,
    },
}

fn class() -> impl Strategy<Value = Class> {
    prop_oneof![
        3 => Just(Class::Success),
        1 => Just(Class::Slow),
        6 => Just(Class::Failure),
        1 => Just(Class::Final),
        1 => Just(Class::Ignore),
        1 => Just(Class::RetryAfter(Duration::ZERO)),
        1 => Just(Class::RetryAfter(Duration::from_millis(7))),
    ]
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![
        4 => class().prop_map(|class| End::Returned(Ok(class))),
        8 => class().prop_map(|class| End::Returned(Err(class))),
        1 => Just(End::Panicked),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let within = || prop::option::weighted(0.3, (0..60_u64).prop_map(|ms| ms * MS));
    let cancelled = || prop::bool::weighted(0.05);
    let which = || any::<prop::sample::Index>().prop_map(|i| i.index(64));
    let forced = [BreakerState::ForcedOpen, BreakerState::ForcedClosed, BreakerState::MetricsOnly];
    prop_oneof![
        14 => (any::<bool>(), within(), cancelled())
            .prop_map(|(again, within, cancelled)| Op::Call { again, within, cancelled }),
        5 => (within(), cancelled()).prop_map(|(within, cancelled)| Op::Admit { within, cancelled }),
        3 => end().prop_map(Op::TryAdmit),
        5 => (any::<bool>(), [end(), end(), end()]).prop_map(|(again, ends)| Op::Here { again, ends }),
        18 => (which(), end()).prop_map(|(which, end)| Op::End(which, end)),
        8 => which().prop_map(Op::Look),
        4 => which().prop_map(Op::Drop),
        2 => which().prop_map(Op::Cancel),
        8 => (0..30_u64).prop_map(|ms| Op::Pass(ms * MS)),
        1 => (0..2_000_u64).prop_map(|ms| Op::Pass(ms * MS)),
        3 => (1..=MOST.0, 0..=MOST.1).prop_map(|(limit, queue)| Op::Resize(limit, queue)),
        1 => prop::sample::select(forced.to_vec()).prop_map(Op::Force),
        2 => Just(Op::Reset),
        1 => (1..4_usize, any::<bool>()).prop_map(|(depth, well)| Op::Fallback { depth, well }),
    ]
}

fn settings() -> impl Strategy<Value = Settings> {
    let pause = prop_oneof![1 => Just(0), 1 => (1..20_u64).prop_map(|ms| ms * MS)];
    let percent = prop::sample::select(&[0_u64, 30, 100]);
    let sizes = (1..=MOST.0, 0..=MOST.1, prop::option::of((1..40_u64).prop_map(|ms| ms * MS)));
    (sizes, 1..80_u64, 1..4_u32, pause, percent, 1..4_u64, any::<u64>(), any::<u64>()).prop_map(
        |((limit, queue, max_wait), timeout, attempts, pause, percent, burst, a, b)| Settings {
            limit,
            queue,
            threads: false,
            max_wait,
            timeout: timeout * MS,
            attempts,
            pause,
            percent,
            burst,
            rules: Rules::from_bits(a, b),
        },
    )
}

type Called = Pin<Box<dyn Future<Output = Result<Class, CallError<Class>>>>>;

/// One of those that are under way, in reality.
struct Live {
    token: CancelToken,
    does: Does,
}

enum Does {
    /// How its attempt is told to end.
    Call(Called, Rc<RefCell<Option<Sender<End>>>>),
    Asks(Admit),
    Holds(Admission),
}

struct Pair {
    it: Bulkhead,
    calls: Classified<Class, Class>,
    budget: Budget,
    time: ManualClock,
    told: Arc<Mutex<Vec<Told>>>,
    live: BTreeMap<usize, Live>,
    model: Model,
    next: usize,
    fallbacks: [u64; 3],
    dropped: [u64; 4],
}

fn nanos(d: Duration) -> u64 {
    u64::try_from(d.as_nanos()).unwrap()
}

fn refusal(reason: RejectReason) -> Heard {
    match reason {
        RejectReason::Full { .. } => Heard::Full,
        RejectReason::CircuitOpen { retry_after } => Heard::Open(nanos(retry_after)),
        RejectReason::DeadlinePassed => Heard::Late(true),
        RejectReason::Cancelled(_) => Heard::Late(false),
        other => panic!("{other:?}"),
    }
}

fn heard(result: Result<Class, CallError<Class>>) -> Heard {
    match result {
        Ok(class) => Heard::Ended(End::Returned(Ok(class))),
        Err(CallError::Failed(class)) => Heard::Ended(End::Returned(Err(class))),
        Err(CallError::Panicked(_)) => Heard::Ended(End::Panicked),
        Err(CallError::Interrupted(why)) => Heard::Left(why == Interrupted::DeadlinePassed),
        Err(CallError::Rejected(reason)) => refusal(reason),
        Err(other) => panic!("{other:?}"),
    }
}

/// What the future says now; a panic passes through it.
fn polled<T>(poll: impl FnOnce(&mut Task<'_>) -> Poll<T>) -> Option<Poll<T>> {
    catch_unwind(AssertUnwindSafe(|| poll(&mut Task::from_waker(Waker::noop())))).ok()
}

fn ended(end: End) -> Result<Class, Class> {
    match end {
        End::Returned(result) => result,
        End::Panicked => resume_unwind(Box::new("on purpose")),
    }
}

fn class_of(end: End) -> Class {
    match end {
        End::Returned(Ok(class) | Err(class)) => class,
        End::Panicked => Class::Failure,
    }
}

impl Pair {
    fn new(mut is: Settings, threads: bool) -> Self {
        (is.threads, is.max_wait) = (threads, is.max_wait.filter(|_| !threads));
        let (time, told) = (ManualClock::new(), Arc::<Mutex<Vec<Told>>>::default());
        let budget = Budget::percent(is.percent as f64).burst(is.burst as u32);
        let tell = told.clone();
        let isolation = if threads { Isolation::Threads(is.limit) } else { Isolation::Permits(is.limit) };
        let retry = Retry::constant(Duration::from_nanos(is.pause)).jitter(Jitter::None).attempts(is.attempts);
        let builder = Bulkhead::builder("driven", isolation).queue(is.queue);
        let builder = is.max_wait.map(Duration::from_nanos).into_iter().fold(builder, BulkheadBuilder::max_wait);
        let it = if threads { builder.resizable(MOST.0, MOST.1) } else { builder }
            .breaker(is.rules.trip(), is.rules.recovery())
            .retry(retry.budget(budget.clone()))
            .timeout(Duration::from_nanos(is.timeout))
            .fallbacks(FALLBACKS)
            .clock(&time.clock())
            .observer(event::from_fn(move |e| {
                if let Event::BreakerChanged { from, to, cause, counts, retry_after, .. } = *e {
                    let counts = [counts.calls, counts.failures, counts.slow, counts.consecutive_failures];
                    tell.lock().unwrap().push(Told { from, to, cause, counts, retry_after: retry_after.map(nanos) });
                }
            }))
            .build()
            .unwrap();
        let calls = it.classify(|result: Result<&Class, &Class>| match result {
            Ok(class) | Err(class) => *class,
        });
        let model = Model::new(is);
        Self {
            it,
            calls,
            budget,
            time,
            told,
            live: BTreeMap::new(),
            model,
            next: 0,
            fallbacks: [0; 3],
            dropped: [0; 4],
        }
    }

    fn cx(&self, within: Option<u64>, token: &CancelToken) -> Context {
        let cx = Context::background().with_clock(&self.time.clock()).with_token(token);
        within.map_or(cx.clone(), |ns| cx.with_timeout(Duration::from_nanos(ns)))
    }

    /// What the breaker has said about how long it opens.
    fn hear(&mut self) {
        self.model.breaker.hint = self.told.lock().unwrap().iter().rev().find_map(|told| told.retry_after);
    }

    /// Looks at a future once.
    fn look(&mut self, id: usize) -> Heard {
        let live = self.live.get_mut(&id).unwrap();
        let said = match &mut live.does {
            Does::Call(future, _) => match polled(|task| future.as_mut().poll(task)) {
                None => Heard::Ended(End::Panicked),
                Some(Poll::Ready(result)) => heard(result),
                Some(Poll::Pending) => Heard::Pending,
            },
            Does::Asks(admit) => match polled(|task| Pin::new(admit).poll(task)).unwrap() {
                Poll::Ready(Ok(admission)) => {
                    live.does = Does::Holds(admission);
                    Heard::Admitted
                }
                Poll::Ready(Err(reason)) => refusal(reason),
                Poll::Pending => Heard::Pending,
            },
            Does::Holds(_) => Heard::Pending,
        };
        if !matches!(said, Heard::Pending | Heard::Admitted) {
            self.live.remove(&id);
        }
        self.hear();
        said
    }

    fn begin(&mut self, does: Does, token: CancelToken, again: bool, within: Option<u64>, cancelled: bool) {
        let id = self.next;
        let admission = matches!(does, Does::Asks(_));
        self.live.insert(id, Live { token, does });
        let said = self.look(id);
        let ends = within.map_or(u64::MAX, |ns| self.model.breaker.now + ns);
        assert_eq!(said, self.model.begin(id, admission, again, ends, cancelled));
    }

    fn call(&mut self, again: bool, within: Option<u64>, cancelled: bool) {
        let token = CancelToken::new();
        let (cx, tell) = (self.cx(within, &token), Rc::new(RefCell::new(None)));
        let slot = tell.clone();
        let attempt = move |_cx: Context| {
            let (end, told) = channel();
            *slot.borrow_mut() = Some(end);
            async move { ended(told.await.expect("nobody forgets it")) }
        };
        let future: Called = if again {
            Box::pin(self.calls.idempotent().call_async(&cx, attempt))
        } else {
            Box::pin(self.calls.call_async(&cx, attempt))
        };
        if cancelled {
            token.cancel();
        }
        self.begin(Does::Call(future, tell), token, again, within, cancelled);
    }

    fn try_admit(&mut self, end: End) {
        let id = self.next;
        let (got, full) = (self.it.try_admit(&Context::background()), self.model.would_wait());
        self.hear();
        match got {
            Ok(admission) => {
                assert_eq!(self.model.begin(id, true, false, u64::MAX, false), Heard::Admitted);
                admission.record_as(class_of(end));
                self.hear();
                self.model.end_admission(id, class_of(end));
            }
            // It asks for leave and a place first, and then does not wait.
            Err(reason) => assert_eq!(refusal(reason), self.model.ask_and_not_wait(id, full)),
        }
    }

    /// Only where it does not block this thread: it would have to wait, or to pause.
    fn here(&mut self, again: bool, ends: [End; 3]) {
        if self.model.would_wait() || (again && self.model.is.pause > 0) {
            return;
        }
        let end = |n: usize| match (again, ends[n]) {
            (true, End::Returned(Ok(Class::RetryAfter(_)))) => End::Returned(Ok(Class::Failure)),
            (true, End::Returned(Err(Class::RetryAfter(_)))) => End::Returned(Err(Class::Failure)),
            (_, end) => end,
        };
        let (cx, mut n) = (self.cx(None, &CancelToken::new()), 0);
        let mut work = |_cx: &Context| {
            n += 1;
            ended(end(n - 1))
        };
        let real = catch_unwind(AssertUnwindSafe(|| match again {
            true => self.calls.idempotent().call_here(&cx, &mut work),
            false => self.calls.call_here(&cx, &mut work),
        }));
        self.hear();
        let mut said = self.model.begin(self.next, false, again, u64::MAX, false);
        for n in 0.. {
            if said != Heard::Pending {
                break;
            }
            said = self.model.end(self.next, end(n));
        }
        assert_eq!(real.map_or(Heard::Ended(End::Panicked), heard), said);
    }

    fn end(&mut self, id: usize, end: End) {
        match self.live.remove(&id).unwrap() {
            Live { does: Does::Holds(admission), .. } => {
                admission.record_as(class_of(end));
                self.hear();
                self.model.end_admission(id, class_of(end));
            }
            live => {
                let Does::Call(_, tell) = &live.does else { panic!("it runs") };
                let tell = tell.borrow_mut().take().expect("an attempt runs");
                tell.send(end).expect("it is listened to");
                self.live.insert(id, live);
                assert_eq!(self.look(id), self.model.end(id, end));
            }
        }
    }

    fn fallback(&mut self, depth: usize, well: bool) {
        fn fall(it: &Bulkhead, depth: usize, well: bool) -> Result<(), CallError<()>> {
            it.fallback(CallError::Failed(()), |_| match depth {
                1 if well => Ok(()),
                1 => Err(()),
                _ => fall(it, depth - 1, well).map_err(drop),
            })
        }
        let (begun, fits) = (depth.min(FALLBACKS) as u64, depth <= FALLBACKS);
        assert_eq!(fall(&self.it, depth, well).is_ok(), well && fits);
        self.fallbacks[0] += begun;
        self.fallbacks[1] += if well && fits { 0 } else { begun };
        self.fallbacks[2] += u64::from(!fits);
    }

    fn step(&mut self, op: Op) {
        self.next += 1;
        let pick = |ids: Vec<usize>, which: usize| ids.get(which % ids.len().max(1)).copied();
        let all = || self.live.keys().copied().collect::<Vec<_>>();
        match op {
            Op::Call { again, within, cancelled } => self.call(again, within, cancelled),
            Op::Admit { within, cancelled } => {
                let token = CancelToken::new();
                let ask = self.it.admit_async(&self.cx(within, &token));
                if cancelled {
                    token.cancel();
                }
                self.begin(Does::Asks(ask), token, false, within, cancelled);
            }
            Op::TryAdmit(end) => self.try_admit(end),
            Op::Here { again, ends } => self.here(again, ends),
            Op::End(which, end) => {
                let running = self.model.calls.iter().filter(|(_, call)| call.is_running()).map(|(id, _)| *id);
                if let Some(id) = pick(running.collect(), which) {
                    self.end(id, end);
                }
            }
            Op::Look(which) => {
                if let Some(id) = pick(all(), which) {
                    self.looked_at(id);
                }
            }
            Op::Drop(which) => {
                if let Some(id) = pick(all(), which) {
                    self.drop(id);
                }
            }
            Op::Cancel(which) => {
                if let Some(id) = pick(all(), which) {
                    self.live[&id].token.cancel();
                    self.model.cancel(id);
                    self.looked_at(id);
                }
            }
            Op::Pass(ns) => {
                self.time.advance(Duration::from_nanos(ns));
                self.model.breaker.now += ns;
                // In this order, and one after the other, whoever is woken; of an admission nobody sees the end.
                all().into_iter().for_each(|id| self.looked_at(id));
            }
            Op::Resize(limit, queue) => {
                self.it.resize(limit, queue).unwrap();
                self.model.resize(limit, queue);
            }
            Op::Force(to) => {
                let breaker = self.it.breaker().unwrap();
                match to {
                    BreakerState::ForcedOpen => breaker.force_open(),
                    BreakerState::ForcedClosed => breaker.force_closed(),
                    _ => breaker.metrics_only(),
                }
                self.model.breaker.force(to);
            }
            Op::Reset => {
                self.it.breaker().unwrap().reset();
                self.model.breaker.reset();
            }
            Op::Fallback { depth, well } => self.fallback(depth, well),
        }
        self.check();
    }

    fn drop(&mut self, id: usize) {
        self.dropped[self.model.calls[&id].stage()] += 1;
        drop(self.live.remove(&id));
        self.hear();
        self.model.drop(id);
    }

    fn looked_at(&mut self, id: usize) {
        let said = self.look(id);
        if !matches!(self.live.get(&id).map(|live| &live.does), Some(Does::Holds(_))) || said == Heard::Admitted {
            assert_eq!(said, self.model.poll(id));
        }
    }

    fn check(&mut self) {
        let (real, model) = (self.it.state(), &mut self.model);
        assert_eq!(real.breaker, Some(model.breaker.look()));
        assert_eq!((real.limit, real.queue), (model.is.limit, model.is.queue));
        assert_eq!((real.running, real.queued), (model.permits, model.places - model.permits));
        let saw = compartment::Figures {
            requests: real.requests,
            attempts: real.attempts,
            retries: real.retries,
            succeeded: real.succeeded,
            failed: real.failed,
            interrupted: real.interrupted,
            full: real.refused_full,
            open: real.refused_open,
            ended: real.refused_ended,
        };
        assert_eq!(saw, model.saw);
        assert_eq!((real.refused_other, real.hedges, real.deduplicated, real.falling_back), (0, 0, 0, 0));
        assert_eq!([real.fallbacks, real.fallback_failed, real.fallback_refused], self.fallbacks);
        let account = self.budget.stats();
        assert_eq!((account.firsts, account.retries), (saw.attempts - saw.retries, model.paid));
        assert_eq!((account.refused, u64::from(account.available)), (model.refused, model.available()));
        let mut told = self.told.lock().unwrap();
        assert_eq!(*told, model.breaker.told);
        told.clear();
        model.breaker.told.clear();
        drop(told);
        let (seen, (counts, wait)) = (self.it.breaker().unwrap().snapshot(), model.breaker.figures());
        let c = seen.counts;
        assert_eq!([c.calls, c.failures, c.slow, c.consecutive_failures], counts);
        assert_eq!((seen.retry_after.map(nanos), seen.late), (wait, model.breaker.late));
    }

    /// Everybody leaves, and it is as if nobody had been there.
    fn finish(mut self) -> BulkheadState {
        for id in self.live.keys().copied().collect::<Vec<_>>() {
            self.drop(id);
            self.check();
        }
        let end = self.it.state();
        assert_eq!((end.running, end.queued, self.time.waiting()), (0, 0, 0));
        let refused = end.refused_full + end.refused_open + end.refused_ended;
        assert_eq!(end.requests, end.succeeded + end.failed + end.interrupted + refused);
        end
    }
}

/// What has been seen in all runs.
#[derive(Debug, Default)]
struct Seen {
    operations: usize,
    /// Dropped in line, with a permit that it did not know of, running, in a pause.
    dropped: [u64; 4],
    figures: [u64; 8],
}

fn beside_the_model(threads: bool, cases: u32) {
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(cases) };
    let (seen, ops) = (RefCell::new(Seen::default()), prop::collection::vec(op(), 1..120));
    let ran = TestRunner::new(config).run(&(settings(), ops), |(is, ops)| {
        let mut seen = seen.borrow_mut();
        seen.operations += ops.len();
        let mut pair = Pair::new(is, threads);
        ops.into_iter().for_each(|op| pair.step(op));
        for (sum, n) in seen.dropped.iter_mut().zip(pair.dropped) {
            *sum += n;
        }
        let end = pair.finish();
        let (full, open, late) = (end.refused_full, end.refused_open, end.refused_ended);
        let all = [end.succeeded, end.failed, end.interrupted, full, open, late, end.retries, end.fallback_refused];
        for (sum, n) in seen.figures.iter_mut().zip(all) {
            *sum += n;
        }
        Ok(())
    });
    ran.unwrap_or_else(|e| panic!("{e}"));
    let seen = seen.into_inner();
    println!("{seen:?}");
    let all = |n: u64| seen.dropped.iter().chain(&seen.figures).all(|seen| *seen > n);
    assert!(cases < 1_000 || all(0), "it did not happen: {seen:?}");
}

/// 20,000 scripts, more than a million operations, in a build for release, fewer without; `BULKHEAD_SCRIPTS` for another number.
fn scripts() -> u32 {
    let default = if cfg!(debug_assertions) { 1_000 } else { 20_000 };
    std::env::var("BULKHEAD_SCRIPTS").map_or(default, |n| n.parse().unwrap())
}

#[test]
fn a_compartment_of_permits_does_what_the_model_does() {
    beside_the_model(false, scripts());
}

#[test]
fn one_of_threads_counts_who_comes_on_its_own_as_one_of_permits_does() {
    beside_the_model(true, (scripts() / 5).min(1_000));
}
