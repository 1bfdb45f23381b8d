//! Where requests come from.

use super::grant::Grant;
use crate::transport::Socket;
use std::fmt;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// What is answered on a socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Serves {
    /// The API.
    #[default]
    Api,
    /// The web page.
    Page,
    /// Metrics.
    Metrics,
}

/// A socket that is listened on.
#[derive(Debug, Default)]
pub(crate) struct Door {
    pub(crate) serves: Serves,
    /// Its address, for the audit log.
    pub(crate) address: String,
    /// What limits those who come in by it.
    pub(crate) grant: Option<Arc<Grant>>,
    /// Cancelled when the grant is taken back: its clients are cut off.
    pub(crate) closed: CancellationToken,
}

impl Door {
    /// One without limits.
    pub(crate) fn new(address: &dyn fmt::Display, serves: Serves) -> Self {
        Self {
            serves,
            address: address.to_string(),
            ..Self::default()
        }
    }
}

/// Who is on the other end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Peer {
    /// A process, by its credentials when it connected: unix(7), `SO_PEERCRED`.
    Process { uid: u32, gid: u32, pid: i32 },
    /// Another host, or nobody who can be named.
    #[default]
    Unknown,
}

impl Peer {
    /// Looks at a connected socket.
    fn of(socket: &Socket) -> Self {
        let Socket::Unix(socket) = socket else {
            return Self::Unknown;
        };
        socket
            .peer_cred()
            .map_or(Self::Unknown, |who| Self::Process {
                uid: who.uid(),
                gid: who.gid(),
                pid: who.pid().unwrap_or(0),
            })
    }
}

/// Where a request came from.
#[derive(Debug, Default)]
pub(crate) struct Origin {
    pub(crate) door: Arc<Door>,
    pub(crate) peer: Peer,
    /// Host and port of a TCP client.
    pub(crate) remote: Option<std::net::SocketAddr>,
}

impl Origin {
    /// Who has come in by `door`.
    pub(crate) fn of(socket: &Socket, door: Arc<Door>) -> Self {
        let remote = match socket {
            Socket::Unix(_) => None,
            Socket::Tcp(socket) => socket.peer_addr().ok(),
            Socket::Tls(socket) => socket.get_ref().0.peer_addr().ok(),
        };
        Self {
            door,
            peer: Peer::of(socket),
            remote,
        }
    }
}
