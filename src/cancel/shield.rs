//! A shield: a token that hears of a cancellation only once the shield is lifted.
//!
//! **States** of the gate between the two: shut → deferred, by a cancellation → open, by the lift; or shut → open. Whoever
//! opens it passes on what was deferred; what comes later passes by itself. **Invariants.** 1. Nothing passes a gate that
//! is not open. 2. What has arrived passes, once. 3. The shielded token keeps the registration above it, and the gate does
//! not hold the token: it goes when its last holder goes. **Locking.** The gate's lock; nobody is cancelled under it.

use super::node::Node;
use super::{CancelToken, Held};
use crate::error::Interrupted;
use crate::sync::{Arc, Mutex, broken};

struct Gate {
    state: Mutex<State>,
    /// The shielded token's node, without a hold on it (invariant 3).
    below: Arc<Node>,
}

#[derive(Clone, Copy)]
enum State {
    Shut,
    Deferred(Interrupted),
    Open,
}

impl Gate {
    fn arrives(&self, why: Interrupted) {
        let mut state = self.state.lock();
        match *state {
            State::Shut if !broken("shield: the gate is never shut") => *state = State::Deferred(why),
            State::Deferred(_) => {}
            State::Shut | State::Open => {
                drop(state);
                Node::cancel(&self.below, why);
            }
        }
    }

    fn open(&self) {
        let mut state = self.state.lock();
        if broken("shield: lifting looks first and opens later") {
            let seen = *state;
            drop(state);
            *self.state.lock() = State::Open;
            if let State::Deferred(why) = seen {
                Node::cancel(&self.below, why);
            }
            return;
        }
        let before = std::mem::replace(&mut *state, State::Open);
        drop(state);
        if let State::Deferred(why) = before {
            Node::cancel(&self.below, why);
        }
    }
}

/// Lifts the shield when dropped.
pub(crate) struct Shield(Option<Arc<Gate>>);

impl Drop for Shield {
    fn drop(&mut self) {
        if let Some(gate) = self.0.take() {
            gate.open();
        }
    }
}

impl CancelToken {
    /// A token that is cancelled with this one, but not before the shield is lifted.
    pub(crate) fn shielded(&self) -> (Self, Shield) {
        if self.is_never() {
            return (Self::new(), Shield(None));
        }
        let below = Node::new();
        let gate = Arc::new(Gate { state: Mutex::new(State::Shut), below: below.clone() });
        let token = Self(Some(Held(below)));
        let hears = gate.clone();
        let above = self.on_cancel(move |why| hears.arrives(why));
        token.on_cancel(move |_| drop(above)).keep();
        (token, Shield(Some(gate)))
    }
}

#[cfg(all(test, watertight_loom))]
mod loom_tests {
    use super::CancelToken;
    use crate::error::{CancelCause, Interrupted};
    use crate::sync::model::{model, spawn, twin};

    fn a_shield_ends_while_cancel_arrives() {
        let above = CancelToken::new();
        let (below, shield) = above.shielded();
        let (other, inside) = (above.clone(), below.clone());
        let canceller = spawn(move || other.cancel());
        let section = spawn(move || {
            let seen = inside.is_cancelled();
            drop(shield);
            seen
        });
        assert!(!section.join().unwrap(), "not seen inside");
        canceller.join().unwrap();
        assert_eq!(below.cause(), Some(Interrupted::Cancelled(CancelCause::Requested)), "and not lost");
        drop(below);
        assert_eq!(above.registrations(), 0);
    }

    #[test]
    fn loom_a_cancel_during_a_shield_is_not_seen_inside_and_not_lost() {
        model("a cancel during a shield is not seen inside and not lost", a_shield_ends_while_cancel_arrives);
        twin("shield: lifting looks first and opens later", a_shield_ends_while_cancel_arrives);
        twin("shield: the gate is never shut", a_shield_ends_while_cancel_arrives);
    }

    fn the_last_holder_goes_while_the_shield_is_lifted() {
        let above = CancelToken::new();
        let (below, shield) = above.shielded();
        let holder = spawn(move || drop(below));
        drop(shield);
        holder.join().unwrap();
        assert_eq!(above.registrations(), 0);
    }

    /// loom fails on a leaked `Arc`.
    #[test]
    fn loom_a_shielded_token_leaves_nothing_behind() {
        model("a shielded token leaves nothing behind", the_last_holder_goes_while_the_shield_is_lifted);
        twin("token: a dropped registration stays on the list", the_last_holder_goes_while_the_shield_is_lifted);
    }
}
