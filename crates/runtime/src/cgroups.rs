//! From the configuration's resources to `linux::cgroup`.

use crate::error::{Error, Step as _};
use hull_linux::cgroup::{
    Access, Block, BlockDevice, Cgroup, Cpu, DeviceKind, DeviceRule, HugePages, Layout, Limits,
    Memory,
};
use hull_spec::runtime::{self, Linux, Resources};

/// The container's path in every hierarchy: as configured, or below `/hull`.
///
/// The systemd form `slice:prefix:name` becomes the path systemd would choose; there is no systemd driver.
pub(crate) fn path(linux: &Linux, id: &str) -> String {
    let configured = linux.cgroups_path.as_str();
    if configured.is_empty() {
        return format!("/hull/{id}");
    }
    let parts: Vec<&str> = configured.split(':').collect();
    if let ([slice, prefix, name], false) = (parts.as_slice(), configured.contains('/')) {
        let slice = if slice.is_empty() {
            "system.slice"
        } else {
            slice
        };
        return format!("{}/{prefix}-{name}.scope", expand_slice(slice));
    }
    format!("/{}", configured.trim_start_matches('/'))
}

/// `a-b.slice` lies in `a.slice` (systemd.slice(5)).
fn expand_slice(slice: &str) -> String {
    let stem = slice.strip_suffix(".slice").unwrap_or(slice);
    let mut path = String::new();
    let ends = stem
        .match_indices('-')
        .map(|(at, _)| at)
        .chain([stem.len()]);
    for end in ends.filter(|end| *end > 0) {
        path.push('/');
        path.push_str(&stem[..end]);
        path.push_str(".slice");
    }
    path
}

/// The container's group, when this host has control groups at all.
pub(crate) fn open(path: &str) -> Result<Option<Cgroup>, Error> {
    if path.is_empty() {
        return Ok(None);
    }
    let layout = Layout::detect().step(|| "find the control groups")?;
    Cgroup::new(layout, path)
        .map(Some)
        .step(|| "name the control group")
}

/// Makes the group and sets its limits, before any process is in it.
pub(crate) fn make(path: &str, resources: Option<&Resources>) -> Result<Option<Cgroup>, Error> {
    let Some(group) = open(path)? else {
        return Ok(None);
    };
    group
        .create()
        .step(|| "unable to apply cgroup configuration")?;
    let set = || -> Result<(), hull_linux::cgroup::Error> {
        if let Some(resources) = resources {
            group.apply(&limits(resources))?;
        }
        group.set_devices(&device_rules(resources))
    };
    if let Err(error) = set() {
        // The group is empty and ours; that it cannot be removed changes nothing about the failure.
        let _ = group.remove();
        return Err(error).step(|| "error setting cgroup config for procHooks process");
    }
    Ok(Some(group))
}

fn limits(resources: &Resources) -> Limits {
    let memory = resources.memory.clone().unwrap_or_default();
    let cpu = resources.cpu.clone().unwrap_or_default();
    let block = resources.block_io.clone().unwrap_or_default();
    let named = |text: &String| (!text.is_empty()).then(|| text.clone());
    Limits {
        memory: Memory {
            limit: memory.limit,
            reservation: memory.reservation,
            swap: memory.swap,
            kernel_tcp: memory.kernel_tcp,
            swappiness: memory.swappiness,
            disable_oom_killer: memory.disable_oom_killer,
        },
        cpu: Cpu {
            // 0 is Docker's way to say nothing.
            shares: cpu.shares.filter(|shares| *shares != 0),
            quota: cpu.quota.filter(|quota| *quota != 0),
            period: cpu.period.filter(|period| *period != 0),
            burst: cpu.burst,
            realtime_runtime: cpu.realtime_runtime.filter(|runtime| *runtime != 0),
            realtime_period: cpu.realtime_period.filter(|period| *period != 0),
            idle: cpu.idle,
            cpus: named(&cpu.cpus),
            mems: named(&cpu.mems),
        },
        pids: resources.pids.map(|pids| pids.limit),
        huge_pages: resources
            .hugepage_limits
            .iter()
            .map(|limit| HugePages {
                size: limit.page_size.clone(),
                limit: limit.limit,
            })
            .collect(),
        block: Block {
            weight: block.weight.filter(|weight| *weight != 0),
            read_bps: rates(&block.throttle_read_bps_device),
            write_bps: rates(&block.throttle_write_bps_device),
            read_iops: rates(&block.throttle_read_iops_device),
            write_iops: rates(&block.throttle_write_iops_device),
        },
        unified: resources
            .unified
            .iter()
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect(),
    }
}

fn rates(devices: &[runtime::ThrottleDevice]) -> Vec<BlockDevice> {
    let rate = |device: &runtime::ThrottleDevice| BlockDevice {
        major: device.major,
        minor: device.minor,
        rate: device.rate,
    };
    devices.iter().map(rate).collect()
}

/// The configured rules, then what every container may do: make nodes, and use the default devices.
fn device_rules(resources: Option<&Resources>) -> Vec<DeviceRule> {
    let mut rules = Vec::new();
    for rule in resources.iter().flat_map(|resources| &resources.devices) {
        rules.push(DeviceRule {
            allow: rule.allow,
            kind: match rule.kind.as_str() {
                "c" | "u" => DeviceKind::Character,
                "b" => DeviceKind::Block,
                _ => DeviceKind::All,
            },
            major: number(rule.major),
            minor: number(rule.minor),
            access: Access::parse(&rule.access).unwrap_or(Access::ALL),
        });
    }
    let opened_wide = rules
        .iter()
        .rev()
        .find(|rule| rule.is_total())
        .is_some_and(|rule| rule.allow);
    if opened_wide {
        return rules;
    }
    let make = Access {
        read: false,
        write: false,
        mknod: true,
    };
    let allow = |kind, major, minor, access| DeviceRule {
        allow: true,
        kind,
        major,
        minor,
        access,
    };
    let mut defaults = vec![
        allow(DeviceKind::Character, None, None, make),
        allow(DeviceKind::Block, None, None, make),
    ];
    for (major, minor) in [(1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 2)] {
        defaults.push(allow(
            DeviceKind::Character,
            Some(major),
            Some(minor),
            Access::ALL,
        ));
    }
    defaults.push(allow(DeviceKind::Character, Some(136), None, Access::ALL));
    // What the configuration says already (Docker's does) need not be said twice: each rule is a write.
    defaults.retain(|rule| !rules.contains(rule));
    rules.extend(defaults);
    rules
}

/// -1 and nothing are any number.
fn number(number: Option<i64>) -> Option<u32> {
    number.and_then(|number| u32::try_from(number).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_taken_from_the_root_and_systemd_names_are_expanded() {
        let path_of = |text: &str| {
            path(
                &Linux {
                    cgroups_path: text.into(),
                    ..Linux::default()
                },
                "id",
            )
        };
        assert_eq!(path_of(""), "/hull/id");
        assert_eq!(path_of("a/b"), "/a/b");
        assert_eq!(path_of("/a/b"), "/a/b");
        assert_eq!(
            path_of("system.slice:hull:id"),
            "/system.slice/hull-id.scope"
        );
        assert_eq!(
            path_of("a-b.slice:hull:id"),
            "/a.slice/a-b.slice/hull-id.scope"
        );
    }

    #[test]
    fn every_container_may_use_the_null_device() {
        let rules = device_rules(None);
        assert!(
            rules
                .iter()
                .any(|rule| (rule.major, rule.minor) == (Some(1), Some(3)) && rule.allow)
        );
        let open: Resources =
            serde_json::from_str(r#"{"devices":[{"allow":true,"access":"rwm"}]}"#).expect("parses");
        assert_eq!(device_rules(Some(&open)).len(), 1);
    }
}
