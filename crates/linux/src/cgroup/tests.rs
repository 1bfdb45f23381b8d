//! Limits against directories that look like hierarchies, and against the real ones.

use super::v2::{swap_alone, weight_of_shares};
use super::*;
use std::io::ErrorKind;

/// A tree of empty files below a directory that goes with it.
struct Tree(tempfile::TempDir);

impl Tree {
    fn new(files: &[&str]) -> Self {
        let tree = Self(tempfile::tempdir().unwrap());
        for file in files {
            tree.put(file, "");
        }
        tree
    }

    fn put(&self, file: &str, content: &str) {
        let path = self.0.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// What was written to a file; a value that is longer than the one before hides it.
    fn get(&self, file: &str) -> String {
        fs::read_to_string(self.0.path().join(file)).unwrap()
    }

    fn v1(&self, names: &[&str]) -> Cgroup {
        for name in names {
            self.put(&format!("{name}/cgroup.procs"), "");
        }
        let listed: Vec<String> = names.iter().map(|name| format!("1:{name}:/")).collect();
        let layout = Layout::v1_at(self.0.path(), &listed.join("\n")).unwrap();
        Cgroup::new(layout.with_unified(), "/g").unwrap()
    }

    fn v2(&self) -> Cgroup {
        Cgroup::new(Layout::v2_at(self.0.path()), "g").unwrap()
    }
}

fn memory(limit: i64, swap: i64) -> Limits {
    let mut limits = Limits::default();
    limits.memory.limit = Some(limit);
    limits.memory.swap = Some(swap);
    limits
}

fn device(rate: u64) -> Vec<BlockDevice> {
    vec![BlockDevice {
        major: 8,
        minor: 16,
        rate,
    }]
}

#[test]
fn a_path_stays_inside() {
    let tree = Tree::new(&["g/x"]);
    for path in ["", "/", "..", "a/../b", "a/./b", "/a//b", "../../etc"] {
        let made = Cgroup::new(Layout::v2_at(tree.0.path()), path);
        assert!(matches!(made, Err(Error::Path(_))), "{path}");
    }
}

/// Files of v1 and what the limits of the next test put there.
const V1: &[(&str, &str)] = &[
    ("memory/g/memory.limit_in_bytes", "1000"),
    ("memory/g/memory.memsw.limit_in_bytes", "2000"),
    ("memory/g/memory.soft_limit_in_bytes", "500"),
    ("memory/g/memory.swappiness", "5"),
    ("memory/g/memory.oom_control", "1"),
    ("memory/g/memory.kmem.tcp.limit_in_bytes", "600"),
    ("pids/g/pids.max", "max"),
    ("cpu/g/cpu.cfs_quota_us", "50000"),
    ("cpu/g/cpu.cfs_period_us", "100000"),
    ("cpu/g/cpu.shares", "512"),
    ("cpu/g/cpu.idle", "1"),
    ("blkio/g/blkio.weight", "300"),
    ("blkio/g/blkio.weight_device", "8:0 20"),
    ("blkio/g/blkio.leaf_weight", "400"),
    ("blkio/g/blkio.leaf_weight_device", "8:0 30"),
    ("blkio/g/blkio.throttle.write_iops_device", "8:16 70"),
    ("net_cls/g/net_cls.classid", "1048577"),
    ("net_prio/g/net_prio.ifpriomap", "lo 7"),
    ("rdma/g/rdma.max", "mlx5_1 hca_handle=3"),
];

#[test]
fn v1_limits_go_to_their_files() {
    let files: Vec<&str> = V1.iter().map(|(file, _)| *file).collect();
    let tree = Tree::new(&files);
    tree.put("memory/g/memory.limit_in_bytes", "100");
    let controllers = [
        "memory", "pids", "cpu", "blkio", "net_cls", "net_prio", "rdma",
    ];
    let group = tree.v1(&controllers);
    let mut limits = memory(1000, 2000);
    limits.memory.reservation = Some(500);
    limits.memory.swappiness = Some(5);
    limits.memory.disable_oom_killer = Some(true);
    limits.memory.kernel_tcp = Some(600);
    limits.pids = Some(-1);
    limits.cpu.quota = Some(50_000);
    limits.cpu.period = Some(100_000);
    limits.cpu.shares = Some(512);
    limits.cpu.idle = Some(1);
    limits.block.weight = Some(300);
    limits.block.leaf_weight = Some(400);
    limits.block.weights = vec![BlockWeight {
        major: 8,
        minor: 0,
        weight: Some(20),
        leaf_weight: Some(30),
    }];
    limits.block.write_iops = device(70);
    limits.network.class_id = Some(0x10_0001);
    limits.network.priorities = vec![("lo".to_owned(), 7)];
    limits.rdma = vec![(
        "mlx5_1".to_owned(),
        Rdma {
            handles: Some(3),
            objects: None,
        },
    )];
    group.apply(&limits).unwrap();
    for (file, value) in V1 {
        assert_eq!(tree.get(file), *value, "{file}");
    }
}

#[test]
fn a_limit_without_its_controller_is_refused_in_runcs_words() {
    let tree = Tree::new(&["pids/g/pids.max"]);
    let group = tree.v1(&["pids"]);
    let huge = |size: &str| {
        let mut limits = Limits::default();
        limits.huge_pages.push(HugePages {
            size: size.to_owned(),
            limit: 1,
        });
        limits
    };
    let mut class = Limits::default();
    class.network.class_id = Some(1);
    for (limits, name) in [(huge("2MB"), "hugetlb"), (class, "net_cls")] {
        let error = group.apply(&limits).unwrap_err();
        let text = format!("cannot set {name} limit: container could not join or create cgroup");
        assert_eq!(error.to_string(), text);
    }
    let error = group.apply(&huge("../2MB")).unwrap_err();
    assert!(matches!(error, Error::Refused(Refused::HugePageSize(_))));
    let unified = Limits {
        unified: vec![("pids.max".to_owned(), "1".to_owned())],
        ..Limits::default()
    };
    let error = group.apply(&unified).unwrap_err().to_string();
    assert_eq!(
        error,
        "invalid configuration: cannot use unified on cgroup v1"
    );
    // 0 says nothing, as for runc 1.3.
    group
        .apply(&Limits {
            pids: Some(0),
            ..Limits::default()
        })
        .unwrap();
    assert_eq!(tree.get("pids/g/pids.max"), "");
}

#[test]
fn in_the_hybrid_layout_huge_pages_are_limited_in_v2() {
    let tree = Tree::new(&[
        "pids/g/pids.max",
        "unified/g/hugetlb.2MB.max",
        "unified/g/hugetlb.2MB.rsvd.max",
        "unified/g/hugetlb.1GB.max",
    ]);
    tree.put("unified/cgroup.controllers", "hugetlb");
    let group = tree.v1(&["pids"]);
    let page = |size: &str, limit| HugePages {
        size: size.to_owned(),
        limit,
    };
    let limits = Limits {
        huge_pages: vec![page("2MB", 4096), page("1GB", 0)],
        ..Limits::default()
    };
    group.apply(&limits).unwrap();
    assert_eq!(tree.get("unified/g/hugetlb.2MB.max"), "4096");
    assert_eq!(tree.get("unified/g/hugetlb.2MB.rsvd.max"), "4096");
    assert_eq!(tree.get("unified/g/hugetlb.1GB.max"), "0");
}

#[test]
fn v2_limits_go_to_their_files() {
    let files = [
        "memory.max",
        "memory.swap.max",
        "memory.low",
        "cpu.max",
        "cpu.max.burst",
        "cpu.weight",
        "cpu.idle",
        "cpuset.cpus",
        "pids.max",
        "io.weight",
        "io.max",
        "hugetlb.2MB.max",
        "rdma.max",
        "misc.max",
    ];
    let paths: Vec<String> = files.iter().map(|file| format!("g/{file}")).collect();
    let tree = Tree::new(&paths.iter().map(String::as_str).collect::<Vec<_>>());
    let mut limits = memory(1000, 1500);
    limits.memory.reservation = Some(-1);
    limits.pids = Some(7);
    limits.cpu.quota = Some(50_000);
    limits.cpu.burst = Some(9);
    limits.cpu.shares = Some(1024);
    limits.cpu.idle = Some(0);
    limits.cpu.cpus = Some("0-1".to_owned());
    limits.block.weight = Some(10);
    limits.block.read_bps = device(77);
    limits.huge_pages.push(HugePages {
        size: "2MB".to_owned(),
        limit: 3,
    });
    limits
        .unified
        .push(("misc.max".to_owned(), "sev 4\n".to_owned()));
    tree.v2().apply(&limits).unwrap();
    let values = [
        "1000",
        "500",
        "max",
        "50000 100000",
        "9",
        "100",
        "0",
        "0-1",
        "7",
        "1",
        "8:16 rbps=77",
        "3",
        "",
        "sev 4",
    ];
    for (file, value) in files.iter().zip(values) {
        assert_eq!(tree.get(&format!("g/{file}")), value, "{file}");
    }
}

#[test]
fn bfq_has_weights_of_its_own() {
    let tree = Tree::new(&["g/io.weight"]);
    tree.put("g/io.bfq.weight", "default 1\n");
    let mut limits = Limits::default();
    limits.block.weights = vec![BlockWeight {
        major: 259,
        minor: 1,
        weight: Some(300),
        leaf_weight: None,
    }];
    tree.v2().apply(&limits).unwrap();
    assert_eq!(tree.get("g/io.bfq.weight"), "259:1 300\n");
}

#[test]
fn raw_files_are_named_by_controller_and_parameter() {
    let tree = Tree::new(&["g/memory.high"]);
    tree.put("g/cgroup.controllers", "memory pids\n");
    let group = tree.v2();
    let refused = |name: &str| {
        let limits = Limits {
            unified: vec![(name.to_owned(), "1".to_owned())],
            ..Limits::default()
        };
        group.apply(&limits).err().map(|error| error.to_string())
    };
    assert_eq!(refused("memory.high"), None);
    for (name, text) in [
        (
            "../memory.high",
            "unified resource \"../memory.high\" must be a file name (no slashes)",
        ),
        (
            "memory",
            "unified resource \"memory\" must be in the form CONTROLLER.PARAMETER",
        ),
        (
            "hugetlb.1GB.max",
            "unified resource \"hugetlb.1GB.max\" can't be set: controller \"hugetlb\" not available",
        ),
        (
            "pids.nosuch",
            "unable to set unified resource \"pids.nosuch\"",
        ),
    ] {
        assert_eq!(refused(name).as_deref(), Some(text));
    }
}

#[test]
fn memory_and_swap_are_taken_apart() {
    for (swap, limit, alone) in [
        (None, None, Ok(None)),
        (Some(0), Some(5), Ok(None)),
        (None, Some(-1), Ok(Some(-1))),
        (Some(-1), Some(5), Ok(Some(-1))),
        (Some(9), Some(-1), Ok(Some(9))),
        (Some(9), Some(5), Ok(Some(4))),
        (Some(5), Some(5), Ok(Some(0))),
        (Some(5), None, Err(Refused::SwapAlone)),
        (Some(4), Some(5), Err(Refused::SwapBelowMemory)),
        (Some(4), Some(-2), Err(Refused::Memory(-2))),
    ] {
        assert_eq!(swap_alone(swap, limit), alone, "{swap:?} {limit:?}");
    }
    let tree = Tree::new(&["g/memory.max"]);
    // Without swap accounting, none is no harder than asked for, but some is.
    tree.v2().apply(&memory(5, 5)).unwrap();
    let error = tree.v2().apply(&memory(5, 6)).unwrap_err();
    assert!(matches!(error, Error::Access { source, .. } if source.kind() == ErrorKind::NotFound));
    tree.put("g/memory.current", "4096\n");
    let mut checked = memory(4096, 0);
    checked.memory.check_before_update = true;
    let error = tree.v2().apply(&checked).unwrap_err().to_string();
    assert_eq!(error, "rejecting memory limit 4096 <= usage 4096");
}

#[test]
fn shares_become_weights_as_runc_makes_them() {
    let shares = [1, 2, 3, 100, 512, 1024, 2048, 262_143, 262_144];
    let weights = [1, 1, 2, 17, 59, 100, 174, 10_000, 10_000];
    assert_eq!(shares.map(weight_of_shares), weights);
}

#[test]
fn an_update_that_fails_halfway_leaves_nothing_behind() {
    let tree = Tree::new(&[]);
    tree.put("g/memory.max", "max\n");
    tree.put("g/memory.swap.max", "max\n");
    let mut limits = memory(1000, 3000);
    limits.cpu.shares = Some(100);
    let error = tree.v2().update(&limits).unwrap_err();
    assert!(matches!(error, Error::Access { .. }), "{error}");
    // Plain files keep the tail of a longer value, which the kernel's do not.
    assert!(tree.get("g/memory.max").starts_with("max"));
    assert!(tree.get("g/memory.swap.max").starts_with("max"));
}

/// A group of this test's own on the real host, `None` (said so) where none can be made.
fn real(name: &str, limits: &Limits) -> Option<Cgroup> {
    let layout = Layout::detect().ok()?.with_unified();
    let name = format!("hull-test-{}-{name}/a/b", std::process::id());
    let group = Cgroup::new(layout, &name).unwrap();
    if let Err(error) = group.create_for(limits) {
        println!("skipped: {error}");
        return None;
    }
    Some(group)
}

/// Removes a group of [`real`] with its parents.
fn remove(group: &Cgroup) {
    let top = group.path.iter().next().unwrap().to_str().unwrap();
    Cgroup::new(group.layout.clone(), top)
        .unwrap()
        .remove()
        .unwrap();
}

/// The name of a file in the version of the host that has it.
fn holds(group: &Cgroup, controller: &'static str, v1: &str, v2: &str) -> Option<String> {
    let hierarchy = group.layout.hierarchy(controller)?;
    let text = group.read(controller, if hierarchy.v2 { v2 } else { v1 });
    if text.is_err() {
        println!("skipped: no {controller} here");
    }
    text.ok().map(|text| text.trim().to_owned())
}

/// What was found in the kernel's files and what was to be there; looked at when the group is gone.
#[derive(Default)]
struct Seen(Vec<(&'static str, String, String)>);

impl Seen {
    fn check(&mut self, name: &'static str, found: Option<String>, wanted: &str) {
        if let Some(found) = found {
            self.0.push((name, found, wanted.to_owned()));
        }
    }
}

/// Whether the host takes the limits; says so where it does not.
fn takes(group: &Cgroup, limits: &Limits) -> bool {
    match group.update(limits) {
        Ok(()) => true,
        Err(error) => {
            println!("skipped: {error}");
            false
        }
    }
}

/// Growing and shrinking: memory and swap never contradict each other on the way.
fn move_memory(group: &Cgroup, seen: &mut Seen) {
    let limit = || holds(group, "memory", "memory.limit_in_bytes", "memory.max");
    if !takes(group, &memory(64 << 20, 128 << 20)) {
        return;
    }
    seen.check("limit", limit(), "67108864");
    for (new, with_swap) in [(256 << 20, 512 << 20), (32 << 20, 48 << 20), (-1, -1)] {
        group.update(&memory(new, with_swap)).unwrap();
    }
    group.update(&memory(32 << 20, 48 << 20)).unwrap();
    seen.check("limit again", limit(), "33554432");
    // A later failure takes the memory back.
    let mut wrong = memory(40 << 20, 50 << 20);
    wrong.cpu.quota = Some(1);
    group.update(&wrong).unwrap_err();
    seen.check("limit undone", limit(), "33554432");
}

#[test]
fn the_kernel_takes_the_limits_and_gives_them_back() {
    let mut limits = Limits::default();
    limits.cpu.cpus = Some("0".to_owned());
    let Some(group) = real("limits", &limits) else {
        return;
    };
    let v2 = group.layout.is_v2();
    let mut seen = Seen::default();
    let cpus = holds(&group, "cpuset", "cpuset.cpus", "cpuset.cpus");
    seen.check("cpuset", cpus, if v2 { "" } else { "0" });
    move_memory(&group, &mut seen);
    let mut cpu = Limits::default();
    cpu.cpu.quota = Some(20_000);
    cpu.cpu.period = Some(50_000);
    if takes(&group, &cpu) {
        let quota = holds(&group, "cpu", "cpu.cfs_quota_us", "cpu.max");
        seen.check("quota", quota, if v2 { "20000 50000" } else { "20000" });
        // More than the quota can be saved up only with a larger quota, which is set after it.
        cpu.cpu.quota = Some(40_000);
        cpu.cpu.burst = Some(30_000);
        if takes(&group, &cpu) {
            let burst = holds(&group, "cpu", "cpu.cfs_burst_us", "cpu.max.burst");
            seen.check("burst", burst, "30000");
        }
    }
    let pids = Limits {
        pids: Some(50),
        ..Limits::default()
    };
    if takes(&group, &pids) {
        seen.check("pids", holds(&group, "pids", "pids.max", "pids.max"), "50");
    }
    let mut huge = Limits::default();
    huge.huge_pages.push(HugePages {
        size: "2MB".to_owned(),
        limit: 2 << 20,
    });
    if takes(&group, &huge) {
        let file = "hugetlb.2MB.limit_in_bytes";
        let limit = holds(&group, "hugetlb", file, "hugetlb.2MB.max");
        seen.check("hugetlb", limit, "2097152");
    }
    remove(&group);
    for (name, found, wanted) in seen.0 {
        assert_eq!(found, wanted, "{name}");
    }
}
