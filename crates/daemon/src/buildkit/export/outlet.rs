//! The way of what is exported to its client.

use crate::buildkit::client::SessionClient;
use crate::buildkit::filesync::{FileWriter, Root};
use crate::buildkit::session::{Caller, SESSION_WAIT};
use std::collections::BTreeMap;
use std::io::{self, Write};
use tonic::Status;

/// What a client takes, for its exporters by their numbers. Blocks.
pub(in crate::buildkit) trait Outlet: Send + Sync {
    /// Sends all that is below `roots`.
    ///
    /// # Errors
    /// What the client said, and what could not be read.
    fn directory(&self, exporter: usize, roots: &[Root]) -> Result<(), Status>;

    /// A file to be written. `about` is told to the client.
    ///
    /// # Errors
    /// What the client said.
    fn file(
        &self,
        exporter: usize,
        about: &BTreeMap<String, String>,
    ) -> Result<Box<dyn Outgoing>, Status>;
}

/// A file of a client's. Is whole only once it is finished.
pub(in crate::buildkit) trait Outgoing: Write {
    /// Waits until the client has all.
    ///
    /// # Errors
    /// What the client said.
    fn finish(self: Box<Self>) -> Result<(), Status>;
}

fn failed(error: impl std::fmt::Display) -> Status {
    Status::unknown(error.to_string())
}

/// The build's client.
fn caller(client: &SessionClient) -> Result<Caller, Status> {
    let (id, runtime) = (&client.session, &client.runtime);
    let session = runtime.block_on(client.sessions.get(id, SESSION_WAIT));
    let session = session.ok_or_else(|| Status::unknown(format!("no active session for {id}")))?;
    Ok(Caller::new(session, runtime.clone(), client.cancel.clone()))
}

impl Outlet for SessionClient {
    fn directory(&self, exporter: usize, roots: &[Root]) -> Result<(), Status> {
        let caller = caller(self)?;
        caller.send_directory(exporter, roots).map_err(failed)
    }

    fn file(
        &self,
        exporter: usize,
        about: &BTreeMap<String, String>,
    ) -> Result<Box<dyn Outgoing>, Status> {
        let file = caller(self)?.send_file(exporter, about);
        Ok(Box::new(file.map_err(failed)?))
    }
}

impl Outgoing for FileWriter {
    fn finish(self: Box<Self>) -> Result<(), Status> {
        Self::finish(*self).map_err(failed)
    }
}

/// Writes a file of a client's through `write`, in large pieces.
pub(super) fn written(
    file: Box<dyn Outgoing>,
    write: impl FnOnce(&mut dyn Write) -> Result<(), Status>,
) -> Result<(), Status> {
    let mut buffered = io::BufWriter::with_capacity(256 << 10, file);
    write(&mut buffered)?;
    let file = buffered
        .into_inner()
        .map_err(|error| failed(error.error()))?;
    file.finish()
}
