//! The pseudo terminal: made in the container's own devpts, its master sent to who asked for it.

use super::Common;
use crate::console;
use crate::error::{Error, Step as _, said};
use hull_linux::mount;
use hull_linux::path::Root;
use rustix::fd::{AsFd as _, OwnedFd};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::pty::OpenptFlags;
use rustix::termios::Winsize;
use std::path::Path;

/// `DEVPTS_SUPER_MAGIC` of statfs(2).
const DEVPTS: u32 = 0x1cd1;

/// Makes the terminal, sends the master, makes the other end the standard streams and the controlling
/// terminal; `mount_console`: also `/dev/console`.
pub(super) fn set_up(common: &Common<'_>, root: &Root, mount_console: bool) -> Result<(), Error> {
    let Some(socket) = common.console else {
        return Err(said(
            "cannot allocate tty if runc will detach without setting console socket",
        ));
    };
    let master = open_master(common, root)?;
    rustix::pty::unlockpt(&master).step(|| "unlock the terminal")?;
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let slave = rustix::pty::ioctl_tiocgptpeer(&master, flags).step(|| "open the terminal")?;
    if let Some(size) = common.process.console_size {
        let size = Winsize {
            ws_row: size.height,
            ws_col: size.width,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        rustix::termios::tcsetwinsize(&slave, size).step(|| "set the terminal's size")?;
    }
    let name = rustix::pty::ptsname(&master, Vec::new()).step(|| "name the terminal")?;
    if mount_console {
        bind(root, &slave)?;
    }
    console::send(socket, master.as_fd(), &name.to_string_lossy())?;
    rustix::process::ioctl_tiocsctty(&slave).step(|| "setctty")?;
    rustix::stdio::dup2_stdin(&slave).step(|| "dup2")?;
    rustix::stdio::dup2_stdout(&slave).step(|| "dup2")?;
    rustix::stdio::dup2_stderr(&slave).step(|| "dup2")
}

/// The multiplexer, made sure to be one of a devpts: the root is the container's, so is what lies there.
///
/// It is looked at before it is opened: opening another device could do something.
fn open_master(common: &Common<'_>, root: &Root) -> Result<OwnedFd, Error> {
    let path = Path::new("/dev/pts/ptmx");
    let found = root
        .open_without_links(path, OFlags::PATH)
        .step(|| "open /dev/pts/ptmx")?;
    let kind = rustix::fs::fstatfs(&found)
        .step(|| "statfs /dev/pts/ptmx")?
        .f_type;
    let stat = rustix::fs::fstat(&found).step(|| "stat /dev/pts/ptmx")?;
    let right = u32::try_from(kind) == Ok(DEVPTS)
        && FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice
        && stat.st_rdev == rustix::fs::makedev(5, 2);
    if !right {
        return Err(said("/dev/pts/ptmx is not a terminal multiplexer"));
    }
    common
        .proc
        .reopen(found.as_fd(), OFlags::RDWR | OFlags::NOCTTY)
        .step(|| "open /dev/pts/ptmx")
}

/// Mounts the terminal on `/dev/console`, both by descriptor (CVE-2025-52565): no link is followed.
fn bind(root: &Root, slave: &OwnedFd) -> Result<(), Error> {
    let step = || "mount /dev/console";
    let (dev, name) = root.ensure_parent(Path::new("/dev/console")).step(step)?;
    let create = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::RDWR;
    match rustix::fs::openat(&dev, &name, create, Mode::from_raw_mode(0o666)) {
        Ok(_) | Err(rustix::io::Errno::EXIST) => {}
        Err(error) => return Err(error).step(step),
    }
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let place = rustix::fs::openat(&dev, &name, flags, Mode::empty()).step(step)?;
    let stat = rustix::fs::fstat(&place).step(step)?;
    if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink {
        return Err(said("/dev/console is a symbolic link"));
    }
    let tree = mount::clone_tree(slave.as_fd(), Path::new(""), false).step(step)?;
    mount::attach(tree.as_fd(), place.as_fd()).step(step)
}
