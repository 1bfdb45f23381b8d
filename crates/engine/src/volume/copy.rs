//! What an image has where a new volume is mounted is copied into the volume, as it is: owners, modes,
//! times, extended attributes, links, devices.
//!
//! Both sides are walked by descriptors and no link is followed below the two roots: the image is a
//! stranger's, and so may be what somebody puts into the volume meanwhile.

use hull_linux::path::Root;
use hull_linux::xattr;
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{
    AtFlags, Dir, FileType, Gid, Mode, OFlags, Stat, Timespec, Timestamps, UTIME_OMIT, Uid,
};
use rustix::io::Errno;
use std::collections::HashMap;
use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::path::Path;

const SAFE: OFlags = OFlags::NOFOLLOW
    .union(OFlags::CLOEXEC)
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY);
const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(SAFE);

/// As deep as directories are copied: as many as a path can name, so that descriptors suffice.
const MAX_DEPTH: u32 = 1024;

/// What was found where a volume is to be mounted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Nothing, or the volume holds something already: nothing was copied.
    Nothing,
    /// All of it was copied.
    Copied,
    /// Something that is no directory.
    NoDirectory,
}

/// Copies what `image` has at `path`, a path of the container's, into a volume that is empty.
///
/// # Errors
/// Failures of the file systems.
pub(crate) fn populate(image: BorrowedFd<'_>, path: &Path, volume: &Path) -> io::Result<Outcome> {
    let root = Root::from_directory(image.try_clone_to_owned()?);
    let found = match root.open_at(path, OFlags::PATH) {
        Ok(found) => found,
        Err(error) if is_missing(&error) => return Ok(Outcome::Nothing),
        Err(error) => return Err(error),
    };
    let stat = rustix::fs::fstat(&found)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
        return Ok(Outcome::NoDirectory);
    }
    let into = rustix::fs::open(volume, DIRECTORY, Mode::empty())?;
    if !is_empty(&into)? {
        return Ok(Outcome::Nothing);
    }
    let from = rustix::fs::openat(&found, ".", DIRECTORY, Mode::empty())?;
    let mut copy = Copy::default();
    copy.directory(from.as_fd(), into.as_fd(), 0)?;
    attributes(&from, &into, &stat)?;
    Ok(Outcome::Copied)
}

/// Whether `image` has a directory at `path`.
pub(crate) fn is_directory(image: BorrowedFd<'_>, path: &Path) -> bool {
    let root = image.try_clone_to_owned().map(Root::from_directory);
    root.is_ok_and(|root| root.open_at(path, OFlags::PATH | OFlags::DIRECTORY).is_ok())
}

fn is_missing(error: &io::Error) -> bool {
    // A file where a directory should be has nothing below it.
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

fn is_empty(directory: &OwnedFd) -> io::Result<bool> {
    let mut entries = Dir::read_from(directory)?;
    while let Some(entry) = entries.read() {
        if !matches!(entry?.file_name().to_bytes(), b"." | b"..") {
            return Ok(false);
        }
    }
    Ok(true)
}

/// A copy under way.
#[derive(Default)]
struct Copy {
    /// Files with several names: device and number, and a copy to link to.
    linked: HashMap<(u64, u64), OwnedFd>,
}

impl Copy {
    fn directory(
        &mut self,
        from: BorrowedFd<'_>,
        into: BorrowedFd<'_>,
        depth: u32,
    ) -> io::Result<()> {
        if depth == MAX_DEPTH {
            return Err(Errno::NAMETOOLONG.into());
        }
        let mut entries = Dir::read_from(from)?;
        while let Some(entry) = entries.read() {
            let entry = entry?;
            let name = entry.file_name();
            if !matches!(name.to_bytes(), b"." | b"..") {
                self.entry(from, into, name, depth)?;
            }
        }
        Ok(())
    }

    fn entry(
        &mut self,
        from: BorrowedFd<'_>,
        into: BorrowedFd<'_>,
        name: &CStr,
        depth: u32,
    ) -> io::Result<()> {
        let stat = rustix::fs::statat(from, name, AtFlags::SYMLINK_NOFOLLOW)?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                match rustix::fs::mkdirat(into, name, Mode::RWXU) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(error) => return Err(error.into()),
                }
                let inner = rustix::fs::openat(from, name, DIRECTORY, Mode::empty())?;
                let target = rustix::fs::openat(into, name, DIRECTORY, Mode::empty())?;
                self.directory(inner.as_fd(), target.as_fd(), depth + 1)?;
                attributes(&inner, &target, &stat)
            }
            FileType::RegularFile => self.file(from, into, name, &stat),
            kind => special(from, into, name, &stat, kind),
        }
    }

    fn file(
        &mut self,
        from: BorrowedFd<'_>,
        into: BorrowedFd<'_>,
        name: &CStr,
        stat: &Stat,
    ) -> io::Result<()> {
        let key = (stat.st_dev, stat.st_ino);
        if let Some(copied) = self.linked.get(&key).filter(|_| stat.st_nlink > 1) {
            let own = format!("/proc/self/fd/{}", rustix::fd::AsRawFd::as_raw_fd(copied));
            let linked =
                rustix::fs::linkat(rustix::fs::CWD, own, into, name, AtFlags::SYMLINK_FOLLOW);
            return Ok(linked?);
        }
        let source = rustix::fs::openat(from, name, OFlags::RDONLY | SAFE, Mode::empty())?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | SAFE;
        let target = rustix::fs::openat(into, name, flags, Mode::RUSR | Mode::WUSR)?;
        let (source, mut target) = (File::from(source), File::from(target));
        io::copy(&mut &source, &mut target)?;
        attributes(&source, &target, stat)?;
        if stat.st_nlink > 1 {
            self.linked.insert(key, target.into());
        }
        Ok(())
    }
}

/// Links, devices, pipes; sockets are nothing without who listens.
fn special(
    from: BorrowedFd<'_>,
    into: BorrowedFd<'_>,
    name: &CStr,
    stat: &Stat,
    kind: FileType,
) -> io::Result<()> {
    let mode = Mode::from_raw_mode(stat.st_mode);
    match kind {
        FileType::Symlink => {
            let link = rustix::fs::readlinkat(from, name, Vec::new())?;
            rustix::fs::symlinkat(&link, into, name)?;
        }
        FileType::Socket => return Ok(()),
        _ => rustix::fs::mknodat(into, name, kind, mode, stat.st_rdev)?,
    }
    let (uid, gid) = owner(stat);
    rustix::fs::chownat(into, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)?;
    if kind != FileType::Symlink {
        rustix::fs::chmodat(into, name, mode, AtFlags::empty())?;
    }
    for attribute in xattr::list_at(from, name.to_bytes()).unwrap_or_default() {
        if copied(&attribute)
            && let Ok(Some(value)) = xattr::get_at(from, name.to_bytes(), &attribute)
        {
            tolerate(xattr::set_at(into, name.to_bytes(), &attribute, &value))?;
        }
    }
    Ok(rustix::fs::utimensat(
        into,
        name,
        &times(stat),
        AtFlags::SYMLINK_NOFOLLOW,
    )?)
}

fn owner(stat: &Stat) -> (Option<Uid>, Option<Gid>) {
    (
        Some(Uid::from_raw(stat.st_uid)),
        Some(Gid::from_raw(stat.st_gid)),
    )
}

/// Owner, mode, attributes and time of something that is open. Changing the owner takes the set-id bits
/// and capabilities away: first things first.
fn attributes(from: impl AsFd, into: impl AsFd, stat: &Stat) -> io::Result<()> {
    let (uid, gid) = owner(stat);
    rustix::fs::fchown(&into, uid, gid)?;
    rustix::fs::fchmod(&into, Mode::from_raw_mode(stat.st_mode))?;
    for attribute in xattr::list(&from).unwrap_or_default() {
        if copied(&attribute)
            && let Ok(Some(value)) = xattr::get(&from, &attribute)
        {
            tolerate(xattr::set(&into, &attribute, &value))?;
        }
    }
    Ok(rustix::fs::futimens(&into, &times(stat))?)
}

/// overlayfs's own attributes mean something in its layers only.
fn copied(attribute: &[u8]) -> bool {
    !attribute.starts_with(b"trusted.overlay.") && attribute != b"security.selinux"
}

/// A file system without such attributes is no reason to have no files.
fn tolerate(set: Result<(), Errno>) -> io::Result<()> {
    match set {
        Ok(()) | Err(Errno::OPNOTSUPP | Errno::PERM) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn times(stat: &Stat) -> Timestamps {
    Timestamps {
        last_access: Timespec {
            tv_sec: 0,
            tv_nsec: UTIME_OMIT,
        },
        last_modification: Timespec {
            tv_sec: stat.st_mtime,
            tv_nsec: i64::try_from(stat.st_mtime_nsec).unwrap_or(0),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

    fn run(image: &Path, path: &str, volume: &Path) -> Outcome {
        let image = rustix::fs::open(image, DIRECTORY, Mode::empty()).unwrap();
        populate(image.as_fd(), Path::new(path), volume).unwrap()
    }

    #[test]
    fn everything_is_copied_as_it_is() {
        let (image, volume) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let data = image.path().join("data");
        fs_err::create_dir_all(data.join("inner")).unwrap();
        fs_err::write(data.join("inner/file"), "content").unwrap();
        fs_err::hard_link(data.join("inner/file"), data.join("again")).unwrap();
        symlink("/etc/passwd", data.join("link")).unwrap();
        let mode = |path: &Path, mode| {
            fs_err::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        mode(&data.join("inner/file"), 0o4711);
        mode(&data.join("inner"), 0o1777);
        mode(&data, 0o750);
        rustix::fs::mknodat(
            rustix::fs::CWD,
            data.join("pipe"),
            FileType::Fifo,
            Mode::RUSR,
            0,
        )
        .unwrap();
        let old = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1000);
        fs_err::File::open(data.join("inner/file"))
            .unwrap()
            .file()
            .set_modified(old)
            .unwrap();
        assert_eq!(run(image.path(), "/data", volume.path()), Outcome::Copied);
        let at = |name: &str| fs_err::symlink_metadata(volume.path().join(name)).unwrap();
        let file = at("inner/file");
        assert_eq!(
            (file.mode() & 0o7777, file.mtime(), file.nlink()),
            (0o4711, 1000, 2)
        );
        assert_eq!(file.ino(), at("again").ino());
        assert_eq!(at("inner").mode() & 0o7777, 0o1777);
        assert_eq!(
            fs_err::metadata(volume.path()).unwrap().mode() & 0o7777,
            0o750
        );
        assert!(at("link").is_symlink() && at("pipe").mode() & 0o170_000 == 0o010_000);
        // What is there stays.
        assert_eq!(run(image.path(), "/data", volume.path()), Outcome::Nothing);
    }

    #[test]
    fn links_of_the_image_end_in_the_image() {
        let (image, volume) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs_err::create_dir_all(image.path().join("etc")).unwrap();
        fs_err::write(image.path().join("etc/own"), "").unwrap();
        symlink("../../../../../../etc", image.path().join("data")).unwrap();
        assert_eq!(run(image.path(), "/data", volume.path()), Outcome::Copied);
        let names: Vec<_> = fs_err::read_dir(volume.path()).unwrap().collect();
        assert_eq!(names.len(), 1);
        assert!(volume.path().join("own").exists());
        let other = tempfile::tempdir().unwrap();
        for (path, outcome) in [
            ("/nothing", Outcome::Nothing),
            ("/etc/own", Outcome::NoDirectory),
            ("/etc/own/x", Outcome::Nothing),
        ] {
            assert_eq!(run(image.path(), path, other.path()), outcome, "{path}");
        }
    }
}
