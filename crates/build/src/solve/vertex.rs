//! One vertex: found in the cache, or done.

use super::KnownSource;
use super::build::Build;
use super::done::{Done, random};
use super::key::{self, Part};
use super::running::{Running, StepResult, together};
use crate::cache::{Entry, Kind, Pin};
use crate::graph::{MountKind, Op, Output, Source, Vertex, VertexId, digest_of};
use crate::portable::PortableResult;
use crate::progress::{Stream, VertexState};
use crate::world::{Fetched, Job, Keep, Piece, Selection, SourceKey, Tree, WorldError};
use hull_spec::{Digest, Platform};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// What is known of a vertex.
pub(super) struct Outcome {
    /// What its result is known by; empty for a client's files, which are known by content only.
    pub(super) id: String,
    pub(super) pin: Option<Arc<Pin>>,
    trees: OnceLock<Trees>,
    /// What the files are known by that are not fetched yet, and what keeps them until they are.
    source: Option<(String, Option<Keep>)>,
    /// Where the files are, if not here.
    elsewhere: Option<PortableResult>,
    /// Held by who fetches.
    fetching: Mutex<()>,
}

/// The files of a vertex.
pub(super) struct Trees {
    pub(super) trees: Vec<Tree>,
    keep: Option<Keep>,
}

impl Outcome {
    fn known(id: String, trees: Vec<Tree>, pin: Option<Arc<Pin>>) -> Self {
        Self {
            id,
            pin,
            trees: OnceLock::from(Trees { trees, keep: None }),
            source: None,
            elsewhere: None,
            fetching: Mutex::default(),
        }
    }

    fn outside(id: String) -> Self {
        Self {
            id,
            pin: None,
            trees: OnceLock::new(),
            source: None,
            elsewhere: None,
            fetching: Mutex::default(),
        }
    }

    pub(super) fn keep(&self) -> Option<Keep> {
        self.trees.get()?.keep.clone()
    }

    fn is_local(&self) -> bool {
        self.id.is_empty()
    }
}

type Evaluated<T> = Result<T, Arc<WorldError>>;

impl Build {
    /// What a vertex makes, whose inputs are known.
    pub(super) fn evaluate(self: &Arc<Self>, id: VertexId) -> Evaluated<Outcome> {
        self.cancel.check().map_err(Arc::new)?;
        let vertex = self.graph.vertex(id);
        self.told(id, |state| match &vertex.op {
            Op::Source(source) => self.source(id, source, state),
            _ => self.step(id, vertex, state),
        })
    }

    pub(super) fn platform(&self, vertex: &Vertex) -> Platform {
        let own = vertex.platform.clone();
        own.unwrap_or_else(|| self.context.platform.clone())
    }

    fn source(&self, id: VertexId, source: &Source, state: &mut VertexState) -> Evaluated<Outcome> {
        let vertex = self.graph.vertex(id);
        let platform = self.platform(vertex);
        let job = self.job(id);
        if let Source::Local(local) = source {
            let files = self.context.client.local(local, &job).map_err(Arc::new)?;
            return Ok(Outcome::known(
                String::new(),
                vec![Tree::Local(files)],
                None,
            ));
        }
        let before = self.context.sources.get(&vertex.digest);
        let known = self.source_key(id, source, before.as_ref())?;
        let content = known.content;
        let content =
            content.ok_or_else(|| Arc::new(WorldError::other("a source without a key")))?;
        let key = key::of_source(&platform, source, &content);
        if matches!(source, Source::Image(_) | Source::OciLayout(_)) {
            // Its layers are the store's, and may never be needed.
            return Ok(Outcome {
                source: Some((content, known.keep)),
                ..Outcome::outside(key.hex().to_owned())
            });
        }
        let found = match vertex.metadata.ignore_cache && before.is_none() {
            true => None,
            false => self.find_here(&key),
        };
        // What this build has brought itself is not told to be an earlier one's.
        state.cached = found.is_some() && before.is_none_or(|before| before.cached);
        let now = KnownSource {
            content: content.clone(),
            cached: state.cached,
        };
        self.context.sources.set(&vertex.digest, now);
        if let Some(found) = found {
            // What it was brought for only told that it is known.
            self.discard(known.brought);
            return Ok(found);
        }
        let tree = match known.brought {
            Some(tree) => tree,
            None => {
                let world = &self.shared.world;
                let fetched = world.fetch(source, Some(&content), &platform, &job);
                fetched.map_err(Arc::new)?.tree
            }
        };
        let kind = match source {
            Source::Git(_) => Kind::Git,
            _ => Kind::Regular,
        };
        let entry = self.entry(id, (kind, vec![key]), vec![tree]);
        let kept = self.keep(entry);
        Ok(Outcome::known(kept.id, kept.trees, Some(kept.pin)))
    }

    /// What a source is known by: what this build has found it to be, or what it says now.
    fn source_key(
        &self,
        id: VertexId,
        source: &Source,
        before: Option<&KnownSource>,
    ) -> Evaluated<SourceKey> {
        let platform = self.platform(self.graph.vertex(id));
        let looked_up = match source {
            Source::Image(image) => {
                let sources = &self.context.sources;
                sources.looked_up((&image.reference, image.layer_limit), &platform)
            }
            Source::OciLayout(layout) => {
                let sources = &self.context.sources;
                sources.looked_up((&layout.reference, layout.layer_limit), &platform)
            }
            _ => None,
        };
        let known = before.map(|known| known.content.clone()).or(looked_up);
        if let Some(content) = known {
            return Ok(SourceKey::known(content));
        }
        let asked = self
            .shared
            .world
            .source_key(source, &platform, &self.job(id));
        asked.map_err(Arc::new)
    }

    /// Removes what no result has.
    pub(super) fn discard(&self, tree: Option<Tree>) {
        let Some(Tree::Pieces(pieces)) = tree else {
            return;
        };
        for piece in pieces {
            if let Piece::Step(step) = piece
                && !self.shared.cache.names(&step)
            {
                self.shared.world.discard(&step);
            }
        }
    }

    /// The files of a vertex; what is still outside is fetched, by one for all.
    pub(super) fn fetched<'o>(
        self: &Arc<Self>,
        id: VertexId,
        outcome: &'o Outcome,
    ) -> Evaluated<&'o Trees> {
        let _turn = outcome
            .fetching
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(trees) = outcome.trees.get() {
            return Ok(trees);
        }
        if let Some(result) = &outcome.elsewhere {
            let trees = self.brought(id, result)?;
            return Ok(outcome.trees.get_or_init(|| trees));
        }
        let vertex = self.graph.vertex(id);
        let Op::Source(source) = &vertex.op else {
            return Err(Arc::new(WorldError::other("a step without files")));
        };
        let platform = self.platform(vertex);
        let content = outcome.source.as_ref().map(|(content, _)| content.as_str());
        let Fetched { tree, keep } = self.told(id, |_| {
            let world = &self.shared.world;
            let fetched = world.fetch(source, content, &platform, &self.job(id));
            fetched.map_err(Arc::new)
        })?;
        Ok(outcome.trees.get_or_init(|| Trees {
            trees: vec![tree],
            keep,
        }))
    }

    /// The files of a result that is elsewhere. If they cannot be had, the step is done.
    fn brought(self: &Arc<Self>, id: VertexId, result: &PortableResult) -> Evaluated<Trees> {
        let job = self.job(id);
        match self.context.client.bring(result, &job) {
            Ok(mut entry) => {
                // What comes from elsewhere takes nobody's place.
                if self.shared.cache.has(&entry.id) {
                    entry.id = digest_of(&("elsewhere", &entry.id, random()))
                        .hex()
                        .to_owned();
                }
                let kept = self.keep(entry);
                let pin = kept.pin;
                Ok(Trees {
                    trees: kept.trees,
                    keep: Some(Keep::new(pin)),
                })
            }
            Err(WorldError::Cancelled) => Err(Arc::new(WorldError::Cancelled)),
            Err(error) => {
                if result.outputs.is_some() {
                    let text = format!("not imported: {}\n", error.full_message());
                    job.log(Stream::Stderr, text.as_bytes());
                }
                let keys = result.keys.clone();
                let done = self.told(id, |_| self.perform(id, self.graph.vertex(id), keys))?;
                let pin: Arc<Pin> = Arc::clone(&done.pin);
                Ok(Trees {
                    trees: done.trees.clone(),
                    keep: Some(Keep::new(pin)),
                })
            }
        }
    }

    fn step(
        self: &Arc<Self>,
        id: VertexId,
        vertex: &Vertex,
        state: &mut VertexState,
    ) -> Evaluated<Outcome> {
        let platform = self.platform(vertex);
        let ignore = vertex.metadata.ignore_cache;
        let mut keys = Vec::new();
        if let Some(parts) = self.by_results(vertex)? {
            keys.push(key::of(&vertex.op, &platform, &parts));
        }
        let mut found = keys
            .first()
            .filter(|_| !ignore)
            .and_then(|key| self.find(id, key));
        if found.is_none()
            && (!ignore || keys.is_empty())
            && let Some(parts) = self.by_content(id, vertex)?
        {
            let key = key::of(&vertex.op, &platform, &parts);
            found = Some(&key)
                .filter(|_| !ignore)
                .and_then(|key| self.find(id, key));
            if let (Some(found), Some(quick)) = (&found, keys.first()) {
                self.shared.cache.also(&found.id, quick);
            }
            keys.insert(0, key);
        }
        if let Some(found) = found {
            state.cached = true;
            return Ok(found);
        }
        let done = self.perform(id, vertex, keys)?;
        state.cached = done.cached;
        Ok(Outcome::known(
            done.id.clone(),
            done.trees.clone(),
            Some(Arc::clone(&done.pin)),
        ))
    }

    /// A result in the cache whose files are there, or one that is elsewhere.
    fn find(&self, id: VertexId, key: &Digest) -> Option<Outcome> {
        if let Some(found) = self.find_here(key) {
            return Some(found);
        }
        let result = self.context.client.elsewhere(key, &self.job(id))?;
        let outside = Outcome::outside(result.id.clone());
        let keys = vec![key.clone()];
        Some(Outcome {
            elsewhere: Some(PortableResult { keys, ..result }),
            ..outside
        })
    }

    fn find_here(&self, key: &Digest) -> Option<Outcome> {
        let Done { id, trees, pin, .. } = self.known(key)?;
        Some(Outcome::known(id, trees, Some(pin)))
    }

    /// A result in the cache whose files are there.
    fn known(&self, key: &Digest) -> Option<Done> {
        let cache = &self.shared.cache;
        let (entry, pin) = cache.find(key)?;
        if !self.are_there(&entry) {
            for step in cache.forget(&entry.id) {
                self.shared.world.discard(&step);
            }
            return None;
        }
        Some(Done {
            id: entry.id,
            trees: entry.outputs.into_iter().map(Tree::Pieces).collect(),
            pin: Arc::new(pin),
            cached: true,
        })
    }

    /// Whether all files of a result are there. Each is looked for once in a build.
    fn are_there(&self, entry: &Entry) -> bool {
        let mut there = self.there.lock().unwrap_or_else(PoisonError::into_inner);
        let pieces = entry.outputs.iter().flatten();
        let unseen: Vec<Piece> = pieces.filter(|p| !there.contains(*p)).cloned().collect();
        let found = self.shared.world.has(&unseen);
        if found {
            there.extend(unseen);
        }
        found
    }

    /// The inputs by what made them; `None` where one is known by content only.
    fn by_results(&self, vertex: &Vertex) -> Evaluated<Option<Vec<Part>>> {
        let mut parts = Vec::with_capacity(vertex.inputs.len());
        for input in &vertex.inputs {
            let outcome = self.outcome(input.vertex).map_err(Arc::new)?;
            if outcome.is_local() {
                return Ok(None);
            }
            parts.push(Part::Result(format!("{}#{}", outcome.id, input.index)));
        }
        Ok(Some(parts))
    }

    /// The inputs by what is in them, as far as that is how they are used; `None` where none is.
    fn by_content(self: &Arc<Self>, id: VertexId, vertex: &Vertex) -> Evaluated<Option<Vec<Part>>> {
        let mut parts = Vec::with_capacity(vertex.inputs.len());
        let mut any = false;
        for (place, input) in vertex.inputs.iter().enumerate() {
            let outcome = self.outcome(input.vertex).map_err(Arc::new)?;
            let mut selections = key::selections(&vertex.op, place);
            if outcome.is_local() {
                // All of it, where it is more than copied from.
                selections.get_or_insert_with(|| vec![Selection::default()]);
            }
            parts.push(match selections {
                Some(selections) => {
                    any = true;
                    Part::Content(self.contents(id, *input, &selections)?)
                }
                None => Part::Result(format!("{}#{}", outcome.id, input.index)),
            });
        }
        Ok(any.then_some(parts))
    }

    fn contents(
        self: &Arc<Self>,
        id: VertexId,
        input: Output,
        of: &[Selection],
    ) -> Evaluated<Vec<Digest>> {
        let tree = self.tree(input)?;
        let (world, job) = (&self.shared.world, self.job(id));
        let digest = |selection| world.content(&tree, selection, &job).map_err(Arc::new);
        of.iter().map(digest).collect()
    }

    /// Does a step, or waits for another build that does the same.
    fn perform(self: &Arc<Self>, id: VertexId, vertex: &Vertex, keys: Vec<Digest>) -> StepResult {
        let inputs = vertex.inputs.iter().map(|input| self.tree(*input));
        let inputs: Vec<Tree> = inputs.collect::<Evaluated<_>>()?;
        let alone = || digest_of(&(keys.last(), random()));
        // Who wants no cache wants no other's result either; and what a step is lent is its own client's.
        let key = match (
            keys.last(),
            vertex.metadata.ignore_cache || is_lent(&vertex.op),
        ) {
            (Some(key), false) => key.clone(),
            _ => alone(),
        };
        let work = || {
            let (build, inputs, keys) = (Arc::clone(self), inputs.clone(), keys.clone());
            move |running: Arc<Running>| build.perform_alone(id, &inputs, keys, &running)
        };
        let with = (&self.context, &self.cancel);
        let (result, own) = together(&self.shared, &key, with, work());
        match &result {
            // It may have failed by its client, who is another than ours.
            Err(error) if !own && !is_final(error) && self.cancel.check().is_ok() => {
                together(&self.shared, &alone(), with, work()).0
            }
            _ => result,
        }
    }

    fn perform_alone(
        &self,
        id: VertexId,
        inputs: &[Tree],
        keys: Vec<Digest>,
        running: &Running,
    ) -> StepResult {
        let vertex = self.graph.vertex(id);
        // Another build may have ended it between our look into the cache and our turn.
        if !vertex.metadata.ignore_cache
            && let Some(known) = keys.iter().find_map(|key| self.known(key))
        {
            return Ok(Arc::new(known));
        }
        let job = Job {
            watch: running,
            cancel: &running.cancel,
            ..self.job(id)
        };
        let trees = self.shared.world.perform(vertex, inputs, &job);
        let trees = trees.map_err(Arc::new)?;
        let entry = self.entry(id, (Kind::Regular, keys), trees);
        Ok(Arc::new(self.keep(entry)))
    }
}

/// Whether a step has something of the client's: secrets, or connections to its agents.
fn is_lent(op: &Op) -> bool {
    let Op::Exec(exec) = op else { return false };
    let mut kinds = exec.mounts.iter().map(|mount| &mount.kind);
    !exec.secret_env.is_empty()
        || kinds.any(|kind| matches!(kind, MountKind::Secret(_) | MountKind::Ssh(_)))
}

/// Whether a step fails so for whomever it is done.
fn is_final(error: &WorldError) -> bool {
    matches!(error, WorldError::Exit { .. } | WorldError::Invalid(_))
}
