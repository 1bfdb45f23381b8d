//! Events.
#![expect(
    missing_docs,
    reason = "a field means what the API reference says of the member of its name"
)]

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One line of `GET /events`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Event {
    /// Old name of `Action`; containers and images only.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub status: String,
    /// Old name of `Actor.ID`; containers and images only.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub id: String,
    /// The image of a container; containers only.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub from: String,
    #[serde(rename = "Type")]
    pub kind: String,
    #[serde(rename = "Action")]
    pub action: String,
    #[serde(rename = "Actor")]
    pub actor: Actor,
    /// `local`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub scope: String,
    /// Seconds since 1970.
    #[serde(skip_serializing_if = "crate::is_default")]
    pub time: i64,
    /// Nanoseconds since 1970.
    #[serde(rename = "timeNano", skip_serializing_if = "crate::is_default")]
    pub time_nano: i64,
}

/// Whom an event is about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Actor {
    #[serde(rename = "ID")]
    pub id: String,
    #[serde(rename = "Attributes")]
    pub attributes: BTreeMap<String, String>,
}
