//! The engine as the solver's world.

use super::images;
use super::layout;
use super::tree::pieces;
use crate::Engine;
use hull_build::graph::{ImageSource, OciLayoutSource, Op, Source, Vertex};
use hull_build::world::{
    Fetched, Job, Keep, Piece, ResolvedImage, Selection, SourceKey, Tree, World, WorldError,
    WorldResult,
};
use hull_spec::{Digest, Platform};
use std::sync::{Arc, Weak};
use tokio::runtime::Handle;

/// The engine, and where its pulls run.
pub(super) struct EngineWorld {
    /// The engine has the solver, which has this.
    engine: Weak<Engine>,
    runtime: Handle,
}

impl EngineWorld {
    pub(super) fn new(engine: &Arc<Engine>) -> Self {
        Self {
            engine: Arc::downgrade(engine),
            runtime: Handle::current(),
        }
    }

    fn engine(&self) -> WorldResult<Arc<Engine>> {
        let engine = self.engine.upgrade();
        engine.ok_or_else(|| WorldError::other("the daemon is about to end"))
    }
}

impl World for EngineWorld {
    fn resolve_image(
        &self,
        source: &ImageSource,
        platform: &Platform,
        job: &Job<'_>,
    ) -> WorldResult<ResolvedImage> {
        self.engine()?
            .resolve_source(source, platform, (job, &self.runtime))
    }

    fn resolve_layout(
        &self,
        source: &OciLayoutSource,
        platform: &Platform,
        job: &Job<'_>,
    ) -> WorldResult<ResolvedImage> {
        layout::resolve(source, platform, job)
    }

    fn source_key(
        &self,
        source: &Source,
        platform: &Platform,
        job: &Job<'_>,
    ) -> WorldResult<SourceKey> {
        let engine = self.engine()?;
        let with = (job, &self.runtime);
        match source {
            Source::Image(image) => {
                let (layers, holds) = engine.source_layers(image, platform, with)?;
                Ok(SourceKey {
                    keep: Some(Keep::new(holds)),
                    ..SourceKey::known(images::content_of(&layers))
                })
            }
            Source::Local(_) => Ok(SourceKey::default()),
            Source::Http(http) => engine.http_key(http, with).map_err(no_key),
            Source::Git(git) => engine.git_key(git, with).map_err(no_key),
            Source::OciLayout(layout) => layout::key(layout, platform, job).map_err(no_key),
        }
    }

    fn fetch(
        &self,
        source: &Source,
        content: Option<&str>,
        platform: &Platform,
        job: &Job<'_>,
    ) -> WorldResult<Fetched> {
        let engine = self.engine()?;
        let with = (job, &self.runtime);
        match source {
            Source::Image(image) => {
                // The name may mean something else by now, or nothing.
                let held = content.and_then(|content| engine.hold_content(content));
                let (layers, holds) = match held {
                    Some(held) => held,
                    None => engine.source_layers(image, platform, with)?,
                };
                Ok(Fetched {
                    tree: Tree::Pieces(layers.into_iter().map(Piece::Layer).collect()),
                    keep: Some(Keep::new(holds)),
                })
            }
            Source::Http(http) => engine.http_fetch(http, content, with),
            Source::Git(git) => engine.git_fetch(git, content, with),
            Source::OciLayout(layout) => layout::fetch(&engine, (layout, content), platform, job),
            // Who serves the client brings them.
            Source::Local(_) => Err(misplaced()),
        }
    }

    fn perform(&self, vertex: &Vertex, inputs: &[Tree], job: &Job<'_>) -> WorldResult<Vec<Tree>> {
        let engine = self.engine()?;
        match &vertex.op {
            Op::Exec(exec) => engine.perform_exec(exec, inputs, vertex.platform.as_ref(), job),
            Op::File(files) => engine.perform_files(files, inputs, job),
            Op::Merge { inputs: of } => {
                let mut merged = Vec::new();
                for place in of {
                    let tree = inputs.get(*place).map(pieces).transpose()?;
                    merged.extend(tree.into_iter().flatten().cloned());
                }
                Ok(vec![Tree::Pieces(merged)])
            }
            Op::Diff { lower, upper } => {
                let tree = |place: &Option<usize>| match place.and_then(|place| inputs.get(place)) {
                    Some(tree) => pieces(tree).map(<[Piece]>::to_vec),
                    None => Ok(Vec::new()),
                };
                let (lower, upper) = (tree(lower)?, tree(upper)?);
                let above = upper.strip_prefix(lower.as_slice());
                let above = above.ok_or_else(|| {
                    let text = "a difference of trees that do not stand on one another";
                    WorldError::Unsupported(text.to_owned())
                })?;
                Ok(vec![Tree::Pieces(above.to_vec())])
            }
            Op::Source(_) => Err(misplaced()),
        }
    }

    fn content(&self, tree: &Tree, selection: &Selection, job: &Job<'_>) -> WorldResult<Digest> {
        self.engine()?.content_of(tree, selection, job)
    }

    fn read_file(&self, tree: &Tree, path: &str, limit: u64) -> WorldResult<Option<Vec<u8>>> {
        self.engine()?.read_file(tree, path, limit)
    }

    fn names(&self, tree: &Tree, path: &str) -> WorldResult<Vec<String>> {
        self.engine()?.names_in(tree, path)
    }

    fn has(&self, pieces: &[Piece]) -> bool {
        self.engine().is_ok_and(|engine| engine.has_pieces(pieces))
    }

    fn discard(&self, step: &str) {
        if let Ok(engine) = self.engine() {
            engine.discard_step(step);
        }
    }

    fn size(&self, step: &str) -> u64 {
        let engine = self.engine().ok();
        let taken = engine.and_then(|engine| {
            let key = super::tree::key_of(step);
            engine.store.snapshot_taken(&key).ok()
        });
        taken.unwrap_or(0)
    }
}

/// As BuildKit says it of what it asks before it knows whether anything has to be brought.
fn no_key(error: WorldError) -> WorldError {
    match error {
        WorldError::Cancelled => error,
        error => WorldError::other(format!(
            "failed to load cache key: {}",
            error.full_message()
        )),
    }
}

/// A source is no work, and a client's files are no source of the world's.
fn misplaced() -> WorldError {
    WorldError::other("a source where there is none")
}
