//! What blocks in code that knows nothing of contexts, and how a context ends it: channels, condition variables, sockets,
//! child processes. Everything else that waits in this crate goes through `wait`.
//!
//! Channels and conditions are waited for within the context. What sits in a system call has to be *freed*: a [`Watch`]
//! owns a second hold on the thing and ends it (shuts the socket down, kills the child) when the context ends.
//!
//! **States** of a [`Watch`]: watching → ended, or over. **Invariants.** 1. The thing is ended at most once, and never after
//! the watch is over. 2. Whoever sees the effect of the end can see why: both happen under one lock. 3. When a watch is
//! over its hold is gone. **Locking.** The watch's lock is held while the thing is ended; that is one system call and no
//! user code.

#[cfg(not(watertight_loom))]
mod channel;
#[cfg(feature = "process")]
mod child;
mod condition;
#[cfg(all(test, watertight_loom, not(watertight_shuttle)))]
mod loom_tests;
mod socket;
#[cfg(all(test, not(watertight_loom)))]
mod tests;

#[cfg(not(watertight_loom))]
pub use channel::{ChannelError, Unsent};
#[cfg(feature = "process")]
pub use child::ChildGuard;
pub use condition::Condition;
pub use socket::{Guarded, SocketGuard, Timed};

use super::{Context, OnEnd};
use crate::error::Interrupted;
use crate::sync::{Mutex, Shared, broken};
use std::io;

/// A hold on something that is to be ended with a context.
#[derive(Debug)]
struct Watch<T> {
    state: Shared<Mutex<State<T>>>,
    on_end: Option<OnEnd>,
}

#[derive(Debug)]
struct State<T> {
    held: Option<T>,
    ended: Option<Interrupted>,
}

impl<T: Send + 'static> Watch<T> {
    /// `end` says whether there was still something to end.
    fn new(cx: &Context, held: T, end: fn(&T) -> bool) -> io::Result<Self> {
        let state = Shared::new(Mutex::new(State { held: Some(held), ended: None }));
        let mut watch = Self { state: state.clone(), on_end: None };
        let on_end = cx.on_end(move |why| {
            let mut state = state.lock();
            if broken("watch: the reason is not there when the effect is") {
                let held = state.held.take();
                drop(state);
                held.as_ref().map(end);
                return;
            }
            if state.held.as_ref().is_some_and(end) {
                state.ended = Some(why);
            }
        })?;
        watch.on_end = Some(on_end);
        Ok(watch)
    }
}

impl<T> Watch<T> {
    /// Why the thing was ended, if it was.
    fn check(&self) -> Result<(), Interrupted> {
        self.state.lock().ended.map_or(Ok(()), Err)
    }

    /// What `f` gives, unless the thing was ended before or meanwhile.
    fn run<R>(&self, f: impl FnOnce() -> io::Result<R>) -> io::Result<R> {
        self.check()?;
        let outcome = f();
        self.check()?;
        outcome
    }

    fn over(&mut self) {
        self.on_end = None;
        if broken("watch: it ends what it no longer watches") {
            return;
        }
        let held = self.state.lock().held.take();
        drop(held);
    }
}

impl<T> Drop for Watch<T> {
    fn drop(&mut self) {
        self.over();
    }
}
