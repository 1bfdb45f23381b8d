//! Extended attributes (xattr(7)) of open files, and of entries of open directories without
//! following symbolic links.

use rustix::fs::XattrFlags;
use rustix::io::Errno;
use std::os::fd::{AsFd, AsRawFd as _};

/// Sets an attribute of an open file or directory, whether it exists already or not
/// (fsetxattr(2), Linux 2.4). The descriptor must not be an `O_PATH` one.
///
/// # Errors
/// `EOPNOTSUPP` where the file system or kind of file has no such attributes, `EPERM` without the
/// privilege for its name space, `ENOSPC`, `ERANGE` for a name of more than 255 bytes.
pub fn set(file: impl AsFd, name: &[u8], value: &[u8]) -> Result<(), Errno> {
    rustix::fs::fsetxattr(file, name, value, XattrFlags::empty())
}

/// Reads an attribute of an open file or directory; `None` when it has none of that name
/// (fgetxattr(2), Linux 2.4).
///
/// # Errors
/// `EOPNOTSUPP` where the file system has no such attributes.
pub fn get(file: impl AsFd, name: &[u8]) -> Result<Option<Vec<u8>>, Errno> {
    let file = file.as_fd();
    present(grow(|buffer| rustix::fs::fgetxattr(file, name, buffer)))
}

/// The names of all attributes that the caller may see (flistxattr(2), Linux 2.4).
///
/// # Errors
/// `EOPNOTSUPP` where the file system has no extended attributes.
pub fn list(file: impl AsFd) -> Result<Vec<Vec<u8>>, Errno> {
    let file = file.as_fd();
    let names = grow(|buffer| rustix::fs::flistxattr(file, buffer))?;
    Ok(split_names(&names))
}

/// Sets an attribute of the entry `name` of a directory, be it a symbolic link, a device or
/// anything else that must not be opened. Goes through `/proc/self/fd` (lsetxattr(2), Linux 2.4):
/// setxattrat(2) came only with Linux 6.13.
///
/// # Errors
/// As [`set`]; `ENOENT` also where `/proc` is not mounted.
pub fn set_at(
    directory: impl AsFd,
    name: &[u8],
    attribute: &[u8],
    value: &[u8],
) -> Result<(), Errno> {
    let path = entry_path(directory, name);
    rustix::fs::lsetxattr(path.as_slice(), attribute, value, XattrFlags::empty())
}

/// Reads an attribute of an entry of a directory; `None` when it has none of that name
/// (lgetxattr(2), Linux 2.4, through `/proc/self/fd`).
///
/// # Errors
/// As [`get`]; `ENOENT` also where `/proc` is not mounted.
pub fn get_at(
    directory: impl AsFd,
    name: &[u8],
    attribute: &[u8],
) -> Result<Option<Vec<u8>>, Errno> {
    let path = entry_path(directory, name);
    present(grow(|buffer| {
        rustix::fs::lgetxattr(path.as_slice(), attribute, buffer)
    }))
}

/// The names of all attributes of an entry of a directory (llistxattr(2), Linux 2.4, through
/// `/proc/self/fd`).
///
/// # Errors
/// As [`list`]; `ENOENT` also where `/proc` is not mounted.
pub fn list_at(directory: impl AsFd, name: &[u8]) -> Result<Vec<Vec<u8>>, Errno> {
    let path = entry_path(directory, name);
    let names = grow(|buffer| rustix::fs::llistxattr(path.as_slice(), buffer))?;
    Ok(split_names(&names))
}

fn entry_path(directory: impl AsFd, name: &[u8]) -> Vec<u8> {
    let directory = directory.as_fd().as_raw_fd();
    let mut path = format!("/proc/self/fd/{directory}/").into_bytes();
    path.extend_from_slice(name);
    path
}

fn split_names(names: &[u8]) -> Vec<Vec<u8>> {
    names
        .split(|byte| *byte == 0)
        .filter(|name| !name.is_empty())
        .map(<[u8]>::to_vec)
        .collect()
}

fn present(value: Result<Vec<u8>, Errno>) -> Result<Option<Vec<u8>>, Errno> {
    match value {
        Ok(value) => Ok(Some(value)),
        Err(Errno::NODATA) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Calls `read` with ever larger buffers, up to the kernel's own limit of 64 KiB, until the value fits.
fn grow(mut read: impl FnMut(&mut [u8]) -> Result<usize, Errno>) -> Result<Vec<u8>, Errno> {
    let mut buffer = vec![0; 256];
    loop {
        match read(&mut buffer) {
            Ok(length) => {
                buffer.truncate(length);
                return Ok(buffer);
            }
            Err(Errno::RANGE) if buffer.len() < 65_536 => {
                let larger = buffer.len() * 4;
                buffer.resize(larger, 0);
            }
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn attributes_come_back() {
        let dir = tempfile::tempdir().unwrap();
        let file = tempfile::NamedTempFile::new_in(dir.path()).unwrap();
        let long = vec![7; 3000];
        match set(file.as_file(), b"user.long", &long) {
            Err(Errno::OPNOTSUPP) => {
                println!("skipped: no user attributes here");
                return;
            }
            other => other.unwrap(),
        }
        assert_eq!(get(file.as_file(), b"user.long").unwrap(), Some(long));
        assert_eq!(get(file.as_file(), b"user.none").unwrap(), None);
        assert!(
            list(file.as_file())
                .unwrap()
                .contains(&b"user.long".to_vec())
        );
    }

    #[test]
    fn links_are_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let target = tempfile::NamedTempFile::new_in(dir.path()).unwrap();
        symlink(target.path(), dir.path().join("link")).unwrap();
        let directory = rustix::fs::open(
            dir.path(),
            rustix::fs::OFlags::DIRECTORY,
            rustix::fs::Mode::empty(),
        )
        .unwrap();
        // User attributes are refused on links; were it followed, this would succeed.
        assert!(set_at(&directory, b"link", b"user.x", b"1").is_err());
        assert_eq!(list(target.as_file()).unwrap(), Vec::<Vec<u8>>::new());
        match set_at(&directory, b"link", b"trusted.x", b"1") {
            Err(error) => println!("skipped: trusted attributes: {error}"),
            Ok(()) => {
                assert_eq!(
                    get_at(&directory, b"link", b"trusted.x").unwrap(),
                    Some(b"1".to_vec())
                );
                assert_eq!(
                    list_at(&directory, b"link").unwrap(),
                    [b"trusted.x".to_vec()]
                );
            }
        }
    }
}
