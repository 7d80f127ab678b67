//! [`Driver`]: a future that no executor runs. Whoever wakes it polls it, there and then, and when it is ready something
//! is done about it.
//!
//! **States.** resting, the future lies here → polled, somebody has taken it → resting, or over: it was ready, or was
//! called off, and is dropped.
//!
//! **Invariants.** 1. One polls at a time; a wake-up meanwhile is kept, and whoever polls looks once more. So nobody waits
//! for anybody, and a future that wakes itself while it is polled is not entered again. 2. What is called off is dropped
//! by whoever has it: the one who calls it off, or the one who polls it. 3. What is done is done at most once, and not
//! after it was called off. **Locking.** The one lock guards the state and nothing else: the future is polled and
//! dropped under no lock, because its waker, which takes this one, may be called by whoever holds a lock of the future's.
//!
//! The future keeps its waker, and that keeps the future: a cycle on purpose, which being ready or called off breaks.

use crate::sync::{Mutex, Shared, broken};
use std::future::Future;
use std::mem::replace;
use std::pin::Pin;
use std::task::{Context, Wake, Waker};

/// Keeps a future going. Dropping it calls it off.
#[must_use = "the future is called off at once when its driver is dropped"]
pub(super) struct Driver<F, D>(Shared<Driven<F, D>>);

struct Driven<F, D> {
    state: Mutex<State<F>>,
    done: D,
}

enum State<F> {
    Resting(Pin<Box<F>>),
    Polled { again: bool },
    Over,
}

impl<F, D> Driver<F, D>
where
    F: Future<Output = ()> + Send + 'static,
    D: Fn() + Send + Sync + 'static,
{
    /// Polls `future` at once, and then whenever it is woken, on the thread that wakes it; when it is ready, `done` is
    /// called there. Neither may panic.
    pub(super) fn start(future: F, done: D) -> Self {
        let state = Mutex::new(State::Resting(Box::pin(future)));
        let driven = Shared::new(Driven { state, done });
        Driven::drive(&driven);
        Self(driven)
    }
}

impl<F, D> Drop for Driver<F, D> {
    fn drop(&mut self) {
        let before = replace(&mut *self.0.state.lock(), State::Over);
        drop(before);
    }
}

impl<F, D> Driven<F, D>
where
    F: Future<Output = ()> + Send + 'static,
    D: Fn() + Send + Sync + 'static,
{
    fn drive(this: &Shared<Self>) {
        let Some(mut future) = this.take() else { return };
        let waker = Waker::from(this.clone());
        loop {
            let polled = future.as_mut().poll(&mut Context::from_waker(&waker));
            let mut state = this.state.lock();
            let (over, again) = match *state {
                State::Polled { again } => (false, again),
                State::Resting(_) | State::Over => (!broken("driver: what is called off is put back"), false),
            };
            if over {
                drop(state);
                return drop(future);
            }
            if polled.is_ready() {
                *state = State::Over;
                drop(state);
                drop(future);
                return (this.done)();
            }
            if !again {
                *state = State::Resting(future);
                return;
            }
            *state = State::Polled { again: false };
        }
    }

    /// The future, for the one who polls it next.
    fn take(&self) -> Option<Pin<Box<F>>> {
        let mut state = self.state.lock();
        if let State::Polled { again } = &mut *state {
            *again = !broken("driver: a wake-up while it is polled is forgotten");
            return None;
        }
        if matches!(*state, State::Over) {
            return None;
        }
        match replace(&mut *state, State::Polled { again: false }) {
            State::Resting(future) => Some(future),
            State::Polled { .. } | State::Over => None,
        }
    }
}

impl<F, D> Wake for Driven<F, D>
where
    F: Future<Output = ()> + Send + 'static,
    D: Fn() + Send + Sync + 'static,
{
    fn wake(self: Shared<Self>) {
        Self::drive(&self);
    }

    fn wake_by_ref(self: &Shared<Self>) {
        Self::drive(self);
    }
}
