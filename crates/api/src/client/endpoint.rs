//! Where a daemon listens.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// The address of a daemon: `unix:///run/hull/hull.sock`, `tcp://127.0.0.1:2375` or `ssh://user@host`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// A unix socket.
    Unix(PathBuf),
    /// HTTP over TCP: host and port.
    Tcp(String),
    /// A program at the other end of `ssh` that copies to the daemon there: `[user@]host[:port][/socket]`. The
    /// connections are made by the client's dialer.
    Ssh(String),
}

/// Why a string is not an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidEndpoint {
    /// There is no address in it.
    #[error("unable to parse docker host `{0}`")]
    Format(String),
    /// The scheme is one we have no transport for.
    #[error("unable to connect to `{0}`: only unix://, tcp:// and ssh:// are supported")]
    Scheme(String),
}

/// dockerd's port for plain HTTP.
const DEFAULT_PORT: &str = "2375";

impl FromStr for Endpoint {
    type Err = InvalidEndpoint;

    fn from_str(text: &str) -> Result<Self, InvalidEndpoint> {
        // A bare host is meant to be one that listens on TCP.
        let (scheme, rest) = text.split_once("://").unwrap_or(("tcp", text));
        match scheme {
            "unix" if !rest.is_empty() => Ok(Self::Unix(rest.into())),
            "tcp" | "http" => {
                let authority = rest.split('/').next().unwrap_or_default();
                if authority.is_empty() {
                    return Err(InvalidEndpoint::Format(text.to_owned()));
                }
                let has_port = authority
                    .rsplit_once(':')
                    .is_some_and(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()));
                Ok(Self::Tcp(if has_port {
                    authority.to_owned()
                } else {
                    format!("{authority}:{DEFAULT_PORT}")
                }))
            }
            "ssh" if !rest.is_empty() => Ok(Self::Ssh(rest.to_owned())),
            "unix" | "ssh" => Err(InvalidEndpoint::Format(text.to_owned())),
            _ => Err(InvalidEndpoint::Scheme(text.to_owned())),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp(authority) => write!(f, "tcp://{authority}"),
            Self::Ssh(place) => write!(f, "ssh://{place}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_as_people_write_them() {
        for (text, printed) in [
            ("unix:///run/x.sock", "unix:///run/x.sock"),
            ("tcp://127.0.0.1:1234", "tcp://127.0.0.1:1234"),
            ("tcp://localhost", "tcp://localhost:2375"),
            ("tcp://[::1]:80/", "tcp://[::1]:80"),
            ("http://h:1", "tcp://h:1"),
            ("h", "tcp://h:2375"),
            ("ssh://u@h:22/run/x.sock", "ssh://u@h:22/run/x.sock"),
        ] {
            assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), printed);
        }
        for bad in ["", "unix://", "tcp://", "ssh://", "fd://"] {
            assert!(bad.parse::<Endpoint>().is_err(), "{bad}");
        }
    }
}
