//! Sockets inside containers' namespaces.

use super::super::Sandbox;
use super::super::protocol::Identity;
use super::rewrite::Rules;
use hull_linux::namespace::{self, flag};
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The address that containers ask; Docker's.
pub(super) const ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 11);

/// A sandbox and the sockets in its namespace. They keep the namespace alive.
#[derive(Debug)]
pub(super) struct Served {
    pub(super) sandbox: Sandbox,
    pub(super) identity: Identity,
    /// Kept only where other servers are asked from inside.
    pub(super) netns: Option<OwnedFd>,
    pub(super) udp: UdpSocket,
    pub(super) tcp: TcpListener,
    /// Connections.
    pub(super) streams: usize,
}

impl Served {
    /// Listens in a namespace, and leads there what is sent to port 53.
    pub(super) fn open(home: &Home, sandbox: Sandbox, netns: OwnedFd) -> io::Result<Self> {
        let identity = identity(netns.as_fd())?;
        let (udp, tcp) = home.inside(netns.as_fd(), listen)?;
        udp.set_nonblocking(true)?;
        tcp.set_nonblocking(true)?;
        let netns = (!sandbox.servers.is_empty()).then_some(netns);
        Ok(Self {
            sandbox,
            identity,
            netns,
            udp,
            tcp,
            streams: 0,
        })
    }

    /// Whether the sockets are in the namespace `identity` and all that `sandbox` wants is at hand.
    pub(super) fn serves(&self, identity: Identity, sandbox: &Sandbox) -> bool {
        self.identity == identity && (sandbox.servers.is_empty() || self.netns.is_some())
    }
}

/// Listens in the calling thread's namespace: where a resolver that is gone has listened, to which port 53
/// leads already, or at ports of the kernel's choice.
fn listen() -> io::Result<(UdpSocket, TcpListener)> {
    let bind = |udp: u16, tcp: u16| -> io::Result<_> {
        let udp = UdpSocket::bind((ADDRESS, udp))?;
        Ok((udp, TcpListener::bind((ADDRESS, tcp))?))
    };
    let mut rules = Rules::open()?;
    if let Some((udp, tcp)) = rules.ports()
        && let Ok(sockets) = bind(udp, tcp)
    {
        return Ok(sockets);
    }
    let (udp, tcp) = bind(0, 0)?;
    rules.install(udp.local_addr()?.port(), tcp.local_addr()?.port())?;
    Ok((udp, tcp))
}

/// Which namespace a descriptor is of.
pub(super) fn identity(netns: BorrowedFd<'_>) -> io::Result<Identity> {
    let stat = rustix::fs::fstat(netns)?;
    Ok(Identity {
        device: stat.st_dev,
        inode: stat.st_ino,
    })
}

/// The namespace that this process lives in: the host's.
pub(super) struct Home(OwnedFd);

impl fmt::Debug for Home {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Home")
    }
}

impl Home {
    pub(super) fn open() -> io::Result<Self> {
        let file = fs_err::File::open("/proc/self/ns/net")?;
        Ok(Self(file.into_file().into()))
    }

    /// Does something in another namespace. This process has one thread.
    pub(super) fn inside<T>(
        &self,
        netns: BorrowedFd<'_>,
        work: impl FnOnce() -> io::Result<T>,
    ) -> io::Result<T> {
        namespace::join(netns, flag::NETWORK)?;
        let outcome = work();
        if namespace::join(self.0.as_fd(), flag::NETWORK).is_err() {
            // Whatever is opened from now on would be in a container's network: the daemon starts another.
            std::process::abort();
        }
        outcome
    }
}
