//! What tests that run an example from outside share: where it is, and what becomes of its processes.
#![allow(dead_code, reason = "each of them uses some of it")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use rustix::process::Pid;

const TRIES: usize = 2_000;
const PAUSE: Duration = Duration::from_millis(5);

/// The program of an example, built here, as cargo builds it only as a test of its own: a moment's work when it is up to
/// date.
pub(crate) fn built(example: &str) -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let built = test.parent().and_then(Path::parent).unwrap();
    let profile = match built.file_name().and_then(|name| name.to_str()).unwrap() {
        "debug" => "dev",
        other => other,
    };
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--example", example, "--profile", profile, "--target-dir"]);
    assert!(cargo.arg(built.parent().unwrap()).status().unwrap().success());
    built.join("examples").join(example)
}

/// Looks at a condition again and again; how long it takes is bounded, and not what is tested.
pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    for _ in 0..TRIES {
        if condition() {
            return;
        }
        thread::sleep(PAUSE);
    }
    panic!("never happened: {what}");
}

/// The kernel's letter for what a process does; `None` once it is gone.
pub(crate) fn state(pid: Pid) -> Option<char> {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    stat.rsplit_once(')')?.1.trim_start().chars().next()
}

/// Whether a process has ended; one that nobody has waited for yet has.
pub(crate) fn has_ended(pid: Pid) -> bool {
    state(pid).is_none_or(|state| state == 'Z')
}
