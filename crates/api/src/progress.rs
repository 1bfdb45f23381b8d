//! The lines of a pull, push, load or build as they go over the wire.
#![expect(
    missing_docs,
    reason = "a field means what the API reference says of the member of its name"
)]

use serde::{Deserialize, Serialize};

/// One JSON document of a progress stream; each is followed by CR LF.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Message {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub stream: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub status: String,
    /// Written as `{}` beside a status that has an id but no numbers, as dockerd does.
    #[serde(rename = "progressDetail", skip_serializing_if = "Option::is_none")]
    pub progress_detail: Option<Detail>,
    /// The bar as text, for clients that cannot draw; deprecated but still sent.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub progress: String,
    /// A layer's short id, or a tag.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub id: String,
    #[serde(rename = "errorDetail", skip_serializing_if = "Option::is_none")]
    pub error_detail: Option<ErrorDetail>,
    /// The error's text again; deprecated but still sent.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub error: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aux: Option<serde_json::Value>,
}

/// How far a layer has come.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Detail {
    #[serde(skip_serializing_if = "crate::is_default")]
    pub current: i64,
    #[serde(skip_serializing_if = "crate::is_default")]
    pub total: i64,
    /// Seconds since 1970.
    #[serde(skip_serializing_if = "crate::is_default")]
    pub start: i64,
    #[serde(rename = "hidecounts", skip_serializing_if = "crate::is_default")]
    pub hide_counts: bool,
    /// Empty for bytes.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub units: String,
}

/// How the operation failed: the stream's last document, after a status of 200.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ErrorDetail {
    #[serde(skip_serializing_if = "crate::is_default")]
    pub code: i64,
    pub message: String,
}
