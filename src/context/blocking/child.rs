//! [`ChildGuard`]: a child process that ends with its context.
//!
//! The kill and the wait come from different threads. shared_child keeps them apart: the process's number is not free for
//! another process before the kill is over. **Invariants** and **Locking**: those of [`Watch`].

use super::super::Context;
use super::Watch;
use crate::error::Interrupted;
use crate::sync::Shared;
use shared_child::SharedChild;
use std::io;
use std::process::{ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus};

/// A child process that is killed when its context ends, and when the guard is dropped. Made by [`Context::spawn`].
///
/// Only the child itself is killed. What it has started in turn lives on, and keeps the pipes that it inherited open: a
/// read of the output then lasts until those processes end too. Start what you want to kill directly, not through a shell.
///
/// # Blocking
///
/// Dropping it kills the child if it still runs, waits for its end and closes its pipes: no zombie, no file descriptor is
/// left. Killed processes end at once, unless the system holds them in an uninterruptible call. A child that may not be
/// killed, because it changed its user, is left to itself.
#[derive(Debug)]
#[must_use = "the child is killed at once when the guard is dropped"]
pub struct ChildGuard {
    child: Shared<SharedChild>,
    watch: Watch<Shared<SharedChild>>,
}

impl ChildGuard {
    /// The process's number.
    pub fn id(&self) -> u32 {
        self.child.id()
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
        let status = self.child.wait()?;
        self.judge(status)
    }

    /// The child's status if it has ended.
    ///
    /// # Errors
    ///
    /// As [`wait`](Self::wait).
    pub fn try_wait(&self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()?.map(|status| self.judge(status)).transpose()
    }

    fn judge(&self, status: ExitStatus) -> io::Result<ExitStatus> {
        if may_be_killed(status) {
            self.watch.check()?;
        }
        Ok(status)
    }

    /// Kills the child, if it has not ended; [`wait`](Self::wait) then gives its status.
    ///
    /// # Errors
    ///
    /// The system's: it may not be killed.
    pub fn kill(&self) -> io::Result<()> {
        self.child.kill()
    }

    /// `Err` once the child was killed because its context ended: an end of its output is then the kill's doing.
    ///
    /// # Errors
    ///
    /// Why the context ended.
    pub fn check(&self) -> Result<(), Interrupted> {
        self.watch.check()
    }

    /// Runs `f`, which reads the child's output or writes its input, and gives its outcome; but the reason why the context
    /// ended, if the child was killed for it before `f` or during it. Output that was cut off can so never be taken for
    /// all of it.
    ///
    /// # Errors
    ///
    /// `f`'s own, or the [`Interrupted`] as an [`io::Error`].
    pub fn run<R>(&self, f: impl FnOnce() -> io::Result<R>) -> io::Result<R> {
        self.watch.run(f)
    }

    /// The pipe to its standard input, once, if the command asked for one.
    pub fn take_stdin(&self) -> Option<ChildStdin> {
        self.child.take_stdin()
    }

    /// The pipe from its standard output, once, if the command asked for one.
    pub fn take_stdout(&self) -> Option<ChildStdout> {
        self.child.take_stdout()
    }

    /// The pipe from its standard error, once, if the command asked for one.
    pub fn take_stderr(&self) -> Option<ChildStderr> {
        self.child.take_stderr()
    }
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
        // One that may not be killed may live for ever.
        let _ = if self.child.kill().is_ok() { self.child.wait().map(Some) } else { self.child.try_wait() };
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
        let child = Shared::new(SharedChild::spawn(command)?);
        let watch = Watch::new(self, child.clone(), |child| {
            // One that has ended by itself was not killed by us.
            !matches!(child.try_wait(), Ok(Some(_))) && child.kill().is_ok()
        });
        match watch {
            Ok(watch) => Ok(ChildGuard { child, watch }),
            Err(refused) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(refused)
            }
        }
    }
}
