//! Reading what may be compressed.

use flate2::bufread::MultiGzDecoder;
use std::io::{self, BufRead, Read};

/// How a stream is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Packing {
    Gzip,
    Zstd,
}

impl Packing {
    /// By the first bytes, of which four are enough.
    pub(crate) fn of(head: &[u8]) -> Option<Self> {
        match head {
            [0x1f, 0x8b, ..] => Some(Self::Gzip),
            // The second form is a frame to skip, with which zstd:chunked may begin (RFC 8878, 3.1.2).
            [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Some(Self::Zstd),
            _ => None,
        }
    }
}

/// A stream that is gzip, zstd or neither, by its first bytes: media types are wrong often enough.
pub(crate) enum Decoder<R: BufRead> {
    Gzip(Box<MultiGzDecoder<R>>),
    Zstd(Box<zstd::stream::read::Decoder<'static, R>>),
    Plain(R),
}

impl<R: BufRead> Decoder<R> {
    /// Looks at the first bytes. All that `reader` reads at once must hold four of them, if there are.
    pub(crate) fn new(mut reader: R) -> io::Result<Self> {
        Ok(match Packing::of(reader.fill_buf()?) {
            Some(Packing::Gzip) => Self::Gzip(Box::new(MultiGzDecoder::new(reader))),
            Some(Packing::Zstd) => {
                Self::Zstd(Box::new(zstd::stream::read::Decoder::with_buffer(reader)?))
            }
            None => Self::Plain(reader),
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
