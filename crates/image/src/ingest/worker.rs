//! The two threads of a layer that is being fetched.

use super::chunks::{self, CHUNK, Filler, Stop};
use super::follow::{Feed, Follow};
use super::sink::{Stage, Staged};
use super::{Error, Progress};
use crate::decompress::Decoder;
use crate::store::Store;
use hull_spec::Digest;
use hull_spec::image::Descriptor;
use std::io::{self, BufReader};
use std::sync::Arc;
use std::thread::JoinHandle;

/// What to unpack, and where.
pub(super) struct Job {
    pub(super) store: Store,
    pub(super) blob: Descriptor,
    pub(super) stage: Stage,
    pub(super) feed: Arc<Feed>,
    pub(super) progress: Arc<Progress>,
}

impl Job {
    pub(super) fn spawn(
        self,
        source: fs_err::File,
    ) -> io::Result<JoinHandle<Result<Staged, Error>>> {
        std::thread::Builder::new()
            .name("inflate".to_owned())
            .spawn(move || {
                let _place = self.store.inner.ingest.places.enter();
                let result = self.run(source);
                if result.is_err() {
                    self.store.discard_or_warn(&self.stage.dir);
                }
                result
            })
    }

    fn run(&self, source: fs_err::File) -> Result<Staged, Error> {
        let follow = Follow::new(source, Arc::clone(&self.feed), Arc::clone(&self.progress));
        let (filler, chunks) = chunks::pair();
        let (inflated, staged) = std::thread::scope(|scope| {
            let unpack = std::thread::Builder::new()
                .name("unpack".to_owned())
                .spawn_scoped(scope, || {
                    let layer = (&self.blob.digest).into();
                    self.stage
                        .take(chunks, &layer)
                        .inspect_err(|error| self.note(error))
                });
            let inflated = self.inflate(follow, filler);
            let staged = match unpack {
                Ok(thread) => thread
                    .join()
                    .unwrap_or_else(|_| Err(self.io("unpack", io::Error::other("panicked")))),
                Err(source) => Err(self.io("start thread", source)),
            };
            (inflated, staged)
        });
        // What ends a download early comes first. Otherwise damage in transit explains every other
        // failure.
        let digest = match (inflated, &staged) {
            (Err(error @ Error::TooLarge { .. }), _) => return Err(error),
            (_, Err(_)) if self.feed.has_failed() => return staged,
            (inflated, _) => inflated?,
        };
        if digest != self.blob.digest {
            return Err(Error::Digest {
                expected: self.blob.digest.clone(),
                actual: digest,
            });
        }
        staged
    }

    fn io(&self, operation: &'static str, source: io::Error) -> Error {
        Error::io(&self.blob.digest, operation, source)
    }

    /// Ends the download when no further byte can help.
    fn note(&self, error: &Error) {
        if matches!(error, Error::NoSpace { .. }) {
            self.feed.fail();
        }
    }

    /// Decompresses the file into chunks. Returns the digest of its compressed bytes; a stream that
    /// cannot be decompressed is read to its end first, because its digest says who is to blame.
    fn inflate(&self, follow: Follow, filler: Filler) -> Result<Digest, Error> {
        let mut reader = BufReader::with_capacity(CHUNK, follow);
        let result = self.decode(&mut reader, filler);
        let mut follow = reader.into_inner();
        let drained = io::copy(&mut follow, &mut io::sink());
        match (result, drained) {
            (Err(error @ Error::TooLarge { .. }), _) => Err(error),
            (_, Err(source)) => Err(self.io("read partial download", source)),
            (Err(error), Ok(_)) => {
                let actual = follow.digest();
                if actual == self.blob.digest {
                    return Err(error);
                }
                Ok(actual)
            }
            (Ok(()), Ok(_)) => Ok(follow.digest()),
        }
    }

    fn decode(&self, reader: &mut BufReader<Follow>, filler: Filler) -> Result<(), Error> {
        let limit = self.store.inner.options.limits.allowed(self.blob.size);
        let result = Decoder::new(reader)
            .map_err(Stop::Read)
            .and_then(|mut decoder| filler.fill(&mut decoder, &|| limit, |_| ()));
        result.map_err(|stop| match stop {
            Stop::TooMany(limit) => {
                self.feed.fail();
                Error::TooLarge {
                    layer: (&self.blob.digest).into(),
                    declared: self.blob.size,
                    limit,
                }
            }
            Stop::Read(source) => Error::Decompress {
                layer: (&self.blob.digest).into(),
                source,
            },
        })
    }
}
