//! The maps of sparse files.

use super::Error;
use super::archive::unsigned;
use super::pax::digits;

/// More parts than this are an attack on memory: at 16 bytes each, 4 MiB.
const MAX_SEGMENTS: usize = 1 << 18;

/// A part of a sparse file that the archive holds; between the parts are zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) offset: u64,
    pub(crate) length: u64,
}

pub(super) fn push(segments: &mut Vec<Segment>, offset: u64, length: u64) -> Result<(), Error> {
    if segments.len() == MAX_SEGMENTS {
        return Err(Error::Header("a sparse file of too many parts"));
    }
    segments.push(Segment { offset, length });
    Ok(())
}

/// Adds the parts that one header of GNU's own format lists.
pub(super) fn collect(
    listed: &[tar::GnuSparseHeader],
    segments: &mut Vec<Segment>,
) -> Result<(), Error> {
    for part in listed {
        if part.offset[0] == 0 || part.numbytes[0] == 0 {
            break;
        }
        push(segments, unsigned(&part.offset)?, unsigned(&part.numbytes)?)?;
    }
    Ok(())
}

/// Reads a map of format 1.0: the number of parts, then offset and length of each, one a line.
/// `None` when the text is not complete yet.
pub(super) fn parse_map(text: &[u8]) -> Result<Option<Vec<Segment>>, Error> {
    let malformed = || Error::Header("a malformed sparse map");
    let mut lines = text.split_inclusive(|byte| *byte == b'\n');
    let mut next = || -> Result<Option<u64>, Error> {
        match lines.next().and_then(|line| line.strip_suffix(b"\n")) {
            Some(line) => digits(line).map(Some).ok_or_else(malformed),
            None => Ok(None),
        }
    };
    let Some(count) = next()? else {
        return Ok(None);
    };
    let mut segments = Vec::new();
    for _ in 0..count {
        let (Some(offset), Some(length)) = (next()?, next()?) else {
            return Ok(None);
        };
        push(&mut segments, offset, length)?;
    }
    Ok(Some(segments))
}

/// Parts must be in order, inside the file, and as long together as what the archive holds.
pub(super) fn check(segments: &[Segment], size: u64, stored: u64) -> Result<(), Error> {
    let wrong = || Error::Header("a sparse map that contradicts itself");
    let mut end = 0;
    let mut total: u64 = 0;
    for segment in segments {
        if segment.offset < end {
            return Err(wrong());
        }
        end = segment
            .offset
            .checked_add(segment.length)
            .ok_or_else(wrong)?;
        total = total.checked_add(segment.length).ok_or_else(wrong)?;
    }
    if end > size || total != stored || i64::try_from(size).is_err() {
        return Err(wrong());
    }
    Ok(())
}
