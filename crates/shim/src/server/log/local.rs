//! Docker's `local` format: per entry its length (4 bytes, big-endian), a protocol buffer, and the length again.
//!
//! ```text
//! 1 source: string   2 time_nano: varint   3 line: bytes, without its \n   4 partial: bool
//! 5 partial_log_metadata { 1 last: bool   2 id: string   3 ordinal: varint }
//! ```
//!
//! An entry that is partial and not the last gets no `\n` when it is read.

use super::{Entry, Moment};

/// Writes entries.
#[derive(Debug)]
pub(super) struct Local;

impl Local {
    #[expect(
        clippy::unused_self,
        reason = "one way to write entries, as the other one is"
    )]
    pub(super) fn append(&self, entry: Entry<'_>, now: &Moment, to: &mut Vec<u8>) {
        let line = entry.bytes.strip_suffix(b"\n");
        let begin = to.len();
        to.extend_from_slice(&[0; 4]);
        field(1, if entry.stderr { b"stderr" } else { b"stdout" }, to);
        to.push(2 << 3);
        varint(u64::try_from(now.nanoseconds).unwrap_or(0), to);
        field(3, line.unwrap_or(entry.bytes), to);
        if let Some(part) = entry.part {
            to.extend_from_slice(&[4 << 3, 1]);
            let mut about = Vec::new();
            if line.is_some() {
                about.extend_from_slice(&[1 << 3, 1]);
            }
            // Tells the parts of one line from those of another's; lines of a stream do not mix.
            field(2, if entry.stderr { b"2" } else { b"1" }, &mut about);
            about.push(3 << 3);
            varint(u64::from(part), &mut about);
            field(5, &about, to);
        }
        let length = u32::try_from(to.len() - begin - 4)
            .unwrap_or(u32::MAX)
            .to_be_bytes();
        to[begin..begin + 4].copy_from_slice(&length);
        to.extend_from_slice(&length);
    }
}

/// A field of bytes: wire type 2.
fn field(number: u8, bytes: &[u8], to: &mut Vec<u8>) {
    to.push(number << 3 | 2);
    varint(bytes.len() as u64, to);
    to.extend_from_slice(bytes);
}

fn varint(mut value: u64, to: &mut Vec<u8>) {
    while value >= 0x80 {
        to.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    to.push(value.to_le_bytes()[0]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_dockers_to_the_byte() {
        let now = Moment {
            nanoseconds: 1_795_310_538_000_000_123,
            text: String::new(),
        };
        let mut to = Vec::new();
        let entry = Entry {
            stderr: false,
            bytes: b"part",
            part: Some(1),
        };
        Local.append(entry, &now, &mut to);
        let mut expected = b"\0\0\0\x21\x0a\x06stdout\x10".to_vec();
        varint(1_795_310_538_000_000_123, &mut expected);
        expected.extend_from_slice(b"\x1a\x04part\x20\x01\x2a\x05\x12\x011\x18\x01\0\0\0\x21");
        assert_eq!(to, expected);
        to.clear();
        let entry = Entry {
            stderr: true,
            bytes: b"x\n",
            part: None,
        };
        Local.append(entry, &now, &mut to);
        assert!(
            to.starts_with(b"\0\0\0\x15\x0a\x06stderr\x10") && to.ends_with(b"\x1a\x01x\0\0\0\x15")
        );
    }
}
