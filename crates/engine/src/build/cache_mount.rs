//! Directories that stay from build to build.

use super::copy::{All, Copier, Look};
use super::find::find;
use super::turns::{self, Turn};
use crate::{Engine, names};
use hull_build::cache::{Entry, Kind, Pin};
use hull_build::graph::{Exec, MountKind, Sharing, digest_of};
use hull_build::progress::Stream;
use hull_build::world::{Cancel, Job, Piece, Selection, Tree, WorldError, WorldResult};
use jiff::Timestamp;
use rustix::fs::OFlags;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A cache mount in use.
pub(super) struct Cached {
    pub(super) path: PathBuf,
    _pin: Pin,
}

/// The name of the cache that a step gets unless another has it alone.
pub(super) fn first_name(id: &str) -> String {
    turns::name_of(id, 0)
}

/// By what a cache is found.
pub(super) fn key_of(name: &str) -> hull_spec::Digest {
    digest_of(&("cache mount", name))
}

/// What counts where one step wants a cache in two ways.
fn stricter(one: Sharing, other: Sharing) -> Sharing {
    match (one, other) {
        (Sharing::Locked, _) | (_, Sharing::Locked) => Sharing::Locked,
        (Sharing::Private, _) | (_, Sharing::Private) => Sharing::Private,
        (Sharing::Shared, Sharing::Shared) => Sharing::Shared,
    }
}

impl Engine {
    /// Waits for a step's turn at all caches that it mounts. One id has one turn, at however many places it is.
    pub(super) fn cache_turns(
        &self,
        exec: &Exec,
        cancel: &Cancel,
    ) -> WorldResult<BTreeMap<String, Turn>> {
        let mut wanted: BTreeMap<&str, Sharing> = BTreeMap::new();
        for mount in &exec.mounts {
            if let MountKind::Cache { id, sharing } = &mount.kind {
                let strictest = wanted.entry(id).or_insert(*sharing);
                *strictest = stricter(*strictest, *sharing);
            }
        }
        // All steps take them in the order of their names: none has what another waits for that has what it waits for.
        let mut turns = BTreeMap::new();
        for (id, sharing) in wanted {
            let turn = self.builds.mounts.turn(id, sharing, cancel)?;
            turns.insert(id.to_owned(), turn);
        }
        Ok(turns)
    }

    /// A cache's directory.
    pub(super) fn cache_mount(
        &self,
        (id, turn): (&str, &Turn),
        seed: Option<(&Tree, &Path)>,
        job: &Job<'_>,
    ) -> WorldResult<Cached> {
        // Who comes while it is made must find it.
        let _making = turn.making(job.cancel)?;
        let name = turn.name();
        // What begins with something else is another cache.
        let key = match seed {
            Some((tree, part)) => {
                let selection = Selection {
                    path: part.to_string_lossy().into_owned(),
                    follow: true,
                    ..Selection::default()
                };
                let content = self.content_of(tree, &selection, job)?;
                digest_of(&("cache mount", name, content.as_str()))
            }
            None => key_of(name),
        };
        let (entry, pin) = match self.builds.cache.find(&key) {
            Some((entry, pin)) if entry.outputs.iter().all(|o| self.has_pieces(o)) => (entry, pin),
            _ => self.new_cache((id, name), &key, seed, job)?,
        };
        // A loss of power may leave half of what the step writes.
        let noted = self.builds.cache.touched(&entry.id);
        noted.map_err(|error| WorldError::caused("note the use of a cache", error))?;
        let mut pieces = entry.outputs.iter().flatten();
        let step = pieces.find_map(|piece| match piece {
            Piece::Step(step) => Some(step.clone()),
            Piece::Layer(_) => None,
        });
        Ok(Cached {
            path: self.step_upper(&step.unwrap_or_default()),
            _pin: pin,
        })
    }

    /// A new cache, with what the seed has.
    fn new_cache(
        &self,
        (id, name): (&str, &str),
        key: &hull_spec::Digest,
        seed: Option<(&Tree, &Path)>,
        job: &Job<'_>,
    ) -> WorldResult<(Entry, Pin)> {
        let step = self.new_step(&[])?;
        let elsewhere = job
            .client
            .mount_elsewhere(name, job)
            .unwrap_or_else(|error| {
                let text = format!("cache {id} is not imported: {}\n", error.full_message());
                job.log(Stream::Stderr, text.as_bytes());
                None
            });
        let elsewhere = elsewhere.as_ref().map(|tree| (tree, Path::new("/")));
        if let Some((seed, part)) = elsewhere.or(seed)
            && let Some((source, _reading)) = self.open_tree(seed)?
        {
            let failed = |error| WorldError::caused("fill a cache", error);
            let found = find(&source, &Path::new("/").join(part), true).map_err(failed)?;
            let root = step.open()?;
            let into = root.open_at(Path::new("/"), OFlags::RDONLY | OFlags::DIRECTORY);
            let look = Look::default();
            let mut copier = Copier::new(&look, &All, job.cancel);
            copier.contents(&found, into.map_err(failed)?)?;
            let again = root.open_at(Path::new("/"), OFlags::RDONLY | OFlags::DIRECTORY);
            copier.like(&found, again.map_err(failed)?)?;
        }
        let Tree::Pieces(pieces) = step.keep() else {
            return Err(WorldError::other("a cache without files"));
        };
        let entry = Entry {
            id: format!("{}-{}", key.hex(), names::uuid()),
            outputs: vec![pieces],
            keys: vec![key.clone()],
            parents: Vec::new(),
            description: format!("cached mount {id}"),
            kind: Kind::CacheMount,
            created: Timestamp::now(),
            last_used: None,
            uses: 0,
            layers: BTreeMap::new(),
            boot: None,
        };
        let pin = self.builds.cache.put(entry.clone());
        Ok((entry, pin))
    }
}
