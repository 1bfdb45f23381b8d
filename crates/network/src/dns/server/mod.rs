//! The program `hull-dns`: one thread that waits for packets, connections and the daemon.
//!
//! ```text
//!  control.rs   the daemon's connections: sandboxes and names
//!  sandbox.rs   sockets in the containers' namespaces ── rewrite.rs: port 53 leads to them
//!  mod.rs       a question ──► zone.rs: ours? ──► forward.rs: ask others ──► upstream.rs
//!  stream.rs    containers' TCP connections          turns.rs: who waits; cache.rs, host.rs
//!  packet.rs    bytes of messages (no I/O)
//! ```
//!
//! It outlives the daemon that started it, and ends when a daemon says so, or when it has nothing to
//! serve and nobody is connected, or no daemon could find it any more: somebody else listens at its path, or
//! nobody. A namespace that nobody removes because its daemon has gone for good is
//! let go when its pinned file is no longer there: containers' processes cannot be seen from here, and
//! a namespace without one may be about to get one.

mod cache;
mod control;
mod forward;
mod host;
mod packet;
pub(crate) mod properties;
mod rewrite;
mod sandbox;
mod stream;
mod timers;
mod turns;
mod upstream;
mod zone;

use super::protocol::Identity;
use control::Control;
use forward::{Asked, Client, Delivery, Forwarder, Outcome, Surroundings};
use hull_linux::reactor::{Interest, Reactor, Ready};
use hull_linux::{capability, daemonize, process};
use packet::{Malformed, Query, rcode};
use rustix::fs::{Mode, OFlags};
use sandbox::{Home, Served};
use std::collections::{BTreeMap, HashMap};
use std::ffi::OsString;
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use stream::Stream;
use timers::{Timers, Token};
use turns::Limits;
use zone::Zone;

/// How long a resolver that serves nothing waits for a daemon.
const ALONE: Duration = Duration::from_secs(10);
/// How often a resolver without a daemon looks which namespaces are still there.
const INSPECTION: Duration = Duration::from_secs(30);
/// Packets that one sandbox's socket gives before others have their turn.
const BURST: usize = 16;
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// Runs the resolver: `hull-dns SOCKET`. Standard output is told `ready` when a daemon can
/// connect, or what went wrong.
///
/// # Errors
/// When the resolver cannot begin; whoever started it has been told.
pub fn serve(mut arguments: impl Iterator<Item = OsString>) -> io::Result<()> {
    let socket = arguments.next().map(PathBuf::from);
    let socket = socket.ok_or_else(|| io::Error::other("usage: hull-dns SOCKET"))?;
    let listed = || {
        let names = fs_err::read_dir("/proc/self/fd")?.flatten();
        let numbers = names.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        Ok(numbers.collect())
    };
    // What the daemon itself was given by others would stay open for long: nothing of ours is open yet.
    process::close_from(3, io::stdin().as_fd(), listed)?;
    daemonize::leave_parent()?;
    let begun = begin(&socket);
    let told = match &begun {
        Ok(_) => "ready".to_owned(),
        Err(error) => error.to_string(),
    };
    let mut stdout = io::stdout();
    stdout.write_all(told.as_bytes())?;
    stdout.flush()?;
    let mut server = begun?;
    release_stdio()?;
    server.run()
}

fn begin(socket: &Path) -> io::Result<Server> {
    rustix::process::umask(Mode::from_raw_mode(0o077));
    rustix::process::chdir("/")?;
    let limits = Limits::of(raise_descriptor_limit());
    let home = Home::open()?;
    drop_privileges()?;
    let listener = control::listen(socket)?;
    Server::new(socket, listener, home, limits)
}

/// Strangers' packets are read here: nothing is kept but what entering namespaces and their rules take.
fn drop_privileges() -> io::Result<()> {
    let kept = capability::Set::of(["CAP_SYS_ADMIN", "CAP_NET_ADMIN"], |_| {});
    let (own, _) = capability::own()?;
    let kept = capability::Set(kept.0 & own.0);
    capability::set(kept, kept, capability::Set(0))
}

/// A sandbox has two descriptors or three, a question to another server one.
fn raise_descriptor_limit() -> u64 {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // A lower limit serves fewer containers.
    let _ = setrlimit(Resource::Nofile, limit);
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Whoever started us sees the end of what we told it.
fn release_stdio() -> io::Result<()> {
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?;
    rustix::stdio::dup2_stdin(&null)?;
    rustix::stdio::dup2_stdout(&null)?;
    Ok(rustix::stdio::dup2_stderr(&null)?)
}

struct Server {
    reactor: Reactor,
    home: Home,
    listener: UnixListener,
    zone: Zone,
    sandboxes: HashMap<u64, Served>,
    /// Keys of the sandboxes by their ids.
    keys: HashMap<String, u64>,
    streams: BTreeMap<u64, Stream>,
    controls: HashMap<u64, Control>,
    forwarder: Forwarder,
    timers: Timers,
    last_key: u64,
    /// Where daemons connect, and the socket that was there in the beginning.
    path: PathBuf,
    place: Option<Identity>,
    /// When the last daemon went.
    alone_since: Instant,
    inspected: Instant,
    leaves: bool,
    packet: Box<[u8]>,
    answer: Vec<u8>,
}

impl Server {
    fn new(path: &Path, listener: UnixListener, home: Home, limits: Limits) -> io::Result<Self> {
        let reactor = Reactor::new()?;
        reactor.add(&listener, Token::Listener.number(), Interest::READ)?;
        let mut seed = [0; 8];
        rustix::rand::getrandom(&mut seed, rustix::rand::GetRandomFlags::empty())?;
        Ok(Self {
            reactor,
            home,
            listener,
            zone: Zone::new(u64::from_ne_bytes(seed)),
            sandboxes: HashMap::new(),
            keys: HashMap::new(),
            streams: BTreeMap::new(),
            controls: HashMap::new(),
            forwarder: Forwarder::new(RESOLV_CONF.into(), limits),
            timers: Timers::default(),
            last_key: 0,
            path: path.to_owned(),
            place: identity_at(path),
            alone_since: Instant::now(),
            inspected: Instant::now(),
            leaves: false,
            packet: vec![0; 1 << 16].into(),
            answer: Vec::new(),
        })
    }

    fn run(&mut self) -> io::Result<()> {
        while !self.leaves {
            let now = Instant::now();
            let mut wait = self.timers.next(now);
            if self.controls.is_empty() {
                wait = Some(wait.unwrap_or(ALONE).min(ALONE));
            }
            for ready in self.reactor.wait(wait)? {
                self.handle(ready);
                self.deliver_dropped();
            }
            let now = Instant::now();
            while let Some(token) = self.timers.due(now) {
                self.expire(token, now);
                self.deliver_dropped();
            }
            self.sort_timers_out();
            if self.controls.is_empty() {
                self.look_after_itself(now);
            }
        }
        Ok(())
    }

    /// Without a daemon.
    fn look_after_itself(&mut self, now: Instant) {
        if self.sandboxes.is_empty() {
            self.leaves |= now.saturating_duration_since(self.alone_since) >= ALONE;
        } else if now.saturating_duration_since(self.inspected) >= INSPECTION {
            self.inspected = now;
            if identity_at(&self.path) != self.place {
                self.leaves = true;
                return;
            }
            let is_gone =
                |served: &&Served| identity_at(&served.sandbox.netns) != Some(served.identity);
            let gone: Vec<String> = self
                .sandboxes
                .values()
                .filter(is_gone)
                .map(|served| served.sandbox.id.clone())
                .collect();
            for id in gone {
                self.remove_sandbox(&id);
            }
        }
    }

    /// Those who make room for others are told so. What a connection asks next may take more room.
    fn deliver_dropped(&mut self) {
        loop {
            let dropped = self.forwarder.dropped();
            if dropped.is_empty() {
                return;
            }
            self.deliver(dropped);
        }
    }

    /// Questions that were dropped leave timers behind.
    fn sort_timers_out(&mut self) {
        let (forwarder, streams) = (&self.forwarder, &self.streams);
        let is_of_use = |token| match token {
            Token::Upstream(id) => forwarder.is_pending(id),
            Token::Stream(key) => streams.contains_key(&key),
            _ => true,
        };
        let live = forwarder.len() + streams.len();
        self.timers.sort_out(live, is_of_use);
    }

    fn new_key(&mut self) -> u64 {
        self.last_key += 1;
        self.last_key
    }

    fn handle(&mut self, ready: Ready) {
        match Token::of(ready.token) {
            Token::Listener => self.accept_control(),
            Token::Control(key) => self.control(key, ready),
            Token::Packets(key) => self.packets(key),
            Token::Connections(key) => self.accept_stream(key),
            Token::Stream(key) => self.stream(key, ready),
            Token::Upstream(key) => {
                let around = Surroundings {
                    reactor: &self.reactor,
                    home: &self.home,
                    sandboxes: &self.sandboxes,
                };
                let done = self.forwarder.ready(around, &mut self.timers, key);
                self.deliver(done);
            }
        }
    }

    fn expire(&mut self, token: Token, now: Instant) {
        match token {
            Token::Upstream(id) => {
                let around = Surroundings {
                    reactor: &self.reactor,
                    home: &self.home,
                    sandboxes: &self.sandboxes,
                };
                let done = self.forwarder.expire(around, &mut self.timers, id, now);
                self.deliver(done);
            }
            Token::Stream(key) => self.expire_stream(key, now),
            // After a shortage.
            Token::Listener => {
                let number = token.number();
                let _ = self.reactor.change(&self.listener, number, Interest::READ);
            }
            Token::Connections(key) => {
                if let Some(served) = self.sandboxes.get(&key) {
                    let number = token.number();
                    let _ = self.reactor.change(&served.tcp, number, Interest::READ);
                }
            }
            Token::Control(_) | Token::Packets(_) => {}
        }
    }

    /// Questions over UDP.
    fn packets(&mut self, key: u64) {
        for _ in 0..BURST {
            let Some(served) = self.sandboxes.get(&key) else {
                return;
            };
            let Ok((length, from)) = served.udp.recv_from(&mut self.packet) else {
                return;
            };
            let packet = std::mem::take(&mut self.packet);
            if self.question(key, Client::Udp(from), &packet[..length])
                && let Some(served) = self.sandboxes.get(&key)
            {
                // A client that takes no answer loses it.
                let _ = served.udp.send_to(&self.answer, from);
            }
            self.packet = packet;
        }
    }

    /// Whether there is an answer now, in `self.answer`.
    fn question(&mut self, key: u64, client: Client, message: &[u8]) -> bool {
        let query = match Query::parse(message) {
            Ok(query) => query,
            Err(Malformed::Ignore) => return false,
            Err(Malformed::Refuse(code)) => {
                packet::write_failure(message, 0, code, &mut self.answer);
                return true;
            }
        };
        let Some(served) = self.sandboxes.get_mut(&key) else {
            return false;
        };
        let end = query.question_end;
        let name = query.name.as_deref().unwrap_or_default();
        if let Some(answer) = self.zone.answer(&served.sandbox, name, query.kind) {
            let limit = match client {
                Client::Udp(_) => query.limit,
                Client::Tcp(_) => usize::from(u16::MAX),
            };
            packet::write_answer(message, end, &answer, limit, &mut self.answer);
            return true;
        }
        let failure = if !served.sandbox.forward {
            Some(rcode::SERVER_FAILURE)
        } else if served.sandbox.ndots && is_address_of_single_label(&query) {
            Some(rcode::NO_ERROR)
        } else {
            None
        };
        if let Some(code) = failure {
            packet::write_failure(message, end, code, &mut self.answer);
            return true;
        }
        self.forward(key, client, message, &query)
    }

    fn forward(&mut self, key: u64, client: Client, message: &[u8], query: &Query) -> bool {
        let around = Surroundings {
            reactor: &self.reactor,
            home: &self.home,
            sandboxes: &self.sandboxes,
        };
        let asked = Asked {
            sandbox: key,
            client,
            message,
            query,
        };
        match self.forwarder.ask(around, &mut self.timers, &asked) {
            Outcome::Answer(answer) => {
                self.answer = answer;
                true
            }
            Outcome::Waits => {
                if let Client::Tcp(stream) = client
                    && let Some(stream) = self.streams.get_mut(&stream)
                {
                    stream.outstanding += 1;
                }
                false
            }
            Outcome::WaitsAlready => false,
            Outcome::Failed => {
                let end = query.question_end;
                packet::write_failure(message, end, rcode::SERVER_FAILURE, &mut self.answer);
                true
            }
        }
    }

    /// Passes on what other servers have answered.
    fn deliver(&mut self, done: Vec<Delivery>) {
        for Delivery { waiter, message } in done {
            let message = message.unwrap_or_else(|| {
                let mut failure = Vec::new();
                let end = waiter.query.len();
                packet::write_failure(&waiter.query, end, rcode::SERVER_FAILURE, &mut failure);
                failure
            });
            let Some(served) = self.sandboxes.get(&waiter.sandbox) else {
                continue;
            };
            match waiter.client {
                Client::Udp(address) => {
                    let _ = served.udp.send_to(&message, address);
                }
                Client::Tcp(key) => self.answer_stream(key, &message),
            }
        }
    }
}

fn is_address_of_single_label(query: &Query) -> bool {
    let asks_for_address = matches!(query.kind, packet::kind::A | packet::kind::AAAA);
    let name = query.name.as_deref();
    asks_for_address && name.is_some_and(|name| !name.contains('.'))
}

/// Which namespace, or socket, is at a path.
fn identity_at(path: &Path) -> Option<Identity> {
    let stat = rustix::fs::stat(path).ok()?;
    Some(Identity {
        device: stat.st_dev,
        inode: stat.st_ino,
    })
}
