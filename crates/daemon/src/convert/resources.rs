//! Limits and devices.

use super::unsupported;
use crate::error::ApiError;
use hull_api::container::{DeviceMapping, HostConfig, ThrottleDevice};
use hull_engine::container::{Device, Resources, Throttle, Ulimit};
use std::path::PathBuf;

/// The least memory a container can start with, by dockerd's experience.
const MIN_MEMORY: i64 = 6 << 20;

/// Converts the limits, with dockerd's checks of them.
///
/// # Errors
/// 400 for what makes no sense, 501 for limits that Hull does not set.
pub(crate) fn limits(host: &HostConfig) -> Result<Resources, ApiError> {
    for (asked, what) in [
        (
            host.cpu_realtime_period != 0 || host.cpu_realtime_runtime != 0,
            "real-time CPU limits",
        ),
        (
            host.blkio_weight_device
                .as_ref()
                .is_some_and(|list| !list.is_empty()),
            "--blkio-weight-device",
        ),
        (
            host.kernel_memory != 0 || host.kernel_memory_tcp != 0,
            "kernel memory limits",
        ),
        (
            host.cpu_count != 0 || host.cpu_percent != 0,
            "Windows CPU limits",
        ),
        (
            host.io_maximum_iops != 0 || host.io_maximum_bandwidth != 0,
            "Windows I/O limits",
        ),
    ] {
        if asked {
            return Err(unsupported(what));
        }
    }
    if let Some(why) = memory(host).or_else(|| cpu(host)) {
        return Err(ApiError::bad_request(why));
    }
    if host.blkio_weight != 0 && !(10..=1000).contains(&host.blkio_weight) {
        return Err(ApiError::bad_request(
            "Range of blkio weight is from 10 to 1000",
        ));
    }
    Ok(Resources {
        memory: host.memory,
        memory_reservation: host.memory_reservation,
        memory_swap: host.memory_swap,
        memory_swappiness: host.memory_swappiness,
        oom_kill_disable: host.oom_kill_disable.unwrap_or(false),
        nano_cpus: host.nano_cpus,
        cpu_shares: host.cpu_shares,
        cpu_period: host.cpu_period,
        cpu_quota: host.cpu_quota,
        cpuset_cpus: host.cpuset_cpus.clone(),
        cpuset_mems: host.cpuset_mems.clone(),
        pids_limit: host.pids_limit,
        blkio_weight: host.blkio_weight,
        read_bps: throttles(host.blkio_device_read_bps.as_ref()),
        write_bps: throttles(host.blkio_device_write_bps.as_ref()),
        read_iops: throttles(host.blkio_device_read_iops.as_ref()),
        write_iops: throttles(host.blkio_device_write_iops.as_ref()),
    })
}

/// What is wrong with the memory limits, if anything.
fn memory(host: &HostConfig) -> Option<String> {
    let HostConfig {
        memory,
        memory_swap: swap,
        memory_reservation: reservation,
        ..
    } = *host;
    let why = match () {
        () if memory != 0 && memory < MIN_MEMORY => "Minimum memory limit allowed is 6MB",
        () if swap > 0 && memory == 0 => {
            "You should always set the Memory limit when using Memoryswap limit"
        }
        () if memory > 0 && swap > 0 && swap < memory => {
            "Minimum memoryswap limit should be larger than memory limit, see usage"
        }
        () if reservation != 0 && reservation < MIN_MEMORY => {
            "Minimum memory reservation allowed is 6MB"
        }
        () if memory > 0 && reservation > memory => {
            "Minimum memory limit can not be less than memory reservation limit, see usage"
        }
        () => {
            let swappiness = host.memory_swappiness?;
            return (!(0..=100).contains(&swappiness)).then(|| {
                format!("Invalid value: {swappiness}, valid memory swappiness range is 0-100")
            });
        }
    };
    Some(why.to_owned())
}

/// What is wrong with the CPU limits, if anything.
fn cpu(host: &HostConfig) -> Option<String> {
    let HostConfig {
        nano_cpus,
        cpu_period: period,
        cpu_quota: quota,
        ..
    } = *host;
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let most = i64::try_from(cpus)
        .unwrap_or(i64::MAX)
        .saturating_mul(1_000_000_000);
    let why = match () {
        () if nano_cpus > 0 && period > 0 => {
            "Conflicting options: Nano CPUs and CPU Period cannot both be set"
        }
        () if nano_cpus > 0 && quota > 0 => {
            "Conflicting options: Nano CPUs and CPU Quota cannot both be set"
        }
        () if nano_cpus < 0 || nano_cpus > most => {
            return Some(format!(
                "range of CPUs is from 0.01 to {cpus}.00, as there are only {cpus} CPUs available"
            ));
        }
        () if period != 0 && !(1_000..=1_000_000).contains(&period) => {
            "CPU cfs period cannot be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)"
        }
        () if quota > 0 && quota < 1_000 => "CPU cfs quota cannot be less than 1ms (i.e. 1000)",
        () if host.cpu_shares < 0 => "invalid CPU shares: must not be negative",
        () => return None,
    };
    Some(why.to_owned())
}

fn throttles(devices: Option<&Vec<ThrottleDevice>>) -> Vec<Throttle> {
    let convert = |device: &ThrottleDevice| Throttle {
        device: PathBuf::from(&device.path),
        rate: device.rate,
    };
    devices.into_iter().flatten().map(convert).collect()
}

/// Converts `--ulimit`.
///
/// # Errors
/// 400 when a soft limit is above its hard one.
pub(crate) fn ulimits(host: &HostConfig) -> Result<Vec<Ulimit>, ApiError> {
    let convert = |limit: &hull_api::container::Ulimit| {
        let unlimited = limit.hard == -1;
        if !unlimited && (limit.soft > limit.hard || limit.soft == -1) {
            return Err(ApiError::bad_request(format!(
                "ulimit soft limit must be less than or equal to hard limit: soft limit {}, hard limit {}",
                limit.soft, limit.hard
            )));
        }
        Ok(Ulimit {
            name: limit.name.clone(),
            soft: limit.soft,
            hard: limit.hard,
        })
    };
    host.ulimits.iter().flatten().map(convert).collect()
}

/// Converts `--device`.
///
/// # Errors
/// 400 for permissions other than `r`, `w` and `m`.
pub(crate) fn devices(devices: Vec<DeviceMapping>) -> Result<Vec<Device>, ApiError> {
    let convert = |device: DeviceMapping| {
        let permissions = match device.cgroup_permissions.as_str() {
            "" => "rwm",
            given => given,
        };
        let known = permissions.bytes().all(|letter| b"rwm".contains(&letter));
        if !known {
            return Err(ApiError::bad_request(format!(
                "invalid device mode: {permissions}"
            )));
        }
        let container = match device.path_in_container.as_str() {
            "" => &device.path_on_host,
            _ => &device.path_in_container,
        };
        Ok(Device {
            host: PathBuf::from(&device.path_on_host),
            container: PathBuf::from(container),
            permissions: permissions.to_owned(),
        })
    };
    devices.into_iter().map(convert).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_that_make_no_sense_are_told_in_dockerds_words() {
        type Change = fn(&mut HostConfig);
        let cases: [(Change, &str); 9] = [
            (
                |host| host.memory = 100,
                "Minimum memory limit allowed is 6MB",
            ),
            (
                |host| host.memory_swap = 1 << 30,
                "You should always set the Memory limit",
            ),
            (
                |host| (host.memory, host.memory_swap) = (8 << 20, 7 << 20),
                "Minimum memoryswap limit",
            ),
            (
                |host| host.memory_swappiness = Some(101),
                "Invalid value: 101, valid memory swappiness",
            ),
            (
                |host| (host.nano_cpus, host.cpu_period) = (1, 1),
                "Conflicting options: Nano CPUs",
            ),
            (
                |host| host.nano_cpus = i64::MAX,
                "range of CPUs is from 0.01 to ",
            ),
            (
                |host| host.cpu_period = 1,
                "CPU cfs period cannot be less than 1ms",
            ),
            (
                |host| host.cpu_quota = 1,
                "CPU cfs quota cannot be less than 1ms",
            ),
            (
                |host| host.blkio_weight = 1,
                "Range of blkio weight is from 10 to 1000",
            ),
        ];
        for (change, text) in cases {
            let mut host = HostConfig::default();
            change(&mut host);
            let message = limits(&host).unwrap_err().message;
            assert!(message.starts_with(text), "{message}");
        }
        let unlimited_swap = HostConfig {
            memory: 64 << 20,
            memory_swap: -1,
            ..HostConfig::default()
        };
        assert!(limits(&unlimited_swap).is_ok());
    }
}
