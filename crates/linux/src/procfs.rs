//! The host's `/proc`, opened before a container can have a say in what is mounted there.
//!
//! A descriptor of the host's procfs serves inside other namespaces too: `self` is the caller, and
//! `sys/` shows the caller's network, IPC and UTS parameters. Nothing a container mounts can redirect
//! a write that starts from this descriptor (CVE-2019-16884, CVE-2025-52881): the walk may not cross a
//! mount nor follow a link other than `self`, which is spelled out by us.

use rustix::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;
use std::io;
use std::path::Path;

/// `PROC_SUPER_MAGIC` of statfs(2).
const MAGIC: u32 = 0x9fa0;
/// The root directory of every procfs has this inode number.
const ROOT_INODE: u64 = 1;

/// A procfs that is known to be one.
#[derive(Debug)]
pub struct Proc(OwnedFd);

/// Whose part of a procfs.
#[derive(Clone, Copy, Debug)]
enum Of {
    /// The caller's.
    Own,
    /// That of a process, by its id as the caller sees it.
    Process(i32),
    /// What is about the machine or the caller's namespaces.
    All,
}

impl Proc {
    /// Opens `/proc` and makes sure that it is the root of a procfs.
    ///
    /// # Errors
    /// When it is something else, or cannot be opened.
    pub fn open() -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let proc = rustix::fs::open("/proc", flags, Mode::empty())?;
        if is_root(&proc)? {
            return Ok(Self(proc));
        }
        Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "/proc is not the root of a procfs",
        ))
    }

    /// A procfs of the caller's PID namespace that hangs nowhere, so that nothing can be mounted in it.
    /// `processes`: without anything else (`subset=pid`, kernel 5.8). fsopen(2), kernel 5.2.
    ///
    /// # Errors
    /// `EPERM` without CAP_SYS_ADMIN, and in a user namespace which cannot see all of a procfs.
    pub fn detached(processes: bool) -> io::Result<Self> {
        let options = processes.then_some("subset=pid").into_iter();
        let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID
            | MountAttrFlags::MOUNT_ATTR_NODEV
            | MountAttrFlags::MOUNT_ATTR_NOEXEC;
        let attributes = u64::from(attributes.bits());
        crate::mount::new_file_system("proc", "proc", options, attributes).map(Self)
    }

    /// Opens a file that is about the machine or the caller's namespaces.
    ///
    /// # Errors
    /// `ELOOP` for a link, `EXDEV` for something mounted over that cannot be avoided, and those of
    /// openat2(2).
    pub fn open_at(&self, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
        self.find(Of::All, path, flags)
    }

    /// Crosses no mount and follows no link. Where something is mounted over the file (an engine in a
    /// container finds `/proc/sys` like that), it is sought in a procfs without mounts.
    fn find(&self, of: Of, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
        match self.beneath(of, path, flags) {
            Err(Errno::XDEV) => {
                let covered = |_| io::Error::from(Errno::XDEV);
                let detached = Self::detached(!matches!(of, Of::All)).map_err(covered)?;
                Ok(detached.beneath(of, path, flags)?)
            }
            other => Ok(other?),
        }
    }

    fn beneath(&self, of: Of, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS;
        let path = match of {
            Of::Own => Path::new(&self.own()?).join(path),
            Of::Process(id) => Path::new(&id.to_string()).join(path),
            Of::All => path.to_owned(),
        };
        let flags = flags | OFlags::CLOEXEC;
        for _ in 0..128 {
            match openat2(&self.0, &path, flags, Mode::empty(), resolve) {
                Err(Errno::AGAIN | Errno::INTR) => {}
                other => return other,
            }
        }
        Err(Errno::AGAIN)
    }

    /// Writes a file of the caller, such as `attr/exec`, with one write(2).
    ///
    /// # Errors
    /// Those of [`Proc::open_at`] and of the file.
    pub fn write_own(&self, path: &str, value: &[u8]) -> io::Result<()> {
        write(&self.find(Of::Own, Path::new(path), OFlags::WRONLY)?, value)
    }

    /// Opens a file of the caller for writing, to be written when it may no longer be opened.
    ///
    /// # Errors
    /// Those of [`Proc::open_at`].
    pub fn open_own(&self, path: &str) -> io::Result<OwnedFd> {
        self.find(Of::Own, Path::new(path), OFlags::WRONLY)
    }

    /// Opens the root directory of a process. proc_pid_root(5): a link the kernel follows, not one of names.
    ///
    /// # Errors
    /// Those of openat(2).
    pub fn root_of(&self, process: i32) -> io::Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let process = self.find(Of::Process(process), Path::new(""), flags)?;
        Ok(rustix::fs::openat(&process, "root", flags, Mode::empty())?)
    }

    /// Writes a file of a process, such as `uid_map`, with one write(2).
    ///
    /// # Errors
    /// Those of [`Proc::open_at`] and of the file.
    pub fn write_of(&self, process: i32, path: &str, value: &[u8]) -> io::Result<()> {
        let file = self.find(Of::Process(process), Path::new(path), OFlags::WRONLY)?;
        write(&file, value)
    }

    /// Opens a kernel parameter for writing: `net.ipv4.ip_forward`, or with slashes. As in sysctl(8),
    /// the separator that comes first is the one that separates.
    ///
    /// # Errors
    /// Those of [`Proc::open_at`].
    pub fn open_parameter(&self, name: &str) -> io::Result<OwnedFd> {
        let path = Path::new("sys").join(parameter_path(name));
        self.open_at(&path, OFlags::WRONLY)
    }

    /// Opens what a descriptor refers to once more, with other flags: the one way from a descriptor of
    /// `O_PATH`, which can be looked at before anything happens, to one that can be used.
    ///
    /// # Errors
    /// Those of open(2).
    pub fn reopen(&self, file: BorrowedFd<'_>, flags: OFlags) -> io::Result<OwnedFd> {
        let directory = OFlags::PATH | OFlags::DIRECTORY;
        let descriptors = self.find(Of::Own, Path::new("fd"), directory)?;
        let number = file.as_raw_fd().to_string();
        let flags = flags | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(
            &descriptors,
            number,
            flags,
            Mode::empty(),
        )?)
    }

    /// The numbers of the caller's descriptors. Only calls that every system call filter allows are made:
    /// openat(2), getdents64(2), close(2).
    ///
    /// # Errors
    /// Those of these calls.
    pub fn own_descriptors(&self) -> io::Result<Vec<u32>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::openat(&self.0, "self/fd", flags, Mode::empty())?;
        let own = directory.as_raw_fd().unsigned_abs();
        let mut found = Vec::new();
        let mut buffer = Vec::with_capacity(4096);
        let mut entries = rustix::fs::RawDir::new(&directory, buffer.spare_capacity_mut());
        while let Some(entry) = entries.next() {
            let entry = entry?;
            let number = entry.file_name().to_str().ok().map(str::parse::<u32>);
            found.extend(number.and_then(Result::ok).filter(|number| *number != own));
        }
        Ok(found)
    }

    /// The caller's own id in this procfs, which may belong to another PID namespace than the caller.
    ///
    /// # Errors
    /// Those of readlinkat(2).
    pub fn own_id(&self) -> io::Result<String> {
        Ok(self.own()?)
    }

    fn own(&self) -> Result<String, Errno> {
        let link = rustix::fs::readlinkat(&self.0, "self", Vec::new())?;
        Ok(link.to_string_lossy().into_owned())
    }
}

/// Whether a directory is the root of a procfs.
///
/// # Errors
/// Those of fstat(2) and fstatfs(2).
pub fn is_root(directory: impl AsFd) -> io::Result<bool> {
    let kind = rustix::fs::fstatfs(&directory)?.f_type;
    let inode = rustix::fs::fstat(&directory)?.st_ino;
    Ok(u32::try_from(kind) == Ok(MAGIC) && inode == ROOT_INODE)
}

fn write(file: &OwnedFd, value: &[u8]) -> io::Result<()> {
    let written = rustix::io::write(file, value)?;
    if written == value.len() {
        Ok(())
    } else {
        Err(io::ErrorKind::WriteZero.into())
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
    fn nothing_but_a_procfs_is_taken_for_one() {
        for (path, expected) in [("/proc", true), ("/proc/self", false), ("/tmp", false)] {
            let flags = OFlags::PATH | OFlags::CLOEXEC;
            let file = rustix::fs::open(path, flags, Mode::empty()).expect("opened");
            assert_eq!(is_root(&file).expect("looked at"), expected, "{path}");
        }
    }

    #[test]
    fn what_was_looked_at_is_what_is_opened() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("file");
        std::fs::write(&path, "text").expect("written");
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let looked_at = rustix::fs::open(&path, flags, Mode::empty()).expect("opened");
        std::fs::remove_file(&path).expect("removed");
        let proc = Proc::open().expect("a procfs");
        let file = proc.reopen(looked_at.as_fd(), OFlags::RDONLY);
        let text = std::io::read_to_string(std::fs::File::from(file.expect("opened")));
        assert_eq!(text.expect("read"), "text");
    }

    #[test]
    fn a_procfs_that_hangs_nowhere_shows_the_caller() {
        match Proc::detached(true) {
            Err(error) => println!("skipped: no mounts here: {error}"),
            Ok(proc) => {
                assert!(is_root(&proc.0).expect("looked at"));
                assert_eq!(proc.own_id().expect("read"), std::process::id().to_string());
                let covered = proc.open_at(Path::new("sys"), OFlags::PATH);
                assert!(covered.is_err(), "only processes are there");
            }
        }
    }

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
            assert!(proc.open_parameter(name).is_err(), "{name}");
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
