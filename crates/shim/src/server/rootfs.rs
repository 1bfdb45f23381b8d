//! Mounting the root file system.

use hull_linux::path::Root;
use hull_spec::rootfs::RootFs;
use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MoveMountFlags, UnmountFlags,
    fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, mount_bind,
    move_mount, unmount as umount,
};
use std::ffi::CString;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Features that some kernels have on by default, by which an upper directory refers to layers below it
/// instead of holding what changed: nobody could make a layer of that.
const REFERENCES: [&str; 2] = ["redirect_dir", "metacopy"];

/// Mounts a root file system at `target`, which is made if it is not there: in the shim for its
/// container, and in a namespace of its own for whoever looks at the files of one that does not run.
///
/// # Errors
/// `EPERM` without CAP_SYS_ADMIN, `EBUSY` where the kernel refuses an upper directory that is in use,
/// and those of path lookup.
pub fn mount(root: &RootFs, target: &Path) -> io::Result<()> {
    match fs_err::create_dir(target) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    match root {
        RootFs::Directory { path } => Ok(mount_bind(path, target)?),
        RootFs::Overlay {
            lower,
            upper,
            work,
            volatile,
        } => {
            let writable = upper.as_deref().zip(work.as_deref());
            let writable = writable.map(|(upper, work)| Writable {
                upper,
                work,
                volatile: *volatile,
            });
            if let Some(writable) = writable {
                clear_mark(writable)?;
            }
            match overlay(lower, writable, target) {
                // `lowerdir+` came with Linux 6.8; the new mount interface itself with 5.2.
                Err(Errno::INVAL | Errno::NOSYS) => overlay_in_one_option(lower, writable, target),
                other => Ok(other?),
            }
        }
    }
}

/// What an overlay is written to.
#[derive(Clone, Copy)]
struct Writable<'a> {
    upper: &'a Path,
    work: &'a Path,
    volatile: bool,
}

/// A volatile overlay leaves a mark, by which the kernel refuses the next mount, with EINVAL: after a loss of power
/// files may be anything. Whoever has such a container takes it with this boot only.
fn clear_mark(writable: Writable<'_>) -> io::Result<()> {
    match fs_err::remove_dir_all(writable.work.join("work/incompat")) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Makes what Docker has in every container: `/.dockerenv`, by which programs know where they are, and
/// `/etc/mtab`, which mount(8) and df(1) of older systems read.
pub(super) fn mark(root: &Path) -> io::Result<()> {
    let root = Root::open(root)?;
    let ours = rustix::process::umask(Mode::from_raw_mode(0o022));
    let made = || -> io::Result<()> {
        let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(0o755);
        match rustix::fs::openat(&root, ".dockerenv", flags, mode) {
            Ok(_) | Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        }
        let (directory, name) = root.ensure_parent(Path::new("/etc/mtab"))?;
        match rustix::fs::symlinkat("/proc/mounts", &directory, &name) {
            Ok(()) | Err(Errno::EXIST) => Ok(()),
            Err(error) => Err(error.into()),
        }
    };
    let made = made();
    rustix::process::umask(ours);
    made
}

/// One layer per call: as many as there are, where one option string could hold a page.
fn overlay(
    lower: &[PathBuf],
    writable: Option<Writable<'_>>,
    target: &Path,
) -> rustix::io::Result<()> {
    let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    for layer in lower {
        fsconfig_set_string(&context, "lowerdir+", layer)?;
    }
    if let Some(writable) = writable {
        fsconfig_set_string(&context, "upperdir", writable.upper)?;
        fsconfig_set_string(&context, "workdir", writable.work)?;
        if writable.volatile {
            fsconfig_set_flag(&context, "volatile")?;
        }
        for feature in REFERENCES {
            fsconfig_set_string(&context, feature, "off")?;
        }
    }
    fsconfig_create(&context)?;
    let attributes = if writable.is_some() {
        MountAttrFlags::empty()
    } else {
        MountAttrFlags::MOUNT_ATTR_RDONLY
    };
    let mount = fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?;
    move_mount(
        &mount,
        "",
        CWD,
        target,
        MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH,
    )
}

fn overlay_in_one_option(
    lower: &[PathBuf],
    writable: Option<Writable<'_>>,
    target: &Path,
) -> io::Result<()> {
    let mut options = b"lowerdir=".to_vec();
    for (number, layer) in lower.iter().enumerate() {
        if number > 0 {
            options.push(b':');
        }
        options.extend(escaped(layer));
    }
    if let Some(writable) = writable {
        options.extend(b",upperdir=");
        options.extend(escaped(writable.upper));
        options.extend(b",workdir=");
        options.extend(escaped(writable.work));
        if writable.volatile {
            options.extend(b",volatile");
        }
        for feature in REFERENCES {
            options.extend(format!(",{feature}=off").into_bytes());
        }
    }
    if options.len() >= 4096 {
        let text = "this kernel takes at most a page of layer paths: it needs Linux 6.8 for so many layers";
        return Err(io::Error::new(io::ErrorKind::Unsupported, text));
    }
    let options = CString::new(options)?;
    Ok(rustix::mount::mount(
        "overlay",
        target,
        "overlay",
        MountFlags::empty(),
        Some(options.as_c_str()),
    )?)
}

/// overlayfs takes `:` and `,` in paths when a backslash stands before them.
fn escaped(path: &Path) -> Vec<u8> {
    let mut escaped = Vec::new();
    for byte in path.as_os_str().as_bytes() {
        if matches!(byte, b':' | b',' | b'\\') {
            escaped.push(b'\\');
        }
        escaped.push(*byte);
    }
    escaped
}

/// Unmounts what [`mount`] mounted, also while something in it is still open.
pub(super) fn unmount(target: &Path) -> io::Result<()> {
    match umount(target, UnmountFlags::DETACH) {
        Err(Errno::INVAL | Errno::NOENT) | Ok(()) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
