//! Clients of UDP: each has a socket to the container, so that answers find their way back.

use super::{Limits, Port, Token};
use hull_linux::datagram;
use hull_linux::reactor::{Interest, Reactor};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, ipproto};
use std::collections::HashMap;
use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// So many datagrams of one socket are passed on before others have their turn.
const TURNS: usize = 64;

/// Who asked, at which port, and by which address of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Client {
    port: usize,
    from: SocketAddrV6,
    to: Ipv6Addr,
}

#[derive(Debug)]
struct Session {
    client: Client,
    socket: OwnedFd,
    target: SocketAddr,
    last: Instant,
}

#[derive(Debug)]
pub(super) struct Sessions {
    all: HashMap<u64, Session>,
    ids: HashMap<Client, u64>,
    next: u64,
    /// When those that were silent too long are looked for.
    sweep: Option<Instant>,
    limits: Limits,
}

impl Sessions {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            all: HashMap::new(),
            ids: HashMap::new(),
            next: 0,
            sweep: None,
            limits,
        }
    }

    /// When [`Self::expire`] has something to do.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.sweep
    }

    /// Forgets clients that were silent too long.
    pub(super) fn expire(&mut self, now: Instant) {
        if self.sweep.is_none_or(|at| at > now) {
            return;
        }
        let idle = self.limits.idle;
        self.all
            .retain(|_, session| now.saturating_duration_since(session.last) < idle);
        self.ids.retain(|_, id| self.all.contains_key(id));
        self.sweep = (!self.all.is_empty()).then(|| now + self.pause());
    }

    fn pause(&self) -> Duration {
        self.limits.idle / 8
    }

    /// Passes on what clients sent to one port.
    pub(super) fn on_question(
        &mut self,
        reactor: &Reactor,
        ports: &[Port],
        at: usize,
        buffer: &mut [u8],
    ) {
        let Some(port) = ports.get(at) else {
            return;
        };
        for _ in 0..TURNS {
            let came = match datagram::receive(&port.socket, buffer) {
                Ok(came) => came,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return,
                // What the network told of an earlier answer.
                Err(_) => continue,
            };
            let client = Client {
                port: at,
                from: came.from,
                to: came.to,
            };
            let Some(target) = port.target() else {
                continue;
            };
            if let Some(session) = self.of(reactor, client, target) {
                session.last = Instant::now();
                let bytes = buffer.get(..came.length).unwrap_or_default();
                // An error may be of an earlier datagram, and is told but once.
                if send(&session.socket, bytes).is_err() {
                    let _ = send(&session.socket, bytes);
                }
            }
        }
    }

    fn of(
        &mut self,
        reactor: &Reactor,
        client: Client,
        target: SocketAddr,
    ) -> Option<&mut Session> {
        let known = self.ids.get(&client).copied();
        let stale = |id: &u64| self.all.get(id).is_none_or(|one| one.target != target);
        let id = match known {
            Some(id) if !stale(&id) => id,
            Some(id) => {
                self.forget(id);
                self.begin(reactor, client, target)?
            }
            None => self.begin(reactor, client, target)?,
        };
        self.all.get_mut(&id)
    }

    fn begin(&mut self, reactor: &Reactor, client: Client, target: SocketAddr) -> Option<u64> {
        if self.all.len() >= self.limits.sessions {
            let oldest = self.all.iter().min_by_key(|(_, session)| session.last);
            let oldest = oldest.map(|(id, _)| *id)?;
            self.forget(oldest);
        }
        let socket = connect(target).ok()?;
        let id = self.next;
        reactor
            .add(&socket, Token::Session(id).pack(), Interest::READ)
            .ok()?;
        self.next += 1;
        let now = Instant::now();
        let session = Session {
            client,
            socket,
            target,
            last: now,
        };
        self.all.insert(id, session);
        self.ids.insert(client, id);
        if self.sweep.is_none() {
            self.sweep = Some(now + self.pause());
        }
        Some(id)
    }

    fn forget(&mut self, id: u64) {
        if let Some(session) = self.all.remove(&id) {
            self.ids.remove(&session.client);
        }
    }

    /// Passes on what the container answered to one client.
    pub(super) fn on_answer(&mut self, ports: &[Port], id: u64, buffer: &mut [u8]) {
        let Some(session) = self.all.get_mut(&id) else {
            return;
        };
        let client = session.client;
        let Some(port) = ports.get(client.port) else {
            return;
        };
        for _ in 0..TURNS {
            let length = match rustix::net::recv(&session.socket, &mut *buffer, RecvFlags::DONTWAIT)
            {
                Ok((_, length)) => length,
                Err(Errno::AGAIN) => return,
                // Nobody listens in the container; the client finds out by itself.
                Err(_) => continue,
            };
            session.last = Instant::now();
            let bytes = buffer.get(..length).unwrap_or_default();
            let _ = datagram::send(&port.socket, bytes, client.to, client.from);
        }
    }
}

fn send(socket: &OwnedFd, bytes: &[u8]) -> rustix::io::Result<usize> {
    rustix::net::send(socket, bytes, SendFlags::NOSIGNAL)
}

fn connect(target: SocketAddr) -> rustix::io::Result<OwnedFd> {
    let family = match target {
        SocketAddr::V4(_) => AddressFamily::INET,
        SocketAddr::V6(_) => AddressFamily::INET6,
    };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(family, SocketType::DGRAM, flags, Some(ipproto::UDP))?;
    rustix::net::connect(&socket, &target)?;
    Ok(socket)
}
