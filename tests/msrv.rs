//! `rust-version` is a promise about the library *and* its normal dependencies; development dependencies may ask for
//! more. What they declare is read from cargo's own resolution.
//!
//! Only what is resolved for this machine's platform is looked at: that is all there is on a fresh clone after a build,
//! and the test needs no network.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

const PROMISED: (u64, u64) = (1, 85);

fn cargo(arguments: &[&str]) -> String {
    let ran = Command::new(env!("CARGO")).args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    assert!(ran.status.success(), "cargo {arguments:?}: {}", String::from_utf8_lossy(&ran.stderr));
    String::from_utf8(ran.stdout).unwrap()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// `1.85` or `1.85.0`.
fn version(text: &str) -> (u64, u64) {
    let mut numbers = text.split('.').map(|n| n.parse().unwrap());
    (numbers.next().unwrap(), numbers.next().unwrap_or(0))
}

/// Whether users of the library get this edge: normal, and not only when it is modelled.
fn is_shipped(edge: &Value) -> bool {
    items(&edge["dep_kinds"]).any(|kind| kind["kind"].is_null() && !text(&kind["target"]).contains("watertight_loom"))
}

#[test]
fn no_normal_dependency_asks_for_a_newer_compiler() {
    let about = cargo(&["-vV"]);
    let host = about.lines().find_map(|line| line.strip_prefix("host: ")).expect("cargo says its host");
    let metadata =
        cargo(&["metadata", "--format-version", "1", "--all-features", "--frozen", "--filter-platform", host]);
    let metadata: Value = serde_json::from_str(&metadata).unwrap();
    let packages: BTreeMap<_, _> = items(&metadata["packages"]).map(|p| (text(&p["id"]), p)).collect();
    let edges: BTreeMap<_, _> = items(&metadata["resolve"]["nodes"]).map(|n| (text(&n["id"]), &n["deps"])).collect();

    let root = text(&metadata["resolve"]["root"]);
    let (mut seen, mut to_visit) = (BTreeSet::from([root]), vec![root]);
    while let Some(id) = to_visit.pop() {
        let next = items(edges[id]).filter(|edge| is_shipped(edge)).map(|edge| text(&edge["pkg"]));
        to_visit.extend(next.filter(|id| seen.insert(id)));
    }

    let names: BTreeSet<_> = seen.iter().map(|id| text(&packages[id]["name"])).collect();
    // The walk is worth something only if it goes where it should and nowhere else.
    assert!(
        names.is_superset(&BTreeSet::from([
            "parking_lot",
            "crossbeam-channel",
            "core_affinity",
            "num_cpus",
            "thiserror",
            "http",
            "tokio-util"
        ])),
        "{names:?}"
    );
    assert!(!names.contains("loom") && !names.contains("criterion"), "{names:?}");

    assert_eq!(version(text(&packages[root]["rust_version"])), PROMISED);
    let newer: Vec<_> = seen
        .iter()
        .map(|id| packages[id])
        .filter(|p| p["rust_version"].as_str().is_some_and(|asked| version(asked) > PROMISED))
        .map(|p| format!("{} {} asks for {}", text(&p["name"]), text(&p["version"]), text(&p["rust_version"])))
        .collect();
    assert!(newer.is_empty(), "{newer:?}");
}
