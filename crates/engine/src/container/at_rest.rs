//! The mounts of a container that does not run, for who copies files into and out of it.

use super::MountPoint;
use super::record::Record;
use crate::volume::Visit;
use crate::{Engine, Result};
use hull_linux::path::Root;
use rustix::fd::{AsRawFd as _, OwnedFd};
use rustix::fs::OFlags;
use std::path::Path;

/// Mount points whose sources are there as long as this is.
pub(super) struct AtRest<'e> {
    pub(super) points: Vec<MountPoint>,
    /// Parts of volumes, which the points name by these descriptors.
    _parts: Vec<OwnedFd>,
    _volumes: Vec<Visit<'e>>,
}

impl Engine {
    /// What a container that does not run would have mounted, without images: those are seen in their
    /// own right, and cannot be written. A volume that cannot be had is left out where nobody writes.
    ///
    /// # Errors
    /// Of volumes, with `write`.
    pub(super) fn points_at_rest(&self, record: &Record, write: bool) -> Result<AtRest<'_>> {
        let mut rest = AtRest {
            points: Vec::new(),
            _parts: Vec::new(),
            _volumes: Vec::new(),
        };
        if write {
            super::mounts::make_sources(&record.mounts)?;
        }
        for point in &record.mounts {
            let mut point = point.clone();
            if point.kind == "image" {
                continue;
            }
            if point.kind == "volume" {
                let visit = match self.visit_volume(&point.name, &record.id) {
                    Ok(visit) => visit,
                    Err(error) if write => return Err(error),
                    Err(error) => {
                        tracing::debug!(volume = point.name, %error, "not looked into");
                        continue;
                    }
                };
                point.source = visit.place().to_string_lossy().into_owned();
                rest._volumes.push(visit);
            }
            if !point.subpath.as_os_str().is_empty() {
                let whole = Root::open(Path::new(&point.source));
                let Ok(part) = whole.and_then(|whole| whole.open_at(&point.subpath, OFlags::PATH))
                else {
                    continue;
                };
                point.source = format!("/proc/self/fd/{}", part.as_raw_fd());
                rest._parts.push(part);
            }
            rest.points.push(point);
        }
        Ok(rest)
    }
}
