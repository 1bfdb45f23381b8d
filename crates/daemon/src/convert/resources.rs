//! Limits and devices.

use crate::error::ApiError;
use hull_api::container::{DeviceMapping, HostConfig, ThrottleDevice, WeightDevice};
use hull_engine::container::{Device, DeviceRequest, DeviceWeight, Resources, Throttle, Ulimit};
use std::path::PathBuf;

/// Converts the limits; the engine checks them.
///
/// # Errors
/// 400 for the limits of other systems.
pub(crate) fn limits(host: &HostConfig) -> Result<Resources, ApiError> {
    for (asked, what) in [
        (host.io_maximum_iops, "IOPs"),
        (host.io_maximum_bandwidth, "bandwidth"),
    ] {
        if asked != 0 {
            return Err(ApiError::bad_request(format!(
                "invalid option: QoS maximum {what} configuration is not supported on linux"
            )));
        }
    }
    Ok(Resources {
        memory: host.memory,
        memory_reservation: host.memory_reservation,
        memory_swap: host.memory_swap,
        memory_swappiness: host.memory_swappiness,
        kernel_memory_tcp: host.kernel_memory_tcp,
        oom_kill_disable: host.oom_kill_disable.unwrap_or(false),
        nano_cpus: host.nano_cpus,
        cpu_shares: host.cpu_shares,
        cpu_period: host.cpu_period,
        cpu_quota: host.cpu_quota,
        cpu_realtime_period: host.cpu_realtime_period,
        cpu_realtime_runtime: host.cpu_realtime_runtime,
        cpuset_cpus: host.cpuset_cpus.clone(),
        cpuset_mems: host.cpuset_mems.clone(),
        pids_limit: host.pids_limit,
        blkio_weight: host.blkio_weight,
        weight_devices: weights(host.blkio_weight_device.as_ref()),
        read_bps: throttles(host.blkio_device_read_bps.as_ref()),
        write_bps: throttles(host.blkio_device_write_bps.as_ref()),
        read_iops: throttles(host.blkio_device_read_iops.as_ref()),
        write_iops: throttles(host.blkio_device_write_iops.as_ref()),
    })
}

/// What Linux has not, taken out of the request; gives warnings.
pub(crate) fn discard_foreign(host: &mut HostConfig) -> Vec<String> {
    let mut warnings = Vec::new();
    for (number, what) in [
        (&mut host.cpu_percent, "percent"),
        (&mut host.cpu_count, "count"),
    ] {
        if std::mem::take(number) > 0 {
            let capital = format!("{}{}", what[..1].to_uppercase(), &what[1..]);
            warnings.push(format!(
                "linux does not support CPU {what}. {capital} discarded."
            ));
        }
    }
    warnings
}

/// Shows in a kept request what the limits have become since: some were discarded, others updated.
pub(crate) fn reflect(host: &mut HostConfig, kept: &Resources) {
    host.memory = kept.memory;
    host.memory_reservation = kept.memory_reservation;
    host.memory_swap = kept.memory_swap;
    host.memory_swappiness = kept.memory_swappiness;
    host.kernel_memory_tcp = kept.kernel_memory_tcp;
    // It may stand there as asked not to be, too.
    if host.oom_kill_disable == Some(true) && !kept.oom_kill_disable {
        host.oom_kill_disable = None;
    }
    host.nano_cpus = kept.nano_cpus;
    host.cpu_shares = kept.cpu_shares;
    host.cpu_period = kept.cpu_period;
    host.cpu_quota = kept.cpu_quota;
    host.cpu_realtime_period = kept.cpu_realtime_period;
    host.cpu_realtime_runtime = kept.cpu_realtime_runtime;
    host.cpuset_cpus.clone_from(&kept.cpuset_cpus);
    host.cpuset_mems.clone_from(&kept.cpuset_mems);
    host.pids_limit = kept.pids_limit;
    host.blkio_weight = kept.blkio_weight;
    if kept.weight_devices.is_empty() {
        discard(&mut host.blkio_weight_device);
    }
    for (list, left) in [
        (&mut host.blkio_device_read_bps, &kept.read_bps),
        (&mut host.blkio_device_write_bps, &kept.write_bps),
        (&mut host.blkio_device_read_iops, &kept.read_iops),
        (&mut host.blkio_device_write_iops, &kept.write_iops),
    ] {
        if left.is_empty() {
            discard(list);
        }
    }
}

fn discard<T>(list: &mut Option<Vec<T>>) {
    list.iter_mut().for_each(Vec::clear);
}

fn weights(devices: Option<&Vec<WeightDevice>>) -> Vec<DeviceWeight> {
    let convert = |device: &WeightDevice| DeviceWeight {
        device: PathBuf::from(&device.path),
        weight: device.weight,
    };
    devices.into_iter().flatten().map(convert).collect()
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

/// Converts `--gpus` and the devices of the Container Device Interface.
pub(crate) fn device_requests(
    requests: Vec<hull_api::container::DeviceRequest>,
) -> Vec<DeviceRequest> {
    let convert = |request: hull_api::container::DeviceRequest| DeviceRequest {
        driver: request.driver,
        count: request.count,
        ids: request.device_ids.unwrap_or_default(),
        capabilities: request.capabilities.unwrap_or_default(),
        options: request.options.unwrap_or_default(),
    };
    requests.into_iter().map(convert).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_other_systems_have_is_refused_or_discarded() {
        let mut host = HostConfig {
            cpu_count: 1,
            cpu_percent: 1,
            ..HostConfig::default()
        };
        assert_eq!(
            discard_foreign(&mut host),
            [
                "linux does not support CPU percent. Percent discarded.",
                "linux does not support CPU count. Count discarded."
            ]
        );
        assert_eq!(host, HostConfig::default());
        host.io_maximum_iops = 1;
        assert_eq!(
            limits(&host).unwrap_err().message,
            "invalid option: QoS maximum IOPs configuration is not supported on linux"
        );
    }

    #[test]
    fn inspect_shows_the_limits_that_are_kept() {
        let mut host = HostConfig {
            memory: 1 << 30,
            blkio_device_read_bps: Some(vec![ThrottleDevice::default()]),
            oom_kill_disable: Some(true),
            ..HostConfig::default()
        };
        let kept = Resources {
            memory: 1 << 20,
            ..Resources::default()
        };
        reflect(&mut host, &kept);
        assert_eq!((host.memory, host.oom_kill_disable), (1 << 20, None));
        assert_eq!(host.blkio_device_read_bps, Some(Vec::new()));
        assert_eq!(host.blkio_device_write_bps, None);
    }
}
