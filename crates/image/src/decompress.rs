//! Reading what may be compressed.

use flate2::bufread::MultiGzDecoder;
use std::io::{self, BufRead, Read};

/// A stream that is gzip, zstd or neither, by its first bytes: media types are wrong often enough.
pub(crate) enum Decoder<R: BufRead> {
    Gzip(Box<MultiGzDecoder<R>>),
    Zstd(Box<zstd::stream::read::Decoder<'static, R>>),
    Plain(R),
}

impl<R: BufRead> Decoder<R> {
    /// Looks at the first bytes. All that `reader` reads at once must hold four of them, if there are.
    pub(crate) fn new(mut reader: R) -> io::Result<Self> {
        let buffer = reader.fill_buf()?;
        let mut magic = [0; 4];
        let count = buffer.len().min(4);
        magic[..count].copy_from_slice(&buffer[..count]);
        Ok(match magic {
            [0x1f, 0x8b, ..] => Self::Gzip(Box::new(MultiGzDecoder::new(reader))),
            // The second form is a frame to skip, with which zstd:chunked may begin (RFC 8878, 3.1.2).
            [0x28, 0xb5, 0x2f, 0xfd] | [0x50..=0x5f, 0x2a, 0x4d, 0x18] => {
                Self::Zstd(Box::new(zstd::stream::read::Decoder::with_buffer(reader)?))
            }
            _ => Self::Plain(reader),
        })
    }

    /// Whether nothing is decompressed.
    pub(crate) fn is_plain(&self) -> bool {
        matches!(self, Self::Plain(_))
    }
}

impl<R: BufRead> Read for Decoder<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Gzip(decoder) => decoder.read(buffer),
            Self::Zstd(decoder) => decoder.read(buffer),
            Self::Plain(reader) => reader.read(buffer),
        }
    }
}
