//! What becomes of the answers on one connection: a pure function of the fault, of what has passed before, and of time.

use std::time::Duration;

use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use tokio::time::Instant;

use super::{Fault, Setting, lot};

/// More than any patience; keeps a mistyped figure from overflowing the clock.
const LONGEST_MS: u64 = 600_000;
/// A trickle comes in about so many pieces a second.
const TRICKLES: u64 = 20;

/// What the client's side of a connection gets to see next.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Step {
    /// These bytes, at this moment.
    Piece(Instant, Vec<u8>),
    /// The end of the answers, as the downstream wanted it.
    Finish(Instant),
    /// The connection closes.
    Close(Instant),
    /// The connection is reset.
    Reset(Instant),
    /// Nothing, for as long as the client stays.
    Silence,
}

/// One connection's answers.
pub(super) struct Shape {
    lot: f64,
    rng: ChaCha8Rng,
    /// When the piece before is due: none comes before it.
    last: Instant,
    /// Bytes that have passed under the setting of this number.
    passed: (u64, u64),
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms.min(LONGEST_MS))
}

impl Shape {
    /// Of the `n`th connection.
    pub(super) fn new(n: u64) -> Self {
        Self { lot: lot(n), rng: ChaCha8Rng::seed_from_u64(n), last: Instant::now(), passed: (0, 0) }
    }

    /// `piece` has come from the downstream.
    pub(super) fn piece(&mut self, setting: &Setting, piece: &[u8], now: Instant) -> Vec<Step> {
        match setting.strikes(self.lot) {
            Fault::Latency { latency_ms, jitter_ms } => {
                let (latency, jitter) = (latency_ms.min(LONGEST_MS), jitter_ms.min(LONGEST_MS));
                let late = latency + self.rng.random_range(0..=2 * jitter);
                self.whole(piece, now + ms(late.saturating_sub(jitter)))
            }
            Fault::Bandwidth { kb_per_s } => {
                let rate = kb_per_s.saturating_mul(1_000).max(1);
                let most = (rate / TRICKLES).max(1);
                self.sliced(piece, now, |_| most, |len| Duration::from_secs_f64(len as f64 / rate as f64))
            }
            Fault::Slicer { bytes, variation, delay_ms } => {
                let (least, most) = (bytes.saturating_sub(variation).max(1), bytes.saturating_add(variation).max(1));
                self.sliced(piece, now, |rng| rng.random_range(least..=most), |_| ms(delay_ms))
            }
            Fault::Limit { bytes } => self.limited(piece, now, setting.serial, bytes),
            Fault::Timeout { after_ms: 0 } => vec![Step::Silence],
            Fault::Timeout { after_ms } => vec![Step::Close(now + ms(after_ms))],
            Fault::Reset { after_ms } => vec![Step::Reset(now + ms(after_ms))],
            Fault::None | Fault::SlowClose { .. } | Fault::DropFirst { .. } | Fault::Down | Fault::Errors => {
                self.whole(piece, now)
            }
        }
    }

    /// The downstream has closed.
    pub(super) fn end(&mut self, setting: &Setting, now: Instant) -> Step {
        let due = now.max(self.last);
        match setting.strikes(self.lot) {
            Fault::SlowClose { delay_ms } => Step::Finish(due + ms(delay_ms)),
            _ => Step::Finish(due),
        }
    }

    fn whole(&mut self, piece: &[u8], due: Instant) -> Vec<Step> {
        self.last = self.last.max(due);
        vec![Step::Piece(self.last, piece.to_vec())]
    }

    fn sliced(
        &mut self,
        mut piece: &[u8],
        now: Instant,
        mut len: impl FnMut(&mut ChaCha8Rng) -> u64,
        gap: impl Fn(usize) -> Duration,
    ) -> Vec<Step> {
        let mut steps = Vec::new();
        self.last = self.last.max(now);
        while !piece.is_empty() {
            let len = usize::try_from(len(&mut self.rng)).unwrap_or(usize::MAX).min(piece.len());
            let (slice, rest) = piece.split_at(len);
            self.last += gap(len);
            steps.push(Step::Piece(self.last, slice.to_vec()));
            piece = rest;
        }
        steps
    }

    fn limited(&mut self, piece: &[u8], now: Instant, serial: u64, limit: u64) -> Vec<Step> {
        if self.passed.0 != serial {
            self.passed = (serial, 0);
        }
        let room = usize::try_from(limit - self.passed.1.min(limit)).unwrap_or(usize::MAX);
        let len = room.min(piece.len());
        self.passed.1 += len as u64;
        let mut steps = self.whole(&piece[..len], now);
        if room <= piece.len() {
            steps.push(Step::Close(self.last));
        }
        steps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(fault: Fault, piece: &[u8]) -> (Instant, Vec<Step>) {
        let mut shape = Shape::new(1);
        let now = Instant::now();
        (now, shape.piece(&fault.into(), piece, now))
    }

    fn lengths(steps: &[Step]) -> Vec<usize> {
        let len = |step: &Step| if let Step::Piece(_, bytes) = step { bytes.len() } else { 0 };
        steps.iter().map(len).collect()
    }

    #[test]
    fn delays_are_within_the_jitter_and_never_overflow() {
        let late = |fault| {
            let (now, steps) = steps(fault, b"answer");
            let [Step::Piece(due, bytes)] = &steps[..] else { panic!("{steps:?}") };
            assert_eq!(bytes, b"answer");
            *due - now
        };
        assert_eq!(late(Fault::None), Duration::ZERO);
        for _ in 0..100 {
            let delay = late(Fault::Latency { latency_ms: 100, jitter_ms: 20 });
            assert!((80..=120).contains(&delay.as_millis()), "{delay:?}");
        }
        let absurd = late(Fault::Latency { latency_ms: u64::MAX, jitter_ms: u64::MAX });
        assert!(absurd <= ms(LONGEST_MS));
    }

    #[test]
    fn a_trickle_takes_as_long_as_its_rate_says() {
        let (now, steps) = steps(Fault::Bandwidth { kb_per_s: 1 }, &[7; 500]);
        assert_eq!(lengths(&steps), [50; 10]);
        let Some(Step::Piece(last, _)) = steps.last() else { panic!("{steps:?}") };
        assert_eq!((*last - now).as_millis(), 500);
    }

    #[test]
    fn slices_are_about_as_long_as_they_should_be_and_lose_nothing() {
        let (_, steps) = steps(Fault::Slicer { bytes: 10, variation: 5, delay_ms: 1 }, &[7; 500]);
        let lengths = lengths(&steps);
        assert_eq!(lengths.iter().sum::<usize>(), 500);
        assert!(lengths[..lengths.len() - 1].iter().all(|len| (5..=15).contains(len)), "{lengths:?}");
        let huge = Fault::Slicer { bytes: u64::MAX, variation: u64::MAX, delay_ms: u64::MAX };
        assert!(!super::tests::steps(huge, &[7; 5]).1.is_empty());
    }

    #[test]
    fn a_limit_counts_the_bytes_of_all_answers_and_begins_anew_with_each_setting() {
        let mut shape = Shape::new(1);
        let mut setting = Setting::from(Fault::Limit { bytes: 8 });
        let now = Instant::now();
        assert_eq!(lengths(&shape.piece(&setting, b"12345", now)), [5]);
        let last = shape.piece(&setting, b"67890", now);
        assert!(matches!(&last[..], [Step::Piece(_, bytes), Step::Close(_)] if bytes == b"678"), "{last:?}");
        setting = setting.replaced_by(setting);
        assert_eq!(lengths(&shape.piece(&setting, b"12345", now)), [5]);
    }

    #[test]
    fn what_is_not_struck_passes() {
        let setting = Setting { toxicity: 0.0, ..Fault::Reset { after_ms: 0 }.into() };
        let now = Instant::now();
        let passed = Shape::new(1).piece(&setting, b"answer", now);
        assert!(matches!(&passed[..], [Step::Piece(..)]), "{passed:?}");
    }
}
