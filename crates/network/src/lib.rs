//! Networks: bridges, endpoints, addresses, masquerading.
//!
//! A container's network is prepared before the container exists:
//!
//! ```text
//!  link::up                 a bridge with addresses    per network        link/
//!  Firewall::add_network    who may reach whom         per network        firewall/
//!  netns::create            <exec-root>/netns/<id>     per container      netns.rs
//!  Ipam::allocate           172.17.0.2                 per endpoint       ipam.rs
//!  link::join               veth ⇄ eth0, addresses,    per endpoint       link/
//!                           default routes
//!  ports::reserve           bound sockets              per container      ports.rs
//!  Firewall::publish        ports lead to endpoints    per container      firewall/
//! ```
//!
//! and taken down in the reverse order. Nothing is remembered here but what the firewall shall be: what
//! exists is read from the kernel, whose devices carry the id of their network or endpoint as alias, so
//! that [`link::reconcile`] finds what a crash left behind. This crate does not know what a container is.
//!
//! `examples/publish.rs` joins two namespaces and publishes a port, with this crate alone.
#![forbid(unsafe_code)]

pub mod dns;
mod error;
pub mod files;
pub mod firewall;
pub mod fuzz;
mod guard;
mod ipam;
pub mod link;
pub mod model;
pub mod netns;
mod plan;
mod pool;
pub mod ports;
mod watch;

pub use error::Error;
pub use firewall::{Firewall, FirewallOptions, Keeper, NetworkRules};
pub use guard::Guard;
pub use hull_linux::netlink::Mac;
pub use ipam::{Ipam, default_gateway};
pub use ipnet::Ipv4Net;
pub use plan::{PoolText, check_bridge_pools, check_overlap, read_pools};
pub use pool::{DefaultPool, HostNetworks, choose_subnet, default_pools, host_networks};
pub use watch::{Overlap, RouteWatch, Watched};
