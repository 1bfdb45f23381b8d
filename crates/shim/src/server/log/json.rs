//! Docker's json-file format: a line of JSON per entry,
//! `{"log":"…\n","stream":"stdout","attrs":{…},"time":"…"}`. A part of a line has no `\n`.

use super::{Entry, Moment};
use std::collections::BTreeMap;

/// Writes entries.
#[derive(Debug)]
pub(super) struct Json {
    /// What stands between the text and the time, for standard output and error.
    between: [Vec<u8>; 2],
}

impl Json {
    pub(super) fn new(attributes: &BTreeMap<String, String>) -> Self {
        let mut shown = Vec::new();
        if !attributes.is_empty() {
            shown.extend_from_slice(b",\"attrs\":{");
            for (number, (key, value)) in attributes.iter().enumerate() {
                shown.extend_from_slice(if number == 0 { b"\"" } else { b",\"" });
                escape(key.as_bytes(), &mut shown);
                shown.extend_from_slice(b"\":\"");
                escape(value.as_bytes(), &mut shown);
                shown.push(b'"');
            }
            shown.push(b'}');
        }
        let between = |stream: &str| {
            let mut bytes = format!("\",\"stream\":\"{stream}\"").into_bytes();
            bytes.extend_from_slice(&shown);
            bytes.extend_from_slice(b",\"time\":\"");
            bytes
        };
        Self {
            between: [between("stdout"), between("stderr")],
        }
    }

    pub(super) fn append(&self, entry: Entry<'_>, now: &Moment, to: &mut Vec<u8>) {
        to.extend_from_slice(b"{\"log\":\"");
        escape(entry.bytes, to);
        to.extend_from_slice(&self.between[usize::from(entry.stderr)]);
        to.extend_from_slice(now.text.as_bytes());
        to.extend_from_slice(b"\"}\n");
    }
}

/// Writes `line` as Docker's encoder writes strings: what HTML would misread is escaped, and what
/// is not UTF-8 becomes U+FFFD.
fn escape(line: &[u8], to: &mut Vec<u8>) {
    let mut at = 0;
    while at < line.len() {
        let plain = plain_length(&line[at..]);
        to.extend_from_slice(&line[at..at + plain]);
        at += plain;
        let Some(byte) = line.get(at) else { return };
        if byte.is_ascii() {
            escape_byte(*byte, to);
            at += 1;
            continue;
        }
        match character_length(&line[at..]) {
            None => {
                to.extend_from_slice(b"\\ufffd");
                at += 1;
            }
            // Line and paragraph separator, which JavaScript takes for line ends.
            Some(3) if line[at..].starts_with(&[0xe2, 0x80, 0xa8]) => {
                to.extend_from_slice(b"\\u2028");
                at += 3;
            }
            Some(3) if line[at..].starts_with(&[0xe2, 0x80, 0xa9]) => {
                to.extend_from_slice(b"\\u2029");
                at += 3;
            }
            Some(length) => {
                to.extend_from_slice(&line[at..at + length]);
                at += length;
            }
        }
    }
}

/// How many bytes at the beginning stand for themselves. Eight are looked at in one go: this decides how
/// fast a container can write.
fn plain_length(bytes: &[u8]) -> usize {
    const ONES: u64 = u64::MAX / 255;
    const HIGH: u64 = ONES << 7;
    // For bytes below 0x80, of which one is zero at least, the lowest of them has its high bit set here.
    let zero = |word: u64| word.wrapping_sub(ONES) & !word & HIGH;
    let equal = |word: u64, byte: u8| zero(word ^ (ONES * u64::from(byte)));
    let mut at = 0;
    for chunk in bytes.as_chunks::<8>().0 {
        let word = u64::from_le_bytes(*chunk);
        let odd = (word & HIGH)
            | (word.wrapping_sub(ONES * 0x20) & !word & HIGH)
            | equal(word, b'"')
            | equal(word, b'\\')
            | equal(word, b'&')
            // `<` and `>` differ in one bit.
            | equal(word | (ONES * 2), b'>');
        if odd != 0 {
            // The lowest is true; those above it may be borrowed from.
            return at + odd.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    let rest = bytes[at..].iter().position(|byte| needs_escape(*byte));
    rest.map_or(bytes.len(), |rest| at + rest)
}

fn needs_escape(byte: u8) -> bool {
    !byte.is_ascii() || byte < 0x20 || matches!(byte, b'"' | b'\\' | b'<' | b'>' | b'&')
}

fn escape_byte(byte: u8, to: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    match byte {
        b'"' | b'\\' => to.extend_from_slice(&[b'\\', byte]),
        b'\n' => to.extend_from_slice(b"\\n"),
        b'\r' => to.extend_from_slice(b"\\r"),
        _ => {
            to.extend_from_slice(b"\\u00");
            to.push(DIGITS[usize::from(byte >> 4)]);
            to.push(DIGITS[usize::from(byte & 15)]);
        }
    }
}

/// The length of the UTF-8 character that `bytes` begin with.
fn character_length(bytes: &[u8]) -> Option<usize> {
    let length = match bytes[0] {
        0xc2..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xf4 => 4,
        _ => return None,
    };
    std::str::from_utf8(bytes.get(..length)?)
        .ok()
        .map(|_| length)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn characters_are_escaped_as_docker_does() {
        let mut to = Vec::new();
        escape("<a> & \"b\" \\ \t\u{7f}ä\u{2028}\r".as_bytes(), &mut to);
        escape(&[0xff, b'x', 0xe2, 0x80], &mut to);
        let expected =
            "\\u003ca\\u003e \\u0026 \\\"b\\\" \\\\ \\u0009\u{7f}ä\\u2028\\r\\ufffdx\\ufffd\\ufffd";
        assert_eq!(String::from_utf8(to).unwrap(), expected);
    }

    #[test]
    fn attributes_stand_where_docker_puts_them() {
        let attributes =
            [("a.b", "x \"y\""), ("q", "1")].map(|(key, value)| (key.to_owned(), value.to_owned()));
        let json = Json::new(&BTreeMap::from(attributes));
        let now = Moment {
            nanoseconds: 0,
            text: "T".to_owned(),
        };
        let entry = Entry {
            stderr: true,
            bytes: b"hi\n",
            part: None,
        };
        let mut to = Vec::new();
        json.append(entry, &now, &mut to);
        let expected =
            r#"{"log":"hi\n","stream":"stderr","attrs":{"a.b":"x \"y\"","q":"1"},"time":"T"}"#;
        assert_eq!(String::from_utf8(to).unwrap().trim_end(), expected);
    }

    proptest! {
        #[test]
        fn the_fast_look_finds_what_the_slow_one_finds(bytes: Vec<u8>, front in 0_usize..20) {
            let mut bytes = bytes;
            bytes.splice(0..0, std::iter::repeat_n(b'?', front));
            let slow = bytes.iter().position(|byte| needs_escape(*byte)).unwrap_or(bytes.len());
            prop_assert_eq!(plain_length(&bytes), slow);
        }

        #[test]
        fn escaped_text_is_json_for_the_same_text(text: String) {
            let mut to = b"\"".to_vec();
            escape(text.as_bytes(), &mut to);
            to.push(b'"');
            prop_assert_eq!(serde_json::from_slice::<String>(&to).unwrap(), text);
        }
    }
}
