//! Clients that keep caches: in directories of their own, and in registries they log in to.

use hull_engine::build::blobs::Blobs;
use hull_engine::build::world::{Client, WorldResult};
use hull_engine::image::Descriptor;
use std::io::Read;
use tokio::runtime::Handle;

/// A build's client, for its caches. All calls block.
pub(super) trait Keeper: Client {
    /// Where requests to registries run.
    fn runtime(&self) -> &Handle;

    /// A place of the client's that has blobs.
    ///
    /// # Errors
    /// What the client says.
    fn store(&self, id: &str) -> WorldResult<Box<dyn Store>>;
}

/// A place of a client's that has blobs, and takes more.
pub(super) trait Store: Blobs {
    /// Writes a blob, if it is not there.
    ///
    /// # Errors
    /// What the client says, and when `bytes` cannot be read.
    fn write(&self, blob: &Descriptor, bytes: &mut dyn Read) -> WorldResult<()>;
}
