//! What comes from the shim: entries in the format of Docker's `local` driver and of its log plugins, a length of 4 bytes,
//! big-endian, a protocol buffer, and the length again.

use crate::fields::{Value, field};
use std::io;

/// The most bytes of one entry. The shim cuts lines at 16 KiB.
const MOST: usize = 1 << 20;

/// A line of output, or a part of one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Standard error.
    pub(crate) stderr: bool,
    /// Nanoseconds since 1970.
    pub(crate) time: u64,
    /// Without its newline.
    pub(crate) line: Vec<u8>,
    /// Of a line that is in several entries.
    pub(crate) part: Option<Part>,
}

/// Which part of a line an entry is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Part {
    /// What all parts of one line have in common.
    pub(crate) id: String,
    /// Which it is, from 1.
    pub(crate) ordinal: u64,
    /// The last of its line.
    pub(crate) last: bool,
}

impl Entry {
    /// `stdout` or `stderr`.
    pub(crate) const fn source(&self) -> &'static str {
        if self.stderr { "stderr" } else { "stdout" }
    }

    /// What it weighs in a queue, bytes.
    pub(crate) const fn weight(&self) -> usize {
        self.line.len() + 64
    }

    /// When it was written.
    pub(crate) fn timestamp(&self) -> jiff::Timestamp {
        jiff::Timestamp::from_nanosecond(i128::from(self.time)).unwrap_or(jiff::Timestamp::MAX)
    }
}

/// Takes entries out of bytes that come in pieces.
#[derive(Debug, Default)]
pub(crate) struct Decoder {
    bytes: Vec<u8>,
    at: usize,
    /// The ids of lines that go on, for standard output and error.
    ids: [String; 2],
}

impl Decoder {
    /// Adds bytes.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.bytes.drain(..std::mem::take(&mut self.at));
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole entry, if there is one.
    ///
    /// # Errors
    /// `InvalidData` for what is none: there is no way to find the next.
    pub(crate) fn next(&mut self) -> io::Result<Option<Entry>> {
        let rest = &self.bytes[self.at..];
        let Some(head) = rest.first_chunk::<4>() else {
            return Ok(None);
        };
        let length = u32::from_be_bytes(*head) as usize;
        if length > MOST {
            return Err(malformed());
        }
        let Some(whole) = rest.get(4..length + 8) else {
            return Ok(None);
        };
        let mut entry = decode(&whole[..length]).ok_or_else(malformed)?;
        self.at += length + 8;
        if let Some(part) = &mut entry.part {
            // The shim's ids tell lines of one container apart, and those of one stream not at all.
            let id = &mut self.ids[usize::from(entry.stderr)];
            if part.ordinal <= 1 || id.is_empty() {
                *id = random_id();
            }
            part.id.clone_from(id);
        }
        Ok(Some(entry))
    }
}

/// 64 hexadecimal digits.
pub(crate) fn random_id() -> String {
    format!(
        "{:032x}{:032x}",
        rand::random::<u128>(),
        rand::random::<u128>()
    )
}

fn malformed() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "this is no entry of a log")
}

fn decode(mut bytes: &[u8]) -> Option<Entry> {
    let mut entry = Entry::default();
    let mut partial = false;
    while !bytes.is_empty() {
        match field(&mut bytes)? {
            (1, Value::Bytes(source)) => entry.stderr = source == b"stderr",
            (2, Value::Number(time)) => entry.time = time,
            (3, Value::Bytes(line)) => entry.line = line.to_vec(),
            (4, Value::Number(value)) => partial = value != 0,
            (5, Value::Bytes(part)) => entry.part = Some(decode_part(part)?),
            _ => {}
        }
    }
    if partial && entry.part.is_none() {
        entry.part = Some(Part::default());
    }
    Some(entry)
}

fn decode_part(mut bytes: &[u8]) -> Option<Part> {
    let mut part = Part::default();
    while !bytes.is_empty() {
        match field(&mut bytes)? {
            (1, Value::Number(last)) => part.last = last != 0,
            (2, Value::Bytes(id)) => part.id = String::from_utf8_lossy(id).into_owned(),
            (3, Value::Number(ordinal)) => part.ordinal = ordinal,
            _ => {}
        }
    }
    Some(part)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A line of standard output or error, written at one moment of 2026.
    pub(crate) fn line(stderr: bool, line: impl AsRef<[u8]>) -> Entry {
        Entry {
            stderr,
            time: 1_795_310_538_123_456_789,
            line: line.as_ref().to_vec(),
            part: None,
        }
    }

    fn encoded(stderr: bool, line: &[u8]) -> Vec<u8> {
        let mut body = vec![0x0a, 6];
        body.extend_from_slice(if stderr { b"stderr" } else { b"stdout" });
        body.extend_from_slice(&[0x10, 0x85, 0x02, 0x1a]);
        assert!(line.len() < 128);
        body.push(u8::try_from(line.len()).unwrap());
        body.extend_from_slice(line);
        let length = u32::try_from(body.len()).unwrap().to_be_bytes();
        [&length[..], &body, &length].concat()
    }

    #[test]
    fn entries_come_in_any_pieces() {
        let bytes = [encoded(false, b"one"), encoded(true, b"")].concat();
        let mut decoder = Decoder::default();
        let mut found = Vec::new();
        for byte in &bytes {
            decoder.push(&[*byte]);
            found.extend(decoder.next().unwrap());
        }
        let expected = [(false, &b"one"[..]), (true, b"")];
        let found: Vec<_> = found
            .iter()
            .map(|e| (e.stderr, e.line.as_slice()))
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn parts_of_a_line_have_an_id_of_their_own() {
        let part = |ordinal: u8, last: bool| {
            let body = [0x2a, 7, 8, u8::from(last), 0x12, 1, b'1', 0x18, ordinal];
            let length = 9_u32.to_be_bytes();
            [&length[..], &body, &length].concat()
        };
        let mut decoder = Decoder::default();
        decoder.push(&[part(1, false), part(2, true), part(1, false)].concat());
        let mut id = || decoder.next().unwrap().unwrap().part.unwrap().id;
        let (first, second, third) = (id(), id(), id());
        assert_eq!((first.len(), &first), (64, &second));
        assert_ne!(first, third);
    }

    proptest! {
        #[test]
        fn foreign_bytes_are_refused_and_never_panic(bytes: Vec<u8>) {
            crate::fuzz::entries(&bytes);
        }
    }
}
