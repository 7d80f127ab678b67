//! [`Own`]: a trip rule of the user's own. It is asked outside the breaker's lock.

use crate::event::Counts;
use crate::sync::{Shared, quietly};
use std::fmt;

/// A user's rule, shared by the description of a breaker and the breaker.
#[derive(Clone)]
pub(crate) struct Own(Shared<dyn Fn(&Counts) -> bool + Send + Sync>);

impl Own {
    pub(crate) fn new(rule: impl Fn(&Counts) -> bool + Send + Sync + 'static) -> Self {
        Self(Shared::new(rule))
    }

    /// Asks it. One that panics has not said yes.
    pub(crate) fn says_open(&self, counts: &Counts) -> bool {
        let mut open = false;
        quietly(|| open = (self.0)(counts));
        open
    }
}

/// The same rule, not one that says the same.
impl PartialEq for Own {
    fn eq(&self, other: &Self) -> bool {
        Shared::ptr_eq(&self.0, &other.0)
    }
}

impl fmt::Debug for Own {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Own(..)")
    }
}
