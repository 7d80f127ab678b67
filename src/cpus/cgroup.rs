//! How much processor time the cgroups leave this process: a pure function of the files below a root.
//!
//! A quota may be set at every level between the process's own cgroup and the root, and the least of them holds: a
//! container that sets none inside a pod that does has the pod's. Both versions are read, because a hybrid system mounts
//! both and only one of them has the controller. What cannot be read, or makes no sense, sets no quota.

use std::fs;
use std::path::{Component, Path, PathBuf};

/// Where a quota is set.
#[derive(Clone, PartialEq, Debug)]
pub(super) struct Quota {
    /// Seconds of processor time a second.
    pub(super) cpus: f64,
    /// The cgroup that sets it, as it is mounted.
    pub(super) at: PathBuf,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Version {
    One,
    Two,
}

/// A mounted part of a hierarchy.
struct Mount {
    version: Version,
    /// The cgroup that is mounted.
    root: PathBuf,
    /// Where.
    point: PathBuf,
}

/// The least quota of this process, under `root`, which is `/` but for tests.
pub(super) fn quota(root: &Path) -> Option<Quota> {
    let text = |path: &str| fs::read_to_string(root.join(path)).ok();
    let (groups, mounts) = (text("proc/self/cgroup")?, text("proc/self/mountinfo")?);
    let mounts: Vec<_> = mounts.lines().filter_map(mount).collect();
    let levels = groups.lines().filter_map(group).flat_map(|(version, path)| levels(&mounts, version, &path));
    let quotas = levels.filter_map(|(version, at)| {
        let cpus = at_level(version, &below(root, &at))?;
        Some(Quota { cpus, at })
    });
    quotas.min_by(|a, b| a.cpus.total_cmp(&b.cpus))
}

/// A line of `/proc/self/cgroup`, `hierarchy:controllers:path`, if it is of the CPU controller.
fn group(line: &str) -> Option<(Version, PathBuf)> {
    let mut fields = line.splitn(3, ':');
    let (_, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
    let version = match controllers {
        "" => Version::Two,
        named if named.split(',').any(|name| name == "cpu") => Version::One,
        _ => return None,
    };
    Some((version, path.into()))
}

/// A line of `/proc/self/mountinfo`, if it is of a hierarchy that may have the CPU controller: number, parent, device,
/// root, mount point, options, optional fields, `-`, type, source, options of the file system.
fn mount(line: &str) -> Option<Mount> {
    let (before, after) = line.split_once(" - ")?;
    let mut fields = before.split(' ').skip(3);
    let (root, point) = (unescaped(fields.next()?), unescaped(fields.next()?));
    let mut fields = after.split(' ');
    let version = match fields.next()? {
        "cgroup2" => Version::Two,
        "cgroup" if fields.nth(1)?.split(',').any(|option| option == "cpu") => Version::One,
        _ => return None,
    };
    Some(Mount { version, root: root.into(), point: point.into() })
}

/// The kernel writes spaces, tabs, line ends and backslashes as three octal digits.
fn unescaped(field: &str) -> String {
    let mut parts = field.split('\\');
    let mut out = String::from(parts.next().unwrap_or_default());
    for part in parts {
        let code = part.get(..3).and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match code {
            Some(byte) if byte.is_ascii() => {
                out.push(char::from(byte));
                out.push_str(&part[3..]);
            }
            _ => {
                out.push('\\');
                out.push_str(part);
            }
        }
    }
    out
}

/// The cgroup and all above it that can be seen, as they are mounted.
///
/// In a container the path may be the host's, and the mount point the container's own cgroup: where the path does not lead
/// below any mount, a mount point itself is taken for it.
fn levels(mounts: &[Mount], version: Version, group: &Path) -> Vec<(Version, PathBuf)> {
    let of_version = || mounts.iter().filter(|m| m.version == version);
    let below = of_version().filter_map(|m| Some((m, group.strip_prefix(&m.root).ok()?)));
    // The one that shows most levels.
    let found = below.max_by_key(|(_, rest)| rest.components().count());
    let Some((mount, rest)) = found.or_else(|| of_version().next().map(|m| (m, Path::new("")))) else {
        return Vec::new();
    };
    // A path that leads out of its own namespace says nothing of what is below the mount.
    let normal = rest.components().all(|part| matches!(part, Component::Normal(_)));
    let rest = if normal { rest } else { Path::new("") };
    rest.ancestors().map(|level| (version, mount.point.join(level))).collect()
}

/// An absolute path, under another root.
fn below(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

/// The quota that is set at one level, in CPUs.
fn at_level(version: Version, folder: &Path) -> Option<f64> {
    let read = |file: &str| fs::read_to_string(folder.join(file)).ok();
    let (quota, period) = match version {
        Version::Two => {
            let text = read("cpu.max")?;
            let mut numbers = text.split_whitespace();
            // `max` is no number, and no quota; a period that is not said is 100 ms.
            let quota = numbers.next()?.parse::<u64>().ok()?;
            (quota, numbers.next().map_or(Some(100_000), |period| period.parse().ok())?)
        }
        Version::One => {
            // -1 is no quota.
            let quota = read("cpu.cfs_quota_us")?.trim().parse::<u64>().ok()?;
            (quota, read("cpu.cfs_period_us")?.trim().parse().ok()?)
        }
    };
    (quota > 0 && period > 0).then(|| quota as f64 / period as f64)
}
