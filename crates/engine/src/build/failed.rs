//! What a failing step has left, as an image for a client that wants to look at it.

use super::tree::NewStep;
use crate::{Engine, Platform, Result};
use hull_build::graph::Exec;
use hull_build::world::{Job, Piece, Tree};
use hull_image::{ImageId, Registration};
use hull_spec::Digest;
use serde_json::json;

impl Engine {
    /// Makes an image without a name of a step's files, and tells its client. That the image could not be made
    /// is no further failure.
    pub(super) fn keep_failed(&self, exec: &Exec, step: NewStep<'_>, job: &Job<'_>) {
        let tree = step.keep();
        let Tree::Pieces(pieces) = &tree else { return };
        let made = self.image_of_failed(exec, pieces);
        if let Some(Piece::Step(step)) = pieces.last() {
            self.discard_step(step);
        }
        match made {
            Ok(image) => job.client.kept_failed(&image),
            Err(error) => tracing::warn!(
                error = error.full_message(),
                "no image was made of a failing step"
            ),
        }
    }

    fn image_of_failed(&self, exec: &Exec, pieces: &[Piece]) -> Result<Digest> {
        let layers = self.layers_of(pieces, None)?;
        let platform = Platform::host();
        // Of the variables only the Dockerfile's: none of secrets.
        let config = json!({
            "architecture": platform.architecture,
            "os": platform.os,
            "config": {
                "Cmd": exec.args,
                "Env": exec.env,
                "User": exec.user,
                "WorkingDir": exec.cwd,
                "Labels": {"hull.build.failed": "1"},
            },
        });
        let config = super::export::completed(config.to_string().as_bytes(), &layers, None)?;
        let registered = self.store.register(&Registration {
            config: &config,
            ..Registration::default()
        });
        drop(layers);
        let id = registered.map_err(crate::image::store_error)?;
        Ok(ImageId::digest(&id).clone())
    }
}
