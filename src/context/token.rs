//! The token of a context: inherited, or, for a context made with a deadline and for a job's, a child of what it
//! inherited.
//!
//! **States** of a token of one's own: not asked for → made, a child of the inherited one; or → passed, if the deadline
//! is noticed before anybody asks. **Invariants.** 1. What a context with a ceiling fires belongs to contexts of that
//! ceiling or a sooner one, by the same clock: whoever asks for a deadline, or changes the clock below one, has a token of
//! its own. So nobody is told of a deadline that is not theirs. 2. Everything made from a context stands below its
//! token: making it asks for the token first. 3. A deadline is fired at the ceiling only: before it, somebody may have
//! extended it. **Locking.** None: the cell is set once, and who comes second takes what is there.

use super::Context;
use crate::cancel::{CancelToken, TokenWait};
use crate::error::Interrupted;
use crate::sync::{OnceLock, Waiter, broken};
use crate::wait::Wait;
use std::task::Poll;

/// Made when somebody asks for it: most deadlines pass unseen, and a child costs an allocation and its parent's lock.
#[derive(Debug)]
pub(super) enum Token {
    Inherited(CancelToken),
    Own { above: CancelToken, own: OnceLock<CancelToken> },
}

/// Who has asked for it has it still, or its memory is used again.
impl Drop for Token {
    fn drop(&mut self) {
        if let Self::Own { own, .. } = self {
            if let Some(token) = own.take() {
                token.recycle();
            }
        }
    }
}

impl Token {
    pub(super) fn inherited(token: CancelToken) -> Self {
        Self::Inherited(token)
    }

    pub(super) fn own(above: CancelToken) -> Self {
        Self::Own { above, own: OnceLock::new() }
    }

    pub(super) fn get(&self) -> &CancelToken {
        match self {
            Self::Inherited(token) => token,
            Self::Own { above, own } => match own.get() {
                Some(token) => token,
                // Not `get_or_init`: making a child takes a lock, which is not waited for while others wait for the cell.
                None => {
                    let lost = own.set(above.child());
                    drop(lost);
                    own.get().unwrap_or(above)
                }
            },
        }
    }

    /// The token, of who is about to have another instead.
    pub(super) fn take(&mut self) -> CancelToken {
        match self {
            Self::Inherited(token) => std::mem::replace(token, CancelToken::never()),
            Self::Own { .. } => self.get().clone(),
        }
    }

    /// Whether somebody has asked for a token of one's own.
    #[inline]
    pub(super) fn was_asked_for(&self) -> bool {
        matches!(self, Self::Own { own, .. } if own.get().is_some())
    }

    pub(super) fn check(&self) -> Result<(), Interrupted> {
        match self {
            Self::Inherited(token) => token.check(),
            Self::Own { above, own } => own.get().unwrap_or(above).check(),
        }
    }

    /// The deadline has passed: everybody below is told, and whoever asks for the token from now on.
    pub(super) fn deadline_passed(&self) {
        let token = match self {
            Self::Inherited(token) => token,
            Self::Own { own, .. } => match own.get() {
                Some(token) => token,
                None => match own.set(CancelToken::past()) {
                    Ok(()) => return,
                    Err(_) if broken("context: a token asked for while its deadline fires is left out") => return,
                    Err(_) => match own.get() {
                        Some(token) => token,
                        None => return,
                    },
                },
            },
        };
        token.deadline_passed();
    }
}

/// The wait for a context's token, which is only asked for if there is something to wait for.
#[derive(Debug)]
pub(crate) struct ContextWait {
    cx: Context,
    token: Option<TokenWait>,
}

impl ContextWait {
    pub(super) fn new(cx: &Context) -> Self {
        Self { cx: cx.clone(), token: None }
    }
}

impl Wait for ContextWait {
    type Output = Interrupted;

    fn poll_wait(&mut self, w: &Waiter) -> Poll<Interrupted> {
        let Self { cx, token } = self;
        token.get_or_insert_with(|| cx.token().waiting()).poll_wait(w)
    }

    fn give_up(&mut self) {
        if let Some(token) = &mut self.token {
            token.give_up();
        }
    }

    fn expired(&mut self) {
        self.cx.expired();
    }
}
