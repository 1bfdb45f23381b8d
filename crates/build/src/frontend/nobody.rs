//! A conversion for nobody: what strangers' Dockerfiles become, without a client and with one image for all names.

use super::host::Host;
use super::options::Options;
use super::{host_platform, make};
use crate::dockerfile::Linter;
use crate::graph::{ImageSource, LocalSource, Source, Vertex, digest_of};
use crate::plan::SourceFile;
use crate::progress::Unwatched;
use crate::solve::{Context, KnownSources};
use crate::world::{
    Cancel, Client, Fetched, Job, LocalFiles, Login, Piece, ResolvedImage, Selection, SourceKey,
    Tree, World, WorldError, WorldResult,
};
use hull_spec::{Digest, Platform};
use std::os::unix::net::UnixListener;
use std::sync::Arc;

/// Makes a plan of a Dockerfile, or refuses it.
pub(crate) fn try_text(text: &[u8]) {
    let context = Context {
        client: Arc::new(Nobody),
        watch: Arc::new(Unwatched),
        cancel: Cancel::new(),
        platform: host_platform(),
        sources: KnownSources::default(),
    };
    let host = Host::new(&Nobody, &context);
    host.note_ignore(vec!["left".to_owned()]);
    let file = SourceFile {
        name: "Dockerfile".to_owned(),
        text: text.to_vec(),
    };
    let calls = [
        None,
        Some("frontend.lint"),
        Some("frontend.outline"),
        Some("frontend.targets"),
    ];
    for call in calls {
        let options = Options {
            call: call.map(str::to_owned),
            ..Options::default()
        };
        let _ = make(&options, &host, &file, &mut Linter::default());
    }
}

struct Nobody;

fn missing<T>() -> WorldResult<T> {
    Err(WorldError::NotFound("nobody is there".to_owned()))
}

impl Client for Nobody {
    fn local(&self, _: &LocalSource, _: &Job<'_>) -> WorldResult<Arc<dyn LocalFiles>> {
        missing()
    }

    fn secret(&self, _: &str) -> WorldResult<Option<Vec<u8>>> {
        missing()
    }

    fn ssh(&self, _: &str, _: UnixListener) -> WorldResult<Option<Box<dyn Send>>> {
        missing()
    }

    fn credentials(&self, _: &str) -> WorldResult<Option<Login>> {
        missing()
    }
}

impl World for Nobody {
    fn resolve_image(
        &self,
        source: &ImageSource,
        _: &Platform,
        _: &Job<'_>,
    ) -> WorldResult<ResolvedImage> {
        let config = br#"{"os":"linux","architecture":"amd64","config":{"OnBuild":["COPY a b"]},"rootfs":{"type":"layers"},"history":[{}]}"#;
        Ok(ResolvedImage {
            reference: source.reference.clone(),
            digest: None,
            id: digest_of(&source.reference),
            config: config.to_vec(),
            content: None,
            keep: None,
        })
    }

    fn source_key(&self, _: &Source, _: &Platform, _: &Job<'_>) -> WorldResult<SourceKey> {
        missing()
    }

    fn fetch(
        &self,
        _: &Source,
        _: Option<&str>,
        _: &Platform,
        _: &Job<'_>,
    ) -> WorldResult<Fetched> {
        missing()
    }

    fn perform(&self, _: &Vertex, _: &[Tree], _: &Job<'_>) -> WorldResult<Vec<Tree>> {
        missing()
    }

    fn content(&self, _: &Tree, _: &Selection, _: &Job<'_>) -> WorldResult<Digest> {
        missing()
    }

    fn read_file(&self, _: &Tree, _: &str, _: u64) -> WorldResult<Option<Vec<u8>>> {
        Ok(None)
    }

    fn has(&self, _: &[Piece]) -> bool {
        false
    }

    fn discard(&self, _: &str) {}

    fn size(&self, _: &str) -> u64 {
        0
    }
}
