//! Bind mounts: a part of the host's tree is mounted again.

use super::{attach, set};
use crate::error::{Error, Step as _, said};
use crate::init::rootfs::inside;
use crate::init::{Common, First};
use hull_linux::mount::{self, Attributes, Options};
use hull_linux::path::Root;
use hull_spec::runtime::Mount;
use rustix::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use rustix::fs::{CWD, FileType};
use rustix::mount::MountAttrFlags;
use std::io::ErrorKind;
use std::path::Path;

/// A copy of the part of the host's tree that is to be mounted, made here or by the runtime.
pub(super) fn source(
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
pub(super) fn make(
    common: &Common<'_>,
    tree: &OwnedFd,
    root: &Root,
    mount: &Mount,
    options: &Options,
) -> Result<Option<OwnedFd>, Error> {
    if options.has_attributes {
        set_attributes(tree, options, common.has_user)
            .step(|| "failed to set user-requested vfs flags on bind-mount")?;
    }
    set(tree, options)?;
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

/// Sets the ids of a tree that is mounted nowhere: where they are mapped to is the namespace's own map.
/// mount_setattr(2), kernel 5.12; by far not every file system takes part.
pub(crate) fn set_id_map(
    tree: &OwnedFd,
    mount: &Mount,
    options: &Options,
    namespace: BorrowedFd<'_>,
) -> Result<(), Error> {
    let change = Attributes {
        set: u64::from(MountAttrFlags::MOUNT_ATTR_IDMAP.bits()),
        user_namespace: u64::try_from(namespace.as_raw_fd()).step(|| "name the user namespace")?,
        ..Attributes::default()
    };
    let recursive = options.id_map == Some(true);
    let set = mount::set_attributes(tree.as_fd(), recursive, &change);
    let set = match set {
        Err(error) if error.raw_os_error() == Some(EINVAL) => Err(said(
            "invalid argument (maybe the filesystem used doesn't support idmap mounts on this kernel?)",
        )),
        other => other.step(|| "mount_setattr"),
    };
    set.step(|| format!("failed to set MOUNT_ATTR_IDMAP on {}", mount.source))
}

const EINVAL: i32 = rustix::io::Errno::INVAL.raw_os_error();

/// Sets what was asked for and nothing else; for a user namespace, the source's attributes stay, as if
/// locked (mount_namespaces(7)), also where the runtime opened it.
fn set_attributes(tree: &OwnedFd, options: &Options, has_user: bool) -> std::io::Result<()> {
    if !has_user {
        match mount::set_attributes(tree.as_fd(), false, &options.exact()) {
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {}
            other => return other,
        }
    }
    mount::set_attributes(tree.as_fd(), false, &options.added())
}
