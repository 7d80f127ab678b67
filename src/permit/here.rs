//! [`PermitRef`]: a permit that stays where its limit is.
//!
//! **Invariants.** Those of the word and of the turns; it is a [`Permit`] that does not count its limit. **Locking.** None of its
//! own.

use super::word::Seen;
use super::{Limit, Permit};
use crate::context::Context;
use crate::error::RejectReason;
use crate::sync::Arc;
use std::fmt;

impl Limit {
    /// [`try_acquire`](Self::try_acquire) for a permit that stays where the limit is: half as many locked instructions.
    ///
    /// # Errors
    ///
    /// As there.
    #[inline]
    pub fn try_acquire_ref(&self) -> Result<PermitRef<'_>, RejectReason> {
        match self.0.try_fast(1) {
            Ok(()) => Ok(PermitRef { limit: self, part: 0 }),
            Err(seen) if self.0.is_full(1, seen) => Err(self.0.no_room(0, seen)),
            Err(seen) => self.try_acquire_ref_slowly(seen),
        }
    }

    pub(crate) fn try_acquire_ref_in(&self, part: usize) -> Result<PermitRef<'_>, RejectReason> {
        self.0.try_take(part, 1)?;
        Ok(PermitRef { limit: self, part })
    }

    #[cold]
    fn try_acquire_ref_slowly(&self, seen: Seen) -> Result<PermitRef<'_>, RejectReason> {
        self.0.try_take_slowly(0, 1, seen)?;
        Ok(PermitRef { limit: self, part: 0 })
    }

    /// [`acquire`](Self::acquire) for a permit that stays where the limit is.
    ///
    /// # Blocking
    ///
    /// As there.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn acquire_ref(&self, cx: &Context) -> Result<PermitRef<'_>, RejectReason> {
        self.acquire_ref_in(0, cx)
    }

    #[inline]
    pub(crate) fn acquire_ref_in(&self, part: usize, cx: &Context) -> Result<PermitRef<'_>, RejectReason> {
        cx.check()?;
        if self.0.try_fast(1).is_err() {
            self.wait(part, 1, cx)?;
        }
        Ok(PermitRef { limit: self, part })
    }

    /// A permit of this limit's own that was waited for, as one that stays here.
    pub(crate) fn stays(&self, mut permit: Permit) -> PermitRef<'_> {
        debug_assert!(permit.weight == 1 && Arc::ptr_eq(&permit.limit.0, &self.0));
        permit.weight = 0; // a permit of none gives nothing back when it is dropped
        PermitRef { limit: self, part: permit.part as usize }
    }
}

/// A permit that borrows its [`Limit`]: for work on the spot, cheaper than a [`Permit`], which can go elsewhere. Dropping it
/// gives it back.
#[must_use = "a permit that is dropped at once limits nothing"]
pub struct PermitRef<'a> {
    limit: &'a Limit,
    part: usize,
}

impl Drop for PermitRef<'_> {
    #[inline]
    fn drop(&mut self) {
        self.limit.0.give_back(self.part, 1);
    }
}

impl fmt::Debug for PermitRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PermitRef")
    }
}
