//! Devices: those that were asked for by path, those that every container has, all of the host's.

use super::{Config, resources};
use crate::{Error, ErrorKind, Result};
use hull_spec::runtime::{Device, DeviceRule};
use std::path::{Path, PathBuf};

/// Device nodes to make, and the rules of the device cgroup.
///
/// # Errors
/// Docker's complaints about what is not there or no device.
pub(super) fn devices(config: &Config) -> Result<(Vec<Device>, Vec<DeviceRule>)> {
    if config.privileged {
        let all = DeviceRule {
            allow: true,
            access: "rwm".to_owned(),
            ..DeviceRule::default()
        };
        let mut nodes = host_devices();
        // They are there already, but perhaps not by the name that was asked for.
        for device in config
            .devices
            .iter()
            .filter(|device| device.host != device.container)
        {
            nodes.extend(at(&device.host, &device.container)?);
        }
        return Ok((nodes, vec![all]));
    }
    let mut rules = default_rules();
    let mut nodes = Vec::new();
    for device in &config.devices {
        for node in at(&device.host, &device.container)? {
            rules.push(allowed(&node, &device.permissions));
            nodes.push(node);
        }
    }
    for rule in &config.device_cgroup_rules {
        rules.push(parse_rule(rule)?);
    }
    Ok((nodes, rules))
}

/// The rule that allows a device.
pub(super) fn allowed(node: &Device, permissions: &str) -> DeviceRule {
    DeviceRule {
        allow: true,
        kind: node.kind.clone(),
        major: Some(node.major),
        minor: Some(node.minor),
        access: if permissions.is_empty() {
            "rwm".to_owned()
        } else {
            permissions.to_owned()
        },
    }
}

/// The device at a path of the host, or all those below a directory.
fn at(host: &Path, container: &Path) -> Result<Vec<Device>> {
    // A link stands for what it leads to, as do those in `/dev/disk`.
    let real = fs_err::canonicalize(host).unwrap_or_else(|_| host.to_owned());
    if !real.is_dir() {
        return Ok(vec![node(&real, host, container)?]);
    }
    let mut nodes = Vec::new();
    let mut directories = vec![(real, container.to_owned())];
    while let Some((directory, inside)) = directories.pop() {
        for entry in fs_err::read_dir(&directory).into_iter().flatten().flatten() {
            let (path, name) = (entry.path(), inside.join(entry.file_name()));
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => directories.push((path, name)),
                Ok(kind) if !kind.is_symlink() => nodes.extend(node(&path, &path, &name)),
                _ => {}
            }
        }
    }
    Ok(nodes)
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

/// A device of the host, as the runtime makes it; `named` is how it was asked for.
pub(super) fn node(host: &Path, named: &Path, container: &Path) -> Result<Device> {
    use rustix::fs::FileType;
    let what = || {
        format!(
            "error gathering device information while adding custom device \"{}\"",
            named.display()
        )
    };
    let stat = rustix::fs::stat(host).map_err(|source| {
        Error::new(ErrorKind::Internal, what()).caused_by(resources::in_gos_words(source))
    })?;
    let kind = match FileType::from_raw_mode(stat.st_mode) {
        FileType::CharacterDevice => "c",
        FileType::BlockDevice => "b",
        _ => return Err(Error::new(ErrorKind::Internal, what()).caused_by("not a device node")),
    };
    Ok(Device {
        kind: kind.to_owned(),
        path: container.to_string_lossy().into_owned(),
        major: rustix::fs::major(stat.st_rdev).into(),
        minor: rustix::fs::minor(stat.st_rdev).into(),
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
    let mut directories = vec![PathBuf::from("/dev")];
    while let Some(directory) = directories.pop() {
        for entry in fs_err::read_dir(&directory).into_iter().flatten().flatten() {
            let name = entry.file_name();
            if directory == Path::new("/dev") && OWN.iter().any(|own| name == *own) {
                continue;
            }
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => directories.push(entry.path()),
                Ok(kind) if !kind.is_symlink() => {
                    devices.extend(node(&entry.path(), &entry.path(), &entry.path()))
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
            ErrorKind::Internal,
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
    fn devices_are_found_by_path_link_and_directory() {
        let asked = |host: &str| {
            let config = Config {
                devices: vec![super::super::Device {
                    host: host.into(),
                    container: "/dev/x".into(),
                    permissions: "r".to_owned(),
                }],
                ..Config::default()
            };
            devices(&config).map_err(|error| error.full_message())
        };
        let (nodes, rules) = asked("/dev/null").unwrap();
        assert_eq!((nodes.len(), nodes[0].path.as_str()), (1, "/dev/x"));
        assert_eq!(
            rules.last().map(|rule| rule.access.as_str()),
            Some("r"),
            "{rules:?}"
        );
        let what = "error gathering device information while adding custom device";
        assert_eq!(
            asked("/dev/nosuch").unwrap_err(),
            format!("{what} \"/dev/nosuch\": no such file or directory")
        );
        assert_eq!(
            asked("/etc/passwd").unwrap_err(),
            format!("{what} \"/etc/passwd\": not a device node")
        );
        let directory = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/dev/null", directory.path().join("link")).unwrap();
        let link = directory.path().join("link");
        assert_eq!(asked(link.to_str().unwrap()).unwrap().0.len(), 1);
        assert_eq!(asked(directory.path().to_str().unwrap()).unwrap().0, []);
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
}
