//! What each worker is at: how a shutdown reaches what runs, and says what it is.
//!
//! A job that brought a context is noted at its worker's post while it runs, with its name and when it began if it has a
//! name. A job in the background without a name is not: its worker's home context ends with the pool, and that it runs is
//! seen in the worker's counts.
//!
//! **Invariants.** 1. *No running job is missed by the cancelling:* who cancels cancels the pool's token, then looks at
//! every post; who begins a job notes it at its post, then looks at that token. Both look under the post's lock, so at
//! least one sees the other. **Locking.** A lock per post, which only its worker takes but for a shutdown; tokens are
//! cancelled after it is let go.

use super::told::Who;
use crate::cancel::CancelToken;
use crate::context::Context;
use crate::error::{CancelCause, JobId};
use crate::sync::{Mutex, broken};
use std::time::{Duration, Instant};

/// On cache lines of its own.
#[repr(align(128))]
pub(super) struct Post(Mutex<State>);

#[derive(Default)]
struct State {
    /// The last is what runs; those before it wait for it. Those of the seat that many threads share are in no order.
    at_work: Vec<AtWork>,
    next: u64,
    /// The memory of the last name.
    spare: String,
}

struct AtWork {
    number: u64,
    id: Option<JobId>,
    cx: Context,
    named: Option<(String, Instant)>,
}

/// A job that was still running when a shutdown's time was over.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct RunningJob {
    /// Its name, if it has one.
    pub name: Option<String>,
    /// Which it is, if it has a handle or is one of several, and has a name or brought a context: of others only their number is
    /// known.
    pub id: Option<JobId>,
    /// The number of its worker, from 0; `None` if it runs on the thread that submitted it.
    pub worker: Option<usize>,
    /// How long it has been running: exactly if it has a name; else at least so long, counted from when the shutdown
    /// began and saw it, because nameless jobs read no clock.
    pub age: Duration,
}

/// A job that is noted at a post until this is given back.
pub(super) struct Noted<'a>(Option<(&'a Post, u64)>);

impl Post {
    pub(super) fn new() -> Self {
        Self(Mutex::new(State::default()))
    }

    /// A job begins here. `cancelled` is the pool's token: of a pool that has been cancelled, so is the job.
    pub(super) fn begins(&self, cx: &Context, who: Who<'_>, cancelled: &CancelToken) -> Noted<'_> {
        let Who { id, name } = who;
        if cx.is_background() && name.is_none() {
            return Noted(None);
        }
        let began = name.map(|_| cx.now());
        let mut state = self.0.lock();
        let number = state.next;
        state.next += 1;
        let named = name.zip(began).map(|(name, began)| {
            let mut kept = std::mem::take(&mut state.spare);
            kept.push_str(name);
            (kept, began)
        });
        state.at_work.push(AtWork { number, id, cx: cx.clone(), named });
        drop(state);
        if cancelled.is_cancelled() && !broken("post: who begins does not look whether the pool was cancelled") {
            cx.token().cancel_because(CancelCause::Shutdown);
        }
        Noted(Some((self, number)))
    }

    /// Cancels what runs here.
    pub(super) fn cancel(&self) {
        let contexts: Vec<_> = self.0.lock().at_work.iter().map(|job| job.cx.clone()).collect();
        for cx in contexts {
            cx.token().cancel_because(CancelCause::Shutdown);
        }
    }

    /// What runs here, as far as it is noted; `seen` is for how long a nameless job has been seen.
    pub(super) fn running(&self, worker: Option<usize>, seen: Duration) -> Vec<RunningJob> {
        let state = self.0.lock();
        let running = state.at_work.iter().map(|job| match &job.named {
            Some((name, began)) => {
                let age = job.cx.now().saturating_duration_since(*began);
                RunningJob { name: Some(name.clone()), id: job.id, worker, age }
            }
            None => RunningJob { name: None, id: job.id, worker, age: seen },
        });
        running.collect()
    }
}

impl Drop for Noted<'_> {
    fn drop(&mut self) {
        let Some((post, number)) = self.0.take() else { return };
        let mut state = post.0.lock();
        let at = state.at_work.iter().rposition(|job| job.number == number);
        let job = at.map(|at| state.at_work.remove(at));
        if let Some(AtWork { cx, named, .. }) = job {
            if let Some((mut name, _)) = named {
                name.clear();
                state.spare = name;
            }
            drop(state);
            drop(cx); // its values' drops are the user's
        }
    }
}

#[cfg(all(test, not(watertight_loom)))]
mod tests {
    use super::*;

    #[test]
    fn who_ends_first_is_taken_out_whoever_came_last() {
        let (post, cx, pools) = (Post::new(), Context::background(), CancelToken::new());
        let begins = |name| post.begins(&cx, Some(name).into(), &pools);
        let here = || post.running(None, Duration::ZERO).into_iter().filter_map(|job| job.name).collect::<Vec<_>>();
        let [first, second, third] = ["first", "second", "third"].map(begins);
        drop(first);
        assert_eq!(here(), ["second", "third"]);
        drop(third);
        assert_eq!(here(), ["second"]);
        drop(second);
        assert!(here().is_empty());
    }
}
