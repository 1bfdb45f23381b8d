//! Limits of v2, in the order in which runc sets them.

use super::super::limits::{Block, BlockDevice, BlockWeight, Cpu, Memory};
use super::super::writer::Writer;
use super::super::{Error, HugePages, Limits, Rdma, Refused};

pub(in super::super) fn apply(writer: &Writer<'_>, limits: &Limits) -> Result<(), Error> {
    match limits.pids {
        None | Some(0) => {}
        Some(limit) if limit < 0 => writer.set("pids", "pids.max", "max")?,
        Some(limit) => writer.set("pids", "pids.max", &limit.to_string())?,
    }
    memory(writer, &limits.memory)?;
    block(writer, &limits.block)?;
    cpu(writer, &limits.cpu)?;
    for (file, value) in [
        ("cpuset.cpus", &limits.cpu.cpus),
        ("cpuset.mems", &limits.cpu.mems),
    ] {
        if let Some(value) = value {
            writer.set("cpuset", file, value)?;
        }
    }
    set_huge_pages(writer, &limits.huge_pages, ".max")?;
    set_rdma(writer, limits)?;
    for (name, value) in &limits.unified {
        unified(writer, name, value)?;
    }
    Ok(())
}

/// A number as v2 has it: -1 is `max`, 0 is not set.
fn amount(value: Option<i64>) -> Option<String> {
    match value {
        None | Some(0) => None,
        Some(-1) => Some("max".to_owned()),
        Some(value) => Some(value.to_string()),
    }
}

/// v1 and the runtime specification count memory and swap together; v2 counts swap alone. Gives what
/// `memory.swap.max` is to hold, -1 for no limit, `None` where nothing is asked for.
///
/// # Errors
/// [`Refused`] for a sum that cannot be taken apart.
pub(in super::super) fn swap_alone(
    swap: Option<i64>,
    limit: Option<i64>,
) -> Result<Option<i64>, Refused> {
    match (swap.unwrap_or(0), limit.unwrap_or(0)) {
        (0, -1) | (-1, _) => Ok(Some(-1)),
        (0, _) => Ok(None),
        (swap, -1) => Ok(Some(swap)),
        (_, 0) => Err(Refused::SwapAlone),
        (_, limit) if limit < 0 => Err(Refused::Memory(limit)),
        (swap, limit) if swap < limit => Err(Refused::SwapBelowMemory),
        (swap, limit) => Ok(Some(swap - limit)),
    }
}

fn memory(writer: &Writer<'_>, memory: &Memory) -> Result<(), Error> {
    if memory.check_before_update {
        check_usage(writer, memory)?;
    }
    let swap = swap_alone(memory.swap, memory.limit)?;
    if let Some(swap) = swap {
        let value = if swap == -1 {
            "max".to_owned()
        } else {
            swap.to_string()
        };
        match writer.set("memory", "memory.swap.max", &value) {
            // Without swap accounting there is nothing to switch off or to leave open.
            Err(Error::Access { source, .. })
                if swap <= 0 && source.kind() == std::io::ErrorKind::NotFound => {}
            other => other?,
        }
    }
    if let Some(limit) = amount(memory.limit) {
        writer.set("memory", "memory.max", &limit)?;
    }
    if let Some(low) = amount(memory.reservation) {
        writer.set("memory", "memory.low", &low)?;
    }
    Ok(())
}

/// v2 takes any limit and kills until it fits; v1 refuses what does not fit.
fn check_usage(writer: &Writer<'_>, memory: &Memory) -> Result<(), Error> {
    let usage = writer.group.read("memory", "memory.current").ok();
    let Some(usage) = usage.and_then(|text| text.trim().parse::<u64>().ok()) else {
        return Ok(());
    };
    for (what, limit) in [("memory+swap", memory.swap), ("memory", memory.limit)] {
        let limit = limit.filter(|limit| *limit > 0);
        if let Some(limit) = limit.filter(|limit| limit.cast_unsigned() <= usage) {
            return Err(Refused::BelowUsage { what, limit, usage }.into());
        }
    }
    Ok(())
}

/// v1's shares, 2 to 262144, as v2's weight, 1 to 10000: a curve through the least, the usual (1024 is
/// 100) and the most, the one that runc 1.3 and crun 1.23 share.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "between 1 and 262144"
)]
pub(in super::super) fn weight_of_shares(shares: u64) -> u64 {
    if shares <= 2 {
        return 1;
    }
    if shares >= 262_144 {
        return 10_000;
    }
    let log = (shares as f64).log2();
    let exponent = (log * log + 125.0 * log) / 612.0 - 7.0 / 34.0;
    10_f64.powf(exponent).ceil() as u64
}

fn cpu(writer: &Writer<'_>, cpu: &Cpu) -> Result<(), Error> {
    let set = |file: &str, value: &str| writer.set("cpu", file, value);
    if let Some(idle) = cpu.idle {
        set("cpu.idle", &idle.to_string())?;
    }
    if let Some(shares) = cpu.shares.filter(|shares| *shares != 0) {
        set("cpu.weight", &weight_of_shares(shares).to_string())?;
    }
    let quota = cpu.quota.filter(|quota| *quota != 0);
    let mut burst = cpu.burst.map(|burst| burst.to_string());
    if let Some(value) = &burst {
        match set("cpu.max.burst", value) {
            // More than the old quota; the new one may be larger.
            Err(error) if quota.is_some() && error.is_invalid() => {}
            other => {
                other?;
                burst = None;
            }
        }
    }
    let period = cpu.period.filter(|period| *period != 0);
    if quota.is_some() || period.is_some() {
        let quota = quota.filter(|quota| *quota > 0);
        let quota = quota.map_or_else(|| "max".to_owned(), |quota| quota.to_string());
        set("cpu.max", &format!("{quota} {}", period.unwrap_or(100_000)))?;
        if let Some(burst) = burst {
            set("cpu.max.burst", &burst)?;
        }
    }
    Ok(())
}

fn block(writer: &Writer<'_>, block: &Block) -> Result<(), Error> {
    if block.weight.is_some() || !block.weights.is_empty() {
        block_weights(writer, block)?;
    }
    let throttles = [
        ("rbps", &block.read_bps),
        ("wbps", &block.write_bps),
        ("riops", &block.read_iops),
        ("wiops", &block.write_iops),
    ];
    for (key, devices) in throttles {
        for BlockDevice { major, minor, rate } in devices {
            let removal = Some(format!("{major}:{minor} {key}=max"));
            let entry = format!("{major}:{minor} {key}={}", max_or(*rate));
            writer.set_entry("io", "io.max", &entry, removal)?;
        }
    }
    Ok(())
}

/// In v1 no rate is no limit, in v2 `max` is.
fn max_or(rate: u64) -> String {
    if rate == 0 {
        "max".to_owned()
    } else {
        rate.to_string()
    }
}

/// BFQ has v1's scale and, since Linux 5.4, weights for devices. `io.weight` has a scale of its own.
fn block_weights(writer: &Writer<'_>, block: &Block) -> Result<(), Error> {
    let bfq = writer.group.read("io", "io.bfq.weight").ok();
    if let Some(weight) = block.weight.filter(|weight| *weight != 0) {
        if bfq.is_some() {
            writer.set("io", "io.bfq.weight", &weight.to_string())?;
        } else {
            // 10 to 1000 becomes 1 to 10000.
            let weight = 1 + (u64::from(weight).clamp(10, 1000) - 10) * 9_999 / 990;
            writer.set("io", "io.weight", &weight.to_string())?;
        }
    }
    let by_device = bfq.is_some_and(|text| text.trim().parse::<u64>().is_err());
    for device in block.weights.iter().filter(|_| by_device) {
        let BlockWeight { major, minor, .. } = device;
        if let Some(weight) = device.weight.filter(|weight| *weight != 0) {
            let removal = Some(format!("{major}:{minor} default"));
            let entry = format!("{major}:{minor} {weight}");
            writer.set_entry("io", "io.bfq.weight", &entry, removal)?;
        }
    }
    Ok(())
}

/// Limits what is used and, where the kernel can (Linux 5.7), what is reserved: a page that is promised
/// would otherwise be missed only when it is touched, by SIGBUS.
pub(in super::super) fn set_huge_pages(
    writer: &Writer<'_>,
    pages: &[HugePages],
    suffix: &str,
) -> Result<(), Error> {
    for HugePages { size, limit } in pages {
        if size.is_empty() || !size.bytes().all(|letter| letter.is_ascii_alphanumeric()) {
            return Err(Refused::HugePageSize(size.clone()).into());
        }
        let value = limit.to_string();
        writer.set("hugetlb", &format!("hugetlb.{size}{suffix}"), &value)?;
        match writer.set("hugetlb", &format!("hugetlb.{size}.rsvd{suffix}"), &value) {
            Err(Error::Access { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {}
            other => other?,
        }
    }
    Ok(())
}

/// The same file in both versions.
pub(in super::super) fn set_rdma(writer: &Writer<'_>, limits: &Limits) -> Result<(), Error> {
    for (device, Rdma { handles, objects }) in &limits.rdma {
        let mut entry = device.clone();
        for (key, value) in [("hca_handle", handles), ("hca_object", objects)] {
            if let Some(value) = value {
                entry.push_str(&format!(" {key}={value}"));
            }
        }
        let removal = Some(format!("{device} hca_handle=max hca_object=max"));
        writer.set_entry("rdma", "rdma.max", &entry, removal)?;
    }
    Ok(())
}

/// Writes a file by its name, one line at a time: some take an entry a line.
fn unified(writer: &Writer<'_>, name: &str, value: &str) -> Result<(), Error> {
    if name.contains('/') {
        return Err(Refused::UnifiedPath(name.to_owned()).into());
    }
    let Some((controller, _)) = name.split_once('.').filter(|(first, _)| !first.is_empty()) else {
        return Err(Refused::UnifiedForm(name.to_owned()).into());
    };
    let lines = value.lines().filter(|line| !line.is_empty());
    let lines: Vec<&str> = if value.trim().is_empty() {
        vec!["\n"]
    } else {
        lines.collect()
    };
    for line in lines {
        let Err(error) = writer.set("", name, line) else {
            continue;
        };
        let has = writer.group.read("", "cgroup.controllers");
        let has = has.is_ok_and(|list| list.split_whitespace().any(|has| has == controller));
        if matches!(error, Error::Access { .. }) && !has && controller != "cgroup" {
            let refused = Refused::UnifiedController {
                name: name.to_owned(),
                controller: controller.to_owned(),
            };
            return Err(refused.into());
        }
        return Err(Error::Unified {
            name: name.to_owned(),
            source: Box::new(error),
        });
    }
    Ok(())
}
