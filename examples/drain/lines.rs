//! Lines of a file, one at a time, none of which can be so long that it matters.

use std::io::{self, BufRead, Read};

use watertight::Context;

/// A longer line is malformed, and is skipped without being held.
pub(crate) const LONGEST: usize = 256 * 1024;

/// A reader that ends with a context: the checkpoint by which a job that is cancelled leaves a file of any size.
pub(crate) struct WithinContext<'a, R> {
    pub(crate) inner: R,
    pub(crate) cx: &'a Context,
}

impl<R: Read> Read for WithinContext<'_, R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.cx.check()?;
        self.inner.read(into)
    }
}

/// A line as it was read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Line<'a> {
    /// Without its end.
    Held(&'a [u8]),
    /// More than [`LONGEST`] bytes.
    TooLong,
}

pub(crate) struct Lines<R> {
    from: R,
    line: Vec<u8>,
    bytes: u64,
}

impl<R: BufRead> Lines<R> {
    pub(crate) fn new(from: R) -> Self {
        Self { from, line: Vec::new(), bytes: 0 }
    }

    /// Bytes read so far, after decompression.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The next line; `None` at the end.
    pub(crate) fn read(&mut self) -> io::Result<Option<Line<'_>>> {
        self.line.clear();
        let (mut any, mut too_long) = (false, false);
        loop {
            let chunk = match self.from.fill_buf() {
                Ok(chunk) => chunk,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(e),
            };
            let end = chunk.iter().position(|byte| *byte == b'\n');
            let part = &chunk[..end.unwrap_or(chunk.len())];
            any |= !chunk.is_empty();
            too_long |= self.line.len() + part.len() > LONGEST;
            if !too_long {
                self.line.extend_from_slice(part);
            }
            let (last, taken) = (end.is_some() || chunk.is_empty(), part.len() + usize::from(end.is_some()));
            self.from.consume(taken);
            self.bytes += taken as u64;
            if last {
                let line = self.line.strip_suffix(b"\r").unwrap_or(&self.line);
                return Ok(any.then_some(if too_long { Line::TooLong } else { Line::Held(line) }));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::BufReader;

    fn lengths(text: &[u8]) -> Vec<Option<usize>> {
        let mut lines = Lines::new(BufReader::with_capacity(7, text));
        let mut found = Vec::new();
        while let Some(line) = lines.read().unwrap() {
            found.push(match line {
                Line::Held(line) => Some(line.len()),
                Line::TooLong => None,
            });
        }
        assert_eq!(lines.bytes(), text.len() as u64);
        found
    }

    #[test]
    fn the_end_of_a_line_is_no_part_of_it_and_the_last_needs_none() {
        assert_eq!(lengths(b""), []);
        assert_eq!(lengths(b"\n"), [Some(0)]);
        assert_eq!(lengths(b"a\r\n\nlonger than seven"), [Some(1), Some(0), Some(17)]);
    }

    #[test]
    fn a_line_that_is_too_long_is_skipped_and_not_held() {
        let mut text = vec![b'x'; LONGEST];
        text.push(b'\n');
        text.extend(vec![b'x'; LONGEST + 1]);
        text.extend(b"\nafter");
        assert_eq!(lengths(&text), [Some(LONGEST), None, Some(5)]);
        let mut lines = Lines::new(&text[LONGEST + 1..]);
        assert_eq!(lines.read().unwrap(), Some(Line::TooLong));
        assert!(lines.line.capacity() <= 2 * LONGEST);
    }

    #[test]
    fn a_cancelled_context_ends_the_reading() {
        let token = watertight::CancelToken::new();
        let cx = Context::background().with_token(&token);
        let mut lines = Lines::new(BufReader::with_capacity(2, WithinContext { inner: &b"a\nb\n"[..], cx: &cx }));
        assert_eq!(lines.read().unwrap(), Some(Line::Held(b"a")));
        token.cancel();
        assert!(lines.read().is_err());
    }
}
