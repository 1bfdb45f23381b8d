//! Files alone, without an image: directories and archives of the client's. Those of several platforms are in directories
//! that are named after them.

use super::outlet::{self, Outlet};
use super::target::Loose;
use super::{Response, Solved, index, nothing};
use crate::buildkit::builds::Build;
use crate::buildkit::failure;
use crate::buildkit::filesync::Root;
use hull_engine::Engine;
use hull_engine::build::attest::Wanted;
use hull_engine::build::{Attested, LooseFiles};
use std::collections::BTreeMap;
use std::os::fd::AsRawFd as _;
use std::path::PathBuf;
use std::sync::Arc;
use tonic::Status;

/// What is sent.
type Files<'a, 'b> = (&'a [Solved<'b>], &'a Loose);

/// A result with the name of its directory.
type Named<'a, 'b> = (String, &'a Solved<'b>);

/// The directories of results; `None` when there is but one, without a directory.
fn directories<'a, 'b>(
    solved: &'a [Solved<'b>],
    split: Option<bool>,
) -> Result<Option<Vec<Named<'a, 'b>>>, Status> {
    match (solved, split) {
        ([], _) => Err(nothing()),
        ([_], None | Some(false)) => Ok(None),
        (_, Some(false)) => Err(Status::unimplemented(
            "Hull puts the files of several platforms into directories of their own (platform-split=false is not supported)",
        )),
        (several, _) => {
            let name = |one: &Solved<'_>| one.planned.image().platform.to_string();
            let named = several.iter().map(|one| (name(one).replace('/', "_"), one));
            let mut named: Vec<_> = named.collect();
            named.sort_by(|(one, _), (other, _)| one.cmp(other));
            Ok(Some(named))
        }
    }
}

/// The files of results, each with the name of its directory, which is empty for the only one; whether there are
/// directories.
fn read(
    engine: &Arc<Engine>,
    (solved, loose): Files<'_, '_>,
    build: &Build,
) -> Result<(Vec<(String, LooseFiles)>, bool), Status> {
    let split = directories(solved, loose.split)?;
    let is_split = split.is_some();
    let named = split.unwrap_or_else(|| {
        let named = solved.iter().map(|one| (String::new(), one));
        named.collect()
    });
    let mut found = Vec::with_capacity(named.len());
    for (name, one) in named {
        // What clients ask for with every build is for images alone.
        let attributes = &one.planned.plan.request.attributes;
        let wanted = Wanted::read(attributes, false);
        let wanted = wanted.map_err(|error| Status::invalid_argument(error.to_string()))?;
        let attestations = index::attestations(engine, one, &wanted, build)?;
        let attested = Attested {
            attestations: &attestations,
            prefix: &loose.prefix,
            cancel: Some(&build.context.cancel),
        };
        let files = engine.loose_files(one.solution.as_deref(), attested);
        found.push((name, files.map_err(|error| failure::of_engine(&error))?));
    }
    Ok((found, is_split))
}

pub(super) fn send_directory(
    engine: &Arc<Engine>,
    (outlet, place): (&dyn Outlet, usize),
    files: Files<'_, '_>,
    build: &Build,
) -> Result<Response, Status> {
    let (found, _) = read(engine, files, build)?;
    let roots = found.iter().filter_map(|(name, files)| {
        let path = files.root();
        let path = path.map(|root| PathBuf::from(format!("/proc/self/fd/{}", root.as_raw_fd())));
        (path.is_some() || !name.is_empty()).then(|| Root {
            name: name.clone(),
            path,
        })
    });
    let roots: Vec<Root> = roots.collect();
    // Of no files there is nothing to be sent.
    if !roots.is_empty() {
        outlet.directory(place, &roots)?;
    }
    Ok(Response::new())
}

pub(super) fn send_archive(
    engine: &Arc<Engine>,
    (outlet, place): (&dyn Outlet, usize),
    files: Files<'_, '_>,
    build: &Build,
) -> Result<Response, Status> {
    let (found, is_split) = read(engine, files, build)?;
    outlet::written(outlet.file(place, &BTreeMap::new())?, |out| {
        let written = match found.as_slice() {
            [(_, only)] if !is_split => engine.export_tar(only, out),
            several => engine.export_tars(several, out),
        };
        written.map_err(|error| failure::of_engine(&error))
    })?;
    Ok(Response::new())
}
