//! A layer's uncompressed bytes on their way from the thread that makes them to the one that uses them.
//!
//! A fixed number of chunks goes round, so that the memory of a layer is bounded and none is
//! allocated on the way.

use sha2::{Digest as _, Sha256};
use std::io::{self, BufRead, Read, Write as _};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};

/// One read of a file and one step between the threads: large enough that switching between them
/// costs nothing, small enough to stay in the cache.
pub(super) const CHUNK: usize = 256 * 1024;
/// How many chunks a layer has.
const CHUNKS: usize = 4;

type Full = io::Result<(Vec<u8>, usize)>;

/// Makes both ends.
pub(super) fn pair() -> (Filler, Chunks) {
    let (send_full, full) = sync_channel(CHUNKS);
    let (send_empty, empty) = channel();
    let filler = Filler {
        full: send_full,
        empty,
        made: 0,
    };
    let chunks = Chunks {
        full,
        empty: send_empty,
        current: Vec::new(),
        length: 0,
        position: 0,
        total: 0,
        hash: None,
        copy: None,
    };
    (filler, chunks)
}

/// Why filling ended early.
pub(super) enum Stop {
    /// More came than is allowed: this many bytes.
    TooMany(u64),
    /// The source failed.
    Read(io::Error),
}

/// The end that makes chunks.
pub(super) struct Filler {
    full: SyncSender<Full>,
    empty: Receiver<Vec<u8>>,
    made: usize,
}

impl Filler {
    /// Passes on all that `source` has, at most as much as `allowed` says at the time. When the other
    /// end is gone this ends without an error: that end knows why. `passed` sees the bytes too.
    pub(super) fn fill(
        mut self,
        source: &mut dyn Read,
        allowed: &dyn Fn() -> u64,
        mut passed: impl FnMut(&[u8]),
    ) -> Result<(), Stop> {
        let mut total = 0;
        while let Some(mut chunk) = self.next_empty() {
            let (length, result) = read_full(source, &mut chunk);
            total += length as u64;
            let allowed = allowed();
            if total > allowed {
                // The archive must not look complete to the other thread.
                let _ = self.full.send(Err(io::Error::other("more than allowed")));
                return Err(Stop::TooMany(allowed));
            }
            if let Err(source) = result {
                let _ = self.full.send(Err(io::Error::other("damaged stream")));
                return Err(Stop::Read(source));
            }
            if length == 0 {
                break;
            }
            passed(&chunk[..length]);
            if self.full.send(Ok((chunk, length))).is_err() {
                break;
            }
        }
        Ok(())
    }

    fn next_empty(&mut self) -> Option<Vec<u8>> {
        if self.made < CHUNKS {
            self.made += 1;
            return Some(vec![0; CHUNK]);
        }
        self.empty.recv().ok()
    }
}

/// Reads until the buffer is full, the end, or an error.
fn read_full(source: &mut dyn Read, buffer: &mut [u8]) -> (usize, io::Result<()>) {
    let mut length = 0;
    while length < buffer.len() {
        match source.read(&mut buffer[length..]) {
            Ok(0) => break,
            Ok(count) => length += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return (length, Err(error)),
        }
    }
    (length, Ok(()))
}

/// The end that uses them: a reader that can hash and copy what passes.
pub(super) struct Chunks {
    full: Receiver<Full>,
    empty: Sender<Vec<u8>>,
    current: Vec<u8>,
    length: usize,
    position: usize,
    total: u64,
    hash: Option<Sha256>,
    copy: Option<fs_err::File>,
}

impl Chunks {
    /// Hashes everything from here on.
    pub(super) fn hashed(mut self) -> Self {
        self.hash = Some(Sha256::new());
        self
    }

    /// Writes everything to a file too.
    pub(super) fn copied_to(mut self, file: fs_err::File) -> Self {
        self.copy = Some(file);
        self
    }

    /// Reads to the end, and tells how much came in all and the digest, if it was asked for.
    pub(super) fn finish(mut self) -> io::Result<(u64, Option<hull_spec::Digest>)> {
        loop {
            let count = self.fill_buf()?.len();
            if count == 0 {
                break;
            }
            self.consume(count);
        }
        let digest = self
            .hash
            .map(|hash| hull_spec::Digest::from_sha256(&hash.finalize().into()));
        Ok((self.total, digest))
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
        while self.position == self.length {
            let Ok(full) = self.full.recv() else {
                return Ok(&[]);
            };
            let (chunk, length) = full?;
            let used = std::mem::replace(&mut self.current, chunk);
            if !used.is_empty() {
                // Should the other end be gone, nothing needs it.
                let _ = self.empty.send(used);
            }
            (self.length, self.position) = (length, 0);
            self.total += length as u64;
            let bytes = &self.current[..length];
            if let Some(hash) = &mut self.hash {
                hash.update(bytes);
            }
            if let Some(copy) = &mut self.copy {
                copy.write_all(bytes)?;
            }
        }
        Ok(&self.current[self.position..self.length])
    }

    fn consume(&mut self, count: usize) {
        self.position += count;
    }
}
