//! The Docker Engine API as it goes over the wire: one module of types per noun, the framing of
//! attached streams, progress messages, and a client.
//!
//! The types carry the names and zero values of the API reference and nothing else; what a request
//! *means* is the engine's business. They serve both directions. Written, they print exactly as
//! dockerd 28 does (`null`, `[]` and absence are three different things to clients). Read through
//! [`json`], they are as lenient as Go's decoder: `null` is the zero value, unknown members are
//! ignored, the case of names does not matter.
#![forbid(unsafe_code)]

pub mod access;
pub mod build;
pub mod check;
pub mod client;
pub mod container;
pub mod error;
pub mod event;
pub mod exec;
pub mod image;
pub mod json;
pub mod manifest;
pub mod network;
pub mod progress;
pub mod stream;
pub mod swarm;
pub mod system;
pub mod volume;

/// The release of Docker whose behaviour is the reference.
pub const DOCKER: &str = "28.5.2";
/// The newest API version these types describe.
pub const API_VERSION: &str = "1.51";
/// The oldest API version a daemon still answers, and a client still speaks.
pub const MIN_API_VERSION: &str = "1.24";

/// Go's `omitempty`, for scalars and structs.
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
