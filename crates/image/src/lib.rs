//! The local image store: content by digest, each layer once, names, and the snapshots that
//! containers write to. What lies on disk is drawn in [`store`].
//!
//! Everything here blocks; callers in async code use a blocking thread. A pull goes like this:
//!
//! ```text
//! for each layer:  store.begin_layer(descriptor, diff_id)
//!                    Present(hold)       nothing to fetch
//!                    InProgress(waiter)  waiter.wait_timeout(…), then ask again
//!                    Fetch(writer)       fetch from writer.offset(); writer.write(bytes)…; hold = writer.finish()
//! store.register(&Registration { … })    the commit point: now the image exists
//! drop the holds                         from here on the image's row keeps its layers
//! ```
#![forbid(unsafe_code)]

pub mod archive;
mod blob;
mod budget;
mod catalog;
mod check;
mod compress;
mod database;
mod decompress;
pub mod delete;
pub mod diff;
mod erofs;
mod error;
pub mod extract;
mod format;
pub mod fuzz;
mod image;
pub mod ingest;
mod layer;
mod register;
mod remove;
mod resolve;
mod rows;
pub mod snapshot;
pub mod store;
mod trash;
mod unpack;
mod usage;

pub use budget::{Keeper, Room};
pub use check::{CheckOptions, Checked, Finding, Problem, Repair, Report};
pub use compress::Compression;
pub use database::Database;
pub use format::{Format, FormatChoice, InvalidFormat};
pub use image::{Facts, Image, ImageId, MAX_DOCUMENT, PlatformImage, Registration, Summary};
pub use ingest::{ImportedLayer, Layer, LayerWriter, Progress, Waiter};
pub use layer::LayerArchive;
pub use remove::{Removed, User};
pub use snapshot::{Overlay, Snapshotter};
pub use store::{Error, Hold, Options, Store};
pub use unpack::Limits;
pub use usage::{DiskUsage, Files, ImageUsage, taken};
