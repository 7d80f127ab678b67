//! The system clock's alarms: one lazily started thread for the process, which keeps the time.
//!
//! Only futures come here; a waiting thread parks until its instant by itself.
//!
//! **States.** No thread yet → running, for ever (it sleeps without a wake-up while no alarm is armed). **Invariants** and
//! **Locking**: those of `alarms.rs`, whose loop the thread runs.

use super::alarms::{Alarms, Key};
use crate::sync::{OnceLock, Waiter, thread};
use std::time::Instant;

/// The alarms and whether the thread runs.
#[derive(Debug)]
pub(super) struct Timer(Alarms<bool>);

static TIMER: OnceLock<Timer> = OnceLock::new();

impl Timer {
    pub(super) fn global() -> &'static Timer {
        TIMER.get_or_init(|| Timer(Alarms::new(false)))
    }

    /// `None` if the system refuses the thread. Nobody is stranded: the waiter has been woken, looks at the clock, and asks
    /// again. That burns CPU until a thread can be had, and loses nothing.
    pub(super) fn arm(&'static self, at: Instant, waiter: Waiter) -> Option<Key> {
        self.0.arm(at, waiter, |running| {
            *running = *running || self.start();
            *running
        })
    }

    pub(super) fn disarm(&self, key: Key) -> bool {
        self.0.disarm(key)
    }

    fn start(&'static self) -> bool {
        let keep = || self.0.keep(|_| Some(super::system_now()));
        thread::Builder::new().name("watertight-time".into()).spawn(keep).is_ok()
    }
}
