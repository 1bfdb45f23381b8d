//! The first line a client sends, made fit for hyper.
//!
//! `curl 'http://d/events?filters={"type":["container"]}'` sends the quotes as they are. Go's server
//! takes them, `http::Uri` does not, and hyper then answers 400 before anybody else sees the request.
//! Only the first request of a connection can be helped here, because only that is known to begin
//! where the bytes begin; the programs that leave quotes bare make one request per connection.

use bytes::{Buf, Bytes};
use std::fmt::Write;

/// The longest line that is looked at; hyper's own limit is higher and refuses the rest.
const MAX_LINE: usize = 64 * 1024;

/// Escapes the first line of what goes through it.
#[derive(Debug)]
pub(crate) enum FirstLine {
    /// No line end so far.
    Collecting(Vec<u8>),
    /// The line, escaped, and what came with it.
    Ready(Bytes),
    /// All is passed on.
    Done,
}

impl FirstLine {
    /// Before the first byte.
    pub(crate) fn new() -> Self {
        Self::Collecting(Vec::new())
    }

    /// Takes the next bytes. Returns whether more are needed before there is anything to pass on.
    pub(crate) fn feed(&mut self, bytes: &[u8]) -> bool {
        let Self::Collecting(line) = self else {
            return false;
        };
        line.extend_from_slice(bytes);
        let Some(end) = line.iter().position(|byte| *byte == b'\n') else {
            if line.len() < MAX_LINE && !bytes.is_empty() {
                return true;
            }
            *self = Self::Ready(Bytes::from(std::mem::take(line)));
            return false;
        };
        let rest = line.split_off(end);
        let mut escaped = escape(line);
        escaped.extend_from_slice(&rest);
        *self = Self::Ready(Bytes::from(escaped));
        false
    }

    /// Gives out at most `limit` of the bytes that are ready.
    pub(crate) fn take(&mut self, limit: usize) -> Option<Bytes> {
        let Self::Ready(bytes) = self else {
            return None;
        };
        let piece = bytes.copy_to_bytes(limit.min(bytes.len()));
        if bytes.is_empty() {
            *self = Self::Done;
        }
        Some(piece)
    }
}

/// Writes the characters that `http::Uri` refuses, and Go's parser does not, as `%XX`.
fn escape(line: &[u8]) -> Vec<u8> {
    let mut escaped = String::new();
    let mut out = Vec::with_capacity(line.len());
    for &byte in line {
        if matches!(
            byte,
            b'"' | b'<' | b'>' | b'`' | b'{' | b'}' | b'|' | b'\\' | b'^'
        ) {
            escaped.clear();
            // Writing to a String cannot fail.
            let _ = write!(escaped, "%{byte:02X}");
            out.extend_from_slice(escaped.as_bytes());
        } else {
            out.push(byte);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn through(pieces: &[&[u8]]) -> Vec<u8> {
        let mut line = FirstLine::new();
        let mut out = Vec::new();
        for piece in pieces {
            if matches!(line, FirstLine::Done) {
                out.extend_from_slice(piece);
                continue;
            }
            line.feed(piece);
            while let Some(bytes) = line.take(5) {
                out.extend_from_slice(&bytes);
            }
        }
        out
    }

    #[test]
    fn bare_quotes_are_escaped_in_the_first_line_only() {
        let whole = through(&[b"GET /events?filters={\"a\":1} HTTP/1.1\r\nX: \"\r\n\r\n"]);
        assert_eq!(
            whole,
            b"GET /events?filters=%7B%22a%22:1%7D HTTP/1.1\r\nX: \"\r\n\r\n"
        );
        let pieces = through(&[b"GET /", b"a?\"", b" HTTP/1.1\r\n", b"\"\r\n"]);
        assert_eq!(pieces, b"GET /a?%22 HTTP/1.1\r\n\"\r\n");
    }

    #[test]
    fn an_early_end_loses_nothing() {
        let mut line = FirstLine::new();
        assert!(line.feed(b"GET"));
        assert!(!line.feed(b""));
        assert_eq!(line.take(100).as_deref(), Some(&b"GET"[..]));
        assert!(matches!(line, FirstLine::Done));
    }

    proptest::proptest! {
        #[test]
        fn everything_comes_through(pieces in proptest::collection::vec("[a-z\n]{1,4}", 0..8)) {
            let all: String = pieces.concat();
            let mut pieces: Vec<&[u8]> = pieces.iter().map(|piece| piece.as_bytes()).collect();
            pieces.push(b"");
            assert_eq!(through(&pieces), all.as_bytes());
        }
    }
}
