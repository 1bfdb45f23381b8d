//! Limits of v1, in the order in which runc sets them.

use super::super::limits::{Block, BlockDevice, BlockWeight, Cpu, Memory};
use super::super::writer::Writer;
use super::super::{Error, Limits, Refused, v2, write};
use std::path::Path;

pub(in super::super) fn apply(writer: &Writer<'_>, limits: &Limits) -> Result<(), Error> {
    if !limits.unified.is_empty() {
        return Err(Refused::UnifiedOnV1.into());
    }
    for (file, value) in [
        ("cpuset.cpus", &limits.cpu.cpus),
        ("cpuset.mems", &limits.cpu.mems),
    ] {
        if let Some(value) = value {
            writer.set("cpuset", file, value)?;
        }
    }
    memory(writer, &limits.memory)?;
    cpu(writer, &limits.cpu)?;
    match limits.pids {
        None | Some(0) => {}
        Some(limit) if limit < 0 => writer.set("pids", "pids.max", "max")?,
        Some(limit) => writer.set("pids", "pids.max", &limit.to_string())?,
    }
    block(writer, &limits.block)?;
    huge_pages(writer, limits)?;
    if let Some(class) = limits.network.class_id.filter(|class| *class != 0) {
        writer.set("net_cls", "net_cls.classid", &class.to_string())?;
    }
    for (interface, priority) in &limits.network.priorities {
        let entry = format!("{interface} {priority}");
        writer.set("net_prio", "net_prio.ifpriomap", &entry)?;
    }
    v2::set_rdma(writer, limits)
}

const LIMIT: &str = "memory.limit_in_bytes";
const WITH_SWAP: &str = "memory.memsw.limit_in_bytes";

fn memory(writer: &Writer<'_>, memory: &Memory) -> Result<(), Error> {
    memory_and_swap(writer, memory)?;
    let set = |file: &str, value: i64| writer.set("memory", file, &value.to_string());
    if let Some(reservation) = memory.reservation.filter(|value| *value != 0) {
        set("memory.soft_limit_in_bytes", reservation)?;
    }
    if let Some(tcp) = memory.kernel_tcp.filter(|value| *value != 0) {
        set("memory.kmem.tcp.limit_in_bytes", tcp)?;
    }
    if memory.use_hierarchy == Some(true) {
        set("memory.use_hierarchy", 1)?;
    }
    if memory.disable_oom_killer == Some(true) {
        set("memory.oom_control", 1)?;
    }
    match memory.swappiness {
        None | Some(u64::MAX) => Ok(()),
        Some(value) if value > 100 => Err(Refused::Swappiness(value).into()),
        Some(value) => writer.set("memory", "memory.swappiness", &value.to_string()),
    }
}

/// The kernel keeps limit ≤ limit with swap at every moment, which decides the order of the two.
fn memory_and_swap(writer: &Writer<'_>, memory: &Memory) -> Result<(), Error> {
    let limit = memory.limit.filter(|value| *value != 0);
    let mut swap = memory.swap.filter(|value| *value != 0);
    if limit == Some(-1) && swap.is_none() {
        // Unlimited memory means unlimited swap, where the kernel counts swap at all.
        let directory = writer.group.directory("memory");
        swap = directory
            .is_some_and(|directory| directory.join(WITH_SWAP).exists())
            .then_some(-1);
    }
    let set_swap = || match swap {
        Some(swap) => writer.set("memory", WITH_SWAP, &swap.to_string()),
        None => Ok(()),
    };
    let set_limit = || match limit {
        Some(limit) => set_memory(writer, limit),
        None => Ok(()),
    };
    let grows = |swap: i64| {
        let present = number(writer, LIMIT).unwrap_or(0);
        swap == -1 || u64::try_from(swap).is_ok_and(|swap| present < swap)
    };
    if limit.is_some() && swap.is_some_and(grows) {
        set_swap()?;
        return set_limit();
    }
    set_limit()?;
    set_swap()
}

fn set_memory(writer: &Writer<'_>, limit: i64) -> Result<(), Error> {
    match writer.set("memory", LIMIT, &limit.to_string()) {
        Err(Error::Write { source, .. }) if source.raw_os_error() == Some(libc::EBUSY) => {
            let now = |file| number(writer, file).unwrap_or(0);
            let refused = Refused::MemoryInUse {
                limit,
                usage: now("memory.usage_in_bytes"),
                peak: now("memory.max_usage_in_bytes"),
            };
            Err(refused.into())
        }
        other => other,
    }
}

fn number(writer: &Writer<'_>, file: &str) -> Option<u64> {
    let text = writer.group.read("memory", file).ok()?;
    text.trim().parse().ok()
}

/// Period and runtime of realtime depend on each other: when the new period is refused beside the old
/// runtime, the runtime goes first. They also depend on what the groups above and beside have.
pub(super) fn set_realtime(directory: &Path, cpu: &Cpu) -> Result<(), Error> {
    realtime(cpu, |file, value| write(&directory.join(file), value))
}

fn realtime(cpu: &Cpu, set: impl Fn(&str, &str) -> Result<(), Error>) -> Result<(), Error> {
    let runtime = cpu.realtime_runtime.filter(|value| *value != 0);
    let period = cpu.realtime_period.filter(|value| *value != 0);
    let period = period.map(|period| period.to_string());
    let left = early(period, runtime.is_some(), |period| {
        set("cpu.rt_period_us", period)
    })?;
    if let Some(runtime) = runtime {
        set("cpu.rt_runtime_us", &runtime.to_string())?;
    }
    left.map_or(Ok(()), |period| set("cpu.rt_period_us", &period))
}

/// Sets a value that the kernel may refuse (`EINVAL`) until another is changed: gives it back when it is to
/// be tried `again` after that.
fn early(
    value: Option<String>,
    again: bool,
    set: impl Fn(&str) -> Result<(), Error>,
) -> Result<Option<String>, Error> {
    let Some(value) = value else { return Ok(None) };
    match set(&value) {
        Err(error) if again && error.is_invalid() => Ok(Some(value)),
        other => other.map(|()| None),
    }
}

fn cpu(writer: &Writer<'_>, cpu: &Cpu) -> Result<(), Error> {
    let set = |file: &str, value: &str| writer.set("cpu", file, value);
    if let Some(shares) = cpu.shares.filter(|value| *value != 0) {
        set("cpu.shares", &shares.to_string())?;
        // The kernel takes what is out of its range and sets the nearest value.
        let text = writer.group.read("cpu", "cpu.shares")?;
        let taken = text.trim().parse().unwrap_or(shares);
        if shares > taken {
            return Err(Refused::SharesTooMany(taken).into());
        } else if shares < taken {
            return Err(Refused::SharesTooFew(taken).into());
        }
    }
    let quota = cpu.quota.filter(|value| *value != 0);
    let period = cpu.period.filter(|value| *value != 0);
    let period = period.map(|period| period.to_string());
    let period = early(period, quota.is_some(), |v| set("cpu.cfs_period_us", v))?;
    let burst = cpu.burst.map(|burst| burst.to_string());
    let burst = early(burst, quota.is_some(), |v| {
        match set("cpu.cfs_burst_us", v) {
            // Linux before 5.14.
            Err(Error::Access { source, .. }) if source.raw_os_error() == Some(libc::ENOENT) => {
                Ok(())
            }
            other => other,
        }
    })?;
    if let Some(quota) = quota {
        set("cpu.cfs_quota_us", &quota.to_string())?;
    }
    for (file, value) in [("cpu.cfs_period_us", period), ("cpu.cfs_burst_us", burst)] {
        if let Some(value) = value {
            set(file, &value)?;
        }
    }
    if let Some(idle) = cpu.idle {
        set("cpu.idle", &idle.to_string())?;
    }
    realtime(cpu, set)
}

fn block(writer: &Writer<'_>, block: &Block) -> Result<(), Error> {
    if block.weight.is_some() || !block.weights.is_empty() {
        let directory = writer.group.directory("blkio");
        let directory = directory.ok_or(Error::NoLimit("blkio"))?;
        // `blkio.weight` was CFQ's and went with it (Linux 5.0); BFQ has its own files.
        let cfq = directory.join("blkio.weight").exists();
        let file = if cfq {
            "blkio.weight"
        } else {
            "blkio.bfq.weight"
        };
        if let Some(weight) = block.weight {
            writer.set("blkio", file, &weight.to_string())?;
        }
        block_weights(writer, &format!("{file}_device"), &block.weights)?;
    }
    if let Some(weight) = block.leaf_weight {
        writer.set("blkio", "blkio.leaf_weight", &weight.to_string())?;
    }
    let throttles = [
        ("blkio.throttle.read_bps_device", &block.read_bps),
        ("blkio.throttle.write_bps_device", &block.write_bps),
        ("blkio.throttle.read_iops_device", &block.read_iops),
        ("blkio.throttle.write_iops_device", &block.write_iops),
    ];
    for (file, devices) in throttles {
        for BlockDevice { major, minor, rate } in devices {
            let removal = Some(format!("{major}:{minor} 0"));
            let entry = format!("{major}:{minor} {rate}");
            writer.set_entry("blkio", file, &entry, removal)?;
        }
    }
    Ok(())
}

fn block_weights(writer: &Writer<'_>, file: &str, weights: &[BlockWeight]) -> Result<(), Error> {
    for device in weights {
        let BlockWeight { major, minor, .. } = device;
        for (file, weight) in [
            (file, device.weight),
            ("blkio.leaf_weight_device", device.leaf_weight),
        ] {
            if let Some(weight) = weight.filter(|weight| *weight != 0) {
                let removal = Some(format!("{major}:{minor} 0"));
                let entry = format!("{major}:{minor} {weight}");
                writer.set_entry("blkio", file, &entry, removal)?;
            }
        }
    }
    Ok(())
}

/// In the hybrid layout huge pages are in the v2 hierarchy, with the names of v2.
fn huge_pages(writer: &Writer<'_>, limits: &Limits) -> Result<(), Error> {
    let hierarchy = writer.group.layout().hierarchy("hugetlb");
    if hierarchy.is_some_and(|hierarchy| hierarchy.v2) {
        return v2::set_huge_pages(writer, &limits.huge_pages, ".max");
    }
    v2::set_huge_pages(writer, &limits.huge_pages, ".limit_in_bytes")
}
