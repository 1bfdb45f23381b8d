//! What becomes of a build's results: images with names, archives and directories of the client's.

mod files;
mod index;
mod layout;
mod outlet;
mod push;
mod target;
mod told;

pub(super) use outlet::{Outgoing, Outlet};
pub(super) use target::Target;
pub(super) use told::Told;

use super::builds::{Build, Planned, Returned};
use super::caches::{CacheExport, Caches};
use super::failure;
use base64::engine::general_purpose::STANDARD;
use hull_engine::Engine;
use hull_engine::build::graph::Graph;
use hull_engine::build::solve::{Solution, Solver};
use std::collections::HashMap;
use std::sync::Arc;
use target::Named;
use tokio::runtime::Handle;
use tonic::Status;

/// What clients are told about what was made.
pub(super) type Response = HashMap<String, String>;

/// Builds what was returned, and exports it. Blocks.
///
/// # Errors
/// What failed, in BuildKit's words.
pub(super) fn export(
    engine: &Arc<Engine>,
    solver: &Solver,
    build: &Build,
    returned: &Returned,
    work: Work<'_>,
) -> Result<Response, Status> {
    let mut solved = Vec::new();
    for (platform, planned) in &returned.images {
        let solution = build.solution(solver, planned)?;
        solved.push(Solved {
            platform,
            planned,
            solution,
            config: None,
        });
    }
    let caches = work.caches.each();
    if caches.iter().any(CacheExport::is_inline) {
        let epoch = work.targets.iter().find_map(Target::epoch);
        for one in &mut solved {
            one.remember(engine, returned, epoch)?;
        }
    }
    let mut response = Response::new();
    for target in work.targets {
        let told = Told::begin(&*build.context.watch, target.title());
        let exported = match target {
            Target::Image(named) => {
                let wanted = index::wanted(&solved)?;
                if solved.len() > 1 || wanted.is_any() {
                    let images = (solved.as_slice(), named, &wanted);
                    index::export_index(engine, &told, images, returned, (build, work.runtime))
                } else {
                    let image = (one(&solved)?, named);
                    export_image(engine, &told, image, returned, (build, work.runtime))
                }
            }
            Target::Directory(place, loose) => {
                let outlet = (work.outlet, *place);
                files::send_directory(engine, outlet, (&solved, loose), build)
            }
            Target::Archive(place, loose) => {
                let outlet = (work.outlet, *place);
                files::send_archive(engine, outlet, (&solved, loose), build)
            }
            Target::Layout(place, named) => {
                let images = (solved.as_slice(), named);
                let into = layout::Into::File(work.outlet, *place);
                layout::send(engine, &told, images, (build, returned), into)
            }
            Target::Store(named) => {
                let images = (solved.as_slice(), named);
                let into = layout::Into::Store(work.caches.client);
                layout::send(engine, &told, images, (build, returned), into)
            }
        };
        told.end(exported.as_ref().err());
        response.extend(exported?);
    }
    for cache in caches {
        response.extend(cache.export(engine, build, &solved)?);
    }
    Ok(response)
}

/// What is to be done with results.
pub(super) struct Work<'a> {
    pub(super) targets: &'a [Target],
    /// What becomes of the cache.
    pub(super) caches: Caches<'a>,
    pub(super) outlet: &'a dyn Outlet,
    /// Where pushes run.
    pub(super) runtime: &'a Handle,
}

/// A result that was built.
pub(super) struct Solved<'a> {
    platform: &'a str,
    planned: &'a Planned,
    solution: Option<Arc<Solution>>,
    /// Its config, if it is another than the client's.
    config: Option<Vec<u8>>,
}

impl Solved<'_> {
    /// Its files, and how they were made.
    pub(super) fn files(&self) -> Option<(&Graph, &Solution)> {
        let solution = self.solution.as_deref()?;
        Some((&*self.planned.plan.graph, solution))
    }

    /// Has the config say what the image's steps made; its layers are no later than `epoch`.
    fn remember(
        &mut self,
        engine: &Engine,
        returned: &Returned,
        epoch: Option<i64>,
    ) -> Result<(), Status> {
        let config = self.config(returned);
        let config = self
            .files()
            .map(|files| engine.with_inline_cache(&config, files, epoch));
        let config = config.transpose();
        self.config = config.map_err(|error| Status::unknown(error.full_message()))?;
        Ok(())
    }

    /// Its config, with what the client may have changed in it.
    fn config(&self, returned: &Returned) -> Vec<u8> {
        if let Some(config) = &self.config {
            return config.clone();
        }
        let key = match self.platform {
            "" => "containerimage.config".to_owned(),
            platform => format!("containerimage.config/{platform}"),
        };
        let config = returned.metadata.get(&key);
        config.unwrap_or(&self.planned.image().config).clone()
    }
}

fn one<'a, 'b>(solved: &'a [Solved<'b>]) -> Result<&'a Solved<'b>, Status> {
    match solved {
        [one] => Ok(one),
        [] => Err(nothing()),
        _ => Err(Status::unknown(
            "exporting multiple references to image store is currently unsupported",
        )),
    }
}

fn nothing() -> Status {
    Status::unknown("there is nothing to be exported")
}

type Image<'a> = (&'a Solved<'a>, &'a Named);

fn export_image(
    engine: &Arc<Engine>,
    told: &Told<'_>,
    (image, named): Image<'_>,
    returned: &Returned,
    with: (&Build, &Handle),
) -> Result<Response, Status> {
    let layers = told.part("exporting layers");
    let config = image.config(returned);
    let made = engine
        .export_image(
            image.solution.as_deref(),
            &config,
            &named.names,
            named.epoch,
        )
        .map_err(|error| failure::of_engine(&error))?;
    layers.done();
    told.part(&format!("writing image {}", made.id)).done();
    for name in &named.names {
        told.part(&format!("naming to {name}")).done();
    }
    let mut response = about(&made.id.to_string(), &made.id.to_string(), named);
    if named.push
        && let Some(digest) = push::push(engine, told, with, named)?
    {
        response.insert("containerimage.digest".to_owned(), digest);
    }
    Ok(response)
}

/// What a client is told of an image.
fn about(id: &str, digest: &str, named: &Named) -> Response {
    let mut response = Response::from([
        ("containerimage.config.digest".to_owned(), id.to_owned()),
        ("containerimage.digest".to_owned(), digest.to_owned()),
    ]);
    if !named.names.is_empty() {
        let names: Vec<String> = named.names.iter().map(ToString::to_string).collect();
        response.insert("image.name".to_owned(), names.join(","));
    }
    response
}
