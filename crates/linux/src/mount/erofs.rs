//! EROFS file systems that lie in files.

use super::new_file_system;
use rustix::fd::OwnedFd;
use rustix::mount::MountAttrFlags;
use std::io;
use std::path::Path;

/// The file system whose names are in the file `index` and whose data are in the file `data`,
/// read-only and not attached anywhere: [`super::attach_at`] does that. Neither set-id bits nor devices
/// count in it; in an overlay above it they do. `filesystems/erofs` of the kernel's documentation;
/// from files without a loop device since Linux 6.12.
///
/// # Errors
/// `ENODEV` where the kernel has no EROFS, `ENOTBLK` where it mounts it from block devices only,
/// `EINVAL` for an image it does not understand or a file system (an overlay) that files cannot be
/// mounted from, `EPERM`.
pub fn erofs(index: &Path, data: &Path) -> io::Result<OwnedFd> {
    let text = |path: &Path| {
        let known = path.to_str().map(str::to_owned);
        known.ok_or_else(|| io::Error::other("a path that is not UTF-8"))
    };
    let attributes = MountAttrFlags::MOUNT_ATTR_RDONLY
        | MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOATIME;
    let device = format!("device={}", text(data)?);
    let options = ["ro", device.as_str()];
    new_file_system(
        "erofs",
        &text(index)?,
        options.into_iter(),
        attributes.bits().into(),
    )
}
