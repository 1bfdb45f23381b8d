//! Files of our own, written so that nobody can lead them elsewhere or read them half written.

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use std::io::{self, Write as _};
use std::path::Path;

/// A file that appears with its content or not at all: written under a name of its own, `new`, which must
/// be in the same directory, then renamed. Where others may write, what lies at that name may be theirs:
/// it is removed, never opened.
pub(crate) fn replace(path: &Path, new: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    create_anew(new, content, mode)?;
    fs_err::rename(new, path)
}

/// A file in the place of what may be left of an earlier attempt.
pub(crate) fn create_anew(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    match create(path, content, mode) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            fs_err::remove_file(path)?;
            create(path, content, mode)
        }
        other => other,
    }
}

/// A file that was not there before.
pub(crate) fn create(path: &Path, content: &[u8], mode: u32) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = rustix::fs::openat(CWD, path, flags, Mode::from_raw_mode(mode))?;
    std::fs::File::from(file).write_all(content)
}

/// Whether a directory is at a path, which itself is no link.
pub(crate) fn is_directory(path: &Path) -> Result<bool, Errno> {
    match rustix::fs::lstat(path) {
        Ok(stat) => {
            let kind = rustix::fs::FileType::from_raw_mode(stat.st_mode);
            Ok(kind == rustix::fs::FileType::Directory)
        }
        Err(Errno::NOENT) => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    #[test]
    fn a_link_at_the_name_of_a_new_file_is_not_followed() {
        let dir = tempfile::tempdir().expect("a directory");
        let (path, new) = (dir.path().join("pid"), dir.path().join(".pid"));
        let victim = dir.path().join("victim");
        fs_err::write(&victim, "untouched").expect("written");
        symlink(&victim, &new).expect("made");
        replace(&path, &new, b"1", 0o600).expect("written");
        let text = |path| fs_err::read_to_string(path).expect("read");
        assert_eq!(
            (text(&victim), text(&path)),
            ("untouched".into(), "1".into())
        );
        let mode = fs_err::metadata(&path)
            .expect("looked at")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        create(&path, b"2", 0o600).expect_err("it is there already");
    }
}
