//! The daemon's handle on the resolver.

use super::protocol::{self, Identity, Reply, Request};
use super::{Entry, Sandbox};
use crate::Error;
use hull_linux::reactor::{Interest, Reactor};
use hull_linux::socket;
use std::collections::BTreeMap;
use std::io::{self, Read as _};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

/// How long the resolver may take for an answer before it counts as gone.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a resolver must have lived to be replaced without a pause.
const SOON: Duration = Duration::from_secs(1);
const PAUSE: Duration = Duration::from_millis(200);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Bytes of what a resolver says about its start.
const LONGEST_WORDS: usize = 4096;

/// All that the resolver was told, and the way to it. Every call returns when questions are already
/// answered in the new way. A resolver that ends while there are sandboxes is replaced at once.
#[derive(Debug)]
pub struct Names(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    program: PathBuf,
    socket: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    sandboxes: BTreeMap<String, Sandbox>,
    /// Endpoints by network and id.
    names: BTreeMap<String, BTreeMap<String, Entry>>,
    connection: Option<Connection>,
    /// Differs for every connection.
    generation: u64,
}

/// To a resolver that knows everything.
#[derive(Debug)]
struct Connection {
    stream: UnixStream,
    /// Ends with the resolver; a thread waits for that.
    watch: UnixStream,
    since: Instant,
}

impl Drop for Connection {
    fn drop(&mut self) {
        // The thread that waits need wait no longer.
        let _ = self.watch.shutdown(Shutdown::Both);
    }
}

impl Names {
    /// A handle on the resolver at `socket`, which is `program`, started when the first sandbox comes.
    /// Nothing is started or asked yet.
    #[must_use]
    pub fn new(program: PathBuf, socket: PathBuf) -> Self {
        Self(Arc::new(Inner {
            program,
            socket,
            state: Mutex::default(),
        }))
    }

    /// Answers a namespace's questions, or does so in another way from now on.
    ///
    /// # Errors
    /// [`Error::Names`]: the resolver does not start, or cannot enter the namespace.
    pub fn add_sandbox(&self, sandbox: &Sandbox) -> Result<(), Error> {
        let mut state = self.0.lock();
        let id = &sandbox.id;
        let before = state.sandboxes.insert(id.clone(), sandbox.clone());
        let added = self.0.tell_sandbox(&mut state, sandbox);
        if added.is_err() {
            match before {
                Some(before) => state.sandboxes.insert(id.clone(), before),
                None => state.sandboxes.remove(id),
            };
        }
        added.map_err(failed("add a sandbox to"))
    }

    /// Lets a namespace go. One that is unknown is no error.
    ///
    /// # Errors
    /// [`Error::Names`].
    pub fn remove_sandbox(&self, id: &str) -> Result<(), Error> {
        let mut state = self.0.lock();
        state.sandboxes.remove(id);
        let request = Request::Remove(id.to_owned());
        let removed = self.0.tell(&mut state, &request);
        removed.map_err(failed("remove a sandbox from"))
    }

    /// Makes an endpoint of a network known, or known by other names or addresses.
    ///
    /// # Errors
    /// [`Error::Names`].
    pub fn add_names(&self, network: &str, entry: &Entry) -> Result<(), Error> {
        let mut state = self.0.lock();
        let endpoints = state.names.entry(network.to_owned()).or_default();
        endpoints.insert(entry.endpoint.clone(), entry.clone());
        let request = Request::Name {
            network: network.to_owned(),
            entry: entry.clone(),
        };
        let added = self.0.tell(&mut state, &request);
        added.map_err(failed("add names to"))
    }

    /// Forgets an endpoint of a network. One that is unknown is no error.
    ///
    /// # Errors
    /// [`Error::Names`].
    pub fn remove_names(&self, network: &str, endpoint: &str) -> Result<(), Error> {
        let mut state = self.0.lock();
        if let Some(endpoints) = state.names.get_mut(network) {
            endpoints.remove(endpoint);
            if endpoints.is_empty() {
                state.names.remove(network);
            }
        }
        let request = Request::Forget {
            network: network.to_owned(),
            endpoint: endpoint.to_owned(),
        };
        let removed = self.0.tell(&mut state, &request);
        removed.map_err(failed("remove names from"))
    }

    /// Replaces everything: networks' ids with their endpoints. A resolver that a former daemon has left
    /// goes on with what it knows until it knows the new, and with the sockets that it has. Sandboxes
    /// without a namespace are left out.
    ///
    /// # Errors
    /// [`Error::Names`]: a resolver is needed and does not start, or cannot enter a namespace; the others
    /// are served.
    pub fn sync(&self, sandboxes: &[Sandbox], names: &[(String, Entry)]) -> Result<(), Error> {
        let mut state = self.0.lock();
        let by_id = |sandbox: &Sandbox| (sandbox.id.clone(), sandbox.clone());
        state.sandboxes = sandboxes.iter().map(by_id).collect();
        state.names.clear();
        for (network, entry) in names {
            let endpoints = state.names.entry(network.clone()).or_default();
            endpoints.insert(entry.endpoint.clone(), entry.clone());
        }
        let synced = self.0.connect(&mut state).and_then(first);
        synced.map_err(failed("bring up to date"))
    }

    /// Ends the resolver, unless it has sandboxes.
    pub fn stop(&self) {
        let mut state = self.0.lock();
        if !state.sandboxes.is_empty() {
            return;
        }
        state.generation += 1;
        if let Some(mut connection) = state.connection.take() {
            // One that does not hear it ends by itself, since nobody is connected.
            let _ = protocol::ask(&mut connection.stream, &Request::Leave, None);
            let _ = fs_err::remove_file(&self.0.socket);
        }
    }
}

/// Sandboxes that are not served, and why.
type Failures = Vec<(String, io::Error)>;

fn first(failures: Failures) -> io::Result<()> {
    failures
        .into_iter()
        .next()
        .map_or(Ok(()), |(_, error)| Err(error))
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the resolver a change that `state` has already; one that is not there any more is replaced.
    fn tell(self: &Arc<Self>, state: &mut State, request: &Request) -> io::Result<()> {
        if let Some(connection) = &mut state.connection {
            match protocol::ask(&mut connection.stream, request, None) {
                Ok(reply) => return done(reply),
                Err(error) => tracing::warn!(%error, "the resolver of names is gone"),
            }
            state.connection = None;
        }
        if state.sandboxes.is_empty() {
            return Ok(());
        }
        self.connect(state).and_then(first)
    }

    fn tell_sandbox(self: &Arc<Self>, state: &mut State, sandbox: &Sandbox) -> io::Result<()> {
        let netns = fs_err::File::open(&sandbox.netns)?;
        if let Some(connection) = &mut state.connection {
            let request = Request::Add(sandbox.clone());
            match protocol::ask(&mut connection.stream, &request, Some(netns.as_fd())) {
                Ok(reply) => return done(reply),
                Err(error) => tracing::warn!(%error, "the resolver of names is gone"),
            }
            state.connection = None;
        }
        let failures = self.connect(state)?;
        let own = failures.into_iter().find(|(id, _)| *id == sandbox.id);
        own.map_or(Ok(()), |(_, error)| Err(error))
    }

    /// Finds the resolver, or starts one if there is something to serve, and tells it everything. One of
    /// another version serves until its successor does.
    fn connect(self: &Arc<Self>, state: &mut State) -> io::Result<Failures> {
        state.connection = None;
        state.generation += 1;
        let mut found = self.find().ok();
        let usable = match &mut found {
            Some(stream) => speaks_our_version(stream).unwrap_or(false),
            None => false,
        };
        if state.sandboxes.is_empty() && !usable {
            if let Some(mut other) = found {
                let _ = protocol::ask(&mut other, &Request::Leave, None);
            }
            return Ok(Vec::new());
        }
        let (mut stream, replaced) = match found {
            Some(stream) if usable => (stream, None),
            other => (self.start()?, other),
        };
        let failures = bring_up_to_date(&mut stream, state)?;
        if let Some(mut replaced) = replaced {
            let _ = protocol::ask(&mut replaced, &Request::Leave, None);
        }
        let watch = self.find()?;
        watch.set_read_timeout(None)?;
        self.watch(watch.try_clone()?, state.generation)?;
        state.connection = Some(Connection {
            stream,
            watch,
            since: Instant::now(),
        });
        Ok(failures)
    }

    /// Connects to the resolver that is there.
    fn find(&self) -> io::Result<UnixStream> {
        let (Some(directory), Some(name)) = (self.socket.parent(), self.socket.file_name()) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        let directory = fs_err::File::open(directory)?;
        let stream = socket::connect_at(directory.as_fd(), &name.to_string_lossy(), None)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(stream)
    }

    /// Starts a resolver, which leaves a child of its own behind and serves when it says so.
    fn start(&self) -> io::Result<UnixStream> {
        let mut child = hull_linux::process::without_blocked_signals(
            Command::new(&self.program)
                .arg(&self.socket)
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                // It lives on with what the daemon's environment may hold: nothing of it is needed.
                .env_clear()
                .current_dir("/"),
        )
        .spawn()
        .map_err(|error| {
            let program = self.program.display();
            io::Error::new(error.kind(), format!("could not start {program}: {error}"))
        })?;
        let told = match child.stdout.take() {
            Some(stdout) => hear(stdout, Instant::now() + PATIENCE),
            None => Ok(String::new()),
        };
        // It has ended, or nobody waits for it any more.
        let _ = child.kill();
        child.wait()?;
        let told = told?;
        if told != "ready" {
            return Err(io::Error::other(format!("it did not start: {told}")));
        }
        let mut stream = self.find()?;
        match speaks_our_version(&mut stream)? {
            true => Ok(stream),
            false => Err(io::Error::other(format!(
                "{} is of another version",
                self.program.display()
            ))),
        }
    }

    /// Waits in a thread for the end of the resolver.
    fn watch(self: &Arc<Self>, watch: UnixStream, generation: u64) -> io::Result<()> {
        let inner = Arc::downgrade(self);
        std::thread::Builder::new()
            .name("names".to_owned())
            .stack_size(256 << 10)
            .spawn(move || {
                // It says nothing on this connection: what can be read is its end.
                let _ = (&watch).read(&mut [0]);
                replace(&inner, generation);
            })
            .map(drop)
    }
}

/// Replaces a resolver that has ended, unless somebody else has, or nobody needs one.
fn replace(inner: &Weak<Inner>, mut generation: u64) {
    let mut pause = PAUSE;
    loop {
        // Whoever holds the handle may let it go meanwhile.
        let Some(inner) = inner.upgrade() else { return };
        let mut state = inner.lock();
        if state.generation != generation {
            return;
        }
        let ended = state.connection.take();
        if state.sandboxes.is_empty() {
            return;
        }
        if ended.is_some_and(|connection| connection.since.elapsed() < SOON) {
            tracing::warn!("the resolver of names ended soon after its start");
        } else {
            match inner.connect(&mut state) {
                Ok(failures) => {
                    tracing::warn!("the resolver of names had ended and was replaced");
                    for (id, error) in failures {
                        tracing::warn!(sandbox = id, %error, "its names are not answered");
                    }
                    return;
                }
                Err(error) => tracing::error!(%error, "the resolver of names has ended"),
            }
        }
        generation = state.generation;
        drop(state);
        drop(inner);
        // What is waited for, memory or descriptors, has no event.
        std::thread::park_timeout(pause);
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// What a program says until nobody can say more, or has said too much.
fn hear(mut output: impl io::Read + AsFd, deadline: Instant) -> io::Result<String> {
    let reactor = Reactor::new()?;
    reactor.add(&output, 0, Interest::READ)?;
    let (mut told, mut chunk) = (Vec::new(), [0; 1024]);
    while told.len() < LONGEST_WORDS {
        let left = deadline.saturating_duration_since(Instant::now());
        if reactor.wait(Some(left))?.is_empty() {
            if left.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            continue;
        }
        match output.read(&mut chunk)? {
            0 => break,
            length => told.extend_from_slice(&chunk[..length]),
        }
    }
    Ok(String::from_utf8_lossy(&told).into_owned())
}

fn speaks_our_version(stream: &mut UnixStream) -> io::Result<bool> {
    let reply = protocol::ask(stream, &Request::Hello, None)?;
    Ok(matches!(reply, Reply::Version(version) if version == protocol::VERSION))
}

fn bring_up_to_date(stream: &mut UnixStream, state: &State) -> io::Result<Failures> {
    let mut failures = Vec::new();
    let mut sandboxes = Vec::new();
    for sandbox in state.sandboxes.values() {
        match fs_err::metadata(&sandbox.netns) {
            Ok(file) => {
                let identity = Identity {
                    device: file.dev(),
                    inode: file.ino(),
                };
                sandboxes.push((identity, sandbox.clone()));
            }
            Err(error) => failures.push((sandbox.id.clone(), error)),
        }
    }
    let of_network = |(network, entries): (&String, &BTreeMap<String, Entry>)| {
        let network = network.clone();
        let entries: Vec<Entry> = entries.values().cloned().collect();
        entries
            .into_iter()
            .map(move |entry| (network.clone(), entry))
    };
    let names = state.names.iter().flat_map(of_network).collect();
    let missing = match protocol::ask(stream, &Request::Sync { sandboxes, names }, None)? {
        Reply::Missing(missing) => missing,
        other => return Err(unexpected(other)),
    };
    for id in missing {
        let Some(sandbox) = state.sandboxes.get(&id) else {
            continue;
        };
        let netns = match fs_err::File::open(&sandbox.netns) {
            Ok(netns) => netns,
            Err(error) => {
                failures.push((id, error));
                continue;
            }
        };
        let request = Request::Add(sandbox.clone());
        if let Err(error) = done(protocol::ask(stream, &request, Some(netns.as_fd()))?) {
            failures.push((id, error));
        }
    }
    Ok(failures)
}

fn done(reply: Reply) -> io::Result<()> {
    match reply {
        Reply::Done => Ok(()),
        other => Err(unexpected(other)),
    }
}

fn unexpected(reply: Reply) -> io::Error {
    match reply {
        Reply::Failed(message) => io::Error::other(message),
        other => io::Error::other(format!("unexpected answer {other:?}")),
    }
}

fn failed(operation: &'static str) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::Names { operation, source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    #[test]
    fn nobody_is_heard_for_ever() {
        let now = Instant::now();
        let later = now + Duration::from_secs(60);
        let (reader, mut writer) = io::pipe().unwrap();
        writer.write_all(b"rea").unwrap();
        let late = hear(reader.try_clone().unwrap(), now).unwrap_err();
        assert_eq!(late.kind(), io::ErrorKind::TimedOut);
        writer.write_all(b"dy").unwrap();
        drop(writer);
        assert_eq!(hear(reader, later).unwrap(), "dy");
        let (reader, mut writer) = io::pipe().unwrap();
        writer.write_all(&[b'x'; 3 * LONGEST_WORDS]).unwrap();
        assert!(hear(reader, later).unwrap().len() < 2 * LONGEST_WORDS);
    }
}
