//! The body of every reply with a status of 400 and above.

use serde::{Deserialize, Serialize};

/// `{"message":"…"}`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ErrorResponse {
    /// What went wrong, for people.
    pub message: String,
}
