//! The file of a history.

use super::{HOST_NAMES, Known, NAMES, Record, Row, Rows, short};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

const MAGIC: &[u8] = b"hull history 1\n";
/// The longest frame: a row with as many containers as one may have.
const MAX_FRAME: usize = 64 << 10;
/// What of a file is read at most: what is in memory takes less.
const MAX_FILE: u64 = 32 << 20;
/// A file that is shorter is left as it is, bytes.
const SHORT: u64 = 64 << 10;

/// An open file.
#[derive(Debug)]
pub(super) struct File {
    path: PathBuf,
    file: std::fs::File,
    /// Bytes.
    length: u64,
    /// The end of it is not known to be whole.
    broken: bool,
}

impl File {
    /// Opens the file, and reads what is in it.
    pub(super) fn open(path: &Path) -> io::Result<(Self, Rows)> {
        let told =
            |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
        let mut options = std::fs::OpenOptions::new();
        options
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600);
        let mut file = options.open(path).map_err(told)?;
        let mut bytes = Vec::new();
        (&mut file)
            .take(MAX_FILE)
            .read_to_end(&mut bytes)
            .map_err(told)?;
        let (rows, whole) = read(&bytes);
        let mut opened = Self {
            path: path.to_owned(),
            file,
            length: whole as u64,
            broken: false,
        };
        if whole == 0 {
            opened.rewrite(&rows).map_err(told)?;
        } else {
            opened.file.set_len(opened.length).map_err(told)?;
            opened.file.seek(io::SeekFrom::End(0)).map_err(told)?;
        }
        Ok((opened, rows))
    }

    /// Writes the last row, and before it the names of what is new in it.
    pub(super) fn append(&mut self, rows: &Rows, named: &[u32]) -> io::Result<()> {
        let needed = needed(rows);
        if self.broken || self.length > SHORT.max(2 * needed) {
            return self.rewrite(rows);
        }
        let mut bytes = Vec::new();
        for key in named {
            if let Some(known) = rows.known.get(key) {
                frame(&mut bytes, &name(*key, known));
            }
        }
        if let Some(last) = rows.rows.back() {
            frame(&mut bytes, &row(last));
        }
        let written = self.file.write_all(&bytes);
        self.broken = written.is_err();
        self.length += bytes.len() as u64;
        written
    }

    /// Writes all rows to a new file, which takes the old one's place.
    fn rewrite(&mut self, rows: &Rows) -> io::Result<()> {
        let mut bytes = MAGIC.to_vec();
        for (key, known) in &rows.known {
            frame(&mut bytes, &name(*key, known));
        }
        for one in &rows.rows {
            frame(&mut bytes, &row(one));
        }
        let new = self.path.with_extension("new");
        let mut options = std::fs::OpenOptions::new();
        options
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600);
        let mut file = options.open(&new)?;
        file.write_all(&bytes)?;
        fs_err::rename(&new, &self.path)?;
        (self.file, self.length, self.broken) = (file, bytes.len() as u64, false);
        Ok(())
    }
}

/// Bytes that the rows take in a file.
fn needed(rows: &Rows) -> u64 {
    let names: usize = rows
        .known
        .values()
        .map(|known| 15 + known.id.len() + known.name.len())
        .sum();
    let each = 8 + 9 + 2 * HOST_NAMES.len();
    let records = rows.records * (4 + 2 * NAMES.len());
    (MAGIC.len() + names + rows.rows.len() * each + records) as u64
}

/// FNV-1a: it is to find what was cut off, not what was forged.
fn checksum(bytes: &[u8]) -> u32 {
    bytes.iter().fold(0x811c_9dc5, |sum, byte| {
        (sum ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    })
}

fn frame(out: &mut Vec<u8>, payload: &[u8]) {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&checksum(payload).to_le_bytes());
    out.extend_from_slice(payload);
}

fn name(key: u32, known: &Known) -> Vec<u8> {
    let id = known.id.as_bytes();
    let mut bytes = vec![b'N'];
    bytes.extend_from_slice(&key.to_le_bytes());
    bytes.extend_from_slice(&u16::try_from(id.len()).unwrap_or(u16::MAX).to_le_bytes());
    bytes.extend_from_slice(id);
    bytes.extend(known.name.bytes());
    bytes
}

fn row(row: &Row) -> Vec<u8> {
    let mut bytes = vec![b'S'];
    bytes.extend_from_slice(&row.at.to_le_bytes());
    bytes.extend(row.host.iter().flat_map(|number| number.to_le_bytes()));
    for record in &row.records {
        bytes.extend_from_slice(&record.key.to_le_bytes());
        bytes.extend(
            record
                .numbers
                .iter()
                .flat_map(|number| number.to_le_bytes()),
        );
    }
    bytes
}

/// What is in the bytes of a file, and how many of them are whole; 0 for another file.
pub(super) fn read(bytes: &[u8]) -> (Rows, usize) {
    let mut rows = Rows::default();
    let Some(mut rest) = bytes.strip_prefix(MAGIC) else {
        return (rows, 0);
    };
    loop {
        let whole = bytes.len() - rest.len();
        let Some((payload, behind)) = next(rest) else {
            return (rows, whole);
        };
        if take(&mut rows, payload).is_none() {
            return (rows, whole);
        }
        rest = behind;
    }
}

/// The payload of the first frame, and what is behind it.
fn next(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    let (sum, rest) = rest.split_first_chunk()?;
    let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
    if length > MAX_FRAME {
        return None;
    }
    let (payload, rest) = rest.split_at_checked(length)?;
    (checksum(payload) == u32::from_le_bytes(*sum)).then_some((payload, rest))
}

/// Puts what a payload says into `rows`; `None` if it says nothing that could be.
fn take(rows: &mut Rows, payload: &[u8]) -> Option<()> {
    match payload.split_first()? {
        (b'N', rest) => {
            let (key, rest) = rest.split_first_chunk()?;
            let (length, rest) = rest.split_first_chunk()?;
            let (id, name) = rest.split_at_checked(u16::from_le_bytes(*length).into())?;
            let (id, name) = (str::from_utf8(id).ok()?, str::from_utf8(name).ok()?);
            rows.name(u32::from_le_bytes(*key), short(id), short(name));
        }
        (b'S', rest) => {
            let (at, rest) = rest.split_first_chunk()?;
            let at = u64::from_le_bytes(*at);
            let (host, rest) = rest.split_at_checked(2 * HOST_NAMES.len())?;
            let records = rest.chunks_exact(4 + 2 * NAMES.len());
            if !records.remainder().is_empty() {
                return None;
            }
            let records = records.map(record).collect::<Option<Vec<Record>>>()?;
            let known = records
                .iter()
                .all(|record| rows.known.contains_key(&record.key));
            if !known {
                return None;
            }
            // The clock was set back there.
            while rows.rows.back().is_some_and(|last| last.at >= at) {
                let last = rows.rows.pop_back();
                rows.forget(last);
            }
            rows.put(Row {
                at,
                host: numbers(host)?,
                records: records.into(),
            });
        }
        _ => return None,
    }
    Some(())
}

fn record(bytes: &[u8]) -> Option<Record> {
    let (key, rest) = bytes.split_first_chunk()?;
    Some(Record {
        key: u32::from_le_bytes(*key),
        numbers: numbers(rest)?,
    })
}

fn numbers<const N: usize>(bytes: &[u8]) -> Option<[u16; N]> {
    let (pairs, _) = bytes.as_chunks();
    let all: Vec<u16> = pairs.iter().map(|pair| u16::from_le_bytes(*pair)).collect();
    all.try_into().ok()
}
