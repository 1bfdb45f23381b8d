//! As much of HTTP/1.1 as Splunk's collector needs: one request at a time, answers that are short.

use crate::connect::Connection;
use std::io::{self, BufRead, BufReader, Read};

/// The most bytes of an answer's head.
const LONGEST_HEAD: u64 = 64 << 10;
/// The most bytes of an answer that are kept.
const LONGEST_BODY: u64 = 64 << 10;

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// As Go tells it: `400 Bad Request`.
    pub(crate) shown: String,
    /// Its beginning.
    pub(crate) body: Vec<u8>,
    /// The connection takes another request.
    pub(crate) stays: bool,
}

/// Sends a request and reads what is answered.
///
/// # Errors
/// What writing and reading give; `InvalidData` for what is no answer.
pub(crate) fn ask(connection: &mut Connection, head: &[String], body: &[u8]) -> io::Result<Answer> {
    let mut bytes = head.join("\r\n").into_bytes();
    bytes.extend_from_slice(format!("\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes());
    bytes.extend_from_slice(body);
    connection.write_all(&bytes)?;
    read_answer(connection)
}

fn wrong(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why.to_owned())
}

/// Reads an answer.
///
/// # Errors
/// As [`ask`].
pub(crate) fn read_answer(from: &mut impl Read) -> io::Result<Answer> {
    let mut from = BufReader::new(from);
    loop {
        let answer = read_one(&mut from)?;
        // 1xx are no answers yet.
        if answer.status / 100 != 1 {
            return Ok(answer);
        }
    }
}

fn read_one(from: &mut impl BufRead) -> io::Result<Answer> {
    let mut head = from.by_ref().take(LONGEST_HEAD);
    let first = line(&mut head)?;
    let mut words = first.splitn(2, ' ');
    let version = words.next().unwrap_or_default();
    let shown = words.next().unwrap_or_default().trim().to_owned();
    let status = shown.split(' ').next().and_then(|code| code.parse().ok());
    let status = status.filter(|_| version.starts_with("HTTP/1."));
    let status: u16 = status.ok_or_else(|| wrong("malformed HTTP response"))?;
    let (mut length, mut chunked, mut stays) = (None, false, version == "HTTP/1.1");
    loop {
        let header = line(&mut head)?;
        if header.is_empty() {
            break;
        }
        let (name, value) = header
            .split_once(':')
            .ok_or_else(|| wrong("malformed HTTP header"))?;
        let value = value.trim();
        match name.to_ascii_lowercase().as_str() {
            "content-length" => {
                length = Some(
                    value
                        .parse::<u64>()
                        .map_err(|_| wrong("bad Content-Length"))?,
                );
            }
            "transfer-encoding" => chunked = value.eq_ignore_ascii_case("chunked"),
            "connection" if value.eq_ignore_ascii_case("close") => stays = false,
            _ => {}
        }
    }
    let body = match (status, chunked, length) {
        (100..=199 | 204 | 304, ..) => Vec::new(),
        (_, true, _) => chunks(from)?,
        (_, false, Some(length)) => counted(from, length)?,
        (_, false, None) => {
            stays = false;
            let mut body = Vec::new();
            from.take(LONGEST_BODY).read_to_end(&mut body)?;
            body
        }
    };
    Ok(Answer {
        status,
        shown,
        body,
        stays,
    })
}

fn line(from: &mut impl BufRead) -> io::Result<String> {
    let mut bytes = Vec::new();
    from.read_until(b'\n', &mut bytes)?;
    if bytes.pop() != Some(b'\n') {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    if bytes.last() == Some(&b'\r') {
        bytes.pop();
    }
    String::from_utf8(bytes).map_err(|_| wrong("malformed HTTP response"))
}

fn counted(from: &mut impl Read, length: u64) -> io::Result<Vec<u8>> {
    // A server of log lines has nothing to say at length.
    if length > LONGEST_BODY {
        return Err(wrong("the answer is too long"));
    }
    let mut body = Vec::new();
    if from.take(length).read_to_end(&mut body)? as u64 != length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(body)
}

fn chunks(from: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    let mut left = LONGEST_BODY;
    loop {
        let size = line(&mut from.by_ref().take(1024))?;
        let size = size.split(';').next().unwrap_or_default().trim();
        let size = u64::from_str_radix(size, 16).map_err(|_| wrong("malformed chunk"))?;
        left = left
            .checked_sub(size.max(1))
            .ok_or_else(|| wrong("the answer is too long"))?;
        if size == 0 {
            while !line(&mut from.by_ref().take(1024))?.is_empty() {
                left = left
                    .checked_sub(1)
                    .ok_or_else(|| wrong("the answer is too long"))?;
            }
            return Ok(body);
        }
        body.extend_from_slice(&counted(from, size)?);
        if !line(&mut from.by_ref().take(2))?.is_empty() {
            return Err(wrong("malformed chunk"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(text: &str) -> io::Result<Answer> {
        read_answer(&mut text.as_bytes())
    }

    #[test]
    fn answers_are_read() {
        let fine = read("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi").unwrap();
        assert_eq!(
            (
                fine.status,
                fine.shown.as_str(),
                fine.body.as_slice(),
                fine.stays
            ),
            (200, "200 OK", &b"hi"[..], true)
        );
        let chunked = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 400 Bad Request\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n\
            2\r\nhi\r\n1;x=y\r\n!\r\n0\r\n\r\n";
        let chunked = read(chunked).unwrap();
        assert_eq!(
            (chunked.status, chunked.body.as_slice(), chunked.stays),
            (400, &b"hi!"[..], false)
        );
        assert!(!read("HTTP/1.0 200 OK\r\n\r\nall").unwrap().stays);
        for wrong in [
            "",
            "HTTP/1.1",
            "HTTP/1.1 x\r\n\r\n",
            "SSH-2.0\r\n",
            "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n",
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn foreign_bytes_never_panic(bytes: Vec<u8>) {
            crate::fuzz::answers(&bytes);
            let framed = [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", &bytes[..]].concat();
            let _ = read_answer(&mut &framed[..]);
        }
    }
}
