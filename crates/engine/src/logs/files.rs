//! The files of a log: `x.log`, before it `x.log.1`, before that `x.log.2` …, some as `x.log.1.gz`.
//!
//! The shim renames them while they are read, the oldest first. So the file beside another one is found by looking
//! where that one is, and again after opening the other. A file is known by its inode or, when it was compressed
//! meanwhile, by what the shim keeps in it: its inode before, and the time of its last change.

use super::entry::{Format, Found, MAX_ENTRY};
use flate2::read::MultiGzDecoder;
use jiff::Timestamp;
use std::fs::{File, Metadata};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Which file it is, whatever its name. True as long as the file is kept open: numbers of inodes are used again.
#[derive(Clone, Copy, Debug)]
struct Identity {
    device: u64,
    inode: u64,
    changed: (i64, i64),
    /// The inode that it was compressed from, which the shim writes into its header.
    packed_from: Option<u64>,
}

impl Identity {
    fn of(data: &Metadata, packed_from: Option<u64>) -> Self {
        Self {
            device: data.dev(),
            inode: data.ino(),
            changed: (data.mtime(), data.mtime_nsec()),
            packed_from,
        }
    }

    fn is(&self, other: &Self) -> bool {
        let packed = |packed: &Self, plain: &Self| {
            packed.packed_from == Some(plain.inode) && packed.changed == plain.changed
        };
        (self.device, self.inode) == (other.device, other.inode)
            || packed(self, other)
            || packed(other, self)
    }
}

/// How often files may be renamed between two looks before what is beside them is given up.
const ATTEMPTS: u32 = 100;

/// How much is read at once, bytes.
const READ: usize = 64 << 10;

enum Input {
    Plain(File),
    Packed(Box<MultiGzDecoder<File>>),
}

/// A file being read.
pub(super) struct LogFile {
    input: Input,
    buffer: Vec<u8>,
    begin: usize,
    end: usize,
    /// Where the next read begins, in a plain one.
    position: u64,
    /// Entries at its beginning that are not wanted.
    pub(super) skip: usize,
}

impl std::fmt::Debug for LogFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogFile")
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}

impl LogFile {
    fn new(file: File, packed: bool) -> Self {
        let input = if packed {
            Input::Packed(Box::new(MultiGzDecoder::new(file)))
        } else {
            Input::Plain(file)
        };
        Self {
            input,
            buffer: Vec::new(),
            begin: 0,
            end: 0,
            position: 0,
            skip: 0,
        }
    }

    fn identity(&self) -> io::Result<Identity> {
        let data = self.file().metadata()?;
        Ok(Identity::of(&data, self.packed_from()))
    }

    /// Whether it has a name.
    fn is_linked(&self) -> io::Result<bool> {
        Ok(self.file().metadata()?.nlink() > 0)
    }

    fn packed_from(&self) -> Option<u64> {
        let Input::Packed(decoder) = &self.input else {
            return None;
        };
        let comment = decoder.header()?.comment()?;
        std::str::from_utf8(comment).ok()?.parse().ok()
    }

    fn file(&self) -> &File {
        match &self.input {
            Input::Plain(file) => file,
            Input::Packed(decoder) => decoder.get_ref(),
        }
    }

    /// What was read and not used.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.buffer[self.begin..self.end]
    }

    /// Gives up so many of them.
    pub(super) fn consume(&mut self, length: usize) {
        self.begin += length;
    }

    /// Reads more; `false` at the end, for now.
    pub(super) fn fill(&mut self) -> io::Result<bool> {
        self.buffer.copy_within(self.begin..self.end, 0);
        (self.begin, self.end) = (0, self.end - self.begin);
        // Room for many short entries; more for one that is longer than that.
        let room = READ.max(2 * self.end).min(MAX_ENTRY.max(self.end));
        self.buffer.resize(room, 0);
        let room = &mut self.buffer[self.end..];
        let length = match &mut self.input {
            Input::Plain(file) => {
                let mut length = file.read_at(room, self.position)?;
                if length == 0 && file.metadata()?.len() < self.position {
                    // It was cut to begin anew: what was left of an entry is gone.
                    (self.end, self.position) = (0, 0);
                    length = file.read_at(&mut self.buffer, 0)?;
                }
                self.position += length as u64;
                length
            }
            // Cut short by a crash, or being written: what there is counts.
            Input::Packed(decoder) => decoder.read(room).unwrap_or(0),
        };
        self.end += length;
        Ok(length > 0)
    }

    /// Gives memory back: nothing is to be read for a while.
    pub(super) fn rest(&mut self) {
        self.buffer = self.bytes().to_vec();
        (self.begin, self.end) = (0, self.buffer.len());
    }

    /// Sets it to its last `wanted` entries and tells how many there are of them.
    fn tail(&mut self, format: Format, wanted: usize) -> io::Result<usize> {
        if let (Input::Plain(file), Format::Json) = (&self.input, format) {
            let (position, found) = or_cut(tail_of_lines(file, wanted), (0, 0))?;
            self.position = position;
            return Ok(found);
        }
        if let (Input::Plain(file), Format::Local) = (&self.input, format)
            && let Some((position, found)) = or_cut(tail_of_local(file, wanted), None)?
        {
            self.position = position;
            return Ok(found);
        }
        let all = self.count(format)?;
        self.restart()?;
        self.skip = all.saturating_sub(wanted);
        Ok(all.min(wanted))
    }

    fn count(&mut self, format: Format) -> io::Result<usize> {
        let mut decoder = super::entry::Decoder::new(format);
        let mut count = 0;
        loop {
            let (length, lines) = match decoder.next(self.bytes()) {
                Found::Line(length, _) => (length, 1),
                Found::Nothing(length) => (length, 0),
                Found::More => (0, 0),
            };
            count += lines;
            self.consume(length);
            if length == 0 && !self.fill()? {
                return Ok(count);
            }
        }
    }

    fn restart(&mut self) -> io::Result<()> {
        let mut file = self.file().try_clone()?;
        file.rewind()?;
        *self = Self::new(file, matches!(self.input, Input::Packed(_)));
        Ok(())
    }
}

/// Where a log's files are, and how they are written.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// The current one.
    pub(crate) path: PathBuf,
    pub(crate) format: Format,
}

impl Place {
    pub(super) fn directory(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("/"))
    }

    /// The files in which the last `tail` entries are, and nothing but older than `since` is not; oldest first.
    pub(super) fn open(
        &self,
        mut tail: Option<usize>,
        since: Option<Timestamp>,
    ) -> io::Result<Vec<LogFile>> {
        let mut wanted: Vec<LogFile> = Vec::new();
        let mut number = 0;
        // Between two files there may be none for a moment, while it is renamed.
        let mut next = self.file(0).or_else(|| self.file(1));
        while let Some(mut file) = next.take() {
            let changed = file.identity()?.changed.0;
            // The kernel's clock for files may be a moment behind the one for entries.
            let last = Timestamp::from_second(changed + 1).ok();
            if last < since && !wanted.is_empty() {
                break;
            }
            if let Some(wanted) = &mut tail {
                *wanted -= file.tail(self.format, *wanted)?;
            }
            if tail != Some(0) {
                next = self.before(&file, &mut number)?;
            }
            wanted.push(file);
        }
        wanted.reverse();
        Ok(wanted)
    }

    /// The file before `file`, which is at `number` or has moved on.
    fn before(&self, file: &LogFile, number: &mut u32) -> io::Result<Option<LogFile>> {
        for _ in 0..ATTEMPTS {
            let Some(at) = self.find(&file.identity()?, *number) else {
                continue;
            };
            *number = at;
            // The older ones move first: as long as this one has not, what is behind it came before it.
            let found = self.file(at + 1).or_else(|| self.file(at + 2));
            if self.is_at(file, at)? {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// The file that came after `current`, if there is one.
    pub(super) fn after(&self, current: &LogFile) -> io::Result<Option<LogFile>> {
        for attempt in 0..ATTEMPTS {
            let own = current.identity()?;
            let at = match self.find(&own, 0) {
                Some(0) => return Ok(None),
                Some(at) => at,
                // Gone, unless it was just being renamed or compressed.
                None if attempt > 2 && !current.is_linked()? => {
                    return Ok(self.oldest_since(&own));
                }
                None => continue,
            };
            let found = self.file(at - 1);
            if self.is_at(current, at)? {
                return Ok(found);
            }
        }
        Ok(None)
    }

    /// For one that is gone itself: the oldest that was written to after it.
    fn oldest_since(&self, gone: &Identity) -> Option<LogFile> {
        let newer = |file: &LogFile| {
            let own = file.identity();
            own.is_ok_and(|own| own.changed >= gone.changed && !own.is(gone))
        };
        let mut oldest = None;
        for number in 0.. {
            let Some(file) = self.file(number).filter(newer) else {
                break;
            };
            oldest = Some(file);
        }
        oldest
    }

    /// The number of a file, at least `from`: numbers grow. It moves up as the look does, and is not missed.
    fn find(&self, wanted: &Identity, from: u32) -> Option<u32> {
        let mut missing = 0;
        for number in from.. {
            match self.identity_at(number) {
                Some(found) if found.is(wanted) => return Some(number),
                Some(_) => missing = 0,
                None if missing == 1 => break,
                None => missing += 1,
            }
        }
        None
    }

    fn is_at(&self, file: &LogFile, number: u32) -> io::Result<bool> {
        let own = file.identity()?;
        Ok(self.identity_at(number).is_some_and(|found| found.is(&own)))
    }

    fn identity_at(&self, number: u32) -> Option<Identity> {
        match fs_err::metadata(self.name(number, "")) {
            Ok(data) => Some(Identity::of(&data, None)),
            Err(_) if number > 0 => self.file(number)?.identity().ok(),
            Err(_) => None,
        }
    }

    fn name(&self, number: u32, suffix: &str) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        if number > 0 {
            name.push(format!(".{number}{suffix}"));
        }
        name.into()
    }

    /// The file of this number.
    fn file(&self, number: u32) -> Option<LogFile> {
        let open = |suffix| fs_err::File::open(self.name(number, suffix)).ok();
        let (file, packed) = match open("") {
            Some(file) => (file, false),
            None if number > 0 => (open(".gz")?, true),
            None => return None,
        };
        Some(LogFile::new(file.into_parts().0, packed))
    }
}

/// A file that is cut while it is read has nothing of what was looked for.
fn or_cut<T>(outcome: io::Result<T>, nothing: T) -> io::Result<T> {
    match outcome {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(nothing),
        other => other,
    }
}

/// Where the last `wanted` lines begin, and how many there are of them.
fn tail_of_lines(file: &File, wanted: usize) -> io::Result<(u64, usize)> {
    const CHUNK: u64 = 64 << 10;
    let mut end = { file }.seek(SeekFrom::End(0))?;
    if wanted == 0 {
        return Ok((end, 0));
    }
    let mut found = 0;
    let mut chunk = Vec::new();
    while end > 0 {
        let begin = end.saturating_sub(CHUNK);
        chunk.resize(usize::try_from(end - begin).unwrap_or(0), 0);
        file.read_exact_at(&mut chunk, begin)?;
        for at in memchr::memrchr_iter(b'\n', &chunk) {
            // The line break at the very end ends the last line; each one before begins one more.
            if found == wanted {
                return Ok((begin + at as u64 + 1, found));
            }
            found += 1;
        }
        end = begin;
    }
    Ok((0, found))
}

/// As [`tail_of_lines`], by the lengths behind the entries; `None` when those lead nowhere: the last entry is
/// being written.
fn tail_of_local(file: &File, wanted: usize) -> io::Result<Option<(u64, usize)>> {
    let mut end = { file }.seek(SeekFrom::End(0))?;
    let mut found = 0;
    while found < wanted && end > 0 {
        let Some(before) = end.checked_sub(4) else {
            return Ok(None);
        };
        let mut length = [0; 4];
        file.read_exact_at(&mut length, before)?;
        let length = u64::from(u32::from_be_bytes(length));
        let Some(begin) = before.checked_sub(length + 4) else {
            return Ok(None);
        };
        end = begin;
        found += 1;
    }
    Ok(Some((end, found)))
}
