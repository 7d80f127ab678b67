//! [`IdempotencyKey`]: by what a dependency knows that a call is the same call again.
//!
//! **Locking.** None.

use crate::context::Context;
use crate::sync::Shared;
use std::fmt;

/// The name of one intended effect: an order, a transfer, a message. Whoever receives the same key twice does the thing once.
///
/// With a key even a call that changes something may be tried again: what does not know whether its first attempt arrived
/// sends the same key along, and the dependency tells the two apart from two orders. The key must be the same for all
/// attempts, and so it is made *before* the first one, from what is to be done (the order's number) or at random, and kept
/// with the request. It travels as a value of the context, to [every attempt](crate::bulkhead::Idempotent::with_key) and
/// to the layers below; a [`child`](Self::child) is for those who cause several effects.
///
/// # Examples
///
/// ```
/// use watertight::Context;
/// use watertight::retry::IdempotencyKey;
///
/// let cx = Context::current().with_value(IdempotencyKey::new("order-4711"));
/// let header = IdempotencyKey::of(&cx).map(|key| ("idempotency-key", key.as_str().to_owned()));
/// assert_eq!(header.unwrap().1, "order-4711");
///
/// let key = IdempotencyKey::new("order-4711");
/// assert_eq!(key.child("shipping").as_str(), "order-4711/shipping");
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct IdempotencyKey(Shared<str>);

impl IdempotencyKey {
    /// This text. It should not be empty: all who have no name for what they do would then do the same thing.
    pub fn new(key: impl AsRef<str>) -> Self {
        Self(Shared::from(key.as_ref()))
    }

    /// The key that a context carries, its own or that of a layer above.
    pub fn of(cx: &Context) -> Option<&Self> {
        cx.value()
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The key of one of several effects that belong together: the same part of the same whole has the same key. A `/`
    /// in the part is written `%2F`, and a `%` `%25`: so no other part has it, as long as keys made by hand have no `/`.
    pub fn child(&self, part: impl fmt::Display) -> Self {
        Self::new(format!("{self}/{}", part.to_string().replace('%', "%25").replace('/', "%2F")))
    }
}

impl From<&str> for IdempotencyKey {
    fn from(key: &str) -> Self {
        Self::new(key)
    }
}

impl From<String> for IdempotencyKey {
    fn from(key: String) -> Self {
        Self::new(key)
    }
}

impl AsRef<str> for IdempotencyKey {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl fmt::Display for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("IdempotencyKey").field(&self.as_str()).finish()
    }
}
