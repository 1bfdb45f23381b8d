//! Networks: bridges, endpoints, addresses, masquerading.
//!
//! A container's network is prepared before the container exists:
//!
//! ```text
//!  bridge::Bridge::ensure   hull0 with an address      once per daemon    bridge.rs, pool.rs
//!  firewall::ensure         masquerade and forward     once per daemon    firewall.rs
//!  netns::create            <exec-root>/netns/<id>     per container      netns.rs
//!  Ipam::allocate           172.17.0.2                 per endpoint       ipam.rs
//!  connect                  veth ⇄ eth0, address,      per endpoint       endpoint.rs
//!                           default route
//! ```
//!
//! and taken down in the reverse order. Nothing is remembered here: what exists is read from the
//! kernel, whose veth devices carry the id of their endpoint as alias, so that [`reconcile`] finds
//! what a crash left behind. This crate does not know what a container is.
#![forbid(unsafe_code)]

pub mod bridge;
pub mod dns;
mod endpoint;
mod error;
pub mod files;
pub mod firewall;
mod ipam;
pub mod link;
pub mod model;
pub mod netns;
mod plan;
mod pool;
pub mod ports;
mod watch;

pub use bridge::{Bridge, BridgeConfig};
pub use endpoint::{Endpoint, Removed, connect, disconnect, dismantle, reconcile};
pub use error::Error;
pub use firewall::{Firewall, FirewallOptions, Keeper, NetworkRules};
pub use hull_linux::netlink::Mac;
pub use ipam::{Ipam, default_gateway};
pub use ipnet::Ipv4Net;
pub use plan::{PoolText, check_bridge_pools, check_overlap, read_pools};
pub use pool::{DefaultPool, HostNetworks, choose_subnet, default_pools, host_networks};
pub use watch::{Overlap, RouteWatch, Watched};
