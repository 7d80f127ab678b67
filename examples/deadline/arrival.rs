//! Where a request comes in, in either process: its deadline out of a header, and a token that knows when its caller has
//! gone.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use axum::http::{HeaderMap, StatusCode};
use watertight::cancel::{DropGuard, Registration};
use watertight::wire::Header;
use watertight::{CancelToken, Context};

use crate::said::{Hop, Request, Teller, What};

/// The door of a server.
pub(crate) struct Door {
    hop: Hop,
    /// Nobody gets more than this, whatever they ask for; and who asks for nothing gets this.
    ceiling: Duration,
    pub(crate) tell: Teller,
    pub(crate) arrived: AtomicU64,
    pub(crate) malformed: AtomicU64,
}

/// A request that is inside. A handler keeps it in its future: the server drops that when the client hangs up, and with
/// it goes the guard, which cancels the context's token.
pub(crate) struct Arrival {
    pub(crate) cx: Context,
    hop: Hop,
    tell: Teller,
    caller: DropGuard,
    // After the guard, and so dropped after it.
    _told: Registration,
}

impl Arrival {
    /// There is an answer: from now on it means nothing that the handler's future is dropped.
    pub(crate) fn answer(self, status: StatusCode, text: String) -> (StatusCode, String) {
        self.caller.disarm();
        self.tell.say(&self.cx, What::Answered { hop: self.hop, status: status.as_u16() });
        (status, text)
    }
}

impl Door {
    pub(crate) fn new(hop: Hop, ceiling: Duration, tell: Teller) -> Self {
        Self { hop, ceiling, tell, arrived: AtomicU64::new(0), malformed: AtomicU64::new(0) }
    }

    pub(crate) fn arrive(&self, headers: &HeaderMap) -> Arrival {
        self.arrived.fetch_add(1, Relaxed);
        let number = headers.get(Request::HEADER).and_then(|v| v.to_str().ok()?.parse().ok());
        let cx = Context::background().with_value(Request(number.unwrap_or(0)));

        let token = CancelToken::new();
        let cx = cx.with_token(&token).with_timeout(self.time(headers, &cx));
        self.tell.budget(&cx, self.hop);

        let (hop, tell, of) = (self.hop, self.tell.clone(), cx.clone());
        let told = token.on_cancel(move |why| tell.say(&of, What::CallerGone { hop, why: why.to_string() }));
        Arrival { cx, hop, tell: self.tell.clone(), caller: token.drop_guard(), _told: told }
    }

    /// The time that the client gives, within the ceiling. Of two headers the sooner holds; one that cannot be read says
    /// nothing, for a guess could only be wrong: it is counted, so that somebody mends the client.
    ///
    /// This is what `watertight::wire::http::extract` does in one call, with the feature `http`, which also looks for
    /// values that contradict each other.
    fn time(&self, headers: &HeaderMap, cx: &Context) -> Duration {
        let mut time = self.ceiling;
        for header in [Header::GrpcTimeout, Header::RequestTimeoutMs] {
            for value in headers.get_all(header.name()) {
                match header.decode(value, self.ceiling) {
                    Ok(said) => time = time.min(said),
                    Err(why) => {
                        self.malformed.fetch_add(1, Relaxed);
                        let said = What::Malformed { header: header.to_string(), why: why.to_string() };
                        self.tell.say(cx, said);
                    }
                }
            }
        }
        time
    }
}
