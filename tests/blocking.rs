//! Blocked jobs are freed by the end of their context, and leave nothing behind: no thread, file descriptor, permit,
//! registration or child process.
//!
//! That a job was really blocked is read from the kernel: the thread says when it is about to call, and from then on
//! there is nothing but that call in which it can sleep.
#![cfg(target_os = "linux")]

use std::fs;
use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::process::Command;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::thread::yield_now;
use std::time::Duration;
use watertight::context::{ChannelError, Condition};
use watertight::{CancelCause, CancelToken, Context, Interrupted, JobError, ManualClock, Pool};

/// What ends the context.
#[derive(Clone, Copy, Debug)]
enum By {
    Cancel,
    ManualClock,
    SystemClock,
}
use By::{Cancel, ManualClock as Manual, SystemClock as System};

const ALL: [By; 3] = [Cancel, Manual, System];

/// Blocks within the context, having said when it is about to, and gives the reason why it came back.
type Scenario = fn(&Context, &dyn Fn()) -> Interrupted;

/// The name of this thread to the kernel.
fn this_thread() -> String {
    fs::read_link("/proc/thread-self").unwrap().file_name().unwrap().to_str().unwrap().into()
}

/// Until the thread of this process sleeps in a system call.
fn wait_until_asleep(thread: &str) {
    loop {
        let stat = fs::read_to_string(format!("/proc/self/task/{thread}/stat")).expect("it has not ended");
        let (_, after_name) = stat.rsplit_once(") ").unwrap();
        if after_name.starts_with('S') {
            return;
        }
        yield_now();
    }
}

/// The scenario as a job on a pool, freed; whatever it is freed from.
fn freed(name: &str, scenario: Scenario, by: By, sleeps: bool) {
    let time = ManualClock::new();
    let token = CancelToken::new();
    let alive = Arc::new(());
    let held = alive.clone();
    token.on_cancel(move |_| drop(held)).keep(); // goes when nobody holds the token any more
    let base = Context::background().with_token(&token);
    let pool = Pool::builder("blocked").threads(1).queue(0).build().unwrap();
    let mut timeout = Duration::from_millis(10);
    let why = loop {
        let cx = match by {
            Cancel => base.clone(),
            Manual => base.with_clock(&time.clock()).with_timeout(Duration::from_secs(3600)),
            System => base.with_timeout(timeout),
        };
        let (about_to, hears) = channel();
        let job = pool.job().context(&cx).submit(move || {
            let cx = Context::current();
            scenario(&cx, &|| about_to.send(this_thread()).unwrap())
        });
        let Ok(job) = job else { panic!("the place of the last job was not given back") };
        if !matches!(by, System) {
            let thread = hears.recv().unwrap();
            if sleeps {
                wait_until_asleep(&thread);
            }
            assert_eq!(pool.stats().in_flight, 1);
            match by {
                Manual => time.advance(Duration::from_secs(3600)),
                _ => token.cancel(),
            }
        }
        match job.join() {
            Ok(why) => break why,
            Err(JobError::Shed(_)) => timeout *= 2, // it did not come to run in time
            Err(e) => panic!("{name}: {e:?}"),
        }
    };
    let expected = match by {
        Cancel => Interrupted::Cancelled(CancelCause::Requested),
        Manual | System => Interrupted::DeadlinePassed,
    };
    assert_eq!(why, expected, "{name}, by {by:?}");
    assert_eq!(pool.stats().in_flight, 0);
    pool.shutdown(&Context::background()).unwrap();
    drop((base, token));
    // The clock's thread may still be about to put down the alarm that it has rung.
    let given_back = (0..1_000_000).any(|_| {
        yield_now();
        Arc::strong_count(&alive) == 1
    });
    assert!(given_back, "{name}, by {by:?}: somebody still holds the token");
    assert_eq!(time.waiting(), 0, "{name}, by {by:?}: an alarm is left");
}

fn freed_by_all(scenarios: &[(&str, Scenario)]) {
    for (name, scenario) in scenarios {
        for by in ALL {
            freed(name, *scenario, by, true);
        }
    }
}

/// What the guards and time-outs say, out of the error.
fn why<T>(outcome: io::Result<T>) -> Interrupted {
    let Err(error) = outcome else { panic!("nothing was there to be had") };
    *error.get_ref().and_then(|inner| inner.downcast_ref()).unwrap_or_else(|| panic!("another error: {error:?}"))
}

fn connection() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    (near, listener.accept().unwrap().0)
}

fn check_every_millisecond(_: &Context, about_to: &dyn Fn()) -> Interrupted {
    let (cx, mut begun) = (Context::current(), false);
    loop {
        if let Err(why) = cx.check() {
            return why;
        }
        if !std::mem::replace(&mut begun, true) {
            about_to();
        }
        std::thread::sleep(Duration::from_millis(1)); // a piece of work
    }
}

fn sleep(cx: &Context, about_to: &dyn Fn()) -> Interrupted {
    about_to();
    cx.sleep(Duration::MAX).unwrap_err()
}

fn recv(cx: &Context, about_to: &dyn Fn()) -> Interrupted {
    let (_sender, receiver) = crossbeam_channel::bounded::<()>(1);
    about_to();
    match cx.recv(&receiver) {
        Err(ChannelError::Interrupted(why)) => why,
        other => panic!("{other:?}"),
    }
}

fn send(cx: &Context, about_to: &dyn Fn()) -> Interrupted {
    let (sender, _receiver) = crossbeam_channel::bounded(0);
    about_to();
    match cx.send(&sender, ()).map_err(ChannelError::from) {
        Err(ChannelError::Interrupted(why)) => why,
        other => panic!("{other:?}"),
    }
}

fn condition(cx: &Context, about_to: &dyn Fn()) -> Interrupted {
    let (lock, condition) = (Mutex::new(0), Condition::new());
    let guard = lock.lock().unwrap();
    about_to();
    let end = cx.wait(&condition, guard, || lock.lock().unwrap()).unwrap_err();
    assert!(lock.try_lock().is_ok(), "the lock was let go and not taken again");
    end
}

fn tcp_read(cx: &Context, about_to: &dyn Fn()) -> Interrupted {
    let (mut silent, _peer) = connection();
    let guard = cx.guard(&silent);
    let Ok(guard) = guard else { return why(guard) };
    let read = guard.run(|| {
        about_to();
        silent.read(&mut [0; 16])
    });
    assert_eq!(guard.check().err(), Some(why(read)));
    why(guard.run(|| -> io::Result<()> { unreachable!("it is over") }))
}

fn tcp_write(cx: &Context, about_to: &dyn Fn()) -> Interrupted {
    let (mut unread, _peer) = connection();
    let guard = cx.guard(&unread);
    let Ok(guard) = guard else { return why(guard) };
    why(guard.run(|| {
        about_to();
        loop {
            unread.write_all(&[0; 65536])?; // until no buffer takes more
        }
        #[expect(unreachable_code, reason = "it says what the closure returns")]
        Ok(())
    }))
}

fn tcp_accept(cx: &Context, about_to: &dyn Fn()) -> Interrupted {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let guard = cx.guard(&listener);
    let Ok(guard) = guard else { return why(guard) };
    why(guard.run(|| {
        about_to();
        listener.accept()
    }))
}

fn udp_recv(cx: &Context, about_to: &dyn Fn()) -> Interrupted {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let guard = cx.guard(&socket);
    let Ok(guard) = guard else { return why(guard) };
    why(guard.run(|| {
        about_to();
        socket.recv_from(&mut [0; 16])
    }))
}

fn unix_read(cx: &Context, about_to: &dyn Fn()) -> Interrupted {
    let (mut silent, _peer) = UnixStream::pair().unwrap();
    let guard = cx.guard(&silent);
    let Ok(guard) = guard else { return why(guard) };
    why(guard.run(|| {
        about_to();
        silent.read(&mut [0; 16])
    }))
}

fn tcp_peek(cx: &Context, about_to: &dyn Fn()) -> Interrupted {
    let (silent, _peer) = connection();
    let guard = cx.guard(&silent);
    let Ok(guard) = guard else { return why(guard) };
    why(guard.run(|| {
        about_to();
        silent.peek(&mut [0; 16])
    }))
}

fn unix_write(cx: &Context, about_to: &dyn Fn()) -> Interrupted {
    let (mut unread, _peer) = UnixStream::pair().unwrap();
    let guard = cx.guard(&unread);
    let Ok(guard) = guard else { return why(guard) };
    why(guard.run(|| {
        about_to();
        while unread.write(&[0; 65536])? > 0 {}
        Ok(())
    }))
}

fn udp_connected_recv(cx: &Context, about_to: &dyn Fn()) -> Interrupted {
    let sockets = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").unwrap());
    sockets[0].connect(sockets[1].local_addr().unwrap()).unwrap();
    let guard = cx.guard(&sockets[0]);
    let Ok(guard) = guard else { return why(guard) };
    why(guard.run(|| {
        about_to();
        sockets[0].recv(&mut [0; 16])
    }))
}

fn unix_datagram_recv(cx: &Context, about_to: &dyn Fn()) -> Interrupted {
    let (silent, _peer) = UnixDatagram::pair().unwrap();
    let guard = cx.guard(&silent);
    let Ok(guard) = guard else { return why(guard) };
    why(guard.run(|| {
        about_to();
        silent.recv(&mut [0; 16])
    }))
}

fn unix_datagram_send(cx: &Context, about_to: &dyn Fn()) -> Interrupted {
    let (unread, _peer) = UnixDatagram::pair().unwrap();
    let guard = cx.guard(&unread);
    let Ok(guard) = guard else { return why(guard) };
    why(guard.run(|| {
        about_to();
        while unread.send(&[0; 1024])? > 0 {}
        Ok(())
    }))
}

fn unix_accept(cx: &Context, about_to: &dyn Fn()) -> Interrupted {
    let path = std::env::temp_dir().join(format!("watertight-{}-{}", std::process::id(), this_thread()));
    let listener = UnixListener::bind(&path).unwrap();
    fs::remove_file(path).unwrap();
    let guard = cx.guard(&listener);
    let Ok(guard) = guard else { return why(guard) };
    why(guard.run(|| {
        about_to();
        listener.accept()
    }))
}

#[cfg(feature = "process")]
mod process {
    use super::*;
    use std::process::Stdio;
    use watertight::context::ChildGuard;

    pub(super) fn child_wait(cx: &Context, about_to: &dyn Fn()) -> Interrupted {
        let child = cx.spawn(Command::new("sleep").arg("1000000"));
        let Ok(child) = child else { return why(child) };
        about_to();
        let end = why(child.wait());
        assert_eq!(why(child.try_wait()), end);
        end
    }

    pub(super) fn child_output(cx: &Context, about_to: &dyn Fn()) -> Interrupted {
        let child = cx.spawn(Command::new("cat").stdin(Stdio::piped()).stdout(Stdio::piped()));
        let Ok(child) = child else { return why(child) };
        let mut output = child.take_stdout().unwrap();
        why(child.run(|| {
            about_to();
            output.read(&mut [0; 16])
        }))
    }

    #[test]
    fn a_child_that_is_waited_for_or_read_from_is_killed() {
        freed_by_all(&[("child wait", child_wait), ("child output", child_output)]);
    }

    #[test]
    fn a_child_that_ends_by_itself_keeps_its_status() {
        let token = CancelToken::new();
        let cx = Context::background().with_token(&token);
        let child = cx.spawn(Command::new("sh").args(["-c", "cat; exit 3"]).stdin(Stdio::piped())).unwrap();
        assert_eq!(child.try_wait().unwrap(), None);
        drop(child.take_stdin());
        assert_eq!(child.wait().unwrap().code(), Some(3));
        token.cancel();
        assert_eq!((child.check(), child.wait().unwrap().code()), (Ok(()), Some(3)));
        assert!(child.kill().is_ok(), "and hits nobody");
        assert_eq!(why(cx.spawn(&mut Command::new("false"))), Interrupted::Cancelled(CancelCause::Requested));
    }

    #[test]
    fn a_child_that_ended_unseen_before_its_context_did_was_not_killed() {
        let token = CancelToken::new();
        let cx = Context::background().with_token(&token);
        let child = cx.spawn(Command::new("sh").args(["-c", "exit 3"]).stdout(Stdio::piped())).unwrap();
        let mut output = String::new();
        child.take_stdout().unwrap().read_to_string(&mut output).unwrap();
        while fs::read_to_string(format!("/proc/{}/stat", child.id())).is_ok_and(|stat| !stat.contains(") Z ")) {
            yield_now();
        }
        token.cancel();
        assert_eq!((child.check(), child.wait().unwrap().code()), (Ok(()), Some(3)));
    }

    /// Its output ends a moment before it does, and in that moment it takes the kill without being killed. Whichever of
    /// the two it was, everybody says the same.
    #[test]
    fn a_child_that_was_ending_when_its_context_did_was_not_killed() {
        for _ in 0..200 {
            let token = CancelToken::new();
            let cx = Context::background().with_token(&token);
            let child = cx.spawn(Command::new("true").stdout(Stdio::piped()).stderr(Stdio::piped())).unwrap();
            let read = child.run(|| child.take_stdout().unwrap().read_to_end(&mut Vec::new()));
            assert_eq!(read.unwrap(), 0);
            token.cancel();
            let checked = child.check();
            let read = child.run(|| child.take_stderr().unwrap().read_to_end(&mut Vec::new()));
            let ended = child.wait();
            assert_eq!((checked.is_ok(), read.is_ok()), (ended.is_ok(), ended.is_ok()), "{ended:?}");
            if let Ok(status) = ended {
                assert!(status.success());
            }
        }
    }

    /// As the system does where SIGCHLD is ignored.
    fn reap(child: &ChildGuard) {
        let id = rustix::process::Pid::from_raw(child.id().try_into().unwrap());
        let reaped = rustix::process::waitpid(id, rustix::process::WaitOptions::empty()).unwrap();
        assert!(reaped.is_some());
    }

    #[test]
    fn a_child_that_somebody_else_reaped_is_never_signalled_and_its_status_is_lost() {
        let no_child =
            |error: io::Error| assert_eq!(error.raw_os_error(), Some(rustix::io::Errno::CHILD.raw_os_error()));
        let token = CancelToken::new();
        let cx = Context::background().with_token(&token);
        let child = cx.spawn(&mut Command::new("true")).unwrap();
        let running = cx.spawn(Command::new("cat").stdin(Stdio::piped())).unwrap();
        reap(&child);
        no_child(child.kill().unwrap_err()); // "no such process" would mean that its number was signalled
        token.cancel();
        assert_eq!(child.check(), Ok(()));
        no_child(child.try_wait().unwrap_err());
        no_child(child.wait().unwrap_err());
        reap(&running);
        let requested = Interrupted::Cancelled(CancelCause::Requested);
        assert_eq!(
            (running.check(), why(running.wait()), why(running.try_wait())),
            (Err(requested), requested, requested)
        );
    }

    #[test]
    #[ignore = "has no threads and counts its children: run, in a process of its own, by the next test"]
    fn a_child_that_cannot_be_watched_alone() {
        let cx = Context::background().with_timeout(Duration::from_secs(3600));
        let refused = cx.spawn(Command::new("cat").stdin(Stdio::piped())).unwrap_err();
        assert!(refused.get_ref().is_some_and(|why| !why.is::<Interrupted>()), "{refused:?}");
        assert!(!left().2, "a child is left");
    }

    /// No thread can be had for the clock: its stack would be larger than any memory.
    #[test]
    fn a_child_that_cannot_be_watched_is_killed() {
        let mut program = Command::new(std::env::current_exe().unwrap());
        alone(
            "process::a_child_that_cannot_be_watched_alone",
            program.env("RUST_MIN_STACK", (1_u64 << 60).to_string()),
        );
    }

    #[test]
    fn a_child_that_is_killed_by_hand_or_by_the_drop_is_gone() {
        let cx = Context::background();
        let child = cx.spawn(Command::new("sleep").arg("1000000")).unwrap();
        child.kill().unwrap();
        assert!(!child.wait().unwrap().success());
        let child = cx.spawn(Command::new("sleep").arg("1000000")).unwrap();
        let entry = format!("/proc/{}", child.id());
        assert!(fs::exists(&entry).unwrap());
        drop(child);
        assert!(!fs::exists(&entry).unwrap(), "not even as a zombie");
    }
}

#[test]
fn a_job_that_checks_every_millisecond_stops() {
    for by in ALL {
        freed("check", check_every_millisecond, by, false);
    }
}

#[test]
fn a_job_blocked_on_a_channel_a_condition_or_a_sleep_is_freed() {
    freed_by_all(&[("sleep", sleep), ("recv", recv), ("send", send), ("condition", condition)]);
}

#[test]
fn a_job_blocked_in_a_read_on_a_silent_peer_is_freed() {
    freed_by_all(&[("read", tcp_read), ("peek", tcp_peek), ("unix read", unix_read)]);
}

#[test]
fn a_job_blocked_in_a_write_to_a_peer_that_does_not_read_is_freed() {
    freed_by_all(&[("write", tcp_write), ("unix write", unix_write), ("unix datagram send", unix_datagram_send)]);
}

#[test]
fn a_job_blocked_in_an_accept_or_on_a_datagram_is_freed() {
    freed_by_all(&[("accept", tcp_accept), ("unix accept", unix_accept), ("datagram", udp_recv)]);
    freed_by_all(&[("connected datagram", udp_connected_recv), ("unix datagram", unix_datagram_recv)]);
}

/// Every handle of the socket is ended, whoever made it, and the peer sees it too.
#[test]
fn the_peer_of_a_guarded_socket_sees_the_end() {
    let (near, mut far) = connection();
    let token = CancelToken::new();
    let _guard = Context::background().with_token(&token).guard(&near).unwrap();
    token.cancel();
    assert_eq!(far.read(&mut [0; 1]).unwrap(), 0);
    assert_eq!((&near).write(b"x").unwrap_err().kind(), io::ErrorKind::BrokenPipe);
}

/// Its handle is one like any other.
#[test]
fn a_guard_that_outlives_its_stream_keeps_the_connection_open() {
    let (near, mut far) = connection();
    let guard = Context::background().guard(&near).unwrap();
    drop(near);
    far.set_nonblocking(true).unwrap();
    assert_eq!(far.read(&mut [0; 1]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
    far.set_nonblocking(false).unwrap();
    drop(guard);
    assert_eq!(far.read(&mut [0; 1]).unwrap(), 0);
}

/// Of this process: threads, open files, children.
fn left() -> (usize, usize, bool) {
    let count = |folder| fs::read_dir(folder).unwrap().count();
    let children = rustix::process::waitpid(None, rustix::process::WaitOptions::NOHANG);
    (count("/proc/self/task"), count("/proc/self/fd"), !matches!(children, Err(rustix::io::Errno::CHILD)))
}

#[test]
#[ignore = "counts what belongs to the whole process: run, in one of its own, by the next test"]
fn nothing_is_left_behind_alone() {
    let all: &[(&str, Scenario)] = &[
        ("sleep", sleep),
        ("recv", recv),
        ("send", send),
        ("condition", condition),
        ("read", tcp_read),
        ("write", tcp_write),
        ("accept", tcp_accept),
        ("datagram", udp_recv),
        ("unix read", unix_read),
        ("unix accept", unix_accept),
        #[cfg(feature = "process")]
        ("child wait", process::child_wait),
        #[cfg(feature = "process")]
        ("child output", process::child_output),
    ];
    let round = || {
        freed("check", check_every_millisecond, Cancel, false);
        freed_by_all(all);
    };
    let (threads, files, _) = left();
    let expected = (threads + 1, files, false); // the thread that keeps the time stays, by design
    for _ in 0..3 {
        round();
        // A thread that has been joined may still be in the kernel's list.
        let met = (0..1_000_000).any(|_| {
            yield_now();
            left() == expected
        });
        assert!(met, "{:?} instead of {expected:?}", left());
    }
}

/// Runs an ignored test of this program in a process of its own, started as told.
fn alone(test: &str, command: &mut Command) {
    let ran = command.args(["--exact", test, "--ignored", "--test-threads=1"]).output().unwrap();
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success() && said.contains("1 passed"), "{said}{}", String::from_utf8_lossy(&ran.stderr));
}

#[test]
fn nothing_is_left_behind() {
    alone("nothing_is_left_behind_alone", &mut Command::new(std::env::current_exe().unwrap()));
}
