//! The mounts of the configuration. Each is made detached, completed, and then attached to a descriptor
//! of its place, which was looked up once inside the root (CVE-2021-30465): what the path leads to a
//! moment later does not matter.

use super::rootfs::inside;
use super::{Common, First, cgroup_mount, copy_up};
use crate::error::{Error, Step as _, said};
use hull_linux::mount::{self, Attributes, Options};
use hull_linux::path::Root;
use hull_spec::runtime::Mount;
use rustix::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use rustix::fs::{CWD, FileType, OFlags};
use rustix::mount::MountAttrFlags;
use std::io::{self, ErrorKind};
use std::path::{Component, Path, PathBuf};

/// Makes all mounts in order. Gives those that become read-only once their content is complete.
pub(super) fn all(
    common: &Common<'_>,
    first: &First<'_>,
    root: &Root,
) -> Result<Vec<OwnedFd>, Error> {
    let mut later = Vec::new();
    for (index, mount) in common.spec.mounts.iter().enumerate() {
        let options = Options::parse(&mount.options);
        let id_map = first.id_maps.get(index).and_then(Option::as_ref);
        let made = match mount.kind.as_str() {
            "cgroup" | "cgroup2" if !options.bind => {
                cgroup_mount::make(first, root, mount, &options)
            }
            _ if options.remount => remount(root, mount, &options),
            _ if options.bind || mount.kind == "bind" => {
                let tree = source(first, index, mount, &options);
                tree.and_then(|tree| bind(&tree, root, mount, (&options, id_map)))
            }
            _ => file_system(common, root, mount, (&options, id_map)),
        };
        later.extend(made.step(|| {
            format!(
                "error mounting {:?} to rootfs at {:?}",
                mount.source, mount.destination
            )
        })?);
    }
    Ok(later)
}

/// Changes the options of what is mounted already.
fn remount(root: &Root, mount: &Mount, options: &Options) -> Result<Option<OwnedFd>, Error> {
    let place = root
        .open_at(&inside(&mount.destination), OFlags::PATH)
        .step(|| format!("open {}", mount.destination))?;
    mount::set_attributes(place.as_fd(), false, &options.attributes).step(|| "remount")?;
    Ok(None)
}

/// A copy of the part of the host's tree that is to be mounted, made here or by the runtime.
fn source(
    first: &First<'_>,
    index: usize,
    mount: &Mount,
    options: &Options,
) -> Result<OwnedFd, Error> {
    match first.sources.get(index).and_then(Option::as_ref) {
        Some(tree) => rustix::io::fcntl_dupfd_cloexec(tree, 3).step(|| "duplicate a descriptor"),
        None => open_source(first.bundle, mount, options),
    }
}

/// A copy of the part of the host's tree that is to be mounted.
pub(crate) fn open_source(
    bundle: &Path,
    mount: &Mount,
    options: &Options,
) -> Result<OwnedFd, Error> {
    let source = bundle.join(&mount.source);
    let recursive = options.recursive || !options.bind;
    mount::clone_tree(CWD, &source, recursive)
        .step(|| format!("failed to fulfil mount request: open {}", source.display()))
}

/// Mounts a part of the host's tree.
fn bind(
    tree: &OwnedFd,
    root: &Root,
    mount: &Mount,
    (options, id_map): (&Options, Option<&OwnedFd>),
) -> Result<Option<OwnedFd>, Error> {
    set_id_map(tree, options, id_map)?;
    set(tree, options, options.attributes)?;
    let stat = rustix::fs::fstat(tree).step(|| format!("stat {}", mount.source))?;
    let path = inside(&mount.destination);
    let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
    let place = if is_directory {
        root.ensure_directory(&path, 0o755)
    } else {
        root.ensure_file(&path)
    };
    let place = place.step(|| format!("create mount point for {:?} mount", mount.destination))?;
    attach(tree, &place, mount)
}

/// The place of a procfs or sysfs. A link on the way there could hide what the masked paths are to be
/// applied to, and lead what is written to procfs elsewhere (CVE-2019-16884, CVE-2019-19921,
/// CVE-2023-27561, CVE-2023-28642, CVE-2025-54867): what is mounted on is what was seen to be none.
fn without_links(root: &Root, path: &Path, kind: &str) -> Result<OwnedFd, Error> {
    let place = root.open_without_links(path, OFlags::PATH | OFlags::DIRECTORY);
    place.map_err(|_| {
        said(format!(
            "filesystem {kind:?} must be mounted on ordinary directory"
        ))
    })
}

/// Mounts a new file system.
fn file_system(
    common: &Common<'_>,
    root: &Root,
    mount: &Mount,
    (options, id_map): (&Options, Option<&OwnedFd>),
) -> Result<Option<OwnedFd>, Error> {
    let path = inside(&mount.destination);
    let (place, existed) = match root.open_at(&path, OFlags::PATH | OFlags::DIRECTORY) {
        Ok(place) => (place, true),
        Err(_) => {
            let place = root.ensure_directory(&path, 0o755);
            let step = || format!("create mount point for {:?} mount", mount.destination);
            (place.step(step)?, false)
        }
    };
    let place = if matches!(mount.kind.as_str(), "proc" | "sysfs") {
        without_links(root, &path, &mount.kind)?
    } else {
        place
    };
    let mut data: Vec<String> = options.data.clone();
    if mount.kind == "tmpfs" && !data.iter().any(|word| word.starts_with("mode=")) {
        // As the directory it covers had it, or as one that had to be made.
        let mode = if existed {
            let stat = rustix::fs::fstat(&place).step(|| "stat the mount point")?;
            stat.st_mode & 0o7777
        } else {
            0o755
        };
        data.insert(0, format!("mode={mode:04o}"));
    }
    let later = options.read_only() && (mount.kind == "tmpfs" || mount.destination == "/dev");
    let mut attributes = options.attributes;
    if later {
        attributes.set &= !u64::from(MountAttrFlags::MOUNT_ATTR_RDONLY.bits());
    }
    // MS_RDONLY of a file system as a whole: nothing else could be written to it by another way in.
    if options.read_only() && !later && !matches!(mount.kind.as_str(), "proc" | "sysfs" | "mqueue")
    {
        data.push("ro".to_owned());
    }
    let tree = new_file_system(mount, &data, attributes)?;
    set_id_map(&tree, options, id_map)?;
    set(&tree, options, Attributes::default())?;
    if options.copy_up && mount.kind == "tmpfs" {
        copy_up::copy(common.proc, &place, &tree).step(|| "tmpcopyup")?;
    }
    attach(&tree, &place, mount)?;
    Ok(later.then_some(tree))
}

/// A file system that shows a namespace can be made only by who owns the namespace; for somebody who is
/// root in no more than a user namespace, the host's one shows the same namespace.
fn new_file_system(
    mount: &Mount,
    data: &[String],
    attributes: Attributes,
) -> Result<OwnedFd, Error> {
    let words = data.iter().map(String::as_str);
    let made = mount::new_file_system(&mount.kind, &mount.source, words, attributes.set);
    let of_host = match mount.kind.as_str() {
        "sysfs" => Some("/sys"),
        "mqueue" => Some("/dev/mqueue"),
        _ => None,
    };
    let tree: io::Result<OwnedFd> = match (made, of_host) {
        (Err(error), Some(path)) if error.kind() == ErrorKind::PermissionDenied => {
            host_tree(path, attributes).map_err(|_| error)
        }
        (made, _) => made,
    };
    tree.step(|| {
        format!(
            "mount src={}, dst={}, data={}",
            mount.source,
            mount.destination,
            data.join(",")
        )
    })
}

/// `MOUNT_ATTR__ATIME`.
const ACCESS_TIMES: u64 = 0x70;

fn host_tree(path: &str, attributes: Attributes) -> io::Result<OwnedFd> {
    let tree = mount::clone_tree(CWD, Path::new(path), true)?;
    // What is locked cannot be cleared, nor access times be changed: there is more than was asked for, never less.
    let change = Attributes {
        set: attributes.set & !ACCESS_TIMES,
        ..Attributes::default()
    };
    mount::set_attributes(tree.as_fd(), true, &change)?;
    Ok(tree)
}

fn attach(tree: &OwnedFd, place: &OwnedFd, mount: &Mount) -> Result<Option<OwnedFd>, Error> {
    proc_stays(tree, place, mount)?;
    mount::attach(tree.as_fd(), place.as_fd())
        .step(|| format!("mount src={}, dst={}", mount.source, mount.destination))?;
    Ok(None)
}

/// What may be covered in `/proc`: files that only inform about the machine (lxcfs does so).
const INFORMING: [&str; 11] = [
    "/proc/cpuinfo",
    "/proc/diskstats",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/swaps",
    "/proc/uptime",
    "/proc/loadavg",
    "/proc/slabinfo",
    "/proc/net/dev",
    "/proc/sys/kernel/ns_last_pid",
    "/proc/sys/crypto/fips_enabled",
];

/// `PROC_SUPER_MAGIC` of statfs(2).
const PROCFS: u32 = 0x9fa0;

/// Refuses to cover procfs: what is written to it and hidden in it must be the real one's
/// (CVE-2019-16884). An image can ask for such a mount by declaring a volume.
fn proc_stays(tree: &OwnedFd, place: &OwnedFd, mount: &Mount) -> Result<(), Error> {
    let is_procfs = |file: &OwnedFd| {
        let kind = rustix::fs::fstatfs(file).step(|| "statfs a mount")?.f_type;
        Ok::<_, Error>(u32::try_from(kind) == Ok(PROCFS))
    };
    let destination = plain(&mount.destination);
    if destination == Path::new("/proc") {
        return if is_procfs(tree)? {
            Ok(())
        } else {
            Err(said(format!(
                "{:?} cannot be mounted because it is not of type proc",
                mount.destination
            )))
        };
    }
    // By its path, or because a link leads there.
    let inside = destination.starts_with("/proc") || is_procfs(place)? && !is_procfs(tree)?;
    if !inside || INFORMING.iter().any(|file| destination == Path::new(file)) {
        return Ok(());
    }
    Err(said(format!(
        "{:?} cannot be mounted because it is inside /proc",
        mount.destination
    )))
}

/// A path without `.` and `..`, as text.
fn plain(path: &str) -> PathBuf {
    let mut plain = PathBuf::from("/");
    for component in Path::new(path).components() {
        match component {
            Component::Normal(name) => plain.push(name),
            Component::ParentDir => {
                plain.pop();
            }
            _ => {}
        }
    }
    plain
}

fn set_id_map(tree: &OwnedFd, options: &Options, id_map: Option<&OwnedFd>) -> Result<(), Error> {
    let Some(namespace) = id_map else {
        return Ok(());
    };
    let change = Attributes {
        set: u64::from(MountAttrFlags::MOUNT_ATTR_IDMAP.bits()),
        user_namespace: u64::try_from(namespace.as_raw_fd()).step(|| "name the user namespace")?,
        ..Attributes::default()
    };
    let recursive = options.id_map == Some(true);
    mount::set_attributes(tree.as_fd(), recursive, &change)
        .step(|| "failed to set MOUNT_ATTR_IDMAP")
}

/// The attributes of the mount, of its tree, and its propagation.
fn set(tree: &OwnedFd, options: &Options, attributes: Attributes) -> Result<(), Error> {
    let changes = [(attributes, false), (options.recursive_attributes, true)];
    for (change, recursive) in changes {
        if change != Attributes::default() {
            mount::set_attributes(tree.as_fd(), recursive, &change)
                .step(|| "set the mount's attributes")?;
        }
    }
    for (propagation, recursive) in &options.propagation {
        let change = Attributes {
            propagation: *propagation,
            ..Attributes::default()
        };
        mount::set_attributes(tree.as_fd(), *recursive, &change)
            .step(|| "set the mount's propagation")?;
    }
    Ok(())
}

/// Whether a path is the destination of a bind mount that brings its own `/dev`.
pub(super) fn is_bound(mounts: &[Mount], destination: &str) -> bool {
    mounts.iter().any(|mount| {
        let options = Options::parse(&mount.options);
        Path::new(&mount.destination) == Path::new(destination)
            && (options.bind || mount.kind == "bind")
    })
}
