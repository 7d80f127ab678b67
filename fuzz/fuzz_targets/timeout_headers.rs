//! The deadline headers, both formats, against their grammar and whole nanoseconds in 128 bits: what is decoded is what
//! the digits say and never above the ceiling, and encoding then decoding never lengthens.

#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use std::time::Duration;
use watertight::wire::Header;

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    left: Duration,
    ceiling: Duration,
    value: &'a [u8],
}

const MILLISECOND: u128 = 1_000_000;

/// Nanoseconds of a unit of `grpc-timeout`.
fn unit(letter: u8) -> Option<u128> {
    Some(match letter {
        b'n' => 1,
        b'u' => 1_000,
        b'm' => MILLISECOND,
        b'S' => 1_000 * MILLISECOND,
        b'M' => 60_000 * MILLISECOND,
        b'H' => 3_600_000 * MILLISECOND,
        _ => return None,
    })
}

/// One to eight digits, by way of text.
fn number(digits: &[u8]) -> Option<u128> {
    let plain = (1..=8).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit);
    if plain { std::str::from_utf8(digits).ok()?.parse().ok() } else { None }
}

fn said(header: Header, value: &[u8]) -> Option<u128> {
    match header {
        Header::GrpcTimeout => {
            let (letter, digits) = value.split_last()?;
            Some(number(digits)? * unit(*letter)?)
        }
        _ => Some(number(value)? * MILLISECOND),
    }
}

fuzz_target!(|input: Input<'_>| {
    let Input { left, ceiling, value } = input;
    for header in [Header::GrpcTimeout, Header::RequestTimeoutMs] {
        let model = said(header, value).map(|nanos| nanos.min(ceiling.as_nanos()));
        let real = header.decode(value, ceiling);
        assert_eq!(real.ok().map(|d| d.as_nanos()), model, "{real:?}");

        match header.encode(left) {
            Err(_) if header == Header::GrpcTimeout => assert!(left.is_zero()),
            Err(_) => assert!(left.as_nanos() < MILLISECOND),
            Ok(text) => {
                let text = text.as_str();
                let back = header.decode(text, Duration::MAX).unwrap();
                assert!(!back.is_zero() && back <= left);
                let most = text.starts_with("99999999");
                let grain = if header == Header::GrpcTimeout {
                    unit(*text.as_bytes().last().unwrap()).unwrap()
                } else {
                    MILLISECOND
                };
                assert!(most || (left - back).as_nanos() < grain, "{text} for {left:?}");
                // The finest unit: the one below it would take a ninth digit.
                let digits = text.trim_end_matches(char::is_alphabetic).len();
                assert!((1..=8).contains(&digits));
                let finer = [b'n', b'u', b'm', b'S', b'M'].into_iter().filter_map(unit).filter(|finer| *finer < grain);
                if header == Header::GrpcTimeout {
                    assert!(finer.into_iter().all(|finer| left.as_nanos() / finer > 99_999_999));
                }
                assert_eq!(header.decode(text, ceiling).unwrap(), back.min(ceiling));
                assert_eq!(header.decode(header.encode(back).unwrap(), Duration::MAX).unwrap(), back);
            }
        }
    }
});
