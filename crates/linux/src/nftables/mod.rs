//! nf_tables (nft(8), Linux 3.13): tables, chains, rules, sets and maps, changed in transactions and
//! read back, by netlink messages of our own.
//!
//! ```text
//!  rule.rs expression.rs   what a rule does, as registers and expressions       (no I/O)
//!  set.rs                  sets, maps and their elements                        (no I/O)
//!  batch.rs                a transaction: the messages of all changes           (no I/O)
//!         │
//!  socket.rs               commits a transaction; reads chains, rules, sets     (read.rs)
//!  monitor.rs              tells who changed what
//! ```
//!
//! A transaction is built and committed as one: all of it happens or nothing.
//!
//! ```no_run
//! use hull_linux::nftables::{Batch, Chain, Family, Hook, Rule, Socket, Source, Table, Verdict, protocol};
//! # fn main() -> Result<(), hull_linux::netlink::Error> {
//! let table = Table::new(Family::Inet, "example");
//! let mut batch = Batch::default();
//! batch.add_table(&table);
//! batch.add_chain(&table, &Chain::filter("in", Hook::Input, 0));
//! // meta nfproto ipv4 tcp dport 53 iifname "lo" tcp dport set 5353 accept
//! let rule = Rule::new()
//!     .family(Family::Ipv4)
//!     .protocol(protocol::TCP)
//!     .equals(Source::DestinationPort, &53_u16.to_be_bytes())
//!     .in_device("lo")
//!     .set_port(Source::DestinationPort, protocol::TCP, 5353)
//!     .verdict(Verdict::Accept)
//!     .comment("what users see in nft list");
//! batch.add_rule(&table, "in", &rule);
//! Socket::open()?.commit(batch)?; // Socket::open_in(namespace) for another network namespace
//! # Ok(()) }
//! ```
//!
//! Values of rules and elements are bytes as they are in packets (network byte order), device names 16
//! bytes with zeroes, connection states in the host's order: [`Value`] writes them.
//! Everything that exists already is left as it is by `add_*`; `delete_*` of what is not there fails
//! the whole transaction.

mod batch;
mod expression;
mod monitor;
mod read;
mod rule;
mod set;
mod socket;
#[cfg(test)]
mod tests;

pub use batch::{Batch, Chain, ChainKind, Hook, Policy, Table};
pub use expression::{Base, Comparison, Connection, Expression, Meta, Nat, Register, Verdict};
pub use monitor::{Change, Monitor, Object};
pub use read::{BaseChain, FoundChain, FoundElement, FoundExpression, FoundRule};
pub use rule::{Rule, Source};
pub use set::{Element, Field, Set, Value};
pub use socket::Socket;

/// Numbers of transport protocols, as in IP headers.
pub mod protocol {
    /// ICMP.
    pub const ICMP: u8 = 1;
    /// TCP.
    pub const TCP: u8 = 6;
    /// UDP.
    pub const UDP: u8 = 17;
    /// ICMP for IPv6.
    pub const ICMPV6: u8 = 58;
}

/// Bits of a connection's state (`ct state`).
pub mod state {
    /// Packets were seen in both directions.
    pub const ESTABLISHED: u32 = 2;
    /// Belongs to another connection.
    pub const RELATED: u32 = 4;
    /// The first packet.
    pub const NEW: u32 = 8;
}

/// Bits of a connection's status (`ct status`).
pub mod status {
    /// Its destination is translated.
    pub const DNAT: u32 = 32;
}

/// What packets a table sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    /// IPv4 and IPv6. Linux 3.14; with translation 5.2.
    Inet,
    /// IPv4.
    Ipv4,
    /// ARP.
    Arp,
    /// A device's, before anything else.
    Netdev,
    /// Of bridges.
    Bridge,
    /// IPv6.
    Ipv6,
    /// Another, by its number.
    Other(u8),
}

impl Family {
    /// `NFPROTO_*`.
    #[must_use]
    pub const fn number(self) -> u8 {
        match self {
            Self::Inet => 1,
            Self::Ipv4 => 2,
            Self::Arp => 3,
            Self::Netdev => 5,
            Self::Bridge => 7,
            Self::Ipv6 => 10,
            Self::Other(number) => number,
        }
    }

    pub(crate) const fn from_number(number: u8) -> Self {
        match number {
            1 => Self::Inet,
            2 => Self::Ipv4,
            3 => Self::Arp,
            5 => Self::Netdev,
            7 => Self::Bridge,
            10 => Self::Ipv6,
            other => Self::Other(other),
        }
    }

    /// As nft writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Inet => "inet",
            Self::Ipv4 => "ip",
            Self::Arp => "arp",
            Self::Netdev => "netdev",
            Self::Bridge => "bridge",
            Self::Ipv6 => "ip6",
            Self::Other(_) => "other",
        }
    }
}

/// `NFNL_SUBSYS_NFTABLES` in the upper byte of a message's type.
const SUBSYSTEM: u16 = 10 << 8;
/// `NFTA_LIST_ELEM`: one of a list.
const ITEM: u16 = 1;
/// `NLA_F_NESTED`.
const NESTED: u16 = 0x8000;

/// Kinds of messages (`NFT_MSG_*`).
mod kind {
    pub(super) const NEW_TABLE: u16 = 0;
    pub(super) const DELETE_TABLE: u16 = 2;
    pub(super) const NEW_CHAIN: u16 = 3;
    pub(super) const GET_CHAIN: u16 = 4;
    pub(super) const DELETE_CHAIN: u16 = 5;
    pub(super) const NEW_RULE: u16 = 6;
    pub(super) const GET_RULE: u16 = 7;
    pub(super) const DELETE_RULE: u16 = 8;
    pub(super) const NEW_SET: u16 = 9;
    pub(super) const GET_SET: u16 = 10;
    pub(super) const DELETE_SET: u16 = 11;
    pub(super) const NEW_ELEMENT: u16 = 12;
    pub(super) const GET_ELEMENT: u16 = 13;
    pub(super) const DELETE_ELEMENT: u16 = 14;
    pub(super) const NEW_GENERATION: u16 = 15;
    pub(super) const GET_GENERATION: u16 = 16;
}

/// `struct nfgenmsg`.
pub(crate) const fn header(family: u8, resource: u16) -> [u8; 4] {
    let resource = resource.to_be_bytes();
    [family, 0, resource[0], resource[1]]
}
