//! A cause as a small number that fits a word, with its text if it is one of the user's.

use crate::error::{CancelCause, Interrupted};

/// The number of a cause that has a text. A text does not fit the word: it is kept behind the lock.
pub(super) const TEXT: u8 = 6;

pub(super) fn encode(why: Interrupted) -> (u8, &'static str) {
    match why {
        Interrupted::Cancelled(CancelCause::Requested) => (1, ""),
        Interrupted::Cancelled(CancelCause::Shutdown) => (2, ""),
        Interrupted::Cancelled(CancelCause::Dropped) => (3, ""),
        Interrupted::DeadlinePassed => (4, ""),
        Interrupted::Cancelled(CancelCause::Displaced) => (5, ""),
        Interrupted::Cancelled(CancelCause::Because(text)) => (TEXT, text),
    }
}

pub(super) fn decode(code: u8, text: &'static str) -> Interrupted {
    match code {
        1 => Interrupted::Cancelled(CancelCause::Requested),
        2 => Interrupted::Cancelled(CancelCause::Shutdown),
        3 => Interrupted::Cancelled(CancelCause::Dropped),
        4 => Interrupted::DeadlinePassed,
        5 => Interrupted::Cancelled(CancelCause::Displaced),
        _ => Interrupted::Cancelled(CancelCause::Because(text)),
    }
}
