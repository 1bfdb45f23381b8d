//! Work in a mount namespace that nobody else sees.

use crate::namespace::{flag, join, unshare};
use rustix::fd::BorrowedFd;
use rustix::mount::MountPropagationFlags;
use std::io;

/// Runs `work` in a thread that has a mount namespace of its own: a copy of the one that `of` stands
/// for, or of the caller's. What it mounts reaches nobody else, and what is mounted elsewhere does not
/// reach it. The namespace is gone afterwards; a tree that shall stay is copied
/// ([`clone_tree`](super::clone_tree)). setns(2), unshare(2), mount_namespaces(7).
///
/// # Errors
/// `EPERM` without CAP_SYS_ADMIN, `EINVAL` when `of` is no mount namespace, and those of `work`.
pub fn apart<T: Send>(
    of: Option<BorrowedFd<'_>>,
    work: impl FnOnce() -> io::Result<T> + Send,
) -> io::Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("hull-mounts".to_owned());
        let thread = thread.spawn_scoped(scope, || {
            // The root and working directory are the process's; who joins a namespace needs its own.
            unshare(flag::FILE_SYSTEM)?;
            if let Some(namespace) = of {
                join(namespace, flag::MOUNT)?;
            }
            unshare(flag::MOUNT)?;
            let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
            rustix::mount::mount_change("/", private)?;
            work()
        })?;
        thread
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("the work in a mount namespace panicked")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mount::{attach, clone_tree, is_mounted};
    use rustix::fd::AsFd as _;
    use rustix::fs::{Mode, OFlags};
    use std::path::Path;

    #[test]
    fn what_is_mounted_apart_is_seen_by_descriptor_only() {
        let dir = tempfile::tempdir().expect("a directory");
        let (over, below) = (dir.path().join("over"), dir.path().join("below"));
        std::fs::create_dir(&over).expect("made");
        std::fs::create_dir(&below).expect("made");
        std::fs::write(below.join("x"), "1").expect("written");
        let tree = apart(None, || {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let root = clone_tree(rustix::fs::CWD, dir.path(), false)?;
            attach(
                root.as_fd(),
                rustix::fs::open("/", flags, Mode::empty())?.as_fd(),
            )?;
            let target = rustix::fs::openat(&root, "over", flags, Mode::empty())?;
            attach(
                clone_tree(rustix::fs::CWD, &below, false)?.as_fd(),
                target.as_fd(),
            )?;
            clone_tree(root.as_fd(), Path::new(""), true)
        });
        let tree = match tree {
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                println!("skipped: cannot make a mount namespace here: {error}");
                return;
            }
            tree => tree.expect("made"),
        };
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        rustix::fs::openat(&tree, "over/x", flags, Mode::empty()).expect("seen");
        assert!(!over.join("x").exists() && !is_mounted(&over).expect("looked"));
    }
}
