//! Trees on the disk. A step's files are the upper directory of a snapshot named after it, whose row keeps the
//! layers below; what is between, other steps' directories, is kept by the cache, which knows who names them.

use super::PREFIX;
use crate::{Engine, names};
use hull_build::world::{Piece, Tree, WorldError, WorldResult};
use hull_image::Snapshotter as _;
use hull_image::diff::View;
use hull_linux::path::Root;
use hull_spec::Digest;
use hull_spec::rootfs::RootFs;
use rustix::fs::{Gid, Mode, OFlags, Uid};
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// The name of a step's snapshot.
pub(super) fn key_of(step: &str) -> String {
    format!("{PREFIX}{step}")
}

fn snapshot_failed(error: hull_image::snapshot::Error) -> WorldError {
    WorldError::other(crate::image::snapshot_error(error).full_message())
}

fn failed(what: &'static str) -> impl Fn(std::io::Error) -> WorldError {
    move |error| WorldError::caused(what, error)
}

/// The pieces of a tree; a client's files have none.
pub(super) fn pieces(tree: &Tree) -> WorldResult<&[Piece]> {
    match tree {
        Tree::Pieces(pieces) => Ok(pieces),
        Tree::Local(_) => Err(WorldError::Unsupported(
            "a client's files can be copied from, not built upon".to_owned(),
        )),
    }
}

/// A step's place to write, above a tree. Gone with this, unless it is kept.
pub(super) struct NewStep<'e> {
    engine: &'e Engine,
    pub(super) id: String,
    /// What it is mounted as.
    pub(super) root: RootFs,
    pub(super) upper: PathBuf,
    below: Vec<Piece>,
    kept: bool,
}

impl Drop for NewStep<'_> {
    fn drop(&mut self) {
        if !self.kept {
            self.engine.discard_step(&self.id);
        }
    }
}

impl NewStep<'_> {
    /// The step is done: a tree with its files on top.
    pub(super) fn keep(mut self) -> Tree {
        self.kept = true;
        // overlayfs's own; another mount would make it anew.
        if let RootFs::Overlay {
            work: Some(work), ..
        } = &self.root
        {
            let _ = fs_err::remove_dir_all(work);
        }
        let mut pieces = std::mem::take(&mut self.below);
        pieces.push(Piece::Step(self.id.clone()));
        Tree::Pieces(pieces)
    }

    /// Mounts it, for our own eyes only.
    pub(super) fn open(&self) -> WorldResult<Root> {
        let opened = match &self.root {
            RootFs::Overlay {
                lower,
                upper: Some(upper),
                work: Some(work),
                ..
            } => {
                let scratch = self.engine.config.exec_root.join("view");
                super::overlay::overlay(lower, (upper, work), &scratch)
            }
            _ => rustix::fs::open(&self.upper, DIRECTORY, Mode::empty()).map_err(Into::into),
        };
        Ok(Root::from_directory(
            opened.map_err(failed("mount a step's files"))?,
        ))
    }
}

const DIRECTORY: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::CLOEXEC);

/// The root of a mount that hangs nowhere. It is the mount's own descriptor, with which it stays: without that one,
/// every use of another takes the kernel's lock of mounts, and `..` in a path fails each time with EAGAIN.
pub(super) fn root_of(view: &View) -> std::io::Result<Root> {
    Ok(Root::from_directory(view.as_fd().try_clone_to_owned()?))
}

/// A tree to be read. The layers stay as long as this.
pub(super) struct Reading<'e> {
    engine: &'e Engine,
    /// The snapshot that keeps the layers.
    key: Option<String>,
    /// The topmost first.
    pub(super) directories: Vec<PathBuf>,
}

impl Drop for Reading<'_> {
    fn drop(&mut self) {
        if let Some(key) = &self.key
            && let Err(error) = self.engine.snapshots.remove(key)
        {
            tracing::warn!(%error, "a snapshot of a build was not removed");
        }
    }
}

impl Reading<'_> {
    /// Its root; of an empty tree an empty directory.
    pub(super) fn open(&self) -> WorldResult<Root> {
        let view = View::of(&self.directories).map_err(failed("open a tree"))?;
        let view = view.ok_or_else(|| WorldError::other("an empty tree was opened"))?;
        root_of(&view).map_err(failed("open a tree"))
    }

    /// As it is mounted where nobody writes it.
    pub(super) fn root_fs(&self) -> RootFs {
        match self.directories.as_slice() {
            [only] => RootFs::Directory { path: only.clone() },
            several => RootFs::Overlay {
                lower: several.to_vec(),
                upper: None,
                work: None,
                volatile: false,
            },
        }
    }
}

fn layers(pieces: &[Piece]) -> Vec<Digest> {
    let layer = |piece: &Piece| match piece {
        Piece::Layer(layer) => Some(layer.clone()),
        Piece::Step(_) => None,
    };
    pieces.iter().filter_map(layer).collect()
}

impl Engine {
    /// Where a step's files are.
    pub(super) fn step_upper(&self, step: &str) -> PathBuf {
        let snapshots = self.config.data_root.join("snapshots");
        snapshots.join(key_of(step)).join("upper")
    }

    /// A place to write above a tree.
    pub(super) fn new_step(&self, below: &[Piece]) -> WorldResult<NewStep<'_>> {
        let id = names::id();
        let key = key_of(&id);
        self.snapshots
            .prepare(&key, &layers(below))
            .map_err(snapshot_failed)?;
        let upper = self.step_upper(&id);
        let mut step = NewStep {
            engine: self,
            root: RootFs::Directory {
                path: upper.clone(),
            },
            upper,
            below: below.to_vec(),
            kept: false,
            id,
        };
        let lower = self.piece_directories(&key, below)?;
        if !lower.is_empty() {
            if let Some(Piece::Step(_)) = below.last() {
                inherit(&lower[0], &step.upper).map_err(failed("make a step's directory"))?;
            }
            step.root = RootFs::Overlay {
                lower,
                work: Some(step.upper.with_file_name("work")),
                upper: Some(step.upper.clone()),
                volatile: true,
            };
        }
        Ok(step)
    }

    /// Opens a tree to read. One without files has no directory.
    pub(super) fn reading(&self, pieces: &[Piece]) -> WorldResult<Reading<'_>> {
        let below = layers(pieces);
        let mut reading = Reading {
            engine: self,
            key: None,
            directories: Vec::new(),
        };
        let key = key_of(&names::id());
        if !below.is_empty() {
            let prepared = self.snapshots.prepare(&key, &below);
            prepared.map_err(snapshot_failed)?;
            reading.key = Some(key.clone());
        }
        reading.directories = self.piece_directories(&key, pieces)?;
        Ok(reading)
    }

    /// The pieces' directories, the topmost first; the snapshot has their layers.
    fn piece_directories(&self, key: &str, pieces: &[Piece]) -> WorldResult<Vec<PathBuf>> {
        let mut mounted = Vec::new();
        if pieces.iter().any(|piece| matches!(piece, Piece::Layer(_))) {
            let root = self.snapshots.root_fs(key).map_err(snapshot_failed)?;
            if let RootFs::Overlay { lower, .. } = root {
                mounted = lower;
            }
        }
        // The snapshot has each layer once, where it is topmost.
        let mut mounted = mounted.into_iter();
        let mut seen = std::collections::HashSet::new();
        let mut directories = Vec::with_capacity(pieces.len());
        for piece in pieces.iter().rev().filter(|piece| seen.insert(*piece)) {
            directories.push(match piece {
                Piece::Step(step) => self.step_upper(step),
                Piece::Layer(layer) => mounted.next().ok_or_else(|| {
                    WorldError::other(format!("layer {layer} is not in the store"))
                })?,
            });
        }
        Ok(directories)
    }

    /// Removes what a step wrote.
    pub(super) fn discard_step(&self, step: &str) {
        if let Err(error) = self.snapshots.remove(&key_of(step)) {
            tracing::warn!(%error, "what a build's step wrote was not removed");
        }
        self.builds.forget_size(step);
    }

    /// Removes all that steps wrote in a tree.
    pub(super) fn discard_tree(&self, tree: &Tree) {
        let Tree::Pieces(pieces) = tree else {
            return;
        };
        for piece in pieces {
            if let Piece::Step(step) = piece {
                self.discard_step(step);
            }
        }
    }

    pub(super) fn has_pieces(&self, pieces: &[Piece]) -> bool {
        pieces.iter().all(|piece| match piece {
            Piece::Layer(layer) => self.store.has_layer(layer),
            Piece::Step(step) => self.step_upper(step).is_dir(),
        })
    }
}

/// The root of an overlay shows the attributes of its topmost directory: they have to be those below.
pub(super) fn inherit(from: &Path, to: &Path) -> std::io::Result<()> {
    let below = fs_err::metadata(from)?;
    let owner = (Uid::from_raw(below.uid()), Gid::from_raw(below.gid()));
    rustix::fs::chown(to, Some(owner.0), Some(owner.1))?;
    rustix::fs::chmod(to, Mode::from_raw_mode(below.mode() & 0o7777))?;
    Ok(())
}
