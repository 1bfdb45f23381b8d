//! Paths nobody can read, and paths nobody can write.

use super::Common;
use super::rootfs::inside;
use crate::error::{Error, Step as _};
use hull_linux::mount::{self, Attributes};
use hull_linux::path::Root;
use rustix::fd::{AsFd as _, OwnedFd};
use rustix::fs::{FileType, OFlags};
use rustix::mount::MountAttrFlags;
use std::io::ErrorKind;
use std::path::Path;

/// Makes paths read-only, then hides paths. Those that do not exist need neither.
pub(super) fn all(common: &Common<'_>, root: &Root, null: OwnedFd) -> Result<(), Error> {
    let Some(linux) = &common.spec.linux else {
        return Ok(());
    };
    for path in &linux.readonly_paths {
        read_only(root, path).step(|| format!("can't make {path:?} read-only"))?;
    }
    let mut masks = Masks {
        null,
        null_used: false,
        empty: None,
    };
    for path in &linux.masked_paths {
        masks
            .hide(root, path)
            .step(|| format!("can't mask path {path:?}"))?;
    }
    Ok(())
}

const READ_ONLY: u64 = MountAttrFlags::MOUNT_ATTR_RDONLY.bits() as u64;

fn open(root: &Root, path: &str) -> Result<Option<OwnedFd>, Error> {
    match root.open_at(&inside(path), OFlags::PATH) {
        Ok(place) => Ok(Some(place)),
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            Ok(None)
        }
        Err(error) => Err(error).step(|| format!("open {path}")),
    }
}

/// A copy of what is there, with all below it, is made read-only and mounted over it.
fn read_only(root: &Root, path: &str) -> Result<(), Error> {
    let Some(place) = open(root, path)? else {
        return Ok(());
    };
    let tree = mount::clone_tree(place.as_fd(), Path::new(""), true).step(|| "copy the mount")?;
    let change = Attributes {
        set: READ_ONLY,
        ..Attributes::default()
    };
    mount::set_attributes(tree.as_fd(), true, &change).step(|| "remount readonly")?;
    mount::attach(tree.as_fd(), place.as_fd()).step(|| "mount")
}

/// What hides: the null device for files, an empty read-only file system for directories. One of each
/// is made; further places get copies of its mount.
struct Masks {
    null: OwnedFd,
    null_used: bool,
    empty: Option<OwnedFd>,
}

impl Masks {
    fn hide(&mut self, root: &Root, path: &str) -> Result<(), Error> {
        let Some(place) = open(root, path)? else {
            return Ok(());
        };
        let stat = rustix::fs::fstat(&place).step(|| "stat")?;
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            return self.hide_directory(&place);
        }
        if !self.null_used {
            self.null_used = true;
            return mount::attach(self.null.as_fd(), place.as_fd())
                .step(|| "mount the null device");
        }
        copy(&self.null, &place)
    }

    fn hide_directory(&mut self, place: &OwnedFd) -> Result<(), Error> {
        if let Some(empty) = &self.empty {
            return copy(empty, place);
        }
        let words = ["nr_blocks=1", "nr_inodes=1"].into_iter();
        let empty =
            mount::new_file_system("tmpfs", "tmpfs", words, READ_ONLY).step(|| "make a tmpfs")?;
        mount::attach(empty.as_fd(), place.as_fd()).step(|| "mount a tmpfs")?;
        self.empty = Some(empty);
        Ok(())
    }
}

fn copy(of: &OwnedFd, place: &OwnedFd) -> Result<(), Error> {
    let tree = mount::clone_tree(of.as_fd(), Path::new(""), false).step(|| "copy a mask")?;
    mount::attach(tree.as_fd(), place.as_fd()).step(|| "mount a mask")
}
