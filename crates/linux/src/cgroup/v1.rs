//! Version 1: a directory per hierarchy (kernel documentation, `cgroup-v1/`).

use super::limits::{Block, BlockDevice, Memory};
use super::{Cgroup, DeviceKind, DeviceRule, Error, Hierarchy, Limits, read, write};
use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::time::{Duration, Instant};

pub(super) fn create(hierarchy: &Hierarchy, path: &Path) -> Result<(), Error> {
    let directory = hierarchy.mount.join(path);
    let cpuset = hierarchy
        .controllers
        .iter()
        .any(|controller| controller == "cpuset");
    match fs::create_dir(&directory) {
        Ok(()) if cpuset => return inherit_cpuset(&hierarchy.mount, path),
        Ok(()) => return Ok(()),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => return Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(source) => {
            return Err(Error::Create {
                path: directory,
                source,
            });
        }
    }
    fs::create_dir_all(&directory).map_err(|source| Error::Create {
        path: directory.clone(),
        source,
    })?;
    if cpuset {
        inherit_cpuset(&hierarchy.mount, path)
    } else {
        Ok(())
    }
}

/// A new cpuset is empty, and nothing can be moved into it until it has processors and memory: copy
/// them from the parent, from the top down.
fn inherit_cpuset(mount: &Path, path: &Path) -> Result<(), Error> {
    let mut parent = mount.to_owned();
    for part in path {
        let child = parent.join(part);
        for file in ["cpuset.cpus", "cpuset.mems"] {
            if read(&child.join(file))?.trim().is_empty() {
                write(&child.join(file), read(&parent.join(file))?.trim())?;
            }
        }
        parent = child;
    }
    Ok(())
}

pub(super) fn apply(group: &Cgroup, limits: &Limits) -> Result<(), Error> {
    memory(group, &limits.memory)?;
    cpu(group, limits)?;
    if let Some(pids) = limits.pids {
        let value = if pids > 0 {
            pids.to_string()
        } else {
            "max".to_owned()
        };
        set(group, "pids", "pids.max", &value)?;
    }
    for pages in &limits.huge_pages {
        set(
            group,
            "hugetlb",
            &format!("hugetlb.{}.limit_in_bytes", pages.size),
            &pages.limit.to_string(),
        )?;
    }
    block(group, &limits.block)
}

fn set(group: &Cgroup, controller: &'static str, file: &str, value: &str) -> Result<(), Error> {
    let directory = group
        .directory(controller)
        .ok_or(Error::NoController(controller))?;
    write(&directory.join(file), value)
}

fn memory(group: &Cgroup, memory: &Memory) -> Result<(), Error> {
    const LIMIT: &str = "memory.limit_in_bytes";
    const SWAP: &str = "memory.memsw.limit_in_bytes";
    let set = |file: &str, value: i64| set(group, "memory", file, &value.to_string());
    match (memory.limit, memory.swap) {
        (Some(limit), Some(swap)) => {
            // The kernel keeps limit ≤ memsw at every moment: raise memsw first when it grows.
            let current = group
                .read("memory", SWAP)
                .ok()
                .and_then(|text| text.trim().parse::<i64>().ok());
            if swap == -1 || current.is_some_and(|current| current < swap) {
                set(SWAP, swap)?;
                set(LIMIT, limit)?;
            } else {
                set(LIMIT, limit)?;
                set(SWAP, swap)?;
            }
        }
        (Some(limit), None) => set(LIMIT, limit)?,
        (None, Some(swap)) => set(SWAP, swap)?,
        (None, None) => {}
    }
    if let Some(reservation) = memory.reservation {
        set("memory.soft_limit_in_bytes", reservation)?;
    }
    if let Some(tcp) = memory.kernel_tcp {
        set("memory.kmem.tcp.limit_in_bytes", tcp)?;
    }
    if let Some(swappiness) = memory.swappiness {
        self::set(
            group,
            "memory",
            "memory.swappiness",
            &swappiness.to_string(),
        )?;
    }
    if memory.disable_oom_killer == Some(true) {
        set("memory.oom_control", 1)?;
    }
    Ok(())
}

fn cpu(group: &Cgroup, limits: &Limits) -> Result<(), Error> {
    let cpu = &limits.cpu;
    let values = [
        ("cpu.shares", cpu.shares.map(|v| v.to_string())),
        (
            "cpu.rt_period_us",
            cpu.realtime_period.map(|v| v.to_string()),
        ),
        (
            "cpu.rt_runtime_us",
            cpu.realtime_runtime.map(|v| v.to_string()),
        ),
        ("cpu.cfs_period_us", cpu.period.map(|v| v.to_string())),
        ("cpu.cfs_quota_us", cpu.quota.map(|v| v.to_string())),
        ("cpu.cfs_burst_us", cpu.burst.map(|v| v.to_string())),
        ("cpu.idle", cpu.idle.map(|v| v.to_string())),
    ];
    for (file, value) in values {
        if let Some(value) = value {
            set(group, "cpu", file, &value)?;
        }
    }
    for (file, value) in [("cpuset.cpus", &cpu.cpus), ("cpuset.mems", &cpu.mems)] {
        if let Some(value) = value {
            set(group, "cpuset", file, value)?;
        }
    }
    Ok(())
}

fn block(group: &Cgroup, block: &Block) -> Result<(), Error> {
    if let Some(weight) = block.weight {
        // `blkio.weight` is CFQ's and gone with it; BFQ has its own file.
        let directory = group
            .directory("blkio")
            .ok_or(Error::NoController("blkio"))?;
        let file = if directory.join("blkio.weight").exists() {
            "blkio.weight"
        } else {
            "blkio.bfq.weight"
        };
        write(&directory.join(file), &weight.to_string())?;
    }
    let throttles = [
        ("blkio.throttle.read_bps_device", &block.read_bps),
        ("blkio.throttle.write_bps_device", &block.write_bps),
        ("blkio.throttle.read_iops_device", &block.read_iops),
        ("blkio.throttle.write_iops_device", &block.write_iops),
    ];
    for (file, devices) in throttles {
        for BlockDevice { major, minor, rate } in devices {
            set(group, "blkio", file, &format!("{major}:{minor} {rate}"))?;
        }
    }
    Ok(())
}

/// The kernel's list starts as "everything is allowed". Denying all and then writing rule by rule is
/// what its documentation describes; the list is never wider than what is asked for.
pub(super) fn set_devices(directory: &Path, rules: &[DeviceRule]) -> Result<(), Error> {
    // What stands before the last total rule has no effect.
    let from = rules.iter().rposition(DeviceRule::is_total).unwrap_or(0);
    let rules = &rules[from..];
    let starts_open = rules
        .first()
        .is_some_and(|rule| rule.is_total() && rule.allow);
    write(
        &directory.join(if starts_open {
            "devices.allow"
        } else {
            "devices.deny"
        }),
        "a",
    )?;
    for rule in rules.iter().filter(|rule| !rule.is_total()) {
        let file = directory.join(if rule.allow {
            "devices.allow"
        } else {
            "devices.deny"
        });
        if rule.kind == DeviceKind::All {
            // `a` in this file means "all devices, all accesses", whatever follows it.
            for kind in [DeviceKind::Character, DeviceKind::Block] {
                write(&file, &DeviceRule { kind, ..*rule }.to_string())?;
            }
        } else {
            write(&file, &rule.to_string())?;
        }
    }
    Ok(())
}

/// How long a group may take to stand still.
const FREEZE_TIME: Duration = Duration::from_secs(10);

pub(super) fn set_frozen(group: &Cgroup, frozen: bool) -> Result<(), Error> {
    let directory = group
        .directory("freezer")
        .ok_or(Error::NoController("freezer"))?;
    let file = directory.join("freezer.state");
    let wanted = if frozen { "FROZEN" } else { "THAWED" };
    let deadline = Instant::now() + FREEZE_TIME;
    write(&file, wanted)?;
    let mut turn = 0_u32;
    while read(&file)?.trim() != wanted {
        if Instant::now() > deadline {
            // Not to leave the group half frozen.
            let _ = write(&file, "THAWED");
            return Err(Error::Timeout {
                path: directory,
                what: "freeze",
            });
        }
        // A process that forks while the kernel walks the group can keep it in FREEZING: thawing for
        // a moment and asking again gets over that (kernel documentation, freezer-subsystem).
        turn += 1;
        if turn.is_multiple_of(50) {
            write(&file, "THAWED")?;
        }
        // The v1 freezer announces nothing; give the processes the processor and look again.
        std::thread::yield_now();
        write(&file, wanted)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{Access, Layout};
    use super::*;

    fn layout(root: &Path, names: &[&str]) -> Layout {
        for name in names {
            fs::create_dir_all(root.join(name)).unwrap();
            fs::write(root.join(name).join("cgroup.procs"), "").unwrap();
        }
        let listed: String = names
            .iter()
            .enumerate()
            .map(|(n, name)| format!("{n}:{name}:/\n"))
            .collect();
        Layout::v1_at(root, &listed).unwrap()
    }

    fn group(root: &Path, names: &[&str], files: &[(&str, &str)]) -> Cgroup {
        let group = Cgroup::new(layout(root, names), "/a/b").unwrap();
        for (name, content) in files {
            let path = root.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        group
    }

    #[test]
    fn a_cpuset_is_copied_from_its_parents() {
        let root = tempfile::tempdir().unwrap();
        let group = group(
            root.path(),
            &["cpuset"],
            &[
                ("cpuset/cpuset.cpus", "0-3\n"),
                ("cpuset/cpuset.mems", "0\n"),
                ("cpuset/a/cpuset.cpus", "1\n"),
                ("cpuset/a/cpuset.mems", ""),
                ("cpuset/a/b/cpuset.cpus", ""),
                ("cpuset/a/b/cpuset.mems", ""),
            ],
        );
        inherit_cpuset(&root.path().join("cpuset"), Path::new("a/b")).unwrap();
        assert_eq!(group.read("cpuset", "cpuset.cpus").unwrap(), "1");
        assert_eq!(group.read("cpuset", "cpuset.mems").unwrap(), "0");
    }

    #[test]
    fn limits_are_written_to_their_files() {
        let root = tempfile::tempdir().unwrap();
        let files = [
            "memory.limit_in_bytes",
            "memory.memsw.limit_in_bytes",
            "memory.swappiness",
        ];
        let files: Vec<(String, &str)> = files
            .iter()
            .map(|f| (format!("memory/a/b/{f}"), "100"))
            .collect();
        let mut files: Vec<(&str, &str)> = files.iter().map(|(f, c)| (f.as_str(), *c)).collect();
        files.extend([
            ("pids/a/b/pids.max", "max"),
            ("cpu/a/b/cpu.cfs_quota_us", ""),
            ("cpu/a/b/cpu.shares", ""),
        ]);
        let group = group(root.path(), &["memory", "pids", "cpu"], &files);
        let mut limits = Limits {
            pids: Some(-1),
            ..Limits::default()
        };
        limits.memory = Memory {
            limit: Some(1000),
            swap: Some(2000),
            swappiness: Some(5),
            ..Memory::default()
        };
        limits.cpu.quota = Some(50_000);
        limits.cpu.shares = Some(512);
        group.apply(&limits).unwrap();
        assert_eq!(
            group.read("memory", "memory.limit_in_bytes").unwrap(),
            "1000"
        );
        assert_eq!(
            group.read("memory", "memory.memsw.limit_in_bytes").unwrap(),
            "2000"
        );
        assert_eq!(group.read("pids", "pids.max").unwrap(), "max");
        assert_eq!(group.read("cpu", "cpu.cfs_quota_us").unwrap(), "50000");
        limits.huge_pages.push(super::super::HugePages {
            size: "2MB".to_owned(),
            limit: 1,
        });
        assert!(matches!(
            group.apply(&limits),
            Err(Error::NoController("hugetlb"))
        ));
    }

    #[test]
    fn rules_before_a_total_one_are_not_written() {
        let root = tempfile::tempdir().unwrap();
        fs::write(root.path().join("devices.allow"), "").unwrap();
        fs::write(root.path().join("devices.deny"), "").unwrap();
        let rule = |allow, kind, major, minor| DeviceRule {
            allow,
            kind,
            major,
            minor,
            access: Access::ALL,
        };
        let rules = [
            rule(true, DeviceKind::Block, Some(8), Some(0)),
            rule(false, DeviceKind::All, None, None),
            rule(true, DeviceKind::Character, Some(1), Some(3)),
        ];
        set_devices(root.path(), &rules).unwrap();
        assert_eq!(
            fs::read_to_string(root.path().join("devices.deny")).unwrap(),
            "a"
        );
        assert_eq!(
            fs::read_to_string(root.path().join("devices.allow")).unwrap(),
            "c 1:3 rwm"
        );
    }
}
