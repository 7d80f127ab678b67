//! The drain example from outside: its ways agree, what cannot be read is told of and harms nothing else, Ctrl-C ends it
//! in good order, and the pool never has more in hand than its bound.

mod programs;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;

use flate2::Compression;
use flate2::write::GzEncoder;
use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use serde_json::{Value, json};
use tempfile::TempDir;

fn example() -> Command {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    let mut command = Command::new(PATH.get_or_init(|| programs::built("drain")));
    command.stdin(Stdio::null());
    command
}

/// A folder to drain and, beside it, one for the report.
struct Here(TempDir);

impl Here {
    fn new() -> Self {
        let here = Self(tempfile::tempdir().unwrap());
        fs::create_dir(here.logs()).unwrap();
        here
    }

    fn logs(&self) -> PathBuf {
        self.0.path().join("logs")
    }

    fn out(&self) -> PathBuf {
        self.0.path().join("report.json")
    }

    fn put(&self, name: &str, text: impl AsRef<[u8]>) {
        let at = self.logs().join(name);
        fs::create_dir_all(at.parent().unwrap()).unwrap();
        fs::write(at, text).unwrap();
    }

    fn drain(&self, args: &[&str]) -> (Output, String) {
        let output = example().args(args).arg("--out").arg(self.out()).arg(self.logs()).output().unwrap();
        let said = String::from_utf8(output.stdout.clone()).unwrap();
        (output, said)
    }

    fn report(&self) -> Value {
        serde_json::from_slice(&fs::read(self.out()).unwrap()).unwrap()
    }

    /// Nothing half written is left, here or there.
    fn is_tidy(&self) -> bool {
        let stray = |folder: &Path| fs::read_dir(folder).unwrap().any(|e| is_unfinished(&e.unwrap().file_name()));
        !stray(self.0.path()) && !stray(&self.logs())
    }
}

fn is_unfinished(name: &std::ffi::OsStr) -> bool {
    name.to_string_lossy().starts_with(".drain-report-")
}

fn gz(text: &[u8]) -> Vec<u8> {
    let mut to = GzEncoder::new(Vec::new(), Compression::best());
    to.write_all(text).unwrap();
    to.finish().unwrap()
}

/// A way's figures in the table.
fn row<'a>(said: &'a str, way: &str) -> Vec<&'a str> {
    let row =
        said.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).find(|row| row.first() == Some(&way));
    row.unwrap_or_else(|| panic!("no {way} in {said}"))
}

fn complaint(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn without_arguments_it_drains_a_sample_three_ways_that_agree_and_leaves_nothing() {
    let place = tempfile::tempdir().unwrap();
    let output = example().arg("--ci").env("TMPDIR", place.path()).output().unwrap();
    let said = String::from_utf8(output.stdout.clone()).unwrap();
    assert!(output.status.success() && complaint(&output).is_empty(), "{said}{}", complaint(&output));
    assert!(said.contains("the 3 ways came to the same, file by file"), "{said}");
    for way in ["pool", "one", "thread-per-file"] {
        assert!(row(&said, way).len() >= 8, "{said}");
    }
    assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
}

#[test]
fn the_report_is_exact() {
    let here = Here::new();
    here.put("a.ndjson", "{\"level\":\"warn\",\"ts\":1700000000}\n{\"level\":\"error\"}\n{\"level\":");
    here.put("deep/er/b.log.gz", gz(b"2026-11-21T10:00:00Z INFO x\nERROR y\n"));
    here.put("c.log", [&b"INFO\n"[..], &vec![b'x'; 300_000], b"\nINFO\n"].concat());
    for _ in 0..2 {
        // Also the second time, when the report of the first is there.
        let (output, said) = here.drain(&[]);
        assert!(output.status.success(), "{said}{}", complaint(&output));
        let report = here.report();
        assert_eq!((&report["complete"], &report["all"]["files"]), (&json!(true), &json!(3)));
        let total = &report["all"]["total"];
        assert_eq!((&total["lines"], &total["malformed"]), (&json!(8), &json!(2)));
        assert_eq!(total["levels"], json!({ "info": 3, "warn": 1, "error": 2 }));
        assert_eq!(total["first"], json!("2023-11-14T22:13:20Z"));
        assert_eq!(total["last"], json!("2026-11-21T10:00:00Z"));
        assert_eq!(report["all"]["biggest"][0], json!({ "file": "c.log", "bytes": 300_011 }));
        let deep = report["files"].as_array().unwrap().iter().find(|row| row["file"] == "deep/er/b.log.gz").unwrap();
        assert_eq!((&deep["lines"], &deep["levels"]), (&json!(2), &json!({ "info": 1, "error": 1 })));
        assert!(here.is_tidy());
    }
}

#[test]
fn a_report_within_the_folder_is_not_drained_itself() {
    let here = Here::new();
    here.put("a.log", "INFO\n");
    let drain = || {
        let out = here.logs().join("report.json");
        assert!(example().arg(here.logs()).arg("--out").arg(&out).status().unwrap().success());
        fs::read(out).unwrap()
    };
    assert!(drain() == drain());
}

#[test]
fn what_cannot_be_read_is_listed_with_its_reason_and_the_rest_is_drained() {
    let here = Here::new();
    for n in 0..50 {
        here.put(&format!("good/{n}.log"), "INFO\n");
    }
    let whole = gz(&b"ERROR not counted\n".repeat(10_000));
    here.put("truncated.gz", &whole[..whole.len() - 20]);
    here.put("no.gz", "no gzip at all\n");
    here.put("mistake.log", "INFO\n");
    here.put("closed.log", "INFO\n");
    let closed = here.logs().join("closed.log");
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).unwrap();
    let is_closed = fs::File::open(&closed).is_err(); // not to everybody: root may

    let (output, said) = here.drain(&["--panic-on", "mistake"]);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("the 3 ways came to the same"), "{said}{}", complaint(&output));
    let report = here.report();
    let why = |file: &str| {
        let row = report["files"].as_array().unwrap().iter().find(|row| row["file"] == file).unwrap();
        row["failed"].as_str().map(str::to_owned)
    };
    let mut expected =
        vec![("truncated.gz", "broken gzip"), ("no.gz", "broken gzip"), ("mistake.log", "the parser has a mistake")];
    expected.extend(is_closed.then_some(("closed.log", "Permission denied")));
    for (file, reason) in &expected {
        assert!(why(file).is_some_and(|why| why.contains(reason)), "{file}: {:?}", why(file));
        assert!(said.lines().any(|line| line.contains(file) && line.contains(reason)), "{said}");
    }
    let good = 54 - expected.len();
    assert_eq!((&report["complete"], &report["all"]["failed"]), (&json!(true), &json!(expected.len())));
    assert_eq!((&report["all"]["files"], &report["all"]["total"]["lines"]), (&json!(good), &json!(good)));
}

#[test]
fn what_is_asked_for_wrongly_is_said_before_anything_is_begun() {
    let here = Here::new();
    here.put("a.log", "INFO\n");
    let (file, folder) = (here.logs().join("a.log"), here.logs());
    let nowhere = here.0.path().join("none");
    let nowhere_in = nowhere.join("report.json");
    let path = |path: &Path| path.to_str().unwrap().to_owned();
    for (args, complains) in [
        (vec![path(&file)], "is a file, not a folder"),
        (vec![path(&nowhere)], "No such file"),
        (vec![path(&folder), "--out".into(), path(&folder)], "no report can be written to"),
        (vec![path(&folder), "--out".into(), path(&nowhere_in)], "no report can be written to"),
        (vec![path(&folder), "--threads".into(), "0".into()], "threads is 0, must be"),
        (vec![path(&folder), "--ways".into(), "two".into()], "invalid value"),
    ] {
        let output = example().args(&args).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(complaint(&output).contains(complains), "{args:?}: {}", complaint(&output));
        assert!(here.is_tidy() && !nowhere.exists());
    }
}

#[test]
fn an_empty_folder_is_drained_at_once() {
    let here = Here::new();
    let (output, said) = here.drain(&[]);
    assert!(output.status.success() && said.contains("there are no files in"), "{said}{}", complaint(&output));
    assert_eq!(here.report()["files"], json!([]));
}

#[test]
fn the_pool_never_has_more_in_hand_than_its_bound() {
    let here = Here::new();
    for n in 0..400 {
        here.put(&format!("{n}.log"), "INFO\n".repeat(200));
    }
    let (output, said) = here.drain(&["--ways", "pool", "--threads", "3", "--queue", "2"]);
    assert!(output.status.success(), "{said}{}", complaint(&output));
    let in_hand: usize = row(&said, "pool")[2].parse().unwrap();
    assert!((1..=5).contains(&in_hand), "{said}");
}

#[test]
fn a_system_that_refuses_a_thread_is_that_ways_result_and_harms_no_other() {
    let here = Here::new();
    here.put("a.log", "INFO\n");
    let more_than_there_is = (1_u64 << 46).to_string();
    let (output, said) = here.drain(&["--ways", "thread-per-file,pool,one", "--stack", &more_than_there_is]);
    assert!(output.status.success(), "{said}{}", complaint(&output));
    assert!(said.contains("thread-per-file: the system refused: no thread after 0"), "{said}");
    assert!(said.contains("the 2 ways came to the same"), "{said}");
    assert_eq!(here.report()["complete"], json!(true), "that of a way that came to its end");

    // Alone it leaves the folder undrained, and says so.
    let (output, said) = here.drain(&["--ways", "thread-per-file", "--stack", &more_than_there_is]);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert_eq!((&here.report()["complete"], &here.report()["all"]["undone"]), (&json!(false), &json!(1)));
}

/// Fewer files than workers, each of which takes longer than anybody waits: one of them is 20 MB on the disk, is the
/// others too, and has tens of gigabytes of lines. And a few that take no time.
fn endless() -> Here {
    let here = Here::new();
    let member = gz(&b"INFO again and again and again and again and again\n".repeat(1 << 17));
    here.put("endless-0.gz", member.repeat(20_000_000 / member.len()));
    for n in 1..20 {
        fs::hard_link(here.logs().join("endless-0.gz"), here.logs().join(format!("endless-{n}.gz"))).unwrap();
    }
    for n in 0..10 {
        here.put(&format!("{n}.log"), "INFO\n");
    }
    here
}

/// Killed when dropped.
struct Draining(Child);

impl Drop for Draining {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// In a process group of its own, as a shell starts it; it has reported progress.
fn draining(here: &Here) -> (Draining, BufReader<impl Read>) {
    let mut command = example();
    command.args(["--progress", "lines", "--out"]).arg(here.out()).arg(here.logs());
    let mut child = command.process_group(0).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut progress = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    progress.read_line(&mut line).unwrap();
    assert!(line.starts_with("pool: ") && line.contains(" of 30 files drained"), "{line}");
    (Draining(child), progress)
}

#[test]
fn ctrl_c_ends_it_in_good_order() {
    let here = endless();
    for send in [kill_process, kill_process_group] {
        let (mut draining, mut progress) = draining(&here);
        send(Pid::from_child(&draining.0), Signal::INT).unwrap();
        let (mut said, mut rest) = (String::new(), String::new());
        draining.0.stdout.take().unwrap().read_to_string(&mut said).unwrap();
        progress.read_to_string(&mut rest).unwrap();
        let status = draining.0.wait().unwrap();
        assert_eq!(status.code(), Some(130), "{status}, {:?}: {said}{rest}", status.signal());
        assert!(said.contains("one: not begun") && said.contains("thread-per-file: not begun"), "{said}");

        // Every file of the folder is accounted for: what is in the report, and what was never taken.
        let report = here.report();
        let count = |what: &str| report["all"][what].as_u64().unwrap();
        assert_eq!(report["complete"], json!(false));
        assert!(count("files") >= 1 && count("undone") >= 1 && count("failed") == 0, "{report}");
        assert_eq!(report["files"].as_array().unwrap().len() as u64, count("files") + count("undone"));
        let (drained, undone) = (count("files"), count("undone"));
        let not_taken = 30 - drained - undone;
        let summary =
            format!("pool: {drained} drained, 0 failed, {undone} taken and left undone, {not_taken} not taken");
        assert!(said.contains(&summary), "{summary}: {said}");
        assert!(here.is_tidy());
    }
}
