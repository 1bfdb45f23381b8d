//! `export`, and the trees behind `diff` and `commit`.

use super::State;
use crate::stream::{Outgoing, written_by};
use crate::{Engine, Error, ErrorKind, Result, blocking};
use hull_image::Snapshotter;
use hull_image::diff::{self, View};
use hull_spec::rootfs::RootFs;
use std::path::PathBuf;
use std::sync::Arc;

/// What a container wrote, and what is below it.
pub(super) struct Trees {
    /// `None`: nothing is below.
    pub(super) lower: Option<View>,
    pub(super) upper: View,
}

impl Engine {
    /// A container's whole tree as an archive, without volumes and mounts. Dropping the stream ends it.
    ///
    /// # Errors
    /// `NotFound`; later ones are the stream's last element.
    pub async fn export(self: &Arc<Self>, name: &str) -> Result<Outgoing> {
        let container = self.find(name)?;
        if matches!(container.record().state, State::Dead { .. }) {
            let text = format!("You cannot export container {} which is Dead", container.id);
            return Err(Error::new(ErrorKind::Conflict, text));
        }
        let (engine, id) = (Arc::clone(self), container.id.clone());
        let view = blocking(move || engine.merged(&id)).await?;
        let engine = Arc::clone(self);
        Ok(written_by(move |out| {
            diff::tree(std::os::fd::AsFd::as_fd(&view), diff::Times::Own, out)
                .map_err(diff_error)?;
            engine.tell_container(&container, "export", &[]);
            Ok(())
        }))
    }

    /// All of a container's layers, its own on top.
    fn merged(&self, id: &str) -> Result<View> {
        let (mut directories, upper) = self.directories(id)?;
        directories.insert(0, upper);
        view(&directories)?.ok_or_else(|| Error::new(ErrorKind::Internal, "no layers"))
    }

    /// A container's own layer, and all others together.
    pub(super) fn trees(&self, id: &str) -> Result<Trees> {
        let (directories, upper) = self.directories(id)?;
        let upper = view(&[upper])?;
        Ok(Trees {
            lower: view(&directories)?,
            upper: upper.ok_or_else(|| Error::new(ErrorKind::Internal, "no layers"))?,
        })
    }

    fn directories(&self, id: &str) -> Result<(Vec<PathBuf>, PathBuf)> {
        let root = self.snapshots.root_fs(id);
        match root.map_err(crate::image::snapshot_error)? {
            RootFs::Directory { path } => Ok((Vec::new(), path)),
            RootFs::Overlay { lower, upper, .. } => match upper {
                Some(upper) => Ok((lower, upper)),
                None => Err(Error::new(
                    ErrorKind::Internal,
                    "the container has no layer of its own",
                )),
            },
        }
    }
}

fn view(directories: &[PathBuf]) -> Result<Option<View>> {
    View::of(directories).map_err(|e| {
        Error::new(
            ErrorKind::Internal,
            "could not look at the container's files",
        )
        .caused_by(e)
    })
}

pub(crate) fn diff_error(error: diff::Error) -> Error {
    crate::image::wrapped(ErrorKind::Internal, &error)
}
