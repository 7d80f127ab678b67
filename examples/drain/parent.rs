//! The process that was started: starts a child for each way, shows how it gets on, and gathers what it says.

use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Mutex;

use watertight::CancelToken;

use crate::Result;
use crate::args::{Args, Way};
use crate::child::{Done, Said};
use crate::progress::Progress;

/// How a way ended.
pub(crate) enum Ended {
    Done(Box<Done>),
    /// It said what was wrong, or was ended by the system before it could.
    Failed(String),
}

/// Drains the folder this way, in a child. Its report goes to `unfinished`.
pub(crate) fn drain(
    way: Way,
    args: &Args,
    folder: &Path,
    unfinished: Option<&Path>,
    token: &CancelToken,
    progress: &Progress,
) -> Result<Ended> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(arguments(way, args, folder, unfinished)).stdin(Stdio::piped()).stdout(Stdio::piped());
    // Out of reach of the terminal's Ctrl-C, which would end it before it can hear of it from here.
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let mut child = Running(command.spawn()?);
    // Cancelling ends its input, which it takes for the word to stop. The registration is undone with this function.
    let input = Mutex::new(child.0.stdin.take());
    let _registration = token.on_cancel(move |_| end(&input));

    let said = BufReader::new(child.0.stdout.take().ok_or("the child has no output")?);
    let mut ended = None;
    for line in said.lines() {
        match serde_json::from_str(&line?)? {
            Said::Progress { files, failed, bytes } => progress.show(files, failed, bytes),
            Said::Done(done) => ended = Some(Ended::Done(done)),
            Said::Failed(why) => ended = Some(Ended::Failed(why)),
        }
    }
    progress.clear();
    let status = child.0.wait()?;
    Ok(ended.unwrap_or_else(|| Ended::Failed(format!("its process ended before it was done: {status}"))))
}

fn end(input: &Mutex<Option<ChildStdin>>) {
    drop(input.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take());
}

/// Never left behind.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill(); // an error if it has ended, and that is what is wanted
        let _ = self.0.wait();
    }
}

fn arguments(way: Way, args: &Args, folder: &Path, unfinished: Option<&Path>) -> Vec<OsString> {
    let mut all: Vec<OsString> = Vec::new();
    let mut add = |name: &str, value: OsString| all.extend([name.into(), value]);
    add("--child", way.name().into());
    add("--threads", args.threads.to_string().into());
    add("--queue", args.queue.to_string().into());
    add("--latency", args.latency.to_string().into());
    if let Some(out) = &args.out {
        add("--out", out.into());
    }
    if let Some(unfinished) = unfinished {
        add("--unfinished", unfinished.into());
    }
    if let Some(part) = &args.hidden.panic_on {
        add("--panic-on", part.into());
    }
    if let Some(bytes) = args.hidden.stack {
        add("--stack", bytes.to_string().into());
    }
    add("--", folder.into());
    all
}
