//! The data of entries, written to their files.

use super::Error;
use super::archive::{Archive, Entry};
use super::sparse::Segment;
use rustix::io::Errno;
use std::os::fd::OwnedFd;

/// Writes the data of an entry with `write`, which may take less than it is given.
pub(crate) fn copy(
    archive: &mut Archive<'_>,
    entry: &Entry,
    write: &mut dyn FnMut(&[u8]) -> Result<usize, Errno>,
) -> Result<(), Error> {
    loop {
        let data = archive.data()?;
        if data.is_empty() {
            return Ok(());
        }
        let count = match write(data) {
            Err(Errno::INTR) => continue,
            result => result.map_err(|errno| Error::io("write", &entry.path, errno.into()))?,
        };
        archive.consume(count);
    }
}

/// Writes the data of an entry to its places in a file.
pub(crate) fn copy_sparse(
    archive: &mut Archive<'_>,
    entry: &Entry,
    file: &OwnedFd,
    segments: &[Segment],
) -> Result<(), Error> {
    let size = entry.size;
    rustix::fs::ftruncate(file, size)
        .map_err(|errno| Error::io("size", &entry.path, errno.into()))?;
    let mut segments = segments.iter().filter(|segment| segment.length > 0);
    let mut current = segments.next().copied();
    copy(archive, entry, &mut |bytes| {
        // The map was checked to be as long as the data.
        let segment = current.ok_or(Errno::INVAL)?;
        let wanted = usize::try_from(segment.length).unwrap_or(usize::MAX);
        let part = &bytes[..bytes.len().min(wanted)];
        let count = rustix::io::pwrite(file, part, segment.offset)?;
        let written = count as u64;
        current = if written == segment.length {
            segments.next().copied()
        } else {
            Some(Segment {
                offset: segment.offset + written,
                length: segment.length - written,
            })
        };
        Ok(count)
    })
}
