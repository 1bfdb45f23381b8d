//! Connections: a client's, and the one to the container that was made for it.
//!
//! Bytes are looked at, sent, and only then taken from the socket that they came from (`MSG_PEEK`, and
//! `MSG_TRUNC`, which tcp(7) has for throwing away). What the other side does not take stays where it is, and makes the
//! sender wait in its turn.

use super::{Limits, Port, Token};
use hull_linux::reactor::{Interest, Reactor, Ready};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, Shutdown, SocketFlags, SocketType, ipproto, sockopt,
};
use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// So many connections are accepted, and so often is one side read, before others have their turn.
const TURNS: usize = 16;

/// How long a connection may be silent before its end is asked whether it still is there, as docker-proxy does.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

#[derive(Debug)]
struct Side {
    socket: OwnedFd,
    /// Whether more may come from here; an end is passed on.
    open: bool,
    /// Whether what comes from here has to wait for the other side.
    blocked: bool,
    /// What is waited for.
    interest: Interest,
}

impl Side {
    fn new(socket: OwnedFd) -> Self {
        Self {
            socket,
            open: true,
            blocked: false,
            interest: Interest::NONE,
        }
    }
}

#[derive(Debug)]
struct Connection {
    /// The client, the container.
    sides: [Side; 2],
    connecting: bool,
}

/// A connection of which one end failed; it is reset at both.
struct Broken;

#[derive(Debug)]
pub(super) struct Connections {
    all: HashMap<u64, Connection>,
    next: u64,
    /// In the order in which they began.
    connecting: VecDeque<(Instant, u64)>,
    limits: Limits,
}

impl Connections {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            all: HashMap::new(),
            next: 0,
            connecting: VecDeque::new(),
            limits,
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.all.len() >= self.limits.connections
    }

    /// Accepts what there is; `false` when no more can be accepted for now.
    pub(super) fn accept(&mut self, reactor: &Reactor, port: &Port) -> bool {
        for _ in 0..TURNS {
            if self.is_full() {
                return false;
            }
            let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
            match rustix::net::accept_with(&port.socket, flags) {
                Ok(client) => self.begin(reactor, client, port.target()),
                Err(Errno::AGAIN) => return true,
                Err(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM) => return false,
                // The client is gone already, or the network told of an error: accept(2).
                Err(_) => {}
            }
        }
        true
    }

    fn begin(&mut self, reactor: &Reactor, client: OwnedFd, target: Option<SocketAddr>) {
        let Some(Ok(container)) = target.map(connect) else {
            reset(&client);
            return;
        };
        keep_alive(&client);
        keep_alive(&container);
        let connection = Connection {
            sides: [Side::new(client), Side::new(container)],
            connecting: true,
        };
        let id = self.next;
        self.next += 1;
        self.connecting
            .push_back((Instant::now() + self.limits.connect, id));
        self.all.insert(id, connection);
        self.update(reactor, id);
    }

    /// When the first that still connects has to be given up.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.connecting.front().map(|(at, _)| *at)
    }

    /// Gives up those that took too long to connect.
    pub(super) fn expire(&mut self, now: Instant) {
        while let Some((at, id)) = self.connecting.front().copied() {
            let waits = self.all.get(&id).is_some_and(|one| one.connecting);
            if waits && at > now {
                return;
            }
            self.connecting.pop_front();
            if waits {
                self.break_off(id);
            }
        }
    }

    pub(super) fn on_ready(
        &mut self,
        reactor: &Reactor,
        (id, side): (u64, usize),
        ready: Ready,
        buffer: &mut [u8],
    ) {
        // Events of one that has just ended may still be in the list.
        let Some(connection) = self.all.get_mut(&id) else {
            return;
        };
        match connection.on_ready(side, ready, buffer) {
            Ok(true) => self.update(reactor, id),
            Ok(false) => drop(self.all.remove(&id)),
            Err(Broken) => self.break_off(id),
        }
    }

    fn update(&mut self, reactor: &Reactor, id: u64) {
        let updated = self
            .all
            .get_mut(&id)
            .map(|connection| connection.update(reactor, id));
        if let Some(Err(_)) = updated {
            self.break_off(id);
        }
    }

    fn break_off(&mut self, id: u64) {
        if let Some(connection) = self.all.remove(&id) {
            connection.sides.iter().for_each(|side| reset(&side.socket));
        }
    }
}

impl Connection {
    /// `false` when both directions have come to their end.
    fn on_ready(&mut self, side: usize, ready: Ready, buffer: &mut [u8]) -> Result<bool, Broken> {
        if self.connecting {
            if side == 1 && (ready.writable || ready.hung_up) {
                match sockopt::socket_error(&self.sides[1].socket) {
                    Ok(Ok(())) => self.connecting = false,
                    _ => return Err(Broken),
                }
            }
            return Ok(true);
        }
        if ready.readable && self.sides[side].open && !self.sides[side].blocked {
            self.pass_on(side, buffer)?;
        }
        if (ready.writable || ready.hung_up) && self.sides[1 - side].blocked {
            self.sides[1 - side].blocked = false;
            self.pass_on(1 - side, buffer)?;
        }
        Ok(self.sides.iter().any(|side| side.open))
    }

    /// Passes on what came from one side, as far as the other takes it.
    fn pass_on(&mut self, from: usize, buffer: &mut [u8]) -> Result<(), Broken> {
        let [client, container] = &mut self.sides;
        let (from, to) = match from {
            0 => (client, container),
            _ => (container, client),
        };
        for _ in 0..TURNS {
            let bytes = match rustix::net::recv(&from.socket, &mut *buffer, RecvFlags::PEEK) {
                Ok((_, 0)) => {
                    from.open = false;
                    let ended = rustix::net::shutdown(&to.socket, Shutdown::Write);
                    return ended.map_err(|_| Broken);
                }
                Ok((_, length)) => &buffer[..length],
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR) => continue,
                Err(_) => return Err(Broken),
            };
            let (length, sent) = match rustix::net::send(&to.socket, bytes, SendFlags::NOSIGNAL) {
                Ok(sent) => (bytes.len(), sent),
                Err(Errno::AGAIN) => (bytes.len(), 0),
                Err(Errno::INTR) => continue,
                Err(_) => return Err(Broken),
            };
            if sent > 0 {
                let taken = buffer.get_mut(..sent).ok_or(Broken)?;
                rustix::net::recv(&from.socket, taken, RecvFlags::TRUNC).map_err(|_| Broken)?;
            }
            if sent < length {
                from.blocked = true;
                return Ok(());
            }
        }
        Ok(())
    }

    /// Waits for what there is to wait for. A side from which nothing is wanted is taken out, since the
    /// kernel would tell of its end again and again.
    fn update(&mut self, reactor: &Reactor, id: u64) -> std::io::Result<()> {
        for at in 0..2 {
            let wanted = Interest {
                readable: !self.connecting && self.sides[at].open && !self.sides[at].blocked,
                writable: self.sides[1 - at].blocked || self.connecting && at == 1,
            };
            let side = &mut self.sides[at];
            let token = Token::Connection(id, at).pack();
            if side.interest == wanted {
                continue;
            }
            if wanted == Interest::NONE {
                reactor.remove(&side.socket)?;
            } else if side.interest == Interest::NONE {
                reactor.add(&side.socket, token, wanted)?;
            } else {
                reactor.change(&side.socket, token, wanted)?;
            }
            side.interest = wanted;
        }
        Ok(())
    }
}

fn connect(target: SocketAddr) -> rustix::io::Result<OwnedFd> {
    let family = match target {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, Some(ipproto::TCP))?;
    match rustix::net::connect(&socket, &target) {
        Ok(()) | Err(Errno::INPROGRESS) => Ok(socket),
        Err(error) => Err(error),
    }
}

/// Ends of connections that vanished do not stay for ever; small pieces are not kept back.
fn keep_alive(socket: &OwnedFd) {
    let _ = sockopt::set_tcp_nodelay(socket, true);
    let _ = sockopt::set_tcp_keepidle(socket, KEEP_ALIVE);
    let _ = sockopt::set_tcp_keepintvl(socket, KEEP_ALIVE);
    let _ = sockopt::set_socket_keepalive(socket, true);
}

/// Has the other end see that this was no orderly end (socket(7), `SO_LINGER` of no time), once it is closed.
fn reset(socket: &OwnedFd) {
    let _ = sockopt::set_socket_linger(socket, Some(Duration::ZERO));
}
