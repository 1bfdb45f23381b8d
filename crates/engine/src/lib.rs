//! What Docker *means*: containers, images, exec, events, networks, without HTTP and without its
//! wire types. The daemon converts; everything here is as meant, with defaults filled in.
#![forbid(unsafe_code)]

pub mod container;
mod engine;
mod error;
pub mod event;
pub mod exec;
pub mod image;
pub mod logs;
pub mod network;
pub mod system;

pub use engine::{Config, Engine, RuntimeProgram};
pub use error::{Error, ErrorKind};
pub use hull_spec::{InvalidReference, Platform, Reference};

/// Filters of lists and events: for each name the values of which one has to match. The engine
/// refuses names and values that it does not know.
pub type Filters = std::collections::BTreeMap<String, Vec<String>>;

/// What an operation yields.
pub type Result<T, E = Error> = std::result::Result<T, E>;
