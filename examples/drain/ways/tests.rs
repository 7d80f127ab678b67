//! Every file gets exactly one outcome, whatever happens, and the pool never holds more than its bound.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use tempfile::TempDir;
use watertight::CancelToken;

use super::*;

const FILES: usize = 300;
const THREADS: usize = 3;
const QUEUE: usize = 2;

fn found(folder: &Path, name: String) -> Result<Found, Closed> {
    Ok(Found { path: folder.join(&name), name: name.as_str().into() })
}

/// Good files, a broken one, one that vanished between the walk and the reading, and a folder that is closed.
fn folder() -> (TempDir, Vec<Result<Found, Closed>>) {
    let folder = tempfile::tempdir().unwrap();
    let mut files = Vec::new();
    for n in 0..FILES {
        let name = format!("{n}.log");
        fs::write(folder.path().join(&name), format!("ERROR {n}\n").repeat(n)).unwrap();
        files.push(found(folder.path(), name));
    }
    fs::write(folder.path().join("broken.gz"), b"\x1f\x8b and then nothing").unwrap();
    files.insert(7, found(folder.path(), "broken.gz".into()));
    files.insert(8, found(folder.path(), "vanished.log".into()));
    files.insert(9, Err(Closed { name: "closed".into(), why: "Permission denied".into() }));
    (folder, files)
}

fn work(token: &CancelToken) -> Work {
    Work { cx: Context::background().with_token(token), latency: Duration::ZERO, panic_on: Some("13.log".into()) }
}

/// Each way with the same files; what it told, which must be once of each.
fn told(way: usize, token: &CancelToken, mut when: impl FnMut(usize)) -> (Ran, BTreeMap<String, Outcome>) {
    let (_folder, files) = folder();
    let mut told = BTreeMap::new();
    let tell = |name: &str, outcome| {
        assert!(told.insert(name.to_owned(), outcome).is_none(), "{name} twice");
        when(told.len());
        Ok(())
    };
    let (work, files) = (work(token), files.into_iter());
    let ran = match way {
        0 => pool((THREADS, QUEUE), &work, files, tell),
        1 => one(&work, files, tell),
        _ => thread_per_file(None, &work, files, tell),
    };
    (ran.unwrap(), told)
}

#[test]
fn the_three_ways_tell_the_same_of_every_file() {
    let all = [0, 1, 2].map(|way| told(way, &CancelToken::new(), |_| ()).1);
    assert_eq!(all[0].len(), FILES + 3);
    assert!(all[0] == all[1] && all[1] == all[2]);
    let failed = |name: &str| match &all[0][name] {
        Outcome::Failed(why) => why.clone(),
        other => panic!("{name}: {other:?}"),
    };
    assert_eq!(failed("13.log"), "the parser panicked: the parser has a mistake");
    assert_eq!(failed("213.log"), failed("13.log"));
    assert_eq!(failed("closed"), "Permission denied");
    assert!(failed("vanished.log").contains("No such file"));
    failed("broken.gz");
}

#[test]
fn a_cancelled_way_tells_of_all_it_took_and_takes_no_more() {
    for way in [0, 1, 2] {
        let token = CancelToken::new();
        let (ran, told) = told(way, &token, |told| {
            if told == 5 {
                token.cancel();
            }
        });
        if way < 2 {
            assert!(ran.stopped && told.len() < FILES / 2, "{way}: {}", told.len());
        }
        for outcome in told.values() {
            assert!(!matches!(outcome, Outcome::Undone(why) if !why.ends_with(": requested")), "{outcome:?}");
        }
    }
}

#[test]
fn the_walk_is_never_further_ahead_than_the_bound() {
    let (_folder, files) = folder();
    let (taken, told) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let mut most = 0;
    let files = files.into_iter().inspect(|_| {
        // This one is in the walk's hand, and the one before it has been submitted. A worker between two jobs has given
        // its place back and may not have said so yet.
        let held = taken.fetch_add(1, Ordering::Relaxed) - told.load(Ordering::Relaxed);
        most = most.max(held);
    });
    let tell = |_: &str, _| {
        told.fetch_add(1, Ordering::Relaxed);
        Ok(())
    };
    let ran = pool((THREADS, QUEUE), &work(&CancelToken::new()), files, tell).unwrap();
    assert!((1..=THREADS + QUEUE).contains(&ran.most_in_hand), "{ran:?}");
    assert!(most <= THREADS + QUEUE + THREADS, "{most}");
}

#[test]
fn a_thread_that_is_refused_is_the_result_and_nothing_is_lost() {
    let (_folder, files) = folder();
    let mut told = Vec::new();
    let tell = |name: &str, outcome| {
        told.push((name.to_owned(), outcome));
        Ok(())
    };
    let more_than_there_is = Some(1 << 46);
    let ran = thread_per_file(more_than_there_is, &work(&CancelToken::new()), files.into_iter(), tell).unwrap();
    assert!(ran.stopped && ran.refused.unwrap().starts_with("no thread after 0: "));
    assert!(matches!(&told[..], [(name, Outcome::Undone(_))] if name == "0.log"), "{told:?}");
}
