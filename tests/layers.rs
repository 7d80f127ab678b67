//! Who may import whom, and what nobody may write: rules about the source that the language has no guard for.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Each room and the rooms it may import, from the ground up.
///
/// The rooms below are signals and vocabulary, then resources that are waited for, then holders, then composition. Two
/// edges run against the floors and are meant: `error` imports `sync`, because a refusal holds its work, and a panic
/// its payload, behind our mutex; `event` imports `sync` for the shared pointer to the user's observer, and `error`
/// for its vocabulary. `docs` is text. `config` uses what is public, and nothing else. `adapters` are built on the public API,
/// but for the ground's locks and a hold on a token that does not count.
const MAY_IMPORT: [(&str, &[&str]); 22] = [
    ("docs", &[]),
    ("cpus", &[]),
    ("sync", &[]),
    ("error", &["sync"]),
    ("event", &["sync", "error"]),
    ("deadline", &["error"]),
    ("window", &["error", "deadline"]),
    ("clock", &["sync"]),
    ("wait", &["sync", "clock", "deadline", "error"]),
    ("cancel", &["sync", "clock", "deadline", "error", "wait"]),
    ("context", &["sync", "clock", "deadline", "error", "wait", "cancel"]),
    ("wire", &["error", "context"]),
    ("queue", &["sync"]),
    ("permit", &["sync", "clock", "deadline", "error", "wait", "cancel", "context"]),
    ("pool", &["sync", "clock", "deadline", "error", "event", "wait", "cancel", "context", "queue", "cpus"]),
    ("sizing", &["error", "pool"]),
    ("breaker", &["sync", "clock", "deadline", "error", "event", "context", "window"]),
    ("retry", &["sync", "clock", "deadline", "error", "event", "context", "window"]),
    (
        "bulkhead",
        &[
            "sync", "clock", "deadline", "error", "event", "wait", "cancel", "context", "permit", "pool", "breaker",
            "retry",
        ],
    ),
    ("registry", &["sync", "clock", "error", "bulkhead"]),
    ("config", &["error", "clock", "cpus", "permit", "pool", "breaker", "retry", "bulkhead", "registry"]),
    ("adapters", &["sync", "error", "cancel"]),
];

/// Files that only decide: time is an argument to them, and they neither wait nor share.
const DECIDERS: [&str; 16] = [
    "window.rs",
    "breaker/machine.rs",
    "breaker/probes.rs",
    "breaker/recovery.rs",
    "breaker/tally.rs",
    "breaker/trip.rs",
    "retry/schedule.rs",
    "pool/lifecycle.rs",
    "bulkhead/flow.rs",
    "sizing/mod.rs",
    "sizing/little.rs",
    "sizing/erlang.rs",
    "sizing/usl.rs",
    "sizing/workload.rs",
    "sizing/recommend.rs",
    "sizing/show.rs",
];

/// The two rooms that may hold `unsafe` code, and where the lint is turned off for them: the queue, whose closures lie in
/// its cells, and scopes, whose jobs borrow.
const UNSAFE: [(&str, &str); 2] = [("queue", "lib.rs"), ("pool/scope", "pool/mod.rs")];

/// Where a rule gives way, and why.
const EXCEPTIONS: [(&str, &str); 1] = [
    // One instant for the whole process, the same in every execution of a model: it must not be one of loom's types.
    ("clock/mod.rs", "std::sync"),
];

/// Of one file, comments included, its inline tests not.
const MAX_LINES: usize = 400;

struct Source {
    /// From `src`, as `pool/job.rs`.
    path: String,
    /// With comments blanked out and without what is only compiled for tests.
    code: String,
}

impl Source {
    fn may_be_unsafe(&self) -> bool {
        UNSAFE.iter().any(|(room, _)| self.path.strip_prefix(room).is_some_and(|rest| rest.starts_with('/')))
    }

    fn room(&self) -> &str {
        self.path.split('/').next().unwrap_or_default().trim_end_matches(".rs")
    }

    /// How many `super::` lead from here to the crate's root.
    fn depth(&self) -> usize {
        self.path.split('/').filter(|part| *part != "mod.rs").count()
    }
}

/// Everything in `src` but the root and the files that are only compiled for tests.
fn sources() -> Vec<Source> {
    fn visit(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { visit(&path, found) } else { found.push(path) }
        }
    }
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    visit(&src, &mut found);
    found.sort();
    let relative = |path: &Path| path.strip_prefix(&src).unwrap().to_str().unwrap().replace('\\', "/");
    found
        .into_iter()
        .filter(|path| path.extension().is_some_and(|ext| ext == "rs"))
        .map(|path| Source { path: relative(&path), code: shipped(&fs::read_to_string(&path).unwrap()) })
        .filter(|s| !["lib.rs", "sync/contract.rs", "sync/model.rs"].contains(&s.path.as_str()))
        .filter(|s| !s.path.ends_with("tests.rs"))
        .collect()
}

/// The text with its comments blanked out and without items and fields under `#[cfg(test)]` or `#[cfg(all(test, …))]`. It
/// relies on rustfmt: they end with a line of their own indentation.
fn shipped(text: &str) -> String {
    let mut code = String::new();
    let mut skipping: Option<usize> = None;
    for line in text.lines() {
        let bare = line.trim_start();
        let indentation = line.len() - bare.len();
        if let Some(item) = skipping {
            let ends = indentation == item && (bare.starts_with('}') || bare.ends_with([';', '}', ',']));
            if ends && !bare.starts_with("#[") {
                skipping = None;
            }
        } else if bare.starts_with("#[cfg(test)]") || bare.starts_with("#[cfg(all(test") {
            skipping = Some(indentation);
        } else {
            let comment = bare.starts_with("//");
            code.push_str(if comment { "" } else { line.split(" // ").next().unwrap_or_default() });
            code.push('\n');
        }
    }
    code
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The first names of all paths that begin with `root::`, those in groups included: `a`, `b` and `d` of
/// `use crate::{a, b::{c}}; crate::d::e()`.
fn named_under(code: &str, root: &str) -> BTreeSet<String> {
    let start = format!("{root}::");
    let mut names = BTreeSet::new();
    for (at, _) in code.match_indices(&start).filter(|(at, _)| !code[..*at].ends_with(is_word)) {
        let rest = &code[at + start.len()..];
        let Some(group) = rest.strip_prefix('{') else {
            names.insert(rest.chars().take_while(|c| is_word(*c)).collect());
            continue;
        };
        let (mut depth, mut begins) = (0, true);
        for (at, c) in group.char_indices() {
            match c {
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                '{' => depth += 1,
                ',' => begins |= depth == 0,
                c if begins && depth == 0 && is_word(c) => {
                    names.insert(group[at..].chars().take_while(|c| is_word(*c)).collect());
                    begins = false;
                }
                _ => {}
            }
        }
    }
    names
}

/// What is wrong with the imports of one file.
fn forbidden_edges(source: &Source) -> Vec<String> {
    let (path, room) = (&source.path, source.room());
    let Some((_, allowed)) = MAY_IMPORT.iter().find(|(name, _)| *name == room) else {
        return vec![format!("{path}: the table has no room `{room}`")];
    };
    let mut wrong: Vec<_> = named_under(&source.code, "crate")
        .into_iter()
        .filter(|name| name != room && !allowed.contains(&name.as_str()))
        .map(|name| format!("{path}: `{room}` may not import `{name}`"))
        .collect();
    if source.code.contains(&"super::".repeat(source.depth())) {
        wrong.push(format!("{path}: reaches the root through `super`; rooms are named by `crate::`"));
    }
    wrong
}

/// Whether an `if let` or `while let` of the code is part of a chain: too new for the promised compiler, and clippy's
/// check of it sees calls, not syntax.
fn has_let_chain(code: &str) -> bool {
    code.split_whitespace().collect::<Vec<_>>().windows(2).any(|w| w == ["&&", "let"])
        || ["if let ", "while let "].iter().any(|start| {
            code.match_indices(start).any(|(at, _)| {
                let (mut depth, mut before) = (0, ' ');
                for (i, c) in code[at..].char_indices() {
                    match c {
                        '{' if depth == 0 && code[at + i..].starts_with("{\n") => return false, // the body
                        ';' if depth == 0 => return false,
                        '(' | '[' | '{' => depth += 1,
                        ')' | ']' | '}' => depth -= 1,
                        '&' if depth == 0 && before == '&' => return true,
                        _ => {}
                    }
                    if depth < 0 {
                        return false;
                    }
                    before = c;
                }
                false
            })
        })
}

/// What is in one file that must not be there.
fn forbidden_words(source: &Source) -> Vec<String> {
    let Source { path, code } = source;
    let mut wrong = Vec::new();
    let mut forbid = |found: bool, what: &str| {
        if found && !EXCEPTIONS.contains(&(path.as_str(), what)) {
            wrong.push(format!("{path}: {what}"));
        }
    };
    if source.room() != "sync" {
        let std = named_under(code, "std");
        forbid(std.contains("sync"), "std::sync");
        forbid(std.contains("thread"), "std::thread");
        forbid(code.contains("parking_lot"), "parking_lot");
        forbid(code.contains("crossbeam_channel"), "crossbeam_channel");
    }
    if !["clock", "sync"].contains(&source.room()) {
        forbid(code.contains("Instant::now"), "Instant::now");
    }
    if DECIDERS.contains(&path.as_str()) {
        forbid(code.contains("sync::"), "sync:: in a decider");
        forbid(code.contains(".now()") || code.contains("Instant::now"), "a decider that reads a clock");
    }
    forbid(has_let_chain(code), "a let chain");
    forbid(code.contains("macro_rules!"), "macro_rules!");
    let has = |wanted: &str| code.split(|c| !is_word(c)).any(|word| word == wanted);
    forbid(!source.may_be_unsafe() && has("unsafe"), "unsafe");
    let turned_off = code.matches("unsafe_code").count();
    let allowed = UNSAFE.iter().filter(|(_, by)| by == path).count();
    forbid(turned_off > allowed, "a lint turned off: only for the rooms that may, where they are named");
    let lines = code.lines().count();
    forbid(lines > MAX_LINES, &format!("{lines} lines, more than {MAX_LINES}"));
    wrong
}

#[test]
fn rooms_import_only_what_is_below_them() {
    let sources = sources();
    let wrong: Vec<_> = sources.iter().flat_map(forbidden_edges).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // A room or decider that was renamed would silently go unwatched.
    for (room, _) in MAY_IMPORT {
        assert!(sources.iter().any(|s| s.room() == room), "the room {room} is gone: so should be its line here");
    }
    for decider in DECIDERS {
        assert!(sources.iter().any(|s| s.path == decider), "{decider} is gone: say here where it went");
    }
}

#[test]
fn nothing_goes_around_the_ground() {
    let wrong: Vec<_> = sources().iter().flat_map(forbidden_words).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn planted(path: &str, code: &str) -> Vec<String> {
    let source = Source { path: path.into(), code: shipped(code) };
    [forbidden_edges(&source), forbidden_words(&source)].concat()
}

#[test]
fn the_lint_is_turned_off_for_the_rooms_that_may_hold_unsafe_code() {
    for (room, by) in UNSAFE {
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(by)).unwrap();
        let at = text.find("#[allow(unsafe_code)]").unwrap();
        assert_eq!(text.matches("unsafe_code").count(), 1, "{by}");
        let name = room.split('/').next_back().unwrap();
        assert!(text[at..].lines().nth(1).unwrap().ends_with(&format!("mod {name};")), "{by}");
    }
}

#[test]
fn what_is_planted_is_found() {
    let found = [
        ("breaker/mod.rs", "use crate::pool::Pool;"),
        ("queue/mod.rs", "use crate::{\n    sync::Mutex,\n    permit::{Limit, Permit},\n};"),
        ("permit/mod.rs", "fn f() -> crate::pool::Stats {"),
        ("pool/job.rs", "use super::super::breaker::Breaker;"),
        ("gossip.rs", ""),
        ("window.rs", "use crate::sync::Mutex;"),
        ("wait/mod.rs", "use std::{fmt, sync::Arc};"),
        ("wait/mod.rs", "    std::thread::yield_now();"),
        ("pool/mod.rs", "let t = Instant::now();"),
        ("pool/lifecycle.rs", "let t = clock.now();"),
        ("pool/mod.rs", "if let Some(a) = b && a > 1 {\n"),
        ("pool/mod.rs", "if a\n    && let Some(b) = c\n{\n"),
        ("pool/mod.rs", "macro_rules! m {"),
        ("pool/mod.rs", "unsafe { f() }"),
        ("pool/mod.rs", "struct A {\n    #[cfg(test)]\n    a: u8,\n    b: Unsafe,\n}\nunsafe impl Sync for A {}"),
        ("pool/job.rs", "#[allow(unsafe_code)]\nmod a;"),
        ("queue/ring.rs", "#![allow(unsafe_code)]"),
        ("pool/scope/erase.rs", "#![allow(unsafe_code)]"),
        ("pool/mod.rs", "#[allow(unsafe_code)]\nmod scope;\n#[allow(unsafe_code)]\nmod job;"),
        ("pool/scoped.rs", "unsafe { f() }"),
        ("pool/mod.rs", &"let _ = 0;\n".repeat(MAX_LINES + 1)),
    ];
    for (path, code) in found {
        assert!(!planted(path, code).is_empty(), "not found: {code}");
    }
    let fine = [
        ("breaker/mod.rs", "use crate::{\n    clock::Clock,\n    window::{self, CountWindow},\n};"),
        ("queue/ring.rs", "unsafe { f() }"),
        ("pool/scope/erase.rs", "unsafe { f() }"),
        ("pool/mod.rs", "//! [`crate::bulkhead`] and std::sync\nlet a = 1; // unsafe"),
        ("pool/mod.rs", "#[cfg(all(test, not(x)))]\nmod tests {\n    use std::sync::Arc;\n}"),
        ("pool/mod.rs", "    #[cfg(test)]\n    fn f() {\n        std::thread::park();\n    }\n"),
        ("pool/mod.rs", "if let Some(a) = (b && c).then(|| d && e) {\n    f && g\n}"),
        ("pool/mod.rs", "let x = if let Some(a) = b { a } else { c };\nlet y = a && b;"),
    ];
    for (path, code) in fine {
        assert_eq!(planted(path, code), [""; 0], "{code}");
    }
}
