//! What an [`Idempotent`] knows of its call beside the work: its key, and what is known of it already.
//!
//! **Invariants.** 1. What is known is asked for on the caller's own thread or task, holding nothing: before the first
//! attempt, and before each retry, after its pause. 2. What is known needs no attempt: none is counted, the breaker hears nothing, and what
//! was paid for a retry goes back. **Locking.** None.

use super::state::Figure;
use super::{Idempotent, Inner};
use crate::context::Context;
use crate::retry::IdempotencyKey;
use crate::sync::Shared;

/// What the user's own memory says of a key.
type Memory<T> = dyn Fn(&IdempotencyKey) -> Option<T> + Send + Sync;

/// The key of a call and who remembers it; each may be missing.
pub(super) struct Keyed<T> {
    key: Option<IdempotencyKey>,
    memory: Option<Shared<Memory<T>>>,
}

impl<T> Keyed<T> {
    pub(super) const fn not() -> Self {
        Self { key: None, memory: None }
    }

    /// What is known of this call.
    pub(super) fn known(&self) -> Option<T> {
        let memory = self.memory.as_ref()?;
        memory(self.key.as_ref()?)
    }

    /// The same before the first attempt: then it is a call that has ended well.
    pub(super) fn known_at_once(&self, inner: &Inner) -> Option<T> {
        let known = self.known()?;
        inner.figures.add(Figure::Requests);
        inner.figures.add(Figure::Succeeded);
        inner.figures.add(Figure::Deduplicated);
        Some(known)
    }

    /// The context that carries the key.
    pub(super) fn within(&self, cx: &Context) -> Context {
        match &self.key {
            Some(key) => cx.with_value(key.clone()),
            None => cx.clone(),
        }
    }
}

impl<T> Clone for Keyed<T> {
    fn clone(&self) -> Self {
        Self { key: self.key.clone(), memory: self.memory.clone() }
    }
}

impl<T, E> Idempotent<T, E> {
    /// The same for the calls of one intended effect: every attempt finds the key in its context, with
    /// [`IdempotencyKey::of`], and hands it to the dependency, which does the thing once however often it is asked. That is what makes a
    /// payment a call that may run again.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::collections::HashMap;
    /// use std::sync::Mutex;
    /// use std::time::Duration;
    /// use watertight::retry::IdempotencyKey;
    /// use watertight::{Bulkhead, Context, Isolation, Retry};
    ///
    /// let payments = Bulkhead::builder("payments", Isolation::Permits(4))
    ///     .retry(Retry::constant(Duration::ZERO).attempts(3))
    ///     .timeout(Duration::from_secs(2))
    ///     .build()?;
    /// let booked: Mutex<HashMap<String, u32>> = Mutex::default(); // at the other end
    /// let mut lost = 1; // answers that do not arrive
    /// let receipt = payments.idempotent().with_key("order-7").call_here(&Context::current(), |cx| {
    ///     let key = IdempotencyKey::of(cx).expect("every attempt has it").to_string();
    ///     let receipt = *booked.lock().unwrap().entry(key).or_insert(42);
    ///     if lost > 0 { lost -= 1; Err("no answer") } else { Ok(receipt) }
    /// });
    /// assert_eq!(receipt.unwrap(), 42);
    /// assert_eq!((payments.state().attempts, booked.lock().unwrap().len()), (2, 1));
    /// # Ok::<(), watertight::BuildError>(())
    /// ```
    pub fn with_key(mut self, key: impl Into<IdempotencyKey>) -> Self {
        self.judge.keyed.key = Some(key.into());
        self
    }

    /// Asks `memory` whether the effect of the call's [key](Self::with_key) has been had already: before the first attempt, and
    /// before each retry, after its pause, because what answered too late may have answered by then. What it gives is the call's value; then
    /// nothing is sent, no place is taken, and the breaker hears nothing. Without a key it is not asked.
    ///
    /// It is asked on the caller's thread, or where the future is polled, so it must not block there for long; whoever has
    /// to ask another system does that in a compartment of that system's. A panic of it is the caller's.
    /// [`BulkheadState::deduplicated`](super::BulkheadState::deduplicated) counts.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::collections::HashMap;
    /// use std::sync::{Arc, Mutex};
    /// use watertight::retry::IdempotencyKey;
    /// use watertight::{Bulkhead, Context, Isolation};
    ///
    /// let payments = Bulkhead::builder("payments", Isolation::Permits(4)).no_timeout().build()?;
    /// let done: Arc<Mutex<HashMap<IdempotencyKey, u32>>> = Arc::default();
    /// let seen = done.clone();
    /// let pay = payments.idempotent().unless_known(move |key| seen.lock().unwrap().get(key).copied());
    /// for _ in 0..2 {
    ///     let receipt = pay.clone().with_key("order-7").call_here(&Context::current(), |cx| {
    ///         let key = IdempotencyKey::of(cx).expect("every attempt has it");
    ///         done.lock().unwrap().insert(key.clone(), 42); // the work remembers what it has done
    ///         Ok::<_, std::io::Error>(42)
    ///     });
    ///     assert_eq!(receipt.unwrap(), 42);
    /// }
    /// assert_eq!((payments.state().attempts, payments.state().deduplicated), (1, 1));
    /// # Ok::<(), watertight::BuildError>(())
    /// ```
    pub fn unless_known(mut self, memory: impl Fn(&IdempotencyKey) -> Option<T> + Send + Sync + 'static) -> Self {
        self.judge.keyed.memory = Some(Shared::new(memory));
        self
    }
}
