//! Compression of a layer's archive, for a push whose registry wants it compressed and where no
//! compressed form is kept.
//!
//! ```text
//! archive ─ blocks ─► workers, one a processor ─► blocks in order ─► file, hashed on the way
//! ```
//!
//! Every block stands alone, so the bytes depend on the archive, the form and the level, and not on
//! the number of processors. A gzip stream is one member whose deflate blocks end at byte boundaries
//! (RFC 1951, 3.2.4: an empty stored block, as `Z_SYNC_FLUSH` writes it); a zstd stream is a row of
//! frames (RFC 8878, 3).

use crate::store::{Error, Store};
use flate2::{Compress, Compression as Level, Crc, FlushCompress};
use hull_spec::Digest;
use hull_spec::image::{Descriptor, media_type as mt};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Mutex, PoisonError};

/// How layers are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip, level 0 to 9.
    Gzip(u8),
    /// zstd, level 1 to 19.
    Zstd(u8),
}

impl Default for Compression {
    /// What every registry's clients can read; the level is gzip's own default, as Docker has it.
    fn default() -> Self {
        Self::Gzip(6)
    }
}

impl Compression {
    /// The form that a layer's media type stands for.
    #[must_use]
    pub fn of(media_type: &str) -> Self {
        if media_type.ends_with("+zstd") {
            Self::Zstd(0)
        } else if media_type.ends_with("gzip") {
            Self::Gzip(0)
        } else {
            Self::None
        }
    }

    /// Whether the form is the same, whatever the level.
    #[must_use]
    pub fn is_like(self, other: Self) -> bool {
        std::mem::discriminant(&self) == std::mem::discriminant(&other)
    }

    /// The media type of a layer in this form: Docker's, which knows no zstd, or the OCI's.
    #[must_use]
    pub fn media_type(self, docker: bool) -> &'static str {
        match (self, docker) {
            (Self::None, true) => mt::DOCKER_LAYER,
            (Self::None, false) => mt::OCI_LAYER,
            (Self::Gzip(_), true) => mt::DOCKER_LAYER_GZIP,
            (Self::Gzip(_), false) => mt::OCI_LAYER_GZIP,
            (Self::Zstd(_), _) => mt::OCI_LAYER_ZSTD,
        }
    }

    /// Bytes of the archive in one block: larger ones compress a little better, smaller ones need
    /// less memory and keep all processors busy.
    fn block(self) -> usize {
        match self {
            Self::None | Self::Gzip(_) => 1 << 20,
            Self::Zstd(_) => 4 << 20,
        }
    }

    fn pack(self, block: Vec<u8>) -> io::Result<Packed> {
        let mut crc = Crc::new();
        let bytes = match self {
            Self::None => block,
            Self::Gzip(level) => {
                crc.update(&block);
                deflate(&block, level)?
            }
            Self::Zstd(level) => zstd::bulk::compress(&block, i32::from(level.clamp(1, 19)))?,
        };
        Ok(Packed { bytes, crc })
    }
}

/// One block, compressed.
struct Packed {
    bytes: Vec<u8>,
    crc: Crc,
}

/// What [`compress`] made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Compressed {
    /// Of the compressed bytes.
    pub digest: Digest,
    /// How many they are.
    pub size: u64,
    /// Of the archive that was read: its diffID.
    pub diff_id: Digest,
}

fn deflate(block: &[u8], level: u8) -> io::Result<Vec<u8>> {
    let mut state = Compress::new(Level::new(u32::from(level.min(9))), false);
    let mut out = Vec::with_capacity(block.len() / 2 + 64);
    loop {
        let done = usize::try_from(state.total_in()).map_err(io::Error::other)?;
        state
            .compress_vec(&block[done..], &mut out, FlushCompress::Sync)
            .map_err(io::Error::other)?;
        // Room that is left means that the flush is complete.
        if out.len() < out.capacity() && state.total_in() == block.len() as u64 {
            return Ok(out);
        }
        out.reserve(block.len() / 4 + 64);
    }
}

type Job = (Vec<u8>, SyncSender<io::Result<Packed>>);

/// Compresses an archive with all processors. The bytes for one archive, form and level are always the
/// same. Takes some megabytes of memory a processor.
///
/// # Errors
/// Failures of `source` and `out`.
pub(crate) fn compress(
    source: &mut dyn Read,
    out: &mut (dyn Write + Send),
    how: Compression,
) -> io::Result<Compressed> {
    let workers = std::thread::available_parallelism()
        .map_or(1, usize::from)
        .min(16);
    let (jobs, queue) = sync_channel::<Job>(workers);
    let (order, results) = sync_channel::<Receiver<io::Result<Packed>>>(workers * 2);
    let queue = Mutex::new(queue);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| work(&queue, how));
        }
        let writer = scope.spawn(move || write(results, out, how));
        let read = read(source, how, &jobs, &order);
        drop((jobs, order));
        let written = writer
            .join()
            .map_err(|_| io::Error::other("compression failed"))?;
        // The reader only stops early because the writer did, unless the archive cannot be read.
        let diff_id = read?;
        let (digest, size) = written?;
        Ok(Compressed {
            digest,
            size,
            diff_id,
        })
    })
}

fn work(queue: &Mutex<Receiver<Job>>, how: Compression) {
    loop {
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok((block, reply)) = job else {
            return;
        };
        // Nobody waits for it once the writer has failed.
        let _ = reply.send(how.pack(block));
    }
}

/// Cuts the archive into blocks, and gives its digest.
fn read(
    source: &mut dyn Read,
    how: Compression,
    jobs: &SyncSender<Job>,
    order: &SyncSender<Receiver<io::Result<Packed>>>,
) -> io::Result<Digest> {
    let mut hash = Sha256::new();
    loop {
        let mut block = Vec::with_capacity(how.block());
        Read::take(&mut *source, how.block() as u64).read_to_end(&mut block)?;
        if block.is_empty() {
            break;
        }
        hash.update(&block);
        let (reply, result) = sync_channel(1);
        if order.send(result).is_err() || jobs.send((block, reply)).is_err() {
            break;
        }
    }
    Ok(Digest::from_sha256(&hash.finalize().into()))
}

fn write(
    results: Receiver<Receiver<io::Result<Packed>>>,
    out: &mut dyn Write,
    how: Compression,
) -> io::Result<(Digest, u64)> {
    let (mut hash, mut size) = (Sha256::new(), 0_u64);
    let mut blocks = 0_u64;
    let mut put = |bytes: &[u8]| -> io::Result<()> {
        hash.update(bytes);
        size += bytes.len() as u64;
        out.write_all(bytes)
    };
    let gzip = matches!(how, Compression::Gzip(_));
    if gzip {
        // No name, no time; the system is unknown: nothing of this machine.
        put(&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff])?;
    }
    let mut crc = Crc::new();
    while let Ok(result) = results.recv() {
        let packed = result
            .recv()
            .map_err(|_| io::Error::other("a block was not compressed"))??;
        blocks += 1;
        put(&packed.bytes)?;
        crc.combine(&packed.crc);
    }
    if blocks == 0 && matches!(how, Compression::Zstd(_)) {
        let frame = zstd::bulk::compress(&[], 1)?;
        put(&frame)?;
    }
    if gzip {
        // The last deflate block, an empty one.
        put(&[3, 0])?;
        put(&crc.sum().to_le_bytes())?;
        put(&crc.amount().to_le_bytes())?;
    }
    out.flush()?;
    Ok((Digest::from_sha256(&hash.finalize().into()), size))
}

impl Store {
    /// Makes a compressed form of a layer and keeps it as one of the layer's blobs. A form that is
    /// kept already is given as it is.
    ///
    /// # Errors
    /// [`Error::NoSuchLayer`], [`Error::DamagedDocument`] when the layer is no longer what its diffID
    /// says, and failures of the file system and of the database; then nothing is kept.
    pub fn compress_layer(
        &self,
        diff_id: &Digest,
        how: Compression,
        docker: bool,
    ) -> Result<Descriptor, Error> {
        let kept = self.layer_blobs(diff_id)?;
        let same = |blob: &&Descriptor| Compression::of(&blob.media_type).is_like(how);
        if let Some(blob) = kept.iter().find(same) {
            return Ok(blob.clone());
        }
        let scratch = self.inner.blobs.scratch("push");
        let made = self.compress_into(&scratch, diff_id, how, docker);
        if made.is_err() {
            // It may never have been made; the sweep at the next start looks again.
            let _ = fs_err::remove_file(&scratch);
        }
        made
    }

    fn compress_into(
        &self,
        scratch: &Path,
        diff_id: &Digest,
        how: Compression,
        docker: bool,
    ) -> Result<Descriptor, Error> {
        let failed = |source| Error::io("compress layer", source);
        let mut archive = self.layer_archive(diff_id)?;
        let mut file = fs_err::File::create(scratch).map_err(failed)?;
        let made = compress(&mut archive, &mut file, how).map_err(failed)?;
        if made.diff_id != *diff_id {
            return Err(Error::DamagedDocument(diff_id.clone()));
        }
        let blob = Descriptor {
            media_type: how.media_type(docker).to_owned(),
            digest: made.digest,
            size: made.size,
            urls: Vec::new(),
            annotations: BTreeMap::new(),
            platform: None,
        };
        self.add_layer_blob(diff_id, &blob, scratch)?;
        Ok(blob)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::read::GzDecoder;
    use proptest::prelude::*;

    fn packed(bytes: &[u8], how: Compression) -> (Vec<u8>, Compressed) {
        let mut out = Vec::new();
        let made = compress(&mut &*bytes, &mut out, how).unwrap();
        assert_eq!(made.size, out.len() as u64);
        assert_eq!(made.digest, crate::blob::digest_of(&out));
        assert_eq!(made.diff_id, crate::blob::digest_of(bytes));
        (out, made)
    }

    fn unpacked(bytes: &[u8], how: Compression) -> Vec<u8> {
        let mut out = Vec::new();
        match how {
            Compression::None => out.extend_from_slice(bytes),
            // One member only: what comes behind it would be left.
            Compression::Gzip(_) => {
                let mut decoder = GzDecoder::new(bytes);
                decoder.read_to_end(&mut out).unwrap();
                assert!(decoder.into_inner().is_empty());
            }
            Compression::Zstd(_) => out = zstd::stream::decode_all(bytes).unwrap(),
        }
        out
    }

    fn sample(length: usize) -> Vec<u8> {
        let mut state = 1_u32;
        (0..length)
            .map(|at| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let noise = state.to_be_bytes()[0];
                if at % 3 == 0 { noise } else { noise % 4 }
            })
            .collect()
    }

    #[test]
    fn what_is_compressed_comes_back() {
        for length in [0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 9 << 20] {
            let bytes = sample(length);
            for how in [
                Compression::None,
                Compression::Gzip(0),
                Compression::Gzip(1),
                Compression::Gzip(6),
                Compression::Zstd(3),
            ] {
                let (out, made) = packed(&bytes, how);
                assert!(unpacked(&out, how) == bytes, "{length} {how:?}");
                assert_eq!(packed(&bytes, how).1, made, "{length} {how:?}");
            }
        }
    }

    #[test]
    fn gzip_and_zstd_read_it() {
        let directory = tempfile::tempdir().unwrap();
        let bytes = sample(3_000_000);
        for (program, how) in [
            ("gzip", Compression::Gzip(6)),
            ("zstd", Compression::Zstd(3)),
        ] {
            let path = directory.path().join(program);
            fs_err::write(&path, packed(&bytes, how).0).unwrap();
            let run = std::process::Command::new(program)
                .arg("-dc")
                .stdin(fs_err::File::open(&path).unwrap().into_parts().0)
                .output();
            match run {
                Ok(output) => assert!(output.status.success() && output.stdout == bytes),
                Err(error) => println!("skipped: {program}: {error}"),
            }
        }
    }

    struct Broken(usize);

    impl Read for Broken {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if self.0 == 0 {
                return Err(io::Error::other("broken"));
            }
            let length = self.0.min(buffer.len());
            self.0 -= length;
            buffer[..length].fill(7);
            Ok(length)
        }
    }

    struct Full;

    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn failures_of_either_side_end_it() {
        let error = compress(&mut Broken(5 << 20), &mut Vec::new(), Compression::Gzip(1));
        assert_eq!(error.unwrap_err().to_string(), "broken");
        let error = compress(&mut &*sample(40 << 20), &mut Full, Compression::Zstd(1));
        assert_eq!(error.unwrap_err().kind(), io::ErrorKind::StorageFull);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]
        #[test]
        fn any_bytes_come_back(
            bytes in proptest::collection::vec(any::<u8>(), 0..40_000), level in 0_u8..=9, zstd: bool
        ) {
            let how = if zstd { Compression::Zstd(level) } else { Compression::Gzip(level) };
            let (out, _) = packed(&bytes, how);
            prop_assert!(unpacked(&out, how) == bytes);
        }
    }
}
