//! `load`.

use super::archive_error;
use crate::stream::{Incoming, Reader, Task, pieces_of, told_by};
use crate::{Engine, Error, ErrorKind, Platform, Result};
use futures_util::stream::BoxStream;
use hull_image::archive::{LoadOptions, Loaded, Loading, decompressed};
use std::sync::Arc;
use tokio::sync::mpsc;

/// What a load says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoadStep {
    /// How far a layer is.
    Layer {
        /// Its short diffID.
        id: String,
        /// Bytes read.
        current: u64,
        /// Of so many.
        total: u64,
    },
    /// A line of text, with its newline.
    Said(String),
}

impl Engine {
    /// Adds the images of an archive, which may be compressed. An error is the stream's last
    /// element; then nothing was added.
    pub fn load(
        self: &Arc<Self>,
        input: Incoming,
        platform: Option<Platform>,
        quiet: bool,
    ) -> BoxStream<'static, Result<LoadStep>> {
        let (told, steps) = mpsc::channel(64);
        let engine = Arc::clone(self);
        let reader = Reader::new(input);
        let work = tokio::task::spawn_blocking(move || {
            if let Err(error) = engine.load_blocking(reader, platform.as_ref(), quiet, &told) {
                // Who is gone need not know.
                let _ = told.blocking_send(Err(error));
            }
        });
        told_by(pieces_of(steps), Task(work).ended())
    }

    fn load_blocking(
        &self,
        reader: Reader,
        platform: Option<&Platform>,
        quiet: bool,
        told: &mpsc::Sender<Result<LoadStep>>,
    ) -> Result<()> {
        // Which of the two it is turns out within.
        self.check_archive(&["docker-archive", "oci-archive"])?;
        let failed = |e| Error::new(ErrorKind::Internal, "could not read the archive").caused_by(e);
        let mut input = decompressed(reader).map_err(failed)?;
        let mut say = |step: Loading| {
            if quiet {
                return;
            }
            let whole = step.current == step.total;
            let step = Ok(LoadStep::Layer {
                id: step.diff_id.short().to_owned(),
                current: step.current,
                total: step.total,
            });
            // A bar that does not move for a client that does not read is no loss; its end is.
            let _ = if whole {
                told.blocking_send(step).map_err(drop)
            } else {
                told.try_send(step).map_err(drop)
            };
        };
        let loaded = self
            .store
            .load(&mut input, LoadOptions { platform }, &mut say)
            .map_err(archive_error)?;
        for image in &loaded {
            self.tell_loaded(image, told);
        }
        // The client may still be sending: blanks behind the archive's end.
        let _ = std::io::copy(&mut input, &mut std::io::sink());
        Ok(())
    }

    fn tell_loaded(&self, image: &Loaded, told: &mpsc::Sender<Result<LoadStep>>) {
        let say = |text: String| {
            let _ = told.blocking_send(Ok(LoadStep::Said(text)));
        };
        for (name, old) in &image.replaced {
            say(format!(
                "The image {} already exists, renaming the old one with ID {old} to empty string\n",
                name.familiar()
            ));
        }
        for name in &image.names {
            self.tell_about_image("tag", &image.id, &name.familiar());
        }
        self.tell_about_image("load", &image.id, image.id.as_str());
        if image.names.is_empty() {
            say(format!("Loaded image ID: {}\n", image.id));
        }
        for name in &image.names {
            say(format!("Loaded image: {}\n", name.familiar()));
        }
    }
}
