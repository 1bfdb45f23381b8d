//! Entries of log files, decoded. Files are the shim's, but a container's owner may write to them, and so may
//! Docker have: what cannot be read is passed over.

use super::LogLine;
use hull_logger::fields::{Value, field};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::collections::BTreeMap;

/// The longest entry that is read: 16 KiB of output, each byte escaped as six, and the rest.
pub(super) const MAX_ENTRY: usize = 256 << 10;

/// How a log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Format {
    /// Docker's `json-file`.
    Json,
    /// Docker's `local`; the shim's `log/local.rs` draws it.
    Local,
}

/// When a line was written, read only when somebody asks.
#[derive(Clone, Copy, Debug)]
pub(super) enum Time<'a> {
    Text(&'a str),
    Known(Timestamp),
}

impl Time<'_> {
    pub(super) fn read(&self) -> Option<Timestamp> {
        match self {
            Self::Text(text) => text.parse().ok(),
            Self::Known(at) => Some(*at),
        }
    }
}

/// What is at the beginning of some bytes.
#[derive(Debug)]
pub(super) enum Found<'a> {
    /// A line, in so many bytes.
    Line(usize, LogLine<'a>),
    /// So many bytes that are no entry.
    Nothing(usize),
    /// A part of an entry, or no bytes.
    More,
}

/// Decodes entries one by one.
#[derive(Debug)]
pub(super) struct Decoder {
    format: Format,
    line: Vec<u8>,
    /// What was last between stream and time, with its key, and what it says: it is the same in all entries
    /// of a run.
    attributes: (Vec<u8>, Vec<(String, String)>),
}

/// An entry in any form that JSON allows.
#[derive(Deserialize)]
struct Slow<'a> {
    #[serde(default)]
    log: String,
    #[serde(default)]
    stream: String,
    time: Timestamp,
    #[serde(borrow)]
    attrs: Option<&'a RawValue>,
}

impl Decoder {
    pub(super) fn new(format: Format) -> Self {
        Self {
            format,
            line: Vec::new(),
            attributes: (Vec::new(), Vec::new()),
        }
    }

    /// Takes the first entry of `bytes`.
    pub(super) fn next<'a>(&'a mut self, bytes: &'a [u8]) -> Found<'a> {
        match self.format {
            Format::Json => self.next_json(bytes),
            Format::Local => self.next_local(bytes),
        }
    }

    fn next_json<'a>(&'a mut self, bytes: &'a [u8]) -> Found<'a> {
        let Some(end) = memchr::memchr(b'\n', bytes) else {
            return match bytes.len() {
                length if length >= MAX_ENTRY => Found::Nothing(length),
                _ => Found::More,
            };
        };
        let entry = &bytes[..end];
        let (stderr, at) = match self.usual(entry) {
            Some((stderr, at)) => (stderr, Time::Text(at)),
            None => match self.unusual(entry) {
                Some((stderr, at)) => (stderr, Time::Known(at)),
                None => return Found::Nothing(end + 1),
            },
        };
        let line = LogLine {
            stderr,
            line: &self.line,
            attributes: &self.attributes.1,
            at,
        };
        Found::Line(end + 1, line)
    }

    /// The form in which shims and dockerd write, in their order and without blanks.
    fn usual<'a>(&mut self, entry: &'a [u8]) -> Option<(bool, &'a str)> {
        let mut rest = entry.strip_prefix(b"{\"log\":\"")?;
        self.line.clear();
        loop {
            let at = memchr::memchr2(b'"', b'\\', rest)?;
            self.line.extend_from_slice(&rest[..at]);
            let escaped = rest[at] == b'\\';
            rest = &rest[at + 1..];
            if !escaped {
                break;
            }
            rest = unescape(rest, &mut self.line)?;
        }
        let rest = rest.strip_prefix(b",\"stream\":\"std")?;
        let (stderr, rest) = match rest.strip_prefix(b"out\"") {
            Some(rest) => (false, rest),
            None => (true, rest.strip_prefix(b"err\"")?),
        };
        let rest = match rest.strip_prefix(b",\"time\":\"") {
            Some(rest) => {
                self.attributes.0.clear();
                self.attributes.1.clear();
                rest
            }
            None if self.attributes.0.is_empty() => return None,
            None => rest
                .strip_prefix(self.attributes.0.as_slice())?
                .strip_prefix(b",\"time\":\"")?,
        };
        let time = rest.strip_suffix(b"\"}")?;
        Some((stderr, std::str::from_utf8(time).ok()?))
    }

    fn unusual(&mut self, entry: &[u8]) -> Option<(bool, Timestamp)> {
        let slow: Slow<'_> = serde_json::from_slice(entry).ok()?;
        self.attributes.0.clear();
        self.attributes.1.clear();
        if let Some(raw) = slow.attrs
            && let Ok(attributes) = serde_json::from_str::<BTreeMap<String, String>>(raw.get())
        {
            self.attributes.0.extend_from_slice(b",\"attrs\":");
            self.attributes.0.extend_from_slice(raw.get().as_bytes());
            self.attributes.1.extend(attributes);
        }
        self.line = slow.log.into_bytes();
        Some((slow.stream == "stderr", slow.time))
    }

    fn next_local<'a>(&'a mut self, bytes: &'a [u8]) -> Found<'a> {
        let Some(length) = bytes.first_chunk::<4>() else {
            return Found::More;
        };
        let length = u32::from_be_bytes(*length) as usize;
        if length > MAX_ENTRY {
            // Nothing says where the next one begins.
            return Found::Nothing(bytes.len());
        }
        let Some(entry) = bytes.get(4..4 + length) else {
            return Found::More;
        };
        if bytes.len() < length + 8 {
            return Found::More;
        }
        let Some(Local {
            stderr,
            nanoseconds,
            line,
            open,
        }) = Local::read(entry)
        else {
            return Found::Nothing(length + 8);
        };
        self.line.clear();
        self.line.extend_from_slice(line);
        if !open {
            self.line.push(b'\n');
        }
        let at = Timestamp::from_nanosecond(nanoseconds.into()).unwrap_or(Timestamp::UNIX_EPOCH);
        let line = LogLine {
            stderr,
            line: &self.line,
            attributes: &[],
            at: Time::Known(at),
        };
        Found::Line(length + 8, line)
    }
}

/// Writes what an escape behind a backslash stands for, gives what comes after it.
fn unescape<'a>(rest: &'a [u8], to: &mut Vec<u8>) -> Option<&'a [u8]> {
    let (kind, rest) = rest.split_first()?;
    to.push(match kind {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 8,
        b'f' => 12,
        b'"' | b'\\' | b'/' => *kind,
        b'u' => {
            let (digits, rest) = rest.split_first_chunk::<4>()?;
            let text = std::str::from_utf8(digits).ok()?;
            // Halves of a pair are no characters: the slow way knows about those.
            let character = char::from_u32(u32::from_str_radix(text, 16).ok()?)?;
            to.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
            return Some(rest);
        }
        _ => return None,
    });
    Some(rest)
}

/// An entry of the `local` format.
#[derive(Debug, Default, PartialEq, Eq)]
struct Local<'a> {
    stderr: bool,
    nanoseconds: i64,
    line: &'a [u8],
    /// A part of a line that goes on.
    open: bool,
}

impl<'a> Local<'a> {
    fn read(mut bytes: &'a [u8]) -> Option<Self> {
        let mut entry = Self::default();
        let mut last = false;
        while !bytes.is_empty() {
            match field(&mut bytes)? {
                (1, Value::Bytes(source)) => entry.stderr = source == b"stderr",
                (2, Value::Number(time)) => entry.nanoseconds = i64::try_from(time).ok()?,
                (3, Value::Bytes(line)) => entry.line = line,
                (4, Value::Number(partial)) => entry.open = partial != 0,
                (5, Value::Bytes(mut about)) => {
                    while !about.is_empty() {
                        if let (1, Value::Number(value)) = field(&mut about)? {
                            last = value != 0;
                        }
                    }
                }
                _ => {}
            }
        }
        entry.open &= !last;
        Some(entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decode(format: Format, bytes: &[u8]) -> Vec<(bool, String, String, usize)> {
        let mut decoder = Decoder::new(format);
        let (mut at, mut lines) = (0, Vec::new());
        loop {
            match decoder.next(&bytes[at..]) {
                Found::More => return lines,
                Found::Nothing(length) => at += length,
                Found::Line(length, line) => {
                    let text = String::from_utf8_lossy(line.line).into_owned();
                    let time = line.at().to_string();
                    lines.push((line.stderr, text, time, line.attributes.len()));
                    at += length;
                }
            }
        }
    }

    #[test]
    fn both_ways_of_writing_json_are_read() {
        let text = concat!(
            r#"{"log":"a \u003c\"\u00e4\n","stream":"stdout","time":"2026-01-01T00:00:01.5Z"}"#,
            "\n",
            r#"{ "stream": "stderr", "time": "2026-01-01T00:00:02Z", "log": "b\ud83d\ude00" }"#,
            "\nnonsense\n",
            r#"{"log":"c","stream":"stderr","attrs":{"k":"v","l":"w"},"time":"2026-01-01T00:00:03Z"}"#,
            "\n",
            r#"{"log":"d","stream":"stderr","attrs":{"k":"v","l":"w"},"time":"2026-01-01T00:00:04Z"}"#,
            "\n",
            r#"{"log":"e","stream":"stderr","time":"2026-01-01T00:00:05Z"}"#,
            "\n",
            r#"{"log":"half","#,
        );
        let found = decode(Format::Json, text.as_bytes());
        let expected = [
            (false, "a <\"ä\n", "2026-01-01T00:00:01.5Z", 0),
            (true, "b😀", "2026-01-01T00:00:02Z", 0),
            (true, "c", "2026-01-01T00:00:03Z", 2),
            (true, "d", "2026-01-01T00:00:04Z", 2),
            (true, "e", "2026-01-01T00:00:05Z", 0),
        ];
        let expected = expected.map(|(stderr, text, time, attributes)| {
            (stderr, text.to_owned(), time.to_owned(), attributes)
        });
        assert_eq!(found, expected);
    }

    #[test]
    fn dockers_local_entries_are_read() {
        let mut bytes =
            b"\0\0\0\x14\x0a\x06stdout\x10\x80\x94\xeb\xdc\x03\x1a\x04line\0\0\0\x14".to_vec();
        // As dockerd writes the last piece of output without an end of line.
        bytes.extend_from_slice(
            b"\0\0\0\x1d\x0a\x06stderr\x10\x80\x94\xeb\xdc\x03\x1a\x04part\x20\x01\x2a\x05\x12\x01f\x18\x01\0\0\0\x1d",
        );
        let found = decode(Format::Local, &bytes);
        let at = "1970-01-01T00:00:01Z".to_owned();
        assert_eq!(found[0], (false, "line\n".to_owned(), at.clone(), 0));
        assert_eq!(found[1], (true, "part".to_owned(), at, 0));
    }

    proptest! {
        #[test]
        fn foreign_bytes_do_no_harm(bytes: Vec<u8>, json in "[{\"log:a\\\\u0,tim}]{0,60}\n") {
            decode(Format::Local, &bytes);
            decode(Format::Json, &bytes);
            decode(Format::Json, json.as_bytes());
            let mut framed = u32::try_from(bytes.len()).unwrap().to_be_bytes().to_vec();
            framed.extend_from_slice(&bytes);
            framed.extend_from_slice(&[0; 4]);
            decode(Format::Local, &framed);
        }
    }
}
