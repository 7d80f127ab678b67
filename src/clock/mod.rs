//! [`Clock`]: the one place where time is read, and where somebody asks to be woken later.
//!
//! Two kinds: the system's, and a [`ManualClock`] that stands still until a test moves it. A clock is a value that a
//! [`Context`](crate::Context) or a builder carries, so everything that waits or measures follows it.
//!
//! **Invariants.** 1. Nothing outside this room calls `Instant::now`. 2. An alarm wakes its waiter at most once, and
//! only when its instant has come; one that was disarmed before it began to ring never does (`alarms.rs`). A waiter must
//! look again after a wake-up, because others may wake it too. **Locking.** One lock per clock, held for map operations
//! only; waiters are woken after it is let go.
//!
//! Under loom only the manual kind lives: the system's clock stands still and never rings. What its thread does is
//! `Alarms::keep`, which has models of its own.

mod alarms;
#[cfg(all(test, watertight_loom, not(watertight_shuttle)))]
mod loom_tests;
mod manual;
#[cfg(all(test, not(watertight_loom)))]
mod tests;
#[cfg(not(watertight_loom))]
mod timer;

pub use manual::ManualClock;

use crate::sync::{Arc, Parker, Waiter};
use manual::Manual;
use std::fmt;
use std::time::{Duration, Instant};

/// Where time comes from: the system, or a test.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use watertight::{Clock, Context, ManualClock};
///
/// let time = ManualClock::new();
/// let cx = Context::background().with_clock(&time.clock()).with_timeout(Duration::from_secs(60));
/// assert!(cx.check().is_ok());
/// time.advance(Duration::from_secs(61)); // no test waits a minute for this
/// assert!(cx.check().is_err());
/// ```
#[derive(Clone, Default)]
pub struct Clock(Kind);

#[derive(Clone, Default)]
enum Kind {
    #[default]
    System,
    Manual(Arc<Manual>),
}

impl Clock {
    /// The system's monotonic clock. The default.
    ///
    /// It starts one thread, called `watertight-time`, the first time a *future* has to be woken by it; threads that
    /// wait need none.
    pub const fn system() -> Self {
        Self(Kind::System)
    }

    /// The time.
    #[inline]
    pub fn now(&self) -> Instant {
        match &self.0 {
            Kind::System => system_now(),
            Kind::Manual(manual) => manual.now(),
        }
    }

    /// Whether both are the same clock, so that their instants may be compared.
    pub(crate) fn is(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Kind::System, Kind::System) => true,
            (Kind::Manual(a), Kind::Manual(b)) => Arc::ptr_eq(a, b),
            _ => false,
        }
    }

    /// Wakes `waiter` at `at`; dropping the alarm calls it off. `None`: the waiter has been woken already and must look
    /// again, because the instant has passed or because the system refuses the thread that would keep the time.
    pub(crate) fn wake_at(&self, at: Instant, waiter: Waiter) -> Option<Alarm> {
        match &self.0 {
            #[cfg(not(watertight_loom))]
            Kind::System => timer::Timer::global().arm(at, waiter).map(|key| Alarm(Armed::System(key))),
            #[cfg(watertight_loom)]
            Kind::System => Some(Alarm(Armed::Nowhere(waiter))),
            Kind::Manual(manual) => manual.arm(at, waiter).map(|key| Alarm(Armed::Manual(manual.clone(), key))),
        }
    }

    /// Parks this thread until it is woken or, at the latest, `at`. May return early.
    pub(crate) fn park_until(&self, parker: &Parker, at: Option<Instant>) {
        match (at, &self.0) {
            (None, _) => parker.park(),
            (Some(at), Kind::System) => parker.park_until(at),
            (Some(at), Kind::Manual(_)) => {
                let _alarm = self.wake_at(at, Waiter::thread(parker));
                parker.park();
            }
        }
    }
}

/// When the counting of [`number`] begins.
static BEGINNING: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();

/// An instant as a number above 0, unless it was before the first that was asked for.
#[inline]
pub(crate) fn number(at: Instant) -> Option<u64> {
    let since = at.checked_duration_since(*BEGINNING.get_or_init(system_now))?;
    let nanos = since.as_secs().checked_mul(1_000_000_000)?.checked_add(u64::from(since.subsec_nanos()))?;
    nanos.checked_add(1)
}

/// The instant of that [`number`].
#[inline]
pub(crate) fn instant(number: u64) -> Instant {
    *BEGINNING.get_or_init(system_now) + Duration::from_nanos(number.saturating_sub(1))
}

#[cfg(not(watertight_loom))]
#[inline]
fn system_now() -> Instant {
    Instant::now()
}

/// The same instant throughout the process: a model must replay exactly.
#[cfg(watertight_loom)]
pub(crate) fn system_now() -> Instant {
    static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    *START.get_or_init(Instant::now)
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Kind::System => "Clock(system)",
            Kind::Manual(_) => "Clock(manual)",
        })
    }
}

/// A wake-up that was asked for. Dropping it [disarms](Self::disarm) it, and does not ask what came of that.
#[derive(Debug)]
#[must_use = "dropping an alarm calls it off"]
pub(crate) struct Alarm(Armed);

enum Armed {
    #[cfg(not(watertight_loom))]
    System(alarms::Key),
    #[cfg(watertight_loom)]
    Nowhere(#[expect(dead_code, reason = "held, never woken: the modelled system clock stands still")] Waiter),
    Manual(Arc<Manual>, alarms::Key),
    /// Disarmed already.
    Off,
}

impl Alarm {
    /// Calls it off. `true`: it has not rung and never will. `false`: it has rung, or is ringing at this moment on another
    /// thread or further up on this one; the waiter is woken this once and not again.
    ///
    /// It does not wait for the ringing to end: what rings is an executor's waker, which may be what disarms, or may want a
    /// lock that is held here.
    #[cfg_attr(not(test), expect(dead_code, reason = "so far everybody who waits looks again, whatever woke it"))]
    pub(crate) fn disarm(mut self) -> bool {
        self.0.disarm()
    }
}

impl Armed {
    fn disarm(&mut self) -> bool {
        match std::mem::replace(self, Self::Off) {
            #[cfg(not(watertight_loom))]
            Self::System(key) => timer::Timer::global().disarm(key),
            #[cfg(watertight_loom)]
            Self::Nowhere(_) => true,
            Self::Manual(manual, key) => manual.disarm(key),
            Self::Off => false,
        }
    }
}

impl fmt::Debug for Armed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("armed")
    }
}

impl Drop for Alarm {
    fn drop(&mut self) {
        self.0.disarm();
    }
}
