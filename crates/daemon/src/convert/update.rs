//! `POST /containers/{id}/update`: the request becomes a change.

use super::{create, resources};
use crate::error::ApiError;
use crate::version::ApiVersion;
use hull_api::container::HostConfig;
use hull_engine::container::Update;

/// Converts a request; gives warnings about what it names and what cannot be changed any more.
///
/// # Errors
/// 400 for what makes no sense.
pub(crate) fn update(
    mut host: HostConfig,
    version: ApiVersion,
) -> Result<(Update, Vec<String>), ApiError> {
    if !version.since(40) {
        host.pids_limit = None;
    }
    let mut warnings = resources::discard_foreign(&mut host);
    warnings.extend(fixed(&host));
    let restart = match host.restart_policy.name.as_str() {
        "" if host.restart_policy.maximum_retry_count == 0 => None,
        _ => Some(create::restart_policy(&host)?),
    };
    let restart = restart.filter(|_| !host.restart_policy.name.is_empty());
    let limits = resources::limits(&host)?;
    let change = Update {
        resources: hull_engine::container::Resources {
            memory_swappiness: None,
            oom_kill_disable: false,
            kernel_memory_tcp: 0,
            weight_devices: Vec::new(),
            read_bps: Vec::new(),
            write_bps: Vec::new(),
            read_iops: Vec::new(),
            write_iops: Vec::new(),
            ..limits
        },
        restart,
    };
    Ok((change, warnings))
}

/// What the request may name because it is of the same type as that of create, but what belongs to a container
/// for good. dockerd says nothing, and does nothing either.
fn fixed(host: &HostConfig) -> Vec<String> {
    fn some<T>(list: Option<&Vec<T>>) -> bool {
        list.is_some_and(|list| !list.is_empty())
    }
    let named = [
        (host.memory_swappiness.is_some(), "MemorySwappiness"),
        (host.oom_kill_disable == Some(true), "OomKillDisable"),
        (host.kernel_memory_tcp != 0, "KernelMemoryTCP"),
        (!host.cgroup_parent.is_empty(), "CgroupParent"),
        (some(host.blkio_weight_device.as_ref()), "BlkioWeightDevice"),
        (
            some(host.blkio_device_read_bps.as_ref()),
            "BlkioDeviceReadBps",
        ),
        (
            some(host.blkio_device_write_bps.as_ref()),
            "BlkioDeviceWriteBps",
        ),
        (
            some(host.blkio_device_read_iops.as_ref()),
            "BlkioDeviceReadIOps",
        ),
        (
            some(host.blkio_device_write_iops.as_ref()),
            "BlkioDeviceWriteIOps",
        ),
        (some(host.devices.as_ref()), "Devices"),
        (some(host.device_cgroup_rules.as_ref()), "DeviceCgroupRules"),
        (some(host.device_requests.as_ref()), "DeviceRequests"),
        (some(host.ulimits.as_ref()), "Ulimits"),
        (host.init.is_some(), "Init"),
    ];
    named
        .into_iter()
        .filter(|(named, _)| *named)
        .map(|(_, field)| {
            format!("{field} cannot be changed after a container is made. {field} discarded.")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use hull_engine::container::RestartPolicy;

    #[test]
    fn policies_limits_and_what_stays() {
        let mut host = HostConfig {
            memory: 8 << 20,
            init: Some(true),
            ..HostConfig::default()
        };
        let (change, warnings) = update(host.clone(), ApiVersion::NEWEST).unwrap();
        assert_eq!((change.resources.memory, change.restart), (8 << 20, None));
        assert_eq!(
            warnings,
            ["Init cannot be changed after a container is made. Init discarded."]
        );
        host.restart_policy.name = "always".to_owned();
        let (change, _) = update(host.clone(), ApiVersion::NEWEST).unwrap();
        assert_eq!(change.restart, Some(RestartPolicy::Always));
        host.restart_policy.maximum_retry_count = 1;
        assert!(update(host, ApiVersion::NEWEST).is_err());
    }
}
