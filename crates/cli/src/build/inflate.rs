//! Archives from standard input that are compressed.

use bzip2::bufread::MultiBzDecoder;
use flate2::bufread::MultiGzDecoder;
use lzma_rust2::XzReader;
use std::io::{self, BufRead, Read};

/// The plain bytes of gzip, bzip2, xz or zstd, by the first bytes; `None` for what is none of them.
///
/// # Errors
/// When the first bytes cannot be read.
pub(super) fn inflated<'a>(
    head: &[u8],
    input: impl BufRead + 'a,
) -> io::Result<Option<Box<dyn Read + 'a>>> {
    Ok(Some(match head {
        [0x1f, 0x8b, 0x08, ..] => Box::new(MultiGzDecoder::new(input)),
        [b'B', b'Z', b'h', ..] => Box::new(MultiBzDecoder::new(input)),
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Box::new(XzReader::new(input, true)),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Box::new(zstd::stream::read::Decoder::with_buffer(input)?),
        _ => return Ok(None),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    #[test]
    fn what_is_compressed_is_known_by_its_first_bytes() {
        let text = b"as it was".repeat(1000);
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&text).unwrap();
        let mut bzip2 = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
        bzip2.write_all(&text).unwrap();
        let zstd = zstd::stream::encode_all(text.as_slice(), 1).unwrap();
        for bytes in [gzip.finish().unwrap(), bzip2.finish().unwrap(), zstd] {
            let mut plain = Vec::new();
            let reader = inflated(&bytes, bytes.as_slice()).unwrap();
            reader.unwrap().read_to_end(&mut plain).unwrap();
            assert_eq!(plain, text);
        }
        assert!(inflated(b"FROM x", &b"FROM x"[..]).unwrap().is_none());
    }
}
