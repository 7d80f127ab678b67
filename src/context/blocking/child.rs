//! [`ChildGuard`]: a child process that ends with its context.
//!
//! The kill and the wait come from different threads. shared_child keeps them apart: the process's number is not free for
//! another process before the kill is over. Unless somebody else reaps it: where SIGCHLD is ignored, the system does.
//!
//! **Invariants.** Those of [`Watch`], and: 1. Signalled is only what was just seen to run. 2. That a signal was sent does
//! not say that it killed: one that was ending has swallowed it. How the child ended says it, where that can be known.
//! **Locking.** That of [`Watch`].

use super::super::Context;
use super::Watch;
use crate::error::Interrupted;
use crate::sync::Shared;
use shared_child::SharedChild;
use std::io;
use std::process::{ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus};

/// A child process that is killed when its context ends, and when the guard is dropped. Made by [`Context::spawn`].
///
/// Whether it was killed is judged by how it ended: one that was already ending when its context did has not been killed,
/// and its status and its output are its own. On systems that do not tell how (other than Unix) any failure counts.
///
/// Only the child itself is killed. What it has started in turn lives on, and keeps the pipes that it inherited open: a
/// read of the output then lasts until those processes end too. Start what you want to kill directly, not through a shell.
///
/// # Blocking
///
/// Dropping it kills the child if it still runs, waits for its end and closes its pipes: no zombie, no file descriptor is
/// left. Killed processes end at once, unless the system holds them in an uninterruptible call. A child that may not be
/// killed, because it changed its user, is left to itself.
///
/// # Errors
///
/// Where the process ignores SIGCHLD, which it may have inherited, or reaps children that are not its own code's, the status
/// of a child is lost: every method that needs it gives the system's error (no such child), unless the child had been
/// killed for its context. Nothing is ever signalled that was not just seen to run; but in such a process the system may
/// give away the number in the instant between.
#[derive(Debug)]
#[must_use = "the child is killed at once when the guard is dropped"]
pub struct ChildGuard {
    process: Shared<Process>,
    watch: Watch<Shared<Process>>,
}

/// The only way to the child, so that nobody signals it without looking.
#[derive(Debug)]
struct Process(SharedChild);

impl Process {
    /// Whether it was signalled: `false` if it has ended. An error if it cannot be looked at, because somebody else has
    /// reaped it: its number may be another's by now.
    fn kill(&self) -> io::Result<bool> {
        if_running(self.0.try_wait(), || self.0.kill())
    }

    fn kill_and_reap(&self) {
        // One that may not be killed may live for ever.
        let _ = if self.kill().is_ok() { self.0.wait().map(Some) } else { self.0.try_wait() };
    }
}

fn if_running(seen: io::Result<Option<ExitStatus>>, signal: impl FnOnce() -> io::Result<()>) -> io::Result<bool> {
    match seen? {
        Some(_) => Ok(false),
        None => signal().map(|()| true),
    }
}

impl ChildGuard {
    /// The process's number.
    pub fn id(&self) -> u32 {
        self.process.0.id()
    }

    /// Waits for the child's end. Its standard input is not closed first: [`take_stdin`](Self::take_stdin) and drop it.
    /// Several threads may wait.
    ///
    /// # Blocking
    ///
    /// Blocks this thread until the child has ended; the context's end ends it, by killing the child. One that may not be
    /// killed, because it changed its user, is waited for until it ends by itself.
    ///
    /// # Errors
    ///
    /// The [`Interrupted`] as an [`io::Error`] if the child was killed because the context ended; if it was faster, its
    /// status. Otherwise the system's.
    pub fn wait(&self) -> io::Result<ExitStatus> {
        let ended = self.process.0.wait();
        judge(ended, self.watch.check())
    }

    /// The child's status if it has ended.
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait).
    pub fn try_wait(&self) -> io::Result<Option<ExitStatus>> {
        let ended = self.process.0.try_wait().transpose();
        ended.map(|ended| judge(ended, self.watch.check())).transpose()
    }

    /// Kills the child, if it has not ended; [`wait`](Self::wait) then gives its status.
    ///
    /// # Errors
    ///
    /// The system's: it may not be killed, or somebody else has reaped it, and nothing was signalled.
    pub fn kill(&self) -> io::Result<()> {
        self.process.kill().map(|_| ())
    }

    /// `Err` once the child was killed because its context ended: an end of its output is then the kill's doing. A child
    /// that was ending by itself when its context did was not killed.
    ///
    /// # Blocking
    ///
    /// Once the context has ended and the child was sent the kill, waits for the child's end, which says what came first:
    /// a moment, unless the system holds the child in an uninterruptible call. Otherwise it does not block.
    ///
    /// # Errors
    ///
    /// Why the context ended.
    pub fn check(&self) -> Result<(), Interrupted> {
        let why = self.watch.check();
        if why.is_err() && self.process.0.wait().is_ok_and(|status| !may_be_killed(status)) {
            return Ok(());
        }
        why
    }

    /// Runs `f`, which reads the child's output or writes its input, and gives its outcome; but the reason why the context
    /// ended, if the child was killed for it before `f` or during it. Output that was cut off can so never be taken for
    /// all of it, and all of it is not given up because the context ended while the child did.
    ///
    /// # Blocking
    ///
    /// As `f` does, and as [`check`](Self::check).
    ///
    /// # Errors
    ///
    /// `f`'s own, or the [`Interrupted`] as an [`io::Error`].
    pub fn run<R>(&self, f: impl FnOnce() -> io::Result<R>) -> io::Result<R> {
        self.check()?;
        let outcome = f();
        self.check()?;
        outcome
    }

    /// The pipe to its standard input, once, if the command asked for one.
    pub fn take_stdin(&self) -> Option<ChildStdin> {
        self.process.0.take_stdin()
    }

    /// The pipe from its standard output, once, if the command asked for one.
    pub fn take_stdout(&self) -> Option<ChildStdout> {
        self.process.0.take_stdout()
    }

    /// The pipe from its standard error, once, if the command asked for one.
    pub fn take_stderr(&self) -> Option<ChildStderr> {
        self.process.0.take_stderr()
    }
}

/// `sent`: why the child was sent the kill, if it was. Where the status is lost, a kill that was sent has killed.
fn judge(ended: io::Result<ExitStatus>, sent: Result<(), Interrupted>) -> io::Result<ExitStatus> {
    if !ended.as_ref().is_ok_and(|status| !may_be_killed(*status)) {
        sent?;
    }
    ended
}

#[cfg(unix)]
fn may_be_killed(status: ExitStatus) -> bool {
    use std::os::unix::process::ExitStatusExt;
    const SIGKILL: i32 = 9; // the same on every Unix
    status.signal() == Some(SIGKILL)
}

#[cfg(not(unix))]
fn may_be_killed(status: ExitStatus) -> bool {
    !status.success()
}

impl Drop for ChildGuard {
    fn drop(&mut self) {
        self.watch.over(); // nobody kills any more, and nobody else holds the pipes
        self.process.kill_and_reap();
    }
}

impl Context {
    /// Starts a child process that is killed when this context ends, so that [`wait`](ChildGuard::wait), and a read of its
    /// output, return at once.
    ///
    /// # Errors
    ///
    /// The [`Interrupted`] as an [`io::Error`] if the context has ended already: nothing was started. If the command cannot
    /// be started; and as [`on_end`](Self::on_end), the child having been killed.
    ///
    /// # Examples
    ///
    /// ```
    /// # if !cfg!(unix) { return Ok(()) }
    /// use std::io::Read;
    /// use std::process::{Command, Stdio};
    /// use std::time::Duration;
    /// use watertight::Context;
    ///
    /// let cx = Context::current().with_timeout(Duration::from_secs(5));
    /// let child = cx.spawn(Command::new("echo").arg("all of it").stdout(Stdio::piped()))?;
    /// let mut text = String::new();
    /// if let Some(mut output) = child.take_stdout() {
    ///     child.run(|| output.read_to_string(&mut text))?; // `TimedOut` after five seconds, never half a text
    /// }
    /// assert_eq!(text, "all of it\n");
    /// assert!(child.wait()?.success());
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn spawn(&self, command: &mut Command) -> io::Result<ChildGuard> {
        self.check()?;
        let process = Shared::new(Process(SharedChild::spawn(command)?));
        match Watch::new(self, process.clone(), |process| process.kill().is_ok_and(|sent| sent)) {
            Ok(watch) => Ok(ChildGuard { process, watch }),
            Err(refused) => {
                process.kill_and_reap();
                Err(refused)
            }
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use crate::error::CancelCause;
    use std::os::unix::process::ExitStatusExt;

    const SENT: Result<(), Interrupted> = Err(Interrupted::Cancelled(CancelCause::Requested));

    fn lost<T>() -> io::Result<T> {
        Err(io::ErrorKind::NotFound.into())
    }

    #[test]
    fn what_cannot_be_seen_to_run_is_not_signalled() {
        let unsignalled = || -> io::Result<()> { unreachable!("signalled") };
        let status = ExitStatus::from_raw(0);
        assert!(!if_running(Ok(Some(status)), unsignalled).unwrap());
        assert_eq!(if_running(lost(), unsignalled).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert!(if_running(Ok(None), || Ok(())).unwrap());
        assert!(if_running(Ok(None), lost).is_err());
    }

    #[test]
    fn a_child_was_killed_if_it_was_sent_the_kill_and_ended_by_it() {
        let (own, killed) = (ExitStatus::from_raw(3 << 8), ExitStatus::from_raw(9));
        assert_eq!(judge(Ok(own), SENT).unwrap(), own, "it swallowed the signal");
        assert_eq!(judge(Ok(own), Ok(())).unwrap(), own);
        assert_eq!(judge(Ok(killed), Ok(())).unwrap(), killed, "by somebody else");
        let why = |ended| judge(ended, SENT).unwrap_err().get_ref().and_then(|inner| inner.downcast_ref()).copied();
        assert_eq!(why(Ok(killed)).map_or(Ok(()), Err), SENT);
        assert_eq!(why(lost()).map_or(Ok(()), Err), SENT);
        assert_eq!(judge(lost(), Ok(())).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
