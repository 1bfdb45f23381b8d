//! Tells the service manager how the daemon is: sd_notify(3).

use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Sends `state`, such as `READY=1`, where `$NOTIFY_SOCKET` says; does nothing without a service manager.
pub(crate) fn tell(state: &str) {
    let Some(address) = std::env::var_os("NOTIFY_SOCKET") else {
        return;
    };
    if let Err(error) = send(address.as_bytes(), state) {
        tracing::warn!(%error, state, "could not tell the service manager");
    }
}

fn send(address: &[u8], state: &str) -> io::Result<()> {
    let address = match address.strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(address))?,
    };
    UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_service_manager_is_told_at_paths_and_names() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let named = format!("@hull-test-{}", dir.path().display());
        let abstract_name = SocketAddr::from_abstract_name(&named.as_bytes()[1..]).unwrap();
        for (socket, address) in [
            (
                UnixDatagram::bind(&path).unwrap(),
                path.to_str().unwrap().to_owned(),
            ),
            (UnixDatagram::bind_addr(&abstract_name).unwrap(), named),
        ] {
            send(address.as_bytes(), "READY=1").unwrap();
            let mut text = [0; 16];
            let length = socket.recv(&mut text).unwrap();
            assert_eq!(&text[..length], b"READY=1");
        }
    }
}
