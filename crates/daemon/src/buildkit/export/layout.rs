//! Images as OCI layouts of the client's: an archive, or a directory that the client has as a store of blobs.

use super::target::Named;
use super::told::Told;
use super::{Outlet, Response, STANDARD, Solved, about, index, nothing, outlet};
use crate::buildkit::builds::{Build, Returned};
use crate::buildkit::failure;
use crate::buildkit::keeper::Keeper;
use base64::Engine as _;
use hull_engine::Engine;
use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use tonic::Status;

/// What clients call the store that gets an image's blobs; they write the index themselves.
const STORE: &str = "export";

/// Where it goes.
pub(super) enum Into<'a> {
    /// An archive, of the exporter of that number.
    File(&'a dyn Outlet, usize),
    /// A store of blobs.
    Store(&'a dyn Keeper),
}

/// Sends images, with what is attested of them.
pub(super) fn send(
    engine: &Arc<Engine>,
    told: &Told<'_>,
    (solved, named): (&[Solved<'_>], &Named),
    (build, returned): (&Build, &Returned),
    into: Into<'_>,
) -> Result<Response, Status> {
    if solved.is_empty() {
        return Err(nothing());
    }
    let failed = |error: hull_engine::Error| failure::of_engine(&error);
    let wanted = index::wanted(solved)?;
    let configs: Vec<Vec<u8>> = solved.iter().map(|one| one.config(returned)).collect();
    let parts = index::parts(engine, (solved, &configs), &wanted, build)?;
    let archived = match into {
        Into::File(to, place) => {
            let sending = told.part("sending tarball");
            let mut archived = None;
            outlet::written(to.file(place, &BTreeMap::new())?, |out| {
                let made = engine.export_archive(&parts, named.epoch, &named.names, out);
                archived = Some(made.map_err(failed)?);
                Ok(())
            })?;
            sending.done();
            archived.ok_or_else(|| Status::internal("an archive without an image"))?
        }
        Into::Store(client) => {
            let sending = told.part("sending layout");
            let store = client.store(STORE);
            let store = store.map_err(|error| Status::unknown(error.full_message()))?;
            let mut put = |blob: &_, bytes: &mut dyn io::Read| {
                let written = store.write(blob, bytes);
                written.map_err(|error| io::Error::other(error.full_message()))
            };
            let made = engine.export_layout(&parts, named.epoch, &named.names, &mut put);
            let made = made.map_err(failed)?;
            sending.done();
            made
        }
    };
    let descriptor = &archived.descriptor;
    let digest = descriptor.digest.to_string();
    let mut response = about(&archived.id.to_string(), &digest, named);
    if solved.len() > 1 {
        response.remove("containerimage.config.digest");
    }
    let text = serde_json::to_vec(descriptor);
    let text = text.map_err(|error| Status::internal(error.to_string()))?;
    response.insert(
        "containerimage.descriptor".to_owned(),
        STANDARD.encode(text),
    );
    Ok(response)
}
