//! One daemon to a network namespace: devices and rules are known by their marks and names, which another
//! one would take for what an earlier run of itself has left.

use crate::Error;
use crate::error::file;
use rustix::event::Timespec;
use rustix::net::sockopt::socket_peercred;
use std::io::ErrorKind;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::time::{Duration, Instant};

/// Abstract names of unix sockets belong to the network namespace (unix(7), `network_namespaces(7)`), and go
/// with the process.
const NAME: &[u8] = b"hull-networks";
/// How long a predecessor that has just been killed may take to end.
const PATIENCE: Duration = Duration::from_secs(1);
const PAUSE: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 10_000_000,
};

/// The right to make networks in the network namespace of the thread that took it, until dropped.
#[derive(Debug)]
pub struct Guard {
    /// `None`: somebody without rights holds the name, which must not keep us from working.
    _listener: Option<UnixListener>,
}

impl Guard {
    /// Takes it.
    ///
    /// # Errors
    /// [`Error::Guarded`] when another process of this user has it; [`Error::File`].
    pub fn take() -> Result<Self, Error> {
        let shown = "the socket @hull-networks";
        let name = SocketAddr::from_abstract_name(NAME).map_err(file("name", shown))?;
        let deadline = Instant::now() + PATIENCE;
        loop {
            match UnixListener::bind_addr(&name) {
                Ok(listener) => {
                    return Ok(Self {
                        _listener: Some(listener),
                    });
                }
                Err(error) if error.kind() != ErrorKind::AddrInUse => {
                    return Err(file("bind", shown)(error));
                }
                Err(_) => {}
            }
            match holder(&name) {
                Some(Holder::Stranger) => {
                    tracing::warn!(
                        "the socket @hull-networks is held by another user: other engines are not noticed"
                    );
                    return Ok(Self { _listener: None });
                }
                Some(Holder::Engine(pid)) if Instant::now() > deadline => {
                    return Err(Error::Guarded { pid });
                }
                None if Instant::now() > deadline => return Err(Error::Guarded { pid: None }),
                // Nothing tells when a name becomes free.
                _ => drop(rustix::event::poll(&mut [], Some(&PAUSE))),
            }
        }
    }
}

enum Holder {
    Engine(Option<i32>),
    Stranger,
}

/// Who listens; `None` when nobody does any more.
fn holder(name: &SocketAddr) -> Option<Holder> {
    let stream = UnixStream::connect_addr(name).ok()?;
    let seen = socket_peercred(&stream).ok()?;
    if seen.uid != rustix::process::geteuid() {
        return Some(Holder::Stranger);
    }
    Some(Holder::Engine(Some(seen.pid.as_raw_nonzero().get())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_at_a_time_in_a_network_namespace() {
        use hull_linux::namespace::{flag, unshare};
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: needs root");
            return;
        }
        let inside = || {
            unshare(flag::NETWORK).unwrap();
            let first = Guard::take().unwrap();
            let error = Guard::take().unwrap_err().to_string();
            let own = format!("(process {})", std::process::id());
            assert!(error.contains(&own), "{error}");
            let elsewhere = || {
                unshare(flag::NETWORK).unwrap();
                Guard::take().unwrap();
            };
            std::thread::scope(|scope| scope.spawn(elsewhere).join().unwrap());
            drop(first);
            Guard::take().unwrap();
        };
        std::thread::scope(|scope| scope.spawn(inside).join().unwrap());
    }
}
