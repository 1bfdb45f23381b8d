//! systemd's manager over D-Bus: the few calls that make, change and remove a unit.
//!
//! ```text
//!  us                                         systemd (private socket), or the bus in between
//!   │ \0 AUTH EXTERNAL … BEGIN ────────────────► │   who we are, the kernel tells (SO_PEERCRED)
//!   │ Hello, Subscribe                           │   on a bus only
//!   │ StartTransientUnit(name, properties) ────► │
//!   │ ◄──────────────────── reply: path of a job │
//!   │ ◄─────────────── signal JobRemoved(…, done)│   the unit is there
//! ```
//! Our own because the crates for it bring an async runtime, or libdbus. Everything blocks, with a
//! deadline. Format: D-Bus specification, "Message Protocol", version 0.43; calls:
//! org.freedesktop.systemd1(5).

mod bus;
mod manager;
mod message;
mod text;
mod value;

pub use bus::{Address, Bus, Method};
pub use manager::{Manager, Property};
pub use message::{Kind, Message};
pub use text::parse as parse_value;
pub use value::{Type, Value};

use std::io;
use std::path::PathBuf;

/// What can go wrong.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nobody is to be reached.
    #[error("failed to connect to dbus at {address}")]
    Connect {
        /// Where.
        address: String,
        /// The cause.
        source: io::Error,
    },
    /// There is no address to try.
    #[error(
        "could not find a bus of this user: neither DBUS_SESSION_BUS_ADDRESS nor XDG_RUNTIME_DIR leads to one"
    )]
    NoBus,
    /// The connection broke.
    #[error("lost the connection to dbus")]
    Lost(#[source] io::Error),
    /// Whoever answers does not speak the protocol.
    #[error("dbus: {0}")]
    Protocol(&'static str),
    /// A call was answered by an error.
    #[error("{name}: {text}")]
    Refused {
        /// Such as `org.freedesktop.systemd1.UnitExists`.
        name: String,
        /// What it means.
        text: String,
    },
    /// A job did not end well.
    #[error("error {what} systemd unit `{unit}`: got `{result}`")]
    Job {
        /// `creating` or `removing`.
        what: &'static str,
        /// The unit.
        unit: String,
        /// systemd's word for it.
        result: String,
    },
    /// A job did not end.
    #[error("timeout waiting for systemd ({0})")]
    Timeout(String),
}

/// Whether systemd is this host's init (sd_booted(3)).
#[must_use]
pub fn is_running() -> bool {
    let path = PathBuf::from("/run/systemd/system");
    path.symlink_metadata().is_ok_and(|data| data.is_dir())
}
