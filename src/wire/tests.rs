//! Both formats: by example, and against their own decoder.

use super::*;
use crate::{CancelCause, CancelToken, ManualClock};
use proptest::prelude::*;

const HEADERS: [Header; 2] = [Header::GrpcTimeout, Header::RequestTimeoutMs];

fn encoded(header: Header, left: Duration) -> Option<String> {
    header.encode(left).ok().map(|value| value.to_string())
}

#[test]
fn grpc_takes_the_finest_unit_of_eight_digits_and_rounds_down() {
    let nanos = |n| encoded(Header::GrpcTimeout, Duration::from_nanos(n)).unwrap();
    assert_eq!(nanos(1), "1n");
    assert_eq!(nanos(99_999_999), "99999999n");
    assert_eq!(nanos(100_000_000), "100000u");
    assert_eq!(nanos(100_000_999), "100000u");
    assert_eq!(nanos(99_999_999_999), "99999999u");
    assert_eq!(nanos(100_000_000_000), "100000m");
    assert_eq!(nanos(99_999_999_999_999), "99999999m");
    assert_eq!(nanos(100_000_000_000_000), "100000S");
    let secs = |n| encoded(Header::GrpcTimeout, Duration::from_secs(n)).unwrap();
    assert_eq!(secs(99_999_999), "99999999S");
    assert_eq!(secs(100_000_000), "1666666M");
    assert_eq!(secs(99_999_999 * 60 + 59), "99999999M");
    assert_eq!(secs(100_000_000 * 60), "1666666H");
    assert_eq!(secs(99_999_999 * 3600), "99999999H");
    assert_eq!(secs(u64::MAX), "99999999H");
}

#[test]
fn milliseconds_are_plain_and_rounded_down() {
    let micros = |n| encoded(Header::RequestTimeoutMs, Duration::from_micros(n));
    assert_eq!(micros(999), None);
    assert_eq!(micros(1_000).as_deref(), Some("1"));
    assert_eq!(micros(1_999).as_deref(), Some("1"));
    assert_eq!(micros(99_999_999_999).as_deref(), Some("99999999"));
    assert_eq!(micros(100_000_000_000).as_deref(), Some("99999999"));
}

#[test]
fn what_has_no_time_left_is_not_sent() {
    for header in HEADERS {
        assert_eq!(header.encode(Duration::ZERO), Err(Interrupted::DeadlinePassed));
        let time = ManualClock::new();
        let token = CancelToken::new();
        let cx = Context::background().with_clock(&time.clock()).with_token(&token);
        assert_eq!(header.encode_for(&cx), Ok(None), "no deadline, nothing to say");
        let cx = cx.with_timeout(Duration::from_millis(5));
        assert_eq!(header.encode_for(&cx).unwrap(), header.encode(Duration::from_millis(5)).ok());
        time.advance(Duration::from_millis(5));
        assert_eq!(header.encode_for(&cx), Err(Interrupted::DeadlinePassed));
        token.cancel();
        assert_eq!(header.encode_for(&cx), Err(Interrupted::Cancelled(CancelCause::Requested)));
    }
}

#[test]
fn every_unit_is_understood_and_case_matters() {
    let grpc = |value: &str| Header::GrpcTimeout.decode(value, Duration::MAX);
    let secs = Duration::from_secs;
    assert_eq!(grpc("1H"), Ok(secs(3600)));
    assert_eq!(grpc("1M"), Ok(secs(60)));
    assert_eq!(grpc("1S"), Ok(secs(1)));
    assert_eq!(grpc("1m"), Ok(Duration::from_millis(1)));
    assert_eq!(grpc("1u"), Ok(Duration::from_micros(1)));
    assert_eq!(grpc("1n"), Ok(Duration::from_nanos(1)));
    assert_eq!(grpc("99999999H"), Ok(secs(99_999_999 * 3600)));
    assert_eq!(grpc("00000010S"), Ok(secs(10)));
    for wrong in ["1h", "1s", "1U", "1N"] {
        assert_eq!(grpc(wrong), Err(TimeoutError::UnknownUnit), "{wrong}");
    }
}

#[test]
fn nought_is_no_time_at_all_and_the_ceiling_holds() {
    let second = Duration::from_secs(1);
    assert_eq!(Header::GrpcTimeout.decode("0n", second), Ok(Duration::ZERO));
    assert_eq!(Header::GrpcTimeout.decode("00000000H", second), Ok(Duration::ZERO));
    assert_eq!(Header::RequestTimeoutMs.decode("0", second), Ok(Duration::ZERO));
    assert_eq!(Header::GrpcTimeout.decode("1001m", second), Ok(second));
    assert_eq!(Header::RequestTimeoutMs.decode("99999999", second), Ok(second));
    assert_eq!(Header::RequestTimeoutMs.decode("999", second), Ok(Duration::from_millis(999)));
}

#[test]
fn malformed_values_are_refused_by_name() {
    use TimeoutError::{Empty, NotDigits, TooLong, UnknownUnit};
    let grpc: [(&[u8], _); 17] = [
        (b"", Empty),
        (b"S", Empty),
        (b"5", UnknownUnit),
        (b"5x", UnknownUnit),
        (b"5S ", UnknownUnit),
        (b"5\xc2\xb5", UnknownUnit),
        (b"5S\0", UnknownUnit),
        (b"123456789S", TooLong),
        (b"000000001S", TooLong),
        (b" 5S", NotDigits),
        (b"5 S", NotDigits),
        (b"+5S", NotDigits),
        (b"-5S", NotDigits),
        (b"1.5S", NotDigits),
        (b"5mS", NotDigits),
        (b"0x5S", NotDigits),
        (b"\xd9\xa3S", NotDigits), // a digit, but of another script
    ];
    for (value, why) in grpc {
        assert_eq!(Header::GrpcTimeout.decode(value, Duration::MAX), Err(why), "{value:?}");
    }
    let millis: [(&[u8], _); 9] = [
        (b"", Empty),
        (b"123456789", TooLong),
        (b" 5", NotDigits),
        (b"5 ", NotDigits),
        (b"+5", NotDigits),
        (b"-5", NotDigits),
        (b"5m", NotDigits),
        (b"1e3", NotDigits),
        (b"\xff", NotDigits),
    ];
    for (value, why) in millis {
        assert_eq!(Header::RequestTimeoutMs.decode(value, Duration::MAX), Err(why), "{value:?}");
    }
}

/// The unit a value is written in.
fn unit(header: Header, value: &str) -> Duration {
    let unit = match header {
        Header::RequestTimeoutMs => MILLISECOND,
        Header::GrpcTimeout => UNITS.into_iter().find(|(letter, _)| value.as_bytes().last() == Some(letter)).unwrap().1,
    };
    Duration::from_nanos(unit)
}

fn durations() -> impl Strategy<Value = Duration> {
    prop_oneof![
        any::<u64>().prop_map(Duration::from_nanos),
        (any::<u64>(), 0u32..64).prop_map(|(nanos, shift)| Duration::from_nanos(nanos >> shift)),
        (any::<u64>(), 0u32..64, 0u32..1_000_000_000)
            .prop_map(|(secs, shift, nanos)| Duration::new(secs >> shift, nanos)),
    ]
}

proptest! {
    #[test]
    fn encoding_then_decoding_never_lengthens_and_loses_less_than_a_unit(left in durations(), ceiling in durations()) {
        for header in HEADERS {
            let Ok(value) = header.encode(left) else {
                prop_assert!(left < Duration::from_millis(1), "{:?} could have been sent", left);
                continue;
            };
            let value = value.as_str();
            let back = header.decode(value, Duration::MAX).unwrap();
            prop_assert!(!back.is_zero() && back <= left, "{} for {:?}", value, left);
            prop_assert!(value.starts_with("99999999") || left - back < unit(header, value), "{} for {:?}", value, left);
            prop_assert_eq!(header.decode(value, ceiling).unwrap(), back.min(ceiling));
            // Once rounded, it stays what it is, hop after hop.
            prop_assert_eq!(header.decode(header.encode(back).unwrap(), Duration::MAX).unwrap(), back);
        }
    }

    #[test]
    fn whatever_is_decoded_is_digits_and_a_unit(value in "[0-9]{0,10}[HMSmunhs +.-]?[0-9]?", ceiling in durations()) {
        let digits = |text: &str| (1..=8).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
        let grpc = value.strip_suffix(['H', 'M', 'S', 'm', 'u', 'n']).is_some_and(digits);
        prop_assert_eq!(Header::GrpcTimeout.decode(&value, ceiling).is_ok(), grpc);
        prop_assert_eq!(Header::RequestTimeoutMs.decode(&value, ceiling).is_ok(), digits(&value));
    }
}
