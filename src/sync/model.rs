//! Runs loom models: counts and prints executions, refuses silent caps, and demands that broken twins fail.

use super::loom::break_on_purpose;
use loom::model::Builder;
use std::panic::{AssertUnwindSafe, catch_unwind};
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

/// Checks `body` under every schedule within the bound and prints how many executions that took.
pub(crate) fn model(name: &str, body: impl Fn() + Send + Sync + 'static) {
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
pub(crate) fn twin(broken: &'static str, body: impl Fn() + Send + Sync + 'static) {
    let builder = builder();
    break_on_purpose(broken);
    let outcome = catch_unwind(AssertUnwindSafe(|| builder.check(body)));
    break_on_purpose("");
    assert!(outcome.is_err(), "the twin `{broken}` passed: its model does not test what it says");
    println!("loom: twin {broken}: fails, as it must");
}
