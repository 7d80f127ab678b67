//! The deadline example from outside: its story holds, line by line, and its second process never outlives the first.
//!
//! The example judges the numbers itself and says so by its exit code; here it is only seen that it looked at all of them.

mod programs;

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use programs::{built, eventually, has_ended, state};
use rustix::process::{Pid, Signal, kill_process};

fn example() -> &'static PathBuf {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| built("deadline"))
}

/// The parts of the story, (a) to (d).
fn parts(story: &str) -> Vec<&str> {
    story.split("\n(").skip(1).collect()
}

/// What is left at each hop of a part, and where that is.
fn hops(part: &str) -> Vec<(f64, &str)> {
    let hop = |line: &'_ str| {
        let (left, rest) = line.split_once(" ms left")?;
        let place = rest.trim_start().trim_start_matches(|c: char| c == '-' || c == '.' || c.is_ascii_digit());
        Some((left.trim().parse().unwrap(), place.trim_start().len()))
    };
    part.lines().filter_map(|line| hop(line).map(|(left, place)| (left, &line[line.len() - place..]))).collect()
}

/// The number at the end of the line that begins so.
fn figure(part: &str, line: &str) -> u64 {
    let said = part.lines().find_map(|l| l.trim().strip_prefix(line)?.strip_prefix(": "));
    said.unwrap_or_else(|| panic!("no line {line:?} in {part}")).parse().unwrap()
}

#[test]
fn the_budget_shrinks_from_hop_to_hop_and_the_last_hop_stops_when_the_client_goes() {
    let output = Command::new(example()).stdin(Stdio::null()).output().unwrap();
    let story = String::from_utf8(output.stdout).unwrap();
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && complaint.is_empty(), "{story}\n{complaint}");
    assert!(story.trim_end().ends_with("all of it held"), "{story}");
    let parts = parts(&story);
    let [enough, hangs_up, malformed, too_short] = parts[..] else { panic!("{} parts", parts.len()) };

    let came_by = hops(enough);
    let places: Vec<_> = came_by.iter().map(|(_, place)| *place).collect();
    let expected = ["client", "gateway", "pool", "compartment", "wire", "second process", "first unit", "last unit"];
    assert_eq!(places.len(), expected.len(), "{places:?}");
    assert!(places.iter().zip(expected).all(|(place, expected)| place.contains(expected)), "{places:?}");
    for part in &parts {
        let left: Vec<_> = hops(part).into_iter().map(|(left, _)| left).collect();
        assert!(left.is_sorted_by(|before, after| before >= after), "{part}");
    }

    assert!(figure(hangs_up, "units done after the hang-up") <= 1);
    for noticed in ["the gateway's handler is dropped", "torn down", "the second process's handler is dropped"] {
        assert!(hangs_up.contains(noticed), "{noticed}: {hangs_up}");
    }
    assert!(hops(malformed)[0].0 <= 30_000.0 && hops(malformed)[0].1.contains("gateway"), "{malformed}");
    assert_eq!(figure(malformed, "headers that could not be read, counted"), 1);
    assert!(too_short.contains("answered by the gateway: 504"), "{too_short}");
    assert_eq!(figure(too_short, "requests sent to the second process"), 0);
    let at_rest = "in flight now: gateway 0, second process 0";
    assert!([enough, hangs_up, too_short].iter().all(|part| part.contains(at_rest)), "{story}");
}

/// Killed when dropped.
struct Story(Child);

impl Drop for Story {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts the story and stops the clock for it as soon as it has said who its second process is; `None` if it had been
/// quicker, and both were over.
fn stopped_in_the_middle() -> Option<(Story, Pid)> {
    let mut process = Command::new(example()).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let story = Story(process);
    let pid = |line: String| line.strip_prefix("second process: pid ")?.split(',').next()?.parse().ok();
    let second = lines.by_ref().map(Result::unwrap).find_map(pid).and_then(Pid::from_raw).unwrap();
    let first = Pid::from_child(&story.0);
    kill_process(first, Signal::STOP).unwrap();
    eventually("it stands still, or is over", || matches!(state(first), Some('T' | 'Z')));
    (state(first) == Some('T') && !has_ended(second)).then_some((story, second))
}

#[test]
fn a_killed_parent_leaves_no_second_process_behind() {
    let (story, second) = (0..100).find_map(|_| stopped_in_the_middle()).expect("one of a hundred is not over so soon");
    kill_process(Pid::from_child(&story.0), Signal::KILL).unwrap();
    eventually("the second process ends", || has_ended(second));
}
