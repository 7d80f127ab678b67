//! Values and calls of the user's that must not unwind into us: wakers, payloads, closures dropped unrun, observers.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Calls `f`; a panic in it goes nowhere.
pub(crate) fn quietly(f: impl FnOnce()) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(f)) {
        drop_payload(payload);
    }
}

/// Drops a value of the user's; a panic in its `drop` goes nowhere.
pub(crate) fn drop_quietly<T>(value: T) {
    quietly(move || drop(value));
}

/// A payload is a value of the user's too, and so is what its drop may panic with.
fn drop_payload(payload: Box<dyn Any + Send>) {
    if let Err(second) = catch_unwind(AssertUnwindSafe(move || drop(payload))) {
        // A payload whose own drop panics again is given up on: leaking it is the only end to this.
        std::mem::forget(second);
    }
}
