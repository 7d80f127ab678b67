//! Sockets: time-outs from the time that is left, and a guard that frees whoever is blocked on one.
//!
//! A blocked system call on a socket is ended by `shutdown`, from any thread and through any handle of the socket; closing
//! would not do it. **Invariants** and **Locking**: those of [`Watch`].

use super::super::Context;
use super::Watch;
use crate::error::Interrupted;
use std::io;
use std::net::{Shutdown, TcpStream, UdpSocket};
use std::time::Duration;

mod sealed {
    use super::{Duration, TcpStream, io};

    pub trait Timed {
        fn set_timeouts(&self, left: Option<Duration>) -> io::Result<()>;
    }

    pub trait Guarded {
        /// Another handle of the same socket. Whatever it is, on it `shutdown` is what `TcpStream::shutdown` does.
        fn handle(&self) -> io::Result<TcpStream>;
    }
}

/// A socket that takes time-outs: [`Context::apply_to`]. `TcpStream`, `UdpSocket`, and on Unix `UnixStream` and
/// `UnixDatagram`.
pub trait Timed: sealed::Timed {}

/// A socket that can be shut down while somebody is blocked on it: [`Context::guard`]. What that frees:
///
/// | socket | on | freed |
/// |---|---|---|
/// | `TcpStream` | all systems | reads, peeks and writes |
/// | `UnixStream` | Unix | reads and writes |
/// | `TcpListener`, `UnixListener` | Linux, Android | accepts |
/// | `UdpSocket` | Linux, Android | receives, connected or not |
/// | `UnixDatagram` | Linux, Android | receives; sends on a pair, or to a peer that is connected back |
///
/// **Not freed**: a send on a `UnixDatagram` to a peer with a full queue that is not connected back. It waits in the
/// peer's line, until that one receives or is closed: bound it with [`apply_to`](Context::apply_to). Other systems do not
/// promise that a shutdown frees who accepts or receives datagrams, so those sockets cannot be guarded there.
pub trait Guarded: sealed::Guarded {}

fn set_both<T: ?Sized>(
    socket: &T,
    left: Option<Duration>,
    read: fn(&T, Option<Duration>) -> io::Result<()>,
    write: fn(&T, Option<Duration>) -> io::Result<()>,
) -> io::Result<()> {
    read(socket, left)?;
    write(socket, left)
}

impl Timed for TcpStream {}
impl sealed::Timed for TcpStream {
    fn set_timeouts(&self, left: Option<Duration>) -> io::Result<()> {
        set_both(self, left, Self::set_read_timeout, Self::set_write_timeout)
    }
}

impl Timed for UdpSocket {}
impl sealed::Timed for UdpSocket {
    fn set_timeouts(&self, left: Option<Duration>) -> io::Result<()> {
        set_both(self, left, Self::set_read_timeout, Self::set_write_timeout)
    }
}

impl Guarded for TcpStream {}
impl sealed::Guarded for TcpStream {
    fn handle(&self) -> io::Result<TcpStream> {
        self.try_clone()
    }
}

#[cfg(unix)]
mod unix {
    use super::{Guarded, Timed, sealed, set_both};
    use std::io;
    use std::net::TcpStream;
    use std::os::fd::AsFd;
    use std::os::unix::net::{UnixDatagram, UnixStream};
    use std::time::Duration;

    /// std offers `shutdown` on streams only; the call behind it takes any socket.
    fn as_stream(socket: &impl AsFd) -> io::Result<TcpStream> {
        Ok(socket.as_fd().try_clone_to_owned()?.into())
    }

    impl Timed for UnixStream {}
    impl sealed::Timed for UnixStream {
        fn set_timeouts(&self, left: Option<Duration>) -> io::Result<()> {
            set_both(self, left, Self::set_read_timeout, Self::set_write_timeout)
        }
    }

    impl Timed for UnixDatagram {}
    impl sealed::Timed for UnixDatagram {
        fn set_timeouts(&self, left: Option<Duration>) -> io::Result<()> {
            set_both(self, left, Self::set_read_timeout, Self::set_write_timeout)
        }
    }

    impl Guarded for UnixStream {}
    impl sealed::Guarded for UnixStream {
        fn handle(&self) -> io::Result<TcpStream> {
            as_stream(self)
        }
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
    mod linux {
        use super::{Guarded, TcpStream, UnixDatagram, as_stream, io, sealed};
        use std::net::{TcpListener, UdpSocket};
        use std::os::unix::net::UnixListener;

        impl Guarded for TcpListener {}
        impl sealed::Guarded for TcpListener {
            fn handle(&self) -> io::Result<TcpStream> {
                as_stream(self)
            }
        }

        impl Guarded for UnixListener {}
        impl sealed::Guarded for UnixListener {
            fn handle(&self) -> io::Result<TcpStream> {
                as_stream(self)
            }
        }

        impl Guarded for UdpSocket {}
        impl sealed::Guarded for UdpSocket {
            fn handle(&self) -> io::Result<TcpStream> {
                as_stream(self)
            }
        }

        impl Guarded for UnixDatagram {}
        impl sealed::Guarded for UnixDatagram {
            fn handle(&self) -> io::Result<TcpStream> {
                as_stream(self)
            }
        }
    }
}

/// The finest time-out a socket knows. Zero would be refused, and to the system below it would mean "none".
const FINEST: Duration = Duration::from_micros(1);

/// Shuts a socket down when its context ends. Made by [`Context::guard`].
///
/// # Cancellation
///
/// Dropping the guard ends the watch and closes its handle, which kept the socket open; the socket is left as it is. A shutdown that is under way is
/// waited for; once the drop has returned, none comes.
#[derive(Debug)]
#[must_use = "the socket is no longer guarded once the guard is dropped"]
pub struct SocketGuard(Watch<TcpStream>);

impl SocketGuard {
    /// `Err` once the guard has shut the socket down: an end of file or an error that was seen is then its doing.
    ///
    /// # Errors
    ///
    /// Why the context ended.
    pub fn check(&self) -> Result<(), Interrupted> {
        self.0.check()
    }

    /// Runs `f`, which reads from the socket, writes to it or accepts ([what is freed](Guarded)), and gives its outcome; but the reason why the
    /// context ended, if the guard has shut the socket down before `f` or during it. An end of file that only means "the
    /// context has ended" can so never be taken for the peer's.
    ///
    /// What `f` did by then may have had an effect: bytes may have been sent.
    ///
    /// # Errors
    ///
    /// `f`'s own; or the [`Interrupted`] as an [`io::Error`]: of kind `TimedOut` for a deadline and `Other` for a
    /// cancellation, with the reason inside.
    pub fn run<R>(&self, f: impl FnOnce() -> io::Result<R>) -> io::Result<R> {
        self.0.run(f)
    }
}

impl Context {
    /// Sets the socket's read and write time-outs to the time left, at least a microsecond; without a deadline, to none.
    ///
    /// A time-out is for *one* call, and each gets all of it: ten reads may take ten times as long. Call it before each, or
    /// use [`guard`](Self::guard), which also hears a cancellation. A call that times out fails with `WouldBlock` or
    /// `TimedOut`, depending on the system. The time left is taken from this context's clock, and spent by the system's.
    ///
    /// # Errors
    ///
    /// The [`Interrupted`] as an [`io::Error`] if the context has ended; the time-outs are then as they were. Otherwise
    /// the system's.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::{ErrorKind, Read};
    /// use std::net::{TcpListener, TcpStream};
    /// use std::time::Duration;
    /// use watertight::Context;
    ///
    /// let silent = TcpListener::bind("127.0.0.1:0")?;
    /// let mut stream = TcpStream::connect(silent.local_addr()?)?;
    /// let cx = Context::current().with_timeout(Duration::from_millis(20));
    /// cx.apply_to(&stream)?;
    /// let timed_out = stream.read(&mut [0; 16]).unwrap_err().kind();
    /// assert!(matches!(timed_out, ErrorKind::WouldBlock | ErrorKind::TimedOut));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn apply_to<S: Timed + ?Sized>(&self, socket: &S) -> io::Result<()> {
        let left = self.remaining();
        self.check()?; // looks later than the line above: what was nothing then is an error now
        socket.set_timeouts(left.map(|left| left.max(FINEST)))
    }

    /// Guards a socket: when this context ends, by cancellation or deadline, the socket is shut down both ways, and
    /// whoever is blocked on it, through whatever handle, in a call that a shutdown ends returns at once. So a read on a
    /// silent peer ends. Which calls of which socket those are: [`Guarded`].
    ///
    /// A socket that was shut down is of no further use: a connection is broken, a listener accepts no more. Of what wraps
    /// a socket, an encrypted stream or a buffered one, guard the socket inside.
    ///
    /// The guard has a handle of its own (one file descriptor) until it is dropped, and a socket is open as long as any
    /// handle of it is. **A guard that outlives its stream keeps the connection open**: the peer sees no end of file when
    /// the stream is dropped, but when the guard is; a listener's port stays taken, and connections to it are still made.
    /// Drop the guard with the stream or before it.
    ///
    /// The shutdown is one system call, on the
    /// thread that cancels or on the clock's; the first deadline waited for in the process starts that one. While a
    /// connection is being made there is no socket to guard yet: `TcpStream::connect_timeout` takes the
    /// [time left](Self::remaining).
    ///
    /// # Cancellation
    ///
    /// See [`SocketGuard`].
    ///
    /// # Errors
    ///
    /// The [`Interrupted`] as an [`io::Error`] if the context has ended already: the socket is then left as it is. If no
    /// second handle can be had; and as [`on_end`](Self::on_end).
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::Read;
    /// use std::net::{TcpListener, TcpStream};
    /// use watertight::{CancelToken, Context, Interrupted};
    ///
    /// let silent = TcpListener::bind("127.0.0.1:0")?;
    /// let mut stream = TcpStream::connect(silent.local_addr()?)?;
    /// let token = CancelToken::new();
    /// let cx = Context::background().with_token(&token);
    /// let reader = std::thread::spawn(move || {
    ///     let guard = cx.guard(&stream)?;
    ///     guard.run(|| stream.read(&mut [0; 16]))
    /// });
    /// token.cancel();
    /// let error = reader.join().unwrap().unwrap_err();
    /// assert!(error.get_ref().is_some_and(|inner| inner.is::<Interrupted>()));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn guard<S: Guarded + ?Sized>(&self, socket: &S) -> io::Result<SocketGuard> {
        self.check()?;
        let watch = Watch::new(self, socket.handle()?, |handle| {
            let _ = handle.shutdown(Shutdown::Both); // refused where the peer is gone already: nobody is blocked then
            true
        })?;
        Ok(SocketGuard(watch))
    }
}
