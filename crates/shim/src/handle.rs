//! The daemon's side of a shim.

use crate::files;
use crate::protocol::{self, AttachOptions, Event, ExecRequest, Reply, Request, Snapshot};
use crate::{ExitRecord, Launch, Relay};
use hull_linux::socket;
use hull_spec::runtime::Resources;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// How long a shim may take for what it does itself: it may have a runtime to wait for just then.
const SHORT: Duration = Duration::from_secs(30);

/// How long it may take to send a signal. Whoever wants a container's end has other ways then.
const SIGNAL: Duration = Duration::from_secs(10);

/// How long it may take for what a runtime does, on machines with much to do.
const LONG: Duration = Duration::from_secs(300);

/// What can go wrong between daemon and shim.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The program could not be started.
    #[error("could not start {}", program.display())]
    Spawn {
        /// The program.
        program: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The shim does not answer: it is gone, or was never there.
    #[error("could not reach the shim in {}", bundle.display())]
    Unreachable {
        /// The container's bundle.
        bundle: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The shim is there, but does not answer: somebody has stopped it, or it has too much to do.
    #[error("the shim in {} does not answer", bundle.display())]
    Silent {
        /// The container's bundle.
        bundle: PathBuf,
    },
    /// The shim answered that it did not work. The text is the runtime's where the runtime failed.
    #[error("{0}")]
    Refused(String),
}

/// A container's shim. The handle holds no connection; a shim does not notice that one is dropped.
#[derive(Clone, Debug)]
pub struct Handle {
    bundle: PathBuf,
    pid: i32,
}

fn send_launch(to: &mut UnixStream, launch: &Launch, held: Vec<OwnedFd>) -> io::Result<()> {
    let count = u32::try_from(held.len()).map_err(|_| io::ErrorKind::InvalidInput)?;
    let launch = Launch {
        held: count,
        ..launch.clone()
    };
    protocol::send(to, &launch)?;
    held.iter()
        .try_for_each(|descriptor| socket::send_descriptor(&*to, b"h", descriptor.as_fd()))
}

impl Handle {
    /// Starts the shim at `program`, which mounts and creates the container as `launch` says, and keeps
    /// the descriptors `held` open. Returns when the container is created and waits to be started.
    ///
    /// # Errors
    /// [`Error::Refused`] with the runtime's message when the container could not be created; then
    /// nothing of it is left but the bundle.
    pub fn spawn(program: &Path, launch: &Launch, held: Vec<OwnedFd>) -> Result<Self, Error> {
        let unreachable = |source| Error::Unreachable {
            bundle: launch.bundle.clone(),
            source,
        };
        let (mut ours, theirs) = UnixStream::pair().map_err(unreachable)?;
        let spawned = Command::new(program)
            .arg(&launch.bundle)
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .current_dir("/")
            .spawn();
        let mut child = spawned.map_err(|source| Error::Spawn {
            program: program.to_owned(),
            source,
        })?;
        let sent = send_launch(&mut ours, launch, held);
        // What was started leaves a child of its own behind and ends at once.
        let waited = child.wait();
        sent.and(waited).map_err(unreachable)?;
        match protocol::receive(&mut ours).map_err(unreachable)? {
            Reply::Created { pid } => Ok(Self {
                bundle: launch.bundle.clone(),
                pid,
            }),
            Reply::Failed { message } => Err(Error::Refused(message)),
            other => Err(unexpected(&other)),
        }
    }

    /// Finds the shim that serves `bundle`, after a restart of the daemon.
    ///
    /// # Errors
    /// [`Error::Unreachable`] when there is none, [`Error::Silent`] when it takes longer than `patience`.
    pub fn connect(bundle: &Path, patience: Duration) -> Result<(Self, Snapshot), Error> {
        let mut handle = Self::assume(bundle, 0);
        let answer = handle.ask_within(&Request::Snapshot, Some(patience))?;
        let snapshot = snapshot_of(answer.1)?;
        handle.pid = snapshot.pid;
        Ok((handle, snapshot))
    }

    /// As [`Handle::events`], however long it takes until the shim answers.
    ///
    /// # Errors
    /// [`Error::Unreachable`] when the shim is gone.
    pub fn await_events(&self) -> Result<Events, Error> {
        let (stream, _) = self.ask_within(&Request::Events, None)?;
        Ok(Events(stream))
    }

    /// A handle on a shim that is known to be there but does not answer yet, with what is known of its process.
    #[must_use]
    pub fn assume(bundle: &Path, pid: i32) -> Self {
        Self {
            bundle: bundle.to_owned(),
            pid,
        }
    }

    /// The container's first process, as the host sees it.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Starts the created container.
    ///
    /// # Errors
    /// [`Error::Refused`] with the runtime's message.
    pub fn start(&self) -> Result<(), Error> {
        self.done(&Request::Start)
    }

    /// Sends `signal` to the first process. That it has ended already is no error.
    ///
    /// # Errors
    /// [`Error::Refused`] for a signal that does not exist.
    pub fn kill(&self, signal: i32) -> Result<(), Error> {
        self.done(&Request::Kill(signal))
    }

    /// Kills an exec's process and what is in its process group. That it has ended already is no error.
    ///
    /// # Errors
    /// [`Error::Refused`] when the kernel refuses.
    pub fn kill_exec(&self, id: &str) -> Result<(), Error> {
        self.done(&Request::KillExec(id.to_owned()))
    }

    /// Stops all processes of the container.
    ///
    /// # Errors
    /// [`Error::Refused`] with the runtime's message.
    pub fn pause(&self) -> Result<(), Error> {
        self.done(&Request::Pause)
    }

    /// Lets them go on.
    ///
    /// # Errors
    /// [`Error::Refused`] with the runtime's message.
    pub fn resume(&self) -> Result<(), Error> {
        self.done(&Request::Resume)
    }

    /// Saves all processes as files in `images`, through the runtime's checkpoint; they end unless
    /// `leave_running`.
    ///
    /// # Errors
    /// [`Error::Refused`] with the runtime's message.
    pub fn checkpoint(&self, images: &Path, leave_running: bool) -> Result<(), Error> {
        self.done(&Request::Checkpoint {
            images: images.to_owned(),
            leave_running,
        })
    }

    /// Changes the size of a terminal: that of `exec`, or of the first process.
    ///
    /// # Errors
    /// [`Error::Refused`] when there is no such terminal.
    pub fn resize(&self, exec: Option<&str>, rows: u16, columns: u16) -> Result<(), Error> {
        self.done(&Request::Resize {
            exec: exec.map(str::to_owned),
            rows,
            columns,
        })
    }

    /// Says where the ports lead that the shim serves, after the container's networks have changed; those that
    /// are not named lead nowhere.
    ///
    /// # Errors
    /// [`Error::Unreachable`] when the shim is gone, or is of a version that serves none.
    pub fn retarget(&self, relays: Vec<Relay>) -> Result<(), Error> {
        self.done(&Request::Retarget(relays))
    }

    /// Changes the container's limits, all of them or none; what is not named stays.
    ///
    /// # Errors
    /// [`Error::Refused`] with the runtime's message; [`Error::Unreachable`] when the shim is gone, or is of a
    /// version that changes none.
    pub fn update(&self, limits: Resources) -> Result<(), Error> {
        self.done(&Request::Update(Box::new(limits)))
    }

    /// How things are.
    ///
    /// # Errors
    /// [`Error::Unreachable`] when the shim is gone.
    pub fn snapshot(&self) -> Result<Snapshot, Error> {
        snapshot_of(self.ask(&Request::Snapshot)?.1)
    }

    /// A stream of the first process, as [`protocol`] describes it. What was written before is in
    /// the log; what comes from now on is in the stream.
    ///
    /// # Errors
    /// [`Error::Unreachable`] when the shim is gone.
    pub fn attach(&self, options: AttachOptions) -> Result<UnixStream, Error> {
        match self.ask(&Request::Attach(options))? {
            (stream, Reply::Done) => Ok(stream),
            (_, other) => Err(unexpected(&other)),
        }
    }

    /// Runs another process; gives its id on the host and, unless it is detached, its stream.
    ///
    /// # Errors
    /// [`Error::Refused`] with the runtime's message.
    pub fn exec(&self, request: ExecRequest) -> Result<(i32, Option<UnixStream>), Error> {
        let attached = request.attach.is_some();
        match self.ask(&Request::Exec(Box::new(request)))? {
            (stream, Reply::Started { pid }) => Ok((pid, attached.then_some(stream))),
            (_, other) => Err(unexpected(&other)),
        }
    }

    /// What happens from now on. Its end without [`Event::Cleaned`] means that the shim was killed.
    ///
    /// # Errors
    /// [`Error::Unreachable`] when the shim is gone.
    pub fn events(&self) -> Result<Events, Error> {
        match self.ask(&Request::Events)? {
            (stream, Reply::Done) => Ok(Events(stream)),
            (_, other) => Err(unexpected(&other)),
        }
    }

    fn done(&self, request: &Request) -> Result<(), Error> {
        match self.ask(request)?.1 {
            Reply::Done => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    fn ask(&self, request: &Request) -> Result<(UnixStream, Reply), Error> {
        self.ask_within(request, patience(request))
    }

    fn ask_within(
        &self,
        request: &Request,
        patience: Option<Duration>,
    ) -> Result<(UnixStream, Reply), Error> {
        let talk = || -> io::Result<(UnixStream, Reply)> {
            let mut stream = self.send(request, patience)?;
            let reply = protocol::receive(&mut stream)?;
            // What it becomes may be silent for as long as it likes.
            stream.set_read_timeout(None)?;
            stream.set_write_timeout(None)?;
            Ok((stream, reply))
        };
        match talk() {
            Ok((_, Reply::Failed { message })) => Err(Error::Refused(message)),
            Ok(answer) => Ok(answer),
            Err(source) => Err(self.failure(source)),
        }
    }

    fn send(&self, request: &Request, patience: Option<Duration>) -> io::Result<UnixStream> {
        let directory = fs_err::File::open(&self.bundle)?;
        let mut stream = socket::connect_at(directory.as_fd(), files::SOCKET, patience)?;
        protocol::send(&mut stream, request)?;
        Ok(stream)
    }

    fn failure(&self, source: io::Error) -> Error {
        let bundle = self.bundle.clone();
        match source.kind() {
            io::ErrorKind::WouldBlock => Error::Silent { bundle },
            _ => Error::Unreachable { bundle, source },
        }
    }
}

/// How long the answer may take; `None` where that depends on how much memory is to be written.
fn patience(request: &Request) -> Option<Duration> {
    match request {
        Request::Kill(_) => Some(SIGNAL),
        Request::KillExec(_)
        | Request::Resize { .. }
        | Request::Snapshot
        | Request::Attach(_)
        | Request::Events
        | Request::Retarget(_) => Some(SHORT),
        Request::Start
        | Request::Pause
        | Request::Resume
        | Request::Exec(_)
        | Request::Update(_) => Some(LONG),
        Request::Checkpoint { .. } => None,
    }
}

fn snapshot_of(reply: Reply) -> Result<Snapshot, Error> {
    match reply {
        Reply::Snapshot(snapshot) => Ok(snapshot),
        other => Err(unexpected(&other)),
    }
}

impl ExitRecord {
    /// Reads the record at `path`, `None` when there is none.
    ///
    /// # Errors
    /// When it is there but cannot be read.
    pub fn read(path: &Path) -> io::Result<Option<Self>> {
        match fs_err::read(path) {
            Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

fn unexpected(reply: &Reply) -> Error {
    match reply {
        Reply::Failed { message } => Error::Refused(message.clone()),
        other => Error::Refused(format!(
            "the shim gave an answer that does not fit: {other:?}"
        )),
    }
}

/// A shim's events.
#[derive(Debug)]
pub struct Events(UnixStream);

impl Events {
    /// Waits for the next event; `None` when the shim is gone.
    ///
    /// # Errors
    /// What reading gives.
    pub fn wait(&mut self) -> io::Result<Option<Event>> {
        match protocol::receive(&mut self.0) {
            Ok(event) => Ok(Some(event)),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The connection, for those who wait in another way; see [`protocol::Decoder`].
    #[must_use]
    pub fn into_stream(self) -> UnixStream {
        self.0
    }
}
