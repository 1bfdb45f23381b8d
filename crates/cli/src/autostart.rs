//! Starting the daemon when a command needs one and none runs.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FlockOperation, flock, inotify};
use std::fs::Permissions;
use std::io::{self, Read as _, Seek as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Set for a daemon that we start: it leaves our session first.
const DETACH: &str = "HULL_DETACH";

/// How long a daemon may take; its database may have to be repaired.
const PATIENCE: Duration = Duration::from_secs(30);

/// In `hull daemon`: leaves the session of the command that started it, so that neither its
/// terminal's end nor its Ctrl-C reaches the daemon.
pub(crate) fn detach_if_asked() {
    if std::env::var_os(DETACH).is_some() {
        // Fails only for a process that leads a group already, which then is its own already.
        let _ = rustix::process::setsid();
    }
}

/// The unit that packages bring.
pub(crate) const UNIT: &str = "hull.service";

/// Where units are looked for: systemd.unit(5).
const UNITS: [&str; 5] = [
    "/etc/systemd/system",
    "/run/systemd/system",
    "/usr/local/lib/systemd/system",
    "/usr/lib/systemd/system",
    "/lib/systemd/system",
];

/// Whether systemd runs this host, and has Hull as its service.
fn is_a_service() -> bool {
    // sd_booted(3)
    Path::new("/run/systemd/system").is_dir()
        && UNITS
            .iter()
            .any(|folder| Path::new(folder).join(UNIT).exists())
}

/// Starts a daemon and returns when `socket` takes connections. Only root can; for others the
/// first error stays. Commands that start at once agree on one daemon by a lock.
///
/// # Errors
/// `Unsupported` where the daemon is a service: whoever stopped it is not overruled, and one beside it would be in its way.
pub(crate) fn start(socket: &Path) -> io::Result<()> {
    if is_a_service() {
        return Err(io::Error::from(io::ErrorKind::Unsupported));
    }
    if !rustix::process::geteuid().is_root() {
        return Err(io::Error::from(io::ErrorKind::PermissionDenied));
    }
    let folder = socket
        .parent()
        .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
    if !folder.exists() {
        fs_err::create_dir_all(folder)?;
        fs_err::set_permissions(folder, Permissions::from_mode(0o711))?;
    }
    let lock = fs_err::File::create(folder.join("start.lock"))?;
    flock(lock.file(), FlockOperation::LockExclusive)?;
    if UnixStream::connect(socket).is_ok() {
        return Ok(());
    }
    // Watched before the start, so that the socket cannot appear unseen.
    let watch = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
    inotify::add_watch(
        &watch,
        folder,
        inotify::WatchFlags::CREATE | inotify::WatchFlags::ATTRIB,
    )?;
    let log = folder.join("daemon.log");
    let mut child = spawn(&log)?;
    wait_for(socket, &watch, &mut child).map_err(|error| {
        let said = last_words(&log);
        if said.is_empty() {
            error
        } else {
            io::Error::other(said)
        }
    })
}

fn spawn(log: &Path) -> io::Result<Child> {
    let output = fs_err::File::create(log)?.into_file();
    Command::new(std::env::current_exe()?)
        .arg("daemon")
        .env(DETACH, "1")
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output)
        .spawn()
}

/// Waits for the socket, the daemon's end or the end of patience, whichever is first.
fn wait_for(socket: &Path, watch: &impl std::os::fd::AsFd, child: &mut Child) -> io::Result<()> {
    let deadline = Instant::now() + PATIENCE;
    let pid = rustix::process::Pid::from_child(child);
    let ended = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty())?;
    loop {
        if UnixStream::connect(socket).is_ok() {
            return Ok(());
        }
        if child.try_wait()?.is_some() {
            return Err(io::Error::other("the daemon ended right after its start"));
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::Error::from(io::ErrorKind::TimedOut));
        }
        // The file appears a moment before the daemon listens, hence the short limit once it is
        // there: connecting again is the only way to know.
        let wait = if socket.exists() {
            left.min(Duration::from_millis(2))
        } else {
            left
        };
        let timeout = Timespec::try_from(wait).map_err(io::Error::other)?;
        let mut descriptors = [
            PollFd::new(watch, PollFlags::IN),
            PollFd::from_borrowed_fd(ended.as_fd(), PollFlags::IN),
        ];
        poll(&mut descriptors, Some(&timeout))?;
        drain(watch);
    }
}

fn drain(watch: &impl std::os::fd::AsFd) {
    let mut buffer = [0; 4096];
    while rustix::io::read(watch, &mut buffer).is_ok_and(|count| count > 0) {}
}

/// The end of what the daemon printed, for the user who asked for something else.
fn last_words(log: &Path) -> String {
    let mut text = String::new();
    let read = fs_err::File::open(log).and_then(|mut file| {
        let len = file.metadata()?.len();
        file.seek(io::SeekFrom::Start(len.saturating_sub(2048)))?;
        file.read_to_string(&mut text)
    });
    match read {
        Ok(_) => text.trim().to_owned(),
        Err(_) => String::new(),
    }
}
