//! The host's `/proc`, opened before a container can have a say in what is mounted there.
//!
//! A descriptor of the host's procfs serves inside other namespaces too: `self` is the caller, and
//! `sys/` shows the caller's network, IPC and UTS parameters. Nothing a container mounts can redirect
//! a write that starts from this descriptor (CVE-2019-16884, CVE-2025-52881): the walk may not cross a
//! mount nor follow a link other than `self`, which is spelled out by us.

use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;
use std::io;
use std::path::Path;

/// `PROC_SUPER_MAGIC` of statfs(2).
const MAGIC: u32 = 0x9fa0;
/// The root directory of every procfs has this inode number.
const ROOT_INODE: u64 = 1;

/// A procfs that is known to be one.
#[derive(Debug)]
pub struct Proc(OwnedFd);

impl Proc {
    /// Opens `/proc` and makes sure that it is the root of a procfs.
    ///
    /// # Errors
    /// When it is something else, or cannot be opened.
    pub fn open() -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let proc = rustix::fs::open("/proc", flags, Mode::empty())?;
        let kind = rustix::fs::fstatfs(&proc)?.f_type;
        let inode = rustix::fs::fstat(&proc)?.st_ino;
        if u32::try_from(kind) != Ok(MAGIC) || inode != ROOT_INODE {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "/proc is not the root of a procfs",
            ));
        }
        Ok(Self(proc))
    }

    /// Opens a file below, crossing no mount and following no link.
    ///
    /// # Errors
    /// `ELOOP` for a link, `EXDEV` for something mounted over, and those of openat2(2).
    pub fn open_at(&self, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS;
        for _ in 0..128 {
            match openat2(
                &self.0,
                path,
                flags | OFlags::CLOEXEC,
                Mode::empty(),
                resolve,
            ) {
                Err(Errno::AGAIN | Errno::INTR) => {}
                other => return Ok(other?),
            }
        }
        Err(Errno::AGAIN.into())
    }

    /// Writes a file below with one write(2).
    ///
    /// # Errors
    /// Those of [`Proc::open_at`] and of the file.
    pub fn write(&self, path: &Path, value: &[u8]) -> io::Result<()> {
        let file = self.open_at(path, OFlags::WRONLY)?;
        let written = rustix::io::write(&file, value)?;
        if written == value.len() {
            Ok(())
        } else {
            Err(io::ErrorKind::WriteZero.into())
        }
    }

    /// Writes a kernel parameter: `net.ipv4.ip_forward`, or with slashes. As in sysctl(8), the
    /// separator that comes first is the one that separates.
    ///
    /// # Errors
    /// Those of [`Proc::write`].
    pub fn set_parameter(&self, name: &str, value: &str) -> io::Result<()> {
        self.write(
            &Path::new("sys").join(parameter_path(name)),
            value.as_bytes(),
        )
    }

    /// The caller's own id in this procfs, which may belong to another PID namespace than the caller.
    ///
    /// # Errors
    /// Those of readlinkat(2).
    pub fn own_id(&self) -> io::Result<String> {
        let link = rustix::fs::readlinkat(&self.0, "self", Vec::new())?;
        Ok(link.to_string_lossy().into_owned())
    }
}

/// The path of a kernel parameter below `sys/`.
fn parameter_path(name: &str) -> String {
    match (name.find('.'), name.find('/')) {
        (Some(dot), Some(slash)) if slash < dot => name.to_owned(),
        (None, _) => name.to_owned(),
        // Dots separate; a slash stands for a dot inside a name, as in `net.ipv4.conf.eth0/1.forwarding`.
        _ => name
            .chars()
            .map(|c| match c {
                '.' => '/',
                '/' => '.',
                other => other,
            })
            .collect(),
    }
}

/// When a process started, in clock ticks since boot (field 22 of proc_pid_stat(5)): with its id it
/// names a process for good. Also whether it is a zombie or dead. `None` when there is no such process.
///
/// # Errors
/// When procfs cannot be read or makes no sense.
pub fn start_time(pid: i32) -> io::Result<Option<(u64, bool)>> {
    // A line of numbers and a name of at most 64 bytes.
    let mut buffer = [0_u8; 1024];
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let read = rustix::fs::open(format!("/proc/{pid}/stat"), flags, Mode::empty())
        .and_then(|file| rustix::io::read(file, &mut buffer));
    let length = match read {
        Ok(length) => length,
        Err(Errno::SRCH | Errno::NOENT) => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    parse_stat(&buffer[..length])
        .map(Some)
        .ok_or_else(|| io::ErrorKind::InvalidData.into())
}

fn parse_stat(text: &[u8]) -> Option<(u64, bool)> {
    // The second field is the program's name in parentheses and may itself contain anything.
    let end = text.iter().rposition(|byte| *byte == b')')?;
    let rest = std::str::from_utf8(text.get(end + 1..)?).ok()?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?;
    let start = fields.nth(18)?.parse().ok()?;
    Some((start, matches!(state, "Z" | "X")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_separator_that_comes_first_separates() {
        assert_eq!(parameter_path("net.ipv4.ip_forward"), "net/ipv4/ip_forward");
        assert_eq!(
            parameter_path("net/ipv4/conf/eth0.1/forwarding"),
            "net/ipv4/conf/eth0.1/forwarding"
        );
        assert_eq!(
            parameter_path("net.ipv4.conf.eth0/1.forwarding"),
            "net/ipv4/conf/eth0.1/forwarding"
        );
    }

    #[test]
    fn a_parameter_cannot_leave_sys() {
        let proc = Proc::open().expect("a procfs");
        for name in [
            "../self/attr/current",
            "kernel/../../self/comm",
            "/etc/passwd",
        ] {
            assert!(proc.set_parameter(name, "x").is_err(), "{name}");
        }
    }

    #[test]
    fn a_name_with_parentheses_does_not_confuse() {
        let text = b"7 (a) b) S 1 7 7 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 1 0 4711 1 1\n";
        assert_eq!(parse_stat(text), Some((4711, false)));
    }

    #[test]
    fn this_process_has_a_start_time() {
        let own = i32::try_from(std::process::id()).expect("fits");
        assert!(matches!(start_time(own), Ok(Some((_, false)))));
    }
}
