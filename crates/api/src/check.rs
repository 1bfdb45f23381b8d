//! `POST /hull/system/check`: what Hull has beside the Docker API. See `docs/hull-api.md`.

use serde::{Deserialize, Serialize};

/// One line of the reply: exactly one member is set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Message {
    /// How far it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress: Option<Progress>,
    /// Something is wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finding: Option<Finding>,
    /// The check is over.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub summary: Option<Summary>,
    /// The check could not go on.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub error: String,
}

/// How many bytes were verified.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Progress {
    /// So many.
    pub done: u64,
    /// Of so many, as far as it is known by now.
    pub total: u64,
}

/// Something that is wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Finding {
    /// `missing`, `damaged` or `unowned`.
    pub problem: String,
    /// `document`, `layer`, `blob`, `name`, `image`, `snapshot`, `container`, `file` or `mount`.
    pub object: String,
    /// Which one.
    pub id: String,
    /// More about it.
    pub detail: String,
    /// Whether it was put right.
    pub repaired: bool,
    /// What was done, or why nothing was; empty without `repair`.
    pub repair: String,
}

/// What was checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Summary {
    /// Images.
    pub images: u64,
    /// Layers.
    pub layers: u64,
    /// Containers.
    pub containers: u64,
    /// Bytes that were read and verified.
    pub bytes: u64,
}
