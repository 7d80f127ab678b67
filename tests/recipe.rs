//! The recipe of `docs::migration` at work: clippy, run on a crate that has it, tells of every way it bans, and of nothing
//! else. Needs no network: that crate's dependencies are stand-ins beside it.

use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

fn crate_with_the_recipe() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recipe")
}

fn recipe() -> String {
    std::fs::read_to_string(crate_with_the_recipe().join("clippy.toml")).unwrap()
}

/// What the recipe bans, in its order.
fn banned() -> Vec<String> {
    let text = recipe();
    let lines = text.lines().filter_map(|line| line.trim().strip_prefix("{ path = \""));
    lines.map(|rest| rest.split('"').next().unwrap().to_owned()).collect()
}

/// What clippy says of that crate: its lint, its text and its line.
fn said_by_clippy() -> Vec<(String, String, u64)> {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("recipe");
    let mut clippy = Command::new(env!("CARGO"));
    clippy.args(["clippy", "--offline", "--locked", "--message-format", "json", "--target-dir"]).arg(target);
    // What the tests are built with must not decide what is found there.
    for name in ["RUSTFLAGS", "CLIPPY_CONF_DIR", "CLIPPY_ARGS"] {
        clippy.env_remove(name);
    }
    let ran = clippy.current_dir(crate_with_the_recipe()).output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let messages = String::from_utf8(ran.stdout).unwrap();
    let messages = messages.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let told = messages.filter(|message| message["reason"] == "compiler-message");
    told.filter_map(|message| {
        let message = &message["message"];
        let line = message["spans"][0]["line_start"].as_u64()?;
        let lint = message["code"]["code"].as_str().unwrap_or_default();
        Some((lint.to_owned(), message["message"].as_str()?.to_owned(), line))
    })
    .collect()
}

#[test]
fn each_banned_way_is_told_of_and_nothing_else_is() {
    let source = std::fs::read_to_string(crate_with_the_recipe().join("src/lib.rs")).unwrap();
    let line_of = |start: &str| source.lines().position(|line| line.starts_with(start)).unwrap() as u64 + 1;
    let mut told = BTreeMap::<String, Vec<u64>>::new();
    for (lint, text, line) in said_by_clippy() {
        assert_eq!(lint, "clippy::disallowed_methods", "{text} in line {line}");
        told.entry(text).or_default().push(line);
    }
    let (first, shorter) = (line_of("pub fn banned(") + 1, line_of("    elsewhere(job)"));
    let banned = banned();
    assert!(banned.len() > 10, "{banned:?}");
    for (path, line) in banned.iter().zip(first..) {
        let lines = told.remove(&format!("use of a disallowed method `{path}`")).unwrap_or_default();
        let also = (path == "tokio::task::spawn_blocking").then_some(shorter); // by a name of its own
        assert_eq!(lines, [line].into_iter().chain(also).collect::<Vec<_>>(), "{path}");
    }
    assert!(told.is_empty(), "{told:?}");
}

#[test]
fn the_page_on_migration_shows_the_recipe_that_was_tried() {
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/docs/migration.md")).unwrap();
    assert!(page.contains(&format!("```toml\n{}```\n", recipe())), "copy tests/recipe/clippy.toml into the page");
}
