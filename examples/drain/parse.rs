//! One file: opened, decompressed if need be, and read line by line into a [`Summary`].

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::MultiGzDecoder;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use watertight::Context;

use crate::level::{Level, Levels};
use crate::lines::{Line, Lines, WithinContext};
use crate::walk::Found;

/// How much is held of a file, and as much again of what it is decompressed to.
const BUFFER: usize = 64 * 1024;

/// What a file says.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize)]
pub(crate) struct Summary {
    /// On the disk.
    pub(crate) bytes: u64,
    /// After decompression.
    pub(crate) text_bytes: u64,
    pub(crate) lines: u64,
    /// No JSON object in a file of them, no UTF-8, or too long.
    pub(crate) malformed: u64,
    pub(crate) levels: Levels,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) first: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) last: Option<Timestamp>,
}

/// What became of a file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    Drained(Summary),
    /// It could not be read to its end, and nothing of it is counted.
    Failed(String),
    /// It was not read to its end, because the draining was cancelled; nothing of it is counted.
    Undone(String),
}

/// Reads the file to its end, or to the end of the context.
pub(crate) fn file(found: &Found, cx: &Context) -> Outcome {
    match summarise(found, cx) {
        Ok(summary) => Outcome::Drained(summary),
        Err(e) => match cx.check() {
            Err(why) => Outcome::Undone(format!("left in the middle: {why}")),
            Ok(()) => Outcome::Failed(e.to_string()),
        },
    }
}

fn summarise(found: &Found, cx: &Context) -> io::Result<Summary> {
    let file = File::open(&found.path)?;
    let bytes = file.metadata()?.len();
    let mut raw = BufReader::with_capacity(BUFFER, file);
    // By what it says, or else by its name: one that is called .gz and is none is broken, and not a strange text.
    let is_gz = raw.fill_buf()?.starts_with(&[0x1f, 0x8b]) || (found.name.ends_with(".gz") && bytes > 0);
    let mut summary = if is_gz {
        text(MultiGzDecoder::new(raw), cx).map_err(|e| io::Error::new(e.kind(), format!("broken gzip: {e}")))?
    } else {
        text(raw, cx)?
    };
    summary.bytes = bytes;
    Ok(summary)
}

fn text(from: impl Read, cx: &Context) -> io::Result<Summary> {
    let mut lines = Lines::new(BufReader::with_capacity(BUFFER, WithinContext { inner: from, cx }));
    let mut summary = Summary::default();
    let mut kind = None;
    while let Some(line) = lines.read()? {
        summary.lines += 1;
        let entry = match line {
            Line::TooLong => None,
            Line::Held(line) if line.trim_ascii().is_empty() => Some((Level::None, None)),
            // The first line that says anything decides what the file is.
            Line::Held(line) => match kind.get_or_insert_with(|| Kind::of(line)) {
                Kind::Objects => object(line),
                Kind::Plain => plain(line),
            },
        };
        match entry {
            Some((level, at)) => summary.add(level, at),
            None => summary.malformed += 1,
        }
    }
    summary.text_bytes = lines.bytes();
    Ok(summary)
}

impl Summary {
    fn add(&mut self, level: Level, at: Option<Timestamp>) {
        self.levels.count(level);
        self.first = earlier(self.first, at);
        self.last = self.last.max(at);
    }

    pub(crate) fn add_all(&mut self, more: &Self) {
        self.bytes += more.bytes;
        self.text_bytes += more.text_bytes;
        self.lines += more.lines;
        self.malformed += more.malformed;
        self.levels += more.levels;
        self.first = earlier(self.first, more.first);
        self.last = self.last.max(more.last);
    }
}

/// `min` would take `None` for the earliest.
fn earlier(a: Option<Timestamp>, b: Option<Timestamp>) -> Option<Timestamp> {
    a.into_iter().chain(b).min()
}

enum Kind {
    Objects,
    Plain,
}

impl Kind {
    fn of(line: &[u8]) -> Self {
        if line.trim_ascii_start().starts_with(b"{") { Self::Objects } else { Self::Plain }
    }
}

type Entry = Option<(Level, Option<Timestamp>)>;

/// What is looked at of an object. Everything else in it is read past, and still has to be JSON.
#[derive(Deserialize)]
struct Object<'a> {
    #[serde(borrow)]
    level: Option<Scalar<'a>>,
    #[serde(borrow)]
    timestamp: Option<Scalar<'a>>,
    #[serde(borrow, rename = "@timestamp")]
    at_timestamp: Option<Scalar<'a>>,
    #[serde(borrow)]
    time: Option<Scalar<'a>>,
    #[serde(borrow)]
    ts: Option<Scalar<'a>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Scalar<'a> {
    #[serde(borrow)]
    Text(Cow<'a, str>),
    Number(f64),
    Else(serde::de::IgnoredAny),
}

fn object(line: &[u8]) -> Entry {
    if !matches!(Kind::of(line), Kind::Objects) {
        return None; // serde would take an array for the same thing
    }
    let object: Object<'_> = serde_json::from_slice(line).ok()?;
    let level = match object.level {
        Some(Scalar::Text(word)) => Level::of_word(&word).unwrap_or(Level::Other),
        Some(Scalar::Number(number)) => Level::of_number(number),
        Some(Scalar::Else(_)) => Level::Other,
        None => Level::None,
    };
    let at = object.timestamp.or(object.at_timestamp).or(object.time).or(object.ts);
    Some((level, at.as_ref().and_then(Scalar::moment)))
}

impl Scalar<'_> {
    fn moment(&self) -> Option<Timestamp> {
        match self {
            Self::Text(text) => moment(text),
            // Seconds since 1970 as a number this big are thousands of years away: it is milliseconds.
            Self::Number(number) if *number >= 1e11 => Timestamp::from_millisecond(*number as i64).ok(),
            Self::Number(number) => Timestamp::from_millisecond((*number * 1e3) as i64).ok(),
            Self::Else(_) => None,
        }
    }
}

fn plain(line: &[u8]) -> Entry {
    let line = std::str::from_utf8(line).ok()?;
    Some((Level::of_plain(line), leading_moment(line)))
}

/// A date and a time at the beginning of a line, in brackets or not, in one word or in two.
fn leading_moment(line: &str) -> Option<Timestamp> {
    let line = line.trim_start().trim_start_matches('[');
    if !line.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let mut ends = line.match_indices([' ', ']']).map(|(at, _)| at).chain([line.len()]);
    let first = ends.next()?;
    moment(&line[..first]).or_else(|| moment(&line[..ends.next()?]))
}

/// Without an offset it is taken for UTC. A date without a time is none.
fn moment(text: &str) -> Option<Timestamp> {
    const SHORTEST: usize = "2026-11-21 10:00".len();
    if text.len() < SHORTEST {
        return None;
    }
    let local = |text: &str| text.parse::<DateTime>().ok()?.to_zoned(TimeZone::UTC).ok();
    text.parse().ok().or_else(|| local(&text.replace(',', ".")).map(|zoned| zoned.timestamp()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8]) -> Summary {
        super::text(text, &Context::background()).unwrap()
    }

    fn levels(summary: &Summary) -> Vec<(&str, u64)> {
        summary.levels.iter().collect()
    }

    #[test]
    fn objects_are_counted_by_level_and_what_is_none_is_malformed() {
        let summary = read(
            br#"
{"level":"warn","ts":1700000000,"msg":"a"}
{"level":30,"time":1700000000500}
{"level":"audit","timestamp":"2026-11-21T12:00:00+02:00","more":{"level":"error"}}
{"level":null,"ts":7,"time":"2026-11-21T09:00:00Z"}
[1,2,3,4,5]
{"level":"info"
{"level":"info"}
"#,
        );
        assert_eq!((summary.lines, summary.malformed), (8, 2));
        assert_eq!(levels(&summary), [("info", 2), ("warn", 1), ("other", 1), ("none", 2)]);
        assert_eq!(summary.first.unwrap().to_string(), "2023-11-14T22:13:20Z");
        assert_eq!(summary.last.unwrap().to_string(), "2026-11-21T10:00:00Z");
    }

    #[test]
    fn plain_lines_are_counted_by_their_word() {
        let text = "2026-11-21 10:00:01,5 WARN slow\n[2026-11-21T10:00:00Z] error: x\n    at a.rs\n\u{fc}ber INFO\n";
        let summary = read(&[text.as_bytes(), b"\xff\xfe ERROR\n"].concat());
        assert_eq!((summary.lines, summary.malformed), (5, 1));
        assert_eq!(levels(&summary), [("info", 1), ("warn", 1), ("error", 1), ("none", 1)]);
        assert_eq!(summary.first.unwrap().to_string(), "2026-11-21T10:00:00Z");
        assert_eq!(summary.last.unwrap().to_string(), "2026-11-21T10:00:01.5Z");
        assert_eq!(moment("2026-11-21"), None);
    }

    #[test]
    fn a_file_that_has_vanished_and_one_that_is_no_gzip_fail_and_say_why() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| Found { path: folder.path().join(name), name: name.into() };
        std::fs::write(folder.path().join("no.gz"), "plain").unwrap();
        std::fs::write(folder.path().join("empty.gz"), "").unwrap();
        let cx = Context::background();
        let failed = |name| match file(&at(name), &cx) {
            Outcome::Failed(why) => why,
            other => panic!("{other:?}"),
        };
        assert!(failed("gone.log").contains("No such file"));
        assert!(failed("no.gz").contains("gzip"));
        assert_eq!(file(&at("empty.gz"), &cx), Outcome::Drained(Summary::default()));
    }
}
