//! Tar headers, byte for byte as Go's `archive/tar` writes them when it is asked for the pax format:
//! ustar where everything fits, an extended header in front where something does not.

use std::collections::BTreeMap;
use std::io::{self, Write};

const BLOCK: usize = 512;
const ZEROS: [u8; 4096] = [0; 4096];
const NAME: usize = 100;
const PREFIX: usize = 155;
/// The largest numbers of the header's fields: seven and eleven octal digits.
const SMALL: u64 = 0o777_7777;
const LARGE: u64 = 0o777_7777_7777;

/// Keywords or names, and values.
pub(crate) type Records = BTreeMap<Vec<u8>, Vec<u8>>;

/// What an entry is, as its header spells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Type {
    File = b'0',
    Link = b'1',
    Symlink = b'2',
    Character = b'3',
    Block = b'4',
    Directory = b'5',
    Fifo = b'6',
}

/// An entry's header.
#[derive(Clone, Debug)]
pub(crate) struct Header {
    pub(crate) kind: Type,
    /// A directory's ends with a slash.
    pub(crate) path: Vec<u8>,
    pub(crate) link: Vec<u8>,
    /// Permissions, set-id and sticky bits.
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) size: u64,
    /// Seconds since 1970.
    pub(crate) mtime: i64,
    /// Major and minor.
    pub(crate) device: (u32, u32),
    pub(crate) xattrs: Records,
}

impl Header {
    /// A root-owned file's header: for entries that are made up.
    pub(crate) fn new(kind: Type, path: impl Into<Vec<u8>>, mode: u32, size: u64) -> Self {
        Self {
            kind,
            path: path.into(),
            link: Vec::new(),
            mode,
            uid: 0,
            gid: 0,
            size,
            mtime: 0,
            device: (0, 0),
            xattrs: BTreeMap::new(),
        }
    }

    /// What does not fit into a ustar header, and whether the path does when it is split.
    fn records(&self) -> (Records, Option<usize>) {
        let mut records = BTreeMap::new();
        let mut split = None;
        if !self.path.is_ascii() || self.path.len() > NAME {
            split = split_at(&self.path);
            if split.is_none() {
                records.insert(b"path".to_vec(), self.path.clone());
            }
        }
        if !self.link.is_ascii() || self.link.len() > NAME {
            records.insert(b"linkpath".to_vec(), self.link.clone());
        }
        let mut number = |key: &[u8], value: u64, limit: u64| {
            if value > limit {
                records.insert(key.to_vec(), value.to_string().into_bytes());
            }
        };
        number(b"uid", self.uid.into(), SMALL);
        number(b"gid", self.gid.into(), SMALL);
        number(b"size", self.size, LARGE);
        if u64::try_from(self.mtime).map_or(true, |mtime| mtime > LARGE) {
            records.insert(b"mtime".to_vec(), self.mtime.to_string().into_bytes());
        }
        for (name, value) in &self.xattrs {
            let mut key = b"SCHILY.xattr.".to_vec();
            key.extend_from_slice(name);
            records.insert(key, value.clone());
        }
        // Beside an extended header the path is not split: it is in there as a whole.
        if !records.is_empty() && split.take().is_some() {
            records.insert(b"path".to_vec(), self.path.clone());
        }
        (records, split)
    }

    /// The header's blocks.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let (records, split) = self.records();
        let mut bytes = Vec::with_capacity(BLOCK);
        if !records.is_empty() {
            let data: Vec<u8> = records.iter().flat_map(|(k, v)| record(k, v)).collect();
            let mut extended = Self::new(Type::File, extension_name(&self.path), 0, 0);
            extended.size = data.len() as u64;
            bytes.extend(extended.block(b'x', None));
            // Go leaves the device fields of an extended header empty; the checksum with them.
            blank_devices(&mut bytes);
            bytes.extend(&data);
            bytes.resize(bytes.len().next_multiple_of(BLOCK), 0);
        }
        bytes.extend(self.block(self.kind as u8, split));
        bytes
    }

    fn block(&self, kind: u8, split: Option<usize>) -> [u8; BLOCK] {
        let mut block = [0; BLOCK];
        let (prefix, name) = match split {
            Some(at) => (&self.path[..at], &self.path[at + 1..]),
            None => (&[][..], &self.path[..]),
        };
        text(&mut block[0..100], name);
        number(&mut block[100..108], self.mode.into());
        number(&mut block[108..116], self.uid.into());
        number(&mut block[116..124], self.gid.into());
        number(&mut block[124..136], self.size);
        number(&mut block[136..148], u64::try_from(self.mtime).unwrap_or(0));
        block[156] = kind;
        text(&mut block[157..257], &self.link);
        block[257..265].copy_from_slice(b"ustar\x0000");
        number(&mut block[329..337], self.device.0.into());
        number(&mut block[337..345], self.device.1.into());
        block[345..345 + prefix.len()].copy_from_slice(prefix);
        checksum(&mut block);
        block
    }
}

fn blank_devices(block: &mut [u8]) {
    block[329..345].fill(0);
    if let Ok(block) = <&mut [u8; BLOCK]>::try_from(block) {
        checksum(block);
    }
}

fn checksum(block: &mut [u8; BLOCK]) {
    block[148..156].fill(b' ');
    let sum: u64 = block.iter().map(|byte| u64::from(*byte)).sum();
    number(&mut block[148..155], sum);
}

/// Without the bytes that are not ASCII, cut to the field.
fn text(field: &mut [u8], value: &[u8]) {
    let ascii: Vec<u8> = value.iter().copied().filter(u8::is_ascii).collect();
    let length = ascii.len().min(field.len());
    field[..length].copy_from_slice(&ascii[..length]);
    // A name that is only cut here must not look like a directory's.
    if ascii.len() > field.len() && field[length - 1] == b'/' {
        let end = field[..length - 1].iter().rposition(|byte| *byte != b'/');
        field[end.map_or(0, |end| end + 1)] = 0;
    }
}

/// Octal digits and a NUL; zero for what does not fit and is told in the extended header.
fn number(field: &mut [u8], value: u64) {
    let digits = field.len() - 1;
    let mut value = if value >> (3 * digits) == 0 { value } else { 0 };
    for place in field[..digits].iter_mut().rev() {
        *place = b'0' + u8::try_from(value & 7).unwrap_or(0);
        value >>= 3;
    }
    field[digits] = 0;
}

/// Where a path is split into prefix and name, if ustar can hold it so.
fn split_at(path: &[u8]) -> Option<usize> {
    if path.len() <= NAME || !path.is_ascii() {
        return None;
    }
    let mut length = path.len();
    if length > PREFIX + 1 {
        length = PREFIX + 1;
    } else if path.ends_with(b"/") {
        length -= 1;
    }
    let at = path[..length].iter().rposition(|byte| *byte == b'/')?;
    let name = path.len() - at - 1;
    (at > 0 && name > 0 && name <= NAME && at <= PREFIX).then_some(at)
}

fn extension_name(path: &[u8]) -> Vec<u8> {
    let (directory, file) = match path.iter().rposition(|byte| *byte == b'/') {
        Some(at) => path.split_at(at + 1),
        None => (&[][..], path),
    };
    let mut name = directory.to_vec();
    name.extend_from_slice(b"PaxHeaders.0/");
    name.extend_from_slice(file);
    while name.ends_with(b"/") {
        name.pop();
    }
    let mut name: Vec<u8> = name.into_iter().filter(u8::is_ascii).collect();
    name.truncate(NAME);
    while name.ends_with(b"/") {
        name.pop();
    }
    name
}

/// `length keyword=value` and a newline; the length counts itself.
fn record(key: &[u8], value: &[u8]) -> Vec<u8> {
    let body = key.len() + value.len() + 3;
    let mut length = body + 1;
    while length != body + length.to_string().len() {
        length = body + length.to_string().len();
    }
    let mut record = length.to_string().into_bytes();
    record.push(b' ');
    record.extend_from_slice(key);
    record.push(b'=');
    record.extend_from_slice(value);
    record.push(b'\n');
    record
}

/// An archive being written.
pub(crate) struct Writer<'w> {
    out: &'w mut dyn Write,
    /// Bytes of the last entry that are still owed, and its padding.
    owed: u64,
    padding: usize,
}

impl<'w> Writer<'w> {
    pub(crate) fn new(out: &'w mut dyn Write) -> Self {
        Self {
            out,
            owed: 0,
            padding: 0,
        }
    }

    /// Begins an entry; its data has to follow.
    pub(crate) fn begin(&mut self, header: &Header) -> io::Result<()> {
        self.end()?;
        self.out.write_all(&header.to_bytes())?;
        self.owed = header.size;
        self.padding = usize::try_from(header.size.wrapping_neg() % BLOCK as u64).unwrap_or(0);
        Ok(())
    }

    /// How much data the entry may still get.
    pub(crate) fn owed(&self) -> u64 {
        self.owed
    }

    /// Some of the entry's data; what is too much is left out.
    pub(crate) fn data(&mut self, bytes: &[u8]) -> io::Result<()> {
        let take = usize::try_from(self.owed).map_or(bytes.len(), |owed| owed.min(bytes.len()));
        self.out.write_all(&bytes[..take])?;
        self.owed -= take as u64;
        Ok(())
    }

    /// Fills up what is missing of the entry.
    fn end(&mut self) -> io::Result<()> {
        while self.owed > 0 {
            self.data(&ZEROS)?;
        }
        let padding = std::mem::take(&mut self.padding);
        self.out.write_all(&ZEROS[..padding])
    }

    /// The archive's end: two blocks of zeros.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        self.end()?;
        self.out.write_all(&[0; 2 * BLOCK])?;
        self.out.flush()
    }
}
