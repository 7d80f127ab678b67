//! One attempt on the compartment's threads, as its caller and its worker share it: who decides whether it was entered,
//! and who tells the breaker how it ended.
//!
//! **States.** waiting → entered → recorded, or waiting → abandoned. **Invariants.** 1. The worker enters or the caller
//! abandons, one of them: what the caller was told never ran will never run, and what it was told may have run was
//! entered. 2. The breaker hears of an attempt once: from whoever takes the admission. **Locking.** One lock; the
//! breaker is told after it is let go.

use crate::breaker::Admitted;
use crate::context::Context;
use crate::error::Interrupted;
use crate::sync::{Arc, Mutex, broken, thread};

pub(super) struct Attempt(Mutex<State>);

struct State {
    phase: Phase,
    admission: Option<Admitted>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Waiting,
    Entered,
    Abandoned,
}

/// What the caller that stopped waiting is told.
pub(super) enum Left {
    /// It was not entered and never will be.
    NeverRuns,
    /// It was: its outcome is unknown.
    Runs,
}

impl Attempt {
    pub(super) fn new(admission: Option<Admitted>) -> Arc<Self> {
        Arc::new(Self(Mutex::new(State { phase: Phase::Waiting, admission })))
    }

    /// The worker is about to run the work. `None`: nobody wants it any more.
    pub(super) fn enter(attempt: &Arc<Self>) -> Option<Entered> {
        let mut state = attempt.0.lock();
        if state.phase == Phase::Abandoned && !broken("attempt: the worker enters what was abandoned") {
            return None;
        }
        state.phase = Phase::Entered;
        drop(state);
        Some(Entered(attempt.clone()))
    }

    /// The caller stops waiting. A deadline that passes while the dependency works is the dependency's failure; the
    /// caller's own change of mind says nothing about it.
    pub(super) fn abandon(&self, why: Interrupted) -> Left {
        let mut state = self.0.lock();
        let admission = state.admission.take();
        let entered = state.phase == Phase::Entered;
        if !entered {
            state.phase = Phase::Abandoned;
        }
        drop(state);
        match admission {
            Some(admission) if entered && why == Interrupted::DeadlinePassed => admission.failure(),
            Some(admission) => admission.ignore(),
            None => {}
        }
        if entered { Left::Runs } else { Left::NeverRuns }
    }

    fn admission(&self) -> Option<Admitted> {
        self.0.lock().admission.take()
    }
}

/// The work is being run. Dropped by a panic it is the dependency's failure.
pub(super) struct Entered(Arc<Attempt>);

impl Entered {
    pub(super) fn record<T, E>(self, result: &Result<T, E>, cx: &Context) {
        if let Some(admission) = self.0.admission() {
            record(admission, result, cx);
        }
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        if thread::panicking() {
            if let Some(admission) = self.0.admission() {
                admission.failure();
            }
        }
    }
}

/// Tells the breaker of a result. An error of work that its caller has cancelled is not the dependency's.
pub(super) fn record<T, E>(admission: Admitted, result: &Result<T, E>, cx: &Context) {
    match result {
        Ok(_) => admission.success(),
        Err(_) if cx.token().is_cancelled() => admission.ignore(),
        Err(_) => admission.failure(),
    }
}
