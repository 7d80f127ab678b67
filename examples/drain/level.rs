//! The levels that lines are counted by. There are as many as listed here, whatever the files say, so that counting them
//! takes no more room however strange the files are.

use std::ops::AddAssign;

use serde::{Serialize, Serializer};

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Level {
    Trace,
    Debug,
    Info,
    Notice,
    Warn,
    Error,
    Critical,
    Fatal,
    /// A level, but none of these.
    Other,
    /// The line has no level.
    None,
}

impl Level {
    pub(crate) fn of_word(word: &str) -> Option<Self> {
        const WORDS: [(&str, Level); 17] = [
            ("trace", Level::Trace),
            ("debug", Level::Debug),
            ("info", Level::Info),
            ("information", Level::Info),
            ("notice", Level::Notice),
            ("warn", Level::Warn),
            ("warning", Level::Warn),
            ("error", Level::Error),
            ("err", Level::Error),
            ("severe", Level::Error),
            ("critical", Level::Critical),
            ("crit", Level::Critical),
            ("alert", Level::Critical),
            ("fatal", Level::Fatal),
            ("panic", Level::Fatal),
            ("emerg", Level::Fatal),
            ("emergency", Level::Fatal),
        ];
        WORDS.iter().find(|(name, _)| name.eq_ignore_ascii_case(word)).map(|(_, level)| *level)
    }

    /// As bunyan and pino number them.
    pub(crate) fn of_number(number: f64) -> Self {
        let levels = [Self::Trace, Self::Debug, Self::Info, Self::Warn, Self::Error, Self::Fatal];
        let of = |(at, _): &(usize, &Self)| number == 10.0 * (*at as f64 + 1.0);
        levels.iter().enumerate().find(of).map_or(Self::Other, |(_, level)| *level)
    }

    /// The first level word near the beginning of a plain line: `[WARN]`, `warn:` and `level=warn`, not `warned`. A word
    /// further on is what the line speaks of.
    pub(crate) fn of_plain(line: &str) -> Self {
        const NEAR: usize = 8;
        let words = line.split(|c: char| !c.is_ascii_alphabetic()).filter(|word| !word.is_empty());
        words.take(NEAR).find_map(Self::of_word).unwrap_or(Self::None)
    }
}

/// Lines by level.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(crate) struct Levels([u64; NAMES.len()]);

/// In the order of [`Level`].
const NAMES: [&str; 10] = ["trace", "debug", "info", "notice", "warn", "error", "critical", "fatal", "other", "none"];

impl Levels {
    pub(crate) fn count(&mut self, level: Level) {
        self.0[level as usize] += 1;
    }

    /// By name, without those there are none of.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        NAMES.into_iter().zip(self.0).filter(|(_, lines)| *lines > 0)
    }
}

impl AddAssign for Levels {
    fn add_assign(&mut self, more: Self) {
        self.0.iter_mut().zip(more.0).for_each(|(lines, more)| *lines += more);
    }
}

impl Serialize for Levels {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(self.iter())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_a_word_of_its_own_near_the_beginning() {
        for (line, level) in [
            ("2026-11-21T10:00:00Z [WARN] slow", Level::Warn),
            ("level=error msg=x", Level::Error),
            ("Information: started", Level::Info),
            ("we warned them", Level::None),
            ("a b c d e f g h error", Level::None),
            ("    at main.rs:7", Level::None),
        ] {
            assert_eq!(Level::of_plain(line), level, "{line}");
        }
        assert_eq!(
            [10.0, 30.0, 60.0, 35.0].map(Level::of_number),
            [Level::Trace, Level::Info, Level::Fatal, Level::Other]
        );
    }

    #[test]
    fn every_level_has_its_name() {
        let mut levels = Levels::default();
        for level in [Level::Trace, Level::Fatal, Level::None, Level::None] {
            levels.count(level);
        }
        levels += levels;
        let counted: Vec<_> = levels.iter().collect();
        assert_eq!(counted, [("trace", 2), ("fatal", 2), ("none", 4)]);
    }
}
