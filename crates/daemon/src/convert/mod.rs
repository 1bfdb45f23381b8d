//! Between the wire and the engine: requests as typed become configurations as meant, and what the
//! engine knows becomes dockerd's documents. What the API has and Hull has not is refused here,
//! with a reason; nothing is dropped silently.

pub(crate) mod age;
pub(crate) mod archive;
pub(crate) mod create;
pub(crate) mod defaults;
pub(crate) mod details;
#[cfg(test)]
mod fields;
pub(crate) mod health;
pub(crate) mod image;
mod kept;
pub(crate) mod mounts;
pub(crate) mod network;
pub(crate) mod ports;
pub(crate) mod resources;
pub(crate) mod security;
pub(crate) mod stats;
pub(crate) mod system;
pub(crate) mod time;
pub(crate) mod update;
pub(crate) mod usage;

use crate::error::ApiError;

/// An error for something that Docker has and Hull does not have yet.
pub(crate) fn unsupported(what: impl std::fmt::Display) -> ApiError {
    ApiError::not_implemented(format!("Hull does not support {what} yet"))
}

/// A document whose newest form is a struct, written in its order, and whose older forms differ in
/// some members.
#[derive(Debug, serde::Serialize)]
#[serde(untagged)]
pub(crate) enum Versioned<T> {
    Newest(T),
    Older(serde_json::Value),
}
