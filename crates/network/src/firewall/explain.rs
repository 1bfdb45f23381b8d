//! Who can reach a port of an endpoint, from where, and which rule says so, in words.

use super::foreign::Survey;
use crate::model::{Network, Protocol, Publication};
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};

/// The port that is asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question<'a> {
    /// All networks of the daemon.
    pub networks: &'a [Network],
    /// The id of the endpoint's network.
    pub network: &'a str,
    /// The endpoint's addresses on it.
    pub addresses: &'a [IpAddr],
    /// Protocol and port of the endpoint.
    pub protocol: Protocol,
    /// See `protocol`.
    pub port: u16,
    /// What the endpoint has published (on any of its networks).
    pub publications: &'a [Publication],
    /// What others have put into the kernel's packet filter.
    pub survey: &'a Survey,
}

/// The answer: one [`Way`] for every source and family of addresses that the endpoint has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    /// The id of the endpoint's network.
    pub network: String,
    /// The protocol asked about.
    pub protocol: Protocol,
    /// The endpoint's port.
    pub port: u16,
    /// In the order of [`Source`].
    pub ways: Vec<Way>,
    /// What else is worth knowing: other software's tables, a published port that is public.
    pub remarks: Vec<String>,
}

/// How one kind of client gets there, or why not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Way {
    /// Who asks.
    pub from: Source,
    /// 4 or 6.
    pub family: u8,
    /// Whether they get through.
    pub reachable: Answer,
    /// The addresses and ports by which they do; empty when they do not.
    pub at: Vec<SocketAddr>,
    /// The rule that decides, named as it is in the table: `hull forward-out`, or of others.
    pub rule: String,
    /// Why, in a sentence.
    pub why: String,
}

/// Where a client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// Another endpoint of the same network.
    SameNetwork,
    /// An endpoint of another network of this daemon.
    OtherNetwork,
    /// The host itself, by the endpoint's own address or the host's address.
    Host,
    /// The host itself, by 127.0.0.1 or ::1.
    Loopback,
    /// Another machine, by the host's address.
    Outside,
    /// Another machine that sends straight to the endpoint's address, with the host as router.
    OutsideDirect,
}

/// Yes, no, or neither.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// They get through.
    Yes,
    /// They do not.
    No,
    /// Rules that are not ours, and that are not read in full, decide.
    Depends,
}
