//! Version 2: one directory (kernel documentation, `admin-guide/cgroup-v2`).

use super::limits::{Block, BlockDevice, Memory};
use super::{Cgroup, Error, Layout, Limits, read, write};
use std::fs;
use std::io::{ErrorKind, Read, Seek};
use std::path::Path;
use std::time::{Duration, Instant};

/// Makes the directories and hands every controller that is there down to the group itself: a
/// controller is in a group when the group's parent lists it in `cgroup.subtree_control`.
pub(super) fn create(layout: &Layout, path: &Path) -> Result<(), Error> {
    let mut parent = layout.hierarchies()[0].mount.clone();
    for part in path {
        let child = parent.join(part);
        enable_controllers(&parent)?;
        match fs::create_dir(&child) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => {
                return Err(Error::Create {
                    path: child,
                    source: error,
                });
            }
            _ => {}
        }
        parent = child;
    }
    Ok(())
}

fn enable_controllers(parent: &Path) -> Result<(), Error> {
    let available = read(&parent.join("cgroup.controllers"))?;
    let enabled = read(&parent.join("cgroup.subtree_control"))?;
    let missing: Vec<String> = available
        .split_whitespace()
        .filter(|controller| !enabled.split_whitespace().any(|have| have == *controller))
        .map(|controller| format!("+{controller}"))
        .collect();
    let file = parent.join("cgroup.subtree_control");
    if missing.is_empty() || write(&file, &missing.join(" ")).is_ok() {
        return Ok(());
    }
    // All or nothing failed (a parent with processes of its own, or a controller that cannot be
    // delegated): take those that can be had. A limit that then cannot be set says so by itself.
    for controller in missing {
        let _ = write(&file, &controller);
    }
    Ok(())
}

pub(super) fn apply(group: &Cgroup, limits: &Limits) -> Result<(), Error> {
    memory(group, &limits.memory)?;
    cpu(group, limits)?;
    if let Some(pids) = limits.pids {
        set(group, "pids.max", &or_max(pids))?;
    }
    for pages in &limits.huge_pages {
        set(
            group,
            &format!("hugetlb.{}.max", pages.size),
            &pages.limit.to_string(),
        )?;
    }
    block(group, &limits.block)?;
    for (file, value) in &limits.unified {
        if file.contains('/') || file.starts_with('.') {
            return Err(Error::Path(file.clone()));
        }
        set(group, file, value)?;
    }
    Ok(())
}

fn set(group: &Cgroup, file: &str, value: &str) -> Result<(), Error> {
    let directory = group.layout().hierarchies()[0].mount.join(&group.path);
    write(&directory.join(file), value)
}

fn or_max(value: i64) -> String {
    if value > 0 {
        value.to_string()
    } else {
        "max".to_owned()
    }
}

fn memory(group: &Cgroup, memory: &Memory) -> Result<(), Error> {
    if let Some(swap) = memory.swap {
        // v1 and the runtime specification count memory and swap together; v2 counts swap alone.
        let value = match memory.limit {
            _ if swap == -1 => "max".to_owned(),
            Some(limit) if limit > 0 => (swap - limit).max(0).to_string(),
            _ => or_max(swap),
        };
        set(group, "memory.swap.max", &value)?;
    }
    if let Some(limit) = memory.limit {
        set(group, "memory.max", &or_max(limit))?;
    }
    if let Some(reservation) = memory.reservation {
        set(group, "memory.low", &or_max(reservation))?;
    }
    Ok(())
}

/// v1's shares, 2 to 262144, as v2's weight, 1 to 10000, by the formula that the runtimes share.
pub(super) fn weight_of_shares(shares: u64) -> u64 {
    1 + (shares.clamp(2, 262_144) - 2) * 9_999 / 262_142
}

fn cpu(group: &Cgroup, limits: &Limits) -> Result<(), Error> {
    let cpu = &limits.cpu;
    if let Some(shares) = cpu.shares.filter(|shares| *shares != 0) {
        set(group, "cpu.weight", &weight_of_shares(shares).to_string())?;
    }
    match (cpu.quota, cpu.period) {
        (None, None) => {}
        (None, Some(period)) => set(group, "cpu.max", &format!("max {period}"))?,
        (Some(quota), period) => {
            let period = period.unwrap_or(100_000);
            set(group, "cpu.max", &format!("{} {period}", or_max(quota)))?;
        }
    }
    if let Some(burst) = cpu.burst {
        set(group, "cpu.max.burst", &burst.to_string())?;
    }
    if let Some(idle) = cpu.idle {
        set(group, "cpu.idle", &idle.to_string())?;
    }
    for (file, value) in [("cpuset.cpus", &cpu.cpus), ("cpuset.mems", &cpu.mems)] {
        if let Some(value) = value {
            set(group, file, value)?;
        }
    }
    Ok(())
}

fn block(group: &Cgroup, block: &Block) -> Result<(), Error> {
    if let Some(weight) = block.weight {
        let directory = group.layout().hierarchies()[0].mount.join(&group.path);
        if directory.join("io.bfq.weight").exists() {
            set(group, "io.bfq.weight", &weight.to_string())?;
        } else {
            // 10 to 1000 becomes 1 to 10000.
            let weight = 1 + (u64::from(weight).clamp(10, 1000) - 10) * 9_999 / 990;
            set(group, "io.weight", &weight.to_string())?;
        }
    }
    let throttles = [
        ("rbps", &block.read_bps),
        ("wbps", &block.write_bps),
        ("riops", &block.read_iops),
        ("wiops", &block.write_iops),
    ];
    for (key, devices) in throttles {
        for BlockDevice { major, minor, rate } in devices {
            set(group, "io.max", &format!("{major}:{minor} {key}={rate}"))?;
        }
    }
    Ok(())
}

/// How long a group may take to stand still.
const FREEZE_TIME: Duration = Duration::from_secs(10);

pub(super) fn set_frozen(group: &Cgroup, frozen: bool) -> Result<(), Error> {
    let directory = group.layout().hierarchies()[0].mount.join(&group.path);
    let path = directory.join("cgroup.events");
    let open = |source| Error::Open {
        path: path.clone(),
        source,
    };
    let mut events = fs::File::open(&path).map_err(open)?;
    set(group, "cgroup.freeze", if frozen { "1" } else { "0" })?;
    let wanted = if frozen { "frozen 1" } else { "frozen 0" };
    let deadline = Instant::now() + FREEZE_TIME;
    loop {
        let mut text = String::new();
        events
            .rewind()
            .and_then(|()| events.read_to_string(&mut text))
            .map_err(open)?;
        if text.lines().any(|line| line == wanted) {
            return Ok(());
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(Error::Timeout {
                path: directory,
                what: "freeze",
            });
        }
        // The kernel announces changes of this file by POLLPRI.
        let mut ready = [rustix::event::PollFd::new(
            &events,
            rustix::event::PollFlags::PRI,
        )];
        let left = rustix::event::Timespec {
            tv_sec: left.as_secs().cast_signed(),
            tv_nsec: left.subsec_nanos().into(),
        };
        let _ = rustix::event::poll(&mut ready, Some(&left));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_translated() {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("a");
        fs::create_dir(&directory).unwrap();
        for file in [
            "memory.max",
            "memory.swap.max",
            "cpu.max",
            "cpu.weight",
            "pids.max",
        ] {
            fs::write(directory.join(file), "").unwrap();
        }
        let group = Cgroup::new(Layout::v2_at(root.path()), "a").unwrap();
        let mut limits = Limits {
            pids: Some(7),
            ..Limits::default()
        };
        limits.memory = Memory {
            limit: Some(1000),
            swap: Some(1500),
            ..Memory::default()
        };
        limits.cpu.quota = Some(50_000);
        limits.cpu.shares = Some(1024);
        group.apply(&limits).unwrap();
        let read = |file: &str| fs::read_to_string(directory.join(file)).unwrap();
        assert_eq!(
            (read("memory.max"), read("memory.swap.max")),
            ("1000".to_owned(), "500".to_owned())
        );
        assert_eq!(
            (read("cpu.max"), read("cpu.weight")),
            ("50000 100000".to_owned(), "39".to_owned())
        );
        assert_eq!(read("pids.max"), "7");
        limits
            .unified
            .push(("../memory.max".to_owned(), "1".to_owned()));
        assert!(matches!(group.apply(&limits), Err(Error::Path(_))));
    }

    #[test]
    fn shares_become_weights() {
        assert_eq!([2, 1024, 262_144].map(weight_of_shares), [1, 39, 10_000]);
    }
}
