//! What else travels with a context: one value per type.
//!
//! **Invariants.** 1. A map is never changed, only copied: contexts share it. 2. One value per type, so that work which sets
//! a value and submits its successor keeps nothing of the past. **Locking.** None.

use super::Context;
use crate::sync::{Shared, drop_quietly};
use std::any::{Any, TypeId};

/// Few enough to be looked through one by one.
#[derive(Clone, Default)]
pub(super) struct Values(Option<Shared<[Kept]>>);

#[derive(Clone)]
struct Kept {
    of: TypeId,
    value: Option<Shared<dyn Any + Send + Sync>>,
}

/// The last context of a value may go while its thread unwinds, and what the drop does is the user's.
impl Drop for Kept {
    fn drop(&mut self) {
        if let Some(value) = self.value.take() {
            drop_quietly(value);
        }
    }
}

impl Values {
    fn with<T: Any + Send + Sync>(&self, value: T) -> Self {
        let of = TypeId::of::<T>();
        let others = self.0.iter().flat_map(|kept| kept.iter()).filter(|kept| kept.of != of).cloned();
        Self(Some(others.chain([Kept { of, value: Some(Shared::new(value)) }]).collect()))
    }

    fn get<T: Any>(&self) -> Option<&T> {
        let kept = self.0.as_ref()?.iter().find(|kept| kept.of == TypeId::of::<T>())?;
        kept.value.as_ref()?.downcast_ref()
    }
}

impl Context {
    /// The same carrying `value`, which [`value`](Self::value) finds by its type: a tenant, a priority, a trace. One of each
    /// type; a second replaces the first. Give it a type of its own rather than `String`.
    ///
    /// It is carried wherever the context goes: into jobs, compartments, shields and detached work, not over the wire. It is
    /// dropped with the last of those contexts, and a job keeps its own until its handle is dropped.
    ///
    /// # Performance
    ///
    /// Copies the list of values, which should be short. Cloning a context copies no value.
    ///
    /// # Examples
    ///
    /// ```
    /// use watertight::{Context, Pool};
    ///
    /// #[derive(Debug, PartialEq)]
    /// struct Tenant(u32);
    ///
    /// let pool = Pool::builder("work").threads(1).build()?;
    /// let cx = Context::current().with_value(Tenant(7));
    /// let seen = cx.in_scope(|| {
    ///     pool.submit(|| Context::current().value::<Tenant>().map(|tenant| tenant.0))
    /// })?;
    /// assert_eq!(seen.join()?, Some(7));
    /// assert_eq!(Context::current().value::<Tenant>(), None);
    /// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
    /// ```
    #[must_use]
    pub fn with_value<T: Any + Send + Sync>(&self, value: T) -> Self {
        self.with(|inner| inner.values = inner.values.with(value))
    }

    /// The value of this type, if the context carries one.
    pub fn value<T: Any>(&self) -> Option<&T> {
        self.0.as_ref()?.values.get()
    }
}
