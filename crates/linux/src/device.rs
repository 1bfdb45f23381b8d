//! Device nodes.

use rustix::fd::BorrowedFd;
use rustix::fs::{AtFlags, FileType, Gid, Mode, Uid, chownat, makedev, mknodat};
use std::ffi::OsStr;
use std::io;

/// A device node to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Node {
    /// Character or block device, or FIFO.
    pub kind: FileType,
    /// Major number.
    pub major: u32,
    /// Minor number.
    pub minor: u32,
    /// Permission bits.
    pub mode: u32,
    /// Owner, as the calling process sees it.
    pub uid: u32,
    /// Group.
    pub gid: u32,
}

/// The nodes every container has in `/dev` (runtime-spec, "Default Devices"), all of major and minor below.
pub const DEFAULT: [(&str, u32, u32); 6] = [
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
];

/// Makes a node in a directory. One that exists already with the same numbers is left as it is. mknodat(2).
///
/// # Errors
/// `EPERM` in a user namespace, `EEXIST` when something else has the name.
pub fn make(directory: BorrowedFd<'_>, name: &OsStr, node: &Node) -> io::Result<()> {
    let device = if node.kind == FileType::Fifo {
        0
    } else {
        makedev(node.major, node.minor)
    };
    match mknodat(
        directory,
        name,
        node.kind,
        Mode::from_raw_mode(node.mode),
        device,
    ) {
        Ok(()) => {}
        Err(rustix::io::Errno::EXIST) => {
            let stat = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
            let same = FileType::from_raw_mode(stat.st_mode) == node.kind && stat.st_rdev == device;
            return if same {
                Ok(())
            } else {
                Err(rustix::io::Errno::EXIST.into())
            };
        }
        Err(error) => return Err(error.into()),
    }
    if (node.uid, node.gid) != (0, 0) {
        let (uid, gid) = (Uid::from_raw(node.uid), Gid::from_raw(node.gid));
        chownat(
            directory,
            name,
            Some(uid),
            Some(gid),
            AtFlags::SYMLINK_NOFOLLOW,
        )?;
    }
    Ok(())
}

/// Whether a descriptor is the device that `node` describes, by kind and numbers.
///
/// # Errors
/// Those of fstat(2).
pub fn is(file: BorrowedFd<'_>, node: &Node) -> io::Result<bool> {
    let stat = rustix::fs::fstat(file)?;
    Ok(FileType::from_raw_mode(stat.st_mode) == node.kind
        && (node.kind == FileType::Fifo || stat.st_rdev == makedev(node.major, node.minor)))
}

/// Whether a descriptor is the null device and nothing that only looks like it (CVE-2025-31133).
///
/// # Errors
/// Those of fstat(2).
pub fn is_null(file: BorrowedFd<'_>) -> io::Result<bool> {
    let stat = rustix::fs::fstat(file)?;
    Ok(
        FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice
            && stat.st_rdev == makedev(1, 3),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fd::AsFd;

    #[test]
    fn only_the_null_device_is_null() {
        let null =
            rustix::fs::open("/dev/null", rustix::fs::OFlags::PATH, Mode::empty()).expect("opened");
        let zero =
            rustix::fs::open("/dev/zero", rustix::fs::OFlags::PATH, Mode::empty()).expect("opened");
        assert!(is_null(null.as_fd()).expect("stat"));
        assert!(!is_null(zero.as_fd()).expect("stat"));
    }
}
