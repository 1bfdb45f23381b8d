//! `POST /hull/build`: how `hull build` builds. See `docs/hull-api.md`.
//!
//! ```text
//!   client ── POST /hull/build, a Request ─────────────────────► daemon
//!   client ◄─ Messages, one JSON document a line ─────────────── daemon
//!                 what happens; Ask: something is wanted of the client
//!   client ── POST|GET /hull/build/answer?build=…&number=… ────► daemon
//!                 bytes of a secret, credentials; a connection for files or an agent; a file to be taken
//! ```
//!
//! A client that goes away ends its build.

mod packet;

pub use packet::{FileStat, MAX_DATA, Packet, PacketError, Reader};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeMap;

/// What is to be built.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Request {
    /// In the words of BuildKit's clients: `filename`, `target`, `build-arg:NAME`, …
    pub attributes: BTreeMap<String, String>,
    /// What becomes of the result.
    pub exporters: Vec<Choice>,
    /// Caches to be used.
    pub cache_from: Vec<Choice>,
    /// Caches to be written.
    pub cache_to: Vec<Choice>,
    /// What steps may do that is not for all: `network.host`, `security.insecure`.
    pub entitlements: Vec<String>,
    /// Equal for builds to which the same directories belong: what has not changed is not sent again. Empty: nothing is kept.
    pub shared_key: String,
    /// Whether an image is made of what a failing step has left.
    pub keep_failed: bool,
}

/// Something of a kind, with attributes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Choice {
    /// `moby`, `tar`, `registry`, …
    #[serde(rename = "type")]
    pub kind: String,
    /// What more is said about it.
    pub attributes: BTreeMap<String, String>,
}

/// One line of the reply.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Message {
    /// The build has begun: what answers name it by.
    Begun(String),
    /// A step as it is now: each later one replaces the earlier ones of the same digest.
    Vertex(Vertex),
    /// How far a part of a step is: each later one replaces the earlier ones of the same step and id.
    Status(Status),
    /// Output of a step.
    Log(Log),
    /// Something about the Dockerfile.
    Warning(Warning),
    /// Something is wanted of the client.
    Ask(Ask),
    /// It is done; nothing comes after it.
    Done(Done),
    /// It failed; nothing comes after it.
    Failed(Failed),
}

/// A step as it is now. Times are RFC 3339; empty: not yet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Vertex {
    /// Which.
    pub digest: String,
    /// Of what it is made.
    pub inputs: Vec<String>,
    /// What is shown.
    pub name: String,
    /// Whether its result was known.
    pub cached: bool,
    /// When it began.
    pub started: String,
    /// When it ended.
    pub completed: String,
    /// Why it failed; empty: it did not.
    pub error: String,
}

/// How far a part of a step is. Times as in [`Vertex`].
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Status {
    /// Of which step.
    pub vertex: String,
    /// Which part.
    pub id: String,
    /// What is shown; empty: the id.
    pub name: String,
    /// How much is done.
    pub current: u64,
    /// Of how much; 0: not known.
    pub total: u64,
    /// When this was so.
    pub at: String,
    /// When it began.
    pub started: String,
    /// When it ended.
    pub completed: String,
}

/// Output of a step.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Log {
    /// Of which.
    pub vertex: String,
    /// 1 or 2.
    pub stream: u8,
    /// When.
    pub at: String,
    /// What; not always whole lines. Base64 on the wire.
    #[serde(serialize_with = "to_base64", deserialize_with = "from_base64")]
    pub data: Vec<u8>,
}

/// Something about the Dockerfile that is no error.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Warning {
    /// One line.
    pub short: String,
    /// More lines.
    pub detail: Vec<String>,
    /// Where to read on.
    pub url: String,
    /// The first line of the Dockerfile that it is about; 0: none.
    pub line: u32,
}

/// Something that is wanted of the client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ask {
    /// What the answer names it by.
    pub number: u64,
    /// What.
    pub wanted: Wanted,
}

/// What is wanted of a client.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wanted {
    /// Files: answered by a connection for [`Packet`]s.
    Files(Files),
    /// A secret, by its id: answered by its bytes.
    Secret(String),
    /// How to log in to a registry, by its host: answered by a [`Login`].
    Login(String),
    /// Whether there is an agent of that id: answered by nothing at all.
    Agent(String),
    /// A connection to that agent: answered by a connection.
    AgentConnection(String),
    /// That the content of a file is taken, for the exporter of that place: answered by a GET.
    Take(usize),
    /// A blob of a store: answered by a connection on which its bytes come, whose end is theirs.
    Blob(Blob),
    /// That a blob is taken into a store: answered by a GET, or by nothing when it is there.
    TakeBlob(Blob),
}

/// A blob of a store, which is a directory of the client's with `blobs/sha256/…`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Blob {
    /// As the client calls it: `local:` and what a cache's `src` or `dest` says, or the name in `oci-layout://name@…`.
    pub store: String,
    /// Which.
    pub digest: String,
}

/// Which files are wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Files {
    /// As the client calls their directory.
    pub name: String,
    /// Only these, in `.dockerignore`'s notation; none is all.
    pub include: Vec<String>,
    /// Without these.
    pub exclude: Vec<String>,
    /// Of these, links are followed.
    pub follow: Vec<String>,
}

/// How to log in to a registry.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Login {
    /// Empty: the secret is a token.
    pub username: String,
    /// The password, or the token.
    pub secret: String,
    /// The secret is for the registry itself: no other is had for it.
    pub registry_token: bool,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Login(…)")
    }
}

/// What was made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Done {
    /// What exporters say, as BuildKit's do: `containerimage.digest`, `image.name`, …
    pub response: BTreeMap<String, String>,
    /// Answers to what was asked for instead of a build: `result.txt`, `result.json`, `result.statuscode`.
    pub answers: BTreeMap<String, String>,
}

/// Why nothing was made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Failed {
    /// One line.
    pub message: String,
    /// What of the Dockerfile it is about.
    pub source: Option<Source>,
    /// What was kept of the failing step.
    pub kept: Option<Kept>,
}

/// Lines of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Source {
    /// Its name.
    pub file: String,
    /// The whole of it.
    pub text: String,
    /// The lines it is about: first and last, from 1.
    pub lines: Vec<(u32, u32)>,
}

/// What was kept of a failing step.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Kept {
    /// An image of its files, with its variables, user and directory; its command is the step's. It belongs to
    /// the client.
    pub image: String,
}

fn to_base64<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&STANDARD.encode(bytes))
}

fn from_base64<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let text = String::deserialize(deserializer)?;
    STANDARD.decode(text).map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;

    #[test]
    fn messages_are_documents_with_one_member() {
        let log = Message::Log(Log {
            vertex: "sha256:a".to_owned(),
            stream: 2,
            data: b"\xff\n".to_vec(),
            ..Log::default()
        });
        let ask = Message::Ask(Ask {
            number: 3,
            wanted: Wanted::Secret("token".to_owned()),
        });
        for (message, text) in [
            (
                log,
                r#"{"log":{"vertex":"sha256:a","stream":2,"at":"","data":"/wo="}}"#,
            ),
            (ask, r#"{"ask":{"number":3,"wanted":{"secret":"token"}}}"#),
        ] {
            assert_eq!(serde_json::to_string(&message).unwrap(), text);
            let read: Message = json::from_slice(text.as_bytes()).unwrap();
            assert_eq!(read, message);
        }
    }
}
