//! Files on their way to a build, on a connection of their own.
//!
//! ```text
//!   client ── Stat of every file, in the order of a walk; then End ──► daemon
//!   client ◄─ Wanted: the number of a Stat, of what has changed ────── daemon
//!   client ── Data number, bytes; empty ends the file ───────────────► daemon
//!   client ◄─ Done ─────────────────────────────────────────────────── daemon
//!   either ── Failed, with a text, instead: it is over ──────────────► other
//! ```
//!
//! A packet is its kind (1 byte), a number and the length of what follows (4 bytes each, the highest first).

use serde::{Deserialize, Serialize};
use std::io::{self, Read};

/// The longest piece of a file in a packet, bytes.
pub const MAX_DATA: usize = 256 << 10;
/// The longest packet, bytes.
const MAX_LENGTH: usize = 1 << 20;
const HEAD: usize = 9;

/// What a file is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FileStat {
    /// Below the directory, with slashes.
    pub path: String,
    /// Type and permissions: `st_mode` of stat(2).
    pub mode: u32,
    /// Bytes.
    #[serde(skip_serializing_if = "is_zero")]
    pub size: i64,
    /// Nanoseconds since 1970.
    #[serde(skip_serializing_if = "is_zero")]
    pub modified: i64,
    /// Where a symbolic link leads; of a file the path of an earlier one that it is another name of.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub link: String,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde calls it by reference"
)]
fn is_zero(number: &i64) -> bool {
    *number == 0
}

/// One packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Packet {
    /// The next file; files are numbered from 0.
    Stat(FileStat),
    /// There are no more files.
    End,
    /// The bytes of this file are wanted.
    Wanted(u32),
    /// Some of them; none ends the file.
    Data(u32, Vec<u8>),
    /// All has come.
    Done,
    /// It is over, and why.
    Failed(String),
}

/// What is no packet.
#[derive(Debug, thiserror::Error)]
pub enum PacketError {
    /// The connection broke.
    #[error("the connection broke")]
    Io(#[from] io::Error),
    /// The other side does not keep to the protocol.
    #[error("{0}")]
    Broken(&'static str),
}

impl Packet {
    /// Writes it behind what is in `out`. Data may have as many bytes as [`MAX_DATA`].
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Stat(stat) => {
                // Strings and numbers can always be written.
                let text = serde_json::to_vec(stat).unwrap_or_default();
                head(out, 0, 0, &text);
            }
            Self::End => head(out, 1, 0, &[]),
            Self::Wanted(number) => head(out, 2, *number, &[]),
            Self::Data(number, bytes) => head(out, 3, *number, bytes),
            Self::Done => head(out, 4, 0, &[]),
            Self::Failed(text) => head(out, 5, 0, text.as_bytes()),
        }
    }
}

fn head(out: &mut Vec<u8>, kind: u8, number: u32, payload: &[u8]) {
    out.push(kind);
    out.extend_from_slice(&number.to_be_bytes());
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_be_bytes());
    out.extend_from_slice(payload);
}

/// Packets out of bytes.
#[derive(Debug, Default)]
pub struct Reader {
    bytes: Vec<u8>,
    taken: usize,
}

impl Reader {
    /// Adds what came.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.taken > 0 {
            self.bytes.drain(..self.taken);
            self.taken = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// The next packet that is whole.
    ///
    /// # Errors
    /// [`PacketError::Broken`]
    pub fn take(&mut self) -> Result<Option<Packet>, PacketError> {
        let rest = &self.bytes[self.taken..];
        let Some((head, rest)) = rest.split_at_checked(HEAD) else {
            return Ok(None);
        };
        let word =
            |at: usize| u32::from_be_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let (number, length) = (word(1), word(5) as usize);
        if length > MAX_LENGTH {
            return Err(PacketError::Broken("a packet is too long"));
        }
        let Some(payload) = rest.get(..length) else {
            return Ok(None);
        };
        let packet = match head[0] {
            0 => Packet::Stat(
                serde_json::from_slice(payload)
                    .map_err(|_| PacketError::Broken("a file's description is none"))?,
            ),
            1 => Packet::End,
            2 => Packet::Wanted(number),
            3 => Packet::Data(number, payload.to_vec()),
            4 => Packet::Done,
            5 => Packet::Failed(String::from_utf8_lossy(payload).into_owned()),
            _ => return Err(PacketError::Broken("a packet of no kind")),
        };
        self.taken += HEAD + length;
        Ok(Some(packet))
    }

    /// The next packet from `source`; `None` at its end.
    ///
    /// # Errors
    /// What `source` says; [`PacketError::Broken`], also for an end within a packet.
    pub fn read_from(&mut self, source: &mut impl Read) -> Result<Option<Packet>, PacketError> {
        let mut buffer = vec![0; 64 << 10];
        loop {
            if let Some(packet) = self.take()? {
                return Ok(Some(packet));
            }
            match source.read(&mut buffer) {
                Ok(0) if self.taken == self.bytes.len() => return Ok(None),
                Ok(0) => return Err(PacketError::Broken("the connection ended within a packet")),
                Ok(count) => self.push(&buffer[..count]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_read_as_they_were_written_wherever_the_bytes_are_cut() {
        let all = [
            Packet::Stat(FileStat {
                path: "a/ü".to_owned(),
                mode: 0o100_644,
                size: 3,
                modified: -1,
                link: String::new(),
            }),
            Packet::End,
            Packet::Wanted(7),
            Packet::Data(7, b"abc".to_vec()),
            Packet::Data(7, Vec::new()),
            Packet::Done,
            Packet::Failed("why".to_owned()),
        ];
        let mut bytes = Vec::new();
        all.iter().for_each(|packet| packet.write(&mut bytes));
        for size in [1, 5, bytes.len()] {
            let mut reader = Reader::default();
            let mut read = Vec::new();
            for piece in bytes.chunks(size) {
                reader.push(piece);
                while let Some(packet) = reader.take().unwrap() {
                    read.push(packet);
                }
            }
            assert_eq!(read, all);
        }
        let mut source = &bytes[..bytes.len() - 1];
        let mut reader = Reader::default();
        let broken = std::iter::from_fn(|| Some(reader.read_from(&mut source)))
            .find(|read| !matches!(read, Ok(Some(_))));
        assert!(matches!(broken, Some(Err(PacketError::Broken(_)))));
    }

    #[test]
    fn what_is_no_packet_is_refused() {
        for bytes in [
            b"\x09\0\0\0\0\0\0\0\0".as_slice(),
            b"\x03\0\0\0\0\x7f\0\0\0",
            b"\0\0\0\0\0\0\0\0\x01x",
        ] {
            let mut reader = Reader::default();
            reader.push(bytes);
            assert!(reader.take().is_err());
        }
    }
}
