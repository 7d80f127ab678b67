//! How it gets on: a bar for a person, lines for a program, nothing for a file.

use std::io::IsTerminal;

use indicatif::{HumanBytes, ProgressBar, ProgressStyle};

use crate::args::{Show, Way};

pub(crate) enum Progress {
    Bar(ProgressBar),
    Lines { way: Way, of: u64 },
    Nothing,
}

impl Progress {
    /// Of `of` files, the given way.
    pub(crate) fn new(show: Show, way: Way, of: u64) -> Self {
        match show {
            Show::Auto if std::io::stderr().is_terminal() => {
                let style = ProgressStyle::with_template("{prefix:>15} {wide_bar} {human_pos}/{human_len} {msg} {eta}");
                let bar = ProgressBar::new(of).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
                bar.set_prefix(way.name());
                Self::Bar(bar)
            }
            Show::Lines => Self::Lines { way, of },
            Show::Auto | Show::Off => Self::Nothing,
        }
    }

    pub(crate) fn show(&self, files: u64, failed: u64, bytes: u64) {
        match self {
            Self::Bar(bar) => {
                bar.set_message(HumanBytes(bytes).to_string());
                bar.set_position(files + failed);
            }
            Self::Lines { way, of } => {
                eprintln!("{}: {files} of {of} files drained, {failed} failed, {bytes} bytes", way.name());
            }
            Self::Nothing => {}
        }
    }

    pub(crate) fn clear(&self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}
