//! Client of the OCI distribution specification, as dockerd speaks it: manifests, indexes and blobs
//! from registries and their mirrors, and to registries.
//!
//! A request travels like this:
//!
//! ```text
//!  Client::resolve / fetch_document / fetch_blob / tags   client.rs, blob.rs, list.rs
//!  Pusher::has_blob / mount / upload / put_manifest       push.rs, upload.rs, body.rs
//!     │  for each endpoint: mirrors, then the registry    endpoint.rs, hosts.rs
//!     ▼
//!  Client::send: retries with back-off, 401 → a grant     session.rs, retry.rs, auth.rs, challenge.rs
//!     │
//!     ▼
//!  follow: redirects, credentials stay with their host    session.rs
//! ```
//!
//! Nothing here knows the disk, but for the settings of hosts in `certs.d`: documents come back as bytes whose digest was verified, blobs as a
//! stream that resumes by itself and is verified by whoever stores it.
#![forbid(unsafe_code)]

mod auth;
mod blob;
mod body;
mod challenge;
mod client;
mod config;
mod credentials;
mod document;
mod download;
mod endpoint;
mod error;
mod hosts;
mod list;
mod login;
mod push;
mod reason;
mod retry;
mod search;
mod session;
mod upload;

pub use blob::Blob;
pub use body::{Sent, Source};
pub use challenge::{Challenge, parse_challenges};
pub use client::{Client, Resolved};
pub use config::{Config, Insecure, InvalidConfig, Proxies, parse_mirror};
pub use credentials::{Credentials, Secret};
pub use document::MAX_DOCUMENT;
pub use download::{Ask, Download, DownloadError, shown_url};
pub use error::{Error, Kind};
pub use list::{Referrer, next_link};
pub use login::LoginError;
pub use push::{Mount, Pusher, Upload};
pub use retry::Retry;
pub use search::{Found, SearchError};

/// Makes ring the process's provider of cryptography for TLS. [`Client::new`] does it too; calling
/// it again, from anywhere, is harmless.
pub fn install_crypto_provider() {
    // The error means that a provider is installed already, which is all that is wanted.
    let _ = rustls::crypto::ring::default_provider().install_default();
}
