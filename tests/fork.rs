//! A forked process has a copy of the pool and none of its threads: whoever would wait for them is told so.
#![cfg(target_os = "linux")]
#![allow(unsafe_code, reason = "std cannot fork")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::channel;
use std::time::Duration;
use watertight::{CancelCause, Context, Interrupted, JobError, Pool, RejectReason};

/// Whether `f` says yes in a fork of this process. One that hangs is ended by the system.
fn in_a_fork(f: impl FnOnce() -> bool) -> bool {
    // SAFETY: the child runs `f` on its only thread and leaves without running anything of the parent's.
    let child = unsafe { libc::fork() };
    if child == 0 {
        // SAFETY: it only asks for a signal.
        unsafe { libc::alarm(60) };
        let yes = catch_unwind(AssertUnwindSafe(f)).unwrap_or(false);
        // SAFETY: it ends the process.
        unsafe { libc::_exit(i32::from(!yes)) };
    }
    let mut status = -1;
    // SAFETY: the status is ours to be written.
    let waited = unsafe { libc::waitpid(child, &raw mut status, 0) };
    waited == child && status == 0
}

#[test]
fn a_pool_used_after_a_fork_says_so_and_does_not_hang() {
    let pool = Pool::builder("forked").threads(1).queue(1).build().unwrap();
    let (begin, begun) = channel();
    let (go, held) = channel::<()>();
    let mut running = Some(
        pool.submit(move || {
            begin.send(()).unwrap();
            let _ = held.recv();
        })
        .unwrap(),
    );
    begun.recv().unwrap();
    let mut queued = Some(pool.submit(|| ()).unwrap());
    let is_forked =
        |why: &Interrupted| matches!(why, Interrupted::Cancelled(CancelCause::Because(why)) if why.contains("fork"));
    assert!(in_a_fork(|| {
        let refused = pool.submit(|| ()).unwrap_err();
        let full = matches!(refused.reason, RejectReason::Cancelled(CancelCause::Because(why)) if why.contains("fork"));
        let within = queued.as_mut().is_some_and(|queued| {
            let cx = Context::background().with_timeout(Duration::from_secs(3600));
            matches!(queued.join_within(&cx), Some(Err(JobError::Abandoned)))
        });
        let joined = running.take().is_some_and(|job| matches!(job.join(), Err(JobError::Abandoned)));
        let left = pool.shutdown(&Context::background()).unwrap_err();
        let told = left.why.as_ref().is_some_and(is_forked) && left.report.running.is_empty();
        drop(pool.clone());
        full && within && joined && told
    }));
    // The parent has lost nothing.
    drop(go);
    running.take().unwrap().join().unwrap();
    queued.take().unwrap().join().unwrap();
    pool.shutdown(&Context::background()).unwrap();
}
