//! The bundle: `config.json` for the runtime, and the files that the engine puts into a container.

use super::record::Record;
use super::user::{self, Resolved};
use super::{
    Config, IpcMode, NetworkMode, Paths, PidMode, Seccomp, capabilities, merge, mounts, resources,
    seccomp,
};
use crate::{Error, ErrorKind, Result};
use hull_spec::rootfs::RootFs;
use hull_spec::runtime::docker::{MASKED_PATHS, READONLY_PATHS};
use hull_spec::runtime::{
    Capabilities, Device, DeviceRule, Linux, Namespace, NamespaceKind, Process, Resources, Root,
    Spec, VERSION,
};
use std::path::Path;

/// What the engine knows and the record does not.
#[derive(Clone, Copy, Debug)]
pub(super) struct Context<'a> {
    pub(super) root: &'a RootFs,
    pub(super) files: &'a Paths,
    /// What is mounted, with sources as they are now.
    pub(super) points: &'a [super::MountPoint],
    /// The network namespace's file, for a container on a bridge.
    pub(super) netns: Option<&'a Path>,
    pub(super) cgroup_v2: bool,
}

/// The runtime's document for a container.
///
/// # Errors
/// Docker's complaints about users, devices, profiles.
pub(super) fn spec(record: &Record, context: Context<'_>) -> Result<Spec> {
    let config = &record.config;
    let process = process(record, context.root)?;
    let caps = process
        .capabilities
        .as_ref()
        .map(|sets| sets.bounding.clone())
        .unwrap_or_default();
    Ok(Spec {
        oci_version: VERSION.to_owned(),
        root: Some(Root {
            path: hull_shim::files::ROOT.to_owned(),
            readonly: config.read_only,
        }),
        hostname: if config.host_uts {
            String::new()
        } else {
            record.effective.hostname.clone()
        },
        domainname: config.domainname.clone(),
        mounts: mounts::list(record, context.points, context.files),
        annotations: config.annotations.clone(),
        linux: Some(linux(record, context, &caps)?),
        process: Some(process),
        ..Spec::default()
    })
}

fn process(record: &Record, root: &RootFs) -> Result<Process> {
    let config = &record.config;
    let effective = &record.effective;
    let Resolved { user, home } = user::resolve(root, &effective.user, &config.groups)?;
    let capabilities = capability_sets(config, user.uid)?;
    Ok(Process {
        terminal: config.tty,
        user,
        args: effective.args.clone(),
        env: merge::process_environment(effective, config.tty, &home),
        cwd: merge::clean(&effective.working_dir),
        capabilities: Some(capabilities),
        rlimits: resources::rlimits(&config.ulimits)?,
        no_new_privileges: config.no_new_privileges,
        oom_score_adj: config.oom_score_adj.filter(|adjust| *adjust != 0),
        ..Process::default()
    })
}

/// All sets for root; for others the bounding set alone, so that set-uid programs work and nothing
/// is theirs from the beginning (CVE-2022-24769: nothing is inheritable).
pub(super) fn capability_sets(config: &Config, uid: u32) -> Result<Capabilities> {
    let names = capabilities::of(config)?;
    let own = if uid == 0 { names.clone() } else { Vec::new() };
    Ok(Capabilities {
        bounding: names,
        effective: own.clone(),
        permitted: own,
        ..Capabilities::default()
    })
}

fn linux(record: &Record, context: Context<'_>, caps: &[String]) -> Result<Linux> {
    let config = &record.config;
    let strings = |paths: &[&str]| {
        paths
            .iter()
            .map(|path| (*path).to_owned())
            .collect::<Vec<_>>()
    };
    let hidden = |own: &Option<Vec<String>>, default: &[&str]| match own {
        Some(paths) => paths.clone(),
        None if config.privileged => Vec::new(),
        None => strings(default),
    };
    let (devices, rules) = devices(config)?;
    let mut sysctl = config.sysctls.clone();
    if !config.privileged && config.network != NetworkMode::Host {
        // As Docker since 20.10: low ports and ping need no privilege in a network namespace of one's own.
        sysctl
            .entry("net.ipv4.ip_unprivileged_port_start".to_owned())
            .or_insert_with(|| "0".to_owned());
        sysctl
            .entry("net.ipv4.ping_group_range".to_owned())
            .or_insert_with(|| "0 2147483647".to_owned());
    }
    Ok(Linux {
        sysctl,
        resources: Some(Resources {
            devices: rules,
            memory: resources::memory(&config.resources),
            cpu: resources::cpu(&config.resources),
            pids: resources::pids(&config.resources),
            block_io: resources::block_io(&config.resources)?,
            ..Resources::default()
        }),
        cgroups_path: resources::cgroup(config, &record.id),
        namespaces: namespaces(config, context),
        devices,
        seccomp: match &config.seccomp {
            Seccomp::Unconfined => None,
            Seccomp::Default if config.privileged => None,
            Seccomp::Default => Some(seccomp::default(caps)),
            Seccomp::Profile(text) => Some(seccomp::from_profile(text, caps)?),
        },
        rootfs_propagation: super::propagation::of_root(context.points).to_owned(),
        masked_paths: hidden(&config.masked_paths, &MASKED_PATHS),
        readonly_paths: hidden(&config.readonly_paths, &READONLY_PATHS),
        ..Linux::default()
    })
}

fn namespaces(config: &Config, context: Context<'_>) -> Vec<Namespace> {
    let new = |kind| Namespace {
        kind,
        path: String::new(),
    };
    let mut namespaces = vec![new(NamespaceKind::Mount)];
    match config.network {
        NetworkMode::Host => {}
        _ => namespaces.push(Namespace {
            kind: NamespaceKind::Network,
            path: context
                .netns
                .map(|path| path.to_string_lossy().into_owned())
                .unwrap_or_default(),
        }),
    }
    if !config.host_uts {
        namespaces.push(new(NamespaceKind::Uts));
    }
    if config.pid != PidMode::Host {
        namespaces.push(new(NamespaceKind::Pid));
    }
    if config.ipc != IpcMode::Host {
        namespaces.push(new(NamespaceKind::Ipc));
    }
    // As Docker: a cgroup namespace of its own where the host has only version 2, unless told.
    let host = config
        .host_cgroup_namespace
        .unwrap_or(!context.cgroup_v2 || config.privileged);
    if !host {
        namespaces.push(new(NamespaceKind::Cgroup));
    }
    namespaces
}

/// Device nodes to make, and the rules of the device cgroup.
fn devices(config: &Config) -> Result<(Vec<Device>, Vec<DeviceRule>)> {
    if config.privileged {
        let all = DeviceRule {
            allow: true,
            access: "rwm".to_owned(),
            ..DeviceRule::default()
        };
        return Ok((host_devices(), vec![all]));
    }
    let mut rules = default_rules();
    let mut nodes = Vec::new();
    for device in &config.devices {
        let node = node(&device.host, &device.container)?;
        let access = if device.permissions.is_empty() {
            "rwm"
        } else {
            &device.permissions
        };
        rules.push(DeviceRule {
            allow: true,
            kind: node.kind.clone(),
            major: Some(node.major),
            minor: Some(node.minor),
            access: access.to_owned(),
        });
        nodes.push(node);
    }
    for rule in &config.device_cgroup_rules {
        rules.push(parse_rule(rule)?);
    }
    Ok((nodes, rules))
}

/// Docker's: the harmless devices. The runtime adds the making of nodes, terminals and the like, after
/// what is denied here.
fn default_rules() -> Vec<DeviceRule> {
    let rule =
        |allow, kind: &str, major: Option<i64>, minor: Option<i64>, access: &str| DeviceRule {
            allow,
            kind: kind.to_owned(),
            major,
            minor,
            access: access.to_owned(),
        };
    let character = |major, minor| rule(true, "c", Some(major), Some(minor), "rwm");
    vec![
        rule(false, "", None, None, "rwm"),
        character(1, 5),                              // zero
        character(1, 3),                              // null
        character(1, 9),                              // urandom
        character(1, 8),                              // random
        character(5, 0),                              // tty
        character(5, 1),                              // console
        rule(false, "c", Some(10), Some(229), "rwm"), // fuse
    ]
}

fn node(host: &Path, container: &Path) -> Result<Device> {
    use rustix::fs::{FileType, stat};
    let wrong = || {
        let text = format!(
            "error gathering device information while adding custom device \"{}\": not a device node",
            host.display()
        );
        Error::new(ErrorKind::InvalidInput, text)
    };
    let (major, minor) = resources::numbers(host)?;
    let stat = stat(host).map_err(|_| wrong())?;
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::CharacterDevice => "c",
        FileType::BlockDevice => "b",
        _ => return Err(wrong()),
    };
    Ok(Device {
        kind: kind.to_owned(),
        path: container.to_string_lossy().into_owned(),
        major: major.into(),
        minor: minor.into(),
        file_mode: Some(stat.st_mode & 0o777),
        uid: Some(stat.st_uid),
        gid: Some(stat.st_gid),
    })
}

/// All of the host's devices, for privileged containers.
fn host_devices() -> Vec<Device> {
    const OWN: &[&str] = &[
        "pts",
        "shm",
        "fd",
        "mqueue",
        "console",
        "ptmx",
        "tty",
        "null",
        "zero",
        "full",
        "random",
        "urandom",
        "lxc",
        ".lxc",
        ".lxd-mounts",
        ".udev",
    ];
    let mut devices = Vec::new();
    let mut directories = vec![std::path::PathBuf::from("/dev")];
    while let Some(directory) = directories.pop() {
        for entry in fs_err::read_dir(&directory).into_iter().flatten().flatten() {
            let name = entry.file_name();
            if directory == Path::new("/dev") && OWN.iter().any(|own| name == *own) {
                continue;
            }
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => directories.push(entry.path()),
                Ok(kind) if !kind.is_symlink() => {
                    devices.extend(node(&entry.path(), &entry.path()))
                }
                _ => {}
            }
        }
    }
    devices
}

/// `c 1:3 rwm`, with `*` for any number.
fn parse_rule(text: &str) -> Result<DeviceRule> {
    let wrong = || {
        Error::new(
            ErrorKind::InvalidInput,
            format!("invalid device cgroup rule format: '{text}'"),
        )
    };
    let mut words = text.split(' ');
    let (Some(kind @ ("a" | "b" | "c")), Some(numbers), Some(access), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(wrong());
    };
    let (major, minor) = numbers.split_once(':').ok_or_else(wrong)?;
    let number = |text: &str| {
        if text == "*" {
            Ok(None)
        } else {
            text.parse().map(Some).map_err(|_| wrong())
        }
    };
    if access.is_empty() || !access.chars().all(|letter| "rwm".contains(letter)) {
        return Err(wrong());
    }
    Ok(DeviceRule {
        allow: true,
        kind: kind.to_owned(),
        major: number(major)?,
        minor: number(minor)?,
        access: access.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_are_parsed() {
        let rule = parse_rule("c 1:* rm").unwrap();
        assert_eq!(
            (
                rule.kind.as_str(),
                rule.major,
                rule.minor,
                rule.access.as_str()
            ),
            ("c", Some(1), None, "rm")
        );
        for bad in ["", "x 1:2 r", "c 1 r", "c 1:2 q", "c 1:2 r x", "c a:b r"] {
            assert!(parse_rule(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_device_is_denied_unless_it_is_harmless_or_asked_for() {
        let config = Config {
            device_cgroup_rules: vec!["c 10:229 r".to_owned()],
            ..Config::default()
        };
        let (_, rules) = devices(&config).unwrap();
        assert!(!rules[0].allow && rules[0].major.is_none());
        let all = |rule: &&DeviceRule| rule.allow && (rule.major.is_none() || rule.minor.is_none());
        assert_eq!(rules.iter().find(all), None, "no rule for devices at large");
        let fuse: Vec<bool> = rules
            .iter()
            .filter(|rule| (rule.major, rule.minor) == (Some(10), Some(229)))
            .map(|rule| rule.allow)
            .collect();
        assert_eq!(fuse, [false, true]);
    }

    #[test]
    fn others_than_root_hold_nothing_from_the_beginning() {
        let sets = capability_sets(&Config::default(), 1000).unwrap();
        assert!(
            sets.effective.is_empty() && sets.inheritable.is_empty() && sets.bounding.len() == 14
        );
        assert_eq!(
            capability_sets(&Config::default(), 0)
                .unwrap()
                .effective
                .len(),
            14
        );
    }
}
