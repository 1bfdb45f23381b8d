//! Images that builds begin with: those of the store, and of registries.

use crate::image::{Credentials, PullRequest};
use crate::{Engine, ErrorKind, Reference};
use futures_util::StreamExt as _;
use hull_build::graph::{ImageSource, ResolveMode};
use hull_build::progress::Status;
use hull_build::world::{Job, Keep, Login, ResolvedImage, WorldError, WorldResult};
use hull_image::{Hold, Image};
use hull_spec::{Digest, Platform};
use jiff::Timestamp;
use std::sync::Arc;
use tokio::runtime::Handle;

/// What a build's operation has: for whom, and where pulls run.
pub(super) type With<'a> = (&'a Job<'a>, &'a Handle);

impl Engine {
    /// Finds an image in the store, or brings it there.
    pub(super) fn resolve_source(
        self: &Arc<Self>,
        source: &ImageSource,
        platform: &Platform,
        with: With<'_>,
    ) -> WorldResult<ResolvedImage> {
        let ((image, reference), holds) = self.source_image(source, platform, with)?;
        let same = |name: &&Reference| {
            name.domain() == reference.domain() && name.path() == reference.path()
        };
        let digest = image.repo_digests.iter().find(same);
        let digest = digest.and_then(|name| name.digest().cloned());
        let pinned = match (&digest, reference.digest()) {
            (Some(digest), None) => reference.with_digest(digest).to_string(),
            _ => reference.to_string(),
        };
        Ok(ResolvedImage {
            reference: pinned,
            digest,
            id: image.id.digest().clone(),
            config: image.config_bytes,
            content: Some(content_of(&image.layers)),
            keep: Some(Keep::new(holds)),
        })
    }

    /// The layers that an image was known by, if all of them are still here.
    pub(super) fn hold_content(&self, content: &str) -> Option<(Vec<Digest>, Vec<Hold>)> {
        let layers = content.split_whitespace().map(str::parse);
        let layers: Vec<Digest> = layers.collect::<Result<_, _>>().ok()?;
        let holds = layers.iter().map(|layer| self.store.hold_layer(layer));
        let holds = holds.collect::<Option<_>>()?;
        Some((layers, holds))
    }

    /// The layers of an image, which stay.
    pub(super) fn source_layers(
        self: &Arc<Self>,
        source: &ImageSource,
        platform: &Platform,
        with: With<'_>,
    ) -> WorldResult<(Vec<Digest>, Vec<Hold>)> {
        // Who resolved it before has pulled it, too.
        let source = ImageSource {
            resolve: ResolveMode::PreferLocal,
            ..source.clone()
        };
        let ((image, _), holds) = self.source_image(&source, platform, with)?;
        let mut layers = image.layers;
        if source.layer_limit > 0 {
            layers.truncate(source.layer_limit as usize);
        }
        Ok((layers, holds))
    }

    fn source_image(
        self: &Arc<Self>,
        source: &ImageSource,
        platform: &Platform,
        with: With<'_>,
    ) -> WorldResult<((Image, Reference), Vec<Hold>)> {
        let reference: Reference = source
            .reference
            .parse()
            .map_err(|e: crate::InvalidReference| WorldError::Invalid(e.to_string()))?;
        let reference = reference.with_default_tag();
        if source.resolve != ResolveMode::ForcePull
            && let Some(found) = self.stored(&reference, platform)?
        {
            return Ok(((found.0, reference), found.1));
        }
        self.pull_source(&reference, platform, with)?;
        let found = self.stored(&reference, platform)?;
        let (image, holds) = found.ok_or_else(|| {
            WorldError::NotFound(format!(
                "{reference}: no match for platform in manifest: not found"
            ))
        })?;
        Ok(((image, reference), holds))
    }

    fn stored(
        &self,
        reference: &Reference,
        platform: &Platform,
    ) -> WorldResult<Option<(Image, Vec<Hold>)>> {
        let found = self
            .store
            .resolve_for(&reference.to_string(), Some(platform));
        let found = match found {
            Ok(id) if self.store.has_whole(&id) => id,
            _ => return Ok(None),
        };
        let held = self.store.hold_image(&found).and_then(|holds| {
            // What only builds use is used all the same.
            self.store.touch(&found)?;
            Ok((self.store.image(&found)?, holds))
        });
        match held {
            Ok((image, holds)) => Ok(Some((image, holds))),
            // It was removed in between.
            Err(hull_image::Error::NoSuchImage(_)) => Ok(None),
            Err(error) => Err(WorldError::other(
                crate::image::store_error(error).full_message(),
            )),
        }
    }

    fn pull_source(
        self: &Arc<Self>,
        reference: &Reference,
        platform: &Platform,
        (job, runtime): With<'_>,
    ) -> WorldResult<()> {
        let login = job.client.credentials(reference.domain())?;
        let request = PullRequest {
            reference: reference.to_string(),
            platform: Some(platform.to_string()),
            credentials: credentials(login),
        };
        let (woken, mut wake) = tokio::sync::oneshot::channel::<()>();
        let _wakes = job.cancel.on_cancel(move || {
            // The error means that the pull is over.
            let _ = woken.send(());
        });
        let failed = |error: crate::Error| match error.kind() {
            ErrorKind::NotFound => {
                WorldError::NotFound(format!("{reference}: {}", error.full_message()))
            }
            _ => WorldError::other(format!("{reference}: {}", error.full_message())),
        };
        runtime.block_on(async {
            let pulling = async {
                let mut progress = self.pull(request).await.map_err(failed)?;
                while let Some(step) = progress.next().await {
                    tell(job, step.map_err(failed)?);
                }
                Ok(())
            };
            tokio::select! {
                done = pulling => done,
                Ok(()) = &mut wake => Err(WorldError::Cancelled),
            }
        })
    }
}

/// What an image is known by.
pub(super) fn content_of(layers: &[Digest]) -> String {
    let names: Vec<&str> = layers.iter().map(Digest::as_str).collect();
    names.join(" ")
}

fn tell(job: &Job<'_>, step: crate::image::Progress) {
    if step.id.is_empty() || step.status.starts_with("Pulling from ") {
        return;
    }
    let now = Timestamp::now();
    let (current, total) = step.bytes.unwrap_or_default();
    let over = matches!(step.status.as_str(), "Pull complete" | "Already exists");
    job.status(Status {
        vertex: job.vertex.clone(),
        name: format!("{} {}", step.status, step.id),
        id: step.id,
        current,
        total,
        at: now,
        started: Some(now),
        completed: over.then_some(now),
    });
}

/// What a client logs in with, for pulls and pushes.
#[must_use]
pub fn credentials(login: Option<Login>) -> Credentials {
    match login {
        None => Credentials::Anonymous,
        Some(Login::Password { username, password }) => Credentials::Basic { username, password },
        Some(Login::Identity(token)) => Credentials::IdentityToken(token),
        Some(Login::Registry(token)) => Credentials::RegistryToken(token),
    }
}
