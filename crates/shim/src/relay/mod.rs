//! Published ports at IPv6 addresses that the kernel does not translate: bytes are passed on.
//!
//! Containers without IPv6 are reached by it nevertheless, and all by `::1`, whose packets never leave the
//! loopback device. The shim has the sockets that keep the ports anyway. It waits for the first client in
//! its own loop; then one thread begins that serves all ports of the container, and ends with the shim.
//! What goes from one side to the other stays in the kernel until the other side takes it, so no client
//! has memory of the shim's.

mod tcp;
#[cfg(test)]
mod tests;
mod udp;

use crate::launch::{Relay, Transport};
use hull_linux::datagram;
use hull_linux::reactor::{Interest, Reactor};
use rustix::net::{SocketType, sockopt};
use rustix::process::{Resource, getrlimit};
use std::io;
use std::net::{SocketAddr, SocketAddrV6};
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Connections that wait to be accepted, of one port.
const BACKLOG: i32 = 128;

/// Bytes of datagrams that wait to be read, of one port: the kernel's default, since a socket that only keeps
/// its port has next to nothing.
const RECEIVE_BUFFER: usize = 212_992;

/// The most bytes that are taken at once, which is more than the largest datagram has.
const CHUNK: usize = 64 << 10;

/// How long no connection is accepted after the kernel had no descriptor for one.
const PAUSE: Duration = Duration::from_millis(500);

/// Bounds on what clients can make a relay do.
#[derive(Clone, Copy, Debug)]
struct Limits {
    /// Connections at a time; further ones wait in the kernel.
    connections: usize,
    /// Clients of UDP at a time; a new one takes the place of the one that was silent longest.
    sessions: usize,
    /// How long connecting to the container may take.
    connect: Duration,
    /// After so much silence a client of UDP is forgotten.
    idle: Duration,
}

impl Limits {
    /// As many as there may be with the descriptors that this process may have.
    fn of_this_process() -> Self {
        let most = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        let free = usize::try_from(most)
            .unwrap_or(usize::MAX)
            .saturating_sub(512);
        Self {
            connections: (free / 4).clamp(16, 4096),
            sessions: (free / 4).clamp(16, 1024),
            connect: Duration::from_secs(30),
            idle: Duration::from_secs(90),
        }
    }
}

/// A socket that is served.
#[derive(Debug)]
struct Port {
    socket: OwnedFd,
    transport: Transport,
    listen: SocketAddrV6,
    /// `None`: the container is not reached at present.
    target: Mutex<Option<SocketAddr>>,
}

impl Port {
    fn target(&self) -> Option<SocketAddr> {
        *self.target.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_meant(&self, relay: &Relay) -> bool {
        self.transport == relay.transport && self.listen == relay.listen
    }
}

/// The sockets that a shim holds.
#[derive(Debug)]
pub(crate) struct Relays {
    ports: Arc<Vec<Port>>,
    limits: Limits,
    begun: bool,
    /// They keep their ports, and nobody reads them.
    _kept: Vec<OwnedFd>,
}

impl Relays {
    /// Begins to listen at those of `held` that `relays` names; all others are kept as they are.
    ///
    /// # Errors
    /// What listen(2) and setsockopt(2) give.
    pub(crate) fn new(held: Vec<OwnedFd>, relays: &[Relay]) -> io::Result<Self> {
        let (mut ports, mut kept) = (Vec::new(), Vec::new());
        for socket in held {
            match relays.iter().find(|relay| is_bound(&socket, relay)) {
                Some(relay) => {
                    prepare(&socket, relay.transport)?;
                    ports.push(Port {
                        socket,
                        transport: relay.transport,
                        listen: relay.listen,
                        target: Mutex::new(Some(relay.target)),
                    });
                }
                None => kept.push(socket),
            }
        }
        Ok(Self {
            ports: Arc::new(ports),
            limits: Limits::of_this_process(),
            begun: false,
            _kept: kept,
        })
    }

    /// Has the first client of any port waited for.
    ///
    /// # Errors
    /// What epoll_ctl(2) gives.
    pub(crate) fn watch(&self, reactor: &Reactor, token: u64) -> io::Result<()> {
        self.ports
            .iter()
            .try_for_each(|port| reactor.add(&port.socket, token, Interest::READ))
    }

    /// The first client is there: from now on a thread waits for them.
    pub(crate) fn begin(&mut self, reactor: &Reactor) {
        // Several ports may have had their first client at once.
        if std::mem::replace(&mut self.begun, true) {
            return;
        }
        for port in self.ports.iter() {
            let _ = reactor.remove(&port.socket);
        }
        let (ports, limits) = (Arc::clone(&self.ports), self.limits);
        // Without a thread the ports are kept, and clients wait until they give up.
        let _ = std::thread::Builder::new()
            .name("relay".to_owned())
            .stack_size(256 << 10)
            .spawn(move || Server::new(ports, limits)?.run());
    }

    /// Where new connections lead from now on; ports that `relays` does not name lead nowhere. Those
    /// that there are stay.
    pub(crate) fn retarget(&self, relays: &[Relay]) {
        for port in self.ports.iter() {
            let found = relays.iter().find(|relay| port.is_meant(relay));
            *port.target.lock().unwrap_or_else(PoisonError::into_inner) =
                found.map(|relay| relay.target);
        }
    }
}

fn is_bound(socket: &OwnedFd, relay: &Relay) -> bool {
    let kind = match relay.transport {
        Transport::Tcp => SocketType::STREAM,
        Transport::Udp => SocketType::DGRAM,
    };
    let protocol = match relay.transport {
        Transport::Tcp => rustix::net::ipproto::TCP,
        Transport::Udp => rustix::net::ipproto::UDP,
    };
    let at = rustix::net::getsockname(socket).and_then(SocketAddrV6::try_from);
    at.is_ok_and(|at| at.ip() == relay.listen.ip() && at.port() == relay.listen.port())
        && sockopt::socket_type(socket) == Ok(kind)
        && sockopt::socket_protocol(socket) == Ok(Some(protocol))
}

fn prepare(socket: &OwnedFd, transport: Transport) -> io::Result<()> {
    rustix::io::ioctl_fionbio(socket, true)?;
    match transport {
        Transport::Tcp => {
            // Connections that are over must not keep the port from the next container (TIME-WAIT).
            sockopt::set_socket_reuseaddr(socket, true)?;
            rustix::net::listen(socket, BACKLOG)?;
        }
        Transport::Udp => {
            sockopt::set_socket_recv_buffer_size(socket, RECEIVE_BUFFER)?;
            datagram::tell_destinations(socket)?;
        }
    }
    Ok(())
}

/// What the tokens of the thread's reactor stand for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    Port(usize),
    /// Of a connection, one side: 0 is the client.
    Connection(u64, usize),
    Session(u64),
}

impl Token {
    fn pack(self) -> u64 {
        match self {
            Self::Port(at) => at as u64,
            Self::Connection(id, side) => 1 << 62 | id << 1 | side as u64,
            Self::Session(id) => 2 << 62 | id,
        }
    }

    fn unpack(token: u64) -> Self {
        let rest = token & ((1 << 62) - 1);
        match token >> 62 {
            0 => Self::Port(usize::try_from(rest).unwrap_or(usize::MAX)),
            1 => Self::Connection(rest >> 1, usize::from(rest & 1 == 1)),
            _ => Self::Session(rest),
        }
    }
}

/// The thread.
struct Server {
    reactor: Reactor,
    ports: Arc<Vec<Port>>,
    connections: tcp::Connections,
    sessions: udp::Sessions,
    /// No connection is accepted until then, or until one has ended.
    paused: Option<Instant>,
    buffer: Vec<u8>,
}

impl Server {
    fn new(ports: Arc<Vec<Port>>, limits: Limits) -> io::Result<Self> {
        let reactor = Reactor::new()?;
        for (at, port) in ports.iter().enumerate() {
            reactor.add(&port.socket, Token::Port(at).pack(), Interest::READ)?;
        }
        Ok(Self {
            reactor,
            ports,
            connections: tcp::Connections::new(limits),
            sessions: udp::Sessions::new(limits),
            paused: None,
            buffer: vec![0; CHUNK],
        })
    }

    fn run(mut self) -> io::Result<()> {
        loop {
            self.step()?;
        }
    }

    fn step(&mut self) -> io::Result<()> {
        let deadlines = [
            self.paused,
            self.connections.deadline(),
            self.sessions.deadline(),
        ];
        let now = Instant::now();
        let timeout = deadlines.into_iter().flatten().min();
        let timeout = timeout.map(|at| at.saturating_duration_since(now));
        for ready in self.reactor.wait(timeout)? {
            match Token::unpack(ready.token) {
                Token::Port(at) => self.on_port(at),
                Token::Connection(id, side) => {
                    self.connections
                        .on_ready(&self.reactor, (id, side), ready, &mut self.buffer);
                }
                Token::Session(id) => {
                    self.sessions.on_answer(&self.ports, id, &mut self.buffer);
                }
            }
        }
        let now = Instant::now();
        self.connections.expire(now);
        self.sessions.expire(now);
        let over = self.paused.is_some_and(|until| until <= now);
        if over && !self.connections.is_full() {
            self.listen(true);
        } else if over {
            self.paused = Some(now + PAUSE);
        }
        Ok(())
    }

    fn on_port(&mut self, at: usize) {
        let Some(port) = self.ports.get(at) else {
            return;
        };
        match port.transport {
            Transport::Tcp => {
                if !self.connections.accept(&self.reactor, port) {
                    self.listen(false);
                }
            }
            Transport::Udp => {
                self.sessions
                    .on_question(&self.reactor, &self.ports, at, &mut self.buffer);
            }
        }
    }

    /// Begins or ceases to wait for connections.
    fn listen(&mut self, on: bool) {
        self.paused = (!on).then(|| Instant::now() + PAUSE);
        let interest = if on { Interest::READ } else { Interest::NONE };
        for (at, port) in self.ports.iter().enumerate() {
            if port.transport == Transport::Tcp {
                let token = Token::Port(at).pack();
                let _ = self.reactor.change(&port.socket, token, interest);
            }
        }
    }
}
