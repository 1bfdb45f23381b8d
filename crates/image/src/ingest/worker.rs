//! The two threads of an arriving layer.

use super::follow::{Feed, Follow};
use super::{Error, Progress};
use crate::store::Store;
use crate::unpack::{self, Summary};
use flate2::bufread::MultiGzDecoder;
use hull_spec::Digest;
use hull_spec::image::Descriptor;
use sha2::{Digest as _, Sha256};
use std::io::{self, BufRead, BufReader, Read};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

/// One read of the file and one chunk between the threads: large enough that switching between
/// them costs nothing, small enough to stay in the cache.
const CHUNK: usize = 256 * 1024;
/// Chunks that wait: the most memory a layer takes is this many plus those being worked on.
const QUEUE: usize = 4;

/// What to unpack, and where.
pub(super) struct Job {
    pub(super) store: Store,
    pub(super) blob: Descriptor,
    pub(super) tree: PathBuf,
    pub(super) feed: Arc<Feed>,
    pub(super) progress: Arc<Progress>,
}

/// A layer that is unpacked and whose blob is verified.
#[derive(Debug)]
pub(super) struct Unpacked {
    pub(super) tree: PathBuf,
    pub(super) diff_id: Digest,
    pub(super) summary: Summary,
}

impl Job {
    pub(super) fn spawn(
        self,
        source: fs_err::File,
    ) -> io::Result<JoinHandle<Result<Unpacked, Error>>> {
        std::thread::Builder::new()
            .name("unpack".to_owned())
            .spawn(move || {
                let result = self.run(source);
                if result.is_err()
                    && let Err(error) = self.store.inner.trash.discard(&self.tree)
                {
                    tracing::warn!(%error, "cannot discard; the next start tries again");
                }
                result
            })
    }

    fn run(&self, source: fs_err::File) -> Result<Unpacked, Error> {
        let follow = Follow::new(source, Arc::clone(&self.feed), Arc::clone(&self.progress));
        let (send, receive) = sync_channel(QUEUE);
        let (inflated, unpacked) = std::thread::scope(|scope| {
            let inflate = std::thread::Builder::new()
                .name("inflate".to_owned())
                .spawn_scoped(scope, || self.inflate(follow, send));
            let unpacked = self.unpack(Chunks::new(receive));
            let inflated = match inflate {
                Ok(thread) => thread
                    .join()
                    .unwrap_or_else(|_| Err(self.io("inflate", io::Error::other("panicked")))),
                Err(source) => Err(self.io("start thread", source)),
            };
            (inflated, unpacked)
        });
        // What ends a download early comes first. Otherwise damage in transit explains every other
        // failure.
        let digest = match (inflated, &unpacked) {
            (Err(error @ Error::TooLarge { .. }), _) => return Err(error),
            (_, Err(_)) if self.feed.has_failed() => return unpacked,
            (inflated, _) => inflated?,
        };
        if digest != self.blob.digest {
            return Err(Error::Digest {
                expected: self.blob.digest.clone(),
                actual: digest,
            });
        }
        unpacked
    }

    fn io(&self, operation: &'static str, source: io::Error) -> Error {
        Error::io(&self.blob.digest, operation, source)
    }

    /// Decompresses the file into chunks. Returns the digest of its compressed bytes; a stream that
    /// cannot be decompressed is read to its end first, because its digest says who is to blame.
    fn inflate(&self, follow: Follow, chunks: SyncSender<Chunk>) -> Result<Digest, Error> {
        let mut reader = BufReader::with_capacity(CHUNK, follow);
        let result = self.decode(&mut reader, &chunks);
        drop(chunks);
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

    fn decode(
        &self,
        reader: &mut BufReader<Follow>,
        chunks: &SyncSender<Chunk>,
    ) -> Result<(), Error> {
        let failed = |source| Error::Decompress {
            digest: self.blob.digest.clone(),
            source,
        };
        // By its first bytes: media types are wrong often enough.
        let magic = first_bytes(reader).map_err(failed)?;
        let limit = self.store.inner.options.limits.allowed(self.blob.size);
        match magic {
            [0x1f, 0x8b, ..] => self.pump(&mut MultiGzDecoder::new(reader), chunks, limit),
            [0x28, 0xb5, 0x2f, 0xfd] | [0x50..=0x5f, 0x2a, 0x4d, 0x18] => {
                let mut decoder =
                    zstd::stream::read::Decoder::with_buffer(reader).map_err(failed)?;
                self.pump(&mut decoder, chunks, limit)
            }
            _ => self.pump(reader, chunks, limit),
        }
    }

    fn pump(
        &self,
        decoder: &mut dyn Read,
        chunks: &SyncSender<Chunk>,
        limit: u64,
    ) -> Result<(), Error> {
        let mut total = 0;
        loop {
            let mut chunk = Vec::with_capacity(CHUNK);
            let read = decoder.take(CHUNK as u64).read_to_end(&mut chunk);
            total += chunk.len() as u64;
            if total > limit {
                // The archive must not look complete to the other thread.
                let _ = chunks.send(Err(io::Error::other("more than allowed")));
                self.feed.fail();
                return Err(Error::TooLarge {
                    digest: self.blob.digest.clone(),
                    declared: self.blob.size,
                    limit,
                });
            }
            match read {
                Ok(0) => return Ok(()),
                // The other side is gone: it has failed and says why.
                Ok(_) => {
                    if chunks.send(Ok(chunk)).is_err() {
                        return Ok(());
                    }
                }
                Err(source) => {
                    let _ = chunks.send(Err(io::Error::other("damaged stream")));
                    return Err(Error::Decompress {
                        digest: self.blob.digest.clone(),
                        source,
                    });
                }
            }
        }
    }

    fn unpack(&self, mut chunks: Chunks) -> Result<Unpacked, Error> {
        fs_err::create_dir(&self.tree)
            .map_err(|source| self.fatal(self.io("create directory", source)))?;
        let summary = unpack::unpack(&mut chunks, &self.tree).map_err(|source| {
            if source.is_full() {
                return self.fatal(Error::NoSpace {
                    digest: self.blob.digest.clone(),
                    operation: "unpack",
                });
            }
            Error::Unpack {
                digest: self.blob.digest.clone(),
                source,
            }
        })?;
        // What follows the archive's end belongs to the diffID too.
        io::copy(&mut chunks, &mut io::sink()).map_err(|source| self.io("read archive", source))?;
        Ok(Unpacked {
            tree: self.tree.clone(),
            diff_id: Digest::from_sha256(&chunks.hash.finalize().into()),
            summary,
        })
    }

    /// Notes that no further byte can help, so that the download ends early.
    fn fatal(&self, error: Error) -> Error {
        self.feed.fail();
        error
    }
}

/// The first four bytes, without consuming them; fewer only when there are no more.
fn first_bytes(reader: &mut BufReader<Follow>) -> io::Result<[u8; 4]> {
    let mut magic = [0; 4];
    let buffer = reader.fill_buf()?;
    let count = buffer.len().min(4);
    magic[..count].copy_from_slice(&buffer[..count]);
    Ok(magic)
}

type Chunk = io::Result<Vec<u8>>;

/// The chunks as a reader that hashes what passes.
struct Chunks {
    receive: Receiver<Chunk>,
    current: Vec<u8>,
    position: usize,
    hash: Sha256,
}

impl Chunks {
    fn new(receive: Receiver<Chunk>) -> Self {
        Self {
            receive,
            current: Vec::new(),
            position: 0,
            hash: Sha256::new(),
        }
    }
}

impl Read for Chunks {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let count = available.len().min(buffer.len());
        buffer[..count].copy_from_slice(&available[..count]);
        self.consume(count);
        Ok(count)
    }
}

impl BufRead for Chunks {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.position == self.current.len() {
            match self.receive.recv() {
                Ok(chunk) => {
                    self.current = chunk?;
                    self.position = 0;
                    self.hash.update(&self.current);
                }
                Err(_) => return Ok(&[]),
            }
        }
        Ok(&self.current[self.position..])
    }

    fn consume(&mut self, count: usize) {
        self.position += count;
    }
}
