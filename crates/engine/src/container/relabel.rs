//! `:z` and `:Z`: what a container mounts gets the label that SELinux lets it use. Without SELinux nothing
//! is done, as in dockerd.

use super::MountPoint;
use crate::{Error, ErrorKind, Result};
use hull_linux::xattr;
use rustix::fd::{AsFd as _, OwnedFd};
use rustix::fs::{Dir, FileType, Mode, OFlags};
use rustix::io::Errno;
use std::path::Path;

/// Where the kernel shows that SELinux is on.
const SELINUX: &str = "/sys/fs/selinux/enforce";
/// The attribute that holds a file's label.
const ATTRIBUTE: &[u8] = b"security.selinux";
/// What every container may use (container-selinux's policy).
const SHARED: &str = "system_u:object_r:container_file_t:s0";

/// Labels a mount's source if its mode says so; `own` is the label of this container's files alone.
pub(super) fn relabel(point: &MountPoint, own: &str) -> Result<()> {
    let words = || point.mode.split(',');
    let alone = words().any(|word| word == "Z");
    let wanted = alone || words().any(|word| word == "z");
    let labelled = matches!(point.kind.as_str(), "bind" | "volume");
    if !wanted || !labelled || !Path::new(SELINUX).exists() {
        return Ok(());
    }
    let label = if alone && !own.is_empty() {
        own
    } else {
        SHARED
    };
    let failed = |error: Errno| {
        let text = format!("error setting label on mount source '{}'", point.source);
        Error::new(ErrorKind::Internal, text).caused_by(error)
    };
    if ["/", "/usr", "/etc", "/home", "/root", "/tmp"].contains(&point.source.as_str()) {
        let text = format!(
            "error setting label on mount source '{0}': SELinux relabeling of {0} is not allowed",
            point.source
        );
        return Err(Error::new(ErrorKind::Internal, text));
    }
    label_tree(Path::new(&point.source), ATTRIBUTE, label.as_bytes()).map_err(failed)
}

/// Sets an attribute of everything in a tree. No link is followed below its top; what a file system
/// cannot label is left out.
fn label_tree(top: &Path, attribute: &[u8], label: &[u8]) -> Result<(), Errno> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let top = rustix::fs::open(top, flags, Mode::empty())?;
    tolerate(xattr::set(&top, attribute, label))?;
    let stat = rustix::fs::fstat(&top)?;
    let mut pending: Vec<OwnedFd> = Vec::new();
    if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
        pending.push(top);
    }
    while let Some(directory) = pending.pop() {
        let mut entries = Dir::read_from(&directory)?;
        while let Some(entry) = entries.read() {
            let entry = entry?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            tolerate(xattr::set_at(
                directory.as_fd(),
                name.to_bytes(),
                attribute,
                label,
            ))?;
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            match rustix::fs::openat(&directory, name, flags, Mode::empty()) {
                Ok(inner) => pending.push(inner),
                Err(Errno::NOTDIR | Errno::LOOP | Errno::NOENT) => {}
                Err(error) => return Err(error),
            }
        }
    }
    Ok(())
}

fn tolerate(set: Result<(), Errno>) -> Result<(), Errno> {
    match set {
        Err(Errno::OPNOTSUPP | Errno::ROFS | Errno::NOENT) => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With an attribute that needs no SELinux.
    #[test]
    fn everything_in_a_tree_is_labelled_and_nothing_outside() {
        let dir = tempfile::tempdir().unwrap();
        let (tree, outside) = (dir.path().join("tree"), dir.path().join("outside"));
        fs_err::create_dir_all(tree.join("a/b")).unwrap();
        fs_err::write(tree.join("a/b/file"), "").unwrap();
        fs_err::create_dir(&outside).unwrap();
        std::os::unix::fs::symlink(&outside, tree.join("link")).unwrap();
        let name = b"trusted.hull-test";
        let of = |path: &Path| {
            let file = fs_err::File::open(path).unwrap();
            xattr::get(&file, name).unwrap_or_default()
        };
        match label_tree(&tree, name, b"label") {
            Err(Errno::PERM) => return,
            other => other.unwrap(),
        }
        if of(&tree).is_none() {
            eprintln!("skipped: no such attributes here");
            return;
        }
        for path in [tree.join("a"), tree.join("a/b"), tree.join("a/b/file")] {
            assert_eq!(
                of(&path).as_deref(),
                Some(&b"label"[..]),
                "{}",
                path.display()
            );
        }
        assert_eq!(of(&outside), None);
    }
}
