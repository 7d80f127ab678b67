//! [`Others`]: who is on a node's lists and is not a node. Most have one waiter or none, and that one lives in the node.
//!
//! **States.** A list → empty for good, with the cause's text if it has one: nobody joins a cancelled node, so the text
//! can have the room of the list. **Locking.** None: it lives behind its node's lock.

use super::places::{Place, Places};
use crate::error::Interrupted;
use crate::sync::{Waiter, drop_quietly};

pub(super) type Callback = Box<dyn FnOnce(Interrupted) + Send>;

pub(super) enum Other {
    Waiter(Waiter),
    Callback(Callback),
    /// What a shut node will hear.
    Deferred(Interrupted),
}

impl Other {
    /// Drops it; what that runs is the user's.
    pub(super) fn dismiss(self) {
        match self {
            Self::Waiter(waiter) => drop(waiter),
            Self::Callback(callback) => drop_quietly(callback),
            Self::Deferred(_) => {}
        }
    }
}

pub(super) enum Others {
    List(Places<Other>),
    /// Of a cancelled node.
    Text(&'static str),
}

impl Others {
    pub(super) const NONE: Self = Self::List(Places::None);

    /// What is left of them on a node cancelled for a cause with `text`, which is empty for most.
    pub(super) fn cancelled(text: &'static str) -> Self {
        if text.is_empty() { Self::NONE } else { Self::Text(text) }
    }

    pub(super) fn text(&self) -> &'static str {
        match self {
            Self::List(_) => "",
            Self::Text(text) => text,
        }
    }

    /// The list, which a node has that is not cancelled.
    pub(super) fn list(&mut self) -> Option<&mut Places<Other>> {
        match self {
            Self::List(list) => Some(list),
            Self::Text(_) => None,
        }
    }

    pub(super) fn join(&mut self, other: Other) -> Option<Place> {
        Some(self.list()?.join(other))
    }

    pub(super) fn leave(&mut self, place: Place) -> Option<Other> {
        self.list()?.leave(place)
    }

    /// What has been deferred, if it is still there.
    pub(super) fn take_deferred(&mut self) -> Option<Interrupted> {
        let list = self.list()?;
        let place = list.find(|other| matches!(other, Other::Deferred(_)))?;
        match list.leave(place)? {
            Other::Deferred(why) => Some(why),
            _ => None,
        }
    }

    /// All of them; a text stays.
    #[inline]
    pub(super) fn take(&mut self) -> Places<Other> {
        self.list().map_or(Places::None, |list| std::mem::replace(list, Places::None))
    }

    pub(super) fn len(&self) -> usize {
        match self {
            Self::List(list) => list.len(),
            Self::Text(_) => 0,
        }
    }
}
