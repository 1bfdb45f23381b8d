//! Packet filter and address translation, in one nftables table of our own.
//!
//! ```text
//!  table inet hull
//!    guard        prerouting, raw    nobody outside reaches containers' own addresses, nor loopback ports
//!    prerouting   destination        first packets to an address of the host's → publish
//!    output       destination        first packets of the host itself → publish
//!      publish                       maps: protocol . port → endpoint, address . protocol . port → endpoint
//!    forward      filter             hull-user first (the users' own), then known connections, within a
//!                                    network, never between networks, in to published ports only
//!    postrouting  source             out with the host's address; hairpin and loopback with the bridge's
//! ```
//!
//! Rules never change: networks and ports are elements of sets and maps, so a packet meets the same few
//! rules whatever there is, and a change is one transaction of elements.
//!
//! ```text
//!  state.rs      what shall be: networks, published ports; the API
//!  elements.rs   what shall be, as elements of sets           (no I/O)
//!  layout.rs     chains, sets and rules                       (no I/O)
//!  install.rs    transactions: the whole table, or a change
//!  keep.rs       watches the kernel's tables, and installs ours again
//!  host.rs       ports about which the host's own rules decide: tables of their own
//!  foreign/      other software's tables, which must let our bridges through
//!  explain.rs    who reaches a port, in words
//!  taken.rs      ports that another container has
//!  loopback.rs   which bridges carry packets of 127.0.0.0/8
//!  flows.rs      connections of addresses that are given back
//!  udp.rs        connections of UDP that a change of ports makes stale
//! ```

mod elements;
pub mod explain;
mod flows;
pub mod foreign;
pub mod host;
mod install;
mod keep;
mod layout;
mod loopback;
mod state;
mod taken;
mod udp;

pub use keep::Keeper;
pub use state::{Firewall, FirewallOptions, NetworkRules};
