//! Docker's framing of two output streams over one connection.
//!
//! ```text
//! byte 0     stream: 0 stdin, 1 stdout, 2 stderr, 3 an error of the daemon itself
//! byte 1–3   zero
//! byte 4–7   length of the payload, big-endian
//! ```
//!
//! Used by attach, exec and logs of containers without a terminal; with one the bytes are bare.

use bytes::{Buf, Bytes, BytesMut};

/// The length of a frame's header.
pub const HEADER_LEN: usize = 8;

/// The longest frame a decoder accepts. Docker's client would take 4 GiB; daemons send what one
/// read of a pipe gave them (at most 64 KiB) or one log line (which rotation bounds at 16 KiB, other
/// drivers at a few MiB). More is a stream that is not framed at all.
pub const MAX_FRAME_LEN: usize = 16 * 1024 * 1024;

/// Which stream a frame belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StreamKind {
    /// Standard input; only ever seen echoed.
    Stdin,
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// The daemon failed while it streamed; the payload says how.
    SystemError,
}

impl StreamKind {
    /// The first byte of a frame.
    #[must_use]
    pub const fn as_byte(self) -> u8 {
        match self {
            Self::Stdin => 0,
            Self::Stdout => 1,
            Self::Stderr => 2,
            Self::SystemError => 3,
        }
    }

    fn from_byte(byte: u8) -> Option<Self> {
        match byte {
            0 => Some(Self::Stdin),
            1 => Some(Self::Stdout),
            2 => Some(Self::Stderr),
            3 => Some(Self::SystemError),
            _ => None,
        }
    }
}

/// The bytes are not frames.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The first byte names no stream.
    #[error("Unrecognized input header: {0}")]
    UnknownStream(u8),
    /// The length is more than [`MAX_FRAME_LEN`].
    #[error("frame of {0} bytes is longer than {MAX_FRAME_LEN}")]
    TooLong(u32),
}

/// The header of a frame with `len` bytes of payload.
///
/// # Panics
/// Never for payloads the daemon reads; a payload of 4 GiB and more cannot be framed and its length
/// saturates, so split it with [`encode`].
#[must_use]
pub fn header(kind: StreamKind, len: usize) -> [u8; HEADER_LEN] {
    let [a, b, c, d] = u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes();
    [kind.as_byte(), 0, 0, 0, a, b, c, d]
}

/// Appends `payload` to `out` as one frame, or several when it is longer than [`MAX_FRAME_LEN`].
pub fn encode(kind: StreamKind, payload: &[u8], out: &mut BytesMut) {
    for part in payload.chunks(MAX_FRAME_LEN) {
        out.reserve(HEADER_LEN + part.len());
        out.extend_from_slice(&header(kind, part.len()));
        out.extend_from_slice(part);
    }
}

/// Takes a framed stream apart as it arrives.
///
/// Payload is handed out as soon as there is any: nothing waits for the end of a frame.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: BytesMut,
    frame: Option<(StreamKind, usize)>,
}

impl Decoder {
    /// A decoder at the start of a stream.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds received bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next piece of payload, or `None` until more bytes are pushed.
    ///
    /// # Errors
    /// [`FrameError`] when the bytes cannot be frames; the stream is of no use from there on.
    pub fn next_chunk(&mut self) -> Result<Option<(StreamKind, Bytes)>, FrameError> {
        loop {
            let (kind, left) = match self.frame {
                Some(frame) => frame,
                None => match self.read_header()? {
                    Some(frame) => frame,
                    None => return Ok(None),
                },
            };
            if left == 0 {
                self.frame = None;
                continue;
            }
            if self.buffer.is_empty() {
                return Ok(None);
            }
            let take = left.min(self.buffer.len());
            self.frame = Some((kind, left - take));
            return Ok(Some((kind, self.buffer.split_to(take).freeze())));
        }
    }

    /// Whether the stream may end here: between two frames.
    #[must_use]
    pub fn at_boundary(&self) -> bool {
        self.buffer.is_empty() && self.frame.is_none_or(|(_, left)| left == 0)
    }

    fn read_header(&mut self) -> Result<Option<(StreamKind, usize)>, FrameError> {
        let Some(first) = self.buffer.first() else {
            return Ok(None);
        };
        let kind = StreamKind::from_byte(*first).ok_or(FrameError::UnknownStream(*first))?;
        if self.buffer.len() < HEADER_LEN {
            return Ok(None);
        }
        self.buffer.advance(4);
        let len = self.buffer.get_u32();
        let left = usize::try_from(len)
            .ok()
            .filter(|len| *len <= MAX_FRAME_LEN)
            .ok_or(FrameError::TooLong(len))?;
        self.frame = Some((kind, left));
        Ok(self.frame)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn kinds() -> impl Strategy<Value = StreamKind> {
        prop_oneof![
            Just(StreamKind::Stdout),
            Just(StreamKind::Stderr),
            Just(StreamKind::SystemError)
        ]
    }

    /// Joins adjacent pieces of one stream, as a reader would see them.
    fn joined(pieces: &[(StreamKind, Vec<u8>)]) -> Vec<(StreamKind, Vec<u8>)> {
        let mut out: Vec<(StreamKind, Vec<u8>)> = Vec::new();
        for (kind, bytes) in pieces.iter().filter(|(_, bytes)| !bytes.is_empty()) {
            match out.last_mut() {
                Some((last, all)) if last == kind => all.extend_from_slice(bytes),
                _ => out.push((*kind, bytes.clone())),
            }
        }
        out
    }

    proptest! {
        #[test]
        fn what_was_framed_comes_out_however_it_is_cut(
            frames in prop::collection::vec((kinds(), prop::collection::vec(any::<u8>(), 0..40)), 0..20),
            cut in 1usize..30,
        ) {
            let mut wire = BytesMut::new();
            for (kind, payload) in &frames {
                encode(*kind, payload, &mut wire);
            }
            let mut decoder = Decoder::new();
            let mut got = Vec::new();
            for part in wire.chunks(cut) {
                decoder.push(part);
                while let Some((kind, bytes)) = decoder.next_chunk().unwrap() {
                    got.push((kind, bytes.to_vec()));
                }
            }
            prop_assert!(decoder.at_boundary());
            prop_assert_eq!(joined(&got), joined(&frames));
        }

        #[test]
        fn any_bytes_are_decoded_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut decoder = Decoder::new();
            decoder.push(&bytes);
            while let Ok(Some(_)) = decoder.next_chunk() {}
        }
    }

    #[test]
    fn the_header_is_dockers() {
        assert_eq!(header(StreamKind::Stderr, 0x0102), [2, 0, 0, 0, 0, 0, 1, 2]);
    }

    #[test]
    fn nonsense_is_refused() {
        let mut decoder = Decoder::new();
        decoder.push(b"plain text");
        assert_eq!(decoder.next_chunk(), Err(FrameError::UnknownStream(b'p')));
        let mut decoder = Decoder::new();
        decoder.push(&[1, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]);
        assert_eq!(decoder.next_chunk(), Err(FrameError::TooLong(u32::MAX)));
    }

    #[test]
    fn an_end_within_a_frame_is_noticed() {
        let mut decoder = Decoder::new();
        decoder.push(&[1, 0, 0, 0, 0, 0, 0, 3, b'a']);
        assert!(decoder.next_chunk().unwrap().is_some());
        assert!(!decoder.at_boundary());
    }
}
