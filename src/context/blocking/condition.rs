//! [`Condition`]: a condition variable whose waits end with a context, for whatever lock the caller has.
//!
//! **States** of a place in the line: waiting → told → left, or waiting → left. **Invariants.** 1. A place is taken while
//! the caller still holds its lock: whoever changes what the lock guards and then notifies finds it. 2. A notification
//! of one is used or passed on: who was told and gives up, or panics before it has looked, tells the next. 3. First come,
//! first told. **Locking.** One lock
//! of its own, never held while the caller's lock is taken or let go, nor while somebody is woken.

use super::super::Context;
use crate::error::Interrupted;
use crate::sync::{Mutex, Waiter, broken};
use crate::wait::line::{Line, Place};
use crate::wait::{Wait, block_on};
use std::collections::BTreeMap;
use std::fmt;
use std::task::Poll;

/// A condition variable that a context can end: [`Context::wait`] and [`Context::wait_while`]. It goes with any lock
/// (std's, parking_lot's, a reader-writer lock), because the caller brings the guard and says how to lock again.
///
/// Notify after the change was made under the lock, before or after the lock is let go. Notified first come, first served;
/// a wake-up is never lost, and none is spurious, but what the lock guards may have changed again by the time it is locked.
///
/// # Examples
///
/// ```
/// use std::collections::VecDeque;
/// use std::sync::{Arc, Mutex};
/// use std::time::Duration;
/// use watertight::context::Condition;
/// use watertight::{Context, Interrupted};
///
/// #[derive(Default)]
/// struct Mailbox {
///     letters: Mutex<VecDeque<String>>,
///     arrived: Condition,
/// }
///
/// impl Mailbox {
///     fn post(&self, letter: &str) {
///         self.letters.lock().unwrap().push_back(letter.into());
///         self.arrived.notify_one();
///     }
///
///     fn fetch(&self, cx: &Context) -> Result<String, Interrupted> {
///         let lock = || self.letters.lock().unwrap();
///         let mut letters = cx.wait_while(&self.arrived, lock(), lock, |letters| letters.is_empty())?;
///         Ok(letters.pop_front().expect("it is not empty"))
///     }
/// }
///
/// let mailbox = Arc::new(Mailbox::default());
/// let fetches = std::thread::spawn({
///     let mailbox = mailbox.clone();
///     move || mailbox.fetch(&Context::current())
/// });
/// mailbox.post("hello");
/// assert_eq!(fetches.join().unwrap().as_deref(), Ok("hello"));
/// let cx = Context::current().with_timeout(Duration::from_millis(1));
/// assert_eq!(mailbox.fetch(&cx), Err(Interrupted::DeadlinePassed));
/// ```
pub struct Condition(Mutex<State>);

struct State {
    waiting: Line<Option<Waiter>>,
    told: BTreeMap<Place, Told>,
}

#[derive(PartialEq, Eq)]
enum Told {
    Alone,
    WithAll,
}

impl State {
    fn tell(&mut self, told: Told) -> Option<Option<Waiter>> {
        let (place, waiter) = self.waiting.serve()?;
        self.told.insert(place, told);
        Some(waiter)
    }
}

impl Condition {
    /// A condition for which nobody waits.
    pub fn new() -> Self {
        Self(Mutex::new(State { waiting: Line::new(), told: BTreeMap::new() }))
    }

    /// Wakes the one who has waited longest. If that one's context ends before it gets to run, the next is woken instead.
    /// If nobody waits, nothing happens: a notification is not kept.
    pub fn notify_one(&self) {
        let told = self.0.lock().tell(Told::Alone);
        if let Some(waiter) = told.flatten() {
            waiter.wake();
        }
    }

    /// Wakes everybody who waits now.
    pub fn notify_all(&self) {
        let mut state = self.0.lock();
        let mut woken = Vec::with_capacity(state.waiting.len());
        while let Some(waiter) = state.tell(Told::WithAll) {
            woken.extend(waiter);
        }
        drop(state);
        woken.into_iter().for_each(Waiter::wake);
    }

    /// Takes a place in the line.
    pub(super) fn join(&self) -> ConditionWait<'_> {
        ConditionWait { condition: self, place: Some(self.0.lock().waiting.join(None)) }
    }

    /// How many wait, and how many were told and have not run yet.
    #[cfg(test)]
    pub(super) fn places(&self) -> (usize, usize) {
        let state = self.0.lock();
        (state.waiting.len(), state.told.len())
    }
}

impl Default for Condition {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waiting = self.0.lock().waiting.len();
        f.debug_struct("Condition").field("waiting", &waiting).finish()
    }
}

/// A place in the line. Dropping it is giving up.
pub(super) struct ConditionWait<'a> {
    condition: &'a Condition,
    place: Option<Place>,
}

impl<'a> Wait for ConditionWait<'a> {
    type Output = Notification<'a>;

    fn poll_wait(&mut self, w: &Waiter) -> Poll<Notification<'a>> {
        let Some(place) = self.place else { return Poll::Pending };
        let mine = Some(w.clone()); // cloning and dropping a waker is the executor's code: not under our lock
        let mut state = self.condition.0.lock();
        let told = state.told.remove(&place);
        let spare = match state.waiting.get_mut(place) {
            Some(there) => std::mem::replace(there, mine),
            None => mine,
        };
        drop(state);
        drop(spare);
        let Some(told) = told else { return Poll::Pending };
        self.place = None;
        Poll::Ready(Notification((told == Told::Alone).then_some(self.condition)))
    }

    fn give_up(&mut self) {
        let Some(place) = self.place.take() else { return };
        let mut state = self.condition.0.lock();
        let left = state.waiting.leave(place);
        let told = state.told.remove(&place);
        drop(state);
        drop(left);
        if told == Some(Told::Alone) && !broken("condition: who gives up keeps its notification") {
            self.condition.notify_one();
        }
    }
}

impl Drop for ConditionWait<'_> {
    fn drop(&mut self) {
        self.give_up();
    }
}

/// What one who was told has. Dropped unused, it is passed on if it was for one alone.
#[derive(Debug)]
pub(super) struct Notification<'a>(Option<&'a Condition>);

impl Notification<'_> {
    pub(super) fn used(mut self) {
        self.0 = None;
    }
}

impl Drop for Notification<'_> {
    fn drop(&mut self) {
        if let Some(condition) = self.0 {
            condition.notify_one();
        }
    }
}

impl Context {
    /// Lets `guard` go, waits until `condition` is notified, and locks again by `relock`: its guard. In a loop, as with any
    /// condition variable: [`wait_while`](Self::wait_while).
    ///
    /// The place in the line is taken before `guard` is dropped, so whoever changes what the lock guards afterwards, and
    /// notifies, is heard. One who was notified is not interrupted any more, and one whose context ends as it is
    /// notified passes the notification on.
    ///
    /// # Blocking
    ///
    /// Blocks this thread until a notification or the end of the context, and then for as long as `relock` does: that is
    /// the lock's own affair and no context ends it.
    ///
    /// # Errors
    ///
    /// Why the context ended. The lock is then not taken again.
    ///
    /// # Panics
    ///
    /// Only if dropping `guard`, or `relock`, does. If `relock` panics, on a poisoned lock say, the notification is not
    /// lost: the next who waits is woken instead.
    pub fn wait<G>(&self, condition: &Condition, guard: G, relock: impl FnOnce() -> G) -> Result<G, Interrupted> {
        let place = if broken("condition: the lock goes before the place is taken") {
            drop(guard);
            condition.join()
        } else {
            let place = condition.join();
            drop(guard);
            place
        };
        let told = block_on(place, self)?;
        let guard = relock();
        told.used();
        Ok(guard)
    }

    /// [`wait`](Self::wait)s for as long as `busy` says so of what the lock guards: the guard with which it said no. It is
    /// asked before the end of the context is looked at.
    ///
    /// # Blocking
    ///
    /// As [`wait`](Self::wait), over and over.
    ///
    /// # Errors
    ///
    /// Why the context ended. The lock is then not held.
    ///
    /// # Panics
    ///
    /// As [`wait`](Self::wait), and if `busy` does: one who was woken and panics there has used its notification.
    ///
    /// # Examples
    ///
    /// See [`Condition`].
    pub fn wait_while<G>(
        &self,
        condition: &Condition,
        mut guard: G,
        mut relock: impl FnMut() -> G,
        mut busy: impl FnMut(&mut G) -> bool,
    ) -> Result<G, Interrupted> {
        while busy(&mut guard) {
            guard = self.wait(condition, guard, &mut relock)?;
        }
        Ok(guard)
    }
}
