//! The headers of [`wire`](super) in a [`HeaderMap`]. Feature `http`.
//!
//! **Invariants.** 1. What [`extract`] gives is never longer than the server's ceiling. 2. A value that cannot be read never
//! counts as a deadline: neither as a longer one nor as a shorter one, and it is counted.

use super::{Encoded, Header};
use crate::context::Context;
use crate::error::Interrupted;
use ::http::header::{HeaderMap, HeaderName, HeaderValue};
use std::time::Duration;

const REQUEST_TIMEOUT_MS: HeaderName = HeaderName::from_static(Header::RequestTimeoutMs.name());
const GRPC_TIMEOUT: HeaderName = HeaderName::from_static(Header::GrpcTimeout.name());

const fn name(header: Header) -> HeaderName {
    match header {
        Header::GrpcTimeout => GRPC_TIMEOUT,
        Header::RequestTimeoutMs => REQUEST_TIMEOUT_MS,
    }
}

/// Says in `headers` what `cx` has left, in place of what the header said before; without a deadline it is taken out,
/// so that a request that is passed on does not carry its sender's.
///
/// # Errors
///
/// Why the context has ended, or that too little is left to be said, as [`Header::encode_for`]. Do not send the request;
/// the headers are as they were.
///
/// # Examples
///
/// ```
/// use http::HeaderMap;
/// use std::time::Duration;
/// use watertight::{Context, ManualClock};
/// use watertight::wire::{Header, http::inject};
///
/// let cx = Context::background().with_clock(&ManualClock::new().clock()).with_timeout(Duration::from_secs(2));
/// let mut headers = HeaderMap::new();
/// inject(&cx, Header::RequestTimeoutMs, &mut headers)?;
/// assert_eq!(headers["x-request-timeout-ms"], "2000");
/// # Ok::<(), watertight::Interrupted>(())
/// ```
pub fn inject(cx: &Context, header: Header, headers: &mut HeaderMap) -> Result<(), Interrupted> {
    match header.encode_for(cx)?.as_ref().map(value) {
        Some(value) => headers.insert(name(header), value),
        None => headers.remove(name(header)),
    };
    Ok(())
}

fn value(encoded: &Encoded) -> HeaderValue {
    HeaderValue::from_str(encoded.as_str()).unwrap_or_else(|_| unreachable!("digits and letters are a header's value"))
}

/// The time a request may take: what its headers say, `ceiling` at most, and `ceiling` if they say nothing.
///
/// A header with a value that cannot be read, or with values that contradict each other, says nothing, and is counted. If
/// both headers say something, the sooner holds.
///
/// # Examples
///
/// ```
/// use http::HeaderMap;
/// use std::time::Duration;
/// use watertight::Context;
/// use watertight::wire::http::extract;
///
/// let ours = Duration::from_secs(30);
/// let mut headers = HeaderMap::new();
/// headers.insert("grpc-timeout", "250m".parse()?);
/// let request = extract(&headers, ours);
/// assert_eq!(request.client, Some(Duration::from_millis(250)));
/// let cx = request.context(&Context::current()); // for everything that is done for this request
///
/// headers.insert("grpc-timeout", "soon".parse()?);
/// let request = extract(&headers, ours);
/// assert_eq!((request.timeout, request.client, request.malformed), (ours, None, 1));
/// # assert!(cx.remaining() <= Some(Duration::from_millis(250)));
/// # Ok::<(), http::header::InvalidHeaderValue>(())
/// ```
pub fn extract(headers: &HeaderMap, ceiling: Duration) -> Extracted {
    let mut extracted = Extracted { timeout: ceiling, client: None, malformed: 0 };
    for header in [Header::GrpcTimeout, Header::RequestTimeoutMs] {
        match read(header, headers) {
            Ok(None) => {}
            Ok(Some(said)) => extracted.client = Some(extracted.client.map_or(said, |other| other.min(said))),
            Err(Unreadable) => extracted.malformed += 1,
        }
    }
    extracted.timeout = extracted.client.map_or(ceiling, |said| said.min(ceiling));
    extracted
}

/// A value that is malformed, or values that contradict each other.
struct Unreadable;

/// What the header says, if it is there. Said twice in the same sense (`1S` and `1000m`) it is said once.
fn read(header: Header, headers: &HeaderMap) -> Result<Option<Duration>, Unreadable> {
    let mut said = None;
    for value in headers.get_all(name(header)) {
        let this = header.parse(value.as_bytes()).map_err(|_| Unreadable)?;
        if said.is_some_and(|said| said != this) {
            return Err(Unreadable);
        }
        said = Some(this);
    }
    Ok(said)
}

/// What the headers of a request say about its time. Made by [`extract`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub struct Extracted {
    /// The time the request may take: the client's, or the ceiling, whichever is less.
    pub timeout: Duration,
    /// What the client asked for, however much; `None` if it said nothing that could be read.
    pub client: Option<Duration>,
    /// How many headers could not be read: for the metric that tells somebody to mend a client.
    pub malformed: u32,
}

impl Extracted {
    /// `cx` with the time the request may take, from now on.
    pub fn context(&self, cx: &Context) -> Context {
        cx.with_timeout(self.timeout)
    }
}

#[cfg(all(test, not(watertight_loom)))]
mod tests {
    use super::*;
    use crate::{CancelCause, CancelToken, ManualClock};

    const CEILING: Duration = Duration::from_secs(30);

    fn headers(values: &[(HeaderName, &'static [u8])]) -> HeaderMap {
        values.iter().map(|(name, value)| (name.clone(), HeaderValue::from_bytes(value).unwrap())).collect()
    }

    fn said(values: &[(HeaderName, &'static [u8])]) -> (Option<Duration>, u32) {
        let request = extract(&headers(values), CEILING);
        assert_eq!(request.timeout, request.client.map_or(CEILING, |client| client.min(CEILING)));
        (request.client, request.malformed)
    }

    #[test]
    fn a_deadline_crosses_by_header_and_shrinks() {
        let time = ManualClock::new();
        let cx = Context::background().with_clock(&time.clock()).with_timeout(Duration::from_millis(1500));
        for header in [Header::GrpcTimeout, Header::RequestTimeoutMs] {
            let mut request = HeaderMap::new();
            inject(&cx, header, &mut request).unwrap();
            inject(&cx, header, &mut request).unwrap();
            assert_eq!(request.len(), 1, "replaced, not added to");
            let there = extract(&request, CEILING).context(&Context::background().with_clock(&time.clock()));
            assert_eq!(there.deadline(), cx.deadline());
            let short = extract(&request, Duration::from_millis(100));
            assert_eq!((short.timeout, short.client), (Duration::from_millis(100), Some(Duration::from_millis(1500))));
        }
    }

    #[test]
    fn what_has_ended_is_not_sent_and_what_never_ends_says_nothing() {
        let time = ManualClock::new();
        let token = CancelToken::new();
        let cx = Context::background().with_clock(&time.clock()).with_token(&token);
        let before = headers(&[(REQUEST_TIMEOUT_MS, b"7"), (GRPC_TIMEOUT, b"7m")]);
        let mut request = before.clone();
        let brief = cx.with_timeout(Duration::from_micros(999));
        assert_eq!(inject(&brief, Header::RequestTimeoutMs, &mut request), Err(Interrupted::DeadlinePassed));
        assert_eq!(request, before);
        inject(&brief, Header::GrpcTimeout, &mut request).unwrap();
        assert_eq!(request[GRPC_TIMEOUT], "999000n");
        inject(&cx, Header::RequestTimeoutMs, &mut request).unwrap();
        assert!(!request.contains_key(REQUEST_TIMEOUT_MS));
        token.cancel();
        let cancelled = Err(Interrupted::Cancelled(CancelCause::Requested));
        assert_eq!(inject(&cx, Header::GrpcTimeout, &mut request), cancelled);
    }

    #[test]
    fn a_malformed_or_contradictory_value_is_no_deadline_and_is_counted() {
        let second = Some(Duration::from_secs(1));
        assert_eq!(said(&[]), (None, 0));
        assert_eq!(said(&[(GRPC_TIMEOUT, b"1S")]), (second, 0));
        for wrong in [&b""[..], b"soon", b"1s", b"+1S", b"1S ", b"123456789S", b"1\xffS"] {
            assert_eq!(said(&[(GRPC_TIMEOUT, wrong)]), (None, 1), "{wrong:?}");
        }
        assert_eq!(said(&[(GRPC_TIMEOUT, b"1S"), (GRPC_TIMEOUT, b"1000m")]), (second, 0), "the same in other words");
        assert_eq!(said(&[(GRPC_TIMEOUT, b"1S"), (GRPC_TIMEOUT, b"2S")]), (None, 1));
        assert_eq!(said(&[(GRPC_TIMEOUT, b"1S"), (GRPC_TIMEOUT, b"x")]), (None, 1));
        // Contradictory also where the ceiling would make them the same.
        assert_eq!(said(&[(GRPC_TIMEOUT, b"1H"), (GRPC_TIMEOUT, b"2H")]), (None, 1));
        assert_eq!(said(&[(GRPC_TIMEOUT, b"x"), (REQUEST_TIMEOUT_MS, b"1000")]), (second, 1));
        assert_eq!(said(&[(GRPC_TIMEOUT, b"2S"), (REQUEST_TIMEOUT_MS, b"1000")]), (second, 0), "the sooner");
        assert_eq!(said(&[(GRPC_TIMEOUT, b"x"), (REQUEST_TIMEOUT_MS, b"y")]), (None, 2));
        assert_eq!(said(&[(REQUEST_TIMEOUT_MS, b"0")]), (Some(Duration::ZERO), 0));
    }
}
