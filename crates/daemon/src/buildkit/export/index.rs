//! Indexes: images of several platforms, and what is attested of images.

use super::target::Named;
use super::told::Told;
use super::{Response, STANDARD, Solved, about, push};
use crate::buildkit::builds::{Build, Returned};
use crate::buildkit::failure;
use base64::Engine as _;
use hull_engine::Engine;
use hull_engine::build::Part;
use hull_engine::build::attest::{Built, Wanted};
use std::sync::Arc;
use tokio::runtime::Handle;
use tonic::Status;

/// What is to be attested. What clients ask for with every build is made only where an index is made anyway: as with
/// dockerd's own store, an image of one platform is a manifest unless somebody says otherwise.
pub(super) fn wanted(solved: &[Solved<'_>]) -> Result<Wanted, Status> {
    let Some(first) = solved.first() else {
        return Ok(Wanted::default());
    };
    let attributes = &first.planned.plan.request.attributes;
    let wanted = Wanted::read(attributes, solved.len() > 1);
    wanted.map_err(|error| Status::invalid_argument(error.to_string()))
}

/// Makes images and an index of them, which gets the names.
pub(super) fn export_index(
    engine: &Arc<Engine>,
    told: &Told<'_>,
    (solved, named, wanted): (&[Solved<'_>], &Named, &Wanted),
    returned: &Returned,
    with: (&Build, &Handle),
) -> Result<Response, Status> {
    let failed = |error: hull_engine::Error| failure::of_engine(&error);
    let layers = told.part("exporting layers");
    let configs: Vec<Vec<u8>> = solved.iter().map(|one| one.config(returned)).collect();
    let mut parts = Vec::with_capacity(solved.len());
    for (one, config) in solved.iter().zip(&configs) {
        let files = one.solution.as_deref();
        let built = Built {
            plan: &one.planned.plan,
            image: one.planned.image(),
            sources: &with.0.context.sources,
            id: with.0.name(),
        };
        parts.push(Part {
            files,
            config,
            attestations: engine.attestations(wanted, &built, files).map_err(failed)?,
        });
    }
    let made = engine.export_index(&parts, &named.names, named.epoch);
    let made = made.map_err(failed)?;
    layers.done();
    let digest = made.descriptor.digest.to_string();
    told.part(&format!("exporting manifest list {digest}"))
        .done();
    for name in &named.names {
        told.part(&format!("naming to {name}")).done();
    }
    let first = made.images.first().map(ToString::to_string);
    let mut response = about(&first.unwrap_or_default(), &digest, named);
    if solved.len() > 1 {
        response.remove("containerimage.config.digest");
    }
    let text = serde_json::to_vec(&made.descriptor);
    let text = text.map_err(|error| Status::internal(error.to_string()))?;
    response.insert(
        "containerimage.descriptor".to_owned(),
        STANDARD.encode(text),
    );
    if named.push
        && let Some(digest) = push::push(engine, told, with, named)?
    {
        response.insert("containerimage.digest".to_owned(), digest);
    }
    Ok(response)
}
