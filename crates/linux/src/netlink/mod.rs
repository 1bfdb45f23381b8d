//! rtnetlink (rtnetlink(7)): links, addresses and routes, with blocking requests of our own.
//!
//! ```text
//!  new_link.rs link.rs           what is asked, as messages           (verbs on Batch and Socket)
//!  address.rs route.rs carrier.rs
//!         │
//!  batch.rs                      changes that go together, each with what it is about
//!         │
//!  socket.rs                     send a batch, read one answer each
//!         │
//!  channel.rs                    numbered requests, answers, lists: of nftables' sockets too
//!         │
//!  message.rs                    bytes of requests, walker over bytes of answers (no I/O)
//!
//!  reach.rs                     what there are routes to, and changes of that
//!  namespace.rs                  a socket inside another network namespace; pinned namespaces
//! ```
//!
//! Some ten kinds of message are used, so they are written and read here, without a library of all
//! of them: a request costs two system calls, and an attribute that nobody here knows is passed over.

mod address;
mod batch;
mod carrier;
pub(crate) mod channel;
mod link;
pub(crate) mod message;
mod namespace;
mod neighbour;
mod new_link;
mod reach;
mod route;
mod socket;
mod transfer;

pub use address::Address;
pub use batch::Batch;
pub use link::{BridgePort, Link, LinkChange, Mac};
pub use namespace::{inside, open_in, pin_new};
pub use new_link::{IpvlanMode, LinkKind, MacvlanMode, NewLink, VethPeer};
pub use reach::{Reach, RouteChange, RouteMonitor};
pub use route::DefaultRoute;
pub use socket::Socket;
pub use transfer::{Transferred, transfer};

use std::io;

/// A request that the kernel refused, or that could not be made.
#[derive(Debug, thiserror::Error)]
#[error("{operation} {object}")]
pub struct Error {
    operation: &'static str,
    object: String,
    #[source]
    source: io::Error,
}

impl Error {
    pub(crate) fn new(
        operation: &'static str,
        object: impl Into<String>,
        source: impl Into<io::Error>,
    ) -> Self {
        Self {
            operation,
            object: object.into(),
            source: source.into(),
        }
    }

    /// The kind of the kernel's error.
    #[must_use]
    pub fn kind(&self) -> io::ErrorKind {
        self.source.kind()
    }

    /// Whether the object is not there: links and addresses say it with three different numbers.
    #[must_use]
    pub fn is_absent(&self) -> bool {
        matches!(
            self.source.raw_os_error(),
            Some(libc::ENODEV | libc::ENXIO | libc::EADDRNOTAVAIL | libc::ESRCH | libc::ENOENT)
        )
    }

    /// Whether something was changed by others since it was read.
    #[must_use]
    pub fn is_outdated(&self) -> bool {
        // ERESTART, which is no error number of user space's.
        self.source.raw_os_error() == Some(85)
    }

    /// The number of the kernel's error.
    #[must_use]
    pub fn raw_os_error(&self) -> Option<i32> {
        self.source.raw_os_error()
    }

    /// Whether the kernel has no such devices.
    #[must_use]
    pub fn is_unsupported(&self) -> bool {
        self.source.raw_os_error() == Some(libc::EOPNOTSUPP)
    }

    /// Whether the object exists already.
    #[must_use]
    pub fn is_existing(&self) -> bool {
        self.source.raw_os_error() == Some(libc::EEXIST)
    }
}
