//! overlayfs over directories, detached: a merged tree to read, with no place in the file system.

use rustix::fd::{AsRawFd, OwnedFd};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, UnmountFlags, fsconfig_create,
    fsconfig_set_string, fsmount, fsopen,
};
use std::ffi::CString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Merges two directories or more, the topmost first, read-only (kernel documentation
/// `filesystems/overlayfs`). The mount goes with the descriptor; before Linux 6.8 it is made by
/// mounting on a directory in the temporary directory for a moment.
///
/// # Errors
/// `EPERM` without privilege, `EINVAL` for less than two directories, those of path lookup.
pub fn overlay_of<'a>(lower: impl Iterator<Item = &'a Path>) -> io::Result<OwnedFd> {
    let lower: Vec<&Path> = lower.collect();
    match by_context(&lower) {
        // `lowerdir+` came with Linux 6.8.
        Err(Errno::INVAL | Errno::NOSYS) => by_mount(&lower),
        result => Ok(result?),
    }
}

fn by_context(lower: &[&Path]) -> rustix::io::Result<OwnedFd> {
    let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    for directory in lower {
        fsconfig_set_string(&context, "lowerdir+", *directory)?;
    }
    fsconfig_create(&context)?;
    fsmount(
        &context,
        FsMountFlags::FSMOUNT_CLOEXEC,
        MountAttrFlags::MOUNT_ATTR_RDONLY,
    )
}

/// The number of the next directory to mount on.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// A new directory in the temporary directory, in which nobody else can do anything. Others may have
/// taken names there, by chance or on purpose.
fn make_place() -> io::Result<PathBuf> {
    for _ in 0..10_000 {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let place = std::env::temp_dir().join(format!("hull-view-{}-{number}", std::process::id()));
        match rustix::fs::mkdir(&place, Mode::RWXU) {
            Err(Errno::EXIST) => {}
            made => return Ok(made.map(|()| place)?),
        }
    }
    Err(Errno::EXIST.into())
}

/// Names the directories by descriptors: the options of mount(2) are at most a page.
fn by_mount(lower: &[&Path]) -> io::Result<OwnedFd> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut open = Vec::with_capacity(lower.len());
    let mut options = String::from("lowerdir=");
    for directory in lower {
        let directory = rustix::fs::open(*directory, flags, Mode::empty())?;
        if !open.is_empty() {
            options.push(':');
        }
        options.push_str(&format!("/proc/self/fd/{}", directory.as_raw_fd()));
        open.push(directory);
    }
    if options.len() >= 4096 {
        let text = "this kernel takes at most a page of layers: it needs Linux 6.8 for so many";
        return Err(io::Error::new(io::ErrorKind::Unsupported, text));
    }
    let place = make_place()?;
    let options = CString::new(options)?;
    let mounted = rustix::mount::mount(
        "overlay",
        &place,
        "overlay",
        MountFlags::RDONLY,
        Some(options.as_c_str()),
    );
    let root = mounted.and_then(|()| {
        let root = rustix::fs::open(
            &place,
            OFlags::RDONLY | flags.difference(OFlags::PATH),
            Mode::empty(),
        );
        rustix::mount::unmount(&place, UnmountFlags::DETACH)?;
        root
    });
    // Empty, and only a name that is left should this fail.
    let _ = rustix::fs::rmdir(&place);
    Ok(root?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taken_names_are_passed_over() {
        let next = NEXT.load(Ordering::Relaxed);
        let taken = (next..next + 3).map(|number| {
            std::env::temp_dir().join(format!("hull-view-{}-{number}", std::process::id()))
        });
        let taken: Vec<PathBuf> = taken.collect();
        let made: Vec<&PathBuf> = taken
            .iter()
            .filter(|t| std::fs::create_dir(t).is_ok())
            .collect();
        let place = make_place();
        for place in made {
            std::fs::remove_dir(place).unwrap();
        }
        let place = place.unwrap();
        std::fs::remove_dir(&place).unwrap();
        assert!(!taken.contains(&place));
    }

    #[test]
    fn both_ways_merge() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        for (directory, name) in [("a", "x"), ("b", "x"), ("b", "y")] {
            std::fs::create_dir_all(path(directory)).unwrap();
            std::fs::write(path(directory).join(name), directory).unwrap();
        }
        let lower = [path("a"), path("b")];
        let lower: Vec<&Path> = lower.iter().map(PathBuf::as_path).collect();
        let context = by_context(&lower).map_err(io::Error::from);
        for root in [context, by_mount(&lower)] {
            let root = match root {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    println!("skipped: cannot mount an overlay here: {error}");
                    continue;
                }
                root => root.unwrap(),
            };
            let read = |name: &str| {
                std::fs::read_to_string(format!("/proc/self/fd/{}/{name}", root.as_raw_fd()))
            };
            assert_eq!(read("x").unwrap(), "a");
            assert_eq!(read("y").unwrap(), "b");
        }
    }
}
