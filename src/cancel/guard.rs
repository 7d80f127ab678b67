//! What undoes or does something when it is dropped: [`Registration`] of a callback, [`DropGuard`] of a scope.

use super::CancelToken;
use super::places::Place;
use crate::error::{CancelCause, Interrupted};
use crate::sync::quietly;

/// A callback that waits for a token's cancellation. Made by [`CancelToken::on_cancel`]; dropping it undoes it.
#[derive(Debug)]
#[must_use = "dropping it takes the callback back at once: hold it, or `keep` it"]
pub struct Registration {
    token: CancelToken,
    place: Option<Place>,
}

impl Registration {
    pub(super) fn new(token: &CancelToken, f: impl FnOnce(Interrupted) + Send + 'static) -> Self {
        let Some(node) = token.node() else { return Self { token: CancelToken::never(), place: None } };
        match node.call(Box::new(f)) {
            Ok(place) => Self { token: token.clone(), place: Some(place) },
            Err((callback, why)) => {
                quietly(move || callback(why));
                Self { token: CancelToken::never(), place: None }
            }
        }
    }

    /// Lets the callback stay for as long as the token, or a descendant of it that is not cancelled, lives. If that ends
    /// without a cancellation, the callback is dropped unrun.
    pub fn keep(mut self) {
        self.place = None;
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        if let (Some(node), Some(place)) = (self.token.node(), self.place.take()) {
            node.withdraw(place);
        }
    }
}

/// Cancels a token when it is dropped. Made by [`CancelToken::drop_guard`].
#[derive(Debug)]
#[must_use = "the token is cancelled at once when the guard is dropped"]
pub struct DropGuard(CancelToken);

impl DropGuard {
    pub(super) fn new(token: &CancelToken) -> Self {
        Self(token.clone())
    }

    /// Leaves the token alone after all, and gives it back.
    pub fn disarm(mut self) -> CancelToken {
        std::mem::replace(&mut self.0, CancelToken::never())
    }
}

impl Drop for DropGuard {
    fn drop(&mut self) {
        self.0.cancel_because(CancelCause::Dropped);
    }
}
