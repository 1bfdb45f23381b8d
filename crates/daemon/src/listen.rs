//! The sockets the API is served on: `-H unix:///run/hull/hull.sock`, `-H tcp://127.0.0.1:2375`.

use crate::transport::Socket;
use rustix::fs::{Gid, Mode};
use rustix::net::AddressFamily;
use rustls::ServerConfig;
use std::fmt;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, UnixListener};
use tokio_rustls::TlsAcceptor;

/// The ports of `tcp://host` without one: Docker's, unencrypted and with TLS.
const TCP_PORT: u16 = 2375;
const TLS_PORT: u16 = 2376;
/// How long a client may take until it has agreed on keys.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// The groups, besides root, that may use the default socket: the first that the host has.
const DEFAULT_GROUPS: [&str; 2] = ["hull", "docker"];

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    /// A socket file.
    Unix(PathBuf),
    /// Host and port.
    Tcp { host: String, port: u16 },
    /// Sockets that the service manager listens on: all, or those of this name or number.
    Passed(String),
}

/// What is not an address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvalidAddress {
    /// Neither `unix://` nor `tcp://`.
    #[error("invalid bind address ({0}): use unix:///path, tcp://host:port or fd://")]
    Scheme(String),
    /// The part behind `tcp://`.
    #[error("invalid bind address ({0}): should be tcp://host:port with a port of 1 to 65535")]
    Port(String),
    /// A relative socket path.
    #[error("invalid bind address ({0}): the socket's path must be absolute")]
    Relative(String),
}

impl Address {
    /// Reads an address; the port that is not written depends on whether there is `tls`.
    ///
    /// # Errors
    /// See [`InvalidAddress`].
    pub(crate) fn parse(text: &str, tls: bool) -> Result<Self, InvalidAddress> {
        if let Some(name) = text.strip_prefix("fd://") {
            return Ok(Self::Passed(name.to_owned()));
        }
        if let Some(path) = text.strip_prefix("unix://") {
            if !path.starts_with('/') {
                return Err(InvalidAddress::Relative(text.to_owned()));
            }
            return Ok(Self::Unix(PathBuf::from(path)));
        }
        let address = match text.split_once("://") {
            Some(("tcp", address)) => address,
            None if !text.contains('/') => text,
            _ => return Err(InvalidAddress::Scheme(text.to_owned())),
        };
        let address = address.trim_end_matches('/');
        let (host, port) = match address.rsplit_once(':') {
            // The colons of a bare IPv6 address are no port's.
            Some((host, port)) if !host.contains(':') || host.ends_with(']') => {
                let port = port.parse().ok().filter(|port| *port != 0);
                let port = port.ok_or_else(|| InvalidAddress::Port(text.to_owned()))?;
                (host, port)
            }
            _ if tls => (address, TLS_PORT),
            _ => (address, TCP_PORT),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let host = if host.is_empty() { "127.0.0.1" } else { host };
        Ok(Self::Tcp {
            host: host.to_owned(),
            port,
        })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp { host, port } if host.contains(':') => write!(f, "tcp://[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "tcp://{host}:{port}"),
            Self::Passed(name) => write!(f, "fd://{name}"),
        }
    }
}

/// Why a socket could not be listened on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ListenError {
    /// Another daemon answers there.
    #[error("another daemon listens on {0}: stop it, or choose another address with -H")]
    Taken(Address),
    /// There is something that is no socket.
    #[error("{} is in the way: it is no socket", .0.display())]
    NoSocket(PathBuf),
    /// The group of `--group`.
    #[error("group {0} not found")]
    NoGroup(String),
    /// `fd://`, and nothing was passed.
    #[error(
        "no sockets found via socket activation for {0}: make sure the service was started by systemd"
    )]
    NothingPassed(Address),
    /// Anything the system refused.
    #[error("could not listen on {address}")]
    Bind {
        address: Address,
        #[source]
        source: io::Error,
    },
}

/// A bound socket. A socket file is removed when this is dropped.
#[derive(Debug)]
pub(crate) enum Listener {
    Unix {
        listener: UnixListener,
        /// The file that is ours to remove.
        path: Option<PathBuf>,
    },
    Tcp {
        listener: TcpListener,
        tls: Option<Arc<ServerConfig>>,
    },
}

/// A client that is there, and with TLS has yet to agree on keys.
#[derive(Debug)]
pub(crate) struct Accepted {
    socket: Socket,
    tls: Option<Arc<ServerConfig>>,
}

impl Accepted {
    /// Agrees on keys, if there is TLS.
    ///
    /// # Errors
    /// What was wrong with the client's part, or that it took too long.
    pub(crate) async fn greet(self) -> io::Result<Socket> {
        match (self.socket, self.tls) {
            (Socket::Tcp(socket), Some(tls)) => {
                let agreed =
                    tokio::time::timeout(HANDSHAKE, TlsAcceptor::from(tls).accept(socket)).await;
                let agreed = agreed.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?;
                Ok(Socket::Tls(Box::new(agreed?)))
            }
            (socket, _) => Ok(socket),
        }
    }
}

impl Listener {
    /// Binds `address`. A socket file that nobody listens on any more is replaced; a new one is
    /// for root and `group` (or a group named `hull` or `docker`, if there is one).
    ///
    /// # Errors
    /// See [`ListenError`].
    pub(crate) async fn bind(
        address: &Address,
        group: Option<&str>,
        tls: Option<&Arc<ServerConfig>>,
    ) -> Result<Self, ListenError> {
        let failed = |source| ListenError::Bind {
            address: address.clone(),
            source,
        };
        match address {
            Address::Unix(path) => {
                make_room(path, address)?;
                let listener = bind_unix(path, group).map_err(|error| match error {
                    BindUnixError::NoGroup(name) => ListenError::NoGroup(name),
                    BindUnixError::Io(source) => failed(source),
                })?;
                Ok(Self::Unix {
                    listener,
                    path: Some(path.clone()),
                })
            }
            Address::Passed(_) => Err(ListenError::NothingPassed(address.clone())),
            Address::Tcp { host, port } => {
                let listener = TcpListener::bind((host.as_str(), *port))
                    .await
                    .map_err(failed)?;
                let loopback = listener.local_addr().is_ok_and(|at| at.ip().is_loopback());
                if !loopback && tls.is_none() {
                    tracing::warn!(
                        %address,
                        "API is accessible without encryption and authentication: whoever reaches this address has root access on this host"
                    );
                }
                Ok(Self::Tcp {
                    listener,
                    tls: tls.cloned(),
                })
            }
        }
    }

    /// Binds `address` for metrics, which are for whoever reaches it, as dockerd's are.
    ///
    /// # Errors
    /// [`ListenError::Bind`].
    pub(crate) async fn for_metrics(address: &Address) -> Result<Self, ListenError> {
        let Address::Tcp { host, port } = address else {
            return Err(ListenError::NothingPassed(address.clone()));
        };
        let bound = TcpListener::bind((host.as_str(), *port)).await;
        let listener = bound.map_err(|source| ListenError::Bind {
            address: address.clone(),
            source,
        })?;
        tracing::info!("metrics are at http://{host}:{port}/metrics");
        Ok(Self::Tcp {
            listener,
            tls: None,
        })
    }

    /// The sockets that the service manager `passed` and `address`, an [`Address::Passed`], means.
    ///
    /// # Errors
    /// [`ListenError::NothingPassed`], and what the system refuses.
    pub(crate) fn of_the_service_manager(
        address: &Address,
        passed: &mut Vec<(String, OwnedFd)>,
        tls: Option<&Arc<ServerConfig>>,
    ) -> Result<Vec<Self>, ListenError> {
        let Address::Passed(wanted) = address else {
            return Ok(Vec::new());
        };
        let all = matches!(wanted.as_str(), "" | "*");
        let numbered = std::mem::take(passed).into_iter().zip(3_u32..);
        let (meant, rest): (Vec<_>, Vec<_>) = numbered.partition(|((name, _), number)| {
            all || name == wanted || number.to_string() == *wanted
        });
        *passed = rest.into_iter().map(|(socket, _)| socket).collect();
        if meant.is_empty() {
            return Err(ListenError::NothingPassed(address.clone()));
        }
        let listen = |descriptor: OwnedFd| {
            if rustix::net::sockopt::socket_domain(&descriptor)? == AddressFamily::UNIX {
                let listener = std::os::unix::net::UnixListener::from(descriptor);
                listener.set_nonblocking(true)?;
                let listener = UnixListener::from_std(listener)?;
                return Ok(Self::Unix {
                    listener,
                    path: None,
                });
            }
            let listener = std::net::TcpListener::from(descriptor);
            listener.set_nonblocking(true)?;
            Ok(Self::Tcp {
                listener: TcpListener::from_std(listener)?,
                tls: tls.cloned(),
            })
        };
        let listeners = meant.into_iter().map(|((_, socket), _)| listen(socket));
        listeners
            .collect::<io::Result<_>>()
            .map_err(|source| ListenError::Bind {
                address: address.clone(),
                source,
            })
    }

    /// Whether this is the socket file of `address`, by whatever name.
    pub(crate) fn is_at(&self, address: &Address) -> bool {
        let (Self::Unix { listener, .. }, Address::Unix(wanted)) = (self, address) else {
            return false;
        };
        let own = listener.local_addr();
        let own = own
            .ok()
            .and_then(|own| own.as_pathname().map(Path::to_owned));
        let real = |path: &Path| fs_err::canonicalize(path).ok();
        own.is_some_and(|own| {
            own == *wanted || real(&own).is_some_and(|own| real(wanted) == Some(own))
        })
    }

    /// Waits for the next client.
    ///
    /// # Errors
    /// Those of accept(2).
    pub(crate) async fn accept(&self) -> io::Result<Accepted> {
        match self {
            Self::Unix { listener, .. } => Ok(Accepted {
                socket: Socket::Unix(listener.accept().await?.0),
                tls: None,
            }),
            Self::Tcp { listener, tls } => {
                let socket = listener.accept().await?.0;
                // Frames are written whole; waiting for more would only delay terminals.
                socket.set_nodelay(true)?;
                Ok(Accepted {
                    socket: Socket::Tcp(socket),
                    tls: tls.clone(),
                })
            }
        }
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Self::Unix {
            path: Some(path), ..
        } = self
        {
            // Gone already is as good.
            let _ = fs_err::remove_file(path);
        }
    }
}

/// Removes a socket file that a dead daemon left behind.
fn make_room(path: &Path, address: &Address) -> Result<(), ListenError> {
    let Ok(found) = fs_err::symlink_metadata(path) else {
        return Ok(());
    };
    if !found.file_type().is_socket() {
        return Err(ListenError::NoSocket(path.to_owned()));
    }
    if std::os::unix::net::UnixStream::connect(path).is_ok() {
        return Err(ListenError::Taken(address.clone()));
    }
    fs_err::remove_file(path).map_err(|source| ListenError::Bind {
        address: address.clone(),
        source,
    })
}

enum BindUnixError {
    NoGroup(String),
    Io(io::Error),
}

impl From<io::Error> for BindUnixError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

fn bind_unix(path: &Path, group: Option<&str>) -> Result<UnixListener, BindUnixError> {
    let gid = match group {
        Some(name) => {
            Some(find_group(name)?.ok_or_else(|| BindUnixError::NoGroup(name.to_owned()))?)
        }
        None => default_group()?,
    };
    if let Some(directory) = path.parent() {
        fs_err::create_dir_all(directory)?;
    }
    // Nobody but root may connect before owner and mode are right: umask(2) holds for the whole
    // process, which does nothing else yet.
    let before = rustix::process::umask(Mode::from_raw_mode(0o177));
    let bound = UnixListener::bind(path);
    rustix::process::umask(before);
    let listener = bound?;
    if let Some(gid) = gid {
        std::os::unix::fs::chown(path, None, Some(gid.as_raw()))?;
    }
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o660);
    fs_err::set_permissions(path, mode)?;
    Ok(listener)
}

fn default_group() -> io::Result<Option<Gid>> {
    for name in DEFAULT_GROUPS {
        if let Some(gid) = find_group(name)? {
            return Ok(Some(gid));
        }
    }
    Ok(None)
}

/// The group of that name or number, by group(5).
pub(crate) fn find_group(name: &str) -> io::Result<Option<Gid>> {
    let groups = match fs_err::read_to_string("/etc/group") {
        Ok(groups) => groups,
        Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
        Err(error) => return Err(error),
    };
    let by_name = groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        let found = fields.next()? == name;
        found.then(|| fields.nth(1)?.parse().ok()).flatten()
    });
    Ok(by_name.or_else(|| name.parse().ok()).map(Gid::from_raw))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn addresses_are_written_as_for_dockerd() {
        let parse = |text: &str| Address::parse(text, false).map(|address| address.to_string());
        assert_eq!(
            parse("unix:///run/x.sock").as_deref(),
            Ok("unix:///run/x.sock")
        );
        assert_eq!(
            parse("tcp://127.0.0.1:4000").as_deref(),
            Ok("tcp://127.0.0.1:4000")
        );
        assert_eq!(parse("tcp://0.0.0.0").as_deref(), Ok("tcp://0.0.0.0:2375"));
        assert_eq!(parse("tcp://:80").as_deref(), Ok("tcp://127.0.0.1:80"));
        assert_eq!(parse("tcp://[::1]:80").as_deref(), Ok("tcp://[::1]:80"));
        assert_eq!(parse("127.0.0.1:80").as_deref(), Ok("tcp://127.0.0.1:80"));
        for bad in [
            "unix://x",
            "http://a",
            "tcp://a:b",
            "tcp://a:0",
            "tcp://a:70000",
            "/run/x",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
        assert_eq!(parse("fd://name").as_deref(), Ok("fd://name"));
        let tls = Address::parse("tcp://0.0.0.0", true).unwrap();
        assert_eq!(tls.to_string(), "tcp://0.0.0.0:2376");
    }

    #[tokio::test]
    async fn a_socket_is_private_taken_only_once_and_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sub/h.sock");
        let address = Address::Unix(path.clone());
        let listener = Listener::bind(&address, Some("0"), None).await.unwrap();
        let found = std::fs::metadata(&path).unwrap();
        assert_eq!((found.mode() & 0o7777, found.gid()), (0o660, 0));
        let again = Listener::bind(&address, None, None).await.unwrap_err();
        assert!(matches!(again, ListenError::Taken(_)), "{again}");
        drop(listener);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_stale_socket_is_replaced_and_nothing_else_is() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("h.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        drop(
            Listener::bind(&Address::Unix(path.clone()), Some("0"), None)
                .await
                .unwrap(),
        );
        std::fs::File::create(&path).unwrap();
        let error = Listener::bind(&Address::Unix(path.clone()), None, None)
            .await
            .unwrap_err();
        assert!(matches!(error, ListenError::NoSocket(_)), "{error}");
        assert!(path.exists());
    }

    #[tokio::test]
    async fn an_unknown_group_is_an_error_only_when_it_was_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let address = Address::Unix(dir.path().join("h.sock"));
        let error = Listener::bind(&address, Some("no-such-group"), None)
            .await
            .unwrap_err();
        assert_eq!(error.to_string(), "group no-such-group not found");
        assert!(Listener::bind(&address, None, None).await.is_ok());
    }
}
