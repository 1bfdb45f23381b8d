//! The values that join Hull's domains: digests, image references, platforms, durations, sizes, limits, the documents of the
//! OCI image and runtime specifications, and the description of a root file system.
//!
//! Nothing here does I/O. The documents are our own structs with public fields and serde defaults,
//! so that rules read as `process.no_new_privileges` and unknown properties pass unharmed: the
//! runtime specification demands that they are ignored, and Docker's image configs carry fields
//! that the image specification does not list.
#![forbid(unsafe_code)]

mod digest;
mod duration;
pub mod image;
mod platform;
mod reference;
pub mod rootfs;
pub mod runtime;
mod size;
mod ulimit;

pub use digest::{Digest, InvalidDigest};
pub use duration::{InvalidDuration, parse_duration};
pub use platform::{InvalidPlatform, Platform};
pub use reference::{DOCKER_HUB, InvalidReference, Reference};
pub use size::{InvalidSize, Thousand, parse_size};
pub use ulimit::{InvalidUlimit, check_ulimit, parse_ulimit};
