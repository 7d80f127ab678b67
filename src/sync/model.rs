//! Runs loom models: counts and prints executions, refuses silent caps, and demands that broken twins fail.

use super::loom::break_on_purpose;
use loom::model::Builder;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What every model runs with: preemption bound 2 unless `LOOM_MAX_PREEMPTIONS` says otherwise.
fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(2));
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
    if std::env::var_os(TWIN).is_some() {
        return;
    }
    let executions = Arc::new(AtomicUsize::new(0));
    let counter = executions.clone();
    let builder = builder();
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
pub(crate) fn twin(broken: &'static str, body: impl Fn() + Send + Sync + 'static) {
    match std::env::var(TWIN) {
        Ok(wanted) if wanted == broken => {
            println!("running the twin {broken}");
            break_on_purpose(broken);
            builder().check(body);
            println!("the twin passed");
            std::process::exit(0);
        }
        Ok(_) => {}
        Err(_) => {
            let this = std::env::current_exe().expect("the test's own path");
            let args = ["loom_", "--nocapture", "--test-threads=1"];
            let run = Command::new(this).args(args).env(TWIN, broken).output().expect("the twin's process");
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

/// A model thread.
pub(crate) fn spawn<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> loom::thread::JoinHandle<T> {
    loom::thread::spawn(f)
}
