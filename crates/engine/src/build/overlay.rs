//! A writable overlay that nobody else sees and that hangs nowhere.

use hull_linux::mount::{apart, clone_tree};
use hull_spec::rootfs::RootFs;
use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_flag,
    fsconfig_set_string, fsmount, fsopen,
};
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// Features that some kernels have on by default, by which an upper directory refers to what is below: nobody
/// could make a layer of that.
const REFERENCES: [&str; 2] = ["redirect_dir", "metacopy"];

/// Mounts directories, the topmost first, with `upper` above them. The mount goes with the descriptor. Its end does
/// not bring files to the disk (`volatile`): what steps wrote counts only until the host goes down, or until it is
/// synced for all at once.
///
/// # Errors
/// `EPERM` without privilege, and those of path lookup.
pub(super) fn overlay(
    lower: &[PathBuf],
    (upper, work): (&Path, &Path),
    scratch: &Path,
) -> io::Result<OwnedFd> {
    // The mark of the volatile mount before this one (the step's process), by which the kernel refuses another.
    match fs_err::remove_dir_all(work.join("work/incompat")) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    match by_context(lower, upper, work) {
        // `lowerdir+` came with Linux 6.8.
        Err(Errno::INVAL | Errno::NOSYS) => by_mount(lower, (upper, work), scratch),
        result => Ok(result?),
    }
}

fn by_context(lower: &[PathBuf], upper: &Path, work: &Path) -> rustix::io::Result<OwnedFd> {
    let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    for directory in lower {
        fsconfig_set_string(&context, "lowerdir+", directory)?;
    }
    fsconfig_set_string(&context, "upperdir", upper)?;
    fsconfig_set_string(&context, "workdir", work)?;
    fsconfig_set_flag(&context, "volatile")?;
    for feature in REFERENCES {
        fsconfig_set_string(&context, feature, "off")?;
    }
    fsconfig_create(&context)?;
    fsmount(
        &context,
        FsMountFlags::FSMOUNT_CLOEXEC,
        // Devices that strangers made are nobody's to open here.
        MountAttrFlags::MOUNT_ATTR_NODEV,
    )
}

/// As containers' roots are mounted, in a mount namespace for it, at a directory of ours.
fn by_mount(
    lower: &[PathBuf],
    (upper, work): (&Path, &Path),
    scratch: &Path,
) -> io::Result<OwnedFd> {
    let root = RootFs::Overlay {
        lower: lower.to_vec(),
        upper: Some(upper.to_owned()),
        work: Some(work.to_owned()),
        volatile: true,
    };
    fs_err::create_dir_all(scratch)?;
    apart(None, || {
        hull_shim::mount_root(&root, scratch)?;
        clone_tree(CWD, scratch, false)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd as _;

    #[test]
    fn both_ways_write_above() {
        for way in [false, true] {
            let dir = tempfile::tempdir().unwrap();
            let path = |name: &str| dir.path().join(name);
            for name in ["a", "upper", "work"] {
                fs_err::create_dir(path(name)).unwrap();
            }
            fs_err::write(path("a/x"), "a").unwrap();
            let (lower, upper, work) = ([path("a")], path("upper"), path("work"));
            let root = match way {
                true => by_mount(&lower, (&upper, &work), &path("scratch")),
                false => by_context(&lower, &upper, &work).map_err(io::Error::from),
            };
            let Ok(root) = root else {
                continue;
            };
            let at =
                |name: &str| PathBuf::from(format!("/proc/self/fd/{}/{name}", root.as_raw_fd()));
            fs_err::write(at("y"), "new").unwrap();
            fs_err::remove_file(at("x")).unwrap();
            assert_eq!(fs_err::read_to_string(path("upper/y")).unwrap(), "new");
            assert!(path("a/x").exists() && !at("x").exists());
        }
    }
}
