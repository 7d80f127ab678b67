//! [`RetryCap`]: how many retries one request may cause, in all the layers below it.
//!
//! **Invariants.** 1. No more are taken than there were, in any interleaving. 2. The word is changed by read-modify-write
//! only. **Locking.** None.

use crate::sync::atomic::{AtomicU32, Ordering};
use crate::sync::{Arc, broken};
use std::fmt;

/// How many retries a request may cause, in all layers together: put into its context, it travels with it.
///
/// Three layers of three attempts each are 27 attempts for one request; with a cap of 2 they are three at most. Whoever makes
/// [`Attempts`](super::Attempts) within the context takes its retries from here, before it asks its budget, and so does a
/// [compartment](crate::Bulkhead) that is called with it. It does not go
/// over the wire: the server's side makes its own.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use watertight::retry::{GaveUp, RetryCap};
/// use watertight::{Context, Retry};
///
/// let request = Context::current().with_value(RetryCap::new(2));
/// let retry = Retry::constant(Duration::ZERO).attempts(3);
/// let mut outer = retry.attempts_within(&request);
/// assert_eq!(outer.pause(), Ok(2));
/// let mut inner = retry.attempts_within(&request); // two layers further down
/// assert_eq!(inner.pause(), Ok(2));
/// assert_eq!(inner.pause(), Err(GaveUp::Cap));
/// ```
#[derive(Clone)]
pub struct RetryCap(Arc<AtomicU32>);

impl RetryCap {
    /// So many retries for everything that is done within the context it is put into.
    pub fn new(retries: u32) -> Self {
        Self(Arc::new(AtomicU32::new(retries)))
    }

    /// How many are left.
    pub fn left(&self) -> u32 {
        self.0.load(Ordering::Acquire)
    }

    pub(super) fn take(&self) -> bool {
        if broken("retry: who takes from the cap looks first and takes later") {
            let some = self.left() > 0;
            if some {
                self.0.fetch_sub(1, Ordering::AcqRel);
            }
            return some;
        }
        self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| left.checked_sub(1)).is_ok()
    }

    /// Of a retry that was never made.
    pub(super) fn give_back(&self) {
        self.0.fetch_add(1, Ordering::AcqRel);
    }
}

impl fmt::Debug for RetryCap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RetryCap").field(&self.left()).finish()
    }
}
