//! Pax headers: records `length keyword=value`. Values may hold any byte, newlines too, so a record
//! ends where its length says.

use super::Error;
use super::sparse::{self, Segment};

const XATTR: &[u8] = b"SCHILY.xattr.";

/// The records that matter here.
#[derive(Debug, Default)]
pub(super) struct Pax {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<u64>,
    pub(super) gid: Option<u64>,
    pub(super) mtime: Option<(i64, u32)>,
    pub(super) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    pub(super) sparse: Option<Sparse>,
}

/// GNU's sparse files in pax archives, formats 0.0, 0.1 and 1.0.
#[derive(Debug, Default)]
pub(super) struct Sparse {
    pub(super) name: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    /// Format 1.0: the map is in the data.
    pub(super) in_data: bool,
    pub(super) segments: Vec<Segment>,
    /// Format 0.0: an offset whose length comes in the next record.
    offset: Option<u64>,
}

impl Pax {
    pub(super) fn parse(mut bytes: &[u8]) -> Result<Self, Error> {
        let mut pax = Self::default();
        while !bytes.is_empty() {
            // Some programs pad with NULs.
            if bytes.iter().all(|byte| *byte == 0) {
                break;
            }
            let (keyword, value, rest) = record(bytes).ok_or(malformed())?;
            pax.apply(keyword, value)?;
            bytes = rest;
        }
        Ok(pax)
    }

    fn apply(&mut self, keyword: &[u8], value: &[u8]) -> Result<(), Error> {
        if let Some(name) = keyword.strip_prefix(XATTR) {
            self.xattrs.push((name.to_vec(), value.to_vec()));
            return Ok(());
        }
        if let Some(keyword) = keyword.strip_prefix(b"GNU.sparse.") {
            return self.sparse.get_or_insert_default().apply(keyword, value);
        }
        // An empty value takes an earlier one back.
        let value = Some(value).filter(|value| !value.is_empty());
        match keyword {
            b"path" => self.path = value.map(name).transpose()?,
            b"linkpath" => self.link = value.map(name).transpose()?,
            b"size" => self.size = value.map(number).transpose()?,
            b"uid" => self.uid = value.map(number).transpose()?,
            b"gid" => self.gid = value.map(number).transpose()?,
            b"mtime" => self.mtime = value.map(time).transpose()?,
            _ => {}
        }
        Ok(())
    }
}

impl Sparse {
    fn apply(&mut self, keyword: &[u8], value: &[u8]) -> Result<(), Error> {
        match keyword {
            b"major" => self.in_data = number(value)? >= 1,
            b"name" => self.name = Some(name(value)?),
            b"size" | b"realsize" => self.size = Some(number(value)?),
            b"map" => {
                let mut numbers = value.split(|byte| *byte == b',').map(number);
                while let Some(offset) = numbers.next() {
                    let length = numbers.next().ok_or(malformed())??;
                    sparse::push(&mut self.segments, offset?, length)?;
                }
            }
            b"offset" => self.offset = Some(number(value)?),
            b"numbytes" => {
                let offset = self.offset.take().ok_or(malformed())?;
                sparse::push(&mut self.segments, offset, number(value)?)?;
            }
            _ => {}
        }
        Ok(())
    }
}

/// The first record: keyword, value, and what follows it.
fn record(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = bytes.iter().take(20).position(|byte| *byte == b' ')?;
    let length = usize::try_from(digits(&bytes[..space])?).ok()?;
    if length <= space + 1 || length > bytes.len() {
        return None;
    }
    let (record, rest) = bytes.split_at(length);
    let (newline, text) = record[space + 1..].split_last()?;
    let equals = text.iter().position(|byte| *byte == b'=')?;
    (*newline == b'\n' && equals > 0).then(|| (&text[..equals], &text[equals + 1..], rest))
}

fn malformed() -> Error {
    Error::Header("a malformed pax record")
}

/// Decimal digits and nothing else.
pub(super) fn digits(text: &[u8]) -> Option<u64> {
    if text.is_empty() || !text.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn number(text: &[u8]) -> Result<u64, Error> {
    // Lengths and offsets are signed for the kernel.
    digits(text)
        .filter(|number| i64::try_from(*number).is_ok())
        .ok_or(Error::Header("a pax record that is not a number"))
}

fn name(text: &[u8]) -> Result<Vec<u8>, Error> {
    if text.contains(&0) {
        return Err(Error::Header("a name with a NUL in it"));
    }
    Ok(text.to_vec())
}

/// Seconds since 1970 with a fraction, of which nanoseconds are kept.
fn time(text: &[u8]) -> Result<(i64, u32), Error> {
    let malformed = || Error::Header("a pax record that is not a time");
    let (negative, text) = match text.strip_prefix(b"-") {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let mut parts = text.splitn(2, |byte| *byte == b'.');
    let seconds = digits(parts.next().unwrap_or_default()).ok_or_else(malformed)?;
    let seconds = i64::try_from(seconds).map_err(|_| malformed())?;
    let fraction = parts.next().unwrap_or_default();
    if !fraction.iter().all(u8::is_ascii_digit) {
        return Err(malformed());
    }
    let mut nanoseconds = 0;
    for index in 0..9 {
        let digit = fraction.get(index).map_or(0, |byte| byte - b'0');
        nanoseconds = nanoseconds * 10 + u32::from(digit);
    }
    Ok(match (negative, nanoseconds) {
        (false, _) => (seconds, nanoseconds),
        (true, 0) => (-seconds, 0),
        // Nanoseconds count forwards, also before 1970.
        (true, _) => (-seconds - 1, 1_000_000_000 - nanoseconds),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_hold_any_byte() {
        let pax = Pax::parse(b"31 SCHILY.xattr.user.a=\x00\n9 b=c\n").unwrap();
        assert_eq!(pax.xattrs, [(b"user.a".to_vec(), b"\x00\n9 b=c".to_vec())]);
    }

    #[test]
    fn times_have_nanoseconds() {
        assert_eq!(time(b"1.5").unwrap(), (1, 500_000_000));
        assert_eq!(time(b"-1.25").unwrap(), (-2, 750_000_000));
        assert_eq!(time(b"12.1234567891").unwrap(), (12, 123_456_789));
        assert!(time(b"1.5x").is_err());
        assert!(time(b"").is_err());
    }

    #[test]
    fn malformed_records_are_refused() {
        for bad in [
            &b"5 a=b"[..],
            b"100 a=b\n",
            b"6 a=b\n6",
            b"0 a=b\n",
            b"x a=b\n",
            b"18446744073709551617 a=b\n",
            b"6 =ab\n",
            b"12 size=-1\n\n",
            b"13 path=a\0b\n",
        ] {
            assert!(Pax::parse(bad).is_err(), "{}", bad.escape_ascii());
        }
    }
}
