//! Packet filter and address translation, in one nftables table of our own.

pub mod explain;
pub mod foreign;
mod program;
mod state;

pub use program::{TABLE, ensure, remove, remove_table};
pub use state::{Firewall, FirewallOptions, Keeper, NetworkRules};
