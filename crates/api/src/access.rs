//! Scoped sockets: Hull's own. A grant gives a socket on which only some requests are answered, about some objects.

use serde::{Deserialize, Serialize};

/// `POST /hull/access/create`, and what the other requests answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Grant {
    /// Letters, digits, `_`, `.` and `-`.
    pub name: String,
    /// What may be done: `NOUN:VERB`, each once, sorted. In a request also `NOUN:*`, `read` and `all`, with several verbs
    /// behind a comma.
    pub allow: Vec<String>,
    /// `KEY` or `KEY=VALUE`: containers, volumes and networks that have all of them are there, no others.
    pub labels: Vec<String>,
    /// Names of images, with `*` for any text: images that one of them fits are there, and containers made of them.
    pub images: Vec<String>,
    /// The group, by name or number, that may use the socket besides root; empty is none.
    pub group: String,
    /// The socket's path. Not part of a request.
    pub socket: String,
    /// When, as RFC 3339 writes it. Not part of a request.
    pub created: String,
}
