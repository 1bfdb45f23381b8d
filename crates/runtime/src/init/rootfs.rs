//! The root file system: its mount, what is mounted below it, and the change into it.

use super::{Common, First, console, devices, mounts};
use crate::error::{Error, Step as _};
use hull_linux::device;
use hull_linux::mount::{self, Attributes};
use hull_linux::namespace::{self, flag};
use hull_linux::path::Root;
use hull_spec::runtime::{Linux, Process};
use rustix::fd::{AsFd as _, OwnedFd};
use rustix::fs::{CWD, Mode, OFlags};
use rustix::mount::{MountAttrFlags, MountPropagationFlags, UnmountFlags};
use rustix::process::{chdir, chroot, fchdir, pivot_root};
use std::path::{Path, PathBuf};

/// Everything that needs the host's tree: mounts, device nodes, the console. Gives the root and a
/// detached mount of the host's null device.
pub(super) fn prepare(common: &Common<'_>, first: &First<'_>) -> Result<(Root, OwnedFd), Error> {
    let nothing = Linux::default();
    let linux = common.spec.linux.as_ref().unwrap_or(&nothing);
    set_propagation(linux, first.rootfs)?;
    let null = null_device()?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let place =
        rustix::fs::open(first.rootfs, flags, Mode::empty()).step(|| rootfs_step(first.rootfs))?;
    let tree =
        mount::clone_tree(place.as_fd(), Path::new(""), true).step(|| rootfs_step(first.rootfs))?;
    mount::attach(tree.as_fd(), place.as_fd()).step(|| rootfs_step(first.rootfs))?;
    let root = Root::from_directory(tree);
    // Modes of directories and nodes are ours to choose, whatever the caller's mask.
    rustix::process::umask(Mode::empty());
    let read_only_later = mounts::all(common, first, &root)?;
    if devices::wanted(common.spec) {
        devices::all(common, linux, &root)?;
    }
    if common.process.terminal {
        console::set_up(common, &root, true)?;
    }
    for mount in &read_only_later {
        let read_only = Attributes {
            set: READ_ONLY,
            ..Attributes::default()
        };
        mount::set_attributes(mount.as_fd(), false, &read_only)
            .step(|| "remount a file system readonly")?;
    }
    let mask = mask(common.process);
    let cwd = Path::new(&common.process.cwd);
    root.ensure_directory(cwd, 0o755)
        .step(|| format!("mkdir {}", cwd.display()))?;
    rustix::process::umask(mask);
    Ok((root, null))
}

/// The mask of a first process, which may come from anywhere otherwise.
pub(super) fn mask(process: &Process) -> Mode {
    Mode::from_raw_mode(process.user.umask.unwrap_or(0o022))
}

const READ_ONLY: u64 = MountAttrFlags::MOUNT_ATTR_RDONLY.bits() as u64;

fn rootfs_step(rootfs: &Path) -> String {
    format!("error preparing rootfs: mount {}", rootfs.display())
}

/// What is mounted on the host appears here or not, and nothing here appears there.
fn set_propagation(linux: &Linux, rootfs: &Path) -> Result<(), Error> {
    let mut flags = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
    if !linux.rootfs_propagation.is_empty() {
        let (bits, recursive) =
            mount::propagation(&linux.rootfs_propagation).step(|| "rootfsPropagation")?;
        // What is unbindable could not be mounted as root: that comes when it is.
        if bits != UNBINDABLE {
            flags = propagation_flags(bits);
            flags.set(MountPropagationFlags::REC, recursive);
        }
    }
    rustix::mount::mount_change("/", flags).step(|| "change the propagation of /")?;
    if flags.contains(MountPropagationFlags::SHARED) {
        // pivot_root refuses a root whose parent is shared, and nothing of ours may appear on the host.
        for ancestor in rootfs.ancestors() {
            match rustix::mount::mount_change(ancestor, MountPropagationFlags::PRIVATE) {
                Err(rustix::io::Errno::INVAL) => {} // not the root of a mount: the next one up
                other => return other.step(|| format!("make {} private", ancestor.display())),
            }
        }
    }
    Ok(())
}

const UNBINDABLE: u64 = MountPropagationFlags::UNBINDABLE.bits() as u64;

/// `MS_*` as rustix names them.
fn propagation_flags(bits: u64) -> MountPropagationFlags {
    MountPropagationFlags::from_bits_truncate(u32::try_from(bits).unwrap_or(0))
}

/// The host's null device, made sure to be it (CVE-2025-31133), as a mount that hangs nowhere yet.
fn null_device() -> Result<OwnedFd, Error> {
    let null = mount::clone_tree(CWD, Path::new("/dev/null"), false).step(|| "open /dev/null")?;
    if device::is_null(null.as_fd()).step(|| "stat /dev/null")? {
        Ok(null)
    } else {
        Err(crate::error::said("/dev/null is not the null device"))
    }
}

/// Makes the root the process' own and lets go of the host's tree.
pub(super) fn enter(root: &Root, first: &First<'_>) -> Result<(), Error> {
    if first.no_pivot {
        fchdir(root).step(|| "change to the rootfs")?;
        rustix::mount::mount_move(".", "/").step(|| "move the rootfs to /")?;
        return change_root(root);
    }
    leave_chroot()?;
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let old = rustix::fs::open("/", flags, Mode::empty()).step(|| "open /")?;
    fchdir(root).step(|| "change to the rootfs")?;
    pivot_root(".", ".").step(|| "error jailing process inside rootfs: pivot_root")?;
    fchdir(&old).step(|| "change to the old root")?;
    // What is unmounted here must not be unmounted on the host.
    rustix::mount::mount_change(
        ".",
        MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC,
    )
    .step(|| "make the old root a slave")?;
    rustix::mount::unmount(".", UnmountFlags::DETACH).step(|| "unmount the old root")?;
    chdir("/").step(|| "change to /")
}

/// Goes to the root of the mount namespace, by joining it again. Whoever called us may live in a chroot(2): with its root
/// exchanged, the host's would stay above the container's, and be where joining processes begin and where a chroot(2) of
/// the container's leads.
fn leave_chroot() -> Result<(), Error> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let own = rustix::fs::open("/proc/self/ns/mnt", flags, Mode::empty())
        .step(|| "open the container's mount namespace")?;
    namespace::join(own.as_fd(), flag::MOUNT).step(|| "go to the root of the mount namespace")
}

/// chroot(2), for containers without a mount namespace.
pub(crate) fn change_root(root: &Root) -> Result<(), Error> {
    fchdir(root).step(|| "change to the rootfs")?;
    chroot(".").step(|| "error jailing process inside rootfs: chroot")?;
    chdir("/").step(|| "change to /")
}

/// For a container with mounts but without a mount namespace: they are made in one that is left again with
/// the whole tree in hand. The tree hangs nowhere then: the host never sees it, and it goes with the last
/// process whose root it is. (runc mounts on the host, where the mounts stay.)
pub(super) fn aside(make: impl FnOnce() -> Result<(), Error>) -> Result<(), Error> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let home = rustix::fs::open("/proc/self/ns/mnt", flags, Mode::empty())
        .step(|| "open the runtime's mount namespace")?;
    namespace::unshare(flag::MOUNT).step(|| "unshare the mount namespace")?;
    make()?;
    let tree = mount::clone_tree(CWD, Path::new("/"), true).step(|| "take the rootfs along")?;
    namespace::join(home.as_fd(), flag::MOUNT)
        .step(|| "go back to the runtime's mount namespace")?;
    change_root(&Root::from_directory(tree))
}

/// The root's own propagation and whether it can be written.
pub(super) fn finish(common: &Common<'_>, root: &Root) -> Result<(), Error> {
    let wanted = common
        .spec
        .linux
        .as_ref()
        .map_or("", |linux| linux.rootfs_propagation.as_str());
    if let Some(flags) =
        Some(wanted).filter(|wanted| wanted.ends_with("shared") || wanted.ends_with("unbindable"))
    {
        let (bits, recursive) = mount::propagation(flags).step(|| "rootfsPropagation")?;
        let change = Attributes {
            propagation: bits,
            ..Attributes::default()
        };
        mount::set_attributes(root.as_fd(), recursive, &change)
            .step(|| "change the propagation of the rootfs")?;
    }
    if common.spec.root.as_ref().is_some_and(|root| root.readonly) {
        let change = Attributes {
            set: READ_ONLY,
            ..Attributes::default()
        };
        mount::set_attributes(root.as_fd(), false, &change)
            .step(|| "error setting rootfs as readonly")?;
    }
    Ok(())
}

/// A path of the configuration as one below the root.
pub(super) fn inside(path: &str) -> PathBuf {
    Path::new("/").join(path)
}
