//! Files alone, without an image: directories and archives of the client's. Those of several platforms are in directories
//! that are named after them.

use super::outlet::{self, Outlet};
use super::{Response, Solved, nothing};
use crate::buildkit::failure;
use crate::buildkit::filesync::Root;
use hull_engine::Engine;
use std::collections::BTreeMap;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::path::PathBuf;
use tonic::Status;

/// What is sent, and whether it is in directories, if the client cares.
type Files<'a, 'b> = (&'a [Solved<'b>], Option<bool>);

/// A result with the name of its directory.
type Named<'a, 'b> = (String, &'a Solved<'b>);

/// The directories of results; `None` when there is but one, without a directory.
fn directories<'a, 'b>(
    (solved, split): Files<'a, 'b>,
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

pub(super) fn send_directory(
    engine: &Engine,
    (outlet, place): (&dyn Outlet, usize),
    files: Files<'_, '_>,
) -> Result<Response, Status> {
    let split = directories(files)?;
    let named = match split {
        Some(named) => named,
        None => files
            .0
            .iter()
            .map(|one| (String::new(), one))
            .collect::<Vec<_>>(),
    };
    // They are read through the views, which must stay.
    let mut views = Vec::new();
    let mut roots = Vec::new();
    for (name, one) in named {
        let solution = one.solution.as_deref();
        let view = solution.map(|files| engine.export_files(files)).transpose();
        let view = view.map_err(|error| failure::of_engine(&error))?.flatten();
        let path = view
            .as_ref()
            .map(|view| PathBuf::from(format!("/proc/self/fd/{}", view.as_fd().as_raw_fd())));
        if path.is_some() || !name.is_empty() {
            roots.push(Root { name, path });
        }
        views.extend(view);
    }
    // Of no files there is nothing to be sent.
    if !roots.is_empty() {
        outlet.directory(place, &roots)?;
    }
    Ok(Response::new())
}

pub(super) fn send_archive(
    engine: &Engine,
    (outlet, place): (&dyn Outlet, usize),
    files: Files<'_, '_>,
) -> Result<Response, Status> {
    let split = directories(files)?;
    let only = files.0.first().and_then(|one| one.solution.as_deref());
    outlet::written(outlet.file(place, &BTreeMap::new())?, |out| {
        let written = match (&split, only) {
            (Some(named), _) => {
                let several = named.iter();
                let several: Vec<_> = several
                    .map(|(name, one)| (name.clone(), one.solution.as_deref()))
                    .collect();
                engine.export_tars(&several, out)
            }
            (None, Some(files)) => engine.export_tar(files, out),
            // The end of an archive: two blocks of zeros.
            (None, None) => {
                return out
                    .write_all(&[0; 1024])
                    .map_err(|error| Status::unknown(error.to_string()));
            }
        };
        written.map_err(|error| failure::of_engine(&error))
    })?;
    Ok(Response::new())
}
