//! The container's own view of its control groups: bind mounts of its own directories, nothing above.

use super::First;
use super::rootfs::inside;
use crate::error::{Error, Step as _};
use hull_linux::mount::{self, Attributes, Options};
use hull_linux::path::Root;
use hull_spec::runtime::Mount;
use rustix::fd::{AsFd as _, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::mount::MountAttrFlags;
use std::path::Path;

/// Mounts it. With a cgroup namespace the directories look like roots; without one they are the same.
pub(super) fn make(
    first: &First<'_>,
    root: &Root,
    mount: &Mount,
    options: &Options,
) -> Result<Option<OwnedFd>, Error> {
    let Some(group) = first.cgroup else {
        return Ok(None);
    };
    let path = inside(&mount.destination);
    if group.layout().is_v2() {
        for directory in group.directories() {
            let place = root
                .ensure_directory(&path, 0o755)
                .step(|| format!("mkdir {}", path.display()))?;
            bind(&directory, &place, options.attributes)?;
        }
        return Ok(None);
    }
    let place = root
        .ensure_directory(&path, 0o755)
        .step(|| "make the mount point")?;
    let attributes = options.attributes.set & !READ_ONLY | SAFE;
    let tmpfs = mount::new_file_system("tmpfs", "tmpfs", ["mode=755"].into_iter(), attributes)
        .step(|| "mount a tmpfs for the hierarchies")?;
    mount::attach(tmpfs.as_fd(), place.as_fd()).step(|| "mount a tmpfs for the hierarchies")?;
    // In a namespace of its own a hierarchy is the container's, with what becomes a cgroup file system.
    let own = first.namespaces.has_cgroup();
    let shown = Attributes {
        set: options.attributes.set | if own { SAFE } else { 0 },
        ..options.attributes
    };
    // From here on by descriptor: what the path leads to a moment later does not matter.
    for (hierarchy, directory) in group.layout().hierarchies().iter().zip(group.directories()) {
        let name = hierarchy.name();
        bind(&directory, &new_directory(&tmpfs, &name)?, shown)?;
        for controller in hierarchy
            .controllers
            .iter()
            .filter(|controller| **controller != name)
        {
            rustix::fs::symlinkat(&name, &tmpfs, controller)
                .step(|| format!("link {controller}"))?;
        }
    }
    if options.read_only() {
        let change = Attributes {
            set: READ_ONLY,
            ..Attributes::default()
        };
        mount::set_attributes(tmpfs.as_fd(), false, &change).step(|| "remount readonly")?;
    }
    Ok(None)
}

/// Nothing on these is ever a program, a device or to be run as somebody else.
const SAFE: u64 = (MountAttrFlags::MOUNT_ATTR_NOSUID.bits()
    | MountAttrFlags::MOUNT_ATTR_NODEV.bits()
    | MountAttrFlags::MOUNT_ATTR_NOEXEC.bits()) as u64;
const READ_ONLY: u64 = MountAttrFlags::MOUNT_ATTR_RDONLY.bits() as u64;

/// A directory of a file system nothing else has been in.
fn new_directory(parent: &OwnedFd, name: &str) -> Result<OwnedFd, Error> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o755))
        .and_then(|()| rustix::fs::openat(parent, name, flags, Mode::empty()))
        .step(|| format!("mkdir {name}"))
}

fn bind(source: &Path, place: &OwnedFd, attributes: Attributes) -> Result<(), Error> {
    let tree =
        mount::clone_tree(CWD, source, false).step(|| format!("open {}", source.display()))?;
    mount::set_attributes(tree.as_fd(), false, &attributes)
        .step(|| "set the mount's attributes")?;
    mount::attach(tree.as_fd(), place.as_fd()).step(|| format!("mount {}", source.display()))
}
