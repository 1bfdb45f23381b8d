//! Connections to servers: each attempt asks for the address anew, and none waits for ever.

use crate::options::Host;
use crate::words::cause;
use rustix::io::Errno;
use rustix::net::{RecvFlags, Shutdown};
use rustls::{ClientConfig, ClientConnection, StreamOwned};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// How long a connection may take to come about.
const CONNECT_TIME: Duration = Duration::from_secs(10);
/// How long one write or read may take: what is not taken for so long is a connection that has died.
pub(crate) const TRANSFER_TIME: Duration = Duration::from_secs(30);

/// A way to a server.
#[derive(Debug)]
pub(crate) enum Connection {
    Tcp(TcpStream),
    Tls(Box<StreamOwned<ClientConnection, TcpStream>>),
    Unix(UnixStream),
    Udp(UdpSocket),
    Unixgram(UnixDatagram),
}

impl Connection {
    pub(crate) fn tcp(host: &Host) -> Result<Self, String> {
        stream(host).map(Self::Tcp)
    }

    /// With TLS; `name` is what the certificate must say where it is not the host's.
    pub(crate) fn tls(
        host: &Host,
        name: Option<&str>,
        config: &Arc<ClientConfig>,
    ) -> Result<Self, String> {
        let mut stream = stream(host)?;
        let name =
            rustls_pki_types::ServerName::try_from(name.unwrap_or(local(&host.name)).to_owned())
                .map_err(|error| format!("tls: {error}"))?;
        let mut session = ClientConnection::new(Arc::clone(config), name)
            .map_err(|error| format!("tls: {error}"))?;
        while session.is_handshaking() {
            session
                .complete_io(&mut stream)
                .map_err(|error| format!("tls: {}", cause(&error)))?;
        }
        Ok(Self::Tls(Box::new(StreamOwned::new(session, stream))))
    }

    pub(crate) fn unix(path: &Path) -> Result<Self, String> {
        let why = |error: io::Error| dial("unix", path, &error);
        let stream = UnixStream::connect(path).map_err(why)?;
        stream
            .set_write_timeout(Some(TRANSFER_TIME))
            .and_then(|()| stream.set_read_timeout(Some(TRANSFER_TIME)))
            .map_err(why)?;
        Ok(Self::Unix(stream))
    }

    pub(crate) fn unixgram(path: &Path) -> Result<Self, String> {
        let why = |error: io::Error| dial("unixgram", path, &error);
        let socket = UnixDatagram::unbound().map_err(why)?;
        socket.connect(path).map_err(why)?;
        socket.set_write_timeout(Some(TRANSFER_TIME)).map_err(why)?;
        Ok(Self::Unixgram(socket))
    }

    pub(crate) fn udp(host: &Host) -> Result<Self, String> {
        let mut last = format!("dial udp: lookup {}: no such host", host.name);
        for address in resolve("udp", host)? {
            let any: SocketAddr = match address {
                SocketAddr::V4(_) => ([0, 0, 0, 0], 0).into(),
                SocketAddr::V6(_) => ([0_u16; 8], 0).into(),
            };
            let connected = UdpSocket::bind(any).and_then(|socket| {
                socket.connect(address)?;
                socket.set_write_timeout(Some(TRANSFER_TIME))?;
                Ok(socket)
            });
            match connected {
                Ok(socket) => return Ok(Self::Udp(socket)),
                Err(error) => last = dial("udp", address, &error),
            }
        }
        Err(last)
    }

    /// How long a write and a read may take.
    pub(crate) fn limit(&self, write: Duration, read: Duration) {
        // Zero is refused, and means no limit to those who ask for it.
        let limit = |time: Duration| Some(time).filter(|time| !time.is_zero());
        let outcome = match self {
            Self::Tcp(stream) => stream
                .set_write_timeout(limit(write))
                .and_then(|()| stream.set_read_timeout(limit(read))),
            Self::Tls(stream) => stream
                .sock
                .set_write_timeout(limit(write))
                .and_then(|()| stream.sock.set_read_timeout(limit(read))),
            Self::Unix(stream) => stream
                .set_write_timeout(limit(write))
                .and_then(|()| stream.set_read_timeout(limit(read))),
            Self::Udp(_) | Self::Unixgram(_) => Ok(()),
        };
        drop(outcome); // Without a limit it may wait longer.
    }

    /// Whether the server has not hung up: what is written after that is lost, and nobody tells. With TLS it says so in
    /// a message of its own, before which others may stand.
    pub(crate) fn is_alive(&mut self) -> bool {
        loop {
            let Some(stream) = self.stream() else {
                return true;
            };
            let mut byte = [0];
            let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT;
            match rustix::net::recv(stream, &mut byte, flags) {
                Ok((_, 0)) => return false,
                Ok(_) => {}
                Err(Errno::AGAIN | Errno::INTR) => return true,
                Err(_) => return false,
            }
            let Self::Tls(stream) = self else { return true };
            let StreamOwned { conn, sock } = &mut **stream;
            // There is something to be read: this does not wait.
            match conn.read_tls(sock) {
                Ok(0) => return false,
                Ok(_) => {}
                // An answer that nobody has read yet fills the memory for them.
                Err(_) => return true,
            }
            match conn.process_new_packets() {
                Ok(state) if state.peer_has_closed() => return false,
                Ok(_) => {}
                Err(_) => return false,
            }
        }
    }

    /// Its socket, where that is a stream.
    fn stream(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Tcp(stream) => Some(stream.as_fd()),
            Self::Tls(stream) => Some(stream.sock.as_fd()),
            Self::Unix(stream) => Some(stream.as_fd()),
            Self::Udp(_) | Self::Unixgram(_) => None,
        }
    }

    /// Whether messages keep their bounds.
    pub(crate) const fn is_datagram(&self) -> bool {
        matches!(self, Self::Udp(_) | Self::Unixgram(_))
    }

    /// Writes all of it; of datagrams, one.
    pub(crate) fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.write_all(bytes),
            Self::Tls(stream) => stream.write_all(bytes).and_then(|()| stream.flush()),
            Self::Unix(stream) => stream.write_all(bytes),
            // The first after a server's end tells of the one before: nobody was there for that.
            Self::Udp(socket) => match socket.send(bytes) {
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                    socket.send(bytes).map(drop)
                }
                sent => sent.map(drop),
            },
            Self::Unixgram(socket) => socket.send(bytes).map(drop),
        }
    }
}

/// A connection whose server has not hung up.
pub(crate) fn alive(mut connection: Connection) -> Option<Connection> {
    connection.is_alive().then_some(connection)
}

impl Drop for Connection {
    /// Servers take a session that just stops for an attack, and say so. A socket that is closed with something unread is
    /// reset by the kernel, and the server may lose what it has not read yet: TLS servers send tickets that nobody asked for.
    fn drop(&mut self) {
        /// No more is read of a server that goes on talking.
        const MOST: usize = 1 << 20;
        if let Self::Tls(stream) = self {
            stream.conn.send_close_notify();
            let _ = stream.flush();
        }
        let Some(stream) = self.stream() else { return };
        let _ = rustix::net::shutdown(stream, Shutdown::Write);
        let mut buffer = [0; 4096];
        for _ in 0..MOST / buffer.len() {
            match rustix::net::recv(stream, &mut buffer[..], RecvFlags::DONTWAIT) {
                Ok((_, 1..)) | Err(Errno::INTR) => {}
                Ok((_, 0)) | Err(_) => return,
            }
        }
    }
}

impl Read for Connection {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
            Self::Unix(stream) => stream.read(buffer),
            Self::Udp(_) | Self::Unixgram(_) => Ok(0),
        }
    }
}

/// No name is this host, as in Go.
fn local(name: &str) -> &str {
    if name.is_empty() { "localhost" } else { name }
}

fn dial(network: &str, to: impl std::fmt::Debug, error: &io::Error) -> String {
    // Of paths and addresses, what they are in quotes or not.
    let to = format!("{to:?}");
    let to = to.trim_matches('"');
    format!("dial {network} {to}: connect: {}", cause(error))
}

fn resolve(network: &str, host: &Host) -> Result<Vec<SocketAddr>, String> {
    let port: u16 = host.port.parse().map_err(|_| {
        format!(
            "dial {network}: lookup {network}/{}: unknown port",
            host.port
        )
    })?;
    let found = (local(&host.name), port).to_socket_addrs();
    let mut found: Vec<SocketAddr> = found
        .map_err(|_| format!("dial {network}: lookup {}: no such host", host.name))?
        .collect();
    // As Go does: the one that is there more often.
    found.sort_by_key(SocketAddr::is_ipv6);
    Ok(found)
}

fn stream(host: &Host) -> Result<TcpStream, String> {
    let mut last = format!("dial tcp: lookup {}: no such host", host.name);
    for address in resolve("tcp", host)? {
        let connected = TcpStream::connect_timeout(&address, CONNECT_TIME).and_then(|stream| {
            stream.set_write_timeout(Some(TRANSFER_TIME))?;
            stream.set_read_timeout(Some(TRANSFER_TIME))?;
            stream.set_nodelay(true)?;
            Ok(stream)
        });
        match connected {
            Ok(stream) => return Ok(stream),
            Err(error) => last = dial("tcp", address, &error),
        }
    }
    Err(last)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn a_connection_that_is_refused_is_told_as_dockerd_tells() {
        // Port 1 is nobody's.
        let host = Host {
            name: "127.0.0.1".to_owned(),
            port: "1".to_owned(),
        };
        let refused = Connection::tcp(&host).unwrap_err();
        assert_eq!(refused, "dial tcp 127.0.0.1:1: connect: connection refused");
        let refused = Connection::unix(Path::new("/nonexist/x")).unwrap_err();
        assert_eq!(
            refused,
            "dial unix /nonexist/x: connect: no such file or directory"
        );
    }

    #[test]
    fn a_server_that_hangs_up_is_noticed() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port().to_string();
        let mut connection = Connection::tcp(&Host {
            name: "127.0.0.1".to_owned(),
            port,
        })
        .unwrap();
        let (server, _) = listener.accept().unwrap();
        assert!(connection.is_alive());
        drop(server);
        let Connection::Tcp(stream) = &connection else {
            panic!()
        };
        // Waits for the end to arrive.
        let _ = stream.peek(&mut [0]).unwrap();
        assert!(!connection.is_alive());
    }
}
