//! Several directories seen as one, as overlayfs merges them, without a place in the file system.

use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::io;
use std::path::PathBuf;

/// A merged, read-only tree. It is gone with this.
#[derive(Debug)]
pub struct View(OwnedFd);

impl View {
    /// Merges directories, the topmost first; `None` of no directory at all. A container's upper
    /// directory may be one of them.
    ///
    /// # Errors
    /// Failures of mounting.
    pub fn of(directories: &[PathBuf]) -> io::Result<Option<Self>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        match directories {
            [] => Ok(None),
            // overlayfs wants two at least, and one needs no merging.
            [only] => Ok(Some(Self(
                rustix::fs::open(only, flags, Mode::empty()).map_err(io::Error::from)?,
            ))),
            several => {
                let mount = hull_linux::mount::overlay_of(several.iter().map(PathBuf::as_path))?;
                let root: Result<OwnedFd, Errno> =
                    rustix::fs::openat(&mount, ".", flags, Mode::empty());
                Ok(Some(Self(root?)))
            }
        }
    }
}

impl AsFd for View {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
