//! The shim process: start-up here, then one loop over everything that can happen.

mod client;
mod commands;
mod log;
mod memory;
mod output;
mod process;
mod rootfs;
mod runtime;
mod shim;
mod sources;

use crate::protocol::{self, Reply};
use crate::relay::Relays;
use crate::{Launch, files};
use hull_linux::{daemonize, reactor, socket};
use process::Process;
pub use rootfs::mount as mount_root;
use runtime::Runtime;
use rustix::fs::{Mode, OFlags};
use rustix::process::{getpid, set_child_subreaper};
use shim::Shim;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

/// What can go wrong before the container exists.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// One step failed.
    #[error("could not {step}")]
    Step {
        /// Which.
        step: &'static str,
        /// The cause.
        source: io::Error,
    },
    /// A part of a volume or image cannot be reached.
    #[error("cannot access path {}: {source}", path.display())]
    Part {
        /// The part.
        path: std::path::PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The log driver cannot be started, in its own words.
    #[error("failed to initialize logging driver: {0}")]
    Logging(String),
    /// The runtime refused, in its own words.
    #[error("{0}")]
    Runtime(String),
}

fn step(step: &'static str) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::Step { step, source }
}

/// Runs a shim. Standard input is a socket to the daemon, on which the [`Launch`] comes and the
/// outcome is told.
///
/// # Errors
/// When the container could not be created; the daemon has been told why.
pub fn serve() -> Result<(), Error> {
    let stdin = io::stdin()
        .as_fd()
        .try_clone_to_owned()
        .map_err(step("open the daemon's socket"))?;
    let mut daemon = UnixStream::from(stdin);
    let launch: Launch = protocol::receive(&mut daemon).map_err(step("read what to launch"))?;
    let held = (0..launch.held).map(|_| socket::receive_descriptor(&daemon));
    let held: Vec<_> = held
        .collect::<io::Result<_>>()
        .map_err(step("take what to hold"))?;
    daemonize::leave_parent().map_err(step("leave the daemon"))?;
    match set_up(&launch, held) {
        Ok((mut shim, pid)) => {
            let told = protocol::send(&mut daemon, &Reply::Created { pid });
            drop(daemon);
            release_stdin();
            if told.is_err() {
                // The daemon died meanwhile and acknowledged nothing: as if it had not been asked.
                shim.abandon();
                return Ok(());
            }
            shim.run().map_err(step("wait for events"))
        }
        Err(error) => {
            let mut message = error.to_string();
            if let Some(cause) = std::error::Error::source(&error) {
                message = format!("{message}: {cause}");
            }
            let _ = protocol::send(&mut daemon, &Reply::Failed { message });
            Err(error)
        }
    }
}

/// Standard input is still the daemon's socket: put `/dev/null` there, so that the daemon sees its end.
fn release_stdin() {
    if let Ok(null) = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()) {
        let _ = rustix::stdio::dup2_stdin(null);
    }
}

fn set_up(launch: &Launch, held: Vec<OwnedFd>) -> Result<(Shim, i32), Error> {
    let relays =
        Relays::new(held, &launch.relays).map_err(step("listen on the published ports"))?;
    rustix::process::umask(Mode::from_raw_mode(0o077));
    fs_err::write(
        launch.bundle.join(files::PID),
        getpid().as_raw_nonzero().to_string(),
    )
    .map_err(step("write the process id"))?;
    set_child_subreaper(Some(getpid()))
        .map_err(|e| step("become the reaper of the container")(e.into()))?;
    let shared = sources::take_shared(&launch.sources)?;
    daemonize::own_mount_namespace().map_err(step("make a mount namespace"))?;
    let root = launch.bundle.join(files::ROOT);
    rootfs::mount(&launch.rootfs, &root).map_err(step("mount the root file system"))?;
    if launch.first {
        // A root that cannot have them is one without them.
        let _ = rootfs::mark(&root);
    }
    sources::put(launch, shared).inspect_err(|_| undo(launch, &root))?;
    if let Some(mounts) = &launch.foreign_mounts {
        rootfs::unmount(mounts).map_err(step("let go of the layers' mounts"))?;
    }
    let listener = listen(launch).map_err(step("listen on the shim's socket"))?;
    let created = create(launch, listener, relays).inspect_err(|_| undo(launch, &root))?;
    sources::take_away(launch);
    Ok(created)
}

/// Takes back what a failed creation leaves: the container, if the runtime got that far, the root,
/// which the daemon may want to remove as soon as it is told, and our files.
fn undo(launch: &Launch, root: &Path) {
    Runtime::new(launch).delete();
    let _ = rootfs::unmount(root);
    sources::take_away(launch);
    for file in [files::SOCKET, files::PID] {
        let _ = fs_err::remove_file(launch.bundle.join(file));
    }
}

fn create(launch: &Launch, listener: UnixListener, relays: Relays) -> Result<(Shim, i32), Error> {
    let children = reactor::child_signals().map_err(step("wait for children"))?;
    let runtime = Runtime::new(launch);
    let log = log::Log::open(launch)?;
    let created = runtime.create(launch)?;
    if let Some(memory) = &launch.shared_memory {
        rootfs::unmount(memory).map_err(step("let go of others' shared memory"))?;
    }
    let pid = created.pid;
    let process = Process::first(launch, created, log);
    let own = (listener, children);
    let shim = Shim::new(launch.clone(), runtime, own, process, relays)
        .map_err(step("wait for events"))?;
    Ok((shim, pid))
}

fn listen(launch: &Launch) -> io::Result<UnixListener> {
    let _ = fs_err::remove_file(launch.bundle.join(files::SOCKET));
    let directory = fs_err::File::open(&launch.bundle)?;
    let listener = socket::listen_at(directory.as_fd(), files::SOCKET)?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}
