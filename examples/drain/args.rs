//! The command line.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use serde::{Deserialize, Serialize};

/// Drains a folder of log files with a pool of workers, next to one worker and next to a thread per file.
///
/// NDJSON or plain lines, as they are or gzipped, in nested folders. Without a folder it makes a sample of its own, drains
/// that and removes it.
#[derive(Parser, Clone, Debug)]
#[command(name = "drain")]
pub(crate) struct Args {
    /// The folder with your files
    pub(crate) folder: Option<PathBuf>,
    /// Where the report goes, as JSON, in one step; it says whether it is complete, and after Ctrl-C it is not
    #[arg(long)]
    pub(crate) out: Option<PathBuf>,
    /// Workers of the pool
    #[arg(long, default_value_t = 40)]
    pub(crate) threads: usize,
    /// Files that may wait for a worker: what bounds the memory, whatever the backlog
    #[arg(long, default_value_t = 80)]
    pub(crate) queue: usize,
    /// Which ways, in this order; the first reads from the disk what the others may find in the system's cache
    #[arg(long, value_delimiter = ',', default_value = "pool,one,thread-per-file")]
    pub(crate) ways: Vec<Way>,
    /// How to show that it gets on
    #[arg(long, default_value = "auto")]
    pub(crate) progress: Show,
    /// Pretend that opening a file takes this many milliseconds, as it may over a network
    #[arg(long, default_value_t = 0)]
    pub(crate) latency: u64,
    /// A small sample, for continuous integration
    #[arg(long)]
    pub(crate) ci: bool,
    /// Files of the sample
    #[arg(long, default_value_t = 3_000)]
    pub(crate) sample_files: u64,
    /// What the sample is made from: the same seed makes the same files
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,
    #[command(flatten)]
    pub(crate) hidden: Hidden,
}

/// For this program talking to itself, and for its tests.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct Hidden {
    /// Be the child that drains this one way
    #[arg(long, hide = true)]
    pub(crate) child: Option<Way>,
    /// Where the child writes its report
    #[arg(long, hide = true)]
    pub(crate) unfinished: Option<PathBuf>,
    /// The parser panics at files with this in their name
    #[arg(long, hide = true)]
    pub(crate) panic_on: Option<String>,
    /// The stack of each thread of thread-per-file, in bytes: a way to have the system refuse one
    #[arg(long, hide = true)]
    pub(crate) stack: Option<usize>,
}

#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(crate) enum Way {
    /// A pool of --threads workers behind a queue of --queue files
    Pool,
    /// A plain loop
    One,
    /// `std::thread::spawn` for each file
    ThreadPerFile,
}

impl Way {
    /// As on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Pool => "pool",
            Self::One => "one",
            Self::ThreadPerFile => "thread-per-file",
        }
    }
}

#[derive(ValueEnum, Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Show {
    /// A bar if standard error is a terminal, else nothing
    Auto,
    /// Lines on standard error
    Lines,
    /// Nothing
    Off,
}
