//! Durations and rates as a reader wants them: three digits and a unit.

use std::time::Duration;

pub(super) fn time(t: Duration) -> String {
    let s = t.as_secs_f64();
    if t == Duration::MAX {
        return "for ever".into();
    }
    let (value, unit) = match s {
        s if s >= 1.0 => (s, "s"),
        s if s >= 1e-3 => (s * 1e3, "ms"),
        s if s >= 1e-6 => (s * 1e6, "µs"),
        s => (s * 1e9, "ns"),
    };
    format!("{} {unit}", digits(value))
}

pub(super) fn rate(per_second: f64) -> String {
    format!("{}/s", digits(per_second))
}

/// Up to two places, and those only if they say something.
fn digits(value: f64) -> String {
    let places = if value >= 100.0 { 0 } else { 2 };
    let text = format!("{value:.places$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').into() } else { text }
}

#[cfg(all(test, not(watertight_loom)))]
mod tests {
    use super::*;

    #[test]
    fn three_digits_and_a_unit() {
        let shown =
            [0, 1, 1_500, 2_000_000, 50_000_000, 123_456_789, 3_000_000_000].map(Duration::from_nanos).map(time);
        assert_eq!(shown, ["0 ns", "1 ns", "1.5 µs", "2 ms", "50 ms", "123 ms", "3 s"]);
        assert_eq!(time(Duration::MAX), "for ever");
        assert_eq!((rate(300.0), rate(0.25), rate(f64::INFINITY)), ("300/s".into(), "0.25/s".into(), "inf/s".into()));
    }
}
