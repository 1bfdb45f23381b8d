//! What is known of a network, for inspect and lists.

use super::request::PoolRequest;
use jiff::Timestamp;
use std::collections::BTreeMap;

/// A network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NetworkDetails {
    /// 64 hexadecimal digits.
    pub id: String,
    /// Unique.
    pub name: String,
    /// When.
    pub created: Timestamp,
    /// `bridge`, `macvlan`, `ipvlan`, `host` or `null`; empty for one that is only configuration.
    pub driver: String,
    /// `local`.
    pub scope: String,
    /// Whether it has IPv4.
    pub ipv4: bool,
    /// Whether it has IPv6.
    pub ipv6: bool,
    /// Nothing gets in or out.
    pub internal: bool,
    /// As asked for.
    pub attachable: bool,
    /// Only configuration for others.
    pub config_only: bool,
    /// The network whose configuration it has.
    pub config_from: Option<String>,
    /// `default` or `null`.
    pub ipam_driver: String,
    /// As asked for; `None` where Docker shows `null`.
    pub ipam_options: Option<BTreeMap<String, String>>,
    /// Its address ranges; `None` where Docker shows `null`.
    pub pools: Option<Vec<PoolRequest>>,
    /// The driver's options; `None` where Docker shows `null`.
    pub options: Option<BTreeMap<String, String>>,
    /// Labels; `None` where Docker shows `null`.
    pub labels: Option<BTreeMap<String, String>>,
    /// Whether it is one of `bridge`, `host` and `none`.
    pub predefined: bool,
    /// The running containers in it, by id.
    pub members: BTreeMap<String, Member>,
}

/// A running container as its network sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Member {
    /// The container's.
    pub name: String,
    /// 64 hexadecimal digits.
    pub endpoint_id: String,
    /// Six bytes, colons between; empty in the host's network.
    pub mac_address: String,
    /// With the prefix length; empty: none.
    pub ipv4: String,
    /// With the prefix length; empty: none.
    pub ipv6: String,
}
