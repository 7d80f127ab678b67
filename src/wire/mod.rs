//! Deadlines between processes: relative on the wire, because no two machines agree on the time.
//!
//! Two headers: `grpc-timeout` as the gRPC-over-HTTP/2 protocol defines it, and `x-request-timeout-ms`, plain decimal
//! milliseconds. [`Header::encode`] rounds down and [`Header::decode`] cuts to a ceiling. With the feature `http`,
//! `wire::http` puts them into and takes them from a `HeaderMap`.
//!
//! **Invariants.** 1. Encoding then decoding never lengthens, and loses less than one unit of what was written (or, of
//! what is too long for eight digits, all that is beyond them). 2. No time left is never sent: it fails here. 3. What is
//! decoded is never longer than the ceiling. Nothing in this file allocates or panics, and the only clock is a
//! context's.

#[cfg(feature = "http")]
pub mod http;
#[cfg(all(test, not(watertight_loom)))]
mod tests;

use crate::context::Context;
use crate::error::Interrupted;
use std::fmt;
use std::time::Duration;

/// The most that eight digits can say.
const MOST: u128 = 99_999_999;
const DIGITS: usize = 8;

/// The units of `grpc-timeout` in nanoseconds, the finest first.
const UNITS: [(u8, u64); 6] = [
    (b'n', 1),
    (b'u', 1_000),
    (b'm', 1_000_000),
    (b'S', 1_000_000_000),
    (b'M', 60 * 1_000_000_000),
    (b'H', 3_600 * 1_000_000_000),
];

const MILLISECOND: u64 = 1_000_000;

/// A header that carries the time left.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use watertight::wire::Header;
///
/// let left = Duration::from_micros(1_234_567);
/// assert_eq!(Header::GrpcTimeout.encode(left)?.as_str(), "1234567u");
/// assert_eq!(Header::RequestTimeoutMs.encode(left)?.as_str(), "1234");
///
/// let ours = Duration::from_secs(30); // nobody gets more, whatever they ask for
/// assert_eq!(Header::GrpcTimeout.decode("250m", ours)?, Duration::from_millis(250));
/// assert_eq!(Header::GrpcTimeout.decode("99999999H", ours)?, ours);
/// assert!(Header::RequestTimeoutMs.decode("1.5", ours).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Header {
    /// `grpc-timeout`: one to eight digits and a unit, of `H`, `M`, `S`, `m`, `u` and `n`.
    GrpcTimeout,
    /// `x-request-timeout-ms`: one to eight digits, in milliseconds.
    RequestTimeoutMs,
}

impl Header {
    /// Its name, in lower case as HTTP/2 wants it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::GrpcTimeout => "grpc-timeout",
            Self::RequestTimeoutMs => "x-request-timeout-ms",
        }
    }

    /// The value that says `left`, in the finest unit in which it has at most eight digits, rounded down. What no unit can
    /// say becomes the most that can be said: shorter, never longer.
    ///
    /// # Errors
    ///
    /// [`DeadlinePassed`](Interrupted::DeadlinePassed) if nothing is left, or less than the header can say: do not send
    /// the request.
    pub fn encode(self, left: Duration) -> Result<Encoded, Interrupted> {
        let nanos = left.as_nanos();
        let in_unit = |unit: u64| nanos / u128::from(unit);
        let (value, unit) = match self {
            Self::RequestTimeoutMs => (in_unit(MILLISECOND), None),
            Self::GrpcTimeout => {
                let fits = UNITS.into_iter().find(|(_, unit)| in_unit(*unit) <= MOST);
                let (letter, unit) = fits.unwrap_or(UNITS[UNITS.len() - 1]);
                (in_unit(unit), Some(letter))
            }
        };
        if value == 0 { Err(Interrupted::DeadlinePassed) } else { Ok(Encoded::new(value.min(MOST) as u32, unit)) }
    }

    /// The value that says what a context has left, or `None` if it has no deadline: then there is nothing to send.
    ///
    /// # Errors
    ///
    /// Why the context has ended, or that it is about to: see [`encode`](Self::encode). Do not send the request.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::time::Duration;
    /// use watertight::{Context, ManualClock};
    /// use watertight::wire::Header;
    ///
    /// let time = ManualClock::new();
    /// let cx = Context::background().with_clock(&time.clock()).with_timeout(Duration::from_millis(200));
    /// let call = cx.with_deadline(cx.deadline().minus(Duration::from_millis(10))); // the network's share
    /// assert_eq!(Header::RequestTimeoutMs.encode_for(&call)?.unwrap().as_str(), "190");
    /// time.advance(Duration::from_millis(190));
    /// assert!(Header::RequestTimeoutMs.encode_for(&call).is_err());
    /// # Ok::<(), watertight::Interrupted>(())
    /// ```
    pub fn encode_for(self, cx: &Context) -> Result<Option<Encoded>, Interrupted> {
        cx.token().check()?;
        cx.remaining().map(|left| self.encode(left)).transpose()
    }

    /// The time that a value says is left, `ceiling` at most.
    ///
    /// Nothing is trimmed or guessed. A value of 0 is read as what it means, no time at all: the protocol's grammar has no
    /// 0, but clients send it, and to refuse it would give the one who has no time left all of the ceiling.
    ///
    /// # Errors
    ///
    /// What is wrong with the value. What then holds is the caller's to choose; without a deadline of the client's it should
    /// be the ceiling.
    pub fn decode(self, value: impl AsRef<[u8]>, ceiling: Duration) -> Result<Duration, TimeoutError> {
        self.parse(value.as_ref()).map(|said| said.min(ceiling))
    }

    fn parse(self, value: &[u8]) -> Result<Duration, TimeoutError> {
        let (digits, unit) = match self {
            Self::RequestTimeoutMs => (value, MILLISECOND),
            Self::GrpcTimeout => {
                let (letter, digits) = value.split_last().ok_or(TimeoutError::Empty)?;
                let unit = UNITS.into_iter().find(|(known, _)| known == letter);
                (digits, unit.ok_or(TimeoutError::UnknownUnit)?.1)
            }
        };
        // The length comes first: a hostile header costs no more than an honest one.
        match digits.len() {
            0 => return Err(TimeoutError::Empty),
            1..=DIGITS => {}
            _ => return Err(TimeoutError::TooLong),
        }
        let mut count = 0;
        for digit in digits {
            if !digit.is_ascii_digit() {
                return Err(TimeoutError::NotDigits);
            }
            count = count * 10 + u64::from(digit - b'0');
        }
        // Eight digits of hours are more nanoseconds than 64 bits hold.
        let nanos = u128::from(count) * u128::from(unit);
        Ok(Duration::new((nanos / 1_000_000_000) as u64, (nanos % 1_000_000_000) as u32))
    }
}

impl fmt::Display for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The text of a header's value. Made by [`Header::encode`].
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Encoded {
    text: [u8; DIGITS + 1],
    /// Where it begins: the digits are written from the right.
    from: u8,
}

impl Encoded {
    /// `value` has at most eight digits.
    fn new(mut value: u32, unit: Option<u8>) -> Self {
        let mut text = [0; DIGITS + 1];
        let mut from = text.len();
        if let Some(letter) = unit {
            from -= 1;
            text[from] = letter;
        }
        while value > 0 && from > 0 {
            from -= 1;
            text[from] = b'0' + (value % 10) as u8;
            value /= 10;
        }
        Self { text, from: from as u8 }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        // Always ASCII, so the default is never taken.
        std::str::from_utf8(&self.text[usize::from(self.from)..]).unwrap_or_default()
    }
}

impl AsRef<str> for Encoded {
    fn as_ref(&self) -> &str {
        self.as_str()
    }
}

impl AsRef<[u8]> for Encoded {
    fn as_ref(&self) -> &[u8] {
        self.as_str().as_bytes()
    }
}

impl fmt::Display for Encoded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Encoded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Encoded").field(&self.as_str()).finish()
    }
}

/// What is wrong with the value of a [`Header`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TimeoutError {
    /// There are no digits, or nothing at all.
    #[error("no number")]
    Empty,
    /// It does not end with one of the units, which are case-sensitive.
    #[error("no unit of H, M, S, m, u and n at its end")]
    UnknownUnit,
    /// There is something else than the digits 0 to 9: a sign, a space, a point.
    #[error("not a plain decimal number")]
    NotDigits,
    /// There are more than eight digits.
    #[error("more than eight digits")]
    TooLong,
}
