//! The engine as the solver's world.

use super::tree::pieces;
use crate::Engine;
use hull_build::graph::{ImageSource, Op, Source, Vertex};
use hull_build::world::{
    Fetched, Job, Piece, ResolvedImage, Selection, Tree, World, WorldError, WorldResult,
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

    fn source_key(
        &self,
        source: &Source,
        platform: &Platform,
        job: &Job<'_>,
    ) -> WorldResult<Option<String>> {
        match source {
            Source::Image(image) => {
                let engine = self.engine()?;
                let layers = engine
                    .source_layers(image, platform, (job, &self.runtime))?
                    .0;
                let names = layers.iter().map(Digest::as_str);
                Ok(Some(names.collect::<Vec<_>>().join(" ")))
            }
            Source::Local(_) => Ok(None),
            other => Err(unsupported(other)),
        }
    }

    fn fetch(&self, source: &Source, platform: &Platform, job: &Job<'_>) -> WorldResult<Fetched> {
        match source {
            Source::Image(image) => {
                let engine = self.engine()?;
                let (layers, keep) = engine.source_layers(image, platform, (job, &self.runtime))?;
                Ok(Fetched {
                    tree: Tree::Pieces(layers.into_iter().map(Piece::Layer).collect()),
                    keep: Some(Arc::new(std::sync::Mutex::new(keep))),
                })
            }
            other => Err(unsupported(other)),
        }
    }

    fn perform(&self, vertex: &Vertex, inputs: &[Tree], job: &Job<'_>) -> WorldResult<Vec<Tree>> {
        let engine = self.engine()?;
        match &vertex.op {
            Op::Exec(exec) => engine.perform_exec(exec, inputs, job),
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
            Op::Source(other) => Err(unsupported(other)),
        }
    }

    fn content(&self, tree: &Tree, selection: &Selection, job: &Job<'_>) -> WorldResult<Digest> {
        self.engine()?.content_of(tree, selection, job)
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

fn unsupported(source: &Source) -> WorldError {
    let what = match source {
        Source::Git(_) => "git repositories",
        Source::Http(_) => "files of the web",
        Source::OciLayout(_) => "OCI layouts",
        Source::Image(_) | Source::Local(_) => "this",
    };
    WorldError::Unsupported(format!(
        "{what} as sources of a build are not supported yet"
    ))
}
