//! Directories that stay from build to build, and whose turn it is.

use super::copy::{All, Copier, Look};
use super::find::find;
use crate::{Engine, names};
use hull_build::cache::{Entry, Kind, Pin};
use hull_build::graph::{Sharing, digest_of};
use hull_build::progress::Stream;
use hull_build::world::{Job, Piece, Selection, Tree, WorldError, WorldResult};
use jiff::Timestamp;
use rustix::fs::OFlags;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

/// Who has a cache mount.
#[derive(Debug, Default)]
pub(super) struct InUse {
    users: usize,
    alone: bool,
}

/// A cache mount in use.
pub(super) struct Cached<'e> {
    engine: &'e Engine,
    name: String,
    pub(super) path: PathBuf,
    _pin: Pin,
}

impl Drop for Cached<'_> {
    fn drop(&mut self) {
        let builds = &self.engine.builds;
        let mut mounts = builds.mounts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(used) = mounts.get_mut(&self.name) {
            used.users -= 1;
            used.alone = false;
            if used.users == 0 {
                mounts.remove(&self.name);
            }
        }
        drop(mounts);
        builds.mounts_changed.notify_all();
    }
}

/// The name of the cache that a step gets unless another has it alone.
pub(super) fn first_name(id: &str) -> String {
    name_of(id, 0)
}

fn name_of(id: &str, number: usize) -> String {
    format!("{id}#{number}")
}

/// By what a cache is found.
pub(super) fn key_of(name: &str) -> hull_spec::Digest {
    digest_of(&("cache mount", name))
}

impl Engine {
    /// A cache's directory, when it is this step's turn.
    pub(super) fn cache_mount(
        &self,
        id: &str,
        sharing: Sharing,
        seed: Option<(&Tree, &Path)>,
        job: &Job<'_>,
    ) -> WorldResult<Cached<'_>> {
        let mut number = 0;
        let name = loop {
            let name = name_of(id, number);
            if self.take_turn(&name, sharing, job)? {
                break name;
            }
            number += 1;
        };
        // What begins with something else is another cache.
        let key = match seed {
            Some((tree, part)) => {
                let selection = Selection {
                    path: part.to_string_lossy().into_owned(),
                    follow: true,
                    ..Selection::default()
                };
                let content = self.content_of(tree, &selection, job);
                let content = content.inspect_err(|_| self.give_turn(&name))?;
                digest_of(&("cache mount", &name, content.as_str()))
            }
            None => key_of(&name),
        };
        let made = match self.builds.cache.find(&key) {
            Some((entry, pin)) if entry.outputs.iter().all(|o| self.has_pieces(o)) => {
                Ok((entry, pin))
            }
            _ => self.new_cache((id, &name), &key, seed, job),
        };
        let (entry, pin) = made.inspect_err(|_| self.give_turn(&name))?;
        // A loss of power may leave half of what the step writes.
        if let Err(error) = self.builds.cache.touched(&entry.id) {
            self.give_turn(&name);
            return Err(WorldError::caused("note the use of a cache", error));
        }
        let step = entry
            .outputs
            .iter()
            .flatten()
            .find_map(|piece| match piece {
                Piece::Step(step) => Some(step.clone()),
                Piece::Layer(_) => None,
            });
        let step = step.unwrap_or_default();
        Ok(Cached {
            engine: self,
            name,
            path: self.step_upper(&step),
            _pin: pin,
        })
    }

    /// Waits until a cache is to be had; `false`: who wants one of its own looks for another.
    fn take_turn(&self, name: &str, sharing: Sharing, job: &Job<'_>) -> WorldResult<bool> {
        let mounts = || {
            self.builds
                .mounts
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
        };
        let weak = std::sync::Weak::clone(&self.builds.myself);
        let _wakes = job.cancel.on_cancel(move || {
            if let Some(builds) = weak.upgrade() {
                // Between look and wait nobody would hear it.
                drop(builds.mounts.lock());
                builds.mounts_changed.notify_all();
            }
        });
        let mut all = mounts();
        loop {
            job.cancel.check()?;
            let used = all.entry(name.to_owned()).or_default();
            let alone = sharing != Sharing::Shared;
            if used.users == 0 || (!alone && !used.alone) {
                used.users += 1;
                used.alone = alone;
                return Ok(true);
            }
            if sharing == Sharing::Private {
                return Ok(false);
            }
            let waited = self.builds.mounts_changed.wait(all);
            all = waited.unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn give_turn(&self, name: &str) {
        let mut mounts = self
            .builds
            .mounts
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        mounts.remove(name);
        drop(mounts);
        self.builds.mounts_changed.notify_all();
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
            layers: std::collections::BTreeMap::new(),
            boot: None,
        };
        let pin = self.builds.cache.put(entry.clone());
        Ok((entry, pin))
    }
}
