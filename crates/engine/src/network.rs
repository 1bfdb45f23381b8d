//! Networks: `bridge`, `host` and `none`.

use crate::container::Endpoint;
use jiff::Timestamp;
use std::collections::BTreeMap;

/// A network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkDetails {
    /// 64 hexadecimal digits.
    pub id: String,
    pub name: String,
    pub created: Timestamp,
    /// `bridge`, `host` or `null`.
    pub driver: String,
    /// `172.17.0.0/16`; only the bridge has one.
    pub subnet: Option<String>,
    pub gateway: Option<String>,
    pub options: BTreeMap<String, String>,
    /// The running containers in it, by id: name and endpoint.
    pub containers: BTreeMap<String, (String, Endpoint)>,
}
