//! Archives that are compressed as a whole.

use crate::decompress::Packing;
use bzip2::bufread::MultiBzDecoder;
use flate2::bufread::MultiGzDecoder;
use lzma_rust2::XzReader;
use std::io::{self, BufRead, BufReader, Cursor, Read};

/// What is read at once of a decompressor.
const BUFFER: usize = 256 << 10;
/// As many bytes as the longest of the marks below.
const MARK: usize = 6;

/// The plain bytes of a stream that may be gzip, bzip2, xz or zstd, by its first bytes, as dockerd
/// decides.
///
/// # Errors
/// When the first bytes cannot be read.
pub fn decompressed<'a>(
    mut input: impl BufRead + Send + 'a,
) -> io::Result<Box<dyn BufRead + Send + 'a>> {
    let mut mark = Vec::with_capacity(MARK);
    input.by_ref().take(MARK as u64).read_to_end(&mut mark)?;
    let (packing, bzip2) = (Packing::of(&mark), mark.starts_with(b"BZh"));
    let xz = mark == [0xfd, b'7', b'z', b'X', b'Z', 0];
    let whole = Cursor::new(mark).chain(input);
    Ok(match packing {
        Some(Packing::Gzip) => buffered(MultiGzDecoder::new(whole)),
        Some(Packing::Zstd) => buffered(zstd::stream::read::Decoder::with_buffer(whole)?),
        None if bzip2 => buffered(MultiBzDecoder::new(whole)),
        None if xz => buffered(XzReader::new(whole, true)),
        None => Box::new(whole),
    })
}

fn buffered<'a>(decoder: impl Read + Send + 'a) -> Box<dyn BufRead + Send + 'a> {
    Box::new(BufReader::with_capacity(BUFFER, decoder))
}
