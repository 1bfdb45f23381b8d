//! Limits, as the runtime wants them.

use super::{Config, DeviceWeight, Resources, Throttle, Ulimit};
use crate::{Error, ErrorKind, Result};
use hull_spec::runtime::{BlockIo, Cpu, Memory, Pids, Rlimit, ThrottleDevice, WeightDevice};
use rustix::process::{Resource, getrlimit};
use std::path::Path;

/// Docker's cgroup parent is `/docker`; ours is named after us.
const PARENT: &str = "hull";

/// The container's control group, relative to every hierarchy's root.
pub(super) fn cgroup(config: &Config, id: &str) -> String {
    let parent = match config.cgroup_parent.as_str() {
        "" => PARENT.to_owned(),
        parent => super::clean(parent).trim_start_matches('/').to_owned(),
    };
    if parent.is_empty() {
        return format!("/{id}");
    }
    format!("/{parent}/{id}")
}

pub(super) fn memory(resources: &Resources) -> Option<Memory> {
    let some = |value: i64| Some(value).filter(|value| *value != 0);
    let swap = match (resources.memory, resources.memory_swap) {
        // As Docker: unless told otherwise, as much swap as memory.
        (limit, 0) if limit > 0 => Some(limit.saturating_mul(2)),
        (_, swap) => some(swap),
    };
    let memory = Memory {
        limit: some(resources.memory),
        reservation: some(resources.memory_reservation),
        swap,
        swappiness: resources
            .memory_swappiness
            .and_then(|value| u64::try_from(value).ok()),
        kernel_tcp: some(resources.kernel_memory_tcp),
        disable_oom_killer: resources.oom_kill_disable.then_some(true),
        ..Memory::default()
    };
    (memory != Memory::default()).then_some(memory)
}

pub(super) fn cpu(resources: &Resources) -> Option<Cpu> {
    let positive = |value: i64| u64::try_from(value).ok().filter(|value| *value != 0);
    let some = |value: i64| Some(value).filter(|value| *value != 0);
    let (quota, period) = if resources.nano_cpus > 0 {
        const PERIOD: i64 = 100_000;
        (
            Some(resources.nano_cpus.saturating_mul(PERIOD) / 1_000_000_000),
            positive(PERIOD),
        )
    } else {
        (
            Some(resources.cpu_quota).filter(|quota| *quota != 0),
            positive(resources.cpu_period),
        )
    };
    let cpu = Cpu {
        shares: positive(resources.cpu_shares),
        quota,
        period,
        realtime_period: positive(resources.cpu_realtime_period),
        realtime_runtime: some(resources.cpu_realtime_runtime),
        cpus: resources.cpuset_cpus.clone(),
        mems: resources.cpuset_mems.clone(),
        ..Cpu::default()
    };
    (cpu != Cpu::default()).then_some(cpu)
}

pub(super) fn pids(resources: &Resources) -> Option<Pids> {
    let limit = resources.pids_limit.filter(|limit| *limit != 0)?;
    Some(Pids { limit })
}

pub(super) fn block_io(resources: &Resources) -> Result<Option<BlockIo>> {
    let devices = |throttles: &[Throttle]| throttles.iter().map(device).collect::<Result<Vec<_>>>();
    let io = BlockIo {
        weight: Some(resources.blkio_weight).filter(|weight| *weight != 0),
        weight_device: resources
            .weight_devices
            .iter()
            .map(weight)
            .collect::<Result<_>>()?,
        throttle_read_bps_device: devices(&resources.read_bps)?,
        throttle_write_bps_device: devices(&resources.write_bps)?,
        throttle_read_iops_device: devices(&resources.read_iops)?,
        throttle_write_iops_device: devices(&resources.write_iops)?,
        ..BlockIo::default()
    };
    Ok((io != BlockIo::default()).then_some(io))
}

/// The kernel's answer as Go writes it, which clients look for.
pub(super) fn in_gos_words(error: rustix::io::Errno) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    text.to_lowercase()
}

/// The numbers of a block device that has a limit, with Go's complaint about one that is not there.
fn limited(path: &Path) -> Result<(u32, u32)> {
    let stat = rustix::fs::stat(path).map_err(|source| {
        let text = format!("stat {}", path.display());
        Error::new(ErrorKind::Internal, text).caused_by(in_gos_words(source))
    })?;
    Ok((
        rustix::fs::major(stat.st_rdev),
        rustix::fs::minor(stat.st_rdev),
    ))
}

fn weight(device: &DeviceWeight) -> Result<WeightDevice> {
    let (major, minor) = limited(&device.device)?;
    Ok(WeightDevice {
        major: major.into(),
        minor: minor.into(),
        weight: Some(device.weight),
        leaf_weight: None,
    })
}

fn device(throttle: &Throttle) -> Result<ThrottleDevice> {
    let (major, minor) = limited(&throttle.device)?;
    Ok(ThrottleDevice {
        major: major.into(),
        minor: minor.into(),
        rate: throttle.rate,
    })
}

/// Docker's default for open files, where the host allows it: programs that close "all" descriptors
/// one by one must not find a billion of them.
const OPEN_FILES: (u64, u64) = (1024, 524_288);

/// The first process's `oom_score_adj`; `None`: what the shim has, and so the daemon, is right. A daemon that its service spares
/// (`OOMScoreAdjust=`) must not spare containers with itself.
pub(super) fn oom_score(config: &Config) -> Option<i32> {
    let own = crate::system::oom_score_adj();
    match config.oom_score_adj.unwrap_or_default() {
        // Docker's default. To lower a score takes a capability that an engine in a container may lack.
        0 => (own < 0 || own > 0 && crate::system::may_raise_limits()).then_some(0),
        adjust => Some(adjust),
    }
}

/// The limits of the first process, and warnings where the host cannot give what it should have.
pub(super) fn rlimits(ulimits: &[Ulimit]) -> Result<Vec<Rlimit>> {
    let mut limits = Vec::new();
    if !ulimits.iter().any(|limit| limit.name == "nofile") {
        // Without CAP_SYS_RESOURCE a hard limit can only be lowered: a default is clamped, while
        // what somebody asked for is passed on and refused by the kernel.
        let host = getrlimit(Resource::Nofile).maximum.unwrap_or(u64::MAX);
        let hard = if crate::system::may_raise_limits() {
            OPEN_FILES.1
        } else {
            OPEN_FILES.1.min(host)
        };
        limits.push(Rlimit {
            kind: "RLIMIT_NOFILE".to_owned(),
            soft: OPEN_FILES.0.min(hard),
            hard,
        });
    }
    for Ulimit { name, soft, hard } in ulimits {
        hull_spec::check_ulimit(name, *soft, *hard)
            .map_err(|error| Error::new(ErrorKind::InvalidInput, error.to_string()))?;
        let value = |value: i64| u64::try_from(value).unwrap_or(u64::MAX);
        limits.push(Rlimit {
            kind: format!("RLIMIT_{}", name.to_uppercase()),
            soft: value(*soft),
            hard: value(*hard),
        });
    }
    Ok(limits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpus_become_a_quota() {
        let cpu = cpu(&Resources {
            nano_cpus: 1_500_000_000,
            ..Resources::default()
        })
        .unwrap();
        assert_eq!((cpu.quota, cpu.period), (Some(150_000), Some(100_000)));
        assert_eq!(super::cpu(&Resources::default()), None);
    }

    #[test]
    fn swap_is_as_much_as_memory_unless_told() {
        let memory_of = |memory, memory_swap| {
            super::memory(&Resources {
                memory,
                memory_swap,
                ..Resources::default()
            })
            .unwrap()
        };
        assert_eq!(memory_of(100, 0).swap, Some(200));
        assert_eq!(memory_of(100, -1).swap, Some(-1));
        assert_eq!(memory_of(100, 150).swap, Some(150));
    }

    #[test]
    fn ulimits_are_checked() {
        let limit = |name: &str, soft, hard| {
            vec![Ulimit {
                name: name.to_owned(),
                soft,
                hard,
            }]
        };
        let limits = rlimits(&limit("nofile", 10, 20)).unwrap();
        assert_eq!((limits.len(), limits[0].soft, limits[0].hard), (1, 10, 20));
        assert_eq!(rlimits(&limit("core", -1, -1)).unwrap()[1].hard, u64::MAX);
        assert!(rlimits(&limit("nonsense", 1, 1)).is_err());
        assert!(rlimits(&limit("core", 2, 1)).is_err());
    }
}
