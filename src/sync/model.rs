//! Runs loom models: counts and prints executions, refuses silent caps, and demands that broken twins fail.

use super::loom::break_on_purpose;
use super::{Parker, Unparker};
use loom::model::Builder;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::Future;
use std::panic::Location;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake};

/// What every model runs with: preemption bound 3 (2 for a wide one, 1 for the widest) unless `LOOM_MAX_PREEMPTIONS` says otherwise.
fn builder(bound: usize) -> Builder {
    let mut builder = Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(bound));
    builder.max_branches = builder.max_branches.max(20_000);
    // A cap makes loom report success for a search it did not finish, with no sign: never accept one.
    assert!(
        builder.max_duration.is_none() && builder.max_permutations.is_none(),
        "unset LOOM_MAX_DURATION and LOOM_MAX_PERMUTATIONS: a capped model proves nothing"
    );
    builder
}

/// Names the twin that this process is to run, and nothing else.
const TWIN: &str = "WATERTIGHT_TWIN";

/// Checks `body` under every schedule within the bound and prints how many executions that took.
pub(crate) fn model(name: &str, body: impl Fn() + Send + Sync + 'static) {
    check(name, builder(3), body);
}

/// The same for a body of more threads than the usual bound can be searched with in seconds.
pub(crate) fn wide_model(name: &str, body: impl Fn() + Send + Sync + 'static) {
    check(name, builder(2), body);
}

/// The same for a whole pool whose workers come and go.
pub(crate) fn widest_model(name: &str, body: impl Fn() + Send + Sync + 'static) {
    check(name, builder(1), body);
}

fn check(name: &str, builder: Builder, body: impl Fn() + Send + Sync + 'static) {
    if std::env::var_os(TWIN).is_some() {
        return;
    }
    let executions = Arc::new(AtomicUsize::new(0));
    let counter = executions.clone();
    let bound = builder.preemption_bound;
    builder.check(move || {
        counter.fetch_add(1, Ordering::Relaxed);
        body();
    });
    let n = executions.load(Ordering::Relaxed);
    println!("loom: {name}: {n} executions, preemption bound {bound:?}");
    assert!(n > 1, "{name} has a single schedule: a model without a race is not a model");
}

/// Checks that `body`, with the switch `broken` thrown, fails under some schedule. A twin that passes means that the
/// model above it tests nothing.
///
/// It runs in a process of its own: a failed loom execution may panic again while it is torn down, which aborts.
#[track_caller]
pub(crate) fn twin(broken: &'static str, body: impl Fn() + Send + Sync + 'static) {
    let this_one = key(broken, Location::caller());
    match std::env::var(TWIN) {
        Ok(wanted) if wanted == this_one => {
            println!("running the twin {broken}");
            break_on_purpose(broken);
            builder(3).check(body);
            println!("the twin passed");
            std::process::exit(0);
        }
        Ok(_) => {}
        Err(_) => {
            let this = std::env::current_exe().expect("the test's own path");
            let args = ["loom_", "--nocapture", "--test-threads=1"];
            let run = Command::new(this).args(args).env(TWIN, &this_one).output().expect("the twin's process");
            let said = String::from_utf8_lossy(&run.stdout);
            assert!(said.contains("running the twin"), "the twin `{broken}` did not run: {said}");
            assert!(
                !run.status.success() && !said.contains("the twin passed"),
                "the twin `{broken}` passed: its model does not test what it says"
            );
            println!("loom: twin `{broken}`: fails, as it must");
        }
    }
}

/// Tells one call of [`twin`] from all others: by its switch, its place, and its turn there (a loop has several).
fn key(broken: &str, at: &Location<'_>) -> String {
    thread_local! {
        static TURNS: RefCell<BTreeMap<String, usize>> = const { RefCell::new(BTreeMap::new()) };
    }
    let place = format!("{broken} at {}:{}", at.file(), at.line());
    TURNS.with_borrow_mut(|turns| {
        let turn = turns.entry(place.clone()).or_default();
        *turn += 1;
        format!("{place}, turn {turn}")
    })
}

/// Polls a future on this model thread until it is ready.
pub(crate) fn block_on_future<F: Future>(future: F) -> F::Output {
    struct Unpark(Unparker);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let parker = Parker::new();
    let waker = Arc::new(Unpark(parker.unparker())).into();
    let mut future = std::pin::pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        parker.park();
    }
}

/// A model thread.
pub(crate) fn spawn<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> loom::thread::JoinHandle<T> {
    loom::thread::spawn(f)
}
