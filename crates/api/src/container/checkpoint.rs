//! Checkpoints.
#![expect(
    missing_docs,
    reason = "a field means what the API reference says of the member of its name"
)]

use serde::{Deserialize, Serialize};

/// The body of `POST /containers/{id}/checkpoints`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct CheckpointRequest {
    #[serde(rename = "CheckpointID")]
    pub id: String,
    #[serde(rename = "CheckpointDir", skip_serializing_if = "String::is_empty")]
    pub directory: String,
    pub exit: bool,
}

/// One element of `GET /containers/{id}/checkpoints`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Checkpoint {
    pub name: String,
}
