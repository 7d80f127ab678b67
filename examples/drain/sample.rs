//! A folder to drain for those who have none at hand: the same for the same seed.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use jiff::Timestamp;
use rand::rngs::ChaCha8Rng;
use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, LogNormal};
use watertight::CancelToken;

const LEVELS: [&str; 8] = ["info", "info", "info", "info", "debug", "debug", "warn", "error"];
const MESSAGES: [&str; 4] =
    ["request served", "cache miss, asked the origin", "slow answer from the database", "retrying after a reset"];
/// 2026-01-01T00:00:00Z
const BEGIN: i64 = 1_767_225_600;
const FOLDERS: u64 = 50;

/// How long the files are: half of them shorter than `median` lines, and a few very much longer.
pub(crate) fn make(folder: &Path, files: u64, median: f64, seed: u64, token: &CancelToken) -> io::Result<()> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let lengths = LogNormal::new(median.ln(), 1.2).map_err(io::Error::other)?;
    for n in (0..files).take_while(|_| !token.is_cancelled()) {
        let day = folder.join(format!("host-{}/day-{}", n % FOLDERS / 10, n % 10));
        fs::create_dir_all(&day)?;
        let (objects, gz, damaged) = (rng.random_bool(0.6), rng.random_bool(0.25), rng.random_bool(0.1));
        let name = format!("{n}.{}{}", if objects { "ndjson" } else { "log" }, if gz { ".gz" } else { "" });
        let file = BufWriter::new(File::create(day.join(name))?);
        let lines = lengths.sample(&mut rng) as u64 + 1;
        let text = Text { objects, damaged, lines };
        if gz {
            let mut to = GzEncoder::new(file, Compression::fast());
            text.write(&mut rng, &mut to)?;
            to.finish()?.flush()?;
        } else {
            let mut to = file;
            text.write(&mut rng, &mut to)?;
            to.flush()?;
        }
    }
    Ok(())
}

struct Text {
    objects: bool,
    damaged: bool,
    lines: u64,
}

impl Text {
    fn write(&self, rng: &mut ChaCha8Rng, to: &mut impl Write) -> io::Result<()> {
        let mut millis = (BEGIN + rng.random_range(0..2_592_000)) * 1_000;
        let mut line = String::new();
        for _ in 0..self.lines {
            millis += rng.random_range(1..2_000);
            let at = Timestamp::from_millisecond(millis).map_err(io::Error::other)?;
            let level = LEVELS[rng.random_range(0..LEVELS.len())];
            let message = MESSAGES[rng.random_range(0..MESSAGES.len())];
            let (request, took) = (rng.random::<u64>(), rng.random_range(1..900));
            line.clear();
            let _ = if self.objects {
                write!(
                    line,
                    r#"{{"ts":"{at:.3}","level":"{level}","msg":"{message}","request":"{request:016x}","ms":{took}}}"#
                )
            } else {
                write!(line, "{at:.3} {} [{request:016x}] {message} ({took} ms)", level.to_ascii_uppercase())
            };
            if self.damaged && rng.random_ratio(1, 20) {
                line.truncate(line.len() / 2); // as a crash leaves it
            }
            to.write_all(line.as_bytes())?;
            to.write_all(b"\n")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::walk;

    fn contents(seed: u64) -> Vec<(String, Vec<u8>)> {
        let folder = tempfile::tempdir().unwrap();
        make(folder.path(), 40, 10.0, seed, &CancelToken::never()).unwrap();
        let read = |found: walk::Found| (found.name.to_string(), fs::read(found.path).unwrap());
        let mut all: Vec<_> = walk::files(folder.path(), None).map(|found| read(found.unwrap())).collect();
        all.sort();
        all
    }

    #[test]
    fn the_same_seed_makes_the_same_files() {
        let sample = contents(1);
        assert_eq!(sample.len(), 40);
        assert!(sample == contents(1) && sample != contents(2));
        assert!(sample.iter().any(|(name, text)| name.ends_with(".gz") && text.starts_with(&[0x1f, 0x8b])));
    }
}
