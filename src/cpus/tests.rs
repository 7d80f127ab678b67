//! Fixtures: a file tree as a system would show it, and what is made of it.

use super::*;
use core_affinity::CoreId;
use std::fs;
use tempfile::TempDir;

/// A system of these files.
fn system(files: &[(&str, &str)]) -> TempDir {
    let root = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    root
}

const V2: &str =
    "30 24 0:26 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:4 - cgroup2 cgroup2 rw,nsdelegate\n";
const V1: &str = "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct\n\
                  33 31 0:30 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n";
const ONLINE: (&str, &str) = ("sys/devices/system/cpu/online", "0-15\n");

/// The quota of a system whose process is in `groups`, with these mounts and more files.
fn quota(groups: &str, mounts: &str, files: &[(&str, &str)]) -> Option<(f64, String)> {
    let files = [&[("proc/self/cgroup", groups), ("proc/self/mountinfo", mounts)], files].concat();
    let root = system(&files);
    cgroup::quota(root.path()).map(|quota| (quota.cpus, quota.at.to_str().unwrap().to_owned()))
}

fn cpus(groups: &str, mounts: &str, files: &[(&str, &str)]) -> Option<f64> {
    quota(groups, mounts, files).map(|(cpus, _)| cpus)
}

#[test]
fn a_quota_of_version_2_is_its_time_by_its_period() {
    let of = |text: &str| cpus("0::/app\n", V2, &[("sys/fs/cgroup/app/cpu.max", text)]);
    assert_eq!(of("350000 100000\n"), Some(3.5));
    assert_eq!(of("50000 100000\n"), Some(0.5));
    assert_eq!(of("200000\n"), Some(2.0), "a period that is not said is 100 ms");
    assert_eq!(of("10000 1000000"), Some(0.01));
}

#[test]
fn what_is_no_quota_is_none() {
    let v2 = |text: &str| cpus("0::/app\n", V2, &[("sys/fs/cgroup/app/cpu.max", text)]);
    for text in
        ["max 100000\n", "max\n", "0 100000\n", "100000 0\n", "-1 100000\n", "many 100000", "1e5 100000", "", "\n"]
    {
        assert_eq!(v2(text), None, "{text:?}");
    }
    assert_eq!(v2("99999999999999999999999 100000"), None);
    let v1 = |quota: &str, period: &str| {
        let at = |file: &str| format!("sys/fs/cgroup/cpu,cpuacct/app/{file}");
        let (q, p) = (at("cpu.cfs_quota_us"), at("cpu.cfs_period_us"));
        cpus("3:cpu,cpuacct:/app\n", V1, &[(&q, quota), (&p, period)])
    };
    assert_eq!(v1("150000\n", "100000\n"), Some(1.5));
    for (quota, period) in
        [("-1\n", "100000\n"), ("0\n", "100000\n"), ("150000\n", "0\n"), ("150000\n", ""), ("x", "1")]
    {
        assert_eq!(v1(quota, period), None, "{quota:?} {period:?}");
    }
}

#[test]
fn without_files_or_with_nonsense_in_them_there_is_no_quota() {
    assert_eq!(cgroup::quota(system(&[]).path()), None);
    let file = [("sys/fs/cgroup/app/cpu.max", "100000 100000")];
    for groups in ["", "\n", "0", "0:", "0::", "::::", "nonsense", "4:memory:/app\n", "4:cpuset:/app\n"] {
        let none = cpus(groups, V2, &file);
        assert!(none.is_none(), "{groups:?}: {none:?}");
    }
    for mounts in ["", "\n", " - ", "30 24 0:26", "30 24 0:26 / /sys/fs/cgroup rw", "30 24 0:26 / /x rw - tmpfs t rw\n"]
    {
        assert_eq!(cpus("0::/app\n", mounts, &file), None, "{mounts:?}");
    }
}

#[test]
fn of_nested_cgroups_the_least_quota_up_to_the_root_holds() {
    // spiceai#13283 and moka#257: the container sets none, or a larger one, and the pod above it decides.
    let group = "0::/kubepods/pod7/app\n";
    let at = |level: &'static str, text: &'static str| (level, text);
    let pod = at("sys/fs/cgroup/kubepods/pod7/cpu.max", "250000 100000\n");
    let own = |text: &'static str| at("sys/fs/cgroup/kubepods/pod7/app/cpu.max", text);
    let all = at("sys/fs/cgroup/kubepods/cpu.max", "800000 100000\n");
    let in_pod = Some((2.5, "/sys/fs/cgroup/kubepods/pod7".into()));
    assert_eq!(quota(group, V2, &[own("max 100000\n"), pod, all]), in_pod);
    assert_eq!(quota(group, V2, &[own("400000 100000\n"), pod, all]), in_pod);
    assert_eq!(quota(group, V2, &[pod, all]), in_pod, "a level without a file");
    let own_one = quota(group, V2, &[own("100000 100000\n"), pod, all]);
    assert_eq!(own_one, Some((1.0, "/sys/fs/cgroup/kubepods/pod7/app".into())));
    let at_mount = quota(group, V2, &[own("max"), at("sys/fs/cgroup/cpu.max", "600000 200000\n")]);
    assert_eq!(at_mount.unwrap().0, 3.0, "the mount point itself counts");
}

#[test]
fn a_hybrid_system_is_read_in_both_versions() {
    let groups = "3:cpu,cpuacct:/app\n1:name=systemd:/app\n0::/app\n";
    let mounts = format!("{V1}41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n");
    let v1 = [
        ("sys/fs/cgroup/cpu,cpuacct/app/cpu.cfs_quota_us", "300000\n"),
        ("sys/fs/cgroup/cpu,cpuacct/app/cpu.cfs_period_us", "100000\n"),
    ];
    assert_eq!(cpus(groups, &mounts, &v1), Some(3.0));
    let both = [&v1[..], &[("sys/fs/cgroup/unified/app/cpu.max", "200000 100000")]].concat();
    assert_eq!(cpus(groups, &mounts, &both), Some(2.0));
}

#[test]
fn in_a_container_the_mount_is_the_containers_own_cgroup() {
    let own = ("sys/fs/cgroup/cpu.max", "150000 100000\n");
    let mounted = |root: &str| format!("30 24 0:26 {root} /sys/fs/cgroup ro,nosuid - cgroup2 cgroup rw\n");
    // With a namespace of its own; without one, where the path is the host's; one level down; and where the process was
    // moved out of its namespace's root, or the mount is of another place.
    for (group, root) in [
        ("0::/\n", "/"),
        ("0::/docker/01ab\n", "/docker/01ab"),
        ("0::/docker/01ab/init\n", "/docker/01ab"),
        ("0::/../other\n", "/"),
        ("0::/docker/01ab\n", "/elsewhere"),
    ] {
        assert_eq!(cpus(group, &mounted(root), &[own]), Some(1.5), "{group} {root}");
    }
    // A name that begins with the same letters is another cgroup; the mount that shows most is taken.
    let two = format!("{}{}", mounted("/docker/01ab").replace("/sys/fs/cgroup", "/inner"), mounted("/"));
    let files = [("sys/fs/cgroup/docker/cpu.max", "100000 100000\n"), ("inner/cpu.max", "300000 100000\n")];
    assert_eq!(cpus("0::/docker/01ab\n", &two, &files), Some(1.0));
    assert_eq!(cpus("0::/docker/01abc\n", &two, &files), Some(1.0));
}

#[test]
fn escaped_mount_points_are_read() {
    let mounts = r"30 24 0:26 / /sys/fs/c\040group\134x rw - cgroup2 cgroup2 rw";
    assert_eq!(cpus("0::/\n", mounts, &[(r"sys/fs/c group\x/cpu.max", "100000 100000")]), Some(1.0));
    let odd = r"30 24 0:26 / /sys/fs/cg\9 rw - cgroup2 cgroup2 rw";
    assert_eq!(cpus("0::/\n", odd, &[(r"sys/fs/cg\9/cpu.max", "100000 100000")]), Some(1.0));
    assert_eq!(cpus("0::/a:b\n", V2, &[("sys/fs/cgroup/a:b/cpu.max", "100000 100000")]), Some(1.0));
}

fn granted_with(quota: Option<&str>, affinity: usize) -> Granted {
    let quota = quota.map(|text| ("sys/fs/cgroup/cpu.max", text));
    let base = [("proc/self/cgroup", "0::/\n"), ("proc/self/mountinfo", V2), ONLINE];
    Granted::read(system(&base.into_iter().chain(quota).collect::<Vec<_>>()).path(), affinity)
}

#[test]
fn quota_affinity_and_rounding_are_reported_apart() {
    // vLLM#34462 (ceil or floor), bun#36183, rust-lang/rust#92697, nub#140.
    let show = |quota, affinity| granted_with(quota, affinity).to_string();
    assert_eq!(
        show(Some("350000 100000"), 8),
        "4 threads: cgroup quota 3.5 CPUs (rounded up), 8 in the affinity mask, 16 online"
    );
    assert_eq!(show(Some("200000 100000"), 8), "2 threads: cgroup quota 2 CPUs, 8 in the affinity mask, 16 online");
    assert_eq!(
        show(Some("5000 100000"), 8),
        "1 thread: cgroup quota 0.05 CPUs (rounded up), 8 in the affinity mask, 16 online"
    );
    assert_eq!(show(None, 8), "8 threads: no cgroup quota, 8 in the affinity mask, 16 online");
    assert_eq!(show(Some("3200000 100000"), 8), "8 threads: cgroup quota 32 CPUs, 8 in the affinity mask, 16 online");
    let of = |quota, affinity| (granted_with(quota, affinity).threads, granted_with(quota, affinity).limited_by);
    assert_eq!(of(Some("350000 100000"), 8), (4, LimitedBy::Quota));
    assert_eq!(of(Some("350000 100000"), 2), (2, LimitedBy::Affinity));
    assert_eq!(of(Some("750000 100000"), 8), (8, LimitedBy::Affinity));
    assert_eq!(of(None, 16), (16, LimitedBy::Machine));
    assert_eq!(of(Some("1 1000000"), 16), (1, LimitedBy::Quota));
    assert_eq!(of(Some("9000000000000000000 1"), 16), (16, LimitedBy::Machine));
    let bare = Granted::read(system(&[]).path(), 3);
    assert_eq!(bare.to_string(), "3 threads: no cgroup quota, 3 in the affinity mask");
    assert_eq!((bare.threads, bare.limited_by, bare.online), (3, LimitedBy::Machine, None));
    assert_eq!(Granted::read(system(&[]).path(), 0).threads, 1);
}

#[test]
fn a_quota_that_is_changed_is_read_again() {
    let root = system(&[("proc/self/cgroup", "0::/\n"), ("proc/self/mountinfo", V2)]);
    let set = |text| {
        fs::create_dir_all(root.path().join("sys/fs/cgroup")).unwrap();
        fs::write(root.path().join("sys/fs/cgroup/cpu.max"), text).unwrap();
        Granted::read(root.path(), 8).threads
    };
    assert_eq!([set("100000 100000"), set("400000 100000"), set("max 100000")], [1, 4, 8]);
}

#[test]
fn lists_are_read_as_the_kernel_writes_them() {
    let list = nodes::list;
    assert_eq!(list("0-3,8,10-11\n"), Some(vec![0, 1, 2, 3, 8, 10, 11]));
    assert_eq!(list("5"), Some(vec![5]));
    assert_eq!(list("3,1-2,2"), Some(vec![1, 2, 3]));
    assert_eq!(list("\n"), Some(vec![]));
    for text in ["a", "1-", "-1", "3-1", "0-99999999999", "1 2", "0-4000000000", "1--2", "0x1"] {
        assert_eq!(list(text), None, "{text}");
    }
}

/// Two nodes of four CPUs on two cores each; CPU n shares its core with n + 4.
fn two_nodes() -> TempDir {
    let node = |n: usize, text| (format!("sys/devices/system/node/node{n}/cpulist"), text);
    let siblings = |cpu: usize| {
        let path = format!("sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list");
        (path, format!("{},{}\n", cpu % 4, cpu % 4 + 4))
    };
    let mut files = vec![node(0, "0-1,4-5\n".to_owned()), node(1, "2-3,6-7\n".into()), node(2, "\n".into())];
    files.push(node(3, "broken".into()));
    files.push(("sys/devices/system/node/nodes/cpulist".into(), "0".into()));
    files.push(("sys/devices/system/node/possible".into(), "0-3".into()));
    files.extend((0..8).map(siblings));
    let files: Vec<_> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
    system(&files)
}

fn order(pin: Pin, root: &TempDir, mask: &[usize]) -> Vec<usize> {
    let planned = Pinning::planned(pin, root.path(), mask.iter().map(|id| CoreId { id: *id }).collect());
    (0..mask.len()).filter_map(|worker| planned.cpu_of(worker)).map(|cpu| cpu.id).collect()
}

#[test]
fn workers_take_the_cpus_of_the_mask_whole_cores_first() {
    let root = two_nodes();
    let all: Vec<_> = (0..8).collect();
    assert_eq!(order(Pin::Cores, &root, &all), [0, 1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(order(Pin::Cores, &root, &[4, 5, 1]), [1, 4, 5]);
    assert_eq!(order(Pin::Cores, &root, &[6, 3]), [3, 6]);
    assert_eq!(order(Pin::No, &root, &all), [0; 0]);
    let planned = Pinning::planned(Pin::Cores, root.path(), vec![CoreId { id: 6 }, CoreId { id: 3 }]);
    let first_four: Vec<_> = (0..4).map(|worker| planned.cpu_of(worker).unwrap().id).collect();
    assert_eq!(first_four, [3, 6, 3, 6], "more workers than CPUs begin again");
}

#[test]
fn workers_fill_one_node_before_the_next() {
    let root = two_nodes();
    let all: Vec<_> = (0..8).collect();
    assert_eq!(
        nodes::nodes(root.path()).into_iter().collect::<Vec<_>>(),
        [(0, vec![0, 1, 4, 5]), (1, vec![2, 3, 6, 7])]
    );
    assert_eq!(order(Pin::Numa, &root, &all), [0, 1, 4, 5, 2, 3, 6, 7]);
    assert_eq!(order(Pin::Numa, &root, &[0, 2, 3, 6]), [2, 3, 6, 0], "the node with most of the mask first");
    assert_eq!(order(Pin::Node(1), &root, &all), [2, 3, 6, 7, 2, 3, 6, 7], "more workers than CPUs begin again");
    assert_eq!(order(Pin::Node(1), &root, &[0, 7]), [7, 7]);
}

#[test]
fn what_is_not_told_is_not_pinned_to() {
    let root = two_nodes();
    for node in [2, 3, 9] {
        assert_eq!(order(Pin::Node(node), &root, &[0, 1]), [0; 0]);
    }
    assert_eq!(order(Pin::Node(1), &root, &[0, 1]), [0; 0], "none of its CPUs is ours");
    let silent = system(&[]);
    assert_eq!(order(Pin::Numa, &silent, &[5, 2]), [2, 5]);
    assert_eq!(order(Pin::Node(0), &silent, &[5, 2]), [0; 0]);
    assert!(!Pinning::planned(Pin::Numa, silent.path(), Vec::new()).pin(0));
    // A CPU that no machine has: the system refuses, and the worker runs on.
    assert!(!Pinning::planned(Pin::Cores, silent.path(), vec![CoreId { id: 1023 }]).pin(0));
}
