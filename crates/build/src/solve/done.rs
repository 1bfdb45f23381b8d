//! What becomes of a step that was done: a result, in the cache.

use super::build::Build;
use crate::cache::{Entry, Joined, Kind, Pin};
use crate::graph::{VertexId, digest_of};
use crate::world::Tree;
use hull_spec::Digest;
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A step that was done.
pub(super) struct Done {
    pub(super) id: String,
    pub(super) trees: Vec<Tree>,
    pub(super) pin: Arc<Pin>,
    /// It was in the cache: another build has made it since this one looked.
    pub(super) cached: bool,
}

impl Build {
    /// A new result. It has the id of its first key, so that equal results are equal everywhere; one that
    /// was made again although it was known has another, so that what follows is made again too.
    pub(super) fn entry(
        &self,
        id: VertexId,
        (kind, keys): (Kind, Vec<Digest>),
        trees: Vec<Tree>,
    ) -> Entry {
        let vertex = self.graph.vertex(id);
        let own = match (keys.first(), vertex.metadata.ignore_cache) {
            (Some(key), false) => key.clone(),
            (key, _) => digest_of(&(key, random())),
        };
        let pieces = |tree| match tree {
            Tree::Pieces(pieces) => pieces,
            Tree::Local(_) => Vec::new(),
        };
        let parents = vertex.inputs.iter().filter_map(|input| {
            let outcome = self.outcome(input.vertex).ok()?;
            Some(outcome.id.clone()).filter(|id| !id.is_empty())
        });
        Entry {
            id: own.hex().to_owned(),
            outputs: trees.into_iter().map(pieces).collect(),
            keys,
            parents: parents.collect(),
            description: self.state(id).name,
            kind,
            created: Timestamp::now(),
            last_used: None,
            uses: 0,
            layers: BTreeMap::new(),
            boot: None,
        }
    }

    /// Remembers a result. Where another build has made the same meanwhile, its files are taken, and these go.
    pub(super) fn keep(&self, entry: Entry) -> Done {
        let (world, cache) = (&self.shared.world, &self.shared.cache);
        let there = |known: &Entry| known.outputs.iter().all(|pieces| world.has(pieces));
        let made = entry.outputs.clone();
        let Joined { entry, pin, left } = cache.put_or_join(entry, there);
        for step in left {
            world.discard(&step);
        }
        if entry.outputs != made {
            for tree in made {
                self.discard(Some(Tree::Pieces(tree)));
            }
        }
        Done {
            id: entry.id,
            trees: entry.outputs.into_iter().map(Tree::Pieces).collect(),
            pin: Arc::new(pin),
            cached: false,
        }
    }
}

/// Something that was never there before.
pub(super) fn random() -> String {
    use std::hash::{BuildHasher as _, Hasher as _, RandomState};
    let number = || RandomState::new().build_hasher().finish();
    format!("{:016x}{:016x}{}", number(), number(), Timestamp::now())
}
