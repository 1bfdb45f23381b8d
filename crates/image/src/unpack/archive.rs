//! The tar format: headers and their extensions become [`Entry`] values. Knows nothing of files.
//!
//! Understood are the old format, ustar, pax (also with GNU's and star's keywords) and GNU's own.
//! Where archives can be read in two ways, this reads them as Go's `archive/tar` does, because
//! that is what other engines unpack layers with.

use super::Error;
use super::pax::{self, Pax};
use super::sparse::{self, Segment};
use std::io::BufRead;
use tar::{EntryType, Header};

/// Everything in an archive is padded to this.
pub(super) const BLOCK: usize = 512;
/// The longest pax header and GNU long name: Go's limit. Larger ones are an attack on memory.
const MAX_EXTENSION: u64 = 1 << 20;

/// What an entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    HardLink,
    Symlink,
    Character,
    Block,
    Directory,
    Fifo,
}

/// One entry, its extensions applied.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) kind: Kind,
    /// As the archive spells it.
    pub(crate) path: Vec<u8>,
    pub(crate) link: Vec<u8>,
    /// Permissions with set-id and sticky bits.
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Seconds and nanoseconds since 1970.
    pub(crate) mtime: (i64, u32),
    /// Major and minor.
    pub(crate) device: (u32, u32),
    pub(crate) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// The length of the file.
    pub(crate) size: u64,
    /// Which parts of a sparse file the archive holds.
    pub(crate) sparse: Option<Vec<Segment>>,
}

/// An archive being read.
pub(crate) struct Archive<'a> {
    reader: &'a mut dyn BufRead,
    /// Bytes read so far.
    offset: u64,
    /// Bytes of the current entry's data that nobody took yet.
    remaining: u64,
    padding: u64,
    /// Whether the current entry is a sparse file, whose data has to be whole blocks.
    is_sparse: bool,
    /// The last bytes that were skipped of an entry's data, less than a block.
    last: Vec<u8>,
    is_cut: bool,
}

impl<'a> Archive<'a> {
    pub(crate) fn new(reader: &'a mut dyn BufRead) -> Self {
        Self {
            reader,
            offset: 0,
            remaining: 0,
            padding: 0,
            is_sparse: false,
            last: Vec::new(),
            is_cut: false,
        }
    }

    /// The next entry; what is left of the data of the one before is skipped.
    pub(crate) fn next(&mut self) -> Result<Option<Entry>, Error> {
        let mut pax = Pax::default();
        let mut long_path = None;
        let mut long_link = None;
        loop {
            self.skip()?;
            let Some(header) = self.header()? else {
                return Ok(None);
            };
            let kind = header.entry_type();
            match kind.as_byte() {
                b'x' => pax = Pax::parse(&self.extension(&header)?)?,
                // Docker ignores what is said for all following entries.
                b'g' => {
                    self.extension(&header)?;
                }
                b'L' => long_path = Some(until_nul(self.extension(&header)?)),
                b'K' => long_link = Some(until_nul(self.extension(&header)?)),
                _ => {
                    let mut entry = self.entry(&header, pax)?;
                    entry.path = long_path.unwrap_or(entry.path);
                    entry.link = long_link.unwrap_or(entry.link);
                    if kind.as_byte() == 0 && entry.path.ends_with(b"/") {
                        entry.kind = Kind::Directory;
                    }
                    return Ok(Some(entry));
                }
            }
        }
    }

    /// Some of the current entry's data; empty at its end.
    pub(crate) fn data(&mut self) -> Result<&[u8], Error> {
        if self.remaining == 0 {
            return Ok(&[]);
        }
        let available = self.reader.fill_buf().map_err(Error::Read)?;
        if available.is_empty() {
            return Err(Error::Truncated);
        }
        let count = usize::try_from(self.remaining)
            .unwrap_or(usize::MAX)
            .min(available.len());
        Ok(&available[..count])
    }

    /// Marks data as taken; at most as much as [`Archive::data`] gave.
    pub(crate) fn consume(&mut self, count: usize) {
        self.reader.consume(count);
        self.offset += count as u64;
        self.remaining -= count as u64;
    }

    /// Where in the archive the next byte is: after an entry, that of its data.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// Skips some of the current entry's data.
    pub(crate) fn pass(&mut self, mut length: u64) -> Result<(), Error> {
        while length > 0 {
            let available = self.data()?.len();
            if available == 0 {
                return Err(Error::Truncated);
            }
            let count = available.min(usize::try_from(length).unwrap_or(usize::MAX));
            self.consume(count);
            length -= count as u64;
        }
        Ok(())
    }

    /// Skips what is left of an entry. At the end of an archive its padding may be missing: Go's reader
    /// takes that for the end, too.
    fn skip(&mut self) -> Result<(), Error> {
        let last = self.remaining % BLOCK as u64;
        self.pass(self.remaining - last)?;
        self.last = self.take(last)?;
        self.remaining = std::mem::take(&mut self.padding);
        while self.remaining > 0 {
            match self.data().map(<[u8]>::len) {
                Ok(count) => self.consume(count),
                Err(Error::Truncated) if !self.is_sparse => {
                    self.remaining = 0;
                    self.is_cut = true;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Where the padding of the last entry is missing at the archive's end: what was skipped of its
    /// data's last block.
    pub(crate) fn cut(&self) -> Option<&[u8]> {
        self.is_cut.then_some(self.last.as_slice())
    }

    /// The next block; `None` where the archive ends at a block's border.
    fn block(&mut self) -> Result<Option<[u8; BLOCK]>, Error> {
        let mut block = [0; BLOCK];
        let mut filled = 0;
        while filled < BLOCK {
            match self.reader.read(&mut block[filled..]) {
                Ok(0) if filled == 0 => return Ok(None),
                Ok(0) => return Err(Error::Truncated),
                Ok(count) => {
                    filled += count;
                    self.offset += count as u64;
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Error::Read(error)),
            }
        }
        Ok(Some(block))
    }

    /// The next header; `None` at the end, which is two blocks of zeros or simply the end.
    fn header(&mut self) -> Result<Option<Header>, Error> {
        let Some(block) = self.block()? else {
            return Ok(None);
        };
        if block == [0; BLOCK] {
            return match self.block()? {
                None => Ok(None),
                Some(second) if second == [0; BLOCK] => Ok(None),
                Some(_) => Err(Error::Header("a lone block of zeros")),
            };
        }
        let mut header = Header::new_old();
        header.as_mut_bytes().copy_from_slice(&block);
        if !checksum_matches(&block) {
            return Err(Error::Header("wrong checksum"));
        }
        Ok(Some(header))
    }

    /// The data of a pax header or long name.
    fn extension(&mut self, header: &Header) -> Result<Vec<u8>, Error> {
        let size = unsigned(&header.as_old().size)?;
        if size > MAX_EXTENSION {
            return Err(Error::Header("an extended header larger than 1 MiB"));
        }
        self.begin(size);
        self.take(size)
    }

    fn begin(&mut self, size: u64) {
        self.remaining = size;
        self.is_sparse = false;
        self.padding = size.wrapping_neg() % BLOCK as u64;
    }

    /// The next `count` bytes of the current entry's data; the caller has checked that they are few.
    fn take(&mut self, count: u64) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        while (bytes.len() as u64) < count {
            let wanted = usize::try_from(count).unwrap_or(usize::MAX) - bytes.len();
            let data = self.data()?;
            if data.is_empty() {
                return Err(Error::Truncated);
            }
            let part = &data[..wanted.min(data.len())];
            bytes.extend_from_slice(part);
            let part = part.len();
            self.consume(part);
        }
        Ok(bytes)
    }

    fn entry(&mut self, header: &Header, pax: Pax) -> Result<Entry, Error> {
        let kind = kind_of(header.entry_type())?;
        let old = header.as_old();
        let stored = match pax.size {
            Some(size) => size,
            None => unsigned(&old.size)?,
        };
        // Nothing but files has data, whatever the size field says.
        let stored = if kind == Kind::File { stored } else { 0 };
        let (seconds, nanoseconds) = match pax.mtime {
            Some(mtime) => mtime,
            None => (signed(&old.mtime)?, 0),
        };
        let mut entry = Entry {
            kind,
            path: path_of(header),
            link: field(&old.linkname).to_vec(),
            mode: u32::try_from(unsigned(&old.mode)? & 0o7777).unwrap_or(0),
            uid: id(pax.uid, &old.uid)?,
            gid: id(pax.gid, &old.gid)?,
            mtime: (seconds, nanoseconds),
            device: device_of(header, kind)?,
            xattrs: pax.xattrs,
            size: stored,
            sparse: None,
        };
        self.begin(stored);
        if let Some(path) = pax.path {
            entry.path = path;
        }
        if let Some(link) = pax.link {
            entry.link = link;
        }
        if header.entry_type().is_gnu_sparse() {
            self.old_sparse(header, &mut entry)?;
        } else if let Some(map) = pax.sparse.filter(|_| kind == Kind::File) {
            self.pax_sparse(map, &mut entry)?;
        }
        self.is_sparse = entry.sparse.is_some();
        Ok(entry)
    }

    /// GNU's own sparse format: four segments in the header, more in blocks that follow it.
    fn old_sparse(&mut self, header: &Header, entry: &mut Entry) -> Result<(), Error> {
        let gnu = header.as_gnu();
        let gnu = gnu.ok_or(Error::Header("a sparse file that is not in GNU's format"))?;
        let mut segments = Vec::new();
        sparse::collect(&gnu.sparse, &mut segments)?;
        let mut more = gnu.isextended[0] == 1;
        while more {
            let block = self.block()?.ok_or(Error::Truncated)?;
            let mut extension = tar::GnuExtSparseHeader::new();
            extension.as_mut_bytes().copy_from_slice(&block);
            sparse::collect(&extension.sparse, &mut segments)?;
            more = extension.isextended[0] == 1;
        }
        sparse_entry(entry, unsigned(&gnu.realsize)?, segments)
    }

    fn pax_sparse(&mut self, map: pax::Sparse, entry: &mut Entry) -> Result<(), Error> {
        if let Some(name) = map.name {
            entry.path = name;
        }
        let segments = if map.in_data {
            self.sparse_map()?
        } else {
            map.segments
        };
        let stored = entry.size;
        let size = map.size.unwrap_or(stored);
        entry.size = self.remaining;
        sparse_entry(entry, size, segments)
    }

    /// GNU's sparse format 1.0: the map is text at the start of the data, in whole blocks.
    fn sparse_map(&mut self) -> Result<Vec<Segment>, Error> {
        let mut text = Vec::new();
        loop {
            if text.len() as u64 >= MAX_EXTENSION {
                return Err(Error::Header("a sparse map larger than 1 MiB"));
            }
            if self.remaining < BLOCK as u64 {
                return Err(Error::Header("a sparse map without an end"));
            }
            text.extend(self.take(BLOCK as u64)?);
            if let Some(segments) = sparse::parse_map(&text)? {
                return Ok(segments);
            }
        }
    }
}

fn sparse_entry(entry: &mut Entry, size: u64, segments: Vec<Segment>) -> Result<(), Error> {
    // `entry.size` is what the archive holds of the file.
    sparse::check(&segments, size, entry.size)?;
    entry.size = size;
    entry.sparse = Some(segments);
    Ok(())
}

fn kind_of(kind: EntryType) -> Result<Kind, Error> {
    match kind.as_byte() {
        0 | b'0' | b'7' | b'S' => Ok(Kind::File),
        b'1' => Ok(Kind::HardLink),
        b'2' => Ok(Kind::Symlink),
        b'3' => Ok(Kind::Character),
        b'4' => Ok(Kind::Block),
        b'5' => Ok(Kind::Directory),
        b'6' => Ok(Kind::Fifo),
        other => Err(Error::Type(char::from(other))),
    }
}

/// The path in the header itself, with the prefix that only ustar has: GNU keeps other things there.
fn path_of(header: &Header) -> Vec<u8> {
    let name = field(&header.as_old().name);
    match header.as_ustar() {
        Some(ustar) if !field(&ustar.prefix).is_empty() => {
            let mut path = field(&ustar.prefix).to_vec();
            path.push(b'/');
            path.extend_from_slice(name);
            path
        }
        _ => name.to_vec(),
    }
}

fn device_of(header: &Header, kind: Kind) -> Result<(u32, u32), Error> {
    if !matches!(kind, Kind::Character | Kind::Block) {
        return Ok((0, 0));
    }
    let bytes = header.as_bytes();
    // Both formats that have these fields have them here.
    let number = |range: std::ops::Range<usize>, limit: u64| {
        let number = unsigned(&bytes[range])?;
        match u32::try_from(number) {
            Ok(fits) if number < limit => Ok(fits),
            _ => Err(Error::Header("a device number that Linux does not have")),
        }
    };
    Ok((number(329..337, 1 << 12)?, number(337..345, 1 << 20)?))
}

fn id(pax: Option<u64>, bytes: &[u8]) -> Result<u32, Error> {
    let id = match pax {
        Some(id) => id,
        None => unsigned(bytes)?,
    };
    match u32::try_from(id) {
        // The last one means "unchanged" to the kernel.
        Ok(id) if id != u32::MAX => Ok(id),
        _ => Err(Error::Header(
            "a user or group number that Linux does not have",
        )),
    }
}

/// A text field, up to its first NUL.
fn field(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or_default()
}

fn until_nul(mut bytes: Vec<u8>) -> Vec<u8> {
    let length = field(&bytes).len();
    bytes.truncate(length);
    bytes
}

/// The sum over all bytes with the checksum itself taken as blanks. Some old programs added signed
/// bytes.
fn checksum_matches(block: &[u8; BLOCK]) -> bool {
    let stated = signed(&block[148..156]).ok();
    let blank = |index: usize, byte: u8| {
        if (148..156).contains(&index) {
            b' '
        } else {
            byte
        }
    };
    let bytes = || block.iter().enumerate().map(|(i, b)| blank(i, *b));
    let unsigned_sum: i64 = bytes().map(i64::from).sum();
    let signed_sum: i64 = bytes().map(|b| i64::from(b.cast_signed())).sum();
    stated == Some(unsigned_sum) || stated == Some(signed_sum)
}

/// A number that must not be negative.
pub(super) fn unsigned(bytes: &[u8]) -> Result<u64, Error> {
    u64::try_from(signed(bytes)?).map_err(|_| Error::Header("a negative number"))
}

/// A number field: octal digits, or two's complement when the first bit is set (GNU, star).
fn signed(bytes: &[u8]) -> Result<i64, Error> {
    match bytes.first() {
        Some(first) if first & 0x80 != 0 => binary(bytes),
        _ => octal(bytes),
    }
}

fn binary(bytes: &[u8]) -> Result<i64, Error> {
    let too_large = Error::Header("a number that is too large");
    // The first byte gives one bit to the mark; the next one is the sign.
    let negative = bytes[0] & 0x40 != 0;
    let mut value: i64 = if negative { -1 } else { 0 };
    for (index, byte) in bytes.iter().enumerate() {
        let byte = match index {
            0 if negative => *byte,
            0 => byte & 0x7f,
            _ => *byte,
        };
        value = match value.checked_mul(256) {
            Some(shifted) => shifted | i64::from(byte),
            None => return Err(too_large),
        };
    }
    Ok(value)
}

fn octal(bytes: &[u8]) -> Result<i64, Error> {
    let text = bytes.trim_ascii_start();
    let text = text
        .split(|byte| matches!(byte, 0 | b' '))
        .next()
        .unwrap_or_default();
    let mut value: i64 = 0;
    for byte in text {
        if !matches!(byte, b'0'..=b'7') {
            return Err(Error::Header("a number with a digit that is not octal"));
        }
        // Twelve octal digits, the widest field, fit easily.
        value = (value << 3) | i64::from(byte - b'0');
    }
    Ok(value)
}
