//! The example's own processes: it starts itself again in a hidden role, and no child outlives its parent.
//!
//! A child writes one line of JSON when it is ready and leaves when its standard input ends. The parent holds the other
//! end of that pipe, so the child leaves however the parent died, `kill -9` included.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::process::Stdio;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{ChildStdin, ChildStdout, Command};

/// How long a child may take to start.
const START: Duration = Duration::from_secs(10);

/// A running child. Dropping it kills it.
pub(crate) struct Child {
    role: &'static str,
    process: tokio::process::Child,
    /// Open for as long as the child shall live.
    _stdin: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
    pid: u32,
}

impl Child {
    /// Starts this program in `role` and waits for its first line.
    pub(crate) async fn start<T: DeserializeOwned>(role: &'static str, args: &[OsString]) -> io::Result<(Self, T)> {
        let mut process = Command::new(std::env::current_exe()?)
            .arg(role)
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let (stdin, stdout) = (process.stdin.take(), process.stdout.take());
        let (Some(stdin), Some(stdout), Some(pid)) = (stdin, stdout, process.id()) else {
            return Err(io::Error::other(format!("{role}: no pipes to the child")));
        };
        let mut child = Self { role, process, _stdin: stdin, lines: BufReader::new(stdout).lines(), pid };
        let ready = tokio::time::timeout(START, child.next()).await;
        match ready {
            Ok(Ok(Some(ready))) => Ok((child, ready)),
            Ok(Ok(None)) => Err(io::Error::other(format!("{role}: the child left before it was ready"))),
            Ok(Err(e)) => Err(e),
            Err(_) => Err(io::Error::other(format!("{role}: the child was not ready after {START:?}"))),
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid
    }

    /// The child's next line; `None` when it has closed its output.
    pub(crate) async fn next<T: DeserializeOwned>(&mut self) -> io::Result<Option<T>> {
        let Some(line) = self.lines.next_line().await? else {
            return Ok(None);
        };
        let parsed = serde_json::from_str(&line);
        parsed.map(Some).map_err(|e| io::Error::other(format!("{}: {e} in {line:.200}", self.role)))
    }

    /// Kills the child and waits until it is gone.
    pub(crate) async fn kill(mut self) -> io::Result<()> {
        self.process.kill().await
    }
}

/// Called by a child: says that it is ready, and from then on leaves when the parent does.
pub(crate) fn ready<T: Serialize>(what: &T) {
    std::thread::Builder::new()
        .name("parent-watch".into())
        .spawn(|| {
            let mut rest = Vec::new();
            // An error is as good a sign as the end.
            let _ = io::stdin().lock().read_to_end(&mut rest);
            std::process::exit(0);
        })
        .expect("a thread can be started before there is any load");
    say(what);
}

/// Called by a child: one line to the parent.
pub(crate) fn say<T: Serialize>(what: &T) {
    let line = serde_json::to_string(what).expect("the types of these lines have string keys only");
    // A parent that does not listen any more is gone, and the watch ends this process.
    let _ = writeln!(io::stdout().lock(), "{line}");
}
