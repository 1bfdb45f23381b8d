//! Indexes: images of several platforms, and what is attested of images.

use super::target::Named;
use super::told::Told;
use super::{Response, STANDARD, Solved, about, push};
use crate::buildkit::builds::{Build, Returned};
use crate::buildkit::failure;
use base64::Engine as _;
use hull_engine::Engine;
use hull_engine::build::Part;
use hull_engine::build::attest::{Attestation, Built, Wanted};
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
    let wanted = Wanted::of_images(attributes, solved.len() > 1);
    wanted.map_err(|error| Status::invalid_argument(error.to_string()))
}

/// What is attested of a result.
pub(super) fn attestations(
    engine: &Arc<Engine>,
    one: &Solved<'_>,
    wanted: &Wanted,
    build: &Build,
) -> Result<Vec<Attestation>, Status> {
    let built = Built {
        plan: &one.planned.plan,
        image: one.planned.image(),
        sources: &build.context.sources,
        id: build.name(),
    };
    let told = engine.attestations(wanted, &built, one.solution.as_deref());
    told.map_err(|error| failure::of_engine(&error))
}

/// Results with their configs, and what is attested of them.
pub(super) fn parts<'a>(
    engine: &Arc<Engine>,
    (solved, configs): (&'a [Solved<'_>], &'a [Vec<u8>]),
    wanted: &Wanted,
    build: &Build,
) -> Result<Vec<Part<'a>>, Status> {
    let one = |(one, config): (&'a Solved<'_>, &'a Vec<u8>)| {
        Ok(Part {
            files: one.solution.as_deref(),
            config,
            attestations: attestations(engine, one, wanted, build)?,
        })
    };
    solved.iter().zip(configs).map(one).collect()
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
    let parts = parts(engine, (solved, &configs), wanted, with.0)?;
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
