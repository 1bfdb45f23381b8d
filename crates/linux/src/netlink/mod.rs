//! rtnetlink (rtnetlink(7)): links, addresses and routes, with blocking requests of our own.
//!
//! ```text
//!  link.rs address.rs route.rs   what is asked, as messages           (verbs on Socket)
//!         │
//!  socket.rs                     send a batch, read one answer each; dumps
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
mod link;
pub(crate) mod message;
mod namespace;
mod reach;
mod route;
mod socket;
mod transfer;

pub use link::{Link, Mac, VethPair};
pub(crate) use namespace::in_namespace;
pub use namespace::{open_in, pin_new};
pub use reach::{Reach, RouteChange, RouteMonitor};
pub use route::Route;
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

    /// Whether the object exists already.
    #[must_use]
    pub fn is_existing(&self) -> bool {
        self.source.raw_os_error() == Some(libc::EEXIST)
    }
}
