//! From mount points to what the runtime mounts.

use super::record::Record;
use super::shared::Shared;
use super::{Config, IpcMode, MountPoint, Propagation, ReadOnlyBelow};
use crate::{Engine, Error, ErrorKind, Result};
use hull_image::Snapshotter;
use hull_shim::{Source, SourceKind, files};
use hull_spec::rootfs::RootFs;
use hull_spec::runtime::{IdMapping, Mount as SpecMount};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A container's mount points, ready to be mounted.
#[derive(Debug, Default)]
pub(super) struct Prepared {
    /// With sources as they are now.
    pub(super) points: Vec<MountPoint>,
    /// What the shim puts at places in the bundle first.
    pub(super) sources: Vec<Source>,
}

impl Engine {
    /// Makes sources that are missing, mounts volumes, and decides what the shim has to do.
    ///
    /// # Errors
    /// Docker's complaints about sources, options and volumes. No volume is mounted then.
    pub(super) fn prepare_mounts(&self, record: &Record) -> Result<Prepared> {
        let mut points = record.mounts.clone();
        check(&points)?;
        super::propagation::settle(&mut points)?;
        make_sources(&points)?;
        let places = self.mount_volumes(record)?;
        let prepared = self.place(record, points, &places);
        if prepared.is_err() {
            self.unmount_volumes(record);
        }
        prepared
    }

    fn place(
        &self,
        record: &Record,
        mut points: Vec<MountPoint>,
        places: &BTreeMap<String, PathBuf>,
    ) -> Result<Prepared> {
        let bundle = self.bundle_dir(&record.id);
        let mut sources = Vec::new();
        for point in &mut points {
            if let Some(place) = places.get(&point.name).filter(|_| point.kind == "volume") {
                point.source = place.to_string_lossy().into_owned();
            }
            super::relabel::relabel(point, "")?;
            let Some(kind) = self.source_of(point)? else {
                continue;
            };
            let name = sources.len().to_string();
            point.source = bundle
                .join(files::SOURCES)
                .join(name)
                .to_string_lossy()
                .into_owned();
            sources.push(Source {
                kind,
                subpath: point.subpath.clone(),
            });
        }
        Ok(Prepared { points, sources })
    }

    /// What the shim has to put somewhere for a mount point, if anything.
    fn source_of(&self, point: &MountPoint) -> Result<Option<SourceKind>> {
        if !point.snapshot.is_empty() {
            let root = self.snapshots.root_fs(&point.snapshot);
            let root = read_only(root.map_err(crate::image::snapshot_error)?);
            return Ok(Some(SourceKind::Root(root)));
        }
        let shared = matches!(point.propagation.as_str(), "shared" | "rshared");
        if point.kind == "bind" && shared {
            let recursive = !point.non_recursive;
            let path = point.source.clone().into();
            return Ok(Some(SourceKind::Shared { path, recursive }));
        }
        let part = !point.subpath.as_os_str().is_empty();
        Ok(part.then(|| SourceKind::Directory(point.source.clone().into())))
    }
}

/// A root as nobody writes it.
fn read_only(root: RootFs) -> RootFs {
    match root {
        RootFs::Overlay { lower, .. } => match lower.as_slice() {
            // overlayfs wants two at least, and one needs no merging.
            [only] => RootFs::Directory { path: only.clone() },
            _ => RootFs::Overlay {
                lower,
                upper: None,
                work: None,
                volatile: false,
            },
        },
        directory @ RootFs::Directory { .. } => directory,
    }
}

/// What dockerd finds out no earlier than at the start.
fn check(points: &[MountPoint]) -> Result<()> {
    let internal = |text: String| Err(Error::new(ErrorKind::Internal, text));
    for point in points {
        if point.kind == "bind" && !point.read_only {
            match point.read_only_below {
                ReadOnlyBelow::IfPossible => {}
                ReadOnlyBelow::No => {
                    return internal(
                        "mount options conflict: !ReadOnly && BindOptions.ReadOnlyNonRecursive"
                            .to_owned(),
                    );
                }
                ReadOnlyBelow::Always => {
                    return internal(
                        "mount options conflict: !ReadOnly && BindOptions.ReadOnlyForceRecursive"
                            .to_owned(),
                    );
                }
            }
        }
        if point.kind == "tmpfs" {
            tmpfs_options(&point.mode).map_err(|why| Error::new(ErrorKind::Internal, why))?;
        }
    }
    Ok(())
}

/// The runtime's list: what every container has, the engine's own files, then what was asked for,
/// shallow targets before deep ones.
pub(super) fn list(
    record: &Record,
    points: &[MountPoint],
    files: &super::Paths,
    shared: &Shared,
) -> Vec<SpecMount> {
    let mut mounts = base(&record.config, shared);
    for (source, target) in [
        (&files.resolv_conf, "/etc/resolv.conf"),
        (&files.hostname, "/etc/hostname"),
        (&files.hosts, "/etc/hosts"),
    ] {
        let covered = points.iter().any(|point| point.target == target);
        if !source.as_os_str().is_empty() && !covered {
            let source = source.to_string_lossy();
            mounts.push(mount(target, "bind", &source, &["rbind", "rprivate"]));
        }
    }
    // A tmpfs of --tmpfs goes before a volume of the image at the same place.
    let tmpfs = |target: &str| {
        let mut all = points.iter();
        all.any(|point| point.kind == "tmpfs" && point.target == target)
    };
    let mut points: Vec<&MountPoint> = points
        .iter()
        .filter(|point| point.kind == "tmpfs" || !tmpfs(&point.target))
        .collect();
    points.sort_by_key(|point| point.target.matches('/').count());
    if points.iter().any(|point| point.target == "/dev") {
        mounts.retain(|mount| !mount.destination.starts_with("/dev/"));
    }
    for point in points {
        // A mount over one of the defaults replaces it, as in Docker.
        mounts.retain(|mount| mount.destination != point.target);
        mounts.push(asked_for(point));
    }
    mounts
}

fn asked_for(point: &MountPoint) -> SpecMount {
    if point.kind == "tmpfs" {
        // What makes no sense was found out before.
        let options = tmpfs_options(&point.mode).unwrap_or_default();
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        return mount(&point.target, "tmpfs", "tmpfs", &options);
    }
    let mut options = vec![if point.non_recursive { "bind" } else { "rbind" }];
    if point.read_only {
        options.push(match point.read_only_below {
            ReadOnlyBelow::No => "ro",
            _ => "rro",
        });
    }
    options.push(if point.propagation.is_empty() {
        Propagation::RPrivate.as_str()
    } else {
        &point.propagation
    });
    if let Some(map) = &point.id_map {
        options.push(if map.recursive { "ridmap" } else { "idmap" });
    }
    let mut mount = mount(&point.target, "bind", &point.source, &options);
    if let Some(map) = &point.id_map {
        let convert = |ranges: &[super::IdRange]| {
            let ranges = ranges.iter();
            ranges
                .map(|range| IdMapping {
                    container_id: range.disk,
                    host_id: range.shown,
                    size: range.count,
                })
                .collect()
        };
        mount.uid_mappings = convert(&map.users);
        mount.gid_mappings = convert(&map.groups);
    }
    mount
}

/// Flags of mount(2) that a tmpfs can have, each with its opposite.
const FLAGS: &[(&str, &str)] = &[
    ("ro", "rw"),
    ("nosuid", "suid"),
    ("nodev", "dev"),
    ("noexec", "exec"),
    ("sync", "async"),
    ("dirsync", "dirsync"),
    ("mand", "nomand"),
    ("noatime", "atime"),
    ("nodiratime", "diratime"),
    ("relatime", "norelatime"),
    ("strictatime", "nostrictatime"),
];

const PROPAGATION: &[&str] = &[
    "private",
    "rprivate",
    "shared",
    "rshared",
    "slave",
    "rslave",
    "unbindable",
    "runbindable",
];

/// A tmpfs's options over Docker's defaults: of each kind the last counts.
///
/// # Errors
/// Docker's complaint about an option that is none.
fn tmpfs_options(asked: &str) -> Result<Vec<String>, String> {
    let mut kept: Vec<(&str, &str)> = Vec::new();
    let defaults = ["noexec", "nosuid", "nodev", "rprivate"];
    let asked = asked.split(',').filter(|_| !asked.is_empty());
    for option in defaults.into_iter().chain(asked) {
        let key = option.split_once('=').map(|(key, _)| key);
        let flag = FLAGS
            .iter()
            .find(|(one, other)| *one == option || *other == option);
        let kind = match (flag, key) {
            _ if option == "defaults" => continue,
            (Some((kind, _)), _) => *kind,
            (None, _) if PROPAGATION.contains(&option) => "propagation",
            (
                None,
                Some(key @ ("size" | "mode" | "uid" | "gid" | "nr_inodes" | "nr_blocks" | "mpol")),
            ) => key,
            _ => {
                let name = key.unwrap_or(option);
                return Err(format!("invalid tmpfs option {name:?}"));
            }
        };
        kept.retain(|(known, _)| *known != kind);
        kept.push((kind, option));
    }
    Ok(kept
        .into_iter()
        .map(|(_, option)| option.to_owned())
        .collect())
}

/// What every container has, as Docker mounts it.
#[expect(clippy::too_many_lines, reason = "a table of mounts: data, not logic")]
fn base(config: &Config, shared: &Shared) -> Vec<SpecMount> {
    let shm = if config.shm_size == 0 {
        64 << 20
    } else {
        config.shm_size
    };
    let shm_size = format!("size={shm}");
    let access = if config.privileged { "rw" } else { "ro" };
    let groups = if config.writable_cgroups {
        "rw"
    } else {
        access
    };
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
            &[groups, "nosuid", "noexec", "nodev"],
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
            mounts.push(match &shared.memory {
                Some(path) => mount(
                    "/dev/shm",
                    "bind",
                    &path.to_string_lossy(),
                    &["rbind", "rprivate"],
                ),
                None => mount(
                    "/dev/shm",
                    "tmpfs",
                    "shm",
                    &["nosuid", "noexec", "nodev", "mode=1777", &shm_size],
                ),
            });
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
/// What making directories gives; a file in the way is the runtime's to tell of.
pub(super) fn make_sources(points: &[MountPoint]) -> Result<()> {
    for point in points.iter().filter(|point| point.create_source) {
        let source = Path::new(&point.source);
        if fs_err::symlink_metadata(source).is_ok() {
            continue;
        }
        match fs_err::create_dir_all(source) {
            Err(error) if error.kind() != std::io::ErrorKind::NotADirectory => {
                let text = format!("error while creating mount source path '{}'", point.source);
                return Err(Error::new(ErrorKind::Internal, text).caused_by(error));
            }
            _ => {}
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_a_tmpfs_are_merged_as_dockers() {
        let merged = |asked| tmpfs_options(asked).map(|options| options.join(","));
        assert_eq!(merged("").unwrap(), "noexec,nosuid,nodev,rprivate");
        assert_eq!(
            merged("exec,size=1m,size=2m,shared").unwrap(),
            "nosuid,nodev,exec,size=2m,shared"
        );
        assert_eq!(merged("foo=1").unwrap_err(), "invalid tmpfs option \"foo\"");
        assert_eq!(merged("bar").unwrap_err(), "invalid tmpfs option \"bar\"");
    }

    #[test]
    fn read_only_means_all_of_it_unless_told() {
        let options = |below, non_recursive| {
            let point = MountPoint {
                kind: "bind".to_owned(),
                read_only: true,
                read_only_below: below,
                non_recursive,
                ..MountPoint::default()
            };
            asked_for(&point).options.join(",")
        };
        assert_eq!(
            options(ReadOnlyBelow::IfPossible, false),
            "rbind,rro,rprivate"
        );
        assert_eq!(options(ReadOnlyBelow::No, false), "rbind,ro,rprivate");
        assert_eq!(options(ReadOnlyBelow::Always, true), "bind,rro,rprivate");
    }
}
