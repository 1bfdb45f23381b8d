//! Names: what containers are told when they ask 127.0.0.11.
//!
//! One process for a daemon, `hull-dns`, answers for all its containers and goes on while the daemon
//! restarts. [`Names`] is the daemon's handle on it and keeps all that it was told, so that a resolver
//! that ends is replaced by one that knows the same.
//!
//! ```text
//!  daemon: Names ── unix socket: sandboxes (namespaces by descriptor), names ──► hull-dns
//!  container: 127.0.0.11:53 ── rewritten in its namespace ──► a socket of hull-dns in that namespace
//! ```

mod names;
mod protocol;
mod server;

pub use names::Names;
pub(crate) use server::properties as fuzz;
pub use server::serve;

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

/// A network namespace whose programs ask 127.0.0.11.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sandbox {
    /// Unique.
    pub id: String,
    /// The pinned namespace (see [`crate::netns`]).
    pub netns: PathBuf,
    /// Ids of the networks whose names it sees; where several have a name, the first counts.
    pub networks: Vec<String>,
    /// The servers that know other names, asked from inside the namespace, at most three count; none:
    /// the host's, as they are at the time, asked from the host.
    pub servers: Vec<IpAddr>,
    /// Whether other names are asked for at all; not in a sandbox that has internal networks only.
    pub forward: bool,
    /// Whether the user or the host has set the resolver option `ndots`, to whatever number: names without
    /// a dot are then not forwarded, as by dockerd, and the client tries its search domains.
    #[serde(default)]
    pub ndots: bool,
    /// Names that only this sandbox knows, and the ids of the endpoints that they stand for.
    #[serde(default)]
    pub links: BTreeMap<String, String>,
}

/// How an endpoint is called on a network.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The endpoint's id.
    pub endpoint: String,
    /// The network's name: every name is also known as `name.network`.
    pub network_name: String,
    /// Its names; several endpoints may share one. The first is what its addresses are called.
    pub names: Vec<String>,
    /// One more name; empty: none.
    #[serde(default)]
    pub hostname: String,
    /// Of both families.
    pub addresses: Vec<IpAddr>,
}
