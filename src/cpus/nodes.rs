//! What sysfs says of the machine: which CPUs are online, which share a core, which share memory. Pure functions of the
//! files below a root; what cannot be read is not there.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// More than any kernel can be built for.
const MAX_CPU: usize = 1 << 16;

/// A list as the kernel writes it, `0-3,8,10-11`: ascending, each once. `None` if it is none.
pub(super) fn list(text: &str) -> Option<Vec<usize>> {
    let number = |text: &str| text.parse::<usize>().ok().filter(|n| *n < MAX_CPU);
    let mut all = Vec::new();
    for part in text.trim().split(',').filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (number(first)?, number(last)?);
        if first > last {
            return None;
        }
        all.extend(first..=last);
    }
    all.sort_unstable();
    all.dedup();
    Some(all)
}

fn list_in(path: &Path) -> Option<Vec<usize>> {
    list(&fs::read_to_string(path).ok()?)
}

/// How many CPUs the machine has switched on.
pub(super) fn online(root: &Path) -> Option<usize> {
    list_in(&root.join("sys/devices/system/cpu/online")).map(|cpus| cpus.len()).filter(|n| *n > 0)
}

/// The CPUs of each NUMA node; nodes of memory alone have none and are left out.
pub(super) fn nodes(root: &Path) -> BTreeMap<usize, Vec<usize>> {
    let Ok(folder) = fs::read_dir(root.join("sys/devices/system/node")) else { return BTreeMap::new() };
    let node = |entry: fs::DirEntry| {
        let number = entry.file_name().to_str()?.strip_prefix("node")?.parse().ok()?;
        let cpus = list_in(&entry.path().join("cpulist"))?;
        (!cpus.is_empty()).then_some((number, cpus))
    };
    folder.flatten().filter_map(node).collect()
}

/// Which of the CPUs of its core this is, from 0: beyond 0 it shares the core with one of a lower number.
pub(super) fn turn_on_core(root: &Path, cpu: usize) -> usize {
    let path = root.join(format!("sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list"));
    list_in(&path).and_then(|siblings| siblings.iter().position(|c| *c == cpu)).unwrap_or(0)
}
