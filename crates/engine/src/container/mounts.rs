//! From what was asked for to what the runtime mounts.

use super::merge::clean;
use super::record::Record;
use super::{Config, IpcMode, Mount, MountKind, MountPoint, Propagation};
use crate::{Error, ErrorKind, Result, volume};
use hull_spec::runtime::Mount as SpecMount;
use std::path::Path;

/// Decides sources and names, and makes new volumes.
///
/// # Errors
/// Docker's complaint about a source that is not there.
pub(super) fn resolve(config: &Config, data_root: &Path) -> Result<Vec<MountPoint>> {
    for mount in &config.mounts {
        if let MountKind::Bind {
            source,
            create_source: false,
            ..
        } = &mount.kind
            && fs_err::symlink_metadata(source).is_err()
        {
            let text = format!(
                "invalid mount config for type \"bind\": bind source path does not exist: {}",
                source.display()
            );
            return Err(Error::new(ErrorKind::InvalidInput, text));
        }
    }
    config
        .mounts
        .iter()
        .map(|mount| point(mount, data_root))
        .collect()
}

fn point(mount: &Mount, data_root: &Path) -> Result<MountPoint> {
    let mut point = MountPoint {
        target: clean(&mount.target.to_string_lossy()),
        mode: mount.mode.clone(),
        read_only: mount.read_only,
        ..MountPoint::default()
    };
    match &mount.kind {
        MountKind::Bind {
            source,
            propagation,
            ..
        } => {
            point.kind = "bind".to_owned();
            point.source = clean(&source.to_string_lossy());
            point.propagation = propagation.as_str().to_owned();
        }
        MountKind::Tmpfs { options } => {
            point.kind = "tmpfs".to_owned();
            point.mode.clone_from(options);
        }
        MountKind::Volume { name, .. } => {
            point.kind = "volume".to_owned();
            point.name = if name.is_empty() {
                crate::names::id()
            } else {
                name.clone()
            };
            point.driver = "local".to_owned();
            if point.mode.is_empty() {
                "z".clone_into(&mut point.mode);
            }
            volume::ensure(data_root, &point.name, name.is_empty())?;
            point.source = volume::data(data_root, &point.name)
                .to_string_lossy()
                .into_owned();
        }
    }
    Ok(point)
}

/// The runtime's list: what every container has, the engine's own files, then what was asked for,
/// shallow targets before deep ones.
pub(super) fn list(record: &Record, files: &super::Paths) -> Vec<SpecMount> {
    let config = &record.config;
    let mut mounts = base(config);
    for (source, target) in [
        (&files.resolv_conf, "/etc/resolv.conf"),
        (&files.hostname, "/etc/hostname"),
        (&files.hosts, "/etc/hosts"),
    ] {
        let covered = record.mounts.iter().any(|point| point.target == target);
        if !source.as_os_str().is_empty() && !covered {
            mounts.push(mount(
                target,
                "bind",
                &source.to_string_lossy(),
                &["rbind", "rprivate"],
            ));
        }
    }
    let mut points: Vec<&MountPoint> = record.mounts.iter().collect();
    points.sort_by_key(|point| point.target.matches('/').count());
    for point in points {
        // A mount over one of the defaults replaces it, as in Docker.
        mounts.retain(|mount| mount.destination != point.target);
        mounts.push(asked_for(point, config));
    }
    mounts
}

fn asked_for(point: &MountPoint, config: &Config) -> SpecMount {
    if point.kind == "tmpfs" {
        let mut options: Vec<&str> = vec!["noexec", "nosuid", "nodev"];
        for option in point.mode.split(',').filter(|option| !option.is_empty()) {
            // `exec` takes `noexec` away, and so on.
            options.retain(|known| known.strip_prefix("no") != Some(option));
            options.push(option);
        }
        return mount(&point.target, "tmpfs", "tmpfs", &options);
    }
    let asked = config
        .mounts
        .iter()
        .find(|mount| clean(&mount.target.to_string_lossy()) == point.target);
    let single = matches!(
        asked,
        Some(Mount {
            kind: MountKind::Bind {
                non_recursive: true,
                ..
            },
            ..
        })
    );
    let mut options = vec![if single { "bind" } else { "rbind" }];
    if point.read_only {
        options.push("ro");
    }
    options.push(if point.propagation.is_empty() {
        Propagation::RPrivate.as_str()
    } else {
        &point.propagation
    });
    mount(&point.target, "bind", &point.source, &options)
}

/// What every container has, as Docker mounts it.
#[expect(clippy::too_many_lines, reason = "a table of mounts: data, not logic")]
fn base(config: &Config) -> Vec<SpecMount> {
    let shm = if config.shm_size == 0 {
        64 << 20
    } else {
        config.shm_size
    };
    let shm_size = format!("size={shm}");
    let access = if config.privileged { "rw" } else { "ro" };
    let mut mounts = vec![
        mount("/proc", "proc", "proc", &["nosuid", "noexec", "nodev"]),
        mount(
            "/dev",
            "tmpfs",
            "tmpfs",
            &["nosuid", "strictatime", "mode=755", "size=65536k"],
        ),
        mount(
            "/dev/pts",
            "devpts",
            "devpts",
            &[
                "nosuid",
                "noexec",
                "newinstance",
                "ptmxmode=0666",
                "mode=0620",
                "gid=5",
            ],
        ),
        mount(
            "/sys",
            "sysfs",
            "sysfs",
            &["nosuid", "noexec", "nodev", access],
        ),
        mount(
            "/sys/fs/cgroup",
            "cgroup",
            "cgroup",
            &[access, "nosuid", "noexec", "nodev"],
        ),
    ];
    match config.ipc {
        IpcMode::Host => {
            mounts.push(mount(
                "/dev/mqueue",
                "bind",
                "/dev/mqueue",
                &["rbind", "rprivate"],
            ));
            mounts.push(mount(
                "/dev/shm",
                "bind",
                "/dev/shm",
                &["rbind", "rprivate"],
            ));
        }
        IpcMode::None => mounts.push(mount(
            "/dev/mqueue",
            "mqueue",
            "mqueue",
            &["nosuid", "noexec", "nodev"],
        )),
        _ => {
            mounts.push(mount(
                "/dev/mqueue",
                "mqueue",
                "mqueue",
                &["nosuid", "noexec", "nodev"],
            ));
            mounts.push(mount(
                "/dev/shm",
                "tmpfs",
                "shm",
                &["nosuid", "noexec", "nodev", "mode=1777", &shm_size],
            ));
        }
    }
    mounts
}

fn mount(destination: &str, kind: &str, source: &str, options: &[&str]) -> SpecMount {
    SpecMount {
        destination: destination.to_owned(),
        kind: kind.to_owned(),
        source: source.to_owned(),
        options: options.iter().map(|option| (*option).to_owned()).collect(),
        ..SpecMount::default()
    }
}

/// Makes the sources that `-v` makes when they are missing.
///
/// # Errors
/// What making directories gives.
pub(super) fn make_sources(config: &Config) -> Result<()> {
    for mount in &config.mounts {
        if let MountKind::Bind {
            source,
            create_source: true,
            ..
        } = &mount.kind
            && fs_err::symlink_metadata(source).is_err()
        {
            fs_err::create_dir_all(source).map_err(|e| {
                let text = format!(
                    "error while creating mount source path '{}'",
                    source.display()
                );
                Error::new(ErrorKind::Internal, text).caused_by(e)
            })?;
        }
    }
    Ok(())
}
