//! What is done when a context ends: by the deadline or by its token, whichever is first.
//!
//! **States** of a callback: waiting → run, or taken back. **Invariants.** 1. Whoever takes the callback out of its cell
//! runs it or drops it; so it is run once, and not begun once it has been taken back. 2. The token's list holds the cell
//! and the alarm holds the context, never the reverse: no cycle keeps a context alive. **Locking.** The cell's lock is
//! held to take the callback out; it runs under none.

use super::Context;
use crate::cancel::Registration;
use crate::clock::Alarm;
use crate::error::Interrupted;
use crate::sync::{Mutex, Shared, Waiter, broken, drop_quietly, quietly};
use std::fmt;
use std::io;
use std::task::{Wake, Waker};

type Callback = Box<dyn FnOnce(Interrupted) + Send>;

struct Cell(Mutex<Option<Callback>>);

impl Cell {
    fn run(&self, why: Interrupted) {
        let callback = self.0.lock().take();
        if let Some(callback) = callback {
            quietly(move || callback(why));
        }
    }
}

/// Rings at the deadline.
struct Bell {
    cx: Context,
    cell: Shared<Cell>,
}

impl Wake for Bell {
    fn wake(self: Shared<Self>) {
        // Fires the token, if it is this deadline's: the callback is among those it runs, and hears the first cause.
        if let Err(why) = self.cx.check() {
            self.cell.run(why); // else the deadline is one that somebody may have extended: it ends this context alone
        }
    }
}

impl Context {
    /// Runs `f` with the reason when this context ends: when its token is cancelled, on the thread that cancels it; when its
    /// deadline passes, on the clock's thread, or on the one that notices first; here and now if it has ended already. It
    /// runs at most once, under no lock; a panic in it goes nowhere. Keep it short: other alarms wait for it.
    ///
    /// Dropping the guard undoes it: once that drop has returned, `f` does not begin. It does not wait for an `f` that has
    /// begun.
    ///
    /// # Errors
    ///
    /// If there is a deadline and the system refuses the thread that keeps the time (`watertight-time`, one for the
    /// process): `f` is dropped, nothing was registered.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::sync::mpsc::channel;
    /// use std::time::Duration;
    /// use watertight::{Context, Interrupted, ManualClock};
    ///
    /// let time = ManualClock::new();
    /// let cx = Context::background().with_clock(&time.clock()).with_timeout(Duration::from_secs(1));
    /// let (told, hears) = channel();
    /// let guard = cx.on_end(move |why| told.send(why).unwrap())?;
    /// time.advance(Duration::from_secs(1));
    /// assert_eq!(hears.recv(), Ok(Interrupted::DeadlinePassed));
    /// drop(guard);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn on_end(&self, f: impl FnOnce(Interrupted) + Send + 'static) -> io::Result<OnEnd> {
        let cell = Shared::new(Cell(Mutex::new(Some(Box::new(f)))));
        if let Err(why) = self.check() {
            cell.run(why);
            return Ok(OnEnd { registration: None, alarm: None, cell });
        }
        let hears = cell.clone();
        let registration = self.token().on_cancel(move |why| hears.run(why));
        let mut guard = OnEnd { registration: Some(registration), alarm: None, cell };
        if let Some(at) = self.deadline().instant() {
            let bell = Waker::from(Shared::new(Bell { cx: self.clone(), cell: guard.cell.clone() }));
            guard.alarm = self.clock().wake_at(at, Waiter::task(&bell));
            if guard.alarm.is_none() {
                match self.check() {
                    Ok(()) => return Err(io::Error::other("the system refuses the thread that keeps the time")),
                    Err(why) => guard.cell.run(why),
                }
            }
        }
        Ok(guard)
    }
}

/// A callback that waits for the end of a context. Made by [`Context::on_end`]; dropping it takes the callback back.
#[must_use = "dropping it takes the callback back at once"]
pub struct OnEnd {
    registration: Option<Registration>,
    alarm: Option<Alarm>,
    cell: Shared<Cell>,
}

impl fmt::Debug for OnEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OnEnd").field("waiting", &self.cell.0.lock().is_some()).finish()
    }
}

impl Drop for OnEnd {
    fn drop(&mut self) {
        let callback = if broken("context: a callback is not taken back") { None } else { self.cell.0.lock().take() };
        drop(self.registration.take());
        self.alarm = None;
        if let Some(callback) = callback {
            drop_quietly(callback);
        }
    }
}
